"""Gives the pages that nothing uses any longer back to the file system, a few at a time.

SQLite keeps them for what comes and never makes the file shorter by itself. With `auto_vacuum = INCREMENTAL`
(https://sqlite.org/pragma.html#pragma_incremental_vacuum) pages from the end of the file are moved into free
ones, and the file is cut off at the next checkpoint. That makes each new page dearer, so a file gets it when
it is first rewritten (see `compaction`); before that it is left as it is.
"""

from __future__ import annotations

import sqlite3

from hubd.failpoints import reach
from hubd.store.batch import check_epoch, roll_back

PIECE = 32  #: pages in one transaction: a few milliseconds, for which what is queued meanwhile has to wait
LEAST_KEPT = 256  #: free pages that stay in the file, for what is written next: 1 MiB
SHARE_KEPT = 20  #: or this part of all its pages, if that is more: a twentieth

INCREMENTAL = 2  #: what `PRAGMA auto_vacuum` says of a file that can be cut off


def give_back(epoch: int, db: sqlite3.Connection) -> int:
    """Cut up to `PIECE` free pages off the file; how many went: 0 when there are no more than should stay.

    `epoch` is this boot's. Raises `TakenOver` and `sqlite3.Error`, and nothing is changed then.
    """
    if number(db, "auto_vacuum") != INCREMENTAL:
        return 0
    free, pages = number(db, "freelist_count"), number(db, "page_count")
    wanted = min(PIECE, free - max(LEAST_KEPT, pages // SHARE_KEPT))
    if wanted <= 0:
        return 0
    try:
        # As a script: each step of the statement frees one page, and `execute` takes one step only.
        db.executescript(f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({wanted})")
        check_epoch(epoch, db)
        reach("in_giving_back")
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise
    return wanted


def number(db: sqlite3.Connection, pragma: str) -> int:
    """The value of a pragma that is a number."""
    found: int = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    return found
