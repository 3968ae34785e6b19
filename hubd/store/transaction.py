"""What units of work need of a database: statements inside one transaction, and the rows that they give.

`sqlite3.Connection` fits as it is. Only what opens, checks, copies or closes the SQLite file uses more of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

R = TypeVar("R")


class Row(Protocol):
    """One row. A column is found by its name or its place."""

    def keys(self) -> Iterable[str]: ...
    def __getitem__(self, column: str | int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


class Result(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Transaction(Protocol):
    """Runs statements. It has begun, and is ended by whoever handed it out."""

    def execute(self, statement: str, values: Sequence[object] | Mapping[str, object] = (), /) -> Result: ...

    def executemany(self, statement: str, values: Iterable[Sequence[object]], /) -> Result: ...


def record(kind: type[R], row: Row, /, **others: object) -> R:
    """The record whose fields are the columns of a row, and `others`."""
    return msgspec.convert({**dict(row), **others}, kind)


#: The newest number of a table.
NEWEST = "SELECT newest FROM sequence WHERE name = ?"
#: The same after some more were given out. The row stays locked until the end of the transaction.
TAKE = "UPDATE sequence SET newest = newest + ? WHERE name = ? RETURNING newest"


def newest(db: Transaction, table: str) -> int:
    """The newest number that was given out in a table; rows with it and all before it are committed.

    `table` is "contact", "membership" or "event". Their rows are numbered by `take`, so that the order of
    the numbers is the order of the commits, and a number that was seen once is never given out again.
    """
    found: int = db.execute(NEWEST, (table,)).fetchone()[0]
    return found


def take(db: Transaction, table: str, n: int) -> int:
    """Give out the next `n` numbers of a table, as `newest` says; the first of them."""
    last: int = db.execute(TAKE, (n, table)).fetchone()[0]
    return last - n + 1
