"""The data of events about contacts and lists."""

from __future__ import annotations

from typing import TypedDict


class ContactsImported(TypedDict):
    """A page of an import that changed something."""

    list: str
    imported: int
    updated: int


class ListCounted(TypedDict):
    """A list, and how many contacts are not on it any more."""

    list: str
    contacts: int


class ListRenamed(TypedDict):
    """`list` is the name that it had, `to` the one that it has."""

    list: str
    to: str


class ContactRemoved(TypedDict):
    contact_id: str
