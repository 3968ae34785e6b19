"""Credits: credits, credits grant|history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hubctl import render_credits
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import ShowingNouns, command
from hubctl.listing import Listing
from hubctl.names import account_names
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.wire.credit_results import EntryView
    from hubd.wire.credit_views import CreditAccountView

RECENT = 50  #: lines of an account's log that are shown on a terminal
_ACCOUNT = ("name", "granted", "held", "spent", "available")
_ENTRY = ("id", "at", "kind", "credits", "campaign", "note")


@click.command("credits", cls=ShowingNouns, example="hubctl credits")
@click.pass_context
def credits(ctx: click.Context, /, **_: Any) -> None:
    """Show the credit accounts; or grant credits, or show the log of an account.

    A campaign file names the account that pays: credits = "team". One credit is one email, or one segment of
    an SMS. A start reserves what the campaign needs, and is refused if the account has too few.
    """
    if ctx.invoked_subcommand is None:
        _show(ctx.ensure_object(App))


def _show(app: App) -> None:
    listing: Listing[CreditAccountView] = Listing(
        app=app,
        key="accounts",
        columns=_ACCOUNT,
        table=lambda rows: render_credits.accounts(rows, colour=app.coloured(), width=app.width()),
        empty="no credit accounts yet; to create one: hubctl credits grant ACCOUNT N",
    )
    listing.rows(app.call(m.CREDITS_LIST)["accounts"])
    listing.end()


@command("grant", within=credits, example="hubctl credits grant team 10000 --note 'March'", changes=True)
@click.argument("account", shell_complete=account_names)
@click.argument("credits", type=int, metavar="N")
@click.option("--note", default="", metavar="TEXT", help="What they are for; kept in the log of the account.")
@click.option(
    "--warn-below",
    "low_at",
    type=click.IntRange(min=0),
    metavar="N",
    help="Report once when fewer than N are available (default: a tenth of what the account then has).",
)
def grant(app: App, account: str, credits: int, note: str, low_at: int | None, dry_run: bool) -> None:
    """Grant credits to an account, which is created if there is none. A negative number takes them back.

    What is held for messages or spent cannot be taken back. Campaigns that are paused because their account
    had too few credits resume by themselves if there are enough now.
    """
    asked = {"account": account, "credits": credits, "note": note, **dry(dry_run)}
    found = app.call(m.CREDITS_GRANT, **asked, **({} if low_at is None else {"low_at": low_at}))
    after = found["account"]
    what = f"grant {credits:,} to" if credits > 0 else f"take {-credits:,} back from"
    if dry_run:
        sentence = f"would {what} {account}, leaving {after['available']:,} available"
        show_dry_run(app, {"account": after, "would": found.get("would", {})}, sentence)
    elif not print_result(app, found, of="account"):
        app.out(f"{account}: {after['available']:,} available of {after['granted']:,}")


# A negative number is no option.
grant.context_settings = {**grant.context_settings, "ignore_unknown_options": True}


@command("history", within=credits, example="hubctl credits history team")
@click.argument("account", shell_complete=account_names)
def history(app: App, account: str) -> None:
    """Show what was granted, reserved and released, newest first, and what each campaign has spent."""
    listing: Listing[EntryView] = Listing(
        app=app,
        key="entries",
        columns=_ENTRY,
        table=lambda rows: render_credits.entries(rows, colour=app.coloured(), width=app.width()),
        empty="nothing has been granted yet",
    )
    found = app.call(m.CREDITS_HISTORY, account=account)
    listing.head = {"account": found["account"], "campaigns": found["campaigns"]}
    if listing.for_people:
        app.out(render_credits.accounts([found["account"]], colour=app.coloured(), width=app.width()))
        if found["campaigns"]:
            app.out(f"\n{render_credits.holds(found['campaigns'], colour=app.coloured(), width=app.width())}")
        app.out()
    listing.rows(found["entries"])
    while found["next"] and not (listing.for_people and len(found["entries"]) >= RECENT):
        found = app.call(m.CREDITS_HISTORY, account=account, before=found["next"])
        listing.rows(found["entries"])
    listing.end()
