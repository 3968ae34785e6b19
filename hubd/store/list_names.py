"""The id of a list by its name."""

from __future__ import annotations

from hubd.errors import NotFound
from hubd.store.transaction import Transaction

#: A list's id.
LIST_ID = "SELECT id FROM list WHERE name = ?"


def list_id(db: Transaction, name: str) -> int | None:
    """The list with this name."""
    found = db.execute(LIST_ID, (name,)).fetchone()
    return None if found is None else found["id"]


def no_such_list(name: str) -> NotFound:
    """The error for an unknown list."""
    return NotFound(
        f"there is no list {name!r}", code="list_not_found", hint="to show all lists: hubctl lists"
    )
