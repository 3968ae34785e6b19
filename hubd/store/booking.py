"""Booking what came back: the effects of all items of one look at a source, as one unit of work.

What an item is about is decided by `inbound_matching`, what it leads to by `inbound_effects`; here the facts
are looked up and the effects written. An item that was booked before changes nothing: what is kept is known
by its key, and a receipt moves no state that has moved.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hubd.core.inbound import Item, ItemKind
from hubd.core.inbound_effects import Effect, effect_of, too_many
from hubd.core.inbound_matching import (
    Candidate,
    How,
    Match,
    Named,
    addresses_of,
    happened_at,
    named_by,
    tried_between,
    whose,
)
from hubd.core.inbox import TOKEN_ONLY, Booked, BounceRules
from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.measures import ACCEPTED, Measure
from hubd.core.model import Channel, DeliveryState, SkipReason
from hubd.core.reasons import SENTENCES
from hubd.core.tokens import Tokens
from hubd.store.address_hash import address_hash
from hubd.store.cancelling import cancel_waiting
from hubd.store.credit_holds import doubts_decided
from hubd.store.doubts import tell_decided
from hubd.store.erased_recipients import Erased, erased_recipient, suppress_hash
from hubd.store.forgetting import allow, is_forgotten
from hubd.store.holding import hold, opted_out
from hubd.store.inbound_facts import candidates, named_by_provider, recent_to
from hubd.store.inbox_rows import keep_row, kept_key
from hubd.store.multirow import exactly_one
from hubd.store.receipts import RECEIPT, settle_sent
from hubd.store.rollup import acceptance
from hubd.store.unit import Unit

#: Which of these keys of a source are booked. What a provider told by a webhook was kept as the listener's
#: before it was kept as the provider's. Mailboxes share their keys, which follow from what the mails say: one
#: that has got another name is read anew, and the same mail may come by two of them.
KNOWN_KEYS = """
SELECT key FROM inbox INDEXED BY inbox_key WHERE key IN (SELECT value FROM json_each(:keys))
    AND (source IN (:source, 'listener') OR (:source LIKE 'mailbox %' AND source LIKE 'mailbox %'))"""
#: An entry of a list is kept under another key.
RENAME = "UPDATE OR IGNORE inbox SET key = ? WHERE source = ? AND key = ?"
#: Why an address is suppressed.
SUPPRESSED = "SELECT reason FROM suppression WHERE channel = ? AND address_key = ?"
#: Whether somebody opted out later than at a time: what they wrote before that takes nothing back. Lists of
#: providers are read from the newest entry to the oldest.
OPTED_OUT_LATER = """
SELECT 1 FROM inbox
WHERE address_key = ? AND address_key <> '' AND channel = ? AND kind = 'opt_out' AND at > ? LIMIT 1"""
#: Whether something of this kind came back about a delivery before.
CAME_BEFORE = "SELECT 1 FROM inbox WHERE delivery_id = ? AND kind = ? LIMIT 1"
#: The same of an entry of a provider's list of addresses.
LISTED_BEFORE = "SELECT 1 FROM inbox WHERE delivery_id = ? AND kind = ? AND key LIKE 'list/%' LIMIT 1"
#: A delivery goes on.
MOVE = """
UPDATE delivery SET state = ?, reason = ?, detail = ?, code = ?, next_at = NULL, updated_at = ?
WHERE id = ? AND state = ?"""
#: The first reason stays: it says when sending had to end.
SUPPRESS = """
INSERT INTO suppression (channel, address_key, reason, source, created_at)
VALUES (?, ?, ?, coalesce((SELECT 'campaign ' || name FROM campaign WHERE id = ?), ?), ?)
ON CONFLICT DO NOTHING"""
#: A bounce that counts among others; one of each message.
ADD_SOFT = """
INSERT INTO soft_bounce (channel, address_key, delivery_id, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"""
SOFT = "SELECT at FROM soft_bounce WHERE channel = ? AND address_key = ?"
#: The address worked after them.
FORGET_SOFT = "DELETE FROM soft_bounce WHERE channel = ? AND address_key = ? AND at <= ?"

EVENT_OF = {
    ItemKind.BOUNCE: "delivery.bounced",
    ItemKind.COMPLAINT: "delivery.complained",
    ItemKind.REPLY: "reply.received",
    ItemKind.OPT_OUT: "reply.opted_out",
    ItemKind.OPT_IN: "reply.opted_in",
}
#: What people want, also of whom the address was erased.
_OF_PEOPLE = frozenset({ItemKind.OPT_OUT, ItemKind.COMPLAINT, ItemKind.REPLY})
#: What a report says of a recipient; with our token in it, also when the message is deleted.
_TOLD_OF = frozenset({ItemKind.BOUNCE, ItemKind.COMPLAINT})
#: These count once for each message, however many reports there are.
_ONCE = frozenset({Measure.BOUNCED, Measure.COMPLAINTS, Measure.OPT_OUTS})


def book(
    unit: Unit,
    source: str,
    items: Sequence[Item],
    *,
    tokens: Tokens,
    rules: BounceRules,
    leave_for: float = 0.0,
) -> Booked:
    """Write the effects of the items, in their order."""
    return _Booking(unit, source, tokens, rules).book(items, leave_for)


class _Booking:
    def __init__(self, unit: Unit, source: str, tokens: Tokens, rules: BounceRules) -> None:
        self._unit, self._source, self._tokens, self._rules = unit, source, tokens, rules
        self._known: dict[int, Candidate] = {}
        self._new: Counter[ItemKind] = Counter()
        self._unmatched = 0
        self._nobody: list[str] = []
        self._waiting = False

    def book(self, items: Sequence[Item], leave_for: float) -> Booked:
        keys = [self._key(item) for item in items]
        named = [named_by(item, self._tokens) for item in items]
        by_provider = named_by_provider(self._unit.db, {name for each in named for name in each.provider_ids})
        self._load({number for each in named for number in each.deliveries}.union(*by_provider.values()))
        booked = self._booked(items, keys)
        left: list[str] = []
        for item, key, names in zip(items, keys, named, strict=True):
            known = (self._source_of(item), key) in booked
            if known and item.kind is not ItemKind.OPT_OUT:
                continue
            match = self._match(item, names, by_provider)
            match, erased = self._who(item, names, match)
            deleted = match is None and names.token is not None and item.kind in _TOLD_OF
            # Who reports it may name anybody; what our token proves is to whom it was.
            told = () if deleted else addresses_of(item, match)
            addresses = {*told, *([erased.address_key] if erased else ())} - {""}
            if item.kind is ItemKind.OPT_OUT and not addresses and erased is None:
                self._nobody.append(item.key)
            if known:
                continue
            if match is None and erased is None and not deleted:
                left_for = item.look_again or leave_for
                if left_for and self._unit.now - item.at < left_for:
                    left.append(item.key)
                    continue
                if item.only_ours or (item.of_list and self._is_forgotten(item)):
                    continue
            if self._enter(item, key, match, addresses, erased, deleted=deleted):
                booked.add((self._source_of(item), key))
        return Booked(
            new=dict(self._new),
            left=tuple(left),
            unmatched=self._unmatched,
            waiting=self._waiting,
            nobody=tuple(self._nobody),
        )

    def _key(self, item: Item) -> str:
        """The key under which an item is kept, for ever: that of an entry of a list says nothing of whom."""
        return self._tokens.of_entry(item.key) if item.of_list else kept_key(item.key)

    def _source_of(self, item: Item) -> str:
        return item.source or self._source

    def _booked(self, items: Sequence[Item], keys: Sequence[str]) -> set[tuple[str, str]]:
        """The sources and keys of those that were booked before."""
        by_source: dict[str, list[str]] = {}
        earlier: dict[tuple[str, str], str] = {}
        for item, key in zip(items, keys, strict=True):
            source = self._source_of(item)
            by_source.setdefault(source, []).append(key)
            if item.of_list:  # as an earlier version kept it
                by_source[source].append(item.key)
                earlier[source, item.key] = key
        found = {
            (source, key)
            for source, its in by_source.items()
            for (key,) in self._unit.db.execute(KNOWN_KEYS, {"source": source, "keys": json.dumps(its)})
        }
        for source, key in found & earlier.keys():
            self._unit.db.execute(RENAME, (earlier[source, key], source, key))
            found.add((source, earlier[source, key]))
        return found

    # -- whose message it is -----------------------------------------------------------------------

    def _match(self, item: Item, named: Named, by_provider: Mapping[str, Collection[int]]) -> Match | None:
        numbers = named.deliveries.union(*(by_provider.get(name, ()) for name in named.provider_ids))
        known = {number: self._known[number] for number in numbers if number in self._known}
        match = whose(item, named, known, (), self._tokens)
        if match is not None or not item.about.address or (item.only_ours and item.about.provider_ids):
            return match
        since, until = tried_between(item.at, self._unit.now)
        recent = recent_to(self._unit, item.about.channel, item.about.address, since)
        self._load(recent - self._known.keys())
        tried = [self._known[number] for number in recent]
        tried = [each for each in tried if each.tried_at is not None and since <= each.tried_at <= until]
        return whose(item, named, known, tried, self._tokens)

    def _who(self, item: Item, named: Named, match: Match | None) -> tuple[Match | None, Erased | None]:
        """The match with the recipient of its message, where that was erased and a person wants something;
        and what is kept of that recipient.
        """
        if match is None:  # the message may be gone with its campaign
            if named.token is None or item.kind not in _OF_PEOPLE | _TOLD_OF:
                return None, None
            return None, erased_recipient(self._unit.db, named.token)
        if item.kind not in _OF_PEOPLE:
            return match, None
        if match.delivery.address_key or not match.certain:
            return match, None
        erased = erased_recipient(self._unit.db, match.delivery.delivery_id)
        if erased is not None:
            match = replace(match, delivery=replace(match.delivery, address_key=erased.address_key))
        return match, erased

    def _load(self, numbers: Collection[int]) -> None:
        self._known.update(candidates(self._unit.db, numbers))

    # -- what it leads to --------------------------------------------------------------------------

    def _enter(
        self,
        item: Item,
        key: str,
        match: Match | None,
        addresses: Collection[str],
        erased: Erased | None,
        *,
        deleted: bool,
    ) -> bool:
        """Write what an item leads to; whether it is kept under its key.

        `deleted`: a token proves that the message, which is gone, was ours.
        """
        replied = item.kind is ItemKind.REPLY
        told = match is not None and self._was_told(item, match)
        opted_out = replied and any(
            self._is_opted_out(item.about.channel, address) and not self._opted_out_later(item, address)
            for address in addresses
        )
        proven = deleted and erased is not None and self._is_of(erased, item)
        effect = effect_of(item, match, opted_out=opted_out, proven=proven)
        self._new[effect.kind] += 1
        if match is None:
            self._unmatched += 1
        else:
            if effect.measure is not None and not (
                effect.measure in _ONCE and self._came_before(effect.kind, match)
            ):
                self._unit.measured(
                    match.delivery.campaign_id, effect.measure, happened_at(item, self._unit.now)
                )
            if effect.moves:
                match = replace(match, delivery=self._move(item, effect, match.delivery))
        self._address(item, effect, match, addresses)
        if erased is not None and effect.suppress:
            campaign = None if match is None else match.delivery.campaign_id
            suppress_hash(self._unit, erased.hash, effect.suppress, campaign, self._source_of(item))
        if not effect.listed or told or (item.of_list and match is None and not effect.suppress):
            return False
        how = match.how.value if match is not None else ""
        if deleted:
            how = How.TOKEN.value if erased is not None else TOKEN_ONLY
        number = keep_row(self._unit, self._source_of(item), key, item, effect, match, how)
        if effect.hold:
            for address in addresses:
                hold(self._unit, item.about.channel, address, number)
            self._waiting = True
        if match is not None or effect.kind not in (ItemKind.BOUNCE, ItemKind.COMPLAINT):
            self._tell(item, effect, match, number)
        return True

    def _is_of(self, erased: Erased, item: Item) -> bool:
        """Whether an item about an erased recipient speaks of them: mail is forwarded, and reports of what
        became of it there speak of somebody else.
        """
        address = item.about.address
        return (
            item.kind is ItemKind.COMPLAINT
            or not address
            or address_hash(self._unit.db, Channel.EMAIL, address) == erased.hash
        )

    def _is_forgotten(self, item: Item) -> bool:
        """Whether an address stays suppressed without being named."""
        return is_forgotten(self._unit, item.about.channel, item.about.address)

    def _at(self, item: Item) -> float:
        return happened_at(item, self._unit.now)

    def _came_before(self, kind: ItemKind, match: Match) -> bool:
        asked = (match.delivery.delivery_id, kind.value)
        return self._unit.db.execute(CAME_BEFORE, asked).fetchone() is not None

    def _was_told(self, item: Item, match: Match) -> bool:
        """Whether a list of addresses and something about the message itself say the same."""
        if item.of_list:
            return self._came_before(item.kind, match)
        asked = (match.delivery.delivery_id, item.kind.value)
        return self._unit.db.execute(LISTED_BEFORE, asked).fetchone() is not None

    def _is_opted_out(self, channel: Channel, address: str) -> bool:
        found = self._unit.db.execute(SUPPRESSED, (channel.value, address)).fetchone()
        return found is not None and found[0] == SkipReason.OPTED_OUT

    def _opted_out_later(self, item: Item, address: str) -> bool:
        asked = (address, item.about.channel.value, self._at(item))
        return self._unit.db.execute(OPTED_OUT_LATER, asked).fetchone() is not None

    def _move(self, item: Item, effect: Effect, delivery: Candidate) -> Candidate:
        """Take a delivery where the moves lead: only forward, and only from the state that was read."""
        unit, number, state = self._unit, delivery.delivery_id, delivery.state
        if DeliveryEvent.FOUND_SENT in effect.moves:
            settle_sent(unit, number, state, _only(item.about.provider_ids))
            doubts_decided(unit, delivery.campaign_id, [number], DeliveryState.SENT)
            if state is not DeliveryState.SENDING:
                tell_decided(unit, RECEIPT, "sent", delivery.campaign_id, number)
        target = state
        for move in effect.moves:
            target = advance_delivery(target, move)
        lost = target is DeliveryState.UNDELIVERED
        reason = effect.reason if lost else ""
        values = (
            target,
            reason,
            SENTENCES.get(reason, ""),
            item.code if lost else 0,
            unit.now,
            number,
            state,
        )
        exactly_one(unit.db.execute(MOVE, values))
        accepted = None if state in ACCEPTED else acceptance(unit.db, number)
        unit.moved(delivery.campaign_id, state, target, accepted=accepted)
        moved = replace(delivery, state=target, doubtful=False)
        self._known[number] = moved
        return moved

    def _address(self, item: Item, effect: Effect, match: Match | None, addresses: Collection[str]) -> None:
        """Suppress, allow, and remember soft bounces."""
        db, suppress = self._unit.db, effect.suppress
        channel = item.about.channel if match is None else match.delivery.channel
        if match is not None and effect.kind not in (ItemKind.OPT_OUT, ItemKind.OPT_IN, ItemKind.REPLY):
            addresses = {match.delivery.address_key} - {""}
        if match is not None and effect.reached:
            db.execute(FORGET_SOFT, (channel.value, match.delivery.address_key, self._at(item)))
        if (
            match is not None
            and effect.soft
            and addresses
            and self._is_one_too_many(match.delivery, self._at(item))
        ):
            suppress = "bounced_often"
        if effect.kind is ItemKind.OPT_OUT:
            addresses = opted_out(self._unit, channel, addresses)
        if suppress:
            campaign = None if match is None else match.delivery.campaign_id
            for address in addresses:
                values = (channel.value, address, suppress, campaign, self._source_of(item), self._unit.now)
                self._suppress(values, suppress)
        if effect.allow:
            for address in addresses:
                if not self._opted_out_later(item, address):
                    allow(self._unit, channel, address, SkipReason.OPTED_OUT)  # and nothing else

    def _is_one_too_many(self, delivery: Candidate, at: float) -> bool:
        address = (delivery.channel.value, delivery.address_key)
        self._unit.db.execute(ADD_SOFT, (*address, delivery.delivery_id, at))
        times = [found for (found,) in self._unit.db.execute(SOFT, address)]
        return too_many(times, limit=self._rules.soft_limit, days=self._rules.soft_days)

    def _suppress(self, values: tuple[object, ...], reason: str) -> None:
        if self._unit.db.execute(SUPPRESS, values).rowcount == 0:
            return
        address = str(values[1])
        opted_out = reason == SkipReason.OPTED_OUT
        cancel_waiting(self._unit, [address], SkipReason.OPTED_OUT if opted_out else SkipReason.SUPPRESSED)
        self._load([number for number, each in self._known.items() if each.address_key == address])
        self._waiting = True

    def _tell(self, item: Item, effect: Effect, match: Match | None, number: int) -> None:
        data: dict[str, object] = {
            "item": number,
            "delivery_id": None if match is None else match.delivery.delivery_id,
        }
        if effect.kind is ItemKind.BOUNCE and match is not None:
            data |= {"reason": effect.reason, "code": item.code, "state": match.delivery.state.value}
        if effect.kind is ItemKind.REPLY:
            data["held"] = effect.hold
        campaign = None if match is None else match.delivery.campaign_id
        self._unit.event(EVENT_OF[effect.kind], campaign, data)


def _only(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ""
