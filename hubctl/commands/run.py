"""A campaign that was started: pause, resume, stop, rate, retry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hubctl import layout
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App, Json
from hubctl.command import command
from hubctl.exits import Exit
from hubctl.names import campaign_names
from hubctl.selection import Choice, Outcome, choose, find, for_each, of_campaigns, print_rows
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import campaign_results as r


def _move(app: App, method: m.Method[r.ChangeResult], choice: Choice, *, dry_run: bool) -> int:
    name = choice.one
    if not name:
        return _move_each(app, method, choice, dry_run=dry_run)
    found = app.call(method, name=name, **dry(dry_run))
    if dry_run:
        _show_move_plan(app, method.name.partition(".")[2], name, found)
    else:
        _tell_move(app, name, found)
    return Exit.DONE


def _move_each(app: App, method: m.Method[Any], choice: Choice, *, dry_run: bool, **asked: object) -> int:
    event = method.name.partition(".")[2]

    async def act(hub: Client, name: str) -> Outcome:
        found = await hub.call(method, name=name, **asked, **dry(dry_run))
        text = _move_plan(event, name, found) if dry_run else _moved(found)
        return Outcome(answer=dict(found), text=text)

    return print_rows(app, for_each(app, find(app, choice), act, dry_run=dry_run), dry_run=dry_run)


def _show_move_plan(app: App, event: str, name: str, found: r.ChangeResult) -> None:
    values = {"name": name, "campaign": found["campaign"], "would": found["would"]}
    show_dry_run(app, values, _move_plan(event, name, found))


def _move_plan(event: str, name: str, found: r.ChangeResult) -> str:
    from hubctl.render import waiting

    view, would = found["campaign"], found["would"]
    failed = int(would.get("failed", 0))
    left = waiting(view["counts"]) - failed
    people = f": {layout.plural(left, 'recipient')} {'is' if left == 1 else 'are'} left" if left else ""
    first = (
        f"would fail {layout.plural(failed, 'refused recipient')} and {event}" if failed else f"would {event}"
    )
    return f"{first} {name}{people}" if would["change"] else f"{name} is already {would['state']}"


def _tell_move(app: App, name: str, found: r.ChangeResult) -> None:
    if not print_result(app, {"name": name, **found}, of="campaign"):
        app.out(_moved(found))
        if found["campaign"].get("repeats") and found["campaign"]["state"] == "stopped":
            app.note(f"what it has already started continues; to stop that as well: hubctl stop '{name}.*'")


def _moved(found: r.ChangeResult) -> str:
    from hubctl import render

    return render.summary(found["campaign"]) + ("" if found["changed"] else " (it already was)")


@command("pause", example="hubctl pause spring-sale", changes=True)
@of_campaigns
def pause(app: App, names: tuple[str, ...], label: str | None, dry_run: bool) -> int:
    """Pause a campaign, or several. When this command returns, nothing more is sent until you resume."""
    return _move(app, m.CAMPAIGN_PAUSE, choose(names, label), dry_run=dry_run)


@command("resume", example="hubctl resume spring-sale", changes=True)
@of_campaigns
@click.option("-f", "--follow", is_flag=True, help="Show progress until it ends.")
@click.option("--wait", is_flag=True, help="Show nothing; return when the campaign ends.")
@click.option(
    "--fail-refused",
    is_flag=True,
    help="Fail the recipients whose refusals paused it instead of trying them again.",
)
def resume(
    app: App,
    names: tuple[str, ...],
    label: str | None,
    follow: bool,
    wait: bool,
    fail_refused: bool,
    dry_run: bool,
) -> int:
    """Resume a paused campaign, or several.

    If the same refusal for many recipients paused it, they are tried again; those that are refused in the
    same way again fail, and the campaign continues. `hubctl deliveries NAME --refused` lists them. With
    --follow or --wait the exit code is that of `hubctl start`.
    """
    refused = {"fail_refused": True} if fail_refused else {}
    choice = choose(names, label)
    name = choice.one
    if not name:
        if follow or wait:
            raise click.UsageError("--follow and --wait are for one campaign; see: hubctl watch --help")
        return _move_each(app, m.CAMPAIGN_RESUME, choice, dry_run=dry_run, **refused)
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
@of_campaigns
def stop(app: App, names: tuple[str, ...], label: str | None, dry_run: bool) -> int:
    """Stop a campaign, or several. When this command returns, nothing more is sent.

    `hubctl start` continues with the remaining recipients.
    """
    return _move(app, m.CAMPAIGN_STOP, choose(names, label), dry_run=dry_run)


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
        app.out(f"{name}: {limit}" + ("" if found["changed"] else ", unchanged"))


def _show_rate_plan(app: App, name: str, wanted: list[str] | None, found: r.ChangeResult) -> None:
    from hubctl.render import rates

    view, would = found["campaign"], found["would"]
    now, then = (rates(each) or "no limit of its own" for each in (view["rates"], wanted or []))
    sentence = (
        f"{name} would have {then} instead of {now}" if would["change"] else f"{name} already has {now}"
    )
    show_dry_run(app, {"name": name, "rate": wanted, "campaign": view, "would": would}, sentence)


@command("retry", example="hubctl retry spring-sale --class transient", changes=True)
@of_campaigns
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
    app: App,
    names: tuple[str, ...],
    label: str | None,
    kind: str | None,
    in_doubt: str | None,
    risks: tuple[str, ...],
    dry_run: bool,
) -> int:
    """Queue failed recipients again, or decide about deliveries in doubt. See `hubctl failures` first.

    The default is --class transient. `hubctl deliveries NAME --state in_doubt` lists the deliveries in doubt.
    An email that is sent again keeps its Message-ID, so many mail systems show it only once; a text message
    has none. Every decision is recorded in the audit trail.
    """
    if kind is None and in_doubt is None:
        kind = "transient"
    choice = choose(names, label)
    resending = in_doubt == "resend" and "resend" not in risks
    name = choice.one
    if not name:
        return _retry_each(app, choice, kind, in_doubt, ask=resending, dry_run=dry_run)
    if dry_run:
        found = app.call(m.CAMPAIGN_RETRY, name=name, in_doubt=in_doubt, dry_run=True, **{"class": kind})
        _show_retry_plan(app, name, in_doubt, found)
        return Exit.DONE
    if resending:
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
    return Exit.DONE


def _retry_each(
    app: App, choice: Choice, kind: str | None, in_doubt: str | None, *, ask: bool, dry_run: bool
) -> int:
    chosen = find(app, choice)
    if ask and not dry_run:
        views = (chosen.views[name] for name in chosen.names if name in chosen.views)
        if count := sum(view["counts"]["in_doubt"] for view in views):
            people = layout.plural(count, "recipient")
            question = f"resend {chosen.brief} to {people} who may already have got it"
            app.confirm(question, needed=True, name=choice.words, people=count)

    async def act(hub: Client, name: str) -> Outcome:
        asked = {"in_doubt": in_doubt, "class": kind, **dry(dry_run)}
        found = await hub.call(m.CAMPAIGN_RETRY, name=name, **asked)
        if dry_run:
            return Outcome(answer=_planned(found), text=_retry_plan(in_doubt, found))
        lines = [_retried(found, in_doubt if kind is None else None), *_left_out(name, found, kind)]
        return Outcome(answer=dict(found), text="; ".join(lines))

    return print_rows(app, for_each(app, chosen, act, dry_run=dry_run), dry_run=dry_run)


def _show_retry_plan(app: App, name: str, in_doubt: str | None, found: r.RetryResult) -> None:
    show_dry_run(app, {"name": name, **_planned(found)}, f"{name}: {_retry_plan(in_doubt, found)}")


def _planned(found: r.RetryResult) -> Json:
    """What is shown of a dry run."""
    would = {key: value for key, value in found["would"].items() if key != "suppressed"}
    return {"campaign": found["campaign"], "would": would}


def _retry_plan(in_doubt: str | None, found: r.RetryResult) -> str:
    would = found["would"]
    again, doubts, alone = would["retried"], would["decided"], would["suppressed"]
    parts = [f"queue {layout.plural(again, 'recipient')} again"] if again else []
    if doubts:
        whom = layout.plural(doubts, "recipient")
        resent = f"resend to {whom} who may already have got it"
        parts.append(resent if in_doubt == "resend" else f"count {whom} in doubt as {in_doubt}")
    sentence = f"would {' and '.join(parts)}" if parts else "nothing to retry"
    return sentence + (f"; {_left_alone(alone)}" if alone else "")


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
        lines.append(
            f"{layout.number(others)} failed for other reasons: hubctl retry {name} --class transient"
        )
    if suppressed:
        way = "hubctl suppress remove ADDRESS, if messages may be sent to it again"
        lines.append(f"{_left_alone(suppressed)}: {way}")
    return lines
