"""Results as text: aligned, honest, and harmless to the terminal."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hubctl import displays, layout, render, render_events, render_messages, spans
from hubctl.board import Board, outcome, progress_line, read_states
from hubctl.exits import Exit, Refused
from hubd.wire.events import EVENTS
from hubd.wire.words import DELIVERY_STATES


def view(**changes: Any) -> Any:
    counts = {**dict.fromkeys((*DELIVERY_STATES, "total"), 0), **changes.pop("counts", {})}
    return {
        "name": "spring", "state": "running", "reason": "", "channel": "email", "provider": "office",
        "kind": "marketing", "lists": ["all"], "counts": counts, "rate": 0.0, "eta": None,
        "last_error": "", **changes,
    }  # fmt: skip


@given(st.text())
def test_nothing_printed_can_act_on_a_terminal(text: str) -> None:
    assert all(char.isprintable() or char == "\n" for char in layout.printable(text))
    assert layout.one_line(text).isprintable()
    assert "\x1b" not in layout.table(("A", "B"), [(text, 1)])


@given(st.text(st.characters(exclude_categories=["C"]), max_size=40), st.integers(1, 30))
def test_clipped_text_fits(text: str, width: int) -> None:
    assert layout.columns(layout.clip(text, width)) <= max(width, 1)


CELLS = st.lists(st.tuples(st.text(max_size=30), st.integers(0, 10**6), st.text(max_size=30)), max_size=4)


@given(CELLS, st.integers(40, 120))
def test_a_table_fits_the_terminal(rows: list[tuple[str, int, str]], width: int) -> None:
    lines = layout.table(("NAME", "COUNT", "WHY"), rows, width=width).split("\n")
    assert all(layout.columns(line) <= width for line in lines)


def test_a_table_of_campaigns_fits_80_columns_and_leaves_out_what_says_nothing() -> None:
    plain = view(counts={"total": 48_212, "sent": 48_212}, state="completed")
    text = render.campaigns([plain], width=80)
    assert text.splitlines()[0].split() == ["CAMPAIGN", "STATE", "PROVIDER", "TOTAL", "SENT", "DONE"]
    counts = {"total": 48_212, "sent": 19_000, "failed": 1_200, "skipped": 3, "in_doubt": 12}
    full = view(name="a-name-of-many-words", rate=118.0, eta=200.0, reason="a reason " * 9, counts=counts)
    lines = render.campaigns([plain, full], width=110).splitlines()
    assert all(len(line) <= 110 for line in lines)
    assert "IN DOUBT" in lines[0]


def test_at_80_columns_the_provider_makes_room_before_a_name_is_cut() -> None:
    counts = {"total": 48_212, "sent": 19_000, "skipped": 3, "pending": 29_209}
    one = view(name="newsletter-autumn-2026-customers", counts=counts, rate=118.0, eta=200.0, reason="limit")
    lines = render.campaigns([one], width=80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("newsletter-autumn-2026-customers  running")
    assert "PROVIDER" not in lines[0]
    assert lines[2].strip() == "3 skipped, 29,209 pending; limit"


def test_a_reason_on_the_board_leaves_what_ended_otherwise_beside_it() -> None:
    one = view(counts={"total": 100, "sent": 10, "skipped": 7, "pending": 83}, state="paused", reason="limit")
    assert displays.fitting(one, 30, reasons=True) == "10 sent, 7 skipped, limit"
    assert displays.fitting(one, 18, reasons=True) == "10 sent, limit"


WORDS = st.lists(st.text("abcdefgh田", min_size=1, max_size=12), max_size=40).map(" ".join)


@given(CELLS, WORDS, st.integers(40, 200))
def test_a_sentence_in_a_table_is_never_cut(
    rows: list[tuple[str, int, str]], sentence: str, width: int
) -> None:
    told = [(name[:9], count, sentence) for name, count, _ in rows]
    lines = layout.sentences(("NAME", "COUNT", "WHY"), told, width=width).split("\n")
    assert all(layout.columns(line) <= width for line in lines)
    found = " ".join(" ".join(lines).split())
    assert len(lines) > len(rows)
    for _, count, _ in told:
        assert f"{layout.number(count)} {sentence}".strip() in found


@given(st.text("ab 田", max_size=60).map(str.strip), st.integers(1, 30))
def test_broken_text_has_every_word_whole_and_fits_if_its_words_do(text: str, width: int) -> None:
    lines = layout.wrapped(text, width).split("\n")
    assert " ".join(lines) == text
    if all(layout.columns(word) <= width for word in text.split()):
        assert all(layout.columns(line) <= width for line in lines)


def test_a_path_is_not_broken() -> None:
    path = "/a/very/long/path/that/somebody/wants/to/copy.toml"
    assert layout.wrapped(f"it is at {path} now", 20) == f"it is at\n{path}\nnow"


def provider(**changes: Any) -> Any:
    return {
        "name": "a-provider-of-mine", "type": "smtp", "channels": ["email"], "state": "ready", "reason": "",
        "since": "2026-12-01T08:00:00.000Z", "until": None, "lanes": 8, "lanes_allowed": 8, "rate": ["5/s"],
        **changes,
    }  # fmt: skip


def test_a_provider_that_rests_fits_80_columns_and_its_reason_is_whole() -> None:
    why = (
        "the mail server does not answer at mail.example.com port 587: connection refused; it is tried again"
    )
    resting = provider(state="resting", reason=why, until="2026-12-01T08:01:00.000Z", lanes_allowed=1)
    text = render.providers([provider(), resting], width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert why in " ".join(text.split())
    assert re.search(r"resting +08:01:00 +1 of 8 +5/s\n", text)
    tomorrow = provider(state="resting", until="2026-12-02T00:00:10.000Z")
    assert "2026-12-02 00:00:10" in render.providers([tomorrow], width=80)


def test_what_is_told_of_a_campaign_adds_up_at_every_width() -> None:
    counts = {
        "total": 294,
        "sent": 285,
        "failed": 1,
        "deferred": 2,
        "skipped": 3,
        "in_doubt": 1,
        "pending": 2,
    }
    busy = view(name="june", counts=counts, rate=2.0, eta=200.0)
    wide = render.campaigns([busy], width=120).splitlines()
    assert wide[0].split()[3:-3] == [
        *("TOTAL", "SENT", "FAILED", "SKIPPED", "IN", "DOUBT", "PENDING", "DEFERRED"),
    ]
    narrow = render.campaigns([busy, view(name="a-name-that-is-rather-long", counts=counts)], width=80)
    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert "1 failed, 3 skipped, 1 in doubt, 2 pending, 2 deferred" in " ".join(narrow.split())
    assert "3 m 20 s" in narrow


def test_why_and_when_stand_beside_the_counts_they_are_about() -> None:
    counts = {"total": 4, "sent": 1, "skipped": 2, "deferred": 1}
    about = {"skipped": "2 suppressed", "deferred": "next try 2026-12-01 08:00:00 UTC"}
    lines = [line.split(None, 1) for line in render.campaign(view(counts=counts), about=about).splitlines()]
    assert ["skipped", "2 (2 suppressed)"] in lines
    assert ["deferred", "1 (next try 2026-12-01 08:00:00 UTC)"] in lines
    assert ["sent", "1"] in lines


def test_what_the_server_said_is_whole_at_80_columns() -> None:
    said = "The mail server refuses us. It said: blocked, see https://postmaster.example.com/why?ip=192.0.2.1"
    attempt: Any = {
        "n": 1, "opened_at": "2026-12-01T08:00:00.000Z", "closed_at": "2026-12-01T08:00:01.000Z",
        "provider": "office", "outcome": "failed", "stage": "rcpt", "code": 550, "enhanced": "5.7.1",
        "detail": said,
    }  # fmt: skip
    delivery: Any = {"id": 7, "state": "failed", "recipient": "ann@example.com", "detail": said}
    found: Any = {"delivery": delivery, "attempts": [attempt], "content": None}
    text = render_messages.message(found, width=80)
    assert " ".join(text.split()).count(said) == 2
    group: Any = {
        "reason": "blocked", "code": 550, "state": "failed", "count": 2, "detail": said, "example_id": 7,
        "class": "permanent",
    }  # fmt: skip
    text = render_messages.failures("spring", [group], width=80)
    assert said in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())


COUNTS = st.fixed_dictionaries(
    {name: st.integers(0, 10**7) for name in ("sent", "failed", "deferred", "skipped", "in_doubt", "pending")}
)


@given(
    st.lists(st.tuples(st.text("abc-", min_size=1, max_size=64), COUNTS, st.text(max_size=40)), min_size=1),
    st.integers(30, 200),
    st.booleans(),
)
def test_bars_fit_the_terminal_a_line_each(
    found: list[tuple[str, dict[str, int], str]], width: int, headed: bool
) -> None:
    views = [
        view(name=name, counts={**counts, "total": sum(counts.values())}, reason=why, rate=3.0, eta=12_000.0)
        for name, counts, why in found
    ]
    widest = max(len(", ".join(text for _, text in displays.figures_of(each))) for each in views)
    shape = displays.measure(views, width - 1, widest, indent=2 if headed else 0)
    drawn = Console(file=io.StringIO(), width=width)
    drawn.print(displays.bars(views, shape, chosen=found[0][0], reasons=headed))
    lines = drawn.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == len(views)


def test_figures_that_do_not_fit_are_left_out_whole_and_the_time_left_is_not() -> None:
    counts = {"total": 48_212, "sent": 19_000, "failed": 12, "deferred": 40, "skipped": 3, "pending": 29_157}
    one = view(name="spring-sale", counts=counts, rate=118.0, eta=240.0)
    shape = displays.measure([one], 79, 60)
    assert shape.bar == 5
    assert displays.fitting(one, shape.figures, reasons=True) == "19,000 sent, 12 failed, 3 skipped"
    assert displays.fitting(one, 24, reasons=True) == "19,000 sent, 12 failed"


DELIVERY: Any = {
    "id": 1258,
    "recipient": "someone.with.a.long.name@department.example.com",
    "state": "failed",
    "reason": "mailbox_unknown",
    "attempts": 2,
    "code": 550,
    "provider_id": "4bXyZ13kQz9Rw",
    "updated_at": "2026-07-01T10:00:05.123456+00:00",
}


@pytest.mark.parametrize("width", [80, 100, 110, 140])
def test_a_recipient_is_whole_and_what_is_less_wanted_is_left_out(width: int) -> None:
    head, line = render_messages.deliveries([DELIVERY], width=width).split("\n")
    assert len(line) <= width
    assert DELIVERY["recipient"] in line
    assert "mailbox unknown" in line or width == 80
    assert "1258" in line
    assert ("PROVIDER ID" in head, "UPDATED" in head) == (width == 140, width >= 110)


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "summer", "winter"),
    [
        ("Europe/Berlin", "2026-07-01 12:00:05 CEST", "2026-12-01 11:00:05 CET"),
        ("Asia/Kathmandu", "2026-07-01 15:45:05 +0545", "2026-12-01 15:45:05 +0545"),
        ("UTC", "2026-07-01 10:00:05 UTC", "2026-12-01 10:00:05 UTC"),
    ],
    indirect=["zone"],
)
def test_people_read_times_in_the_zone_of_their_computer(zone: str, summer: str, winter: str) -> None:
    assert render.moment("2026-07-01T10:00:05.123456+00:00") == summer
    assert render.moment("2026-12-01T10:00:05Z") == winter
    assert summer.startswith(render.clock("2026-07-01T10:00:05+00:00"))
    (_, line) = render_messages.deliveries([DELIVERY]).split("\n")
    assert render.clock(DELIVERY["updated_at"]) in line


@pytest.mark.parametrize("text", ["", "soon", "0001-01-01T00:00:00Z", None])
def test_what_is_no_time_is_shown_as_it_is(text: str | None) -> None:
    assert render.moment(text) in (text or "", "0001-01-01 00:00:00 UTC")


def test_names_from_a_file_are_aligned_and_keep_to_their_line() -> None:
    lines = layout.facts([("mail", "email"), ("电话", "phone"), ("two\nlines", "note")]).split("\n")
    assert lines == ["  mail       email", "  电话       phone", "  two lines  note"]


def test_columns_are_aligned_also_for_wide_characters() -> None:
    lines = layout.table(("NAME", "N"), [("田中", 5), ("Ann", 1234)]).split("\n")
    assert lines == ["NAME      N", "田中      5", "Ann   1,234"]


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (
            "campaign.changed",
            {"campaign": "s", "reason": "limit", "limit": 5000, "scheduled_at": None},
            "limit, pauses after 5,000",
        ),
        (
            "campaign.changed",
            {"campaign": "s", "reason": "", "limit": None, "scheduled_at": 1_796_112_000},
            "starts at 2026-12-01 08:00:00 UTC",
        ),
        (
            "campaign.changed",
            {"campaign": "s", "reason": "", "limit": None, "scheduled_at": None},
            "continues: nothing prevents it any longer",
        ),
        (
            "provider.changed",
            {"provider": "office", "from": "half_open", "to": "resting", "reason": "no", "until": 1.796112e9},
            "office: half open -> resting until 2026-12-01 08:00:00 UTC (no)",
        ),
        (
            "provider.changed",
            {"provider": "office", "from": "ready", "to": "disabled", "reason": "disabled", "until": None},
            "office: ready -> disabled",
        ),
        (
            "config.reloaded",
            {"applied": ["provider office added"], "needs_restart": ["hub.tcp"]},
            "read again: provider office added; hub.tcp after the next start of hubd",
        ),
        ("config.reloaded", {"applied": [], "needs_restart": []}, "read again: nothing changed"),
        (
            "config.reload_failed",
            {"problem": "hubd.toml, line 3: no such key", "errors": [{}]},
            "not applied; the old configuration remains in effect: hubd.toml, line 3: no such key",
        ),
        (
            "contacts.imported",
            {"list": "all", "imported": 1200, "updated": 0},
            "list all: 1,200 imported, 0 updated",
        ),
        (
            "delivery.failed",
            {"delivery_id": 7, "reason": "no_such_user", "code": 550},
            "message 7 failed: no such user (550)",
        ),
        (
            "delivery.requeued",
            {"count": 1, "class": "all"},
            "1 recipient goes back into the queue (all failures)",
        ),
        (
            "delivery.resolved",
            {"delivery_id": 7, "how": "hold", "by": "restore"},
            "message 7 waits for your decision, says restore",
        ),
    ],
)
def test_an_event_says_what_happened(kind: str, data: dict[str, Any], words: str) -> None:
    assert render_events.what(kind, data) == words


@pytest.mark.parametrize("kind", [name for name, each in EVENTS.items() if each.durable])
def test_every_kind_of_event_has_words(kind: str) -> None:
    assert "=" not in render_events.what(kind, {"reason": "r", "delivery_id": 1, "provider": "p"})


@given(
    st.sampled_from(sorted(EVENTS)),
    st.dictionaries(st.sampled_from(["reason", "to", "problem", "why"]), st.text()),
)
def test_an_event_is_one_harmless_line(kind: str, data: dict[str, Any]) -> None:
    line = render_events.event({"type": kind, "seq": 1, "ts": "2026-12-01T08:00:05.000Z", "data": data})
    assert line.isprintable()


@pytest.mark.parametrize("state", sorted({*DELIVERY_STATES} - {"sent", "delivered"}))
def test_done_counts_what_ended_well_and_the_rest_stands_beside_it(state: str) -> None:
    one = view(counts={"total": 1000, "sent": 900, "delivered": 99, state: 1}, state="completed")
    assert render.percent(one["counts"]) == 99
    for width in (80, 200):
        shown = " ".join(render.campaigns([one], width=width).split())
        assert "99 %" in shown
        assert state.replace("_", " ") in shown.lower()
    if state in render.ENDED_OTHERWISE:
        words = f"1 {state.replace('_', ' ')}"
        assert progress_line(one) == f"spring 99 %: 999 of 1,000, {words}"
        assert words in displays.fitting(one, 40, reasons=True)


def test_a_campaign_that_reached_everybody_is_done() -> None:
    assert render.percent(view(counts={"total": 3, "sent": 1, "delivered": 2})["counts"]) == 100
    assert render.percent(view()["counts"]) == 0


def test_an_error_that_is_over_is_not_shown_as_the_reason() -> None:
    again = view(last_error="an internal error stopped it", state="completed", counts={"total": 1, "sent": 1})
    assert "internal error" not in render.campaigns([again]) + render.campaign(again)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"state": "paused", "reason": "the login was refused"},
            ["paused automatically: the login", "resume"],
        ),
        ({"state": "paused", "reason": "limit", "limit": 40}, ["limit (40 messages in all)", "resume"]),
        (
            {"state": "failed", "reason": "an internal error"},
            ["ended early: an internal", "start spring"],
        ),
        (
            {"state": "running", "reason": "waiting for office: no answer"},
            ["waiting for office", "by itself"],
        ),
        ({"state": "paused", "reason": "decide: hubctl retry spring"}, ["decide: hubctl retry spring"]),
    ],
)
def test_why_a_campaign_does_not_go_on_is_said_with_what_to_do(
    changes: dict[str, Any], said: list[str]
) -> None:
    words = render_messages.halted(view(**changes))
    assert len(words) <= 2
    assert all(part in " ".join(words) for part in said), words


def test_who_was_put_off_or_skipped_is_no_failure_and_not_nothing_either() -> None:
    words = render_messages.set_aside(view(counts={"deferred": 1, "skipped": 12, "failed": 3}))
    assert words == [
        "1 recipient was refused for now, and tried again: hubctl deliveries spring --state deferred",
        "12 recipients were skipped: hubctl deliveries spring --state skipped",
    ]
    assert render_messages.set_aside(view(counts={"sent": 3})) == []


@pytest.mark.parametrize("state", ["draft", "scheduled", "running", "paused", "completed"])
def test_of_a_campaign_that_goes_as_it_was_told_to_nothing_is_said(state: str) -> None:
    assert render_messages.halted(view(state=state)) == []


def test_while_the_daemon_is_away_the_board_says_so_and_shows_no_speed() -> None:
    board = Board()
    board.update(view(rate=118.0, eta=240.0, counts={"total": 10, "sent": 4, "pending": 6}))
    assert "118/s" in progress_line(board.views["spring"])
    board.lose("hubd cannot be reached")
    assert progress_line(board.views["spring"]) == "spring 40 %: 4 of 10"
    board.lose("")
    assert board.away == ""


def test_how_many_contacts_a_condition_chooses_is_said_before_the_start() -> None:
    matching = {"contacts": 5_000, "matched": 1_204, "not_comparable": 12}
    found: Any = {
        "recipients": 1_200,
        "skipped": {"not_comparable": 12, "suppressed": 4},
        "matching": matching,
    }
    found |= {"channel": "email", "provider": "office"}
    lines = render.check(found).splitlines()
    assert "  where       1,204 of 5,000 contacts match" in lines
    assert "  skipped     12 for whom where has no result, 4 suppressed" in lines
    assert render.matched(None) == "", "nothing without a condition"


def test_one_off_messages_are_lines_with_their_subjects() -> None:
    row: Any = {**DELIVERY, "subject": "Your\norder", "provider": "office", "channel": "email"}
    head, line = render_messages.sends([row]).split("\n")
    assert head.split()[:3] == ["ID", "RECIPIENT", "SUBJECT"]
    assert "Your order" in line
    assert str(DELIVERY["recipient"]) in render_messages.sends([row], width=60)


def test_a_preflight_problem_comes_with_the_way_past_it() -> None:
    lines = render.problems(
        [{"risk": "no-unsubscribe", "problem": "there is no way out"}, {"risk": "", "problem": "x"}]
    )
    assert lines == ["- there is no way out  (fix this, or pass --accept-risk no-unsubscribe)", "- x"]


def test_failures_say_what_to_do_about_each_class() -> None:
    groups: Any = [
        {
            "reason": reason,
            "code": 452,
            "state": state,
            "count": 2,
            "detail": "",
            "example_id": 7,
            "class": kind,
        }
        for reason, state, kind in (("mailbox_full", "failed", "transient"), ("lost", "in_doubt", "in_doubt"))
    ]
    text = render_messages.failures("spring", groups)
    assert "hubctl retry spring --class transient" in text
    assert "--in-doubt resend|sent|failed" in text
    assert "--class permanent" not in text


def test_the_board_tells_a_change_of_state_and_each_tenth_once() -> None:
    board = Board()
    told = []
    for sent in range(0, 101, 5):
        state = "completed" if sent == 100 else "running"
        told += board.update(view(state=state, counts={"total": 100, "sent": sent, "pending": 100 - sent}))
    assert len(told) == 1 + 9 + 1
    refused = Board()
    for failed in range(0, 100, 5):
        refused.update(view(counts={"total": 100, "failed": failed, "pending": 100 - failed}))
    assert refused.update(view(counts={"total": 100, "failed": 100})) == ["spring 0 %: 0 of 100, 100 failed"]
    assert told[0] == "spring is running: 100 pending of 100"
    assert told[-1] == "spring is completed: 100 sent of 100"
    assert board.unfinished() == []


def test_a_progress_line_has_rate_and_time_left() -> None:
    line = progress_line(
        view(rate=118.2, eta=240.0, counts={"total": 48212, "sent": 19284, "failed": 3, "pending": 28925})
    )
    assert line == "spring 39 %: 19,284 of 48,212, 118/s, 4 m left, 3 failed"


def test_waiting_ends_well_badly_or_not_yet() -> None:
    wanted = read_states("paused,completed")
    assert outcome(view(state="paused"), wanted) is Exit.DONE
    assert outcome(view(state="failed"), wanted) is Exit.FAILED
    assert outcome(view(state="running"), wanted) is None
    with pytest.raises(Refused):
        read_states("gone")


@pytest.mark.parametrize(
    ("text", "value"),
    [("30s", 30), ("90", 90), ("1h30m", 5400), ("1.5 h", 5400), ("2 min", 120), ("250ms", 0.25)],
)
def test_spans_are_read(text: str, value: float) -> None:
    assert spans.seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "5 parsecs", "1h30", "1e9", "٣s", "30s!"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        spans.seconds(text)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (0.2, "< 1 s"),
        (59.4, "59 s"),
        (61, "1 m 1 s"),
        (3599, "1 h"),
        (12_000, "3 h 20 m"),
        (200_000, "2 d 7 h"),
    ],
)
def test_spans_are_spoken(span: float, words: str) -> None:
    assert spans.spoken(span) == words


CHECKED: dict[str, Any] = {
    "ok": True, "recipients": 600, "remaining": 600, "skipped": {}, "problems": [], "warnings": [],
    "segments": None, "load": None, "provider": "office", "channel": "email",
}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "limited_by", "shown"),
    [
        (
            600.0,
            "the rate 60/minute of office",
            "about 10 m at 1/s, limited by the rate 60/minute of office",
        ),
        (0.2, "the campaign's rate 50/s", "less than a second"),
        (
            None,
            "4 connections of office",
            "no rate limits it: it takes as long as 4 connections of office need",
        ),
        (None, "", ""),
    ],
)
def test_a_check_says_what_limits_the_campaign(seconds: float | None, limited_by: str, shown: str) -> None:
    estimate = {"messages": 600, "seconds": seconds, "rate": 1.0, "limited_by": limited_by}
    lines = render.check({**CHECKED, "estimate": estimate}).splitlines()  # type: ignore[typeddict-item]
    assert [line.split(None, 1)[1] for line in lines if "takes" in line] == ([shown] if shown else [])


def test_a_preview_shows_what_a_reader_sees() -> None:
    found: Any = {
        "recipient": "ann@example.com",
        "subject": "Hi\x1b[2J",
        "text": "Hello\n",
        "html": "<p>Hello</p>",
        "headers": [["From", "A <a@b.example>"], ["Subject", "Hi\x1b[2J"], ["Date", "now"], ["X-Own", "1"]],
        "attachments": [
            {"name": "logo.png", "type": "image/png", "size": 2048, "inline": True},
            {"name": "a.pdf", "type": "application/pdf", "size": 900, "inline": False},
        ],
    }
    assert render_messages.preview(found).splitlines() == [
        "From: A <a@b.example>",
        "Subject: Hi\\x1b[2J",
        "X-Own: 1",
        "",
        "Hello",
        "",
        "files: logo.png (2.0 KiB, in the HTML), a.pdf (900 bytes)",
    ]
    text: Any = {"recipient": "+12025550100", "text": "Hi", "segments": 1, "attachments": []}
    assert render_messages.preview(text) == "To: +12025550100\n\nHi"
