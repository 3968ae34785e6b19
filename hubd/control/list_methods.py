"""`list.*` and `contacts.add`: what is on a list, and what it is called."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from hubd.control.command import Command
from hubd.control.hub import Hub, Work
from hubd.control.table import Disk, changes
from hubd.control.views import problem_of
from hubd.core.decide import Leaving, Pages
from hubd.core.intake import RowProblem, check_region, read_row
from hubd.core.spec_reading import list_name
from hubd.errors import BadInput
from hubd.wire import contact_params as p
from hubd.wire import contact_results as r

T = TypeVar("T")
A = TypeVar("A", r.ListDeletedResult, r.TrimResult)


async def add(hub: Hub, params: p.ContactAdd, command: Command) -> r.AddedResult:
    """Put one contact on a list, creating the list if needed; a known contact is updated."""
    name = _new_name("list", params.list_name)
    region = check_region(params.region) if params.region else None
    given = {"email": params.email, "phone": params.phone}
    row = read_row(1, {**params.fields, **{key: text for key, text in given.items() if text}}, region=region)
    if isinstance(row, RowProblem):
        raise BadInput.at(row.field, row.problem)
    for dropped in row.dropped:  # unlike a row of a file, whose other cells are still useful
        hint = "nothing was added; correct it, or leave it out"
        raise BadInput.at(dropped.field, dropped.cause, hint=hint)
    work = hub.lists.adding(name, row, f"add:{secrets.token_hex(8)}")

    def answer(found: tuple[bool, str]) -> r.AddedResult:
        changed, contact_id = found
        # A new contact's id is random, and the rollback discards it.
        known = "" if command.dry_run and changed else contact_id
        return {**command.done(changed=changed), "contact_id": known}

    added = await command.write(work, answer)
    hub.supervisor.wake_triggered(name)
    return added


async def rename(hub: Hub, params: p.ListRename, command: Command) -> r.ListRenamedResult:
    """Rename a list. Campaign files with the old name are not changed; the answer names the campaigns."""
    new = _new_name("new", params.new)

    def answer(campaigns: tuple[str, ...]) -> r.ListRenamedResult:
        return {**command.done(changed=new != params.name), "campaigns": list(campaigns)}

    return await command.write(hub.lists.renaming(params.name, new), answer)


async def delete(hub: Hub, params: p.ListName, command: Command) -> r.ListDeletedResult:
    """Delete a list. Its contacts stay, and so do the recipients that campaigns took from it."""

    def answer(done: Leaving, campaigns: tuple[str, ...]) -> r.ListDeletedResult:
        return {**command.done(changed=True), "contacts": done.left, "campaigns": list(campaigns)}

    pages = hub.lists.emptying(params.name)
    last = partial(hub.lists.deleting, params.name)
    return await _in_pages(command, pages, last, answer, rehearsed=hub.lists.users(params.name))


async def trim(hub: Hub, params: p.ListTrim, command: Command) -> r.TrimResult:
    """Take contacts that were not in an import off a list."""

    def answer(done: Leaving, _: None) -> r.TrimResult:
        return {**command.done(changed=done.left > 0), "removed": done.left}

    pages = hub.lists.trimming(params.name, params.import_id, params.rows)
    last = partial(hub.lists.ending_trim, params.name, params.import_id)
    return await _in_pages(command, pages, last, answer, rehearsed=lambda _: None)


async def _in_pages(
    command: Command,
    pages: Pages[Leaving],
    last: Callable[[Leaving], Work[T]],
    answer: Callable[[Leaving, T], A],
    *,
    rehearsed: Work[T],
) -> A:
    """Do it page by page; or, for a dry run, count, and do what is `rehearsed` in place of the last step."""
    if command.dry_run:

        def plan(unit: Any) -> tuple[Leaving, T]:
            done = pages.plan(unit.db)
            return done, rehearsed(unit)

        return await command.write(plan, lambda found: answer(*found))
    commands = command.hub.commands
    _, said = await commands.carry_out_pages(command.request, pages, last, answer, bulk=command.bulk)
    return said


def _new_name(path: str, text: str) -> str:
    try:
        return list_name(text)
    except BadInput as error:
        raise BadInput.at(path, problem_of(error)) from None


METHODS = (
    changes(
        "contacts.add", "Put one contact on a list.", p.ContactAdd, r.AddedResult, add, disk=Disk.NEEDS_SPACE
    ),
    changes("list.rename", "Rename a list.", p.ListRename, r.ListRenamedResult, rename),
    changes("list.delete", "Delete a list; its contacts stay.", p.ListName, r.ListDeletedResult, delete),
    changes(
        "list.trim", "Take contacts that were not in an import off a list.", p.ListTrim, r.TrimResult, trim
    ),
)
