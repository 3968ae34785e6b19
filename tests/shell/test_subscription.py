"""Subscriptions: what a topic holds, where one begins, and that nothing is passed over in silence."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio_websocket

from hubd.client import Client, open_client
from hubd.control.subscription import Pace, open_subscription
from hubd.core.model import Channel
from hubd.errors import BadInput, ResumeGap
from hubd.wire.event_params import EventsSubscribe
from tests.shell.open_hub import PLAIN, Served
from tests.shell.raw_client import Raw, open_raw

SPEC = PLAIN
LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        rows = [{"line": 2, "values": {"email": "ann@example.com"}}]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="i")
        yield hub


async def apply(hub: Client, name: str = "spring", **changes: object) -> None:
    await hub.call("campaign.apply", spec=SPEC | {"name": name} | changes)


def cursor(served: Served) -> dict[str, int]:
    return {"epoch": served.database.epoch, "seq": served.database.head_seq}


# -- where it begins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("snapshot", [True, False])
async def test_after_a_cursor_there_is_no_snapshot_of_now_under_the_number_of_then(
    served: Served, hub: Client, snapshot: bool
) -> None:
    """It would hold what is told again right after it: a fold would take every event twice."""
    await apply(hub)
    before = cursor(served)
    await apply(hub, "summer")
    async with open_raw(served.path) as raw:
        opened = await raw.ask("events.subscribe", topics=["*"], after=before, snapshot=snapshot, gauge_hz=0)
        assert opened["result"]["snapshot"] is None
        assert opened["result"]["seq"] == before["seq"]
        event = (await raw.hear())["params"]
        assert (event["seq"], event["type"], event["campaign"]) == (
            before["seq"] + 1,
            "campaign.applied",
            "summer",
        )


async def test_without_a_cursor_the_snapshot_has_the_number_of_its_moment(
    served: Served, hub: Client
) -> None:
    await apply(hub)
    async with open_raw(served.path) as raw:
        opened = await raw.ask("events.subscribe", topics=["*"], gauge_hz=0)
        assert opened["result"]["seq"] == served.database.head_seq
        assert [view["name"] for view in opened["result"]["snapshot"]["campaigns"]] == ["spring"]
        without = await raw.ask("events.subscribe", request_id=2, topics=["*"], snapshot=False)
        assert without["result"]["snapshot"] is None


# -- what a topic holds ------------------------------------------------------------------------------------


async def add_of_each_kind(served: Served, hub: Client) -> None:
    """One event of a campaign, one of a new campaign, one of the daemon, one of one-off messages."""
    await hub.call("campaign.schedule", name="spring", at=LATER)
    await apply(hub, "summer")
    await served.events.add("provider.changed", None, {"provider": "outbox"})
    queue = await served.hub.supervisor.transactional_queue("outbox", Channel.EMAIL)
    await served.events.add("delivery.failed", queue.id, {"delivery_id": 1})
    await hub.call("campaign.unschedule", name="spring")


@pytest.mark.parametrize(
    ("topics", "heard"),
    [
        (["campaign:spring"], ["spring", "spring"]),
        (["campaigns"], ["spring", "summer", "spring"]),
        (["campaigns", "daemon"], ["spring", "summer", "", "spring"]),
        (["daemon", "campaign:spring"], ["spring", "", "spring"]),
        (["*"], ["spring", "summer", "", "~outbox", "spring"]),
        (["*", "campaign:spring"], ["spring", "summer", "", "~outbox", "spring"]),
    ],
)
async def test_a_topic_holds_what_it_says(
    served: Served, hub: Client, topics: list[str], heard: list[str]
) -> None:
    await apply(hub)
    subscription = hub.subscribe(topics, gauge_hz=0)
    await anext(subscription)
    await add_of_each_kind(served, hub)
    assert [(await anext(subscription))["campaign"] for _ in heard] == heard
    last = (await anext(hub.subscribe(topics)))["seq"]
    assert subscription.cursor["seq"] == last, "nothing more is to come"


async def test_events_of_some_types_are_left_out_and_the_cursor_goes_on(served: Served, hub: Client) -> None:
    await apply(hub)
    async with open_raw(served.path) as raw:
        await raw.ask("events.subscribe", topics=["*"], types=["provider.changed", "campaign.state"])
        await add_of_each_kind(served, hub)
        types = [(await raw.hear())["params"]["type"] for _ in range(3)]
        assert types == ["campaign.state", "provider.changed", "campaign.state"]


async def test_figures_can_be_all_that_is_wanted(served: Served, hub: Client) -> None:
    """A change of state is followed by the figures, whether it is told itself or not."""
    await apply(hub)
    async with open_raw(served.path) as raw:
        await raw.ask("events.subscribe", topics=["campaigns"], types=["campaign.progress"])
        await hub.call("campaign.schedule", name="spring", at=LATER)
        event = (await raw.hear())["params"]
        assert event["type"] == "campaign.progress"
        assert event["data"]["campaign"]["state"] == "scheduled"


async def test_figures_are_never_ahead_of_the_events(served: Served, hub: Client) -> None:
    """A client that comes back is told each change before the figures that it led to: it may end at them."""
    await apply(hub)
    before = cursor(served)
    await hub.call("campaign.schedule", name="spring", at=LATER)
    await hub.call("campaign.unschedule", name="spring")
    await hub.call("campaign.schedule", name="spring", at=LATER)
    async with open_raw(served.path) as raw:
        types = ["campaign.state", "campaign.progress"]
        await raw.ask("events.subscribe", topics=["campaign:spring"], types=types, after=before)
        told = [(await raw.hear())["params"] for _ in range(5)]
    states = [
        event["data"]["to"] if event["type"] == "campaign.state" else event["data"]["campaign"]["state"]
        for event in told
    ]
    kinds = [event["type"].partition(".")[2] for event in told]
    assert kinds == ["state", "progress", "state", "state", "progress"]
    assert states == ["scheduled", "scheduled", "draft", "scheduled", "scheduled"]


@pytest.mark.parametrize(
    ("params", "path", "problem"),
    [
        ({"topics": ["*"], "types": ["campaign.stat"]}, "types[0]", "did you mean campaign.state?"),
        ({"topics": ["*"], "types": []}, "types", "must not be empty"),
        ({"topics": ["*", "campaign"]}, "topics[1]", '"campaigns"'),
        ({"topics": []}, "topics", "must not be empty"),
    ],
)
async def test_a_topic_or_type_that_is_none_is_told_with_its_place(
    hub: Client, params: dict[str, object], path: str, problem: str
) -> None:
    with pytest.raises(BadInput) as caught:
        await hub.call("events.subscribe", **params)
    faults: Any = caught.value.data["errors"]
    (fault,) = faults
    assert fault["path"] == path
    assert problem in fault["problem"]


# -- nothing is passed over --------------------------------------------------------------------------------


@pytest.mark.parametrize("topics", [["*"], ["campaign:spring"], ["daemon"]])
async def test_who_is_slower_than_the_events_are_kept_is_closed_and_told_of_the_gap(
    served: Served, topics: list[str]
) -> None:
    """It never reads on behind the gap as if nothing had been there."""
    async with open_client(served.path) as other:
        await apply(other)
    spring = (await served.hub.campaigns.get("spring")).id
    about = spring if topics == ["campaign:spring"] else None
    filler = "x" * 100_000
    async with open_raw(served.path) as raw:
        await raw.ask("events.subscribe", topics=topics, gauge_hz=0)
        for number in range(100):  # ten megabytes: more than the socket and the queue hold
            await served.events.add("provider.changed", about, {"n": number, "filler": filler})
        await served.events.prune(keep=5)
        with trio.fail_after(20):
            seen = await until_closed(raw)
        assert raw.socket.closed is not None
        assert raw.socket.closed.code == 4008
    numbers = [event["data"]["n"] for event in seen]
    assert numbers == list(range(len(numbers))), "in order, from the first"
    assert len(numbers) < 95
    async with open_client(served.path) as again:
        after = {"epoch": seen[-1]["epoch"], "seq": seen[-1]["seq"]}
        with pytest.raises(ResumeGap):
            await anext(again.subscribe(topics, after=after))


async def until_closed(raw: Raw) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    try:
        while True:
            seen.append((await raw.hear())["params"])
    except trio_websocket.ConnectionClosed:
        return seen


async def test_pruning_what_was_read_disturbs_nobody(served: Served, hub: Client) -> None:
    await apply(hub)
    everything = hub.subscribe(["*"], gauge_hz=0)
    await anext(everything)
    for number in range(20):
        await served.events.add("provider.changed", None, {"n": number})
        assert (await anext(everything))["data"]["n"] == number
        await served.events.prune(keep=0)
    await hub.call("campaign.schedule", name="spring", at=LATER)
    assert (await anext(everything))["type"] == "campaign.state"


# -- a name that becomes another campaign's ----------------------------------------------------------------


async def test_who_comes_back_hears_also_of_the_campaign_that_had_the_name_before(
    served: Served, hub: Client
) -> None:
    await apply(hub)
    then = cursor(served)
    await hub.call("campaign.rate", name="spring", rate="5/s")
    await hub.call("campaign.delete", name="spring")
    await apply(hub)
    subscription = hub.subscribe(["campaign:spring"], after=then, snapshot=False)
    await anext(subscription)
    with trio.fail_after(30):
        told = [(await anext(subscription))["seq"] for _ in range(served.database.head_seq - then["seq"])]
    assert told == list(range(then["seq"] + 1, served.database.head_seq + 1))


async def test_a_slow_reader_hears_all_of_a_campaign_that_was_made_anew_meanwhile(
    served: Served, hub: Client
) -> None:
    await apply(hub)
    params = EventsSubscribe(topics=["campaign:spring"], gauge_hz=0)
    subscription = await open_subscription(served.hub, "s1", params, Pace())
    then, told = served.database.head_seq, list[int]()
    held, read_on, done = trio.Event(), trio.Event(), trio.Event()

    async def post(text: str) -> None:
        told.append(json.loads(text)["params"]["seq"])
        held.set()
        await read_on.wait()
        if told[-1] == served.database.head_seq:
            done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.run, post, trio.StrictFIFOLock())
        await hub.call("campaign.rate", name="spring", rate="5/s")
        await held.wait()
        await hub.call("campaign.delete", name="spring")
        await apply(hub)
        for amount in (5, 6, 7):
            await hub.call("campaign.rate", name="spring", rate=f"{amount}/s")
        read_on.set()
        with trio.fail_after(30):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert told == list(range(then + 1, served.database.head_seq + 1))
