"""Tickets and session tokens: once, for one Origin, for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.control.roles import Role
from hubd.control.tickets import (
    MAX_TICKETS,
    MAX_VIEWERS_TICKETS,
    RECONNECT_SECONDS,
    Frequency,
    Grant,
    Tickets,
)
from hubd.errors import HubError

PAGE = "http://127.0.0.1:8080"
OTHER = "http://127.0.0.1:8081"
GRANT = Grant(role=Role.VIEWER, origin=PAGE, issuer="uid 7")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- the book of tokens ------------------------------------------------------------------------------------


def test_a_ticket_is_good_once(clock: Clock) -> None:
    tickets = Tickets(clock)
    ticket = tickets.issue(GRANT, 60)
    admission = tickets.admit(ticket, PAGE)
    assert admission is not None
    assert admission.grant == GRANT
    assert tickets.admit(ticket, PAGE) is None


def test_a_ticket_expires(clock: Clock) -> None:
    tickets = Tickets(clock)
    ticket = tickets.issue(GRANT, 60)
    clock.now += 60
    assert tickets.admit(ticket, PAGE) is None


def test_a_ticket_never_lives_longer_than_a_minute(clock: Clock) -> None:
    tickets = Tickets(clock)
    ticket = tickets.issue(GRANT, 3600)
    clock.now += 61
    assert tickets.admit(ticket, PAGE) is None


@pytest.mark.parametrize("origin", [OTHER, None, PAGE + "/", PAGE.upper(), ""])
def test_a_ticket_of_another_origin_lets_nobody_in_and_is_used_up(clock: Clock, origin: str | None) -> None:
    tickets = Tickets(clock)
    ticket = tickets.issue(GRANT, 60)
    assert tickets.admit(ticket, origin) is None
    assert tickets.admit(ticket, PAGE) is None


def test_tickets_hold_256_bits_and_are_kept_hashed(clock: Clock) -> None:
    tickets = Tickets(clock)
    several = {tickets.issue(GRANT, 60) for _ in range(20)}
    assert len(several) == 20
    assert all(len(ticket) == 43 for ticket in several)  # 32 bytes in base64url
    assert not any(ticket in repr(vars(tickets)) for ticket in several)


@given(st.text())
def test_no_other_text_lets_anybody_in(text: str) -> None:
    tickets = Tickets(Clock())
    ticket = tickets.issue(GRANT, 60)
    assert text == ticket or tickets.admit(text.encode("utf-8", "replace").decode(), PAGE) is None


def test_tickets_that_wait_are_bounded(clock: Clock) -> None:
    tickets = Tickets(clock)
    for _ in range(MAX_TICKETS):
        tickets.issue(GRANT, 60)
    with pytest.raises(HubError) as caught:
        tickets.issue(GRANT, 60)
    assert caught.value.code == "rate_limited"
    clock.now += 60
    assert tickets.admit(tickets.issue(GRANT, 60), PAGE)


def test_viewers_leave_tickets_for_operators(clock: Clock) -> None:
    tickets = Tickets(clock)
    for _ in range(MAX_VIEWERS_TICKETS):
        tickets.issue(GRANT, 60, by=Role.VIEWER)
    with pytest.raises(HubError) as caught:
        tickets.issue(GRANT, 60, by=Role.VIEWER)
    assert caught.value.code == "rate_limited"
    assert tickets.admit(tickets.issue(GRANT, 60, by=Role.OPERATOR), PAGE)


def test_a_session_token_lives_with_its_connection_and_five_minutes_longer(clock: Clock) -> None:
    tickets = Tickets(clock)
    first = tickets.admit(tickets.issue(GRANT, 60), PAGE)
    assert first is not None
    token = first.renew()
    assert token is not None
    clock.now += 86_400
    first.end()
    clock.now += RECONNECT_SECONDS - 1
    second = tickets.admit(token, PAGE)
    assert second is not None
    clock.now += 1
    assert tickets.admit(token, PAGE) is None, "nobody greeted by it in time"


def test_a_session_token_changes_at_every_greeting(clock: Clock) -> None:
    tickets = Tickets(clock)
    first = tickets.admit(tickets.issue(GRANT, 60), PAGE)
    assert first is not None
    token = first.renew()
    first.end()
    second = tickets.admit(token or "", PAGE)
    third = tickets.admit(token or "", PAGE)
    assert second is not None
    assert third is not None, "a connection that broke before its greeting used nothing up"
    newer = second.renew()
    assert newer not in (None, token)
    with pytest.raises(HubError) as caught:
        third.renew()
    assert caught.value.code == "unauthenticated"
    assert tickets.admit(token or "", PAGE) is None
    assert tickets.admit(newer or "", OTHER) is None
    assert tickets.admit(newer or "", PAGE) is not None, "a session token is not used up by who is elsewhere"


def test_a_standing_token_stays(clock: Clock) -> None:
    tickets = Tickets(clock)
    token = tickets.permanent(Grant(role=Role.OPERATOR, origin=None, issuer="file"))
    for _ in range(3):
        clock.now += 86_400
        admission = tickets.admit(token, None)
        assert admission is not None
        assert admission.renew() is None
        admission.end()
    assert tickets.admit(token, PAGE) is None, "it is for programs that are no browser"


def test_a_frequency_counts_the_last_minute(clock: Clock) -> None:
    frequency = Frequency(clock, limit=3)
    assert [frequency.count() for _ in range(6)] == [1, 2, 3, 4, 4, 4]
    clock.now += 59
    assert frequency.count() == 4
    clock.now += 60
    assert frequency.count() == 1
