"""Which events are told, in which words, and when several of them become one email."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hubd.core.model import Counts
from hubd.core.notices import MOST, WINDOW, Mail, Notice, NoticeKind, headline, kinds_of, plan, sentence
from hubd.core.recurrence import OVER

K = NoticeKind


def notice(
    number: int = 1,
    kind: K = K.COMPLETED,
    *,
    reason: str = "",
    figures: Mapping[str, int] = MappingProxyType({"total": 1200, "sent": 1200}),
) -> Notice:
    return Notice(
        id=number,
        at=float(number),
        kind=kind,
        key=f"notify:{number}:1:{kind}",
        about="spring",
        provider="relay",
        reason=reason,
        figures=figures,
    )


@pytest.mark.parametrize(
    ("to", "reason", "in_doubt", "told"),
    [
        ("completed", "", 0, [K.COMPLETED]),
        ("completed", "", 2, [K.COMPLETED, K.IN_DOUBT]),
        ("failed", "an internal error stopped it", 0, [K.FAILED]),
        ("stopped", "it could not start on time: no disk space", 0, [K.FAILED]),
        ("stopped", "", 0, []),
        ("stopped", OVER, 0, []),
        ("paused", "limit", 0, [K.PAUSED]),
        ("paused", "", 3, []),
        ("running", "", 0, []),
    ],
)
def test_what_a_campaign_does_by_itself_is_told(to: str, reason: str, in_doubt: int, told: list[K]) -> None:
    counts = Counts(total=5, sent=5 - in_doubt, in_doubt=in_doubt)
    assert kinds_of("campaign.state", {"to": to, "reason": reason}, counts) == told


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("started", []),
        ("overlap", [K.OCCURRENCE_SKIPPED]),
        ("failed", [K.OCCURRENCE_SKIPPED]),
        ("missed", [K.OCCURRENCE_SKIPPED]),
    ],
)
def test_a_time_at_which_a_campaign_did_not_start_is_told(outcome: str, told: list[K]) -> None:
    assert kinds_of("campaign.occurrence", {"outcome": outcome, "at": 1.0}, Counts()) == told


@pytest.mark.parametrize(
    ("reason", "missed", "words"),
    [
        (
            "spring.2026-12-07 has not ended",
            0,
            "at one of its times: spring.2026-12-07 has not ended. The next",
        ),
        ("", 1, "at one of its times: hubd was not running then. The next"),
        ("", 3, "at 3 of its times: hubd was not running then. The next"),
    ],
)
def test_it_says_why_a_campaign_did_not_start_at_a_time(reason: str, missed: int, words: str) -> None:
    told = notice(kind=K.OCCURRENCE_SKIPPED, reason=reason, figures={"missed": missed} if missed else {})
    assert words in sentence(told)


def test_a_listener_that_does_not_listen_has_words_of_its_own() -> None:
    told = replace(
        notice(kind=K.MAILBOX_BROKEN, reason="127.0.0.1 port 8025: address already in use"), about="listener"
    )
    assert headline(told) == "The listener cannot accept connections"
    assert (
        "cannot accept connections: 127.0.0.1 port 8025: address already in use. hubd keeps trying."
        in sentence(told)
    )


def test_what_is_about_no_campaign_is_told() -> None:
    assert kinds_of("credits.low", {}, Counts()) == [K.CREDITS_LOW]
    assert kinds_of("sink.broken", {}, Counts()) == [K.SINK_BROKEN]


@given(st.lists(st.floats(1, 4000), max_size=40))
def test_no_more_than_three_emails_in_ten_minutes_and_each_notification_in_one(times: list[float]) -> None:
    waiting: list[Notice] = []
    sent: list[tuple[float, Mail]] = []
    wake: float | None = None
    arrivals = sorted(times)
    clock = 0.0
    while arrivals or wake is not None:
        clock = min([*arrivals[:1], *([wake] if wake is not None else [])])
        while arrivals and arrivals[0] <= clock:
            arrivals.pop(0)
            waiting.append(notice(len(times) - len(arrivals)))
        mails, wake = plan(waiting, [at for at, _ in sent], clock)
        sent += [(clock, mail) for mail in mails]
        told = {number for mail in mails for number in mail.notices}
        waiting = [each for each in waiting if each.id not in told]
        assert wake is None or wake > clock
    assert not waiting
    told_all = [number for _, mail in sent for number in mail.notices]
    assert sorted(told_all) == list(range(1, len(times) + 1))
    assert len({mail.key for _, mail in sent}) == len(sent)
    for start, _ in sent:
        assert sum(start <= at < start + WINDOW for at, _ in sent) <= MOST


def test_four_at_once_are_one_digest_and_the_fourth_in_ten_minutes_waits() -> None:
    four = [notice(n) for n in range(1, 5)]
    (mail,), again = plan(four, [], 1000.0)
    assert (mail.subject, mail.key, again) == ("4 notifications from MessageHub", "notify:digest:1-4", None)
    assert plan(four[:1], [1000.0, 1100.0, 1200.0], 1300.0) == ([], 1600.0)


def test_a_notification_says_what_happened_and_what_to_do() -> None:
    (mail,), _ = plan([notice(figures={"total": 1200, "sent": 1150, "failed": 50})], [], 0.0)
    assert mail.subject == "spring is completed"
    assert mail.text == (
        "The campaign spring is completed.\n\n"
        "  recipients       1,200\n"
        "  sent             1,150\n"
        "  failed              50\n"
    )
    paused = notice(kind=K.PAUSED, reason="the login was refused.")
    assert sentence(paused) == (
        "The campaign spring is paused: the login was refused. Once the cause is gone: hubctl resume spring"
    )
    for kind in K:
        each = notice(kind=kind, reason="it is down")
        assert "spring" in headline(each)
        assert "spring" in sentence(each)
        assert kind in (K.COMPLETED, K.MAILBOX_BROKEN) or "hubctl" in sentence(each)
