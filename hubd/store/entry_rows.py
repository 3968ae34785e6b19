"""The rows that entries of the attempt ledger are written as, gathered and then written all at once."""

from __future__ import annotations

from hubd.core.ledger import Close, Open
from hubd.core.model import DeliveryState
from hubd.store.multirow import write_rows
from hubd.store.transaction import Transaction
from hubd.store.unit import NODE

#: What an attempt that begins makes of its delivery.
OPEN = """
UPDATE delivery SET state = 'sending', next_at = NULL, updated_at = entry.at, message_id = entry.message_id,
    first_attempt_at = coalesce(first_attempt_at, entry.steady)
FROM (WITH entry (delivery_id, source, at, steady, message_id) AS ({rows}) SELECT * FROM entry) AS entry
WHERE delivery.id = entry.delivery_id AND delivery.state = entry.source"""
#: What one that was accepted makes of it: nearly every one. Each column more would take half a microsecond.
ACCEPT = """
UPDATE delivery SET state = 'sent', next_at = NULL, updated_at = entry.at, reason = '', detail = '',
    code = entry.code, provider_id = entry.provider_id, attempts = attempts + 1
FROM (WITH entry (delivery_id, at, code, provider_id) AS ({rows}) SELECT * FROM entry) AS entry
WHERE delivery.id = entry.delivery_id AND delivery.state = 'sending'"""
#: What any other end makes of it. NULL: as it was. `tries` and `withdrawn` are 0 or 1.
CLOSE = """
UPDATE delivery SET state = entry.target, next_at = entry.next_at, updated_at = entry.at,
    reason = entry.reason, detail = entry.detail, code = entry.code, provider_id = entry.provider_id,
    refused = coalesce(entry.refused, delivery.refused),
    attempts = attempts + entry.tries, withdrawn = delivery.withdrawn + entry.withdrawn,
    first_attempt_at = coalesce(first_attempt_at, entry.steady)
FROM (WITH entry (delivery_id, source, target, next_at, at, steady, reason, detail, code, provider_id,
    refused, tries, withdrawn) AS ({rows}) SELECT * FROM entry) AS entry
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
        self._opened: _Rows = []
        self._opened_attempts: _Rows = []
        self._accepted: _Rows = []
        self._closed: _Rows = []
        self._closed_attempts: _Rows = []

    def open(self, entry: Open, source: DeliveryState, n: int, epoch: int, steady: float) -> None:
        """Attempt `n` of a delivery begins."""
        number, name, at = entry.delivery_id, entry.message_id, entry.at
        self.deliveries.add(number)
        self._opened.append((number, source.value, at, steady, name))
        attempt = (number, n, epoch, entry.provider, entry.account, name, entry.content_hash, at)
        self._opened_attempts.append((*attempt, NODE, entry.cost))

    def close(
        self, entry: Close, source: DeliveryState, target: DeliveryState, n: int, epoch: int, steady: float
    ) -> None:
        """Attempt `n` of a delivery has ended, or was never open. See `counts_as_attempt`."""
        number, at = entry.delivery_id, entry.at
        counts = counts_as_attempt(target)
        self.deliveries.add(number)
        if counts and not entry.opened:
            attempt = (number, n, epoch, entry.provider, "", entry.message_id, "", at, NODE, entry.cost)
            self._opened_attempts.append(attempt)
        if counts or entry.opened:
            outcome = target.value if counts else "withdrawn"
            said = (entry.stage, entry.reason, entry.detail, entry.code, entry.enhanced, entry.vendor)
            self._closed_attempts.append(
                (number, at, outcome, *said, entry.provider_id, entry.provider_reply)
            )
        if target is DeliveryState.SENT and entry.opened and not (entry.reason or entry.detail):
            self._accepted.append((number, at, entry.code, entry.provider_id))
            return
        at_once = target is DeliveryState.DEFERRED and entry.next_at is None
        self._closed.append(
            (
                number,
                source.value,
                target.value,
                at if at_once else entry.next_at,
                at,
                steady if counts else None,
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
        for statement, rows in (
            (OPEN_ATTEMPTS, self._opened_attempts),
            (CLOSE_ATTEMPTS, self._closed_attempts),
            (OPEN, self._opened),
            (ACCEPT, self._accepted),
            (CLOSE, self._closed),
        ):
            write_rows(db, statement, rows)
            rows.clear()
        self.deliveries.clear()
