"""Making a campaign go and stop: start, pause, resume, stop, rate, retry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hubctl import layout
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App, Json
from hubctl.command import command
from hubctl.exits import Exit, Refused
from hubctl.names import campaign_names
from hubd.errors import BadInput, PreflightFailed
from hubd.wire import methods as m
from hubd.wire.words import RISKS

if TYPE_CHECKING:
    from hubd.wire import results as r


@command("start", example="hubctl start spring-sale --follow", changes=True)
@click.argument("name", shell_complete=campaign_names)
@click.option("-f", "--follow", is_flag=True, help="Show progress until it ends.")
@click.option("--wait", is_flag=True, help="Show nothing, but return when the campaign ends.")
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
    name: str,
    follow: bool,
    wait: bool,
    zone: str | None,
    dry_run: bool,
    risks: tuple[str, ...],
    **when: Any,
) -> int:
    """Start a campaign, or resume a paused, stopped or failed one.

    On a terminal it asks first and says how many will get a message. Ctrl-C only stops watching: the campaign
    continues in the daemon. Keys while --follow shows progress: p pauses, r resumes, s stops (it asks), d
    detaches. With --follow or --wait the exit code is 0 if the campaign completed (or reached its --limit),
    and 1 if it ended or paused for another reason.
    """
    asked = _time_asked({key: value for key, value in when.items() if value is not None}, zone)
    if risks:
        asked["accept_risk"] = list(risks)
    if dry_run:
        return _dry_run(app, name, asked, zone)
    if app.may_ask() and not app.yes:
        _ask(app, name, asked, zone)
    with _refusals(name):
        found = app.call(m.CAMPAIGN_START, name=name, **asked)
    _refuse_late_limit(found["campaign"], asked, changed=bool(found["changed"]))
    if not (follow or wait):
        _tell(app, name, found, zone)
        return Exit.DONE
    from hubctl.follow import follow_to_the_end

    return follow_to_the_end(
        app, name, shown=follow, limited="limit" in asked, changed=bool(found["changed"])
    )


def _refuse_late_limit(view: r.CampaignView, asked: Json, *, changed: bool) -> None:
    """A canary that asks for a campaign that runs without a limit must not be told that all is well."""
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
        why = "this time has an offset from UTC already" if at else "it is the time zone of --at"
        raise click.UsageError(f"--timezone: {why}")
    if at is None or has_offset(at):
        return when
    if zone is not None:
        return {**when, "at": f"{at} {zone}"}
    return {**when, "timezone": local_zone()}


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """A start that is refused, in the words of the command line."""
    try:
        yield
    except PreflightFailed as error:
        raise unfit(name, error) from error
    except BadInput as error:
        if error.data.get("errors", [{}])[0].get("path") != "at":  # type: ignore[index]
            raise
        raise Refused(f"--{error}", code="usage", status=Exit.USAGE, hint=error.hint) from error


def _would(app: App, name: str, asked: Json) -> r.StartResult:
    with _refusals(name):
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


def _people(found: r.StartResult) -> int:
    """How many would get it now."""
    return found["would"]["remaining"] if found["would"] else 0


def _plan(name: str, found: r.StartResult, asked: Json, zone: str | None) -> str:
    """The radius, how many of them now, and when."""
    from hubctl.start_times import shown

    limit = f", {layout.number(asked['limit'])} of them now" if "limit" in asked else ""
    at = found["would"] and found["would"].get("at")
    when = f", on {shown(at, zone)}" if at else ""
    return _radius(name, found) + limit + when


def _unaccepted(found: r.StartResult, asked: Json) -> list[r.ProblemView]:
    """Preflight problems that stand in the way of this start."""
    accepted = asked.get("accept_risk") or ()
    problems = found["would"]["problems"] if found["would"] else []
    return [each for each in problems if each["risk"] not in accepted]


def _ask(app: App, name: str, asked: Json, zone: str | None) -> None:
    found = _would(app, name, asked)
    if found["campaign"]["state"] == "running" or _unaccepted(found, asked):
        return  # nothing to ask: it runs already, or starting it will say what is wrong
    reached = min(_people(found), asked.get("limit", sys.maxsize))
    app.confirm(_plan(name, found, asked, zone), needed=False, name=name, people=reached)


def _dry_run(app: App, name: str, asked: Json, zone: str | None) -> int:
    from hubctl import render

    found = _would(app, name, asked)
    _refuse_late_limit(found["campaign"], asked, changed=False)
    problems = _unaccepted(found, asked)
    for each in found.get("warnings") or ():
        app.complain(f"warning: {each}")
    planned = found["would"]
    assert planned is not None, "it was asked for"
    would = {key: value for key, value in planned.items() if key != "state"}
    if not print_result(app, {"name": name, "dry_run": True, **found, "would": would}):
        already = found["campaign"]["state"] == "running"
        app.out(f"{name} is running already" if already else f"would {_plan(name, found, asked, zone)}")
        if skipped := render.skips(planned["skipped"], found["campaign"]["channel"]):
            app.out(f"  skipped  {skipped}")
        if problems:
            app.out("\n".join(["it is not ready to start:", *render.problems(problems)]))
        app.note("nothing was sent")
    return Exit.FAILED if problems else Exit.DONE


def _tell(app: App, name: str, found: r.StartResult, zone: str | None) -> None:
    for each in found.get("warnings") or ():
        app.complain(f"warning: {each}")
    if print_result(app, {"name": name, **found}, of="campaign"):
        return
    from hubctl.render import matched

    if text := matched(found.get("matching")):
        app.note(text)
    view = found["campaign"]
    if view["state"] == "scheduled":
        from hubctl.start_times import shown

        app.out(f"{name} is scheduled for {shown(view['scheduled_at'], zone)}")
        app.note(f"to take it back: hubctl stop {name}")
    else:
        app.out(f"{name} is {view['state']}" + ("" if found["changed"] else " already"))
        app.note(f"follow it with: hubctl watch {name}")


def _move(app: App, method: m.Method[r.ChangeResult], name: str, *, dry_run: bool) -> None:
    found = app.call(method, name=name, **dry(dry_run))
    if dry_run:
        _show_move_plan(app, method.name.partition(".")[2], name, found)
    else:
        _tell_move(app, name, found)


def _show_move_plan(app: App, event: str, name: str, found: r.ChangeResult) -> None:
    from hubctl.render import waiting

    view, would = found["campaign"], found["would"]
    failed = int(would.get("failed", 0))
    left = waiting(view["counts"]) - failed
    people = f": {layout.plural(left, 'recipient')} {'is' if left == 1 else 'are'} left" if left else ""
    first = (
        f"would fail {layout.plural(failed, 'refused recipient')} and {event}" if failed else f"would {event}"
    )
    sentence = f"{first} {name}{people}" if would["change"] else f"{name} is {would['state']} already"
    show_dry_run(app, {"name": name, "campaign": view, "would": would}, sentence)


def _tell_move(app: App, name: str, found: r.ChangeResult) -> None:
    from hubctl import render

    if not print_result(app, {"name": name, **found}, of="campaign"):
        app.out(render.summary(found["campaign"]) + ("" if found["changed"] else " (it was already)"))


@command("pause", example="hubctl pause spring-sale", changes=True)
@click.argument("name", shell_complete=campaign_names)
def pause(app: App, name: str, dry_run: bool) -> None:
    """Pause a campaign. When this command returns, nothing more is sent until you resume."""
    _move(app, m.CAMPAIGN_PAUSE, name, dry_run=dry_run)


@command("resume", example="hubctl resume spring-sale", changes=True)
@click.argument("name", shell_complete=campaign_names)
@click.option("-f", "--follow", is_flag=True, help="Show progress until it ends.")
@click.option("--wait", is_flag=True, help="Show nothing, but return when the campaign ends.")
@click.option(
    "--fail-refused",
    is_flag=True,
    help="Fail the recipients whose refusals paused it instead of trying them again.",
)
def resume(app: App, name: str, follow: bool, wait: bool, fail_refused: bool, dry_run: bool) -> int:
    """Resume a paused campaign.

    If the same refusal for many recipients paused it, they are tried again; those that are refused in the
    same way again fail, and the campaign continues. `hubctl deliveries NAME --refused` lists them. With
    --follow or --wait the exit code is that of `hubctl start`.
    """
    refused = {"fail_refused": True} if fail_refused else {}
    found = app.call(m.CAMPAIGN_RESUME, name=name, **refused, **dry(dry_run))
    if dry_run:
        _show_move_plan(app, "resume", name, found)
        return Exit.DONE
    if failed := int(found.get("failed", 0)):
        app.note(f"{layout.plural(failed, 'refused recipient')} failed")
    if not (follow or wait):
        _tell_move(app, name, found)
        return Exit.DONE
    from hubctl.follow import follow_to_the_end

    limited = found["campaign"]["limit"] is not None
    return follow_to_the_end(app, name, shown=follow, limited=limited, changed=bool(found["changed"]))


@command("stop", example="hubctl stop spring-sale", changes=True)
@click.argument("name", shell_complete=campaign_names)
def stop(app: App, name: str, dry_run: bool) -> None:
    """Stop a campaign. When this command returns, nothing more is sent.

    `hubctl start` continues with the remaining recipients.
    """
    _move(app, m.CAMPAIGN_STOP, name, dry_run=dry_run)


@command("rate", example="hubctl rate spring-sale 20/s", changes=True)
@click.argument("name", shell_complete=campaign_names)
@click.argument("rates", nargs=-1, required=True, metavar="RATE...")
def rate(app: App, name: str, rates: tuple[str, ...], dry_run: bool) -> None:
    """Change how fast a campaign may send. Takes effect at once, also while it runs.

    RATE is, for example, 20/s, 500/minute or 10000/day. Several rates apply together; `none` removes them.
    """
    wanted = None if rates == ("none",) else list(rates)
    found = app.call(m.CAMPAIGN_RATE, name=name, rate=wanted, **dry(dry_run))
    if dry_run:
        _show_rate_plan(app, name, wanted, found)
        return
    if not print_result(app, {"name": name, "rate": wanted, **found}, of="campaign"):
        limit = f"at most {', '.join(rates)}" if wanted else "no limit of its own"
        app.out(f"{name}: {limit}" + ("" if found["changed"] else ", as it was"))


def _show_rate_plan(app: App, name: str, wanted: list[str] | None, found: r.ChangeResult) -> None:
    from hubctl.render import rates

    view, would = found["campaign"], found["would"]
    now, then = (rates(each) or "no limit of its own" for each in (view["rates"], wanted or []))
    sentence = (
        f"{name} would have {then} instead of {now}" if would["change"] else f"{name} has {now} already"
    )
    show_dry_run(app, {"name": name, "rate": wanted, "campaign": view, "would": would}, sentence)


@command("retry", example="hubctl retry spring-sale --class transient", changes=True)
@click.argument("name", shell_complete=campaign_names)
@click.option(
    "--class",
    "kind",
    type=click.Choice(["transient", "permanent", "all"]),
    help="Queue failed recipients of this class again.",
)
@click.option(
    "--in-doubt",
    type=click.Choice(["resend", "sent", "failed"]),
    help="Decide about deliveries in doubt: resend (a duplicate is possible), or record what happened.",
)
@click.option(
    "--accept-risk",
    "risks",
    multiple=True,
    type=click.Choice(["resend"]),
    metavar="RISK",
    help="Do not ask about this risk: resend (somebody may get the message twice).",
)
def retry(
    app: App, name: str, kind: str | None, in_doubt: str | None, risks: tuple[str, ...], dry_run: bool
) -> None:
    """Queue failed recipients again, or decide about deliveries in doubt. See `hubctl failures` first.

    The default is --class transient. `hubctl deliveries NAME --state in_doubt` lists the deliveries in doubt.
    An email that is sent again keeps its Message-ID, so many mail systems show it only once; a text message
    has none. Every decision is recorded in the audit trail.
    """
    if kind is None and in_doubt is None:
        kind = "transient"
    if dry_run:
        found = app.call(m.CAMPAIGN_RETRY, name=name, in_doubt=in_doubt, dry_run=True, **{"class": kind})
        _show_retry_plan(app, name, in_doubt, found)
        return
    if in_doubt == "resend" and "resend" not in risks:
        view = app.call(m.CAMPAIGN_GET, name=name)["campaign"]
        count = int(view["counts"]["in_doubt"])
        if count:
            app.confirm(
                f"resend {name} to {layout.plural(count, 'recipient')} who may already have got it",
                needed=True,
                name=name,
                people=count,
            )
    found = app.call(m.CAMPAIGN_RETRY, name=name, in_doubt=in_doubt, **{"class": kind})
    if not print_result(app, {"name": name, **found}, of="campaign"):
        app.out(f"{name}: {_retried(found, in_doubt if kind is None else None)}")
        for line in _left_out(name, found, kind):
            app.note(line)


def _show_retry_plan(app: App, name: str, in_doubt: str | None, found: r.RetryResult) -> None:
    would = found["would"]
    again, doubts, alone = would["retried"], would["decided"], would["suppressed"]
    parts = [f"queue {layout.plural(again, 'recipient')} again"] if again else []
    if doubts:
        whom = layout.plural(doubts, "recipient")
        resent = f"resend to {whom} who may already have got it"
        parts.append(resent if in_doubt == "resend" else f"count {whom} in doubt as {in_doubt}")
    sentence = f"would {' and '.join(parts)}" if parts else "nothing to retry"
    sentence += f"; {_left_alone(alone)}" if alone else ""
    shown = {key: value for key, value in would.items() if key != "suppressed"}
    show_dry_run(app, {"name": name, "campaign": found["campaign"], "would": shown}, f"{name}: {sentence}")


def _left_alone(count: int) -> str:
    """ "2 are on the suppression list and unchanged"."""
    return f"{layout.number(count)} {'is' if count == 1 else 'are'} on the suppression list and unchanged"


def _retried(found: r.RetryResult, in_doubt: str | None) -> str:
    """What came of it; `in_doubt` is the decision when nothing else was asked for."""
    changed = int(found["changed"])
    if not changed:
        return "nobody is in doubt" if in_doubt else "nothing to retry"
    done = {
        "resend": "queued again; duplicates are possible",
        "sent": "counted as sent",
        "failed": "counted as failed",
    }
    whom = layout.plural(changed, "recipient")
    return f"{whom} {done.get(in_doubt or '', 'queued again')}; it is {found['campaign']['state']}"


def _left_out(name: str, found: r.RetryResult, kind: str | None) -> list[str]:
    """Which failures stay after those of the class `kind` were queued again, and the way to each of them."""
    if kind is None:
        return []
    suppressed, others = int(found.get("suppressed", 0)), int(found.get("left", 0))
    lines = []
    if others and kind == "transient":
        lines.append(f"{layout.number(others)} failed for good: hubctl retry {name} --class permanent")
    elif others:
        lines.append(f"{layout.number(others)} failed otherwise: hubctl retry {name} --class transient")
    if suppressed:
        way = "hubctl suppress remove ADDRESS, if messages may be sent to it again"
        lines.append(f"{_left_alone(suppressed)}: {way}")
    return lines
