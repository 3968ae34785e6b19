"""The task that reads a source, on the mock clock: what is acknowledged is booked, and trouble waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
import trio.lowlevel
import trio.testing

from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.inbox import Booked, SourceView
from hubd.errors import SourceUnavailable, StoreUnavailable
from hubd.inbound.reader import (
    BROKEN_AFTER,
    CATCH_UP,
    RETRY,
    RETRY_WITH_PERSON,
    WHILE_SENDING,
    Configured,
    Readers,
)
from hubd.inbound.source import Fetched


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


@dataclass(eq=False)
class Box:
    """A source of numbered items, which a test fills; it is read from the cursor on."""

    name: str = "mailbox bounces"
    items: list[Item] = field(default_factory=list)
    wait: float = 600.0
    trouble: Exception | None = None
    looks: list[tuple[float, str]] = field(default_factory=list)
    acknowledged: list[tuple[str, list[str]]] = field(default_factory=list)
    closed: int = 0
    refused: str = ""

    def add(self, n: int = 1) -> None:
        for _ in range(n):
            number = len(self.items) + 1
            self.items.append(Item(key=str(number), kind=ItemKind.BOUNCE, at=0.0, about=Reference()))

    async def fetch(self, cursor: str) -> Fetched:
        self.looks.append((trio.current_time(), cursor))
        await trio.lowlevel.checkpoint()
        if self.trouble is not None:
            raise self.trouble
        end = str(len(self.items))

        async def acknowledge(booked: Booked) -> None:
            self.acknowledged.append((end, list(booked.left)))

        items = self.items[int(cursor or 0) :]
        return Fetched(items=items, cursor=end, wait=self.wait, acknowledge=acknowledge)

    async def aclose(self) -> None:
        self.closed += 1


@dataclass(eq=False)
class Ledger:
    """Keeps what it is handed, each key once, as the store does."""

    booked: dict[str, Item] = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)
    left: frozenset[str] = frozenset()  #: keys of what fits no message yet
    trouble: Exception | None = None

    async def cursor(self, source: str) -> str:
        await trio.lowlevel.checkpoint()
        return self.cursors.get(source, "")

    async def book(self, source: str, items: Sequence[Item], cursor: str, *, leave_for: float) -> Booked:
        await trio.lowlevel.checkpoint()
        if self.trouble is not None:
            raise self.trouble
        left = tuple(item.key for item in items if item.key in self.left)
        new = [item for item in items if item.key not in {*self.booked, *left}]
        self.booked.update((item.key, item) for item in new)
        self.cursors[source] = cursor
        return Booked(new={ItemKind.BOUNCE: len(new)}, left=left, waiting=bool(new))


@dataclass(eq=False)
class World:
    readers: Readers
    ledger: Ledger
    events: list[tuple[str, Mapping[str, object]]]
    changes: list[float]
    attempts: int = 0

    async def apply(self, *boxes: Box) -> None:
        await self.readers.apply([Configured(source=box, settings=box.wait) for box in boxes])

    @property
    def view(self) -> SourceView:
        (view,) = self.readers.views()
        return view


@asynccontextmanager
async def world(ledger: Ledger | None = None) -> AsyncIterator[World]:
    ledger = ledger or Ledger()
    events: list[tuple[str, Mapping[str, object]]] = []
    changes: list[float] = []

    async def add(kind: str, campaign: int | None, data: Mapping[str, object]) -> None:
        await trio.lowlevel.checkpoint()
        events.append((kind, data))

    made: World
    readers = Readers(
        ledger,
        add=add,
        attempts=lambda provider: made.attempts,
        waiting_changed=lambda: changes.append(trio.current_time()),
        now=trio.current_time,
        random=lambda: 0.5,
    )
    made = World(readers, ledger, events, changes)
    async with trio.open_nursery() as nursery:
        await nursery.start(readers.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_what_a_source_refuses_is_told_once_while_it_is_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box = Box(wait=60.0, refused="mails cannot be moved")
    async with world() as here:
        await here.apply(box)
        for n in (1, 2):
            box.add()
            await trio.sleep(61)
            assert len(here.ledger.booked) == n
        assert (here.view.state, here.view.reason, here.view.person) == ("working", box.refused, True)
        box.trouble = SourceUnavailable("gone")
        await trio.sleep(100)
        assert here.view.reason == "gone"
        box.trouble = None
        await trio.sleep(300)
        assert (here.view.state, here.view.reason) == ("working", box.refused)
        assert [kind for kind, _ in here.events] == ["mailbox.refused"]
        box.refused = ""
        await trio.sleep(100)
        assert (here.view.reason, here.view.person) == ("", False)
        box.refused = "mails cannot be moved"
        await trio.sleep(100)
        assert [data["reason"] for _, data in here.events] == [box.refused] * 2


async def test_it_books_then_acknowledges_then_waits(autojump_clock: trio.testing.MockClock) -> None:
    box = Box()
    box.add(3)
    async with world() as here:
        await here.apply(box)
        await trio.sleep(1)
        assert list(here.ledger.booked) == ["1", "2", "3"]
        assert box.acknowledged == [("3", [])]
        assert (here.view.state, here.view.items, here.changes) == ("working", {ItemKind.BOUNCE: 3}, [0.0])
        box.add()
        await trio.sleep(600)
        assert box.looks == [(0.0, ""), (600.0, "3")]
    assert box.closed == 1


async def test_what_is_left_is_not_acknowledged(autojump_clock: trio.testing.MockClock) -> None:
    box = Box()
    box.add(3)
    async with world(Ledger(left=frozenset({"2"}))) as here:
        await here.apply(box)
        await trio.sleep(1)
        assert list(here.ledger.booked) == ["1", "3"]
        assert box.acknowledged == [("3", ["2"])]


async def test_while_messages_go_out_it_looks_more_often_and_a_wake_up_looks_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box = Box()
    async with world() as here:
        await here.apply(box)
        await trio.sleep(1)
        here.attempts += 1  # in the middle of a long wait
        await trio.sleep(WHILE_SENDING)
        here.attempts += 1
        await trio.sleep(WHILE_SENDING * 2 - 1)
        here.readers.wake()
        await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert [at / WHILE_SENDING for at, _ in box.looks] == [0, 1, 2, 3]


async def test_what_could_not_be_booked_is_not_acknowledged_and_comes_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box, ledger = Box(), Ledger(trouble=StoreUnavailable("the disk is full"))
    box.add(2)
    async with world(ledger) as here:
        await here.apply(box)
        await trio.sleep(1)
        assert box.acknowledged == []
        ledger.trouble = None
        await trio.sleep(RETRY[0])
        assert list(ledger.booked) == ["1", "2"]
        assert box.looks[:2] == [(0.0, ""), (RETRY[0], "")]
        assert here.events == []


async def test_a_refused_login_is_told_once_and_tried_less_and_less_often(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box = Box(trouble=SourceUnavailable("the password is wrong", data={"person": True}))
    async with world() as here:
        await here.apply(box)
        await trio.sleep(8 * 3_600)
        waits = [late - early for (early, _), (late, _) in zip(box.looks, box.looks[1:], strict=False)]
        first, longest = RETRY_WITH_PERSON
        assert waits[:4] == [first, first * 2, first * 4, first * 8]
        assert max(waits) == longest
        assert here.view.state == "broken"
        box.trouble = None
        await here.apply(box)  # as a reload does
        await trio.sleep(1)
        assert here.view.state == "working"
        told = {"source": box.name, "reason": "the password is wrong", "person": True}
        assert here.events == [
            ("mailbox.broken", told),
            ("mailbox.working", {"source": box.name, "reason": "", "person": False}),
        ]


async def test_trouble_that_may_pass_is_told_when_it_does_not(autojump_clock: trio.testing.MockClock) -> None:
    box = Box(trouble=SourceUnavailable("it does not answer", data={"person": False}))
    async with world() as here:
        await here.apply(box)
        await trio.sleep(BROKEN_AFTER / 2)
        assert (here.view.state, here.events) == ("retrying", [])
        await trio.sleep(BROKEN_AFTER * 2)
        assert here.view.state == "broken"
        assert [kind for kind, _ in here.events] == ["mailbox.broken"]


async def test_a_bug_in_one_source_stops_no_other(autojump_clock: trio.testing.MockClock) -> None:
    broken, well = Box("provider a", trouble=ZeroDivisionError()), Box("provider b")
    well.add()
    async with world() as here:
        await here.apply(broken, well)
        await trio.sleep(60)
        assert [view.state for view in here.readers.views()] == ["retrying", "working"]
        assert len(broken.looks) > 2


async def test_a_reload_replaces_what_changed_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kept, old, new, again = Box("a"), Box("b"), Box("b", wait=30.0), Box("a")
    async with world() as here:
        await here.apply(kept, old)
        await trio.sleep(1)
        await here.apply(again, new)
        await trio.sleep(1)
        assert (kept.closed, old.closed, new.closed, again.closed) == (0, 1, 0, 1)
        assert (len(kept.looks), len(new.looks), len(again.looks)) == (1, 1, 0)
        await here.apply()
        assert here.readers.views() == []
    assert (kept.closed, new.closed) == (1, 1)


async def test_an_end_at_any_step_loses_and_doubles_nothing(autojump_clock: trio.testing.MockClock) -> None:
    ledger = Ledger()
    box = Box(wait=1.0)
    for steps in range(12):
        box.add()
        async with world(ledger) as here:
            await here.apply(box)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
    async with world(ledger) as here:
        await here.apply(box)
        await trio.sleep(5)
    assert list(ledger.booked) == [str(number) for number in range(1, 13)]
    assert ledger.cursors == {box.name: "12"}


@dataclass(eq=False)
class ReadFirstBox(Box):
    """One that is to be read to its end before something is sent; of two pages, which take their time."""

    name: str = "provider text"
    read_first: bool = True
    takes: float = 2.0

    async def fetch(self, cursor: str) -> Fetched:
        await trio.sleep(self.takes)
        fetched = await Box.fetch(self, cursor)
        more = len(self.looks) % 2 == 1
        return replace(fetched, wait=0.0 if more else self.wait)


async def test_a_look_that_goes_on_already_is_not_the_one_that_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may fail with a password that was replaced meanwhile, or have passed what has come since."""
    box = ReadFirstBox(trouble=SourceUnavailable("no", data={"person": True}))
    async with world() as here:
        await here.apply(box)
        await trio.sleep(100)
        here.readers.wake()  # has no effect on one that needs a person
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.readers.catch_up, "text")
            await trio.sleep(1)  # in the middle of a look that is going to be refused
            box.add()
            nursery.start_soon(here.readers.catch_up, "text")
            await trio.sleep(1.5)
            box.trouble = None
        assert list(here.ledger.booked) == ["1"]


async def test_what_must_be_known_first_is_read_to_its_end_before_something_is_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box = ReadFirstBox()
    async with world() as here:
        await here.apply(box)
        await trio.sleep(100)
        assert len(box.looks) == 2
        box.add()
        await here.readers.catch_up("text")
        assert (trio.current_time(), len(box.looks)) == (104.0, 4)
        assert list(here.ledger.booked) == ["1"]
        box.trouble = SourceUnavailable("no", data={"person": True})
        await here.readers.catch_up("text")
        assert trio.current_time() == 106.0, "what cannot be read is not waited for"
        box.trouble = None
        await here.readers.catch_up("text")
        assert trio.current_time() == 108.0, "a person may have done something about it"


@pytest.mark.parametrize(
    ("source", "waits"),
    [
        (ReadFirstBox(takes=1_000_000.0), CATCH_UP),
        (ReadFirstBox(takes=1_000_000.0, read_first=False), 0.0),
        (Box(name="provider text", trouble=SourceUnavailable("no")), 0.0),
    ],
)
async def test_a_source_that_takes_long_or_need_not_be_first_holds_no_campaign_up(
    autojump_clock: trio.testing.MockClock, source: Box, waits: float
) -> None:
    async with world() as here:
        await here.apply(source)
        await here.readers.catch_up("text")
        await here.readers.catch_up("unheard of")
        assert trio.current_time() == waits
