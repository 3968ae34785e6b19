"""What came back: inbox, inbox show|reply|decide."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hubctl import render_inbox
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App, is_terminal
from hubctl.command import ShowingNouns, command
from hubctl.listing import Listing, read_pages
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import inbox_results as r

RECENT = 50  #: items that are shown on a terminal
KINDS = ("reply", "bounce", "complaint", "opt_out", "opt_in", "unmatched", "waiting")


class Items(ShowingNouns):
    """The first word is one of the commands, or else the campaign whose items are listed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take a campaign's name away before click looks for a command of that name."""
        ctx.meta["campaign"] = None
        valued = {name for param in self.params if _has_value(param) for name in param.opts}
        at = 0
        while at < len(args) and args[at].startswith("-"):
            at += 2 if args[at] in valued else 1
        if at < len(args) and self.get_command(ctx, args[at]) is None:
            ctx.meta["campaign"] = args[at]
            args = [*args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)


def _has_value(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and not param.is_flag


@click.command("inbox", cls=Items, example="hubctl inbox spring-sale --kind reply")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    metavar="KIND",
    help="Only these: reply, bounce, complaint, opt_out, opt_in, unmatched (not about a message of yours), "
    "waiting (for your decision).",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most N; on a terminal 50 if not given."
)
@click.pass_context
def inbox(ctx: click.Context, /, kind: str | None, limit: int | None, **_: Any) -> None:
    """Show what came back about a campaign (hubctl inbox NAME) or all of them, newest first.

    Replies, bounces, complaints and opt-outs. A reply that may be an opt-out in other words is marked (!):
    nothing more is sent to that person until you decide.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(App), ctx.meta["campaign"], kind, limit)
    elif ctx.meta["campaign"]:
        ctx.fail(f"There is no command {ctx.meta['campaign']!r}.")


def _list(app: App, name: str | None, kind: str | None, limit: int | None) -> None:
    listing: Listing[r.InboxItem] = Listing(
        app=app,
        key="items",
        columns=render_inbox.ITEM_COLUMNS,
        table=lambda rows: render_inbox.items(rows, colour=app.coloured(), width=app.width()),
        empty="nothing came back",
        schema=False,
    )
    cut = limit is None and listing.for_people and is_terminal(sys.stdout)
    asked = {"campaign": name, "kind": kind}

    async def work(hub: Client) -> None:
        await read_pages(
            lambda before, size: hub.begin(m.INBOX_LIST, before=before or 0, limit=size, **asked),
            listing.rows,
            entries=lambda page: page["items"],
            limit=RECENT if cut else limit,
        )

    app.talk(work)
    listing.end()
    if cut and listing.count == RECENT:
        app.note(f"the newest {RECENT}; for more: --limit N")


@command("show", within=inbox, example="hubctl inbox show 17")
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
def show(app: App, id_: int) -> None:
    """Show one thing that came back, all of it."""
    found = app.call(m.INBOX_GET, id=id_)
    if print_result(app, found, of="item"):
        return
    app.out(render_inbox.item(found["item"], width=app.width()))
    if "advice" in found["item"]:
        app.note(found["item"]["advice"])
    if found["item"]["decision"] == "waiting":
        app.note(f"to decide: hubctl inbox decide {id_} opt_out|continue")


@command("reply", within=inbox, example='hubctl inbox reply 17 --text "We open at nine."', changes=True)
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@click.option("--text", required=True, help="The text of the answer.")
@click.option("--key", "key", metavar="KEY", help="Calls with the same key answer only once.")
def reply(app: App, id_: int, text: str, key: str | None, dry_run: bool) -> None:
    """Answer a reply, through the provider that sent your message; print the id of the answer."""
    asked = {"id": id_, "text": text, **({"idempotency_key": key} if key else {})}
    found = app.call(m.INBOX_REPLY, **asked, **dry(dry_run))
    if dry_run:
        would = found["would"]["change"]
        show_dry_run(app, {"id": id_, **found}, f"would answer item {id_}" if would else "answered already")
    elif not print_result(app, {"id": id_, **found}):
        app.out(str(found["delivery_id"]))


@command("decide", within=inbox, example="hubctl inbox decide 17 opt_out", changes=True)
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@click.argument("decision", type=click.Choice(("opt_out", "continue")))
def decide(app: App, id_: int, decision: str, dry_run: bool) -> None:
    """Decide about a reply: `opt_out` sends the person nothing more, `continue` sends what was held."""
    found = app.call(m.INBOX_DECIDE, id=id_, decision=decision, **dry(dry_run))
    said = {"opt_out": "the person gets no more messages", "continue": "the person gets messages again"}
    if dry_run:
        show_dry_run(app, {"id": id_, **found}, f"would decide: {decision}")
    elif not print_result(app, {"id": id_, **found}):
        app.out(said[decision] if found["changed"] else f"was already decided: {decision}")
