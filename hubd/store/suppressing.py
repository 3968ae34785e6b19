"""One page of addresses to suppress, as one unit of work. It is counted in rows: a row may have several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubd.core.model import Channel, SkipReason
from hubd.store.cancelling import cancel_waiting
from hubd.store.importing import FORGET_REHEARSALS, MAKE_REHEARSAL, REHEARSE
from hubd.store.multirow import write_rows
from hubd.store.unit import Unit

if TYPE_CHECKING:
    from hubd.core.intake import AddressRow

#: Which of these addresses are suppressed.
SUPPRESSED = """
SELECT address_key FROM suppression
WHERE channel = ? AND address_key IN (SELECT value FROM json_each(?))"""
#: Addresses that are not suppressed yet.
SUPPRESS_ALL = "INSERT INTO suppression (channel, address_key, reason, source, created_at) {rows}"
#: So many in one statement: more are hardly faster, and each number of rows is kept prepared.
AT_ONCE = 250

_Address = tuple[str, str]  #: channel and key


def suppress_page(unit: Unit, rows: Sequence[AddressRow], reason: str, source: str) -> int:
    """Suppress the addresses of the rows: how many rows had one that was not suppressed."""
    seen = _suppressed(unit, rows)
    new: set[_Address] = set()
    count = 0
    for row in rows:
        found = {each for each in _addresses(row) if each not in seen}
        new |= found
        seen |= found
        count += bool(found)
    values = [(channel, key, reason, source, unit.now) for channel, key in sorted(new)]
    write_rows(unit.db, SUPPRESS_ALL, values, most=AT_ONCE)
    opted_out = reason == SkipReason.OPTED_OUT
    why = SkipReason.OPTED_OUT if opted_out else SkipReason.SUPPRESSED
    cancel_waiting(unit, [key for _, key in sorted(new)], why)
    return count


def rehearse_page(unit: Unit, rows: Sequence[AddressRow], import_id: str) -> int:
    """How many rows have an address that neither is suppressed nor was in an earlier row of the import."""
    db = unit.db
    db.execute(MAKE_REHEARSAL)
    db.execute(FORGET_REHEARSALS, (import_id,))
    seen = _suppressed(unit, rows)
    count = 0
    for row in rows:
        fresh = [
            db.execute(REHEARSE, (import_id, key)).rowcount == 1
            for channel, key in _addresses(row)
            if (channel, key) not in seen
        ]
        count += any(fresh)
    return count


def _addresses(row: AddressRow) -> list[_Address]:
    return [
        *((Channel.EMAIL.value, key) for key in row.emails),
        *((Channel.SMS.value, key) for key in row.phones),
    ]


def _suppressed(unit: Unit, rows: Sequence[AddressRow]) -> set[_Address]:
    asked = {
        Channel.EMAIL.value: [key for row in rows for key in row.emails],
        Channel.SMS.value: [key for row in rows for key in row.phones],
    }
    return {
        (channel, key)
        for channel, keys in asked.items()
        for (key,) in unit.db.execute(SUPPRESSED, (channel, json.dumps(keys)))
    }
