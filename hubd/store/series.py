"""Campaigns that repeat: each occurrence becomes a campaign of its own, once.

What becomes of an occurrence is decided and written in one unit of work: its campaign, scheduled for its
time, its row (whose key keeps it from being made twice), and the time that the series waits for next.
"""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as with_keys

from hubd.core.decide import Occurred
from hubd.core.lifecycle import CampaignEvent, advance_campaign
from hubd.core.model import Campaign, CampaignState
from hubd.core.records import OccurrenceRow
from hubd.core.recurrence import OVER, Recurrence, due, occurrence_name, recurrence_from_json
from hubd.core.spec import CampaignSpec, Schedule, spec_from_json
from hubd.errors import HubError
from hubd.failpoints import reach
from hubd.store.campaign_files import ADD_CAMPAIGN, columns, content_columns, content_for
from hubd.store.campaign_plans import write_move
from hubd.store.campaign_rows import campaign_by_id, campaign_by_name, campaign_if_there, settings_of
from hubd.store.transaction import Transaction, record
from hubd.store.unit import Unit, Work

#: What becomes of an occurrence, unless that was decided before.
ADD_OCCURRENCE = """
INSERT INTO occurrence (series_id, at, outcome) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"""
#: Its campaign, or why there is none.
SET_OCCURRENCE = """
UPDATE occurrence SET campaign_id = ?, outcome = ?, detail = ? WHERE series_id = ? AND at = ?"""
#: An earlier occurrence that has not ended.
UNFINISHED = """
SELECT name FROM occurrence JOIN campaign ON campaign.id = occurrence.campaign_id
WHERE series_id = ? AND doomed = 0 AND state IN ('scheduled', 'running', 'paused') ORDER BY at LIMIT 1"""
#: Whose occurrence a campaign is.
SET_SERIES = "UPDATE campaign SET series = ? WHERE id = ?"
#: The last occurrences of a series, newest first.
NEWEST = """
SELECT occurrence.at, occurrence.outcome, occurrence.detail, campaign.name, campaign.state
FROM occurrence LEFT JOIN campaign ON campaign.id = occurrence.campaign_id AND campaign.doomed = 0
WHERE series_id = ? ORDER BY at DESC LIMIT ?"""


def occurring(campaign_id: int, now: float) -> Work[Occurred]:
    """The unit of work that decides what becomes of the occurrences of a series until `now`.

    Raises NotFound.
    """

    def work(unit: Unit) -> Occurred:
        series = campaign_by_id(unit.db, campaign_id)
        recurrence = recurrence_from_json(series.recurrence)
        planned = series.scheduled_at
        if recurrence is None or planned is None or series.state is not CampaignState.SCHEDULED:
            return Occurred(next_at=None)
        found = due(recurrence, planned, now)
        if found.missed:
            _note(unit, series, planned, "missed", missed=found.missed)
        name = "" if found.start is None else _occur(unit, series, recurrence, found.start)
        if found.next is None:
            to = advance_campaign(series.state, CampaignEvent.STOP)
            write_move(unit, series, to, CampaignEvent.STOP, {}, OVER)
        elif found.next != planned:
            sets: dict[str, float | str | None] = {"scheduled_at": found.next}
            write_move(unit, series, series.state, CampaignEvent.SCHEDULE, sets)
        return Occurred(campaign=name, next_at=found.next)

    return work


def _occur(unit: Unit, series: Campaign, recurrence: Recurrence, at: float) -> str:
    """Schedule the campaign of an occurrence for its time; its name, "" when there is none."""
    if not unit.db.execute(ADD_OCCURRENCE, (series.id, int(at), "started")).rowcount:
        return ""  # the clock was set back after it
    unfinished = unit.db.execute(UNFINISHED, (series.id,)).fetchone()
    if unfinished is not None:
        unit.db.execute(SET_OCCURRENCE, (None, "overlap", unfinished["name"], series.id, int(at)))
        _tell(unit, series, at, "overlap", detail=f"{unfinished['name']} has not ended")
        return ""
    try:
        campaign = _make(unit, series, recurrence, at)
    except HubError as error:  # such as a template that was deleted
        unit.db.execute(SET_OCCURRENCE, (None, "failed", str(error), series.id, int(at)))
        _tell(unit, series, at, "failed", detail=str(error))
        return ""
    unit.db.execute(SET_OCCURRENCE, (campaign.id, "started", "", series.id, int(at)))
    _tell(unit, series, at, "started", occurrence=campaign.name)
    reach("in_occurrence")
    return campaign.name


def _make(unit: Unit, series: Campaign, recurrence: Recurrence, at: float) -> Campaign:
    """The campaign of an occurrence: the file as it is now, with the newest version of its template."""
    spec = _file(series, _free_name(unit.db, series.name, recurrence, at))
    values = {
        **columns(spec, series.in_doubt),
        "now": unit.now,
        "content_id": series.content_id,
        "template": "",
    }
    if spec.template:
        values |= content_columns(unit, *content_for(unit.db, spec, None))
    unit.db.execute(ADD_CAMPAIGN, values)
    made = campaign_by_name(unit.db, spec.name)
    unit.db.execute(SET_SERIES, (series.name, made.id))
    unit.event("campaign.applied", made.id, {"created": True, "changed": [], **settings_of(made)})
    sets: dict[str, float | str | None] = {"scheduled_at": at}
    to = advance_campaign(made.state, CampaignEvent.SCHEDULE)
    return write_move(unit, replace(made, series=series.name), to, CampaignEvent.SCHEDULE, sets)


def _file(series: Campaign, name: str) -> CampaignSpec:
    spec = spec_from_json(series.spec)
    schedule = Schedule(window=spec.schedule.window, timezone=spec.schedule.timezone)
    return with_keys(spec, name=name, rate=series.rate, schedule=schedule)


def _free_name(db: Transaction, series: str, recurrence: Recurrence, at: float) -> str:
    number = 1
    while campaign_if_there(db, name := occurrence_name(series, recurrence, at, number)) is not None:
        number += 1
    return name


def _note(unit: Unit, series: Campaign, at: float, outcome: str, *, missed: int) -> None:
    if unit.db.execute(ADD_OCCURRENCE, (series.id, int(at), outcome)).rowcount:
        _tell(unit, series, at, outcome, missed=missed)


def _tell(
    unit: Unit,
    series: Campaign,
    at: float,
    outcome: str,
    *,
    occurrence: str = "",
    detail: str = "",
    missed: int = 0,
) -> None:
    data = {"at": at, "outcome": outcome, "occurrence": occurrence, "detail": detail, "missed": missed}
    unit.event("campaign.occurrence", series.id, data)


def occurrences_of(db: Transaction, series_id: int, limit: int) -> list[OccurrenceRow]:
    """The last occurrences of a series, newest first."""
    return [record(OccurrenceRow, row) for row in db.execute(NEWEST, (series_id, limit))]
