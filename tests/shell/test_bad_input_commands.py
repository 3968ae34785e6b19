"""Bad inputs by their numbers: commands that break off, meet, come too late or twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import open_client
from hubd.errors import HubError, InvalidTransition
from tests.shell.open_hub import PLAIN, Served, open_hub
from tests.shell.raw_client import open_raw

SPEC = PLAIN | {"provider": "outbox", "lists": ["all"]}


async def prepare(hub: Any, people: int = 5) -> None:
    rows = [{"line": n, "values": {"email": f"p{n}@example.com"}} for n in range(people)]
    await hub.call("contacts.import", list="all", import_id="i", rows=rows)
    await hub.call("campaign.apply", spec=SPEC)


async def ended(hub: Any) -> dict[str, Any]:
    with trio.fail_after(30):
        while True:
            campaign: dict[str, Any] = (await hub.call("campaign.get", name="spring"))["campaign"]
            if campaign["state"] == "completed":
                return campaign
            await trio.sleep(0.01)


async def test_bad_input_30_a_client_gone_in_the_middle_of_a_start_may_ask_again(served: Served) -> None:
    start = {"name": "spring", "idempotency_key": "once"}
    async with open_client(served.path) as hub:
        await prepare(hub)
    async with open_raw(served.path) as raw:
        await raw.say({"jsonrpc": "2.0", "id": 1, "method": "campaign.start", "params": start})
        await trio.aclose_forcefully(raw.stream)
    async with open_client(served.path) as hub:
        again = await hub.call("campaign.start", **start)
        assert again["changed"] is True, "the first answer, or the first time"
        campaign = await ended(hub)
        assert campaign["counts"]["sent"] == campaign["counts"]["total"] == 5
        begun = [
            event
            for event in (await hub.call("events.list", campaign="spring"))["events"]
            if event["type"] == "campaign.state" and event["data"]["to"] == "running"
        ]
        assert len(begun) == 1


async def test_bad_input_31_of_two_clients_one_wins_and_nobody_is_sent_to_twice(
    served: Served, tmp_path: Path
) -> None:
    outcomes: list[object] = []

    async def start() -> None:
        async with open_client(served.path) as hub:
            try:
                outcomes.append((await hub.call("campaign.start", name="spring"))["changed"])
            except HubError as error:
                outcomes.append(error.code)

    async with open_client(served.path) as hub:
        await prepare(hub, 20)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(start)
        campaign = await ended(hub)
        assert outcomes.count(True) == 1, outcomes
        assert set(outcomes) <= {True, False, "invalid_transition"}
        assert campaign["counts"]["sent"] == 20
    assert len(list((tmp_path / "outbox").rglob("*.eml"))) == 20


async def test_bad_input_32_what_has_ended_cannot_be_paused_or_started(served: Served) -> None:
    async with open_client(served.path) as hub:
        await prepare(hub)
        await hub.call("campaign.start", name="spring")
        await ended(hub)
        for method in ("campaign.pause", "campaign.stop"):
            with pytest.raises(InvalidTransition) as caught:
                await hub.call(method, name="spring")
            assert caught.value.data["from"] == "completed"


async def test_bad_input_33_to_unsubscribe_from_what_never_was_is_an_error(served: Served) -> None:
    async with open_raw(served.path) as raw:
        for name in ("s1", "nope", "s-1", "s" + "9" * 300):
            assert (await raw.ask("events.unsubscribe", subscription=name))["error"]["code"] == 1001
        await raw.ask("events.subscribe", topics=["daemon"])
        for changed in (True, False):
            assert (await raw.ask("events.unsubscribe", subscription="s1"))["result"] == {"changed": changed}


async def test_bad_input_34_an_id_used_twice_at_once_is_answered_twice(tmp_path: Path) -> None:
    begun, go_on = 0, trio.Event()

    async def slow() -> list[str]:
        nonlocal begun
        begun += 1
        await go_on.wait()
        return [str(begun)]

    async with open_hub(tmp_path, reload=slow) as served, open_raw(served.path) as raw:
        for _ in range(3):
            await raw.say({"jsonrpc": "2.0", "id": 7, "method": "hub.reload"})
        with trio.fail_after(20):
            while begun < 3:
                await trio.lowlevel.checkpoint()
        go_on.set()
        heard = [await raw.hear() for _ in range(3)]
        assert [(answer["id"], "result" in answer) for answer in heard] == [(7, True)] * 3
        assert "result" in await raw.ask("hub.status", request_id=7), "and may be used again"
