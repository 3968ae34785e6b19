"""What a subscriber knows who took one snapshot and then only listened: the same as a new snapshot, always.

`Board` is such a subscriber. It is compared with snapshots taken at any moment of random stories, with a real
store, a real engine, a real socket, and a provider that accepts, refuses, and leaves in doubt.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hubd.client import Client, open_client
from hubd.control.discovery import describe
from hubd.control.methods import METHODS
from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.engine.ports import Transport
from hubd.engine.provider import ProviderSpec
from hubd.errors import HubError, NotFound, ResumeGap
from hubd.wire.events import EVENTS
from tests.fakes import ACCEPTED, FakeTransport
from tests.shell.open_hub import Served, open_hub

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c")
LISTS = {"a": "warm", "b": "warm", "c": "cold"}
DOCUMENT = describe(METHODS, "1")
VALIDATORS = {
    name: jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{kind.data.__name__}", "components": DOCUMENT["components"]}
    )
    for name, kind in EVENTS.items()
}


# -- the subscriber ----------------------------------------------------------------------------------------


@dataclass
class Board:
    """Campaigns by name, kept up by events alone."""

    seq: int = 0
    campaigns: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, event: dict[str, Any]) -> None:
        """One durable event."""
        assert event["seq"] > self.seq, "told twice, or out of order"
        self.seq = event["seq"]
        VALIDATORS[event["type"]].validate(event["data"])
        if not event["campaign"] or event["campaign"].startswith("~"):
            return  # the daemon's, or of one-off messages
        data, name = event["data"], event["campaign"]
        match event["type"]:
            case "campaign.applied":
                new = {
                    "state": "draft",
                    "reason": "",
                    "limit": None,
                    "scheduled_at": None,
                    "failed": 0,
                    "in_doubt": 0,
                }
                known = new if data["created"] else self.campaigns[name]
                kept = {key: data[key] for key in ("revision", "channel", "provider", "rate")}
                self.campaigns[name] = {**known, **kept}
            case "campaign.state":
                assert self.campaigns[name]["state"] == data["from"]
                self._keep(name, data, state=data["to"])
            case "campaign.changed":
                self._keep(name, data)
            case "campaign.rate":
                self.campaigns[name]["rate"] = data["rate"]
            case "campaign.deleted":
                del self.campaigns[name]
            case "delivery.failed":
                self.campaigns[name]["failed"] += 1
            case "delivery.in_doubt":
                self.campaigns[name]["in_doubt"] += 1
            case "delivery.requeued":
                self.campaigns[name]["failed"] -= data["failed"]
            case "delivery.resolved":
                self.campaigns[name]["in_doubt"] -= data["how"] != "hold"
                self.campaigns[name]["failed"] += data["how"] == "failed"

    def _keep(self, name: str, data: dict[str, Any], **more: object) -> None:
        at = data["scheduled_at"]
        kept = {key: data[key] for key in ("reason", "limit")}
        kept["scheduled_at"] = None if at is None else round(at * 1e6) // 1000 / 1000
        self.campaigns[name] |= {**kept, **more}


def shown(view: dict[str, Any]) -> dict[str, Any]:
    """What a snapshot says of the same."""
    at = view["scheduled_at"]
    return {
        "state": view["state"],
        "reason": view["reason"],
        "limit": view["limit"],
        "scheduled_at": None if at is None else datetime.fromisoformat(at).timestamp(),  # to a millisecond
        "failed": view["counts"]["failed"],
        "in_doubt": view["counts"]["in_doubt"],
        "revision": view["revision"],
        "channel": view["channel"],
        "provider": view["provider"],
        "rate": view["rates"],
    }


def without_live_reasons(campaigns: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Why a running campaign waits is a live figure."""
    return {
        name: each | ({"reason": ""} if each["state"] == "running" else {})
        for name, each in campaigns.items()
    }


# -- the story ---------------------------------------------------------------------------------------------

RULED: dict[int, Answer] = {
    1: Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user"),
    2: Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="the connection was lost"),
    3: Answer(stage=Stage.RCPT, code=452, enhanced="4.2.2", text="mailbox full"),
}


REFUSED = Answer(stage=Stage.RCPT, code=550, text="rejected")
COLD = 100  #: recipients from this number on are refused as if the sender were: that is about us, not them


def answer_to(rendered: RenderedMessage) -> Answer | None:
    number = int(rendered.recipient[1:].partition("@")[0])
    return REFUSED if number >= COLD else RULED.get(number % 6)


def refuse(rendered: RenderedMessage) -> Answer | None:
    answer = answer_to(rendered)
    return answer if answer is not None and answer.stage is Stage.RCPT else None


def answer(rendered: RenderedMessage) -> Answer:
    return answer_to(rendered) or ACCEPTED


async def open_moody() -> Transport:
    await trio.lowlevel.checkpoint()
    return FakeTransport(name="moody", latency=0.001, refuse=refuse, answer=answer)


MOODY = ProviderSpec(
    name="moody",
    kind="smtp",
    channels=frozenset({Channel.EMAIL}),
    connections=3,
    in_doubt=InDoubt.HOLD,
    open=open_moody,
)

Step = Callable[[Client], Awaitable[object]]


def calls(method: str, **params: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(method), st.fixed_dictionaries(params))


names = st.sampled_from(NAMES)
rates = st.sampled_from([None, "1/h", "1000/s", "3/s"])
times = st.integers(1, 3).map(lambda h: (datetime.now(UTC) + timedelta(hours=h)).isoformat())
steps = st.one_of(
    calls("apply", name=names, rate=rates, subject=st.sampled_from(["one", "two"])),
    calls("apply", name=names, rate=rates, subject=st.sampled_from(["one", "two"])),
    calls("campaign.start", name=names, limit=st.sampled_from([None, 1, 4])),
    calls("campaign.start", name=names),
    calls("campaign.pause", name=names),
    calls("campaign.resume", name=names),
    calls("campaign.stop", name=names),
    calls("campaign.schedule", name=names, at=times),
    calls("campaign.unschedule", name=names),
    calls("campaign.rate", name=names, rate=rates),
    calls("campaign.clone", name=names, new=names),
    calls("campaign.archive", name=names, archived=st.booleans()),
    calls("campaign.delete", name=names),
    calls("campaign.retry", name=names, **{"class": st.sampled_from(["transient", "permanent", "all"])}),
    calls("campaign.retry", name=names, in_doubt=st.sampled_from(["resend", "sent", "failed"])),
    calls("settle"),
)


async def do(hub: Client, method: str, params: dict[str, Any]) -> None:
    """One step; that it is refused is as good as that it is done."""
    if method == "settle":
        await trio.sleep(0.02)  # lets the engine go on for a while: whatever it has done then must fold
        return
    if method == "apply":
        spec = {
            "name": params["name"],
            "channel": "email",
            "provider": "moody",
            "lists": [LISTS[params["name"]]],
            "kind": "transactional",
            "sender": "news@acme.example",
            "subject": params["subject"],
            "text": "Hi",
        }
        if params["rate"]:
            spec["rate"] = params["rate"]
        method, params = "campaign.apply", {"spec": spec}
    try:
        await hub.call(method, **params)
    except HubError as error:
        if error.code == "internal_error":
            raise


async def snapshot(hub: Client) -> tuple[int, dict[str, dict[str, Any]]]:
    subscription = hub.subscribe(["*"], gauge_hz=0)
    taken = await anext(subscription)
    await subscription.aclose()
    return taken["seq"], {view["name"]: shown(view) for view in taken["campaigns"]}


async def live(story: list[tuple[str, dict[str, Any]]], folder: Path) -> None:
    """Play the story; one subscriber listens from the start, and snapshots are taken all the time."""
    taken: list[tuple[int, dict[str, dict[str, Any]]]] = []
    heard: list[dict[str, Any]] = []
    listening = trio.Event()
    start = 0

    async def listen(hub: Client) -> None:
        nonlocal start
        async for event in hub.subscribe(["*"], snapshot=False, gauge_hz=0):
            if event["type"] == "snapshot":
                start = event["seq"]
                listening.set()
            else:
                heard.append(event)

    async def look(hub: Client) -> None:
        while True:
            taken.append(await snapshot(hub))

    async with open_hub(folder) as served:
        providers = {view.name: view for view in served.hub.supervisor.providers.views()}
        assert set(providers) == {"outbox"}
        outbox = served.hub.supervisor.providers.get("outbox").spec
        await served.hub.supervisor.reconfigure({"outbox": outbox, "moody": MOODY})
        async with open_client(served.path) as hub, open_client(served.path) as other:
            for listed, first in (("warm", 0), ("cold", COLD)):
                rows = [
                    {"line": i, "values": {"email": f"p{i}@example.com"}} for i in range(first, first + 12)
                ]
                await hub.call("contacts.import", list=listed, rows=rows, import_id=listed)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, other)
                await listening.wait()
                nursery.start_soon(look, other)
                for method, params in story:
                    await do(hub, method, params)
                for name in NAMES:
                    await do(hub, "campaign.pause", {"name": name})
                last = (await snapshot(hub))[0]
                with trio.fail_after(30):
                    while (heard[-1]["seq"] if heard else start) < last:
                        await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            taken.append(await snapshot(hub))
            log = (await hub.call("events.list", limit=1000))["events"]
    assert [e for e in log if start < e["seq"] <= start + len(heard)] == [
        {key: value for key, value in event.items() if key != "subscription"} for event in heard
    ], "the subscriber heard something else than the log says"
    compare(log, taken)


def compare(log: list[dict[str, Any]], taken: list[tuple[int, dict[str, dict[str, Any]]]]) -> None:
    """The fold of the log up to each snapshot's number is that snapshot."""
    board = Board()
    waiting = iter(log)
    for seq, campaigns in sorted(taken, key=lambda pair: pair[0]):
        while board.seq < seq:
            board.take(next(waiting))
        assert without_live_reasons(board.campaigns) == without_live_reasons(campaigns), f"at {seq}"


@given(st.lists(steps, min_size=4, max_size=14))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking would take minutes
)
def test_the_fold_of_the_events_is_the_snapshot_at_every_seq(story: list[tuple[str, dict[str, Any]]]) -> None:
    """Under random operations, while the engine sends."""
    with tempfile.TemporaryDirectory() as folder:
        trio.run(live, story, Path(folder))


APPLY = ("apply", {"name": "a", "rate": None, "subject": "one"})
GO_ON: tuple[str, dict[str, Any]] = ("settle", {})
STORIES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "a whole run": [APPLY, ("campaign.start", {"name": "a"}), *[GO_ON] * 8],
    "another time to start": [
        APPLY,
        *(("campaign.schedule", {"name": "a", "at": f"209{n}-01-01T00:00:00Z"}) for n in range(3)),
    ],
    "failures and doubts decided": [
        APPLY,
        ("campaign.start", {"name": "a"}),
        *[GO_ON] * 6,
        ("campaign.pause", {"name": "a"}),
        ("campaign.retry", {"name": "a", "class": "all"}),
        ("campaign.retry", {"name": "a", "in_doubt": "failed"}),
        *[GO_ON] * 3,
    ],
    "failures taken back": [
        ("apply", {"name": "c", "rate": None, "subject": "one"}),
        ("campaign.start", {"name": "c"}),
        *[GO_ON] * 8,
    ],
    "a copy with another rate": [
        APPLY,
        ("campaign.rate", {"name": "a", "rate": "3/s"}),
        ("campaign.clone", {"name": "a", "new": "b"}),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_this_story_folds(story: list[tuple[str, dict[str, Any]]], tmp_path: Path) -> None:
    await live(story, tmp_path)


FILLER = 500  #: bytes of a large event


# -- how it is told ----------------------------------------------------------------------------------------


async def test_a_reader_that_does_not_read_costs_no_memory_and_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it, waits in the database."""
    monkeypatch.setattr("hubd.control.session_writer.SEND_SECONDS", 1e9)  # or it would be cut off
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        subscription = hub.subscribe(["*"])
        await anext(subscription)
        await add_events(served, 0, 2_000)  # more than the socket and the queue of the connection hold
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        await add_events(served, 2_000, 8_000)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        events = 6_000 * FILLER
        assert grown < events / 4, "more than the unit just written (a twelfth) and the page just read"
        seen: list[int] = []
        while len(seen) < 8_000:
            seen.append((await anext(subscription))["data"]["n"])
        assert seen == list(range(8_000))


async def add_events(served: Served, first: int, last: int) -> None:
    """Large ones, a few hundred in one unit."""
    for start in range(first, last, 500):
        numbers = range(start, min(start + 500, last))
        await served.database.write(
            lambda unit, numbers=numbers: [
                unit.event("test", None, {"n": number, "filler": "x" * 500}) for number in numbers
            ]
        )


async def test_who_comes_back_hears_that_the_campaign_was_deleted(tmp_path: Path) -> None:
    """Its cursor goes on, although there is no such campaign any more."""
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await do(hub, *APPLY)
        cursor = {"epoch": served.database.epoch, "seq": served.database.head_seq}
        await hub.call("campaign.delete", name="a")
        subscription = hub.subscribe(["campaign:a"], after=cursor, snapshot=False)
        await anext(subscription)
        assert (await anext(subscription))["type"] == "campaign.deleted"
        with pytest.raises(NotFound):
            await anext(hub.subscribe(["campaign:a"]))
        with pytest.raises(NotFound):
            await anext(hub.subscribe(["campaign:never"]))


async def test_a_name_that_is_used_again_is_followed_on(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await do(hub, *APPLY)
        subscription = hub.subscribe(["campaign:a"], gauge_hz=0)
        await anext(subscription)
        await hub.call("campaign.delete", name="a")
        await do(hub, "apply", {"name": "b", "rate": None, "subject": "one"})
        await do(hub, *APPLY)
        assert [(await anext(subscription))["type"] for _ in range(2)] == [
            "campaign.deleted",
            "campaign.applied",
        ]


@pytest.mark.parametrize(
    ("epoch", "seq", "gap"), [(1, 0, False), (1, 3, False), (1, 4, True), (2, 0, True), (0, 0, False)]
)
async def test_a_cursor_is_resumed_exactly_or_refused(
    tmp_path: Path, epoch: int, seq: int, gap: bool
) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await add_events(served, 0, 3)
        subscription = hub.subscribe(["*"], after={"epoch": epoch, "seq": seq}, snapshot=False)
        if gap:
            with pytest.raises(ResumeGap) as caught:
                await anext(subscription)
            assert caught.value.data["head_seq"] == 3
            return
        await anext(subscription)
        await add_events(served, 3, 4)
        assert [(await anext(subscription))["seq"] for _ in range(4 - seq)] == list(range(seq + 1, 5))
