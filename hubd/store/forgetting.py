"""Erasing what is known of a person: in messages, in files, and on the suppression list.

A suppressed address that is forgotten is kept as a keyed hash (HMAC-SHA-256 with the secret of this
installation). When the address comes again, with an import or a one-off message, it is suppressed again. The
same hash is kept of whom emails went to, so that the links in them still unsubscribe: `erased_recipients`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

from hubd.core.model import Channel, Content
from hubd.core.tokens import Tokens
from hubd.store.address_hash import KEY, address_hash
from hubd.store.cancelling import TO_ADDRESSES
from hubd.store.contents import add_content
from hubd.store.erased_recipients import keep_hashes
from hubd.store.unit import SharedUnit, Unit
from hubd.store.unused import remove_unused

#: Whether anybody is forgotten, which is seldom.
ANYBODY = "SELECT EXISTS (SELECT 1 FROM forgotten)"
FORGOTTEN = "SELECT hash, reason, source FROM forgotten WHERE hash IN ({marks})"
#: An address is suppressed again.
SUPPRESS = """
INSERT INTO suppression (channel, address_key, reason, source, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
#: It is no longer suppressed, for one reason or any, nor when it comes again.
ALLOW = """
DELETE FROM suppression
WHERE channel = :channel AND address_key = :key AND (:reason = '' OR reason = :reason)"""
NOT_AGAIN = "DELETE FROM forgotten WHERE hash = :hash AND (:reason = '' OR reason = :reason)"
#: Suppressed addresses that are forgotten.
UNSUPPRESS = """
DELETE FROM suppression WHERE address_key IN (SELECT value FROM json_each(?))
RETURNING channel, address_key, reason, created_at"""
REMEMBER = """
INSERT INTO forgotten (hash, reason, source, created_at) VALUES (?, ?, 'forgotten', ?)
ON CONFLICT DO NOTHING"""
#: What deliveries say of their recipients. `address_key` stays unique within a campaign.
ERASE = """
UPDATE delivery SET recipient = '', address_key = 'erased:' || id, fields = '{}', detail = ''
WHERE id IN (SELECT value FROM json_each(?))"""
#: ... and of one-off messages what they said.
CONTENTS = """
SELECT id, campaign_id, content_id, single FROM delivery WHERE id IN (SELECT value FROM json_each(?))"""
EMPTY = "UPDATE delivery SET content_id = ? WHERE id = ? AND single = 1"
#: ... and what providers said to their attempts.
ERASE_ATTEMPTS = """
UPDATE attempt SET detail = '', provider_reply = ''
WHERE delivery_id IN (SELECT value FROM json_each(?)) AND outcome IS NOT NULL"""
EMPTY_ITEM = """
UPDATE inbox SET address_key = '', sender = '', subject = '', text = '', quoted = '', words = '',
    message_id = ''"""
#: What came back about them, from whichever address.
ERASE_ABOUT = f"{EMPTY_ITEM} WHERE delivery_id IN (SELECT value FROM json_each(?))"  # noqa: S608 - only our own words
#: What came back from, or about, some addresses.
ERASE_REPLIES = f"""{EMPTY_ITEM}
WHERE address_key <> '' AND address_key IN (SELECT value FROM json_each(:keys))"""  # noqa: S608
#: Items that an earlier version kept under a key that names the number, which whoever has the list can find.
NAMING = """
SELECT id, key FROM inbox
WHERE key LIKE 'opted-out/%' AND address_key <> '' AND address_key IN (SELECT value FROM json_each(?))"""
RENAME = "UPDATE OR IGNORE inbox SET key = ? WHERE id = ?"
#: Nobody needs to decide about it any longer,
NOTHING_TO_DECIDE = """
UPDATE inbox SET decision = '' WHERE decision = 'waiting' AND (
    address_key IN (SELECT value FROM json_each(:keys))
    OR delivery_id IN (SELECT value FROM json_each(:deliveries)))"""
#: and nothing waits for that.
FORGET_HELD = """
DELETE FROM held_address WHERE address_key IN (SELECT value FROM json_each(:keys)) OR inbox_id IN (
    SELECT id FROM inbox WHERE delivery_id IN (SELECT value FROM json_each(:deliveries)))"""
#: What people answered to it.
ANSWERS = """
SELECT answer_id FROM inbox WHERE answer_id IS NOT NULL AND (
    delivery_id IN (SELECT value FROM json_each(:deliveries))
    OR address_key <> '' AND address_key IN (SELECT value FROM json_each(:keys)))"""
FORGET_BOUNCES = "DELETE FROM soft_bounce WHERE address_key IN (SELECT value FROM json_each(:keys))"
#: One-off messages to some addresses.
ONE_OFF = """
SELECT id FROM delivery INDEXED BY delivery_single_recipient
WHERE single = 1 AND address_key IN (SELECT value FROM json_each(?))"""
#: The files of an outbox that may have been written for them.
FILES = """
INSERT INTO erasure (campaign, first, last)
SELECT campaign.name, delivery.id, delivery.id FROM delivery JOIN campaign ON campaign.id = campaign_id
WHERE delivery.id IN (SELECT value FROM json_each(?))"""


def suppress_again(unit: SharedUnit, addresses: Iterable[tuple[Channel, str]]) -> None:
    """Addresses come in, as they are compared: suppress again those that were before they were forgotten."""
    if not unit.db.execute(ANYBODY).fetchone()[0]:
        return
    hashed = {address_hash(unit.db, channel, key): (channel, key) for channel, key in addresses}
    names = list(hashed)
    for start in range(0, len(names), 500):
        some = names[start : start + 500]
        statement = FORGOTTEN.format(marks=", ".join("?" * len(some)))
        for known, reason, source in unit.db.execute(statement, some).fetchall():
            channel, key = hashed[known]
            unit.db.execute(SUPPRESS, (channel.value, key, reason, source, unit.now))


def is_forgotten(unit: SharedUnit, channel: Channel, key: str) -> bool:
    """Whether an address is kept as a hash, to be suppressed when it comes again."""
    if not unit.db.execute(ANYBODY).fetchone()[0]:
        return False
    hashed = address_hash(unit.db, channel, key)
    return unit.db.execute(FORGOTTEN.format(marks="?"), (hashed,)).fetchone() is not None


def allow(unit: SharedUnit, channel: Channel, key: str, reason: str = "") -> bool:
    """Send to an address again, with `reason` only if it was suppressed for that; whether it was."""
    values: dict[str, object] = {"channel": channel.value, "key": key, "reason": reason}
    allowed = unit.db.execute(ALLOW, values).rowcount > 0
    if unit.db.execute(ANYBODY).fetchone()[0]:
        values["hash"] = address_hash(unit.db, channel, key)
        allowed |= unit.db.execute(NOT_AGAIN, values).rowcount > 0
    return allowed


def forget(unit: Unit, keys: Sequence[str]) -> tuple[int, bool]:
    """Erase what is known of these addresses, as they are compared; how many messages were to them, and
    whether anything was known.

    With what the person wrote back, also from another address, and the answers to it.
    """
    listed = json.dumps(list(keys))
    suppressed = unit.db.execute(UNSUPPRESS, (listed,)).fetchall()
    for channel, key, reason, created_at in suppressed:
        unit.db.execute(REMEMBER, (address_hash(unit.db, channel, key), reason, created_at))
    rows = unit.db.execute(TO_ADDRESSES, {"keys": listed, "all": True}).fetchall()
    numbers = [row[0] for row in rows]
    person = {"keys": listed, "deliveries": json.dumps(numbers)}
    tokens = Tokens(unit.db.execute(KEY).fetchone()[0])
    for number, named in unit.db.execute(NAMING, (listed,)).fetchall():
        unit.db.execute(RENAME, (tokens.of_entry(named), number))
    numbers += [row[0] for row in unit.db.execute(ANSWERS, person).fetchall() if row[0] not in numbers]
    statements = (NOTHING_TO_DECIDE, FORGET_HELD, FORGET_BOUNCES, ERASE_REPLIES)
    erased = sum(unit.db.execute(statement, person).rowcount for statement in statements)
    erase(unit, numbers)
    return len(rows), bool(suppressed or numbers or erased)


def one_off_messages(unit: Unit, keys: Sequence[str]) -> list[int]:
    """The one-off messages to these addresses."""
    return [number for (number,) in unit.db.execute(ONE_OFF, (json.dumps(list(keys)),)).fetchall()]


def erase(unit: Unit, delivery_ids: Collection[int]) -> None:
    """Erase whom these deliveries were to, what came back, what one-off messages said, and their files."""
    if not delivery_ids:
        return
    listed = json.dumps(list(delivery_ids))
    keep_hashes(unit, delivery_ids)
    unit.db.execute(FILES, (listed,))
    one_offs = [row for row in unit.db.execute(CONTENTS, (listed,)).fetchall() if row["single"]]
    empty_contents(unit, [row["id"] for row in one_offs], [row["content_id"] for row in one_offs])
    unit.db.execute(ERASE, (listed,))
    unit.db.execute(ERASE_ATTEMPTS, (listed,))
    unit.db.execute(ERASE_ABOUT, (listed,))


def empty_contents(unit: Unit, delivery_ids: Sequence[int], content_ids: Sequence[int]) -> None:
    """These one-off messages say nothing any more; their contents go if nobody else has them."""
    if delivery_ids:
        nothing = add_content(unit, Content(channel=Channel.EMAIL), "none:email")
        for delivery_id in delivery_ids:
            unit.db.execute(EMPTY, (nothing, delivery_id))
        remove_unused(unit, set(content_ids) - {nothing})
