"""The rows that entries of the attempt ledger are written as, gathered and then written all at once."""

from __future__ import annotations

from hubd.core.ledger import Close, Open
from hubd.core.model import DeliveryState
from hubd.store.multirow import write_rows
from hubd.store.transaction import Transaction
from hubd.store.unit import NODE

#: Deliveries are on their way.
SENDING = """
UPDATE delivery SET state = 'sending', next_at = NULL, message_id = entry.message_id, updated_at = entry.at,
    first_attempt_at = coalesce(first_attempt_at, entry.steady)
FROM (WITH entry (delivery_id, waiting, message_id, at, steady)
    AS ({rows}) SELECT * FROM entry) AS entry
WHERE delivery.id = entry.delivery_id AND delivery.state = entry.waiting"""
#: Their attempts, open.
OPEN_ATTEMPTS = """
INSERT INTO attempt (delivery_id, n, epoch, provider, account, message_id, content_hash, opened_at, node,
    cost)
{rows}"""
#: The outcomes of open attempts.
CLOSE_ATTEMPTS = """
UPDATE attempt SET closed_at = entry.at, outcome = entry.outcome, stage = entry.stage, reason = entry.reason,
    detail = entry.detail, code = entry.code, enhanced = entry.enhanced, vendor_word = entry.vendor,
    provider_id = entry.provider_id, provider_reply = entry.provider_reply
FROM (WITH entry (delivery_id, at, outcome, stage, reason, detail, code, enhanced, vendor, provider_id,
    provider_reply)
    AS ({rows}) SELECT * FROM entry) AS entry
WHERE attempt.delivery_id = entry.delivery_id AND attempt.outcome IS NULL"""
#: What outcomes make of their deliveries. `tries` and `withdrawn` are 0 or 1.
SETTLE = """
UPDATE delivery SET state = entry.target, reason = entry.reason, detail = entry.detail, code = entry.code,
    next_at = entry.next_at, provider_id = entry.provider_id, attempts = attempts + entry.tries,
    withdrawn = delivery.withdrawn + entry.withdrawn,
    first_attempt_at = CASE WHEN entry.tries THEN coalesce(first_attempt_at, entry.steady)
        ELSE first_attempt_at END,
    refused = CASE WHEN entry.refused <> '' THEN entry.refused ELSE delivery.refused END,
    updated_at = entry.at
FROM (WITH entry (delivery_id, source, target, reason, detail, code, next_at, provider_id, tries, withdrawn,
    steady, refused, at) AS ({rows}) SELECT * FROM entry) AS entry
WHERE delivery.id = entry.delivery_id AND delivery.state = entry.source"""

_Rows = list[tuple[object, ...]]


def counts_as_attempt(target: DeliveryState) -> bool:
    """Whether what takes a delivery to this state was a try: none that is put back, and none skipped."""
    return target not in (DeliveryState.PENDING, DeliveryState.SKIPPED)


class EntryRows:
    """Rows that wait to be written, at most one entry of each delivery.

    The state that a delivery goes from is the one that was read: it must still be in that one.
    """

    def __init__(self) -> None:
        self.deliveries: set[int] = set()  #: with rows that wait
        self._closed: _Rows = []
        self._finished: _Rows = []
        self._sending: _Rows = []
        self._opened: _Rows = []

    def open(self, entry: Open, source: DeliveryState, n: int, epoch: int, steady: float) -> None:
        """Attempt `n` of a delivery begins."""
        number, name, at = entry.delivery_id, entry.message_id, entry.at
        self.deliveries.add(number)
        self._sending.append((number, source.value, name, at, steady))
        attempt = (number, n, epoch, entry.provider, entry.account, name, entry.content_hash, at)
        self._opened.append((*attempt, NODE, entry.cost))

    def close(
        self, entry: Close, source: DeliveryState, target: DeliveryState, n: int, epoch: int, steady: float
    ) -> None:
        """Attempt `n` of a delivery has ended, or was never open. See `counts_as_attempt`."""
        number, at = entry.delivery_id, entry.at
        counts = counts_as_attempt(target)
        self.deliveries.add(number)
        if counts and not entry.opened:
            attempt = (number, n, epoch, entry.provider, "", entry.message_id, "", at, NODE, entry.cost)
            self._opened.append(attempt)
        if counts or entry.opened:
            outcome = target.value if counts else "withdrawn"
            said = (entry.stage, entry.reason, entry.detail, entry.code, entry.enhanced, entry.vendor)
            self._closed.append((number, at, outcome, *said, entry.provider_id, entry.provider_reply))
        at_once = target is DeliveryState.DEFERRED and entry.next_at is None
        self._finished.append(
            (
                number,
                source.value,
                target.value,
                entry.reason,
                entry.detail,
                entry.code,
                at if at_once else entry.next_at,
                entry.provider_id,
                int(counts),
                int(entry.opened and not counts),
                steady,
                entry.refused,
                at,
            )
        )

    def write(self, db: Transaction) -> None:
        """Write all that waits. Raises Conflict ("lost_update")."""
        write_rows(db, OPEN_ATTEMPTS, self._opened)
        write_rows(db, CLOSE_ATTEMPTS, self._closed)
        write_rows(db, SETTLE, self._finished)
        write_rows(db, SENDING, self._sending)
        for rows in (self._opened, self._closed, self._finished, self._sending):
            rows.clear()
        self.deliveries.clear()
