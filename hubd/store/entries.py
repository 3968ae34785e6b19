"""Writing the entries of the attempt ledger: all of a batch at once, and as if it were one after another.

One statement reads what is known of their deliveries. Each entry is then judged in order, and its rows are
gathered, to be written together. Whatever is rare is written where it stands, after what stands before it.

Every change of a delivery asks `lifecycle.advance_delivery` and is written only where the delivery is still
in the state that was asked about; its campaign's counters move with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import msgspec

from hubd.core.ledger import Close, Entry, Open, Rejection, Requeue
from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.model import CampaignState, DeliveryState, SkipReason
from hubd.errors import Conflict
from hubd.store.doubts import distrust, names_a_message, names_known
from hubd.store.entry_rows import EntryRows, counts_as_attempt
from hubd.store.multirow import exactly_one
from hubd.store.receipts import note_late_answer
from hubd.store.requeue import no_such_delivery, requeue_one
from hubd.store.unit import SharedUnit

#: Deliveries, their campaigns, and why their addresses are suppressed: all that entries are judged by. It is
#: one value, because each row would be a step of the statement.
CURRENT = """
SELECT json_group_array(json_array(delivery.id, delivery.state, delivery.campaign_id,
    delivery.attempts + delivery.withdrawn + 1, campaign.state,
    (SELECT reason FROM suppression
     WHERE channel = campaign.channel AND address_key = delivery.address_key),
    CASE WHEN campaign.credits <> ''
         THEN (SELECT id FROM credit_hold WHERE campaign_id = campaign.id AND credit_hold.delivery_id IS NULL)
         WHEN campaign.single THEN (SELECT id FROM credit_hold WHERE delivery_id = delivery.id) END,
    campaign.single,
    campaign.single = 0 AND EXISTS (SELECT 1 FROM held_address
     WHERE channel = campaign.channel AND address_key = delivery.address_key)))
FROM json_each(?) AS asked CROSS JOIN delivery ON delivery.id = asked.value
    CROSS JOIN campaign ON campaign.id = delivery.campaign_id"""
#: The recipient is never to be tried.
SKIP = """
UPDATE delivery SET state = 'skipped', reason = ?, next_at = NULL, updated_at = ?
WHERE id = ? AND state = ?"""
#: The account that paid for a one-off message has no credits for it.
FAIL_UNPAID = """
UPDATE delivery SET state = 'failed', reason = 'credits', detail = '', next_at = NULL, updated_at = ?
WHERE id = ? AND state = ?"""
#: The recipient waits, because somebody has to decide about what they wrote.
WAIT = "UPDATE delivery SET reason = 'held', next_at = ?, updated_at = ? WHERE id = ? AND state = ?"
#: Nothing more is to be sent to the recipient's address.
SUPPRESS_RECIPIENT = """
INSERT INTO suppression (channel, address_key, reason, source, created_at)
SELECT campaign.channel, delivery.address_key, ?, 'campaign ' || campaign.name, ?
FROM delivery JOIN campaign ON campaign.id = delivery.campaign_id WHERE delivery.id = ?
ON CONFLICT DO NOTHING"""

_EVENT_OF: Mapping[DeliveryState, DeliveryEvent] = {
    DeliveryState.SENT: DeliveryEvent.ACCEPT,
    DeliveryState.DEFERRED: DeliveryEvent.DEFER,
    DeliveryState.FAILED: DeliveryEvent.FAIL,
    DeliveryState.SKIPPED: DeliveryEvent.SKIP,
    DeliveryState.IN_DOUBT: DeliveryEvent.DOUBT,
    DeliveryState.PENDING: DeliveryEvent.WITHDRAW,
}
_TOLD = {DeliveryState.FAILED: "delivery.failed", DeliveryState.IN_DOUBT: "delivery.in_doubt"}
#: Characters of a provider's words in an event, which goes to many. The attempt has all of them.
_MOST_TOLD = 300
#: The states in which what the provider said is why the message did not go out.
_REFUSED = frozenset({*_TOLD, DeliveryState.DEFERRED})
_UNTRIED = (DeliveryState.PENDING, DeliveryState.DEFERRED)
_ACCEPTED = (DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.UNDELIVERED)
LOOK_AGAIN = 3600.0  #: seconds until it is looked whether somebody has decided; a decision itself is at once


class _Current(msgspec.Struct, array_like=True):
    """A row of CURRENT, kept up to date with the entries that were judged."""

    delivery_id: int
    state: DeliveryState
    campaign_id: int
    n: int  #: of the attempt that is open, or else of the next one
    campaign_state: CampaignState
    suppressed: str | None  #: the reason
    hold: int | None  #: of the credits that pay for it; None if nobody pays
    one_off: int  #: 1 for a one-off message
    held: int  #: 1 while a person has to decide whether the recipient gets more


_decoder = msgspec.json.Decoder(list[_Current])


def enter_all(
    unit: SharedUnit, units: Sequence[Sequence[Entry]], *, epoch: int, low_disk_space: Callable[[], bool]
) -> list[tuple[list[Rejection | None], list[Entry]]]:
    """Write the entries of several units; see `Ledger.record` for what it raises.

    For each unit: why its entries were not made, or None, and the entries as they were written. No message
    begins while `low_disk_space` says so.
    """
    batch = _Batch(unit, list(chain.from_iterable(units)), epoch)
    results: list[tuple[list[Rejection | None], list[Entry]]] = []
    for entries in units:
        refusals: list[Rejection | None] = []
        made = []
        for entry in entries:
            trusted = batch.trusted(entry)
            made.append(trusted)
            short = isinstance(trusted, Open) and low_disk_space()
            refusals.append(Rejection(why="no_disk_space") if short else batch.enter(trusted))
        results.append((refusals, made))
    batch.write()
    return results


class _Batch:
    """Judges entries in order, and gathers their rows until `write`."""

    def __init__(self, unit: SharedUnit, entries: Sequence[Entry], epoch: int) -> None:
        """`entries` are all that are going to be entered."""
        self._unit = unit
        self._epoch = epoch
        self._rows = EntryRows()
        self._at: dict[int, _Current] = {}
        self._read({entry.delivery_id for entry in entries})
        #: Names in the ledger or in this batch; `distrust` looks closely at those.
        self._names = names_known(unit.db, [e.provider_id for e in entries if names_a_message(e)])

    def trusted(self, entry: Entry) -> Entry:
        """The entry, or what `distrust` makes of it."""
        name = entry.provider_id if isinstance(entry, Close) else ""
        if name in self._names and names_a_message(entry):
            self.write()  # perhaps it was named by one of these
            return distrust(self._unit, entry)
        if name:
            self._names.add(name)
        return entry

    def enter(self, entry: Entry) -> Rejection | None:
        """Enter one; see `Ledger.record` for what it raises."""
        if entry.delivery_id in self._rows.deliveries:
            self.write()
        match entry:
            case Open():
                return self._open(entry)
            case Close():
                return self._close(entry)
            case Requeue():
                requeue_one(self._unit, entry.delivery_id)
                self._at.pop(entry.delivery_id, None)
                return None

    def write(self) -> None:
        """Write what was entered. Raises Conflict ("lost_update")."""
        self._rows.write(self._unit.db)

    def _open(self, entry: Open) -> Rejection | None:
        at = self._current(entry.delivery_id)
        if at.campaign_state != CampaignState.RUNNING:
            return Rejection(why="campaign_state")
        if at.state not in _UNTRIED:
            return Rejection(why="delivery_state")
        if at.suppressed is not None:
            return self._skip(at, entry)
        if at.held:
            values = (entry.at + LOOK_AGAIN, entry.at, entry.delivery_id, at.state)
            exactly_one(self._unit.db.execute(WAIT, values))
            return Rejection(why="held")
        if at.hold is not None and not self._unit.credits.open(at.hold, at.delivery_id, at.n, entry.cost):
            return self._fail_unpaid(at, entry) if at.one_off else Rejection(why="credits")
        target = advance_delivery(at.state, DeliveryEvent.OPEN)
        steady = entry.at if entry.steady is None else entry.steady
        self._rows.open(entry, at.state, at.n, self._epoch, steady)
        self._move(at, target)
        self._unit.attempts += 1
        self._unit.spent(entry.limits, steady, entry.cost)
        return None

    def _skip(self, at: _Current, entry: Open) -> Rejection:
        target = advance_delivery(at.state, DeliveryEvent.SKIP)
        known = at.suppressed == SkipReason.OPTED_OUT
        reason = SkipReason.OPTED_OUT if known else SkipReason.SUPPRESSED
        exactly_one(self._unit.db.execute(SKIP, (reason, entry.at, entry.delivery_id, at.state)))
        self._move(at, target)
        self._end_unsent(at)
        return Rejection(why="suppressed", skipped=True)

    def _fail_unpaid(self, at: _Current, entry: Open) -> Rejection:
        """A one-off message that nobody pays for any more: others must not wait behind it."""
        target = advance_delivery(at.state, DeliveryEvent.FAIL)
        exactly_one(self._unit.db.execute(FAIL_UNPAID, (entry.at, entry.delivery_id, at.state)))
        self._move(at, target)
        data = {"delivery_id": entry.delivery_id, "reason": "credits", "code": 0}
        self._unit.event("delivery.failed", at.campaign_id, data)
        return Rejection(why="credits")

    def _pay(self, at: _Current, entry: Close, target: DeliveryState) -> None:
        """An attempt has ended: it is paid for if it was accepted, and later if that is in doubt."""
        if entry.opened and target is DeliveryState.SENT:
            self._unit.credits.accepted(at.delivery_id, at.n)
        elif entry.opened and target is not DeliveryState.IN_DOUBT:
            self._unit.credits.refused(at.delivery_id, at.n)
        if target in (DeliveryState.FAILED, DeliveryState.SKIPPED):
            self._end_unsent(at)

    def _end_unsent(self, at: _Current) -> None:
        if at.hold is not None and at.one_off:
            self._unit.credits.release(at.hold, logged=False)

    def _close(self, entry: Close) -> Rejection | None:
        at = self._current(entry.delivery_id)
        if not entry.opened and at.state not in _UNTRIED and at.state is not DeliveryState.SENDING:
            return Rejection(why="delivery_state")
        if entry.opened and at.state in _ACCEPTED and note_late_answer(self._unit.db, entry):
            return None
        if entry.opened is not (at.state is DeliveryState.SENDING):
            raise Conflict(
                "this attempt has been closed already"
                if entry.opened
                else "an attempt for this delivery is open",
                code="attempt_not_open" if entry.opened else "attempt_open",
                data={"delivery_id": entry.delivery_id},
            )
        event = _EVENT_OF.get(entry.to)
        if event is None:
            raise Conflict(f"no attempt ends in {entry.to.value}", code="not_an_outcome")
        target = advance_delivery(at.state, event)
        counts = counts_as_attempt(target)
        steady = entry.at if entry.steady is None else entry.steady
        self._rows.close(entry, at.state, target, at.n, self._epoch, steady)
        accepted = (entry.at, entry.cost) if target is DeliveryState.SENT else None
        self._unit.moved(at.campaign_id, at.state, target, at=entry.at, accepted=accepted)
        at.state = target
        if at.hold is not None:
            self._pay(at, entry, target)
        if entry.opened or counts:
            at.n += 1
        if not entry.opened and counts:
            self._unit.spent(entry.limits, steady, entry.cost)
        if entry.suppress:
            self._suppress(entry)
        if target in _TOLD:
            data = {"delivery_id": entry.delivery_id, "reason": entry.reason, "code": entry.code}
            if entry.provider_reply:
                data["provider_reply"] = entry.provider_reply[:_MOST_TOLD]
            self._unit.event(_TOLD[target], at.campaign_id, data)
        if target in _REFUSED and entry.provider_reply:
            self._unit.refused(at.campaign_id, entry.provider_reply)
        return None

    def _suppress(self, entry: Close) -> None:
        self._unit.db.execute(SUPPRESS_RECIPIENT, (entry.suppress, entry.at, entry.delivery_id))
        self.write()
        self._at.clear()  # other deliveries may be to the same address: look again

    def _move(self, at: _Current, target: DeliveryState) -> None:
        self._unit.moved(at.campaign_id, at.state, target)
        at.state = target

    def _current(self, delivery_id: int) -> _Current:
        if delivery_id not in self._at:
            self._read({delivery_id})
        at = self._at.get(delivery_id)
        if at is None:
            raise no_such_delivery()
        return at

    def _read(self, deliveries: set[int]) -> None:
        (found,) = self._unit.db.execute(CURRENT, (json.dumps(list(deliveries)),)).fetchone()
        self._at.update((at.delivery_id, at) for at in _decoder.decode(found))
