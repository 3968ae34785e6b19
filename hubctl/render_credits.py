"""Credits as text for people. Pure, as `render`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubctl.layout import number, plural, printable, sentences, table
from hubctl.render import clock

if TYPE_CHECKING:
    from hubd.wire.credit_results import EntryView, HoldView
    from hubd.wire.credit_views import CampaignCredits, CreditAccountView, CreditNeed

#: What the kinds of entries are called.
_KINDS = {"taken_back": "taken back"}


def accounts(rows: Sequence[CreditAccountView], *, colour: bool = False, width: int = 10_000) -> str:
    """A table of accounts."""
    heads = ("ACCOUNT", "AVAILABLE", "HELD", "SPENT", "GRANTED")
    cells = [(each["name"], each["available"], each["held"], each["spent"], each["granted"]) for each in rows]
    return table(heads, cells, colour=colour, width=width)


def holds(rows: Sequence[HoldView], *, colour: bool = False, width: int = 10_000) -> str:
    """A table of what campaigns hold of an account."""
    cells = [(each["campaign"] or "one-off messages", each["held"], each["spent"]) for each in rows]
    return table(("CAMPAIGN", "HELD", "SPENT"), cells, colour=colour, width=width)


def entries(rows: Sequence[EntryView], *, colour: bool = False, width: int = 10_000) -> str:
    """A table of the log of an account."""
    cells = [
        [
            clock(each["at"]),
            _KINDS.get(each["kind"], each["kind"]),
            number(each["credits"]),
            printable(each["campaign"] or each["note"]),
        ]
        for each in rows
    ]
    return sentences(("AT", "WHAT", "CREDITS", "FOR"), cells, colour=colour, width=width)


def of_campaign(found: CampaignCredits | None) -> str:
    """ "team: 48,211 spent, 1,200 held"; "" if nobody pays."""
    if found is None:
        return ""
    return f"{found['account']}: {number(found['spent'])} spent, {number(found['held'])} held"


def need(found: CreditNeed | None) -> str:
    """ "1,200 of the 5,000 that team has available"; "" if nobody pays."""
    if found is None:
        return ""
    if found["missing"]:
        lacks = f"{number(found['missing'])} more than {found['account']} has"
        return f"{number(found['needed'])} needed: {lacks}"
    held = f", {number(found['held'])} of them held already" if found["held"] else ""
    return (
        f"{plural(found['needed'], 'credit')}{held}; "
        f"{found['account']} has {number(found['available'])} available"
    )
