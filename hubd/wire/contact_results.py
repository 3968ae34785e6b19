"""What the methods about contacts, lists and the suppression list answer."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.results import Done


class RemovedResult(Done):
    """A contact was deleted. `cancelled` is how many messages to it will not be sent."""

    cancelled: int


class ForgottenResult(Done):
    """A person was erased; `messages` is to how many messages, `cancelled` how many of them waited."""

    contact: bool  #: whether it was a contact
    cancelled: int
    messages: int


class AddedResult(Done):
    """A contact is on a list. `contact_id` is empty in a dry run of a new one."""

    contact_id: str


class ListRenamedResult(Done):
    """A list was renamed. `campaigns` are those whose files have the old one."""

    campaigns: list[str]


class ListDeletedResult(Done):
    """A list is gone. `contacts` were on it; `campaigns` are those whose files name it."""

    contacts: int
    campaigns: list[str]


class TrimResult(Done):
    """`removed` is how many contacts were taken off the list."""

    removed: int


class RowFault(TypedDict):
    line: int
    field: str
    problem: str


class ImportResult(TypedDict):
    rows: int
    imported: int
    updated: int
    unchanged: int
    duplicates: int
    invalid: int
    errors: list[RowFault]
    warnings: list[RowFault]  # of rows that were taken, but not whole


class SuppressImportResult(TypedDict):
    """`added`, `unchanged` and `invalid` add up to `rows`."""

    rows: int
    added: int  #: rows with an address that was not suppressed
    unchanged: int
    invalid: int
    errors: list[RowFault]
    warnings: list[RowFault]  # of rows that have a good address, too


class ColumnStatus(TypedDict):
    column: str
    key: str | None  #: what its cells are sent under; null when it is left out
    field: str | None  #: the field that it fills
    note: str


class ColumnsResult(TypedDict):
    fields: dict[str, str]
    columns: list[ColumnStatus]  #: in the order of the header


class ListStatus(TypedDict):
    name: str
    contacts: int


class ListsResult(TypedDict):
    lists: list[ListStatus]


class ContactView(TypedDict):
    contact_id: str
    email: str | None
    phone: str | None
    fields: dict[str, str]
    lists: NotRequired[list[str]]
    created_at: str | None
    updated_at: str | None


class ContactsResult(TypedDict):
    contacts: list[ContactView]
    next: int | None


class ContactResult(TypedDict):
    contact: ContactView


class SuppressionView(TypedDict):
    channel: str
    address: str
    reason: str
    source: str
    created_at: str | None


class SuppressionsResult(TypedDict):
    suppressions: list[SuppressionView]
    next: str | None
