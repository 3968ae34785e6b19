"""Periods, stretches of time in a zone, and the last run in words."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.measures import HOUR, Measure
from hubd.core.model import Campaign, CampaignState, Channel, Counts
from hubd.core.reports import By, Period, last_run, latest, place, rates, read_period, series, stretch_of
from hubd.errors import BadInput

BERLIN = "Europe/Berlin"
NOW = datetime(2026, 12, 9, 15, 20, tzinfo=ZoneInfo(BERLIN)).timestamp()  # a Wednesday


def at(text: str) -> int:
    """A time of Berlin in seconds since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN)).timestamp())


def local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, ZoneInfo(BERLIN)).strftime("%Y-%m-%d %H:%M")


# --- periods ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "until", "begin", "end"),
    [
        (None, None, None, None),
        ("2026-12-01", "2026-12-01", "2026-12-01 00:00", "2026-12-02 00:00"),  # that day
        ("today", "today", "2026-12-09 00:00", "2026-12-10 00:00"),
        ("yesterday", "2026-12-09 09:00", "2026-12-08 00:00", "2026-12-09 09:00"),
        ("7 days", None, "2026-12-02 15:00", None),  # the hour that it lies in
        ("24h", "1h", "2026-12-08 15:00", "2026-12-09 15:00"),
        ("2026-12-09T08:30:00Z", "2026-12-09T08:30:00Z", "2026-12-09 09:00", "2026-12-09 10:00"),
        ("9:00", None, "2026-12-09 09:00", None),
    ],
)
def test_a_period_is_read_and_extended_to_whole_hours(
    since: str | None, until: str | None, begin: str | None, end: str | None
) -> None:
    found = read_period(since, until, zone=BERLIN, now=NOW)
    assert found == Period(since=None if begin is None else at(begin), until=None if end is None else at(end))


@pytest.mark.parametrize(
    ("since", "until", "name"),
    [
        ("soon", None, "since"),
        ("2026-02-30", None, "since"),
        (None, "7 dogs", "until"),
        ("1969-12-31", None, "since"),
        ("2026-12-02", "2026-12-01", "until"),
        ("1h", "5h", "until"),
        ("", None, "since"),
    ],
)
def test_what_is_no_period_is_refused_by_name(since: str | None, until: str | None, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_period(since, until, zone=BERLIN, now=NOW)
    assert str(caught.value).startswith(name)


@given(st.text(max_size=30), st.text(max_size=30), st.floats(0, 4e9))
def test_any_words_are_a_period_or_refused(since: str, until: str, now: float) -> None:
    try:
        found = read_period(since, until, zone="", now=now)
    except BadInput:
        return
    assert found.since is not None
    assert found.until is not None
    assert found.since < found.until
    assert found.since % HOUR == found.until % HOUR == 0


def test_a_time_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadInput, match="timezone"):
        place("Europe/Atlantis")


# --- stretches ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "when", "start"),
    [
        ("hour", "2026-12-09 15:00", "2026-12-09 15:00"),
        ("day", "2026-12-09 00:00", "2026-12-09 00:00"),
        ("day", "2026-10-25 23:00", "2026-10-25 00:00"),  # a day of 25 hours
        ("week", "2026-12-09 15:00", "2026-12-07 00:00"),
        ("week", "2026-12-07 00:00", "2026-12-07 00:00"),
        ("month", "2026-12-31 23:00", "2026-12-01 00:00"),
    ],
)
def test_a_stretch_begins_on_the_clock_of_the_zone(by: By, when: str, start: str) -> None:
    assert local(stretch_of(at(when), by, place(BERLIN))) == start


hours = st.lists(
    st.tuples(
        st.integers(480_000, 484_000).map(lambda n: n * HOUR),
        st.sampled_from([Measure.SENT, Measure.FAILED]),
        st.integers(1, 9),
    ),
    max_size=20,
)
zones = st.sampled_from(
    ["", BERLIN, "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]
)


@given(hours, st.sampled_from(["hour", "day", "week", "month"]), zones)
def test_stretches_follow_one_another_and_lose_nothing(
    found: list[tuple[int, Measure, int]], by: By, zone: str
) -> None:
    lines = series(found, by, place(zone), Period(), now=NOW)
    starts = [start for start, _ in lines]
    assert starts == sorted(set(starts))
    total: Counter[Measure] = Counter()
    for _, sums in lines:
        total.update(sums)
    expected: Counter[Measure] = Counter()
    for _, measure, n in found:
        expected[measure] += n
    assert total == expected
    assert (
        starts[:1] == [stretch_of(min(hour for hour, _, _ in found), by, place(zone))] if found else not lines
    )


def test_days_without_anything_have_a_line_too_and_the_future_has_none() -> None:
    period = Period(since=at("2026-12-07 00:00"), until=at("2026-12-31 00:00"))
    found = [(at("2026-12-08 10:00"), Measure.SENT, 3)]
    lines = series(found, "day", place(BERLIN), period, now=NOW)
    assert [(local(start), dict(sums)) for start, sums in lines] == [
        ("2026-12-07 00:00", {}),
        ("2026-12-08 00:00", {Measure.SENT: 3}),
        ("2026-12-09 00:00", {}),
    ]


def test_too_many_lines_are_refused() -> None:
    found = [(0, Measure.SENT, 1), (at("2026-12-01 00:00"), Measure.SENT, 1)]
    with pytest.raises(BadInput, match="shorter period"):
        series(found, "hour", place(""), Period(), now=NOW)


# --- runs ---------------------------------------------------------------------------------------


def campaign(
    state: CampaignState, started_at: float | None = 1.0, reason: str = "", **counts: int
) -> Campaign:
    total = sum(counts.values())
    return Campaign(
        id=1, name="spring", channel=Channel.EMAIL, provider="outbox", state=state, reason=reason, revision=1,
        spec="{}", content_id=1, in_doubt=None, rate=(), give_up_after=0.0, window="", zone="", limit=None,
        audience_ready=True, transactional_queue=False, archived=False, template="",
        counts=Counts(total=total, **counts), created_at=0.0, updated_at=0.0, scheduled_at=None,
        started_at=started_at, completed_at=None, last_error="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (campaign(CampaignState.DRAFT, None), None),
        (campaign(CampaignState.COMPLETED, sent=1200, delivered=4), "completed: 1,204 sent"),
        (
            campaign(CampaignState.COMPLETED, sent=1, failed=2, skipped=3),
            "completed: 1 sent, 2 failed, 3 skipped",
        ),
        (campaign(CampaignState.STOPPED, sent=1, pending=4), "stopped: 1 of 5 sent"),
        (campaign(CampaignState.RUNNING, undelivered=1, pending=4), "running: 1 of 5 sent"),
        (campaign(CampaignState.PAUSED, reason="bad credentials"), "paused: bad credentials"),
        (campaign(CampaignState.PAUSED), "paused"),
    ],
)
def test_the_last_run_is_said_in_words(found: Campaign, words: str | None) -> None:
    assert last_run(found) == words


def test_the_latest_run_is_the_one_that_began_last() -> None:
    first, second = campaign(CampaignState.COMPLETED, 5.0), campaign(CampaignState.STOPPED, 4.0)
    assert latest([second, first, campaign(CampaignState.DRAFT, None)]) is first
    assert latest([campaign(CampaignState.DRAFT, None)]) is None


def test_a_rate_needs_something_that_says_it() -> None:
    assert rates({Measure.SENT: 10}) == (None, None)
    assert rates({Measure.SENT: 10, Measure.BOUNCED: 1, Measure.UNDELIVERED: 1}) == (None, 0.0)
    assert rates({Measure.SENT: 3, Measure.DELIVERED: 2, Measure.OPT_OUTS: 1}) == (0.666667, 0.333333)
