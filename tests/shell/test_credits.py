"""Credits on the real store: whatever happens in whatever order, each accepted attempt is paid for once.

Histories run on copies in memory of one file, over the daemon's own units of work. After each step a recount
has to find what the accounts say, and an account has spent what the test saw accepted.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.bridge import open_bridge
from hubd.core import decide
from hubd.core.ledger import Entry, Rejection
from hubd.core.lifecycle import CampaignEvent, advance_campaign
from hubd.core.model import CampaignState, DeliveryState
from hubd.errors import HubError
from hubd.store.batch import run_batch
from hubd.store.campaign_plans import deciding, write_move
from hubd.store.campaign_rows import campaign_by_id
from hubd.store.connection import open_plain
from hubd.store.credit_book import LET_GO, SPEND
from hubd.store.credit_holds import doubts_decided
from hubd.store.credits import Credits, cost_of
from hubd.store.database import open_database
from hubd.store.entries import enter_all
from hubd.store.integrity import _credits
from hubd.store.ledger import Ledger
from hubd.store.recovery import ABANDONED, CRASHED, lose
from hubd.store.requeue import requeue_page, resolve_page
from hubd.store.steady import Moment
from hubd.store.unit import SharedWork, Work
from tests.shell.conftest import Store, close_entry, open_entry

D = DeliveryState
PEOPLE = 4
CAMPAIGNS = (1, 2)
OUTCOMES = [D.SENT, D.SENT, D.DEFERRED, D.FAILED, D.IN_DOUBT, D.PENDING]
ENTER = partial(enter_all, epoch=1, low_disk_space=lambda: False)


@cache
def _origin() -> Path:
    """Two drafts that `team` pays for, and a transactional queue."""
    path = Path(tempfile.mkdtemp(prefix="credits-")) / "state" / "hub.db"

    async def make() -> None:
        async with open_bridge() as bridge, open_database(path, bridge) as database:
            store = Store(database)
            await store.people(*(f"p{n}" for n in range(PEOPLE)))
            await store.draft(credits="team")
            await store.draft(name="autumn", credits="team")
            for campaign in CAMPAIGNS:
                await store.campaigns.move(
                    campaign, list(CampaignState), CampaignState.RUNNING, event="start"
                )
                while await store.campaigns.freeze_page(campaign, 100):
                    pass
                await store.campaigns.move(campaign, list(CampaignState), CampaignState.STOPPED, event="stop")

    trio.run(make)
    return path


@pytest.fixture(scope="module", autouse=True)
def _tidy() -> Iterator[None]:
    yield
    shutil.rmtree(_origin().parent.parent)
    _origin.cache_clear()


class History:
    """One database, and what the test knows of it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.paid: dict[tuple[int, int], int] = {}  #: what attempts cost that were accepted
        self.granted = 0

    def run(self, *works: Work[Any]) -> list[Any]:
        """The values of units of work in one transaction; None for one that was refused."""
        done = run_batch(works, Moment(1000.0, 1000.0), 1, self.db)
        for error in done.errors.values():
            if not isinstance(error, HubError):
                raise error
        return done.values

    def state(self, delivery: int) -> tuple[str, int]:
        """The state of a delivery, and the number of its attempt that is open or the last."""
        found = self.db.execute(
            "SELECT state, (SELECT coalesce(max(n), 0) FROM attempt WHERE delivery_id = delivery.id) "
            "FROM delivery WHERE id = ?",
            (delivery,),
        ).fetchone()
        return (str(found[0]), int(found[1])) if found else ("gone", 0)

    # -- steps

    def grant(self, credits: int) -> None:
        work = Credits(None).granting("team", credits, "", None)  # type: ignore[arg-type]  # only makes it
        if self.run(work)[0] is not None:
            self.granted += credits

    def start(self, campaign: int, event: CampaignEvent) -> None:
        def work(unit: Any) -> Any:
            before = campaign_by_id(unit.db, campaign)
            cost = cost_of(unit.db, before)
            return deciding(campaign, partial(decide.start, event=event, cost=cost))(unit)

        self.run(work)

    def end(self, campaign: int, event: CampaignEvent) -> None:
        def work(unit: Any) -> Any:
            lose(unit, ABANDONED, (campaign,), CRASHED)  # what was on the wire is in doubt
            unit.flush()
            before = campaign_by_id(unit.db, campaign)
            to = advance_campaign(before.state, event)
            return write_move(unit, before, to, event, {})

        self.run(work)

    def enter(self, units: Sequence[Sequence[Entry]]) -> None:
        known = {e.delivery_id: self.state(e.delivery_id) for unit in units for e in unit}
        works = [SharedWork(unit, ENTER) for unit in units]
        for unit, value in zip(units, self.run(*works), strict=True):
            if value is None:
                continue  # refused as a whole
            refusals: list[Rejection | None] = value[0]
            for entry, refusal in zip(unit, refusals, strict=True):
                state, n = known[entry.delivery_id]
                if refusal is None and state == "sending" and getattr(entry, "to", None) is D.SENT:
                    self.paid[entry.delivery_id, n] = cost(entry.delivery_id)

    def resolve(self, campaign: int, how: Literal["resend", "sent", "failed"]) -> None:
        rows = self.db.execute(
            "SELECT id FROM delivery WHERE campaign_id = ? AND state = 'in_doubt'", (campaign,)
        )
        doubts = [(delivery, self.state(delivery)[1]) for (delivery,) in rows.fetchall()]
        self.run(partial(resolve_page, campaign_id=campaign, how=how, limit=100, actor="operator"))
        if how == "sent":
            self.paid.update({(delivery, n): cost(delivery) for delivery, n in doubts})

    def retry(self, campaign: int) -> None:
        def work(unit: Any) -> Any:
            requeue_page(unit, campaign, "all", 0, 100)
            unit.flush()
            before = campaign_by_id(unit.db, campaign)
            return deciding(campaign, partial(decide.retry, queued=True, cost=cost_of(unit.db, before)))(unit)

        self.run(work)

    def send(self, price: int) -> None:
        """A one-off message, in the queue that is campaign 3."""
        ledger = Ledger.__new__(Ledger)
        work = ledger.adding_one_off(
            3, "eve@example.com", "eve@example.com", {"x": "y"}, 1, idempotency_key="", fingerprint=b"",
            credits=("team", price),
        )  # fmt: skip
        self.run(work)

    def check(self) -> None:
        """What holds at every moment."""
        found = _credits(self.db)
        assert found is None or found.ok, found
        account = self.db.execute("SELECT granted, held, spent FROM credit_account").fetchone()
        if account is None:
            return
        granted, held, spent = account
        assert granted == self.granted
        assert spent == sum(self.paid.values())
        assert held + spent <= granted
        for campaign, state in self.db.execute("SELECT id, state FROM campaign WHERE single = 0").fetchall():
            hold = self.db.execute(
                "SELECT held, at_risk FROM credit_hold WHERE campaign_id = ? AND delivery_id IS NULL",
                (campaign,),
            ).fetchone()
            if hold is not None and state in ("stopped", "completed"):
                assert hold[0] == hold[1], "an ended campaign holds what it does not need"
        for delivery, hold in self.db.execute(
            "SELECT delivery_id, held FROM credit_hold WHERE delivery_id IS NOT NULL"
        ).fetchall():
            if self.state(delivery)[0] in ("sent", "failed", "skipped"):
                assert hold == 0, "a message that has ended holds credits"


def cost(delivery: int) -> int:
    """What a message costs: the first reservation takes each for one credit, as an email is."""
    return 1 + delivery % 3


@contextmanager
def new_history() -> Iterator[History]:
    """On a copy of its own, with a transactional queue."""
    with closing(open_plain(_origin(), writer=False)) as origin:
        memory = sqlite3.connect(":memory:", isolation_level=None)
        origin.backup(memory)
    memory.row_factory = sqlite3.Row
    with closing(memory):
        memory.execute(
            "INSERT INTO campaign (id, name, channel, provider, state, spec, content_id, doubt_policy, "
            "single, audience_ready, created_at, updated_at) "
            "VALUES (3, '~outbox', 'email', 'outbox', 'running', '{}', 1, 'hold', 1, 1, 0, 0)"
        )
        yield History(memory)


ONE_OFF = 2 * PEOPLE + 1  #: the first one-off message
DELIVERY = st.integers(1, 2 * PEOPLE + 3)
CAMPAIGN = st.sampled_from(CAMPAIGNS)
OPENING = DELIVERY.map(lambda n: open_entry(n)).map(lambda e: _costing(e))
CLOSING = st.tuples(DELIVERY, st.sampled_from(OUTCOMES)).map(lambda c: close_entry(c[0], c[1]))
REFUSED_EARLY = st.tuples(DELIVERY, st.sampled_from([D.DEFERRED, D.FAILED])).map(
    lambda c: close_entry(c[0], c[1], opened=False, provider="outbox")
)
UNIT = st.lists(st.one_of(OPENING, OPENING, CLOSING, CLOSING, REFUSED_EARLY), min_size=1, max_size=3)
EVENTS = [CampaignEvent.PAUSE, CampaignEvent.STOP, CampaignEvent.COMPLETE, CampaignEvent.FAIL]
STEP: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("enter"), st.lists(UNIT, min_size=1, max_size=6)),
    st.tuples(st.just("enter"), st.lists(UNIT, min_size=1, max_size=6)),
    st.tuples(st.just("grant"), st.integers(-6, 12)),
    st.tuples(st.just("start"), CAMPAIGN, st.sampled_from([CampaignEvent.START, CampaignEvent.RESUME])),
    st.tuples(st.just("end"), CAMPAIGN, st.sampled_from(EVENTS)),
    st.tuples(st.just("resolve"), CAMPAIGN, st.sampled_from(["resend", "sent", "failed"])),
    st.tuples(st.just("resolve"), st.just(3), st.sampled_from(["resend", "sent", "failed"])),
    st.tuples(st.just("retry"), CAMPAIGN),
    st.tuples(st.just("send"), st.integers(1, 3)),
)


def _costing(entry: Any) -> Any:
    return type(entry)(
        **{**{f: getattr(entry, f) for f in entry.__struct_fields__}, "cost": cost(entry.delivery_id)}
    )


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 12), st.lists(STEP, max_size=25))
def test_each_accepted_attempt_is_paid_for_once_whatever_happens(
    first: int, steps: list[tuple[Any, ...]]
) -> None:
    with new_history() as history:
        memory = history.db
        if first:
            history.grant(first)
        history.start(1, CampaignEvent.START)
        for name, *values in steps:
            getattr(history, name)(*values)
            history.check()
        for campaign in CAMPAIGNS:  # and in the end nothing is held for what is gone
            history.end(campaign, CampaignEvent.STOP)
            history.run(deciding(campaign, decide.delete))
        history.check()
        left = memory.execute(
            "SELECT coalesce(sum(held), 0) FROM credit_hold WHERE delivery_id IS NULL"
        ).fetchone()
        assert left[0] == 0


def held(history: History) -> int:
    count: int = history.db.execute("SELECT held FROM credit_account").fetchone()[0]
    return count


@pytest.mark.parametrize(("how", "left", "spent"), [("failed", 0, 0), ("sent", 0, 1), ("resend", PEOPLE, 0)])
def test_what_is_in_doubt_stays_held_until_it_is_decided(
    how: Literal["failed", "sent", "resend"], left: int, spent: int
) -> None:
    with new_history() as history:
        history.grant(10)
        history.start(1, CampaignEvent.START)
        history.enter([[open_entry(3)], [close_entry(3, D.IN_DOUBT)]])
        assert held(history) == PEOPLE
        history.end(1, CampaignEvent.STOP)
        assert held(history) == 1
        history.resolve(1, how)
        history.check()
        if how == "resend":
            history.start(1, CampaignEvent.START)
        assert held(history) == left
        assert sum(history.paid.values()) == spent


@pytest.mark.parametrize("how", ["failed", "sent"])
def test_a_one_off_message_in_doubt_stays_held_until_it_is_decided(how: Literal["failed", "sent"]) -> None:
    with new_history() as history:
        history.grant(10)
        history.send(cost(ONE_OFF))
        history.enter([[_costing(open_entry(ONE_OFF))], [close_entry(ONE_OFF, D.IN_DOUBT)]])
        history.check()
        assert held(history) == cost(ONE_OFF)
        history.resolve(3, how)
        history.check()
        assert held(history) == 0
        assert sum(history.paid.values()) == (cost(ONE_OFF) if how == "sent" else 0)


def test_a_refusal_in_the_same_batch_makes_room_for_the_next_message() -> None:
    with new_history() as history:
        history.grant(PEOPLE)
        history.start(1, CampaignEvent.START)
        history.enter([[open_entry(n) for n in range(1, PEOPLE + 1)]])
        history.enter([[close_entry(1, D.DEFERRED), open_entry(1)]])
        history.check()
        assert [history.state(n)[0] for n in range(1, PEOPLE + 1)] == ["sending"] * PEOPLE
        assert held(history) == history.granted == PEOPLE


def test_what_is_found_to_be_sent_after_it_was_given_up_is_paid_for() -> None:
    with new_history() as history:
        history.grant(10)
        history.start(1, CampaignEvent.START)
        history.enter([[open_entry(3)], [close_entry(3, D.IN_DOUBT)]])
        history.resolve(1, "resend")
        history.run(lambda unit: doubts_decided(unit, 1, [3], D.SENT))
        history.run(lambda unit: doubts_decided(unit, 1, [3], D.SENT))
        spent, left = history.db.execute("SELECT spent, held FROM credit_account").fetchone()
        assert (spent, left) == (1, PEOPLE - 1)


@pytest.mark.parametrize("statement", [SPEND, LET_GO])
async def test_what_attempts_cost_is_found_by_their_key_among_a_million(store: Store, statement: str) -> None:
    found = statement.format(rows="VALUES (?, ?), (?, ?)")
    explained = await store.db.read(
        lambda db: db.execute(f"EXPLAIN QUERY PLAN {found}", (1, 1, 2, 1)).fetchall()
    )
    plan = " / ".join(row["detail"] for row in explained)
    assert "SEARCH credit_use USING PRIMARY KEY (delivery_id=? AND n=?)" in plan
