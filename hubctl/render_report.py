"""Figures for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from hubctl import layout
from hubctl.render import clock

if TYPE_CHECKING:
    from hubd.wire import report_results as r

#: The fields of a row of figures, for tables that programs read.
FIGURES = (
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "bounced",
    "complaints",
    "replies",
    "opt_outs",
    "cost",
    "delivery_rate",
    "opt_out_rate",
    "last_run_at",
    "last_run_result",
    "completed_at",
)
_HEADS = (
    "SENT",
    "DELIVERED",
    "UNDELIVERED",
    "FAILED",
    "BOUNCED",
    "COMPLAINTS",
    "REPLIES",
    "OPT-OUTS",
    "DELIVERY RATE",
    "OPT-OUT RATE",
)
#: Left out where all are 0.
_SPARE = ("UNDELIVERED", "FAILED", "BOUNCED", "COMPLAINTS", "REPLIES", "OPT-OUTS")
_DAY_FORMATS = {"day": "%Y-%m-%d %a", "week": "%Y-%m-%d", "month": "%Y-%m"}


def report(found: r.ReportResult, by: str | None, *, colour: bool, width: int) -> str:
    """The campaigns, all of them together, how their last runs ended, and the figures over time."""
    rows = [(each["name"], *_figures(each)) for each in found["campaigns"]]
    if len(rows) > 1:
        rows.append(("all together", *_figures(found["total"])))
    blocks = [_table("CAMPAIGN", rows, colour=colour, width=width)]
    runs = [(each["name"], each["last_run_result"]) for each in found["campaigns"]]
    blocks.append("last runs:\n" + layout.facts(runs, width=width))
    if by is not None:
        lines = [(_start(each["at"], by), *_figures(each)) for each in found["series"]]
        over_time = _table(by.upper(), lines, colour=colour, width=width)
        blocks.append(over_time if lines else "nothing happened in this period")
    return "\n\n".join(blocks)


def _figures(row: r.FiguresView) -> tuple[object, ...]:
    return (
        row["sent"],
        row["delivered"],
        row["undelivered"],
        row["failed"],
        row["bounced"],
        row["complaints"],
        row["replies"],
        row["opt_outs"],
        rate(row["delivery_rate"]),
        rate(row["opt_out_rate"]),
    )


def rate(part: float | None) -> str:
    """0.9832 as "98.3 %"; "-" where nothing is known."""
    if part is None:
        return "-"
    percent = part * 100
    digits = 2 if 0 < percent < 1 else 1
    return f"{percent:.{digits}f} %"


def _table(first: str, rows: Sequence[tuple[object, ...]], *, colour: bool, width: int) -> str:
    heads, kept = layout.shown_columns((first, *_HEADS), rows, _SPARE)
    heads, kept = layout.fitting_columns(heads, kept, reversed(_SPARE), width)
    return layout.table(heads, kept, colour=colour, width=width)


def _start(at: str | None, by: str) -> str:
    """When a stretch began, on this computer's clock."""
    if by == "hour":
        return clock(at)
    try:
        return datetime.fromisoformat(at or "").astimezone().strftime(_DAY_FORMATS[by])
    except (ValueError, OverflowError, OSError):
        return at or ""
