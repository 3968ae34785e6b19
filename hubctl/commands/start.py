"""Starting a campaign, now or at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hubctl import layout
from hubctl.answer import print_result
from hubctl.app import App, Json
from hubctl.command import command
from hubctl.exits import Exit, Refused
from hubctl.render_series import next_times, zone_of
from hubctl.selection import choose, of_campaigns
from hubd.errors import BadInput, PreflightFailed
from hubd.wire import methods as m
from hubd.wire.words import RISKS

if TYPE_CHECKING:
    from hubd.wire import campaign_results as r


@command("start", example="hubctl start spring-sale --follow", changes=True)
@of_campaigns
@click.option("-f", "--follow", is_flag=True, help="Show progress until it ends.")
@click.option("--wait", is_flag=True, help="Show nothing; return when the campaign ends.")
@click.option(
    "--at",
    metavar="TIME",
    help='Start at this time: "2026-12-01 09:00", "tomorrow 9:00", "monday 9:00", 9:00 today; or now.',
)
@click.option(
    "--timezone",
    "zone",
    metavar="ZONE",
    help="The time zone of --at, such as Europe/Berlin (default: the campaign's, else this computer's).",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Send N messages, then pause (a canary)."
)
@click.option("--dry-run", is_flag=True, help="Show what would happen; send nothing.")
@click.option(
    "--accept-risk",
    "risks",
    multiple=True,
    type=click.Choice(RISKS),
    metavar="RISK",
    help=f"Start despite this risk (repeatable): {', '.join(RISKS)}.",
)
def start(
    app: App,
    names: tuple[str, ...],
    label: str | None,
    follow: bool,
    wait: bool,
    zone: str | None,
    dry_run: bool,
    risks: tuple[str, ...],
    **when: Any,
) -> int:
    """Start a campaign, or resume a paused, stopped or failed one; or several.

    On a terminal it asks first and says how many will get a message. Ctrl-C only stops watching: the campaign
    continues in the daemon. Keys while --follow shows progress: p pauses, r resumes, s stops (it asks), d
    detaches. With --follow or --wait the exit code is 0 if the campaign completed (or reached its --limit),
    and 1 if it ended or paused for another reason. One that repeats is not waited for.
    """
    choice = choose(names, label)
    name = choice.one
    asked = _time_asked({key: value for key, value in when.items() if value is not None}, zone)
    if risks:
        asked["accept_risk"] = list(risks)
    if not name:
        from hubctl.commands.start_several import start_several

        return start_several(app, choice, asked, zone, shown=follow, waits=follow or wait, dry_run=dry_run)
    if dry_run:
        return _dry_run(app, name, asked, zone)
    if app.may_ask() and not app.yes:
        _ask(app, name, asked, zone)
    with refusals(name):
        found = app.call(m.CAMPAIGN_START, name=name, **asked)
    refuse_late_limit(found["campaign"], asked, changed=bool(found["changed"]))
    if not (follow or wait) or found["campaign"].get("repeats"):
        _tell(app, name, found, zone)
        return Exit.DONE
    from hubctl.follow import follow_to_the_end

    return follow_to_the_end(
        app, name, shown=follow, limited="limit" in asked, changed=bool(found["changed"])
    )


def refuse_late_limit(view: r.CampaignView, asked: Json, *, changed: bool) -> None:
    """Refuse a limit for a campaign that already runs without one: a success would mislead."""
    if "limit" in asked and not changed and view["state"] == "running" and view["limit"] is None:
        name = view["name"]
        raise Refused(
            f"{name} is already running without a limit: --limit {asked['limit']} was not set",
            code="running",
            status=Exit.CONFLICT,
            hint=f"hubctl pause {name} first, then: hubctl start {name} --limit {asked['limit']}",
        )


def unfit(name: str, error: PreflightFailed) -> Refused:
    """A failed preflight with a line for each problem and the way past it."""
    from hubctl.render import problems

    listed = error.data.get("problems")
    return Refused(
        f"{name} is not ready to start",
        code=error.code,
        hint=error.hint or f"check again with: hubctl check {name}",
        details=problems(listed, ways=False) if isinstance(listed, list) and listed else [str(error)],
        data=error.data,
    )


def _time_asked(when: Json, zone: str | None) -> Json:
    """`--at` and `--timezone` as the daemon takes them."""
    from hubctl.start_times import has_offset, local_zone

    at = when.get("at")
    if zone is not None and (at is None or has_offset(at)):
        why = "this time already has an offset from UTC" if at else "it is the time zone of --at"
        raise click.UsageError(f"--timezone: {why}")
    if at is None or has_offset(at):
        return when
    if zone is not None:
        return {**when, "at": f"{at} {zone}"}
    return {**when, "timezone": local_zone()}


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """A start that is refused, in the words of the command line."""
    try:
        yield
    except PreflightFailed as error:
        raise unfit(name, error) from error
    except BadInput as error:
        if error.data.get("errors", [{}])[0].get("path") != "at":  # type: ignore[index]  # the daemon's list
            raise
        raise Refused(f"--{error}", code="usage", status=Exit.USAGE, hint=error.hint) from error


def _would(app: App, name: str, asked: Json) -> r.StartResult:
    with refusals(name):
        return app.call(m.CAMPAIGN_START, name=name, dry_run=True, **asked)


def _radius(name: str, found: r.StartResult) -> str:
    """Who would get it, in one line: "start spring-sale: 48,212 recipients via office, about 3 h".

    Of one that was stopped: "start spring-sale: 200 of 293 are left via office, about 10 s".
    """
    from hubctl import render

    would = found["would"]
    assert would is not None, "it was asked for"
    parts = [f"{render.reached(would)} via {found['campaign']['provider']}"]
    parts += filter(None, (render.matched(would.get("matching")), render.estimate(would["estimate"])))
    return f"start {name}: {', '.join(parts)}"


def people_of(found: r.StartResult) -> int:
    """How many would get it now."""
    return found["would"]["remaining"] if found["would"] else 0


def plan(name: str, found: r.StartResult, asked: Json, zone: str | None) -> str:
    """The radius, how many of them now, and when."""
    from hubctl.start_times import shown

    limit = f", {layout.number(asked['limit'])} of them now" if "limit" in asked else ""
    at = found["would"] and found["would"].get("at")
    when = f", on {shown(at, zone)}" if at else ""
    return _radius(name, found) + limit + when


def unaccepted(found: r.StartResult, asked: Json) -> list[r.ProblemView]:
    """Preflight problems that stand in the way of this start."""
    accepted = asked.get("accept_risk") or ()
    problems = found["would"]["problems"] if found["would"] else []
    return [each for each in problems if each["risk"] not in accepted]


def _ask(app: App, name: str, asked: Json, zone: str | None) -> None:
    found = _would(app, name, asked)
    if found["campaign"]["state"] == "running" or unaccepted(found, asked):
        return  # nothing to ask: it runs already, or starting it will say what is wrong
    reached = min(people_of(found), asked.get("limit", sys.maxsize))
    app.confirm(plan(name, found, asked, zone), needed=False, name=name, people=reached)


def _dry_run(app: App, name: str, asked: Json, zone: str | None) -> int:
    from hubctl import render

    found = _would(app, name, asked)
    refuse_late_limit(found["campaign"], asked, changed=False)
    problems = unaccepted(found, asked)
    for each in found.get("warnings") or ():
        app.complain(f"warning: {each}")
    planned = found["would"]
    assert planned is not None, "it was asked for"
    would = {key: value for key, value in planned.items() if key != "state"}
    if not print_result(app, {"name": name, "dry_run": True, **found, "would": would}):
        already = found["campaign"]["state"] == "running"
        app.out(f"{name} is already running" if already else f"would {plan(name, found, asked, zone)}")
        if len(times := planned.get("upcoming") or []) > 1:
            app.out(f"  then     {next_times(times[1:], found['campaign'].get('repeats'))}")
        if skipped := render.skips(planned["skipped"], found["campaign"]["channel"]):
            app.out(f"  skipped  {skipped}")
        if problems:
            app.out("\n".join(["it is not ready to start:", *render.problems(problems)]))
        app.note("nothing was sent")
    return Exit.FAILED if problems else Exit.DONE


def started(name: str, found: r.StartResult, zone: str | None) -> str:
    """ "spring is running", or when it will be."""
    view = found["campaign"]
    if view["state"] == "scheduled":
        from hubctl.start_times import shown

        repeats = view.get("repeats")
        already = " already" if repeats and not found["changed"] else ""
        words = f"repeats {repeats}; next on" if repeats else "is scheduled for"
        return f"{name} {words} {shown(view['scheduled_at'], zone or zone_of(repeats))}{already}"
    return f"{name} is {view['state']}" + ("" if found["changed"] else " already")


def _tell(app: App, name: str, found: r.StartResult, zone: str | None) -> None:
    for each in found.get("warnings") or ():
        app.complain(f"warning: {each}")
    if print_result(app, {"name": name, **found}, of="campaign"):
        return
    from hubctl.render import matched

    if text := matched(found.get("matching")):
        app.note(text)
    app.out(started(name, found, zone))
    if found["campaign"]["state"] == "scheduled":
        app.note(f"to cancel this: hubctl stop {name}")
    else:
        app.note(f"follow it with: hubctl watch {name}")
