"""A refusal that many get in a row is not about them: it stops the campaign, and they are put back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.streak import LIMIT, Streak
from hubd.core.verdict import SYSTEMIC, Action, Verdict

A = Action


def verdict(action: Action, reason: str = "content_refused") -> Verdict:
    return Verdict(action=action, reason="" if action is A.ACCEPT else reason, detail="A sentence.")


def seen(streak: Streak, *walk: tuple[int, Verdict]) -> list[Action]:
    return [streak.see(delivery_id, each).action for delivery_id, each in walk]


def failures(numbers: Sequence[int], reason: str = "content_refused") -> list[tuple[int, Verdict]]:
    return [(n, verdict(A.FAIL, reason)) for n in numbers]


def test_the_same_refusal_for_five_in_a_row_pauses_and_names_those_to_put_back() -> None:
    streak = Streak()
    assert seen(streak, *failures(range(LIMIT))) == [A.FAIL] * (LIMIT - 1) + [A.PAUSE]
    assert streak.broken
    assert streak.failed() == list(range(LIMIT - 1))  # the last was not failed: it goes back by itself


def test_the_person_who_is_asked_reads_that_it_was_many() -> None:
    streak = Streak()
    seen(streak, *failures(range(LIMIT - 1)))
    detail = streak.see(99, verdict(A.FAIL)).detail
    assert detail.startswith("A sentence.")
    assert str(LIMIT) in detail


def test_retries_in_a_row_rest_the_provider_and_put_nobody_back() -> None:
    streak = Streak()
    walk = [(n, verdict(A.RETRY, "refused_for_now")) for n in range(LIMIT)]
    assert seen(streak, *walk) == [A.RETRY] * (LIMIT - 1) + [A.PROVIDER]
    assert (streak.broken, streak.failed()) == (False, [])
    assert seen(streak, *walk)[-1] is A.PROVIDER  # it begins anew after the rest


def test_an_acceptance_ends_the_row() -> None:
    streak = Streak()
    seen(streak, *failures(range(LIMIT - 1)), (90, verdict(A.ACCEPT)))
    assert seen(streak, *failures(range(10, 10 + LIMIT - 1))) == [A.FAIL] * (LIMIT - 1)
    assert streak.failed() == []


def test_what_was_on_the_wire_when_the_row_broke_changes_nothing_about_it() -> None:
    streak = Streak()
    seen(streak, *failures(range(LIMIT)))
    late = [(50, verdict(A.ACCEPT)), *failures([51], "refused_by_policy"), *failures([52])]
    assert seen(streak, *late) == [A.ACCEPT, A.FAIL, A.FAIL]
    assert streak.failed() == list(range(LIMIT - 1))


def test_another_reason_begins_another_row() -> None:
    streak = Streak()
    seen(streak, *failures(range(LIMIT - 1)))
    assert seen(streak, *failures(range(10, 14), "refused_by_policy")) == [A.FAIL] * 4
    assert seen(streak, *failures([14], "refused_by_policy")) == [A.PAUSE]
    assert streak.failed() == [10, 11, 12, 13]  # the others were refused for something else


def test_one_recipient_many_times_is_no_row() -> None:
    streak = Streak()
    assert seen(streak, *failures([7] * 20)) == [A.FAIL] * 20
    assert not streak.broken


@pytest.mark.parametrize("reason", ["mailbox_unknown", "mailbox_full", "greylisted", "number_invalid"])
def test_what_is_about_each_recipient_never_makes_a_row(reason: str) -> None:
    streak = Streak()
    walk = [(n, verdict(action, reason)) for n in range(20) for action in (A.FAIL, A.SUPPRESS, A.RETRY)]
    assert seen(streak, *walk) == [each.action for _, each in walk]


def test_what_lies_between_without_a_word_on_the_matter_does_not_end_the_row() -> None:
    """Provider trouble and unknown mailboxes do not prove that the refusal is gone."""
    streak = Streak()
    between = [verdict(A.PROVIDER, "provider_busy"), verdict(A.SUPPRESS, "mailbox_unknown")]
    walk = [pair for n in range(LIMIT) for pair in [(100 + n, between[n % 2]), *failures([n])]]
    assert seen(streak, *walk)[-1] is A.PAUSE


recipients = st.integers(1, 12)
verdicts = st.builds(
    lambda action, reason: verdict(action, reason),
    st.sampled_from(Action),
    st.sampled_from([*sorted(SYSTEMIC)[:3], "mailbox_unknown", "greylisted"]),
)
walks = st.lists(st.tuples(recipients, verdicts), max_size=60)


@given(walks)
def test_a_streak_only_ever_makes_a_refusal_milder(walk: list[tuple[int, Verdict]]) -> None:
    """It never turns anything into an acceptance or a failure, nor one reason into another."""
    streak = Streak()
    for delivery_id, each in walk:
        judged = streak.see(delivery_id, each)
        assert judged.reason == each.reason
        if judged != each:
            assert each.reason in SYSTEMIC
            assert (each.action, judged.action) in {(A.FAIL, A.PAUSE), (A.RETRY, A.PROVIDER)}


@given(walks)
def test_only_those_are_put_back_who_were_failed_with_the_reason_of_the_row(
    walk: list[tuple[int, Verdict]],
) -> None:
    """As in a run: it ends with the pause, and a recipient that was failed is not tried again in it."""
    streak = Streak()
    failed: dict[int, str] = {}
    for delivery_id, each in walk:
        if delivery_id in failed:
            continue
        judged = streak.see(delivery_id, each)
        if judged.action is A.FAIL:
            failed[delivery_id] = each.reason
        if judged.action is A.PAUSE and each.action is A.FAIL:
            assert {failed[n] for n in streak.failed()} <= {each.reason}
            assert len(streak.failed()) < LIMIT
            assert delivery_id not in streak.failed()
            return
    assert streak.failed() == []
