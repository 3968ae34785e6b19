"""A campaign that was started: pause, resume, stop, rate, retry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubctl import layout
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Exit
from hubctl.names import campaign_names
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.wire import results as r


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
