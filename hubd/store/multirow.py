"""Statements that write many rows at once, and the check that each of them found its row.

At every step of a statement the connection's thread gives up the interpreter lock and has to wait for it
again. Under load that takes longer than writing a row does, so the rows of a batch share their statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain

from hubd.errors import Conflict
from hubd.store.transaction import Result, Transaction

#: Rows in one statement, unless the caller says. Each number of rows is a statement of its own, and the
#: connection keeps them prepared: see `cached_statements` in `connection`.
MOST_ROWS = 64


def write_rows(
    db: Transaction, statement: str, rows: Sequence[tuple[object, ...]], *, most: int = MOST_ROWS
) -> None:
    """Run `statement`, in which `{rows}` stands for VALUES with these rows.

    Each of them must change exactly one row of the table. Raises Conflict ("lost_update").
    """
    for start in range(0, len(rows), most):
        some = rows[start : start + most]
        text = _with_values(statement, len(some), len(some[0]))
        _exactly(len(some), db.execute(text, tuple(chain.from_iterable(some))))


def exactly_one(done: Result) -> None:
    """Exactly one row was changed, or what was read is not what was there: nothing of the unit may stay."""
    _exactly(1, done)


def _exactly(count: int, done: Result) -> None:
    if done.rowcount != count:
        raise Conflict("the delivery is not in the state that this entry is about", code="lost_update")


@cache
def _with_values(statement: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(rows=f"VALUES {', '.join([row] * rows)}")
