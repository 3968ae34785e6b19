"""`report.*`: figures by campaign and over time."""

from __future__ import annotations

from hubd.control.event_methods import named_instead
from hubd.control.hub import Hub
from hubd.control.table import reads
from hubd.control.views import time_text
from hubd.core.measures import Measure
from hubd.core.model import Campaign
from hubd.core.reports import Sums, added, labels_of, last_run, latest, place, rates, read_period, series
from hubd.wire import report_params as p
from hubd.wire import report_results as r


def instead(params: p.ReportGet) -> str:
    """What a viewer can ask for instead; "" when it may have this report."""
    return next(filter(None, map(named_instead, params.names)), "")


async def get(hub: Hub, params: p.ReportGet) -> r.ReportResult:
    """The figures of a period. Raises BadInput, and NotFound for a campaign that does not exist."""
    now = hub.now()
    there = place(params.timezone)
    period = read_period(params.since, params.until, zone=params.timezone, now=now)
    campaigns = await _chosen(hub, params)
    report = await hub.reports.read([each.id for each in campaigns], period, hours=params.by is not None)
    run = latest(line.campaign for line in report.lines)
    stretches = []
    if params.by is not None:
        stretches = series(report.hours, params.by, there, period, now=now)
    return {
        "campaigns": [
            {"name": line.campaign.name, **_figures(line.sums, line.campaign)} for line in report.lines
        ],
        "total": _figures(added(report.lines), run),
        "series": [{"at": time_text(at), **_figures(sums, None)} for at, sums in stretches],
        "uncounted": report.uncounted,
    }


async def _chosen(hub: Hub, params: p.ReportGet) -> list[Campaign]:
    """The campaigns with the label and the provider asked for, out of those named; without names, out of all
    that have ever been started, even archived ones.
    """
    if params.names:
        found = [await hub.campaigns.get(name) for name in dict.fromkeys(params.names)]
    else:
        found = [each for each in await hub.campaigns.list(archived=True) if each.started_at is not None]
    return [
        each
        for each in found
        if (params.provider is None or each.provider == params.provider)
        and (params.label is None or params.label in labels_of(each))
    ]


def _figures(sums: Sums, run: Campaign | None) -> r.FiguresView:
    delivery_rate, opt_out_rate = rates(sums)
    return {
        "sent": sums.get(Measure.SENT, 0),
        "delivered": sums.get(Measure.DELIVERED, 0),
        "undelivered": sums.get(Measure.UNDELIVERED, 0),
        "failed": sums.get(Measure.FAILED, 0),
        "bounced": sums.get(Measure.BOUNCED, 0),
        "complaints": sums.get(Measure.COMPLAINTS, 0),
        "replies": sums.get(Measure.REPLIES, 0),
        "opt_outs": sums.get(Measure.OPT_OUTS, 0),
        "cost": sums.get(Measure.COST, 0),
        "delivery_rate": delivery_rate,
        "opt_out_rate": opt_out_rate,
        "last_run_at": None if run is None else time_text(run.started_at),
        "last_run_result": None if run is None else last_run(run),
        "completed_at": None if run is None else time_text(run.completed_at),
    }


METHODS = (
    reads(
        "report.get", "Figures by campaign and over time.", p.ReportGet, r.ReportResult, get, instead=instead
    ),
)
