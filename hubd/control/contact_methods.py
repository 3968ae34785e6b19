"""`contacts.*` and `suppression.*`: contacts, lists and suppressed addresses."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress as suppress_errors
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import trio

from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.table import Disk, changes, reads
from hubd.control.views import contact_view, problem_of, suppression_view
from hubd.core.columns import plan_columns
from hubd.core.intake import (
    AddressRow,
    ContactRow,
    RowProblem,
    check_region,
    email_address,
    phone_number,
    read_addresses,
    read_row,
)
from hubd.core.model import Channel
from hubd.core.records import Contact, Forgotten, ImportCount
from hubd.core.spec_reading import list_name
from hubd.errors import BadInput
from hubd.wire import Encoded, encoded
from hubd.wire import contact_params as p
from hubd.wire import contact_results as r
from hubd.wire.params import Params
from hubd.wire.results import Done

Row = TypeVar("Row", ContactRow, AddressRow)

#: By import, the page that came last: its event is set when the next page may be written.
_last: WeakValueDictionary[str, trio.Event] = WeakValueDictionary()


async def import_page(hub: Hub, params: p.ContactsImport, command: Command) -> r.ImportResult:
    """Import one page of rows; invalid rows are reported and do not stop the valid ones.

    A client may send a page before the previous one is answered. Pages are checked concurrently and written
    in the order in which they arrived: the first row of an address wins.
    """
    try:
        name = list_name(params.list_name)
    except BadInput as error:
        raise BadInput.at("list", problem_of(error)) from None
    read = partial(read_row, region=check_region(params.region) if params.region else None)
    page: _Page[ContactRow] = await _read_in_order(params, read)
    if command.dry_run:
        count = await hub.contacts.try_import(name, page.good, params.import_id)
        if params.replace:
            await hub.lists.rehearse(params.import_id, page.good)
        return _imported(page, count)
    work = hub.contacts.importing(name, page.good, params.import_id)
    if params.replace:
        work = hub.lists.naming(work, params.import_id, page.good)
    answer = await command.write(work, partial(_imported, page))
    hub.supervisor.wake_triggered(name)
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page(Generic[Row]):
    """The rows of a page that can be used, and those that cannot."""

    rows: int
    good: list[Row]
    bad: list[RowProblem]
    dropped: list[RowProblem]  #: of good rows


async def _read_in_order(
    params: p.ContactsImport | p.SuppressionImport,
    read: Callable[[int, dict[str, str]], Row | RowProblem],
) -> _Page[Row]:
    """Read a page of rows, and return after the page of the same file that arrived before it."""
    before, mine = _last.get(params.import_id), trio.Event()
    _last[params.import_id] = mine
    try:
        # Checking addresses takes real work; the loop has campaigns to run meanwhile.
        page = await trio.to_thread.run_sync(_read_rows, params.rows, read)
        if before is not None:
            await before.wait()
    finally:
        mine.set()  # the next page is queued behind this one, and may be in the same transaction
    return page


def _imported(page: _Page[ContactRow], count: ImportCount) -> r.ImportResult:
    taken = [RowProblem(line=line, field="phone", problem=_TAKEN) for line in count.conflicts]
    return {
        "rows": page.rows,
        "imported": count.imported,
        "updated": count.updated,
        "unchanged": count.unchanged,
        "duplicates": len(count.duplicates),
        "invalid": len(page.bad),
        "errors": _faults(page.bad),
        "warnings": _faults([*page.dropped, *taken]),
    }


def _faults(problems: Sequence[RowProblem]) -> list[r.RowFault]:
    return [{"line": each.line, "field": each.field, "problem": each.problem} for each in problems]


_TAKEN = "belongs to another contact and was left out"


def _read_rows(
    rows: Sequence[p.ImportRow], read: Callable[[int, dict[str, str]], Row | RowProblem]
) -> _Page[Row]:
    good: list[Row] = []
    bad: list[RowProblem] = []
    dropped: list[RowProblem] = []
    for row in rows:
        match read(row.line, row.values):
            case RowProblem() as problem:
                bad.append(problem)
            case found:
                good.append(found)
                dropped += found.dropped
    return _Page(rows=len(rows), good=good, bad=bad, dropped=dropped)


async def columns(hub: Hub, params: p.ContactsColumns) -> r.ColumnsResult:
    """Which field each column of a table fills."""
    plan = partial(
        plan_columns, params.columns, maps=params.maps, skip=params.skip, addresses=params.addresses
    )
    uses = await trio.to_thread.run_sync(plan)  # ten thousand columns with the same name take a second
    return {
        "fields": {use.column: use.field for use in uses if use.field},
        "columns": [
            {"column": use.column, "key": use.key or None, "field": use.field or None, "note": use.note}
            for use in uses
        ],
    }


async def lists(hub: Hub, _: Params) -> r.ListsResult:
    """All lists with their sizes."""
    return {"lists": [{"name": item.name, "contacts": item.contacts} for item in await hub.contacts.lists()]}


async def page(hub: Hub, params: p.ContactsList) -> Encoded:
    """A page of contacts."""
    rows = await hub.contacts.page(params.list_name, params.after, params.limit)
    return await trio.to_thread.run_sync(_page, rows, params.limit)


def _page(rows: Sequence[Contact], limit: int) -> Encoded:
    shown: r.ContactsResult = {
        "contacts": [contact_view(row) for row in rows],
        "next": rows[-1].id if len(rows) == limit else None,
    }
    return encoded(shown)


async def get(hub: Hub, params: p.ContactKey) -> r.ContactResult:
    """One contact with its lists."""
    contact = await hub.contacts.get(params.key)
    return {"contact": {**contact_view(contact), "lists": list(contact.lists)}}


async def remove(hub: Hub, params: p.ContactRemove, command: Command) -> r.RemovedResult:
    """Delete a contact and cancel what waits for it, or take it off one list.

    When messages were sent to it, and whether it is suppressed, is kept.
    """

    if params.list_name is not None:
        work = hub.lists.leaving(params.key, params.list_name)
        return await command.write(work, lambda left: {**command.done(changed=left), "cancelled": 0})

    def answer(cancelled: int) -> r.RemovedResult:
        return {**command.done(changed=True), "cancelled": cancelled}

    found = await command.write(hub.contacts.removing(params.key), answer)
    if found["cancelled"] and not command.dry_run:
        hub.supervisor.read_again()
    return found


async def forget(hub: Hub, params: p.ContactForget, command: Command) -> r.ForgottenResult:
    """Erase a person everywhere: the contact, the recipient and text of messages, and files of the outbox.

    A suppressed address stays suppressed: a keyed hash of it is kept.
    """
    keys = _keys(params.key)

    def answer(found: Forgotten) -> r.ForgottenResult:
        return {
            **command.done(changed=found.known),
            "contact": found.contact,
            "cancelled": found.cancelled,
            "messages": found.messages,
        }

    done = await command.write(hub.contacts.forgetting(params.key, keys), answer)
    if done["cancelled"] and not command.dry_run:
        hub.supervisor.read_again()
    return done


def _keys(text: str) -> list[str]:
    """An address as it is compared; empty for anything else, such as a contact's id."""
    found = []
    for channel in Channel:
        with suppress_errors(BadInput):
            found.append(address_key(channel, text))
    return found


async def suppress(hub: Hub, params: p.SuppressionAdd, command: Command) -> Done:
    """Never write to an address again."""
    channel = Channel(params.channel)
    key = address_key(channel, params.address, params.region)
    work = hub.contacts.suppressing(channel, key, params.reason or "manual", "operator")
    found = await command.write(work, partial(_suppressed, command, key), bulk=params.imported)
    if found["changed"] and not params.imported:
        hub.supervisor.read_again()
    return found


async def suppress_page(hub: Hub, params: p.SuppressionImport, command: Command) -> r.SuppressImportResult:
    """Suppress every address of a page of rows; invalid rows are reported and do not stop the valid ones."""
    only = {None: None, "email": "email", "sms": "phone"}[params.channel]
    region = check_region(params.region) if params.region else None
    page: _Page[AddressRow] = await _read_in_order(params, partial(read_addresses, region=region, only=only))
    reason = params.reason or "imported"
    if command.dry_run:
        return _suppressed_page(page, await hub.contacts.try_suppress(page.good, params.import_id))
    work = hub.contacts.suppressing_page(page.good, reason, "operator")
    found = await command.write(work, partial(_suppressed_page, page))
    if found["added"]:
        hub.supervisor.read_again()
    return found


def _suppressed_page(page: _Page[AddressRow], added: int) -> r.SuppressImportResult:
    return {
        "rows": page.rows,
        "added": added,
        "unchanged": len(page.good) - added,
        "invalid": len(page.bad),
        "errors": _faults(page.bad),
        "warnings": _faults(page.dropped),
    }


async def unsuppress(hub: Hub, params: p.SuppressionRemove, command: Command) -> Done:
    """Allow an address again."""
    channel = Channel(params.channel)
    key = address_key(channel, params.address, params.region)
    return await command.write(hub.contacts.unsuppressing(channel, key), partial(_suppressed, command, key))


def _suppressed(command: Command, key: str, changed: bool) -> Done:
    answer = command.done(changed=changed)
    if command.dry_run:
        answer["would"]["address"] = key
    return answer


async def suppressions(hub: Hub, params: p.SuppressionList) -> r.SuppressionsResult:
    """A page of suppressed addresses."""
    channel = Channel(params.channel) if params.channel else None
    if params.address is not None:
        if channel is None:
            raise BadInput.at("channel", "is missing; it is needed to find an address")
        found = await hub.contacts.suppression(channel, address_key(channel, params.address))
        return {"suppressions": [suppression_view(found)] if found else [], "next": None}
    rows = await hub.contacts.suppressions(channel, _read_cursor(params.after), params.limit)
    last = rows[-1] if len(rows) == params.limit else None
    return {
        "suppressions": [suppression_view(row) for row in rows],
        "next": _cursor(last.channel.value, last.address) if last else None,
    }


def address_key(channel: Channel, address: str, region: str | None = None) -> str:
    """An address as it is compared; a phone of any kind. Raises `BadInput` at "address" or "region"."""
    region = check_region(region) if region else None
    try:
        if channel is Channel.EMAIL:
            return email_address(address)[1]
        return phone_number(address, region, any_kind=True)
    except BadInput as error:
        raise BadInput.at("address", problem_of(error)) from None


def _cursor(channel: str, address: str) -> str:
    return urlsafe_b64encode(json.dumps([channel, address]).encode()).decode()


def _read_cursor(text: str | None) -> tuple[str, str]:
    if not text:
        return "", ""
    try:
        channel, address = json.loads(urlsafe_b64decode(text.encode("ascii")))
    except (ValueError, TypeError):
        raise BadInput.at("after", 'not a "next" from an earlier page') from None
    return str(channel), str(address)


METHODS = (
    changes(
        "contacts.import",
        "Import a page of rows into a list.",
        p.ContactsImport,
        r.ImportResult,
        import_page,
        disk=Disk.NEEDS_SPACE,
    ),
    reads(
        "contacts.columns",
        "Which field each column of a table fills.",
        p.ContactsColumns,
        r.ColumnsResult,
        columns,
    ),
    reads("contacts.lists", "All lists.", Params, r.ListsResult, lists),
    reads("contacts.list", "A page of contacts.", p.ContactsList, r.ContactsResult, page, private=True),
    reads(
        "contacts.export",
        "A page of contacts, for writing to a file.",
        p.ContactsList,
        r.ContactsResult,
        page,
        private=True,
    ),
    reads("contacts.get", "One contact.", p.ContactKey, r.ContactResult, get, private=True),
    changes(
        "contacts.remove",
        "Delete one contact and cancel its waiting messages, or take it off one list.",
        p.ContactRemove,
        r.RemovedResult,
        remove,
    ),
    changes(
        "contacts.forget",
        "Erase a person everywhere; a suppressed address stays suppressed.",
        p.ContactForget,
        r.ForgottenResult,
        forget,
    ),
    changes("suppression.add", "Suppress an address.", p.SuppressionAdd, Done, suppress),
    changes(
        "suppression.import",
        "Suppress the addresses in a page of rows.",
        p.SuppressionImport,
        r.SuppressImportResult,
        suppress_page,
        disk=Disk.NEEDS_SPACE,
    ),
    changes("suppression.remove", "Allow an address again.", p.SuppressionRemove, Done, unsuppress),
    reads(
        "suppression.list",
        "A page of suppressed addresses.",
        p.SuppressionList,
        r.SuppressionsResult,
        suppressions,
        private=True,
    ),
)
