"""The rows that entries of the attempt ledger are written as, gathered and then written all at once."""

from __future__ import annotations

from hubd.core.ledger import Close, Open
from hubd.core.model import DeliveryState
from hubd.store.multirow import write_rows
from hubd.store.transaction import Transaction
from hubd.store.unit import NODE

#: What entries make of their deliveries: an attempt begins, or it has ended. NULL: as it was. `tries` and
#: `withdrawn` are 0 or 1.
MOVE = """
UPDATE delivery SET state = entry.target, next_at = entry.next_at, updated_at = entry.at,
    message_id = coalesce(entry.message_id, delivery.message_id),
    reason = coalesce(entry.reason, delivery.reason), detail = coalesce(entry.detail, delivery.detail),
    code = coalesce(entry.code, delivery.code),
    provider_id = coalesce(entry.provider_id, delivery.provider_id),
    refused = coalesce(entry.refused, delivery.refused),
    attempts = attempts + entry.tries, withdrawn = delivery.withdrawn + entry.withdrawn,
    first_attempt_at = coalesce(first_attempt_at, entry.steady)
FROM (WITH entry (delivery_id, source, target, next_at, at, steady, message_id, reason, detail, code,
    provider_id, refused, tries, withdrawn) AS ({rows}) SELECT * FROM entry) AS entry
WHERE delivery.id = entry.delivery_id AND delivery.state = entry.source"""
#: Attempts that begin.
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
        self._moved: _Rows = []
        self._opened: _Rows = []
        self._closed: _Rows = []

    def open(self, entry: Open, source: DeliveryState, n: int, epoch: int, steady: float) -> None:
        """Attempt `n` of a delivery begins."""
        number, name, at = entry.delivery_id, entry.message_id, entry.at
        self.deliveries.add(number)
        sending = (number, source.value, DeliveryState.SENDING.value, None, at, steady, name)
        self._moved.append((*sending, None, None, None, None, None, 0, 0))
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
        self._moved.append(
            (
                number,
                source.value,
                target.value,
                at if at_once else entry.next_at,
                at,
                steady if counts else None,
                None,
                entry.reason,
                entry.detail,
                entry.code,
                entry.provider_id,
                entry.refused or None,
                int(counts),
                int(entry.opened and not counts),
            )
        )

    def write(self, db: Transaction) -> None:
        """Write all that waits. Raises Conflict ("lost_update")."""
        write_rows(db, OPEN_ATTEMPTS, self._opened)
        write_rows(db, CLOSE_ATTEMPTS, self._closed)
        write_rows(db, MOVE, self._moved)
        for rows in (self._opened, self._closed, self._moved):
            rows.clear()
        self.deliveries.clear()
