"""A refusal that many get is not about them: campaign, provider or domain take it, and they are put back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.systemic_failure import (
    LIMIT,
    MAX_DOMAIN_RESTS,
    MAX_PROVIDER_RESTS,
    RECENT,
    WINDOW,
    SystemicFailureDetector,
)
from hubd.core.verdict import SYSTEMIC, Action, Verdict

A = Action
Step = tuple[int, Verdict, str]


def verdict(action: Action, reason: str = "content_refused") -> Verdict:
    return Verdict(action=action, reason="" if action is A.ACCEPT else reason, detail="A sentence.")


def seen(detector: SystemicFailureDetector, steps: Iterable[Step]) -> list[Action]:
    return [detector.see(number, each, domain).action for number, each, domain in steps]


def failed(numbers: Iterable[int], reason: str = "content_refused", domain: str = "") -> list[Step]:
    return [(n, verdict(A.FAIL, reason), domain) for n in numbers]


def deferred(numbers: Iterable[int], reason: str = "refused_for_now", domain: str = "") -> list[Step]:
    return [(n, verdict(A.RETRY, reason), domain) for n in numbers]


def accepted(numbers: Iterable[int], domain: str = "") -> list[Step]:
    return [(n, verdict(A.ACCEPT), domain) for n in numbers]


# --- refused for good ------------------------------------------------------------------


def test_the_same_refusal_for_five_in_a_row_pauses_and_names_those_to_put_back() -> None:
    detector = SystemicFailureDetector()
    assert seen(detector, failed(range(LIMIT))) == [A.FAIL] * (LIMIT - 1) + [A.PAUSE]
    assert detector.broken
    assert detector.owes
    # the last was not failed: it goes back by itself
    assert detector.requeue_misjudged() == list(range(LIMIT - 1))
    assert (detector.requeue_misjudged(), detector.owes) == ([], False)


def test_half_of_the_last_twenty_pauses_too_although_others_were_accepted() -> None:
    detector = SystemicFailureDetector()
    refused, fine = range(WINDOW // 2), range(100, 100 + WINDOW // 2)
    walk = [pair for n, m in zip(refused, fine, strict=True) for pair in failed([n]) + accepted([m])]
    assert seen(detector, walk[:-2]) == [A.FAIL, A.ACCEPT] * (WINDOW // 2 - 1)
    assert seen(detector, walk[-2:-1]) == [A.PAUSE]
    assert detector.requeue_misjudged() == list(refused)[:-1]


def test_less_than_half_is_about_those_people() -> None:
    detector = SystemicFailureDetector()
    walk = [step for n in range(300) for step in failed([3 * n]) + accepted([3 * n + 1, 3 * n + 2])]
    assert A.PAUSE not in seen(detector, walk)
    assert not detector.owes


@pytest.mark.parametrize("many", [failed(range(LIMIT)), deferred(range(LIMIT))])
def test_the_person_who_reads_it_is_told_that_it_was_many(many: list[Step]) -> None:
    detector = SystemicFailureDetector()
    seen(detector, many[:-1])
    number, last, domain = many[-1]
    detail = detector.see(number, last, domain).detail
    assert detail.startswith("A sentence.")
    assert str(LIMIT) in detail


def test_an_acceptance_ends_the_row() -> None:
    detector = SystemicFailureDetector()
    seen(detector, failed(range(LIMIT - 1)) + accepted([90]))
    assert seen(detector, failed(range(10, 10 + LIMIT - 1))) == [A.FAIL] * (LIMIT - 1)
    assert detector.requeue_misjudged() == []


def test_what_was_on_the_wire_when_the_row_broke_is_judged_as_the_row_was() -> None:
    detector = SystemicFailureDetector()
    seen(detector, failed(range(LIMIT)))
    late = [*accepted([50]), *failed([51], "refused_by_policy"), *failed([52])]
    assert seen(detector, late) == [A.ACCEPT, A.FAIL, A.PAUSE]
    assert detector.requeue_misjudged() == list(range(LIMIT - 1))


def test_another_reason_begins_another_row() -> None:
    detector = SystemicFailureDetector()
    seen(detector, failed(range(LIMIT - 1)))
    assert seen(detector, failed(range(10, 14), "refused_by_policy")) == [A.FAIL] * 4
    assert seen(detector, failed([14], "refused_by_policy")) == [A.PAUSE]
    assert detector.requeue_misjudged() == [10, 11, 12, 13]  # the others were refused for something else


def test_one_recipient_many_times_is_no_row() -> None:
    detector = SystemicFailureDetector()
    assert seen(detector, failed([7] * 40)) == [A.FAIL] * 40
    assert not detector.broken


@pytest.mark.parametrize("reason", ["mailbox_unknown", "mailbox_full", "greylisted", "number_invalid"])
def test_what_is_about_each_recipient_never_makes_a_row(reason: str) -> None:
    detector = SystemicFailureDetector()
    walk = [(n, verdict(action, reason), "") for n in range(20) for action in (A.FAIL, A.SUPPRESS, A.RETRY)]
    assert seen(detector, walk) == [each.action for _, each, _ in walk]


def test_what_lies_between_without_a_word_on_the_matter_does_not_end_the_row() -> None:
    """Provider trouble and unknown mailboxes do not prove that the refusal is gone."""
    detector = SystemicFailureDetector()
    between = [verdict(A.PROVIDER, "provider_busy"), verdict(A.SUPPRESS, "mailbox_unknown")]
    walk = [step for n in range(LIMIT) for step in [(100 + n, between[n % 2], ""), *failed([n])]]
    assert seen(detector, walk)[-1] is A.PAUSE


# --- refused for now ------------------------------------------------------------------


def test_the_same_refusal_for_now_for_five_rests_the_provider_and_puts_the_deferred_back() -> None:
    detector = SystemicFailureDetector()
    assert seen(detector, deferred(range(LIMIT))) == [A.RETRY] * (LIMIT - 1) + [A.PROVIDER]
    assert not detector.broken
    assert detector.requeue_misjudged() == list(range(LIMIT - 1))


def test_while_it_lasts_each_further_one_says_so_and_costs_nobody_anything() -> None:
    detector = SystemicFailureDetector()
    seen(detector, deferred(range(LIMIT)))
    detector.requeue_misjudged()
    probes = deferred(range(100, 160)) + deferred([3, 3, 3], "connection_lost")
    assert set(seen(detector, probes)) == {A.PROVIDER}
    assert detector.requeue_misjudged() == []
    assert seen(detector, accepted([200]) + deferred([201])) == [A.ACCEPT, A.RETRY]  # it is over


def test_half_of_the_last_twenty_rests_the_provider() -> None:
    detector = SystemicFailureDetector()
    walk = [step for n in range(WINDOW // 2) for step in deferred([n]) + accepted([100 + n])]
    assert seen(detector, walk)[-2] is A.PROVIDER
    assert detector.requeue_misjudged() == list(range(WINDOW // 2 - 1))


def test_greylisting_is_usual_once_and_a_disorder_when_it_meets_many_a_second_time() -> None:
    detector = SystemicFailureDetector()
    grey = verdict(A.RETRY, "greylisted")
    assert {detector.see(n, grey, "a.example").action for n in range(200)} == {A.RETRY}
    again = [detector.see(n, grey, "a.example", attempts=1).action for n in range(LIMIT)]
    assert again == [A.RETRY] * (LIMIT - 1) + [A.PROVIDER]


def test_those_whose_refusal_is_not_written_down_yet_are_put_back_later() -> None:
    detector = SystemicFailureDetector()
    seen(detector, deferred(range(LIMIT)))
    assert detector.requeue_misjudged(in_hand=lambda number: number == 2) == [0, 1, 3]
    assert detector.owes
    assert detector.requeue_misjudged() == [2]


@pytest.mark.parametrize("news", [A.ACCEPT, A.SUPPRESS, A.DOUBT, A.FAIL])
def test_nobody_is_put_back_of_whom_there_is_newer_word(news: Action) -> None:
    detector = SystemicFailureDetector()
    seen(detector, deferred(range(LIMIT)))
    detector.see(1, verdict(news, "mailbox_unknown"))
    assert detector.requeue_misjudged() == [0, 2, 3]


# --- one domain ------------------------------------------------------------------


def test_one_domain_that_refuses_while_others_accept_rests_alone() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "b.example"))
    walk = deferred(range(LIMIT), domain="a.example")
    assert seen(detector, walk) == [A.RETRY] * (LIMIT - 1) + [A.DOMAIN]
    assert detector.requeue_misjudged() == list(range(LIMIT - 1))
    assert seen(detector, accepted([91], "b.example") + deferred([50], domain="a.example"))[-1] is A.DOMAIN
    assert seen(detector, deferred([92], domain="b.example")) == [A.RETRY]  # b has nothing to do with it


def test_a_domain_row_is_not_hidden_by_the_acceptances_of_others() -> None:
    detector = SystemicFailureDetector()
    walk = []
    for n in range(LIMIT):
        walk += deferred([n], domain="a.example") + accepted(range(100 + 5 * n, 104 + 5 * n), "b.example")
    actions = seen(detector, walk)
    assert actions.count(A.DOMAIN) == 1
    assert A.PROVIDER not in actions
    assert detector.requeue_misjudged() == list(range(LIMIT - 1))


def test_a_domain_that_accepts_again_is_well() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "b.example") + deferred(range(LIMIT), domain="a.example"))
    assert seen(detector, accepted([60], "a.example") + deferred([61], domain="a.example"))[-1] is A.RETRY


def test_several_domains_that_refuse_are_the_providers_trouble() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "b.example"))
    domains = ["a.example", "b.example", "c.example", "d.example", "e.example"]
    walk = [step for n, domain in enumerate(domains) for step in deferred([n], domain=domain)]
    assert seen(detector, walk)[-1] is A.PROVIDER


def test_one_domain_alone_in_the_list_is_the_providers_trouble() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted(range(90, 95), "a.example"))
    assert seen(detector, deferred(range(LIMIT), domain="a.example"))[-1] is A.PROVIDER


def test_an_acceptance_of_long_ago_does_not_prove_that_others_work_now() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "b.example"))
    seen(
        detector,
        [(n, verdict(A.SUPPRESS, "mailbox_unknown"), "a.example") for n in range(1000, 1000 + RECENT)],
    )
    assert seen(detector, deferred(range(LIMIT), domain="a.example"))[-1] is A.PROVIDER


def test_a_domain_in_trouble_does_not_hide_that_everything_went_down() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "b.example") + deferred(range(LIMIT), domain="a.example"))
    walk = [step for n in range(LIMIT) for step in deferred([100 + n], domain=f"{'bcdef'[n]}.example")]
    assert seen(detector, walk)[-1] is A.PROVIDER


def test_a_refusal_for_good_by_one_domain_fails_its_people_and_pauses_nobody_else() -> None:
    detector = SystemicFailureDetector()
    walk = []
    for n in range(30):
        walk += failed([n], domain="a.example") + accepted([100 + 2 * n, 101 + 2 * n], "b.example")
    assert set(seen(detector, walk)) == {A.FAIL, A.ACCEPT}


# --- one recipient that holds all others up ----------------------------------------------


@pytest.mark.parametrize("reason", ["busy_at_recipient", "too_many_recipients"])
def test_one_recipient_at_whom_the_server_always_hangs_up_slows_the_provider_only_so_often(
    reason: str,
) -> None:
    detector = SystemicFailureDetector()
    walk = [step for n in range(8) for step in [(7, verdict(A.SLOW, reason), ""), *accepted([100 + n])]]
    about_seven = seen(detector, walk)[::2]
    assert about_seven == [A.SLOW] * (LIMIT - 1) + [A.RETRY] * (8 - LIMIT + 1)


def test_a_server_that_hangs_up_at_everybody_is_slowed_then_rests_and_costs_nobody_a_try() -> None:
    detector = SystemicFailureDetector()
    walk = [(n % 10, verdict(A.SLOW, "busy_at_recipient"), "") for n in range(200)]
    actions = seen(detector, walk)
    assert actions[-1] is A.PROVIDER
    tried = {number for (number, _, _), action in zip(walk, actions, strict=True) if action is A.RETRY}
    assert tried <= set(detector.requeue_misjudged())


def test_a_message_that_another_campaign_got_through_elsewhere_says_that_the_provider_works() -> None:
    newest = 0
    detector = SystemicFailureDetector(lambda domain: 0 if domain == "b.example" else newest)
    assert seen(detector, deferred(range(LIMIT), domain="a.example"))[-1] is A.PROVIDER
    newest = 1  # at b.example, through the same provider
    walk = deferred(range(10, 10 + LIMIT), domain="a.example")
    assert A.PROVIDER not in seen(detector, walk)
    assert detector.see(20, verdict(A.RETRY, "refused_for_now"), "a.example").action is A.DOMAIN


# --- for every walk ------------------------------------------------------------------

recipients = st.integers(1, 40)
verdicts = st.builds(
    lambda action, reason: verdict(action, reason),
    st.sampled_from(Action),
    st.sampled_from([*sorted(SYSTEMIC)[:3], "mailbox_unknown", "greylisted", "busy_at_recipient"]),
)
steps = st.tuples(recipients, verdicts, st.sampled_from(["", "a.example", "b.example"]))
walks = st.lists(steps, max_size=120)
MILDER = {(A.FAIL, A.PAUSE), (A.RETRY, A.PROVIDER), (A.RETRY, A.DOMAIN), (A.SLOW, A.RETRY)} | {
    (A.SLOW, A.PROVIDER),
    (A.SLOW, A.DOMAIN),
}


@given(walks)
def test_a_detector_never_makes_an_acceptance_or_a_failure_nor_another_reason(walk: list[Step]) -> None:
    detector = SystemicFailureDetector()
    for number, each, domain in walk:
        judged = detector.see(number, each, domain)
        assert judged.reason == each.reason
        if judged != each:
            assert (each.action, judged.action) in MILDER


@given(walks)
def test_only_those_are_put_back_whose_last_word_was_a_refusal_with_a_reason_of_a_row(
    walk: list[Step],
) -> None:
    detector = SystemicFailureDetector()
    last: dict[int, Verdict] = {}
    for number, each, domain in walk:
        judged = detector.see(number, each, domain)
        if judged.action in (A.ACCEPT, A.FAIL, A.RETRY, A.SUPPRESS, A.DOUBT):
            last[number] = judged
        elif judged.action is not each.action:
            last.pop(number, None)  # it goes back by itself
        for owed in detector.requeue_misjudged():
            assert last[owed].action in (A.FAIL, A.RETRY)
            assert last[owed].reason in SYSTEMIC
            del last[owed]


def test_a_campaign_whose_last_recipients_are_all_refused_comes_to_an_end() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([1]))
    people = [(100 + n, verdict(A.RETRY, "refused_for_now"), f"d{n}.example") for n in range(8)]
    actions = seen(detector, people * 100)
    assert actions[-1] is A.RETRY, "after more than six hours of rests the tries count, so that patience ends"
    assert actions.count(A.PROVIDER) == MAX_PROVIDER_RESTS


def test_a_relay_that_cannot_reach_some_domains_is_not_in_trouble_itself() -> None:
    detector = SystemicFailureDetector()
    dead = [(n, verdict(A.RETRY, "routing_trouble"), f"d{n}.example") for n in range(50)]
    assert set(seen(detector, dead)) == {A.RETRY}


def test_a_domain_that_never_takes_anything_rests_only_so_often() -> None:
    detector = SystemicFailureDetector()
    dead = [(n % 9, verdict(A.RETRY, "routing_trouble"), "d.example") for n in range(200)]
    assert seen(detector, dead).count(A.DOMAIN) == MAX_DOMAIN_RESTS


# --- refused for good, by one domain or before a resume ----------------------------------------


def refusals(numbers: Iterable[int], domain: str = "a.example") -> list[Step]:
    return failed(numbers, "recipient_refused", domain)


@pytest.mark.parametrize("others", ["a.example", "b.example"])
def test_one_domains_refusals_are_its_peoples_own_while_messages_are_accepted(others: str) -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted(range(90, 95), others))
    assert seen(detector, refusals(range(WINDOW - 2))) == [A.FAIL] * (WINDOW - 2)
    assert seen(detector, accepted([99], others) + refusals(range(50, 50 + WINDOW - 2)))[-1] is A.FAIL
    assert not detector.broken
    assert not detector.owes


def test_they_are_everybodys_when_nothing_has_been_accepted_for_a_while_and_nobody_is_failed() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "a.example"))
    actions = seen(detector, refusals(range(WINDOW)))
    assert actions == [A.FAIL] * (WINDOW - 1) + [A.PAUSE]
    assert set(detector.requeue_misjudged()) == set(range(WINDOW - 1))


def test_several_domains_that_refuse_in_a_row_pause_although_others_were_accepted() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "c.example"))
    walk = [step for n in range(LIMIT) for step in refusals([n], f"{'ab'[n % 2]}.example")]
    assert seen(detector, walk)[-1] is A.PAUSE


def test_words_about_us_pause_although_only_one_domain_says_them() -> None:
    detector = SystemicFailureDetector()
    seen(detector, accepted([90], "b.example"))
    assert seen(detector, failed(range(LIMIT), "refused_by_policy", "a.example"))[-1] is A.PAUSE


def test_a_recipient_that_was_refused_in_the_same_way_before_a_resume_fails() -> None:
    detector = SystemicFailureDetector()
    for number in range(3 * LIMIT):
        judged = detector.see(number, verdict(A.FAIL), "a.example", refused="content_refused")
        assert judged.action is A.FAIL
    assert not detector.broken
    for number in range(50, 50 + LIMIT):
        judged = detector.see(number, verdict(A.FAIL), "a.example", refused="refused_by_policy")
    assert judged.action is A.PAUSE, "that was another refusal"


def test_addresses_that_are_only_rejected_are_those_peoples_own_unless_nobody_is_accepted() -> None:
    detector = SystemicFailureDetector()
    few = failed(range(WINDOW - 1), "address_rejected", "a.example")
    assert set(seen(detector, few + accepted([90], "a.example"))) == {A.FAIL, A.ACCEPT}
    many = failed(range(100, 100 + WINDOW), "address_rejected", "a.example")
    assert seen(detector, many) == [A.FAIL] * (WINDOW - 1) + [A.PAUSE]
    assert set(detector.requeue_misjudged()) == set(range(100, 99 + WINDOW)), "nobody is failed for it"


#: Who is refused: people (by position) and from when on everybody is.
lists = st.tuples(
    st.lists(st.booleans(), min_size=1, max_size=80),  # whether each one is refused
    st.lists(st.sampled_from(["a.example", "b.example"]), min_size=80, max_size=80),
    st.integers(0, 200),  # after so many answers everybody is refused
    st.integers(0, 3),  # answers that were under way when it paused
    st.sampled_from(["recipient_refused", "content_refused"]),
)


@given(lists)
def test_each_resume_goes_further_and_a_refusal_of_everybody_fails_few(
    walk: tuple[list[bool], list[str], int, int, str],
) -> None:
    people, domains, from_then_on, late, reason = walk
    waiting, marks = dict(enumerate(people)), dict[int, str]()
    answers = 0
    while waiting:
        detector, failures, before = SystemicFailureDetector(), set[int](), len(waiting)
        known = marks.keys() & waiting.keys()
        left = late + 1
        for number, bad in list(waiting.items()):
            answers += 1
            refused = bad or answers > from_then_on
            said = verdict(A.FAIL if refused else A.ACCEPT, reason)
            judged = detector.see(number, said, domains[number], refused=marks.get(number, ""))
            if judged.action is A.PAUSE:
                marks[number] = reason
            else:
                del waiting[number]
                if judged.action is A.FAIL:
                    failures.add(number)
            left -= detector.broken
            if not left:
                break
        for number in detector.requeue_misjudged():
            failures.remove(number)
            waiting[number], marks[number] = people[number], reason
        waiting = dict(sorted(waiting.items()))
        if detector.broken:
            assert marks.keys() & waiting.keys(), "the campaign can name them"
            innocent = {n for n in failures - known if not people[n]}
            assert len(innocent) < WINDOW, "so many at most are failed by what was about everybody"
            assert len(failures & known) <= WINDOW + 3
        assert len(waiting) < before or (detector.broken and not known), "no resume without progress"
