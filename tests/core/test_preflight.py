"""Is a campaign ready to start? Every problem, who may excuse it, and the estimate."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hubd.core.estimate import Limits, how_long
from hubd.core.model import Channel, Content, Kind
from hubd.core.preflight import Found, Gap, Problem, assess, unaccepted
from hubd.core.sms import Bill
from hubd.core.warmup import Warmup, day_quota, seconds_for

EMAIL = Content(
    channel=Channel.EMAIL,
    sender="a@example.com",
    subject="Hi",
    text="Hello",
    unsubscribe="https://example.com/u/{{ contact_id }}",
    postal_address="1 Main St",
)
SMS = Content(channel=Channel.SMS, kind=Kind.TRANSACTIONAL, text="Hello")


DAY = 86_400.0
OFFICE = {"60/minute": "office"}


def risks(found: Found) -> list[str]:
    return [problem.risk for problem in assess(found).problems]


def test_a_good_campaign_is_fit() -> None:
    report = assess(Found(content=EMAIL, recipients=12, remaining=10))
    assert report.ok
    assert report.warnings == ()
    assert report.estimate.messages == 10


def test_a_trigger_tells_which_fields_who_is_added_needs_and_what_happens_without() -> None:
    gaps = (Gap(fields=frozenset({"city"}), count=3), Gap(fields=frozenset({"city", "code"}), count=2))
    found = Found(
        content=EMAIL,
        trigger="customers",
        gaps=gaps,
        needs=frozenset({"city", "code", "fristname", "postal_address"}),
        known_fields=frozenset({"city", "code", "firstname"}),
    )
    report = assess(found)
    assert [problem.problem for problem in report.problems] == [
        "the message has {{ postal_address }}; set it with the key postal_address"
    ]
    whom, city, code, misspelt = report.warnings
    assert "contacts that are added to customers while it runs" in whom
    assert city.startswith(
        "a contact that is added without the field city gets no message: it fails with missing_field"
    )
    assert "5 of those already on it have none; give it a default: {{ city | default('...') }}" in city
    assert "2 of those already on it" in code
    assert misspelt.endswith("which hubctl failures shows; did you mean firstname?")


def test_what_a_campaign_asks_of_line_and_memory_is_told() -> None:
    found = Found(
        content=EMAIL, recipients=12, remaining=10, own_bytes=2_000, shared_bytes=1_000_000, connections=4
    )
    load = assess(found).load
    assert load is not None
    assert (load.message, load.upload, load.largest_message) == (1_002_000, 10_020_000, None)
    assert 1_000_000 + 8 * 2_000 <= load.memory < 2 * 1_000_000
    assert assess(Found(content=SMS, recipients=1, remaining=1)).load is None


@pytest.mark.parametrize(("largest", "warned"), [(None, False), (1_002_000, False), (1_001_999, True)])
def test_a_message_that_the_provider_would_refuse_for_its_size_is_warned_of(
    largest: int | None, warned: bool
) -> None:
    found = Found(
        content=EMAIL,
        recipients=1,
        remaining=1,
        own_bytes=2_000,
        shared_bytes=1_000_000,
        largest_message=largest,
    )
    report = assess(found)
    assert report.ok
    assert any("1,002,000 bytes" in warning for warning in report.warnings) is warned


def test_nobody_to_write_to_cannot_be_excused() -> None:
    report = assess(Found(content=EMAIL, skipped={"suppressed": 3, "opted_out": 1}))
    (problem,) = report.problems
    assert problem.risk == ""
    assert "1 opted out, 3 suppressed" in problem.problem
    assert unaccepted(report.problems, ["", "no-unsubscribe"]) == [problem]


def test_who_lacks_an_address_is_told_by_its_kind() -> None:
    (problem,) = assess(Found(content=SMS, skipped={"invalid_address": 200, "suppressed": 0})).problems
    assert problem.problem == "nobody on its lists can get a message (200 without phone number)"


def test_a_default_for_the_contact_id_is_never_suggested() -> None:
    gaps = (
        Gap(fields=frozenset({"contact_id"}), count=1),
        Gap(fields=frozenset({"contact_id", "quux"}), count=1),
    )
    first, second = assess(Found(content=EMAIL, recipients=2, gaps=gaps)).problems
    assert "default(" not in first.problem
    assert "{{ quux | default(" in second.problem


def test_an_obstacle_is_told_alone() -> None:
    report = assess(Found(content=EMAIL, obstacles=("there is no provider x",)))
    assert [problem.problem for problem in report.problems] == ["there is no provider x"]


def test_marketing_without_unsubscribe_is_a_risk_that_can_be_taken() -> None:
    bare = Content(channel=Channel.EMAIL, sender="a@example.com", subject="Hi", text="Hello")
    report = assess(Found(content=bare, recipients=1))
    assert {problem.risk for problem in report.problems} == {"no-unsubscribe"}
    assert unaccepted(report.problems, ["no-unsubscribe"]) == []
    assert unaccepted(report.problems, ["missing-fields"]) == list(report.problems)


def test_a_missing_field_names_the_nearest_one() -> None:
    gaps = (Gap(fields=frozenset({"frist_name"}), count=1), Gap(fields=frozenset({"quux"}), count=12))
    first, second = assess(Found(content=EMAIL, recipients=20, gaps=gaps)).problems
    assert first == Problem(
        risk="missing-fields", problem="1 recipient has no frist_name; did you mean first_name?"
    )
    assert second.problem.startswith("12 recipients have no quux; give it a default:")


def test_a_field_that_is_lacking_is_never_suggested() -> None:
    gap = Gap(fields=frozenset({"city", "citty"}), count=1)
    (problem,) = assess(
        Found(content=EMAIL, recipients=1, gaps=(gap,), known_fields=frozenset({"city"}))
    ).problems
    assert "did you mean" not in problem.problem


def test_a_message_that_cannot_be_written_has_its_own_risk() -> None:
    gap = Gap(fields=frozenset(), count=2, fault="text: is empty for this recipient")
    assert risks(Found(content=EMAIL, recipients=5, gaps=(gap,))) == ["bad-messages"]


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (Found(content=EMAIL, recipients=1, provider_reason="resting"), "resting"),
        (Found(content=SMS, recipients=1, bill=Bill(least=2, most=5, total=7)), "2 to 5 segments"),
        (Found(content=SMS, recipients=1, window="08:00-21:00", no_zone=1), "08:00-21:00 is in UTC"),
        (
            Found(
                content=Content(
                    channel=Channel.EMAIL, kind=Kind.TRANSACTIONAL, sender="a@b.example", html="<p>x</p>"
                ),
                recipients=1,
            ),
            "no text part",
        ),
    ],
)
def test_warnings_do_not_stop(found: Found, word: str) -> None:
    report = assess(found)
    assert report.ok
    assert any(word in warning for warning in report.warnings)


def test_estimate_follows_the_tightest_limit_and_the_canary() -> None:
    limits = Limits(rates=("10/s", "60/minute"))
    found = Found(content=EMAIL, recipients=6000, remaining=6000, limits=limits)
    everything = assess(found).estimate
    assert everything.seconds == pytest.approx(6000, rel=0.02)
    assert everything.rate == pytest.approx(1, rel=0.02)
    assert assess(found, limit=5).estimate.messages == 5
    assert assess(found, limit=99_999).estimate.messages == 6000


@given(
    st.integers(0, 10**6), st.lists(st.sampled_from(["10/s", "30/minute", "1/2s", "10000/day"]), max_size=3)
)
def test_an_estimate_is_never_negative_and_known_only_with_a_limit(messages: int, rates: list[str]) -> None:
    found = how_long(messages, Limits(rates=rates))
    assert found.messages == messages
    assert (found.seconds is None) == (not rates or not messages)
    assert found.seconds is None or found.seconds >= 0


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ("https://acme.example/u/{{ contact_id }}", "reserved for examples"),
        ("https://www.example.com/u?c={{ contact_id }}", "reserved for examples"),
        ("mailto:out@acme.invalid?subject={{ contact_id }}", "reserved for examples"),
        ("https://localhost:8080/u/{{ contact_id }}", "on this network"),
        ("https://127.0.0.1/u/{{ contact_id }}", "on this network"),
        ("https://[::1]/u/{{ contact_id }}", "on this network"),
        ("https://192.168.1.7/u/{{ contact_id }}", "on this network"),
        ("https://shop/u/{{ contact_id }}", "on this network"),
        ("https://me@printer.local/u/{{ contact_id }}", "on this network"),
        ("https://acme.shop/u", "the same for every recipient"),
        ("https://acme.shop/u?n={{ first_name | urlencode }}", "the same for every recipient"),
        ("https://acme.shop/u?c={{ member_no }}", ""),
        ("https://acme.shop/u/{{ contact_id }}", ""),
        ("https://{{ region }}.acme.shop/u/{{ contact_id }}", ""),
        ("https://8.8.8.8/u/{{ contact_id }}", ""),
        ("https://notexample.com/u/{{ contact_id }}", ""),
        ("mailto:out@acme.shop", ""),
    ],
)
def test_an_unsubscribe_link_that_nobody_serves_is_said(link: str, word: str) -> None:
    content = dataclasses.replace(EMAIL, kind=Kind.MARKETING, unsubscribe=link, postal_address="1 Main St")
    found = Found(content=content, recipients=1, leaves=True)
    warnings = assess(found).warnings
    assert [word in warning for warning in warnings] == ([True] if word else [])
    kept = assess(dataclasses.replace(found, leaves=False)).warnings
    assert kept == (() if word == "reserved for examples" else warnings)
    transactional = dataclasses.replace(content, kind=Kind.TRANSACTIONAL)
    assert not assess(dataclasses.replace(found, content=transactional)).warnings


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (
            frozenset({"first_name"}),
            "text line 1: no recipient has the field firstname; did you mean first_name?",
        ),
        (
            frozenset({"city", "shop"}),
            "text line 1: no recipient has the field firstname; did you mean first_name?",
        ),
        (frozenset({"city"}), "text line 2: no recipient has the field colour; they have city"),
    ],
)
def test_a_field_that_nobody_has_is_said_although_it_has_a_default(known: frozenset[str], words: str) -> None:
    name = words.partition("field ")[2].partition(";")[0]
    text = "Hi {{ firstname | default('x') }}\n{% if colour %}x{% endif %}"
    content = dataclasses.replace(EMAIL, text=text)
    found = Found(content=content, recipients=3, known_fields=known, absent_fields=frozenset({name}))
    assert assess(found).warnings == (words,)
    gap = Gap(fields=frozenset({name}), count=3)
    assert assess(dataclasses.replace(found, gaps=(gap,))).warnings == ()


def test_a_field_that_a_key_would_fill_names_the_key() -> None:
    gap = Gap(fields=frozenset({"unsubscribe_url"}), count=3)
    (problem,) = assess(Found(content=SMS, recipients=3, gaps=(gap,))).problems
    assert problem.problem == "the message has {{ unsubscribe_url }}; set it with the key unsubscribe"


def test_what_is_probably_not_meant_in_the_texts_is_a_warning() -> None:
    content = dataclasses.replace(EMAIL, html='<p>x</p>\n<img src="cid:logo.png">')
    report = assess(Found(content=content, recipients=3))
    assert report.ok
    assert [warning.partition(":")[0] for warning in report.warnings] == ["html line 2"]


@pytest.mark.parametrize(
    ("limits", "messages", "seconds", "limited_by"),
    [
        ({"connections": "4 connections of office"}, 500, None, "4 connections of office"),
        ({"rates": ("60/minute", "10/s"), "owners": OFFICE}, 600, 600, "the rate 60/minute of office"),
        ({"rates": ("60/minute", "100/s")}, 600, 600, "the campaign's rate 60/minute"),
        ({"rates": ("100/day",)}, 250, 2 * DAY, "the campaign's rate 100/day"),
        (
            {"rates": ("100/s",), "warmup": Warmup(start=100, double_every=DAY)},
            600,
            2 * DAY,
            "the sender warm-up",
        ),
        ({"window": "08:00-20:00", "opens_in": 3600.0}, 5, 3600, "the window 08:00-20:00"),
        ({"window": "08:00-20:00", "rates": ("1/s",)}, 5, 4, "the campaign's rate 1/s"),
        (
            {"window": "08:00-20:00", "rates": ("1/s",)},
            50_000,
            DAY + 50_000 - 43_200,
            "the campaign's rate 1/s and the window 08:00-20:00",
        ),
    ],
)
def test_an_estimate_names_what_limits_it(
    limits: dict[str, Any], messages: int, seconds: float | None, limited_by: str
) -> None:
    found = how_long(messages, Limits(**limits))
    assert found.seconds == (None if seconds is None else pytest.approx(seconds, abs=2))
    assert found.limited_by == limited_by


@given(st.integers(1, 10**6), st.integers(1, 1000), st.floats(3600, 10**7), st.floats(0, 10**8))
def test_a_warm_up_takes_as_many_days_as_its_quotas_need(
    amount: int, start: int, double_every: float, age: float
) -> None:
    warmup = Warmup(start=start, double_every=double_every)
    days = round(seconds_for(amount, warmup, age) / 86_400)
    assume(days < 5_000)
    quotas = [day_quota(warmup, age + 86_400.0 * day)[0].amount for day in range(days + 1)]
    assert sum(quotas[:-1]) < amount <= sum(quotas)
