"""Campaigns that repeat or wait for a trigger, for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hubctl import layout
from hubctl.start_times import shown

if TYPE_CHECKING:
    from hubd.wire import campaign_results as r


def facts_of(view: r.CampaignView) -> list[tuple[str, object]]:
    """What is to be said of a campaign that repeats, is an occurrence, or has a trigger."""
    trigger = view.get("trigger")
    return [
        ("repeats", view.get("repeats")),
        ("of", view.get("series")),
        ("trigger", f"everybody added to {trigger}" if trigger else ""),
    ]


def next_times(times: Sequence[str | None], repeats: str | None = None) -> str:
    """ "Monday 2026-12-07 09:00 CET (2026-12-07 08:00 UTC), ..." in the time zone that `repeats` names."""
    return ", ".join(shown(each, zone_of(repeats)) for each in times)


def zone_of(repeats: str | None) -> str | None:
    """The time zone in "monday 9:00 (Europe/Berlin)"; None when there is none."""
    return repeats.rpartition("(")[2].rstrip(")") if repeats else None


def occurrences(found: r.CampaignResult, *, colour: bool, width: int) -> str:
    """The table of the last occurrences of a campaign, and the next times; "" if it does not repeat."""
    repeats = found["campaign"].get("repeats")
    if not repeats:
        return ""
    blocks = []
    if times := found.get("upcoming"):
        zone = zone_of(repeats)
        lines = [f"  {shown(each, zone)}" for each in times]
        waits = found["campaign"]["state"] == "scheduled"
        blocks.append("\n".join(["next:" if waits else "next, once it is started:", *lines]))
    if rows := found.get("occurrences"):
        cells = [(_planned(row), row["name"] or "", row["state"] or "", _outcome(row)) for row in rows]
        heads = ("PLANNED FOR", "CAMPAIGN", "STATE", "OUTCOME")
        blocks.append(layout.table(heads, cells, colour=colour, width=width))
    return "\n\n".join(blocks)


def _planned(row: Mapping[str, object]) -> str:
    return shown(str(row["at"])) if row["at"] else ""


def _outcome(row: Mapping[str, object]) -> str:
    words = {
        "overlap": "skipped: the one before had not ended",
        "missed": "missed",
        "failed": "could not begin",
    }
    said = words.get(str(row["outcome"]), str(row["outcome"]))
    return f"{said}: {row['detail']}" if row["detail"] else said
