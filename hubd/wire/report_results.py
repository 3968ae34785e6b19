"""What the methods about figures answer."""

from __future__ import annotations

from typing import TypedDict


class FiguresView(TypedDict):
    """What happened in a period. A rate, from 0 to 1, is null where nothing can be known."""

    sent: int  #: accepted by the provider, whatever became of it then
    delivered: int  #: of those, with a receipt that they arrived
    undelivered: int  #: of those, that did not arrive
    failed: int  #: refused for good
    bounced: int  #: bounces that came back
    complaints: int
    replies: int
    opt_outs: int
    cost: int  #: segments of text messages, or emails, that were accepted
    delivery_rate: float | None
    opt_out_rate: float | None
    last_run_at: str | None  #: when the last run began
    last_run_result: str | None  #: in words
    completed_at: str | None


class CampaignFigures(FiguresView):
    """The figures of one campaign."""

    name: str


class StretchFigures(FiguresView):
    """The figures of an hour, day, week or month; `at` is when it began."""

    at: str | None


class ReportResult(TypedDict):
    """Figures by campaign, in total, and over time. `series` is empty without `by`."""

    campaigns: list[CampaignFigures]
    total: FiguresView
    series: list[StretchFigures]
    uncounted: int  #: campaigns of an earlier version whose figures are still being counted
