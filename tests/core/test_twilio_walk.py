"""How Twilio's list is walked, against a list that is kept here as values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.inbound import ItemKind
from hubd.providers.twilio.walk import (
    CHANGING,
    DEEP_EVERY,
    FURTHEST,
    LONGEST,
    OVERLAP,
    PEEK_EVERY,
    SHORTEST,
    Cursor,
    Message,
    Page,
    read_page,
    target,
)

PATH = "/2010-04-01/Accounts/AC1/Messages.json"
NOW = 1_800_000_000.0
DAY = 86_400.0


def stamp(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC))


def message(sid: str, made: float, *, sent: bool = True, direction: str = "outbound-api") -> Message:
    when = stamp(made)
    return Message(
        sid=sid, direction=direction, status="delivered" if direction != "inbound" else "received",
        to="+12025550143", from_="+15005550006", body="Hi", date_created=when, date_updated=when,
        date_sent=when if sent else None,
    )  # fmt: skip


def answer(listed: list[Message], asked: str, size: int) -> Page:
    """What Twilio answers: newest first, by day if one is asked for."""
    query = {key: values[0] for key, values in parse_qs(urlsplit(asked).query).items()}
    found = sorted(listed, key=lambda each: each.listed, reverse=True)
    if "DateSent>" in query:
        day = datetime.fromisoformat(query["DateSent>"]).replace(tzinfo=UTC).timestamp()
        found = [each for each in found if each.date_sent and each.made >= day]
    start = int(query.get("Start", "0"))
    more = len(found) > start + size
    rest = f"DateSent%3E={query['DateSent>']}&" if "DateSent>" in query else ""
    return Page(found[start : start + size], f"{PATH}?{rest}Start={start + size}" if more else None)


def walk(listed: list[Message], cursor: Cursor, now: float, size: int) -> tuple[Cursor, set[str], int]:
    """One walk to its end, with a restart before each request: its cursor, what it saw, the requests."""
    seen: set[str] = set()
    requests = 0
    while True:
        cursor = Cursor.parse(str(cursor)).begin(now)
        page = answer(listed, target(cursor, PATH), size)
        requests += 1
        seen |= {each.sid for each in page.messages}
        cursor = cursor.after(page, now)
        if not cursor.began:
            return cursor, seen, requests
        assert cursor.wait(now) == 0
        assert requests <= 2 * len(listed) + 3, "it ends"


@settings(max_examples=60, deadline=None)
@given(
    ages=st.lists(st.floats(0, 6 * DAY), max_size=40),
    later=st.lists(st.floats(0, 1), max_size=10),
    size=st.integers(1, 7),
    pause=st.floats(1, 3 * DAY),
)
def test_each_walk_sees_all_that_may_have_changed(
    ages: list[float], later: list[float], size: int, pause: float
) -> None:
    listed = [message(f"SM{n}", NOW - age) for n, age in enumerate(ages)]
    cursor, seen, _ = walk(listed, Cursor(), NOW, size)
    assert seen >= {each.sid for each in listed if each.made > NOW - CHANGING}
    assert (cursor.until, cursor.began) == (NOW, 0)
    then = NOW + pause
    listed += [
        message(f"SM{len(ages) + n}", NOW + part * pause, direction="inbound") for n, part in enumerate(later)
    ]
    again, seen, _ = walk(listed, cursor, then, size)
    assert seen >= {each.sid for each in listed if each.made > NOW - OVERLAP}, "nothing in between is missed"
    if cursor.newest and then - cursor.newest < CHANGING and pause >= LONGEST:
        assert seen >= {each.sid for each in listed if each.made > then - CHANGING}
    assert again.until == then


def test_a_small_account_takes_one_request_a_walk() -> None:
    """Also one without any message; and a message that waits without a day is seen."""
    assert walk([], Cursor(), NOW, 1000)[2] == 1
    listed = [message(f"SM{n}", NOW - n, sent=bool(n)) for n in range(500)]
    cursor, seen, requests = walk(listed, Cursor(), NOW, 1000)
    assert (len(seen), requests) == (500, 1)
    assert walk(listed, cursor, NOW + 15, 1000)[2] == 1


def test_deep_walks_that_take_long_leave_time_to_see_what_is_new() -> None:
    listed = [message(f"SM{n}", NOW - 300 * n) for n in range(800)]
    cursor, now = Cursor().begin(NOW), NOW
    while cursor.began:
        now += 200.0
        cursor = cursor.after(answer(listed, target(cursor, PATH), 100), now)
    took = now - NOW
    assert took > DEEP_EVERY
    for later, deep in ((now + 1, False), (NOW + 9.9 * took, False), (NOW + 10.1 * took, True)):
        assert cursor.begin(later).goes_deep is deep


def test_a_stop_that_comes_during_a_long_walk_is_seen_within_minutes() -> None:
    listed = [message(f"SM{n}", NOW - 120 * n) for n in range(2_000)]
    cursor, now, seen, requests = Cursor(), NOW, set[str](), 0
    stop_at, stop_seen = NOW + 305.0, 0.0
    stop = message("STOP", stop_at, direction="inbound")
    while True:
        cursor = Cursor.parse(str(cursor)).begin(now)
        there = [*listed, stop] if now >= stop_at else listed
        # Twilio's own name for a page stays where it is when something newer comes.
        page = answer(listed if cursor.page and not cursor.peeks else there, target(cursor, PATH), 50)
        requests += 1
        now += 20.0
        seen |= {each.sid for each in page.messages}
        if "STOP" in seen and not stop_seen:
            stop_seen = now
        cursor = cursor.after(page, now)
        if not cursor.began:
            break
        assert requests < 100, "it ends"
    took = now - NOW
    assert took > 15 * 60
    assert 0 < stop_seen - stop_at <= PEEK_EVERY + 60
    assert seen >= {each.sid for each in listed if each.made > NOW - CHANGING}
    assert requests <= 46 + took / PEEK_EVERY, "and one more request a minute"


def test_a_large_account_is_walked_a_short_way_between_deep_walks() -> None:
    listed = [message(f"SM{n}", NOW - 30 * n) for n in range(8_000)]
    cursor, seen, requests = walk(listed, Cursor(), NOW, 1000)
    assert len(seen) == 8_000
    assert requests == 9
    near, seen, requests = walk(listed, cursor, NOW + 15, 1000)
    assert (requests, near.deep) == (1, NOW)
    deep, _, requests = walk(listed, near, NOW + 1_000, 1000)
    assert (requests, deep.deep) == (9, NOW + 1_000)


def test_waits_double_and_three_days_later_only_new_texts_are_looked_for() -> None:
    listed = [message("SM1", NOW)]
    cursor, at = Cursor(), NOW
    waits: list[float] = []
    while len(waits) < 9:
        cursor, _, _ = walk(listed, cursor, at, 1000)
        waits.append(cursor.wait(at))
        at += waits[-1]
    assert waits == [15, 15, 30, 60, 120, 240, 480, 900, 900]
    assert cursor.begin(at).goes_deep
    much_later, _, _ = walk(listed, cursor, NOW + 4 * DAY, 1000)
    assert much_later.wait(NOW + 4 * DAY) == LONGEST
    begun = much_later.begin(NOW + 4 * DAY + LONGEST)
    assert not begun.goes_deep
    assert begun.back_to == much_later.until - OVERLAP, "what came since the last walk is not missed"
    assert Cursor(until=NOW - 90 * DAY).begin(NOW).back_to == NOW - FURTHEST
    assert (Cursor().wait(NOW), Cursor(newest=NOW + 60).wait(NOW)) == (LONGEST, SHORTEST)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"[" * 100_000, b'{"messages": [7]}', b'{"messages": [{"sid": null}]}',
        json.dumps({"messages": [], "next_page_uri": "http://198.51.100.7/x"}).encode(),
        json.dumps({"messages": [], "next_page_uri": PATH.replace("AC1", "AC2")}).encode(),
        json.dumps({"messages": [], "next_page_uri": f"//evil.example{PATH}"}).encode(),
    ],
)  # fmt: skip
def test_a_page_that_is_none_or_goes_on_elsewhere_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - in whichever words
        read_page(body, PATH)


@given(st.text(max_size=200))
def test_a_cursor_that_is_none_begins_anew(text: str) -> None:
    assert isinstance(Cursor.parse(text), Cursor)


def test_texts_to_another_number_count_only_as_answers_to_a_message_of_ours() -> None:
    text = message("SM1", NOW, direction="inbound")
    item = text.item(("+12025550143",))
    assert item is not None
    assert (item.kind, item.key, item.at, item.only_ours) == (ItemKind.REPLY, "SM1/received", NOW, False)
    other = text.item(("MG1",))
    assert other is not None
    assert other.only_ours
    status = message("SM2", NOW).item(("+12025550143",))
    assert status is not None
    assert (status.kind, status.only_ours, status.about.provider_ids) == (
        ItemKind.DELIVERED,
        True,
        ("SM2",),
    )
