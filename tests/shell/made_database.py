"""A new database for a test, without the whole history of the schema for each.

The migrations take much longer than a copy of the file that they leave.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
import time
from contextlib import closing
from functools import cache
from pathlib import Path

from hubd.store.opening import prepare


def make_database(path: Path) -> None:
    """Make the database of a new installation at `path`, as hubd does, if there is no file."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(_new())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute(
            "UPDATE hub SET install_key = ?, instance_id = ?, created_at = ?",
            (secrets.token_bytes(32), secrets.token_hex(8), time.time()),
        )


@cache
def _new() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "hub.db"
        prepare(path)
        return path.read_bytes()
