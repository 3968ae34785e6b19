"""Starting several campaigns in one command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from hubctl import layout
from hubctl.app import App, Json
from hubctl.commands.start import people_of, plan, refusals, refuse_late_limit, started, unaccepted
from hubctl.exits import Exit
from hubctl.selection import Act, Choice, Chosen, Outcome, find, for_each, print_rows
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import campaign_results as r


def start_several(
    app: App, choice: Choice, asked: Json, zone: str | None, *, shown: bool, waits: bool, dry_run: bool
) -> int:
    """Start them all, and with `waits` wait until each has ended or needs a person."""
    chosen = find(app, choice)
    if dry_run or (app.may_ask() and not app.yes):
        planned = for_each(app, chosen, _planning(asked, zone), dry_run=True)
        if dry_run:
            return print_rows(app, planned, dry_run=True)
        _ask(app, choice, chosen, planned, asked)

    async def act(hub: Client, name: str) -> Outcome:
        with refusals(name):
            found = await hub.call(m.CAMPAIGN_START, name=name, **asked)
        refuse_late_limit(found["campaign"], asked, changed=bool(found["changed"]))
        lines = [started(name, found, zone), *(f"warning: {each}" for each in found.get("warnings") or ())]
        return Outcome(answer=dict(found), text="; ".join(lines))

    rows = for_each(app, chosen, act)
    if waits:
        rows = _ended(app, rows, shown=shown, limited="limit" in asked)
    return print_rows(app, rows)


def _planning(asked: Json, zone: str | None) -> Act:
    async def act(hub: Client, name: str) -> Outcome:
        with refusals(name):
            found = await hub.call(m.CAMPAIGN_START, name=name, dry_run=True, **asked)
        refuse_late_limit(found["campaign"], asked, changed=False)
        already = found["campaign"]["state"] == "running"
        text = f"{name} is already running" if already else f"would {plan(name, found, asked, zone)}"
        problems = [each["problem"] for each in unaccepted(found, asked)]
        if problems:
            text = "; ".join(["it is not ready to start", *problems])
        return Outcome(answer=dict(found), text=text, exit=Exit.FAILED if problems else Exit.DONE)

    return act


def _ask(app: App, choice: Choice, chosen: Chosen, planned: Sequence[Json], asked: Json) -> None:
    """Ask once for all of them. Those that cannot be started are reported when it is tried."""
    ready = [row for row in planned if not row["exit"] and row["state"] != "running"]
    if not ready:
        return
    most = asked.get("limit", sys.maxsize)
    people = sum(min(people_of(cast("r.StartResult", row)), most) for row in ready)
    others = (
        f"; {layout.number(len(planned) - len(ready))} of them cannot or do"
        if len(ready) < len(planned)
        else ""
    )
    question = f"start {chosen.brief}: {layout.plural(people, 'recipient')}{others}"
    app.confirm(question, needed=False, name=choice.words, people=people)


def _ended(app: App, rows: Sequence[Json], *, shown: bool, limited: bool) -> list[Json]:
    """Wait for those that were started; their rows as they are then."""
    from hubctl.follow import ended_well, follow_several
    from hubctl.render import summary

    running = [row["name"] for row in rows if not row["exit"] and not row["campaign"].get("repeats")]
    views = follow_several(app, running, shown=shown) if running else {}
    told: list[Json] = []
    for row in rows:
        view = views.get(row["name"])
        if view is not None:
            status = Exit.DONE if ended_well(view, limited=limited) else Exit.FAILED
            row = {
                **row,
                "campaign": view,
                "state": view["state"],
                "exit": int(status),
                "text": summary(view),
            }
        told.append(row)
    return told
