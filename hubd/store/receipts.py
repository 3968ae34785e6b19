"""Attempts whose answer is not known, settled by what came back: the provider took the message after all.

The worker that waits for the answer may still hand it in; then it is only noted.
"""

from __future__ import annotations

from hubd.core.ledger import Close
from hubd.core.model import DeliveryState
from hubd.store.transaction import Transaction
from hubd.store.unit import SharedUnit

RECEIPT = "receipt"  #: why an attempt without an answer counts as sent
LATE_ANSWER = "The provider's answer was not known, but what came back shows that it accepted the message."

#: The open attempt of a delivery was accepted.
CLOSE_OPEN = """
UPDATE attempt SET outcome = 'sent', closed_at = ?, reason = 'receipt', detail = ?
WHERE delivery_id = ? AND outcome IS NULL"""
COUNT_TRY = "UPDATE delivery SET attempts = attempts + 1 WHERE id = ?"
#: So was the last one in doubt.
CLOSE_DOUBT = """
UPDATE attempt SET outcome = 'sent', reason = 'receipt', detail = ? WHERE id = (
    SELECT id FROM attempt WHERE delivery_id = ? AND outcome = 'in_doubt' ORDER BY n DESC LIMIT 1)"""
#: The provider's name for the message, where it was lost with the answer.
NAME = "UPDATE delivery SET provider_id = ? WHERE id = ? AND provider_id = ''"
#: Whether the last attempt of a delivery was settled in this way.
LAST_ATTEMPT = """
SELECT id, reason FROM attempt WHERE delivery_id = ? ORDER BY n DESC LIMIT 1"""
#: What the provider answered then.
NOTE_ANSWER = """
UPDATE attempt SET stage = ?, code = ?, enhanced = ?, vendor_word = ?, provider_id = ?, provider_reply = ?
WHERE id = ?"""


def settle_sent(unit: SharedUnit, delivery_id: int, state: DeliveryState, provider_id: str) -> None:
    """The attempt of a delivery in this state was accepted; the delivery itself is moved by the caller."""
    if state is DeliveryState.SENDING:
        unit.db.execute(CLOSE_OPEN, (unit.now, LATE_ANSWER, delivery_id))
        unit.db.execute(COUNT_TRY, (delivery_id,))
    else:
        unit.db.execute(CLOSE_DOUBT, (LATE_ANSWER, delivery_id))
    if provider_id:
        unit.db.execute(NAME, (provider_id, delivery_id))


def note_late_answer(db: Transaction, entry: Close) -> bool:
    """Note the answer to an attempt that something that came back has settled; False for any other one."""
    last = db.execute(LAST_ATTEMPT, (entry.delivery_id,)).fetchone()
    if last is None or last["reason"] != RECEIPT:
        return False
    if entry.to is DeliveryState.SENT:
        said = (
            entry.stage,
            entry.code,
            entry.enhanced,
            entry.vendor,
            entry.provider_id,
            entry.provider_reply,
        )
        db.execute(NOTE_ANSWER, (*said, last["id"]))
        if entry.provider_id:
            db.execute(NAME, (entry.provider_id, entry.delivery_id))
    return True
