"""Every state that the two lifecycle tables can lead to.

They are walked twice: by a machine that tries anything on the store in memory, and by a search through all
that can be reached at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hubd.core.ledger import Close, Entry, Open, Rejection, Requeue
from hubd.core.lifecycle import (
    CAMPAIGN,
    DELIVERY,
    CampaignEvent,
    DeliveryEvent,
    advance_campaign,
    advance_delivery,
)
from hubd.core.model import (
    CampaignState,
    Channel,
    Content,
    DeliveryState,
)
from hubd.errors import Conflict, InvalidTransition
from tests.fakes import FakeStore

C, D, E, V = CampaignState, DeliveryState, CampaignEvent, DeliveryEvent

EMAIL = Content(
    channel=Channel.EMAIL, sender="Acme <news@acme.example>", subject="Hello", text="Hi {{ email }}"
)

# -- the tables on the store in memory ---------------------------------------------------------------

OUTCOMES = (D.SENT, D.DEFERRED, D.FAILED, D.IN_DOUBT, D.PENDING)
AFTER = {
    D.SENT: V.ACCEPT, D.DEFERRED: V.DEFER, D.FAILED: V.FAIL, D.IN_DOUBT: V.DOUBT, D.PENDING: V.WITHDRAW,
}  # fmt: skip
rows = st.integers(1, 2)


class Tables(RuleBasedStateMachine):
    """Any event in any state: what the tables allow is done by the store, and nothing else."""

    @initialize(state=st.sampled_from([C.RUNNING, C.DRAFT]))
    def begin(self, state: CampaignState) -> None:
        self.store = FakeStore()
        self.id = self.store.add_campaign("all", 2, EMAIL, state=state).id
        self.taken: Counter[int] = Counter()
        self.doubts: Counter[int] = Counter()
        self.vouched: set[int] = set()

    @property
    def state(self) -> CampaignState:
        return self.store.campaigns[self.id].state

    def _of(self, number: int) -> DeliveryState:
        return self.store.rows[number].state

    def _refused(self, number: int, happening: DeliveryEvent, entry: Entry) -> None:
        """The table does not know it, and the store does not do it either."""
        before = self._of(number)
        with pytest.raises(InvalidTransition):
            advance_delivery(before, happening)
        try:
            (refusal,) = trio.run(self.store.record, [entry])
        except (Conflict, InvalidTransition):
            refusal = Rejection(why="raised")
        assert refusal is not None
        assert self._of(number) is before

    # what happens to the campaign

    @rule(event=st.sampled_from(E), taken=st.booleans())
    def happen(self, event: CampaignEvent, taken: bool) -> None:
        before = self.state
        try:
            to = advance_campaign(before, event)
        except InvalidTransition:
            assert event not in CAMPAIGN[before]
            return
        if event in (E.PAUSE, E.STOP, E.FAIL):
            self._cut(taken)  # nothing is on the wire when they answer
        counts = trio.run(self.store.by_id, self.id).counts
        try:
            trio.run(partial(self.store.move, self.id, (before,), to, event=event.value))
        except Conflict:
            assert to is C.COMPLETED
            assert counts.pending + counts.deferred + counts.sending
            assert self.state is before

    def _cut(self, taken: bool) -> None:
        for number, row in self.store.rows.items():
            if row.open:
                self.taken[number] += taken
                self.doubts[number] += 1
        trio.run(self.store.abandon, self.id)

    @rule(taken=st.booleans())
    def crash(self, taken: bool) -> None:
        self._cut(taken)

    # what happens to a delivery

    @rule(number=rows)
    def open(self, number: int) -> None:
        entry = Open(delivery_id=number, provider="p", message_id="<m>", content_hash="h", at=1.0)
        before = self._of(number)
        if V.OPEN not in DELIVERY[before]:
            self._refused(number, V.OPEN, entry)
            return
        (refusal,) = trio.run(self.store.record, [entry])
        if self.state is not C.RUNNING:
            assert refusal == Rejection(why="campaign_state")
        elif self.store.rows[number].due.recipient in self.store.suppressed:
            assert refusal == Rejection(why="suppressed", skipped=True)
        else:
            assert refusal is None
            assert self._of(number) is D.SENDING

    @rule(number=rows, to=st.sampled_from(OUTCOMES), opened=st.booleans(), taken=st.booleans())
    def close(self, number: int, to: DeliveryState, opened: bool, taken: bool) -> None:
        before = self._of(number)
        if not opened and to in (D.SENT, D.IN_DOUBT):
            return  # what was not opened cannot have been taken
        entry = Close(delivery_id=number, to=to, reason="why", opened=opened, provider="p", at=2.0)
        if before is D.SENDING if opened else before in (D.PENDING, D.DEFERRED):
            assert trio.run(self.store.record, [entry]) == [None]
            self.taken[number] += to is D.SENT or (to is D.IN_DOUBT and taken)
            self.doubts[number] += to is D.IN_DOUBT
            assert self._of(number) is advance_delivery(before, AFTER[to])
            return
        try:
            (refusal,) = trio.run(self.store.record, [entry])
        except Conflict:
            refusal = Rejection(why="raised")
        assert refusal is not None
        assert self._of(number) is before

    @rule(number=rows, to=st.sampled_from(OUTCOMES), taken=st.booleans())
    def attempt(self, number: int, to: DeliveryState, taken: bool) -> None:
        self.open(number=number)
        self.close(number=number, to=to, opened=True, taken=taken)

    @rule(number=rows)
    def requeue(self, number: int) -> None:
        entry = Requeue(delivery_id=number, at=3.0)
        if V.REQUEUE not in DELIVERY[self._of(number)]:
            self._refused(number, V.REQUEUE, entry)
            return
        assert trio.run(self.store.record, [entry]) == [None]
        self._retry()

    @rule(number=rows, arrived=st.booleans())
    def receipt(self, number: int, arrived: bool) -> None:
        happening = V.RECEIPT_ARRIVED if arrived else V.RECEIPT_LOST
        if self._by_hand(number, happening) and not arrived:
            self.taken[number] = 0  # it came back

    @rule(number=rows, how=st.sampled_from([V.RESEND, V.SETTLE_SENT, V.SETTLE_FAILED]))
    def decide(self, number: int, how: DeliveryEvent) -> None:
        if self._by_hand(number, how):
            if how is V.SETTLE_SENT:
                self.vouched.add(number)
            if how is V.RESEND:
                self._retry()

    def _by_hand(self, number: int, happening: DeliveryEvent) -> bool:
        row = self.store.rows[number]
        if happening not in DELIVERY[row.state]:
            return False
        row.state = advance_delivery(row.state, happening)
        self.store.recount(self.id)
        return True

    def _retry(self) -> None:
        if E.RETRY in CAMPAIGN[self.state]:
            self.happen(event=E.RETRY, taken=False)

    @rule(number=rows)
    def suppress(self, number: int) -> None:
        self.store.suppressed.setdefault(self.store.rows[number].due.recipient, "opted_out")

    # what holds, always

    @invariant()
    def the_promises_are_kept(self) -> None:
        states = self.store.states(self.id)
        assert sum(states.values()) == len(self.store.rows)
        for number, row in self.store.rows.items():
            assert row.open is (row.state is D.SENDING)
            assert self.taken[number] <= 1 + self.doubts[number]
            if row.state in (D.SENT, D.DELIVERED):
                assert self.taken[number] or number in self.vouched
            if self.taken[number] and not self.doubts[number]:
                assert row.state in (D.SENT, D.DELIVERED)
        if self.state is C.COMPLETED:
            assert not states.keys() & {D.PENDING, D.DEFERRED, D.SENDING}


def test_the_store_does_what_the_tables_allow_and_nothing_else() -> None:
    run_state_machine_as_test(
        Tables,
        settings=settings(
            max_examples=100, stateful_step_count=30, derandomize=True, database=None, deadline=None
        ),
    )


# -- every state that can be reached -----------------------------------------------------------------


class Point(NamedTuple):
    """A campaign with one delivery, and what really happened to that."""

    campaign: CampaignState
    delivery: DeliveryState
    taken: int  #: how often the provider took it, since it last came back; more than twice counts as twice
    doubted: bool  #: whether its answer was ever lost
    vouched: bool  #: whether a person said that it was sent


def steps(at: Point) -> Iterator[Point]:
    """What can come next: every event of both tables, under the rules of the ledger and the engine."""
    for event, to in CAMPAIGN[at.campaign].items():
        halts = at.campaign is C.RUNNING and to is not C.RUNNING
        if at.delivery is D.SENDING and halts and event is not E.FAIL:
            continue  # a pause or a stop waits until nothing is on the wire
        if event is E.FAIL and at.delivery is D.SENDING:
            for taken in (at.taken, at.taken + 1):  # its open attempts become doubts first
                yield at._replace(campaign=to, delivery=D.IN_DOUBT, taken=min(taken, 2), doubted=True)
            continue
        if event is E.COMPLETE and at.delivery in (D.PENDING, D.DEFERRED):
            continue  # the store refuses it: something is left to do
        yield at._replace(campaign=to)
    for happening, state in DELIVERY[at.delivery].items():
        if happening is V.OPEN and at.campaign is not C.RUNNING:
            continue  # the ledger refuses it
        if happening is V.FOUND_SENT and at.delivery is not D.SENDING and not at.taken:
            continue  # what was never taken has no receipt
        after = at._replace(delivery=state)
        match happening:
            case V.ACCEPT | V.FOUND_SENT if at.delivery is D.SENDING:
                yield after._replace(taken=min(at.taken + 1, 2))
            case V.DOUBT:
                yield after._replace(doubted=True)
                yield after._replace(doubted=True, taken=min(at.taken + 1, 2))
            case V.SETTLE_SENT:
                yield after._replace(vouched=True)
            case V.RECEIPT_LOST:
                yield after._replace(taken=0)
            case V.REQUEUE | V.RESEND if at.campaign not in (C.RUNNING, C.PAUSED, C.COMPLETED):
                yield after  # it stays queued until the campaign is started
            case V.REQUEUE | V.RESEND:
                yield after._replace(campaign=advance_campaign(at.campaign, E.RETRY))
            case _:
                yield after


def everything() -> set[Point]:
    beginning = Point(C.DRAFT, D.PENDING, taken=0, doubted=False, vouched=False)
    seen, todo = {beginning}, [beginning]
    while todo:
        fresh = set(steps(todo.pop())) - seen
        seen |= fresh
        todo += fresh
    return seen


def test_whatever_can_happen_nobody_is_sent_to_twice_without_a_doubt() -> None:
    for at in everything():
        assert at.taken <= 1 or at.doubted, at
        if at.delivery in (D.SENT, D.DELIVERED):
            assert at.taken or at.vouched, at
        if at.taken and not at.doubted:
            assert at.delivery in (D.SENT, D.DELIVERED), at


def test_whatever_can_happen_a_campaign_that_is_completed_has_nothing_left_to_do() -> None:
    for at in everything():
        if at.campaign is C.COMPLETED:
            assert at.delivery not in (D.PENDING, D.DEFERRED, D.SENDING), at
        if at.delivery is D.SENDING:
            assert at.campaign is C.RUNNING, at


def test_from_wherever_it_is_a_delivery_can_come_to_rest_in_a_completed_campaign() -> None:
    seen = everything()
    assert {at.campaign for at in seen} == set(C)
    assert {at.delivery for at in seen} == set(D)
    home = {at for at in seen if at.campaign is C.COMPLETED}
    while fresh := {at for at in seen - home if not home.isdisjoint(steps(at))}:
        home |= fresh
    assert home == seen
