"""What a provider's list proves about a message whose answer was lost, and when it is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubd.core.model import DueDelivery
from hubd.core.outcome import RetryPolicy
from hubd.core.reconcile import (
    APART,
    LONGEST,
    MOST_UNKNOWN,
    PAST,
    SKEW,
    WINDOW,
    Doubt,
    Finding,
    Found,
    How,
    Listed,
    ReconcileProgress,
    Sought,
    absent,
    begin,
    conclude,
    exclude_known,
    opened_at,
    search,
)

TO = "+12025550143"
OPENED = 1_000_000.0
SOUGHT = Sought(recipient=TO, text="Hi Ann", opened_at=OPENED, sender="+15005550006")
IT = Listed(provider_id="SM1", recipient=TO, text="Hi Ann", sender="+15005550006", created_at=OPENED + 1)
ABSENT = Finding(kind=Found.ABSENT)
UNKNOWN = Finding(kind=Found.UNKNOWN)


def kind(*listed: Listed, complete: bool = True) -> Found:
    return search(listed, SOUGHT, complete=complete).kind


# --- one list ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, Found.FOUND),
        ({"created_at": OPENED - SKEW}, Found.FOUND),
        ({"created_at": OPENED + WINDOW}, Found.FOUND),
        ({"text": " Hi Ann\n"}, Found.FOUND),
        # could be it, and so leaves the doubt
        ({"created_at": OPENED - SKEW - 1}, Found.UNKNOWN),
        ({"created_at": OPENED + WINDOW + 1}, Found.UNKNOWN),
        ({"created_at": OPENED + 30 * 86_400}, Found.UNKNOWN),
        ({"created_at": None}, Found.UNKNOWN),
        ({"sender": "+15005550007"}, Found.UNKNOWN),
        ({"sender": "", "service": "MG1"}, Found.UNKNOWN),
        ({"text": "hi  ann!"}, Found.UNKNOWN),
        # certainly another one
        ({"created_at": OPENED - PAST - 1}, Found.ABSENT),
        ({"text": "Hi Bob"}, Found.ABSENT),
        ({"recipient": "+12025550144"}, Found.ABSENT),
    ],
)
def test_what_counts_as_the_message(change: dict[str, object], found: Found) -> None:
    assert kind(replace(IT, **change)) is found  # type: ignore[arg-type]


def test_an_empty_list_proves_something_only_when_it_is_complete() -> None:
    assert kind() is Found.ABSENT
    assert kind(complete=False) is Found.UNKNOWN
    assert kind(IT, complete=False) is Found.FOUND


def test_a_message_of_signs_alone_is_compared_by_its_signs() -> None:
    sought = replace(SOUGHT, text="👋")
    assert search([replace(IT, text="👍", created_at=None)], sought, complete=True).kind is Found.ABSENT
    assert search([replace(IT, text="👋", created_at=None)], sought, complete=True).kind is Found.UNKNOWN


def test_the_service_is_compared_when_it_chose_the_sender() -> None:
    sought = replace(SOUGHT, sender="", service="MG1")
    through = replace(IT, sender="+15005550009", service="MG1")
    assert search([through], sought, complete=True).kind is Found.FOUND
    assert search([replace(through, service="MG2")], sought, complete=True).kind is Found.UNKNOWN


def test_several_that_fit_are_told_oldest_first_and_each_once() -> None:
    later = replace(IT, provider_id="SM0", created_at=OPENED + 9)
    finding = search([later, IT, IT, later], SOUGHT, complete=True)
    assert (finding.provider_id, finding.others, finding.fits) == ("SM1", ("SM0",), ("SM1", "SM0"))


def test_a_message_that_another_delivery_accounts_for_is_not_found_again() -> None:
    later = replace(IT, provider_id="SM2", created_at=OPENED + 9)
    both = search([IT, later], SOUGHT, complete=True)
    assert exclude_known(both, {"SM1"}).fits == ("SM2",)
    assert exclude_known(both, {"SM1", "SM2"}).kind is Found.ABSENT
    assert exclude_known(search([IT], SOUGHT, complete=False), {"SM1"}).kind is Found.UNKNOWN
    like = search([replace(IT, created_at=None)], SOUGHT, complete=True)
    assert exclude_known(like, ()).kind is Found.UNKNOWN
    assert exclude_known(like, {"SM1"}).kind is Found.ABSENT


def test_what_did_not_come_stays_unknown_whatever_the_ledger_knows() -> None:
    finding = Finding(kind=Found.UNKNOWN, complete=False, detail="why", retry_after=2.0)
    assert exclude_known(finding, {"SM1"}) == finding


listed = st.builds(
    Listed,
    provider_id=st.sampled_from([f"SM{n}" for n in range(6)]),
    recipient=st.sampled_from([TO, "+12025550144"]),
    text=st.sampled_from(["Hi Ann", "hi ann", "Hi Bob", ""]),
    sender=st.sampled_from(["+15005550006", ""]),
    created_at=st.none() | st.floats(OPENED - 2 * PAST, OPENED + 2 * PAST),
)


@given(st.lists(listed, max_size=8), st.sets(st.sampled_from([f"SM{n}" for n in range(6)])), st.booleans())
def test_absent_only_when_nothing_free_could_be_it_and_nothing_is_found_twice(
    page: list[Listed], known: set[str], complete: bool
) -> None:
    finding = exclude_known(search(page, SOUGHT, complete=complete), known)
    assert not known & {*finding.fits, *finding.similar}
    if finding.kind is Found.ABSENT:
        assert complete
        assert not finding.fits
        assert not finding.similar
        assert all(
            message.provider_id in known or message.created_at is None or message.created_at < OPENED - PAST
            for message in _first_of_each(page)
            if (message.recipient, message.text) == (TO, "Hi Ann") and message.sender == SOUGHT.sender
        )
    assert (finding.kind is Found.FOUND) == bool(finding.fits)


def _first_of_each(page: list[Listed]) -> list[Listed]:
    first: dict[str, Listed] = {}
    for message in page:
        if message.recipient == TO:
            first.setdefault(message.provider_id, message)
    return [m for m in first.values() if m.created_at is not None]


# --- one doubt ---------------------------------------------------------------------------


def doubt(**changes: object) -> Doubt:
    row = DueDelivery(
        id=7, recipient=TO, attempts=1, fields={}, content_id=1, first_attempt_at=OPENED, next_at=None
    )
    found = Doubt(
        account="",
        delivery_id=7, n=1, provider="text", opened_at=OPENED, closed_at=OPENED + 30, reason="answer_lost",
        row=row,
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def test_an_attempt_of_a_clock_that_was_years_ahead_is_looked_for_where_it_was() -> None:
    ahead = doubt(opened_at=OPENED + 2.3e9)
    assert opened_at(doubt(), wall=OPENED + 60) == OPENED
    assert opened_at(ahead, wall=OPENED + 60) == OPENED
    sent = Listed(provider_id="sid", recipient=TO, text="Hi", sender="+12025550100", created_at=OPENED + 1)
    looked_at = opened_at(ahead, wall=OPENED + 60)
    sought = Sought(recipient=TO, text="Hi", sender="+12025550100", opened_at=looked_at)
    assert search([sent], sought, complete=True).kind is Found.FOUND


def test_the_first_question_waits_a_minute_from_the_lost_answer() -> None:
    assert begin(doubt(), wall=OPENED + 30, clock=5.0).next_at == 5.0 + APART
    assert begin(doubt(), wall=OPENED + 50, clock=5.0).next_at == 5.0 + APART - 20
    assert begin(doubt(), wall=OPENED + 86_400, clock=5.0).next_at == 5.0


def test_a_clock_that_was_set_back_does_not_put_the_question_off_for_a_day() -> None:
    assert begin(doubt(), wall=OPENED - 86_400, clock=5.0).next_at == 5.0 + APART


def test_found_settles_at_once() -> None:
    found, _ = conclude(
        ReconcileProgress(n=1, next_at=0.0), Finding(kind=Found.FOUND, provider_id="SM1"), 0.0, 1.0
    )
    assert found is Found.FOUND


def test_absent_is_believed_when_it_was_said_twice_a_minute_apart() -> None:
    found, progress = conclude(ReconcileProgress(n=1, next_at=0.0), ABSENT, 0.0, 3.0)
    assert (found, progress.next_at) == (None, 3.0 + APART)
    early, progress = conclude(progress, ABSENT, 3.0 + APART - 1, 3.0 + APART)
    assert (early, progress.next_at) == (None, 3.0 + APART)
    found, _ = conclude(progress, ABSENT, 3.0 + APART, 5.0 + APART)
    assert found is Found.ABSENT


def test_found_between_is_found() -> None:
    _, progress = conclude(ReconcileProgress(n=1, next_at=0.0), ABSENT, 0.0, 0.0)
    found, _ = conclude(progress, Finding(kind=Found.FOUND, provider_id="SM1"), 60.0, 60.0)
    assert found is Found.FOUND


def test_an_answer_that_says_nothing_between_two_that_say_absent_parts_them() -> None:
    _, progress = conclude(ReconcileProgress(n=1, next_at=0.0), ABSENT, 0.0, 0.0)
    found, progress = conclude(progress, UNKNOWN, 60.0, 60.0)
    assert (found, progress.absent_at) == (None, None)
    found, progress = conclude(progress, ABSENT, 120.0, 120.0)
    assert found is None
    assert conclude(progress, ABSENT, 180.0, 180.0)[0] is Found.ABSENT


def test_vain_questions_come_further_and_further_apart_and_end_with_a_person() -> None:
    progress, times = ReconcileProgress(n=1, next_at=0.0), []
    found: Found | None = None
    while found is None:
        times.append(progress.next_at)
        found, progress = conclude(progress, UNKNOWN, progress.next_at, progress.next_at)
    assert (found, progress.held) == (Found.UNKNOWN, True)
    assert times == [0.0, 60.0, 180.0, 420.0, 900.0]
    assert len(times) == MOST_UNKNOWN


def test_asking_ends_after_an_hour() -> None:
    _, progress = conclude(ReconcileProgress(n=1, next_at=0.0), UNKNOWN, 0.0, 0.0)
    assert conclude(progress, UNKNOWN, LONGEST, LONGEST)[0] is Found.UNKNOWN


def test_a_provider_that_asks_for_time_gets_it() -> None:
    _, progress = conclude(ReconcileProgress(n=1, next_at=0.0), replace(UNKNOWN, retry_after=600.0), 0.0, 1.0)
    assert progress.next_at == 601.0
    _, progress = conclude(ReconcileProgress(n=1, next_at=0.0), replace(UNKNOWN, retry_after=1e9), 0.0, 1.0)
    assert progress.next_at == 1.0 + LONGEST


answers = st.sampled_from([ABSENT, UNKNOWN, Finding(kind=Found.FOUND, provider_id="SM1")])


@given(st.lists(st.tuples(answers, st.floats(0, 500), st.floats(0, 90)), min_size=20, max_size=40))
@example([(UNKNOWN, 0.0, 1.1092672351495025), (ABSENT, 301.0, 90.0), *[(ABSENT, 0.0, 0.0)] * 18])
def test_every_doubt_ends_and_absence_was_confirmed_a_minute_later(
    said: list[tuple[Finding, float, float]],
) -> None:
    progress, clock, absent_since = ReconcileProgress(n=1, next_at=0.0), 0.0, None
    for finding, late, took in said:
        asked_at = max(clock, progress.next_at) + late
        clock = asked_at + took
        found, progress = conclude(progress, finding, asked_at, clock)
        if found is Found.ABSENT:
            assert absent_since is not None
            assert asked_at >= absent_since + APART
        if found is not None:
            return
        assert progress.next_at >= clock or finding.kind is Found.ABSENT
        if finding.kind is Found.ABSENT:
            absent_since = clock if absent_since is None else absent_since
        else:
            absent_since = None
    raise AssertionError("it was never decided")


def test_what_was_certainly_not_accepted_is_tried_again_as_after_any_refusal() -> None:
    retry_policy = RetryPolicy(give_up_after=86_400.0)
    resolution = absent(doubt(), retry_policy, OPENED + 120, OPENED + 120, 0.5)
    assert resolution.how is How.ABSENT
    assert resolution.next_at is not None
    assert resolution.next_at >= OPENED + 120 + retry_policy.floor


def test_it_is_tried_at_once_when_our_own_end_lost_the_answer() -> None:
    resolution = absent(doubt(reason="interrupted"), RetryPolicy(), OPENED + 120, OPENED + 120, 0.5)
    assert (resolution.how, resolution.next_at) == (How.ABSENT, None)


def test_it_fails_when_it_is_too_late_to_try_again() -> None:
    retry_policy = RetryPolicy(give_up_after=3600.0)
    assert absent(doubt(), retry_policy, OPENED + 3500, OPENED + 3500, 0.5).how is How.FAILED
    assert (
        absent(doubt(reason="interrupted"), retry_policy, OPENED + 3500, OPENED + 3500, 0.5).how is How.ABSENT
    )
    assert (
        absent(doubt(reason="interrupted"), retry_policy, OPENED + 3601, OPENED + 3601, 0.5).how is How.FAILED
    )
