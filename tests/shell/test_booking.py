"""Booking what came back, on the real schema: states move forward, counts add up, and twice is as once."""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.inbox import BounceRules
from hubd.core.model import Channel, DeliveryState
from hubd.core.tokens import Purpose, Tokens
from hubd.store.booking import book
from hubd.store.forgetting import forget
from hubd.store.opening import migrations
from hubd.store.rollup import difference
from hubd.store.steady import Moment
from hubd.store.unit import Unit

KEY = b"k" * 32
TOKENS = Tokens(KEY)
NOW = 1_800_000_000.0
D, K = DeliveryState, ItemKind
#: Addresses of the deliveries of each of two campaigns.
PEOPLE = ("ann@example.com", "bob@example.com", "cho@example.com")
BEGUN = (D.SENT, D.DELIVERED, D.UNDELIVERED, D.IN_DOUBT, D.SENDING, D.PENDING, D.FAILED)


class Empty:
    """A database with nothing in it, in memory; made once."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            db.deserialize(self._data)
            db.row_factory = sqlite3.Row
            yield db


@pytest.fixture(scope="module")
def empty() -> Empty:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for _, script in migrations():
            db.executescript(script)
        return Empty(db.serialize())


def unit_of(db: sqlite3.Connection) -> Unit:
    return Unit(db, Moment(NOW, NOW))


def fill(db: sqlite3.Connection, states: Sequence[DeliveryState]) -> None:
    """Two campaigns, with the deliveries 1 to 3 and 4 to 6 in these states."""
    db.execute("INSERT INTO content (id, hash, spec, created_at) VALUES (1, 'ab', '{}', 0)")
    unit = unit_of(db)
    for campaign in (1, 2):
        db.execute(
            "INSERT INTO campaign (id, name, channel, provider, state, spec, content_id, doubt_policy,"
            " created_at, updated_at) VALUES (?, ?, 'email', 'outbox', 'running', '{}', 1, 'retry', 0, 0)",
            (campaign, f"c{campaign}"),
        )
    for number, state in enumerate(states, 1):
        campaign, address = 1 + (number - 1) // 3, PEOPLE[(number - 1) % 3]
        db.execute(
            "INSERT INTO delivery (id, campaign_id, recipient, address_key, state, updated_at, fields)"
            " VALUES (?, ?, ?, ?, ?, ?, '{\"email\": 1}')",
            (number, campaign, address, address, state.value, NOW - 100),
        )
        outcome = {D.SENDING: None, D.PENDING: "in_doubt", D.DELIVERED: "sent", D.UNDELIVERED: "sent"}
        db.execute(
            "INSERT INTO attempt (delivery_id, n, epoch, provider, message_id, content_hash, opened_at,"
            " closed_at, outcome) VALUES (?, 1, 1, 'outbox', ?, 'ab', ?, ?, ?)",
            (
                number,
                TOKENS.message_id(number, "ab", "acme.example"),
                NOW - 100,
                None if state is D.SENDING else NOW - 99,
                outcome.get(state, state.value),
            ),
        )
        accepted = (NOW - 99, 1) if state in (D.SENT, D.DELIVERED, D.UNDELIVERED) else None
        unit.moved(campaign, None, state, at=NOW - 100, accepted=accepted)
    db.execute("DELETE FROM rollup_pending")
    unit.flush()


@dataclass(frozen=True)
class World:
    """Everything that items have an effect on."""

    states: tuple[DeliveryState, ...]
    measures: tuple[tuple[int, ...], ...]
    inbox: tuple[tuple[object, ...], ...]
    suppressed: frozenset[tuple[str, str]]
    held: frozenset[str]
    soft: int
    events: tuple[tuple[str, str], ...]


def look(db: sqlite3.Connection) -> World:
    states = tuple(D(state) for (state,) in db.execute("SELECT state FROM delivery ORDER BY id"))
    counted = db.execute("SELECT * FROM campaign_count ORDER BY campaign_id").fetchall()
    for row in counted:
        assert difference(db, row["campaign_id"]) == Counter(), "the roll-up is what happened"
        for state in D:
            n = db.execute(
                "SELECT count(*) FROM delivery WHERE campaign_id = ? AND state = ?",
                (row["campaign_id"], state.value),
            ).fetchone()[0]
            assert row[f"n_{state.value}"] == n, "the counters are what they count"
    return World(
        states=states,
        measures=tuple(
            tuple(row[f"n_{name}"] for name in ("bounced", "complaints", "replies", "opt_outs"))
            for row in counted
        ),
        inbox=tuple(map(tuple, db.execute("SELECT key, kind, delivery_id, decision FROM inbox ORDER BY id"))),
        suppressed=frozenset(map(tuple, db.execute("SELECT address_key, reason FROM suppression"))),
        held=frozenset(key for (key,) in db.execute("SELECT address_key FROM held_address")),
        soft=db.execute("SELECT count(*) FROM soft_bounce").fetchone()[0],
        events=tuple(map(tuple, db.execute("SELECT type, data FROM event ORDER BY seq"))),
    )


def enter(db: sqlite3.Connection, items: Sequence[Item]) -> None:
    unit = unit_of(db)
    book(unit, "mailbox bounces", items, tokens=TOKENS, rules=BounceRules(soft_limit=2))
    unit.flush()


def after(empty: Empty, states: Sequence[DeliveryState], looks: Sequence[Sequence[Item]]) -> list[World]:
    """The world before, and after each look at the source."""
    with empty.opened() as db:
        fill(db, states)
        worlds = [look(db)]
        for items in looks:
            enter(db, items)
            worlds.append(look(db))
        return worlds


def about(number: int, **values: object) -> Reference:
    known: dict[str, object] = {"token": TOKENS.of(Purpose.BOUNCE, number)}
    return Reference(**{**known, **values})  # type: ignore[arg-type]


def item(key: str, kind: ItemKind, reference: Reference, **values: object) -> Item:
    return Item(key=key, kind=kind, at=NOW - 10, about=reference, **values)  # type: ignore[arg-type]


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    made = []
    for key in range(draw(st.integers(1, 6))):
        number = draw(st.integers(1, 7))  # the last is none of ours
        person = draw(st.sampled_from(["", *PEOPLE]))
        reference = draw(
            st.sampled_from(
                [
                    about(number, address=person),
                    about(number, token="", message_ids=(TOKENS.message_id(number, "ab", "acme.example"),)),
                    about(number, token="", address=person),
                    about(number, token="", message_ids=("<x@else.example>",), address=person),
                ]
            )
        )
        made.append(
            item(
                str(key),
                draw(st.sampled_from(K)),
                reference,
                enhanced=draw(st.sampled_from(["5.1.1", "5.2.2", "4.4.7", ""])),
                text=draw(st.sampled_from(["", "STOP", "yes", "please stop", "thanks"])),
            )
        )
    return made


#: From which state a delivery can come to which, by what comes back.
FORWARD = {
    D.SENT: {D.DELIVERED, D.UNDELIVERED},
    D.IN_DOUBT: {D.SENT, D.DELIVERED, D.UNDELIVERED},
    D.SENDING: {D.SENT, D.DELIVERED, D.UNDELIVERED},
    D.PENDING: {D.SENT, D.DELIVERED, D.UNDELIVERED, D.SKIPPED},
}


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(BEGUN), min_size=6, max_size=6),
    items(),
    st.lists(st.integers(0, 5), max_size=12),
    st.integers(0, 12),
)
def test_items_move_states_forward_and_repetitions_change_nothing(
    empty: Empty, states: list[DeliveryState], made: list[Item], places: list[int], cut: int
) -> None:
    order = [made[place % len(made)] for place in places]
    worlds = after(empty, states, [order[:cut], order[cut:], order])
    for before, now in itertools.pairwise(worlds):
        for was, is_ in zip(before.states, now.states, strict=True):
            assert is_ is was or is_ in FORWARD.get(was, set())
    assert worlds[-1] == worlds[-2], "everything again changes nothing"
    assert worlds[-1] == after(empty, states, [list(dict.fromkeys(order))])[-1], "and so does none twice"
    bounced = {(row[2], row[1]) for row in worlds[-1].inbox if row[1] == "bounce" and row[2] is not None}
    assert sum(each[0] for each in worlds[-1].measures) == len(bounced), "one bounce of a message counts"


def test_a_bounce_of_what_was_delivered_is_an_event_and_no_state(empty: Empty) -> None:
    bounce = item("1", K.BOUNCE, about(1), enhanced="5.2.2", code=552)
    world = after(empty, [D.DELIVERED] * 6, [[bounce]])[-1]
    assert world.states[0] is D.DELIVERED
    assert world.measures[0] == (1, 0, 0, 0)
    ((kind, data),) = world.events
    assert kind == "delivery.bounced"
    assert json.loads(data) == {
        "item": 1,
        "delivery_id": 1,
        "reason": "mailbox_full",
        "code": 552,
        "state": "delivered",
    }


def test_an_opt_out_cancels_what_waits_in_every_campaign(empty: Empty) -> None:
    states = [D.SENT, D.SENT, D.SENT, D.PENDING, D.PENDING, D.PENDING]
    stop = item("1", K.REPLY, Reference(message_ids=(TOKENS.message_id(1, "ab", "a.example"),)), text="Stop!")
    world = after(empty, states, [[stop]])[-1]
    assert world.states == (D.SENT, D.SENT, D.SENT, D.SKIPPED, D.PENDING, D.PENDING)
    assert world.suppressed == {("ann@example.com", "opted_out")}
    assert [kind for kind, _ in world.events] == ["delivery.cancelled", "reply.opted_out"]


def test_soft_bounces_of_one_message_count_once_and_a_delivery_forgets_them(empty: Empty) -> None:
    first = [item(key, K.BOUNCE, about(1), enhanced="5.2.2") for key in ("1", "2")]
    second = item("3", K.BOUNCE, about(4), enhanced="5.2.2")
    receipt = item("4", K.DELIVERED, about(4))
    once = after(empty, [D.SENT] * 6, [first])[-1]
    assert (once.suppressed, once.measures[0]) == (frozenset(), (1, 0, 0, 0))
    assert after(empty, [D.SENT] * 6, [first, [second]])[-1].suppressed == {
        ("ann@example.com", "bounced_often")
    }
    assert after(empty, [D.SENT] * 6, [first, [receipt], [second]])[-1].suppressed == frozenset()


@pytest.mark.parametrize("later", ["STOP", "yes"])
def test_what_was_written_before_a_stop_takes_nothing_back_in_whichever_order_it_is_read(
    empty: Empty, later: str
) -> None:
    """A list that is read from its newest entry back has the older text last."""
    stop = item("1", K.REPLY, about(1, address="ann@example.com"), text="STOP")
    yes = item("2", K.REPLY, about(1, address="ann@example.com"), text="yes")
    stop, yes = (replace(each, at=NOW - (50 if each.text == later else 100)) for each in (stop, yes))
    expected = {("ann@example.com", "opted_out")} if later == "STOP" else frozenset()
    assert after(empty, [D.SENT] * 6, [[stop], [yes]])[-1].suppressed == expected


def test_stop_decides_what_the_person_wrote_before(empty: Empty) -> None:
    unclear = item("1", K.REPLY, about(1, address="ann@example.com"), text="how do I stop this?")
    stop = item("2", K.REPLY, about(1, address="ann@example.com"), text="STOP")
    worlds = after(empty, [D.SENT] * 6, [[unclear], [stop]])
    assert (worlds[1].held, worlds[1].inbox[0][3]) == ({"ann@example.com"}, "waiting")
    assert (worlds[2].held, worlds[2].inbox[0][3]) == (frozenset(), "opt_out")


def test_a_receipt_settles_an_attempt_whose_answer_is_not_known(empty: Empty) -> None:
    with empty.opened() as db:
        fill(db, [D.IN_DOUBT, D.SENDING, D.PENDING, D.SENT, D.SENT, D.SENT])
        enter(db, [item(str(n), K.DELIVERED, about(n, provider_ids=(f"P{n}",))) for n in (1, 2, 3)])
        assert look(db).states[:3] == (D.DELIVERED,) * 3
        rows = db.execute("SELECT outcome, reason, closed_at FROM attempt ORDER BY delivery_id").fetchall()
        assert [row["outcome"] for row in rows[:3]] == ["sent"] * 3
        assert all(row["closed_at"] is not None for row in rows)
        assert [name for (name,) in db.execute("SELECT provider_id FROM delivery ORDER BY id")][:3] == [
            *("P1", "P2", "P3")
        ]
        decided = db.execute("SELECT actor, delivery_id FROM audit ORDER BY seq").fetchall()
        assert [tuple(row) for row in decided] == [("receipt", 1), ("receipt", 3)]


@example(text="a\0b \ud800 c")
@settings(max_examples=30)
@given(st.text(st.characters(), max_size=300))
def test_whatever_somebody_wrote_is_kept(empty: Empty, text: str) -> None:
    reply = item(text, K.REPLY, about(1), sender=text, subject=text, text=text, quoted=text, words=text)
    with empty.opened() as db:
        fill(db, [D.SENT] * 6)
        enter(db, [reply])
        enter(db, [reply])
        (row,) = db.execute("SELECT * FROM inbox").fetchall()
        assert "\0" not in row["text"]
        assert "\n" not in row["subject"]


def test_a_number_that_opted_out_is_forgotten_with_its_key(empty: Empty) -> None:
    """What an earlier version kept under a hash of the number alone, too: anybody can try all numbers."""
    numbers = [f"+1202555010{n}" for n in range(3)]
    plain = [f"opted-out/{hashlib.sha256(number.encode()).hexdigest()[:32]}" for number in numbers]
    items = [
        Item(
            key=key, kind=K.OPT_OUT, at=NOW, about=Reference(channel=Channel.SMS, address=number),
            sender=number, of_list=True,
        )
        for key, number in zip(plain, numbers, strict=True)
    ]  # fmt: skip
    with empty.opened() as db:
        db.execute(
            "INSERT INTO hub (only, install_key, instance_id, created_at) VALUES (1, ?, '', 0)", (KEY,)
        )
        enter(db, [replace(item, of_list=False) for item in items[:2]])  # as an earlier version did
        unit = unit_of(db)
        forget(unit, numbers[:1])
        unit.flush()
        for _ in range(2):
            enter(db, items)
        forget(unit, numbers[1:])
        unit.flush()
        enter(db, items)
        rows = db.execute("SELECT * FROM inbox").fetchall()
        assert [row["kind"] for row in rows] == ["opt_out"] * 3, "each once"
        kept = repr([tuple(row) for row in rows])
        assert not [each for each in (*numbers, *plain) if each in kept]
        assert db.execute("SELECT count(*) FROM suppression").fetchone()[0] == 0
        assert db.execute("SELECT count(*) FROM forgotten").fetchone()[0] == 3, "they stay suppressed"
