"""A row of the inbox: what came back as it is kept, with what was cut off or masked."""

from __future__ import annotations

import hashlib

from hubd.core.inbound import Item
from hubd.core.inbound_effects import Effect
from hubd.core.inbound_matching import Match, happened_at
from hubd.core.mime import one_line
from hubd.core.provider_reply import masked
from hubd.store.unit import Unit

#: What people may want to read.
KEEP = """
INSERT INTO inbox (source, key, kind, at, booked_at, delivery_id, campaign_id, matched_by, channel,
    address_key, reason, code, enhanced, vendor, words, sender, subject, text, quoted, message_id, decision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"""
MOST_KEY = 200  #: characters of a key; a longer one is kept as its hash
MOST_WORDS = 1_000  #: characters of what a server said
MOST_LINE = 500  #: characters of a sender and a subject
MOST_TEXT = 100_000  #: characters of a reply
MOST_QUOTED = 20_000  #: characters of the part that it quotes


def keep_row(
    unit: Unit, source: str, key: str, item: Item, effect: Effect, match: Match | None, how: str
) -> int:
    """Keep an item under its key; its number. `how`: what showed whose message it is."""
    about = item.about
    recipient = about.address if match is None else match.delivery.address_key or about.address
    number: int = unit.db.execute(
        KEEP,
        (
            source,
            key,
            effect.kind.value,
            happened_at(item, unit.now),
            unit.now,
            None if match is None else match.delivery.delivery_id,
            None if match is None else match.delivery.campaign_id,
            how,
            about.channel.value,
            about.address or recipient,
            effect.reason,
            item.code,
            item.enhanced,
            _line(item.vendor),
            masked(one_line(_text(item.words, MOST_WORDS)), recipient),
            _line(item.sender),
            _line(item.subject),
            _text(item.text, MOST_TEXT),
            _text(item.quoted, MOST_QUOTED),
            _line(item.message_id),
            "waiting" if effect.hold else "",
        ),
    ).fetchone()[0]
    return number


def kept_key(key: str) -> str:
    """The key of an item as it is stored."""
    key = _text(key, len(key))
    return key if len(key) <= MOST_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _line(text: str) -> str:
    return one_line(_text(text, MOST_LINE))


def _text(text: str, most: int) -> str:
    """What SQLite can store of it: no half surrogate pair, and no NUL, where some readers would end."""
    return text[:most].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
