"""What sinks are told, what their answers mean, and the signature of webhooks."""

from __future__ import annotations

import base64
import datetime as dt
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.measures import DAY, HOUR, Measure
from hubd.core.model import CampaignState
from hubd.core.reports import Line
from hubd.core.sinks import (
    ALL_CAMPAIGNS,
    CAMPAIGN_FIELDS,
    GIVE_UP,
    KPI_FIELDS,
    LONGEST_DELAY,
    airtable_answer,
    batches,
    campaign_rows,
    delay,
    digest,
    kpi_rows,
    signed,
    signing_key,
    wanted,
    webhook_answer,
)
from hubd.errors import BadInput
from tests.core.test_reports import campaign

M = Measure


def test_a_record_of_a_campaign_has_the_fields_in_the_words_of_the_base() -> None:
    sums = Counter({M.SENT: 4, M.DELIVERED: 3, M.FAILED: 2, M.REPLIES: 1, M.OPT_OUTS: 1})
    (row,) = campaign_rows([Line(campaign=campaign(CampaignState.COMPLETED, 0.0, sent=4), sums=sums)])
    assert tuple(row) == CAMPAIGN_FIELDS
    assert [row[name] for name in CAMPAIGN_FIELDS[:9]] == [
        *("spring", 4, 3, 2, 1, 1, 0.75, 0.25, "1970-01-01T00:00:00Z"),
    ]
    assert row["Last Run Result"] == "completed: 4 sent"
    assert row["Completed At"] is None


hours = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(480_000, 480_100).map(lambda n: n * HOUR),
        st.sampled_from([M.SENT, M.FAILED]),
        st.integers(1, 9),
    ),
    max_size=20,
)


@given(hours)
def test_the_days_of_all_campaigns_are_the_sums_of_each(found: list[tuple[int, int, Measure, int]]) -> None:
    names = {1: "spring", 2: "autumn"}  # 3 is none that is shown
    rows = kpi_rows(names, found, dt.UTC)
    assert all(tuple(row) == KPI_FIELDS for row in rows)
    assert len({row["Key"] for row in rows}) == len(rows)
    shown = sum(n for number, _, measure, n in found if number in names and measure is M.SENT)
    for together in (True, False):
        assert shown == sum(
            int(row["Sent"] or 0) for row in rows if (row["Campaign"] == ALL_CAMPAIGNS) is together
        )


def test_records_differ_when_anything_of_them_does() -> None:
    assert digest({"a": 1, "b": None}) == digest({"a": 1, "b": None})
    assert digest({"a": 1, "b": None}) != digest({"a": 1, "b": 0})


@given(st.integers(0, 40), st.integers(1, 12))
def test_batches_have_everything_once_and_in_order(count: int, size: int) -> None:
    rows = [{"n": n} for n in range(count)]
    made = batches(rows, size)
    assert [row for batch in made for row in batch] == rows
    assert all(1 <= len(batch) <= size for batch in made)


@pytest.mark.parametrize(
    ("type_", "patterns", "expected"),
    [
        ("campaign.state", [], True),
        ("campaign.state", ["campaign.*"], True),
        ("campaign.state", ["campaign.rate", "campaign.state"], True),
        ("campaign.state", ["delivery.*"], False),
        ("campaigns.state", ["campaign.*"], False),
        ("sink.broken", [], False),  # else a sink that is told would be told that it was told
        ("sink.broken", ["sink.*"], False),
    ],
)
def test_a_webhook_gets_the_events_that_it_asks_for(type_: str, patterns: list[str], expected: bool) -> None:
    assert wanted(type_, patterns) is expected


@pytest.mark.parametrize(
    ("status", "body", "outcome", "words"),
    [
        (200, b"{}", "ok", ""),
        (401, b"", "pause", "token"),
        (403, b"", "pause", "data.records:read"),
        (404, b"", "pause", "no such base or table"),
        (422, b'{"error":{"message":"Unknown field name: \\"Total Sent\\""}}', "pause", "'Total Sent'"),
        (422, b"{}", "pause", "types"),
        (422, b'Unknown field name: \\"\x1b[2J\\"', "pause", "types"),  # nothing that moves a cursor
        (429, b"", "retry", "limits"),
        (500, b"", "retry", "500"),
        (302, b"", "retry", "302"),
    ],
)
def test_what_an_answer_of_airtable_means(status: int, body: bytes, outcome: str, words: str) -> None:
    told = airtable_answer(status, body)
    assert told.outcome == outcome
    assert words in told.reason


def test_airtable_is_left_alone_for_half_a_minute_when_it_asks_for_it() -> None:
    assert airtable_answer(429, b"").after == 30.0


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome", "after"),
    [
        (204, "", "ok", None),
        (410, "", "pause", None),
        (301, "", "retry", None),
        (503, "120", "retry", 120.0),
        (503, "999999", "retry", LONGEST_DELAY),
        (503, "soon", "retry", None),
        (400, "", "retry", None),
    ],
)
def test_what_an_answer_to_a_webhook_means(
    status: int, retry_after: str, outcome: str, after: float | None
) -> None:
    told = webhook_answer(status, retry_after)
    assert (told.outcome, told.after) == (outcome, after)


def test_delays_double_from_five_seconds_to_an_hour() -> None:
    assert [delay(n, None) for n in (1, 2, 3, 10, 11, 1_000)] == [5.0, 10.0, 20.0, 2560.0, 3600.0, 3600.0]
    assert delay(1, 30.0) == 30.0
    assert sum(delay(n, None) for n in range(1, 90)) > GIVE_UP > DAY


@given(st.binary(min_size=24, max_size=64))
def test_a_signing_key_is_what_the_secret_says(key: bytes) -> None:
    assert signing_key("whsec_" + base64.b64encode(key).decode()) == key


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "hunter2", "whsec_" + "A" * 200, "whsec_ä"])
def test_a_weak_secret_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(BadInput) as caught:
        signing_key(secret)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(caught.value)


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = dict(signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'))
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
