"""The daemon ends after a command had its effect and before its answer is kept; the client asks again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.errors import Conflict, HubError
from tests.shell.open_hub import open_hub
from tests.shell.test_methods import SPEC, apply, import_people, until

pytestmark = pytest.mark.slow

KEY = {"idempotency_key": "once"}


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        yield hub


async def cut_off(tmp_path: Path, method: str, **params: Any) -> None:
    """Carry a command out in a life of the daemon that ends before the answer is kept."""
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        commands = served.hub.commands
        kept = trio.Event()

        async def lost(*_: object) -> None:
            kept.set()
            await trio.sleep_forever()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(commands, "keep", lost)
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    await hub.call(method, **params, **KEY)

                nursery.start_soon(ask)
                with trio.fail_after(30):
                    await kept.wait()
                nursery.cancel_scope.cancel()


async def test_a_canary_that_is_asked_for_again_sends_no_second_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        await import_people(hub, 10)
        await apply(hub)
    await cut_off(tmp_path, "campaign.start", name="spring", limit=3)
    async with opened(tmp_path) as hub:
        paused = await until(hub, "spring", "paused")
        assert paused["counts"]["sent"] == 3
        again = await hub.call("campaign.start", name="spring", limit=3, **KEY)
        assert (again["changed"], again["campaign"]["state"]) == (False, "paused")
        assert (await hub.call("campaign.start", name="spring", limit=3, **KEY)) == again
        more = await hub.call("campaign.start", name="spring", limit=3, idempotency_key="another")
        assert more["changed"]
        assert (await until(hub, "spring", "paused"))["counts"]["sent"] == 6


async def test_what_was_removed_is_not_missed_by_who_asks_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        await import_people(hub, 1)
        await apply(hub)
    await cut_off(tmp_path, "campaign.delete", name="spring")
    async with opened(tmp_path) as hub:
        assert await hub.call("campaign.delete", name="spring", **KEY) == {"changed": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KEY, "idempotency_key", "other")
        await cut_off(tmp_path, "contacts.remove", key="p0@example.com")
        async with opened(tmp_path) as hub:
            assert await hub.call("contacts.remove", key="p0@example.com", **KEY) == {"changed": True}


async def test_where_nobody_can_know_the_answer_says_so(tmp_path: Path) -> None:
    target = str(tmp_path / "copy.db")
    await cut_off(tmp_path, "hub.backup", path=target)
    async with opened(tmp_path) as hub:
        for _ in range(2):  # who asks again and again is told the same, and nothing is done after all
            with pytest.raises(Conflict) as caught:
                await hub.call("hub.backup", path=target, **KEY)
            assert caught.value.code == "outcome_unknown"


async def test_a_key_of_what_was_refused_may_be_used_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        with pytest.raises(HubError):
            await hub.call("campaign.start", name="spring", **KEY)
        await import_people(hub, 1)
        await apply(hub)
        assert (await hub.call("campaign.start", name="spring", **KEY))["changed"]


@pytest.mark.parametrize("method", ["campaign.start", "campaign.resume"])
async def test_a_start_that_is_asked_for_again_when_all_was_sent_is_no_error(
    tmp_path: Path, method: str
) -> None:
    async with opened(tmp_path) as hub:
        await import_people(hub, 3)
        await apply(hub)
        if method == "campaign.resume":
            await hub.call("campaign.start", name="spring", limit=1)
            await until(hub, "spring", "paused")
    await cut_off(tmp_path, method, name="spring")
    async with opened(tmp_path) as hub:
        await until(hub, "spring", "completed")
        again = await hub.call(method, name="spring", **KEY)
        assert (again["changed"], again["campaign"]["state"]) == (False, "completed")
        assert (await hub.call(method, name="spring", **KEY)) == again
        with pytest.raises(Conflict):
            await hub.call(method, name="spring", idempotency_key="another")


async def test_a_change_that_may_have_made_the_revision_another_one_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        revision = (await apply(hub))["campaign"]["revision"]
    change = {"spec": {**SPEC, "text": "Other words"}, "if_revision": revision}
    await cut_off(tmp_path, "campaign.apply", **change)
    async with opened(tmp_path) as hub:
        with pytest.raises(Conflict) as caught:
            await hub.call("campaign.apply", **change, **KEY)
        assert caught.value.code == "outcome_unknown"
