"""What the methods about contacts, lists and the suppression list take."""

from __future__ import annotations

from typing import Annotated

import msgspec

from hubd.wire.params import MAX_INTEGER, MAX_ROWS, ChannelName, Count, Key, Limit, Name, Params, Reason, Word


class ImportRow(Params, frozen=True, gc=False):
    """One row of a table: its line in the file, and its cells by column."""

    line: Count
    values: dict[str, str]


class ContactsImport(Params, frozen=True):
    """One page of rows; the pages of one file share their `import_id`."""

    list_name: Name = msgspec.field(name="list")
    rows: Annotated[list[ImportRow], msgspec.Meta(max_length=MAX_ROWS)]
    import_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    dry_run: bool = False
    region: str | None = None
    idempotency_key: Key = None
    replace: bool = False  #: remember whom the rows name, for `list.trim`


class ContactsColumns(Params, frozen=True):
    """The header of a table, and what the person who imports it says about its columns."""

    columns: Annotated[list[str], msgspec.Meta(max_length=10_000)]
    maps: Annotated[dict[str, str], msgspec.Meta(max_length=10_000)] = {}  #: column to field
    skip: Annotated[list[str], msgspec.Meta(max_length=10_000)] = []  #: columns to leave out
    addresses: bool = False  #: for `suppression.import`, which also takes a column `address`


class ContactsList(Params, frozen=True):
    """A page of contacts; `after` is the `next` of the page before."""

    list_name: Name | None = msgspec.field(default=None, name="list")
    after: Count = 0
    limit: Limit = 200


class ContactKey(Params, frozen=True):
    """An email address, a phone number or a contact id."""

    key: Word


class ContactAdd(Params, frozen=True):
    """Put one contact on a list; it needs an email address or a phone number."""

    list_name: Name = msgspec.field(name="list")
    email: Word | None = None
    phone: Word | None = None
    fields: Annotated[dict[str, str], msgspec.Meta(max_length=200)] = {}
    region: str | None = None
    idempotency_key: Key = None
    dry_run: bool = False


class ContactRemove(Params, frozen=True):
    """Delete one contact; or with `list`, take it off this list."""

    key: Word
    idempotency_key: Key = None
    dry_run: bool = False
    list_name: Name | None = msgspec.field(default=None, name="list")


class ContactForget(Params, frozen=True):
    """Erase a person: an email address, a phone number or a contact id."""

    key: Word
    idempotency_key: Key = None
    dry_run: bool = False


class ListName(Params, frozen=True):
    """A list."""

    name: Name
    idempotency_key: Key = None
    dry_run: bool = False


class ListRename(Params, frozen=True):
    """A list, and the name that it gets."""

    name: Name
    new: Name
    idempotency_key: Key = None
    dry_run: bool = False


class ListTrim(Params, frozen=True):
    """Take off a list whoever was not in an import with `replace`, which had so many valid `rows`."""

    name: Name
    import_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    rows: Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]
    idempotency_key: Key = None
    dry_run: bool = False


class SuppressionAdd(Params, frozen=True):
    """Suppress an address: nothing is sent to it again.

    `imported` marks it as one of a file: those are refused on a nearly full disk, a single one is not.
    """

    channel: ChannelName
    address: Word
    reason: Reason = ""
    idempotency_key: Key = None
    imported: bool = False
    dry_run: bool = False
    region: str | None = None


class SuppressionImport(Params, frozen=True):
    """One page of rows with addresses to suppress; the pages of one file share their `import_id`.

    Without `channel`, every address of a row counts.
    """

    rows: Annotated[list[ImportRow], msgspec.Meta(max_length=MAX_ROWS)]
    import_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    channel: ChannelName | None = None
    reason: Reason = ""
    region: str | None = None
    idempotency_key: Key = None
    dry_run: bool = False


class SuppressionRemove(Params, frozen=True):
    """Allow messages to this address again."""

    channel: ChannelName
    address: Word
    idempotency_key: Key = None
    dry_run: bool = False
    region: str | None = None


class SuppressionList(Params, frozen=True):
    """A page of suppressed addresses; or one address, if it is suppressed, which needs its channel."""

    channel: ChannelName | None = None
    address: Word | None = None
    after: Word | None = None
    limit: Limit = 200
