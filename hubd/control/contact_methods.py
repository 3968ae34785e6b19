"""`contacts.*` and `suppression.*`: contacts, lists and suppressed addresses."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import partial
from weakref import WeakValueDictionary

import trio

from hubd.control.command import Command
from hubd.control.needs import Hub
from hubd.control.rows import Contact, ImportCount
from hubd.control.views import contact_view, problem_of, suppression_view
from hubd.core.intake import (
    ContactRow,
    RowProblem,
    check_columns,
    check_region,
    email_address,
    phone_number,
    read_row,
)
from hubd.core.model import Channel
from hubd.core.spec import list_name
from hubd.errors import BadInput
from hubd.wire import Encoded, encoded
from hubd.wire import params as p
from hubd.wire import results as r

#: Of each import the page that came last, until it was written: set when the next one may be.
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
    region = check_region(params.region) if params.region else None
    before, mine = _last.get(params.import_id), trio.Event()
    _last[params.import_id] = mine
    try:
        # Addresses take real work to judge; the loop has campaigns to run meanwhile.
        good, bad = await trio.to_thread.run_sync(_read_rows, params.rows, region)
        if before is not None:
            await before.wait()
    finally:
        mine.set()  # the next page is queued behind this one, and may be in the same transaction
    rows = len(params.rows)
    if command.dry_run:
        count = await hub.contacts.try_import(name, good, params.import_id)
        if params.replace:
            await hub.lists.rehearse(params.import_id, good)
        return _imported(rows, count, bad)
    work = hub.contacts.importing(name, good, params.import_id)
    if params.replace:
        work = hub.lists.naming(work, params.import_id, good)
    return await command.write(work, lambda count: _imported(rows, count, bad))


def _imported(rows: int, count: ImportCount, bad: Sequence[RowProblem]) -> r.ImportResult:
    return {
        "rows": rows,
        "imported": count.imported,
        "updated": count.updated,
        "unchanged": count.unchanged,
        "duplicates": len(count.duplicates),
        "invalid": len(bad),
        "errors": [{"line": row.line, "field": row.field, "problem": row.problem} for row in bad],
        "warnings": [{"line": line, "field": "phone", "problem": _TAKEN} for line in count.conflicts],
    }


_TAKEN = "belongs to another contact and was left out"


def _read_rows(rows: Sequence[p.ImportRow], region: str | None) -> tuple[list[ContactRow], list[RowProblem]]:
    good: list[ContactRow] = []
    bad: list[RowProblem] = []
    for row in rows:
        match read_row(row.line, row.values, region=region):
            case RowProblem() as problem:
                bad.append(problem)
            case contact:
                good.append(contact)
    return good, bad


async def columns(hub: Hub, params: p.ContactsColumns) -> r.ColumnsResult:
    """Which field each column of a table fills."""
    await trio.lowlevel.checkpoint()
    return {"fields": check_columns(params.columns)}


async def lists(hub: Hub, _: p.Params) -> r.ListsResult:
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

    When it was sent to, and whether it is suppressed, is kept.
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


async def suppress(hub: Hub, params: p.SuppressionAdd, command: Command) -> r.Done:
    """Never write to an address again."""
    channel = Channel(params.channel)
    key = address_key(channel, params.address)
    work = hub.contacts.suppressing(channel, key, params.reason or "manual", "operator")
    found = await command.write(work, partial(_suppressed, command, key), bulk=params.imported)
    if found["changed"] and not params.imported:
        hub.supervisor.read_again()
    return found


async def unsuppress(hub: Hub, params: p.SuppressionRemove, command: Command) -> r.Done:
    """Allow an address again."""
    channel = Channel(params.channel)
    key = address_key(channel, params.address)
    return await command.write(hub.contacts.unsuppressing(channel, key), partial(_suppressed, command, key))


def _suppressed(command: Command, key: str, changed: bool) -> r.Done:
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


def address_key(channel: Channel, address: str) -> str:
    """An address as it is compared. Raises `BadInput` at "address"."""
    try:
        return email_address(address)[1] if channel is Channel.EMAIL else phone_number(address)
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
        raise BadInput.at("after", 'not a "next" of an earlier page') from None
    return str(channel), str(address)
