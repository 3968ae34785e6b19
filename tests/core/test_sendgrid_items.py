"""What SendGrid tells, as items, and how its lists are walked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.inbound import ItemKind
from hubd.core.inbound_effects import effect_of
from hubd.providers.sendgrid.items import LISTS, event_item, list_item, log_item
from hubd.providers.sendgrid.walk import CHANGING, LOG_PAGE, LONGEST, OVERLAP, PAGE, Cursor

NOW = 1_800_000_000.0
K = ItemKind
NAME = "Xj5LmNkWSOqRbdvOpR34BA"


def event(word: str, **more: Any) -> dict[str, Any]:
    return {
        "email": "Ann@Example.com",
        "timestamp": int(NOW),
        "event": word,
        "sg_event_id": "e1",
        "sg_message_id": f"{NAME}.recvd-85abf8d92c-3qfgp-2-7890E356-43C.1",
        "hub": "17",
        "hub_message": "m17@hub",
        **more,
    }


@pytest.mark.parametrize(
    ("told", "kind", "permanent", "enhanced", "only_ours"),
    [
        (event("delivered", response="250 2.0.0 OK"), K.DELIVERED, None, "2.0.0", True),
        (
            event("bounce", type="bounce", status="5.1.1", reason="550 5.1.1 no"),
            K.BOUNCE,
            True,
            "5.1.1",
            True,
        ),
        (event("bounce", type="bounce", status="550", reason="550 5.1.1 no"), K.BOUNCE, True, "5.1.1", True),
        (event("bounce", type="blocked", status="5.7.1", reason="no"), K.BOUNCE, False, "5.7.1", True),
        (event("dropped", reason="Bounced Address"), K.BOUNCE, False, "", True),
        (event("deferred", response="450 4.2.1 later"), K.DELAYED, None, "4.2.1", True),
        (event("spamreport"), K.COMPLAINT, None, "", True),
        (event("unsubscribe"), K.OPT_OUT, None, "", False),
        (event("group_unsubscribe", asm_group_id=7), K.OPT_OUT, None, "", True),
    ],
)
def test_each_event_means_what_it_should(
    told: dict[str, Any], kind: ItemKind, permanent: bool | None, enhanced: str, only_ours: bool
) -> None:
    item = event_item(told)
    assert item is not None
    assert (item.kind, item.permanent, item.enhanced, item.only_ours) == (
        kind, permanent, enhanced, only_ours,
    )  # fmt: skip
    about = item.about
    assert (about.delivery, about.message_ids, about.provider_ids) == (17, ("<m17@hub>",), (NAME,))
    assert (about.address, item.at) == ("ann@example.com", NOW)


@pytest.mark.parametrize("word", ["processed", "open", "click", "group_resubscribe", "", "x"])
def test_other_events_are_none_of_our_business(word: str) -> None:
    assert event_item(event(word)) is None


def test_a_message_has_the_same_name_in_the_logs_and_in_the_webhook() -> None:
    told = event_item(event("bounce", type="bounce", status="5.1.1", reason="550 5.1.1 no"))
    logged = log_item(
        {
            "sg_message_id": f"{NAME}.filterdrecv-5645d9c87f-78xhc-1-62E1AB3B-9.0",
            "to_email": "ann@example.com",
            "status": "bounced",
            "reason": "550 5.1.1 no",
        },
        NOW,
    )
    assert told is not None
    assert logged is not None
    assert (logged.key, logged.about.provider_ids) == (told.key, told.about.provider_ids)
    assert (logged.enhanced, logged.code) == ("5.1.1", 550)


@pytest.mark.parametrize(
    ("which", "row", "kind", "suppress"),
    [
        ("bounces", {"reason": "550 5.1.1 no", "status": "5.1.1"}, K.BOUNCE, "mailbox_unknown"),
        ("bounces", {"reason": "500 unknown", "status": "5.0.0"}, K.BOUNCE, ""),
        ("blocks", {"reason": "550 5.1.1 no", "status": "5.1.1"}, K.BOUNCE, ""),  # it may pass
        ("invalid_emails", {"reason": "Mail domain is unknown"}, K.BOUNCE, "address_malformed"),
        ("spam_reports", {"ip": "192.0.2.1"}, K.COMPLAINT, "complaint"),
        ("unsubscribes", {}, K.OPT_OUT, "opted_out"),
    ],
)
def test_a_list_counts_for_the_address_whichever_message_it_was(
    which: str, row: dict[str, Any], kind: ItemKind, suppress: str
) -> None:
    item = list_item(which, {"created": NOW, "email": "ann@example.com", **row})
    assert item is not None
    assert (item.kind, item.of_list, item.about.address) == (kind, True, "ann@example.com")
    effect = effect_of(item, None)
    assert (effect.suppress, effect.moves, effect.measure) == (suppress, (), None)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_KEYS = (
    "email",
    "timestamp",
    "event",
    "type",
    "status",
    "reason",
    "hub",
    "created",
    "sg_message_id",
    "to_email",
)


@given(
    st.fixed_dictionaries(
        {key: _json | st.sampled_from(["bounce", "550 5.1.1 x", "a@b.example"]) for key in _KEYS}
    )
)
def test_whatever_is_told_is_an_item_or_nothing(row: dict[str, Any]) -> None:
    for item in (event_item(row), log_item(row, NOW), *(list_item(which, row) for which in LISTS)):
        if item is not None:
            assert item.about.address
            assert 0 < len(item.key) <= 200


# -- the walk --------------------------------------------------------------------------------------


def round_of(
    cursor: Cursor, now: float, made: list[float], entries: int = 0, allowed: int = 10_000
) -> tuple[Cursor, set[float], int]:
    """One round, with a restart before each request: its cursor, the messages that it saw, the requests.

    The logs answer so many as are `allowed`.
    """
    seen: set[float] = set()
    for requests in range(1, 10_000):
        cursor = Cursor.parse(str(cursor)).begin(now)
        if cursor.what == "logs" and not allowed:
            cursor = cursor.later()
        elif cursor.what == "logs":
            allowed -= 1
            begins, ends = cursor.windows[-1]
            found = sorted(at for at in made if int(begins) <= at <= ends + 1)[:LOG_PAGE]
            if not cursor.halves(len(found)):
                seen |= set(found)
            cursor = cursor.after_logs(found)
        else:
            cursor = cursor.after_list(min(PAGE, max(0, entries - cursor.offset)))
        if not cursor.began:
            return cursor, seen, requests
        assert cursor.wait(now) == 0
    raise AssertionError("it does not end")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.integers(60, 3 * 86_400), st.floats(60, 2 * 86_400))
def test_each_round_sees_all_messages_that_may_have_changed(bulk: int, spread: int, pause: float) -> None:
    made = [NOW - spread * n / (900 * bulk) for n in range(900 * bulk)]
    cursor, seen, _ = round_of(Cursor(), NOW, made)
    assert seen == {at for at in made if at >= NOW - CHANGING}
    again, seen, _ = round_of(cursor, NOW + pause, made)
    assert seen >= {at for at in made if at >= NOW - OVERLAP + 1}
    assert again.until == NOW + pause


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(60, 3 * 86_400), st.integers(0, 3), st.integers(1, 4))
def test_logs_that_allow_few_requests_are_read_to_the_end(
    bulk: int, spread: int, refused: int, allowed: int
) -> None:
    """Some rounds may not ask at all, the others a few times; meanwhile more is sent."""
    early = [NOW - spread * n / (900 * bulk) for n in range(900 * bulk)]
    late = [NOW + 70.0 * n for n in range(1, 40)]
    cursor, seen, now = Cursor(), set[float](), NOW
    for number in range(200):
        more = 0 if number < refused else allowed
        made = [*early, *(at for at in late if at <= now)]
        cursor, found, _ = round_of(cursor, now, made, allowed=more)
        assert cursor.until == now, "no list waits for the logs"
        seen |= found
        now += max(cursor.wait(now), 60.0)
        if not cursor.rest and now > max(late) + OVERLAP and cursor.logged > max(late):
            break
    assert seen >= {at for at in (*early, *late) if at >= NOW + 60 * refused - CHANGING + 60}
    assert cursor.deep, "three days were looked at, too"


def test_a_round_pages_through_long_lists_and_small_accounts_take_six_requests() -> None:
    cursor, _, requests = round_of(Cursor(), NOW, [])
    assert (requests, cursor.until, cursor.wait(NOW)) == (6, NOW, LONGEST)
    assert round_of(Cursor(), NOW, [], entries=PAGE + 1)[2] == 5 * 2 + 1
    assert Cursor(until=NOW).begin(NOW + 60).target() == (
        f"/v3/suppression/bounces?start_time={int(NOW - OVERLAP)}&end_time={int(NOW) + 61}&limit=500&offset=0"
    )


@given(st.text(max_size=100))
def test_a_cursor_that_is_none_begins_anew(text: str) -> None:
    assert Cursor.parse(text).begin(NOW).what == "bounces"
