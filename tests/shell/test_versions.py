"""Client and daemon of different protocols: both are named, and the daemon can still be replaced."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from hubd.control.gate import serve_control
from hubd.control.methods import METHODS
from hubd.control.session import ACROSS_VERSIONS
from tests.shell.open_hub import open_hub
from tests.shell.raw_client import Raw, open_raw


async def greet(raw: Raw, *protocols: int) -> None:
    """Greet with protocols that the daemon does not speak."""
    answer = await raw.ask("hub.hello", client={"name": "hubctl", "version": "9.9"}, protocol=list(protocols))
    error = answer["error"]
    assert (error["code"], error["data"]["code"]) == (-32008, "protocol_unsupported")
    assert error["data"]["protocol"] == [1]
    assert error["data"]["server_version"] == "0.0.1"
    assert "version 0.0.1" in error["message"]
    assert "install the same version" in error["data"]["hint"]


@pytest.mark.parametrize("protocols", [[], [0], [2], [2, 3, 99]])
async def test_an_older_or_newer_client_looks_reloads_and_shuts_down(
    tmp_path: Path, protocols: list[int]
) -> None:
    """the daemon is old or new to it; what is needed to replace it works."""
    async with open_hub(tmp_path) as served, open_raw(served.path, greet=False) as raw:
        await greet(raw, *protocols)
        assert (await raw.ask("hub.status"))["result"]["version"] == "0.0.1"
        assert (await raw.ask("rpc.discover"))["result"]["x-protocol"] == 1
        assert "result" in await raw.ask("hub.reload")
        assert not served.stopped.is_set()
        assert "result" in await raw.ask("hub.shutdown")
        assert served.stopped.is_set()


async def test_everything_else_needs_a_common_protocol(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_raw(served.path, greet=False) as raw:
        await greet(raw, 7)
        for name in sorted(METHODS.keys() - ACROSS_VERSIONS - {"hub.hello"}):
            assert (await raw.ask(name))["error"]["code"] == -32000, name


async def test_before_any_greeting_not_even_these(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_raw(served.path, greet=False) as raw:
        for name in sorted(ACROSS_VERSIONS):
            assert (await raw.ask(name))["error"]["code"] == -32000, name
        assert not served.stopped.is_set()


async def test_a_client_that_also_speaks_ours_is_served(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_raw(served.path, greet=False) as raw:
        answer = await raw.ask("hub.hello", client={"name": "new"}, protocol=[2, 1])
        assert answer["result"]["protocol"] == 1
        assert "result" in await raw.ask("campaign.list")


async def test_one_that_does_not_fit_may_greet_again(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_raw(served.path, greet=False) as raw:
        await greet(raw, 2)
        assert "result" in await raw.ask("hub.hello", client={"name": "new"}, protocol=[1])
        assert "result" in await raw.ask("campaign.list")


async def test_a_viewer_of_another_version_stops_nothing(tmp_path: Path) -> None:
    observe = tmp_path / "d" / "observe.sock"
    async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, observe=observe), tmp_path / "d" / "c.sock", served.hub)
        async with open_raw(observe, greet=False) as raw:
            await greet(raw, 2)
            assert "result" in await raw.ask("hub.status")
            for name in ("hub.shutdown", "hub.reload"):
                assert (await raw.ask(name))["error"]["code"] == -32002
        assert not served.stopped.is_set()
        nursery.cancel_scope.cancel()
