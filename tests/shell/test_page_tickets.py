"""Tickets for hubview's page from a real hub: over its socket, by its endpoint file, and for viewers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from hubd.control.gate import serve_control
from hubd.errors import HubError
from hubd.wire.places import place_at
from hubview.daemon import Daemon
from tests.shell.open_hub import open_hub
from tests.shell.raw_client import open_raw

PAGE = "http://127.0.0.1:8080"


def port_of(url: str) -> int:
    return int(url.removesuffix("/rpc").rpartition(":")[2])


async def test_a_page_gets_a_ticket_for_the_most_that_its_program_may_do(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
        control, observe = tmp_path / "t" / "control.sock", tmp_path / "t" / "observe.sock"
        await nursery.start(partial(serve_control, observe=observe), control, served.hub)
        operator, viewer = Daemon(place_at(control)), Daemon(place_at(observe))
        with pytest.raises(HubError, match="does not listen on TCP"):  # and no viewer may make it listen
            await trio.to_thread.run_sync(viewer.ticket, PAGE)
        for daemon, role in ((operator, "operator"), (viewer, "viewer")):
            ticket = await trio.to_thread.run_sync(daemon.ticket, PAGE)
            assert str(daemon.place.path) in ticket["where"]
            async with open_raw(port_of(ticket["url"]), origin=PAGE, bearer=ticket["ticket"]) as raw:
                assert raw.hello["role"] == role
        nursery.cancel_scope.cancel()


async def test_where_there_are_no_unix_sockets_the_endpoint_file_is_enough(tmp_path: Path) -> None:
    endpoint = tmp_path / "endpoint.json"
    async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
        serve = partial(serve_control, tcp=("::1", 0), endpoint=endpoint)
        await nursery.start(serve, tmp_path / "t" / "control.sock", served.hub)
        ticket = await trio.to_thread.run_sync(Daemon(place_at(endpoint)).ticket, PAGE)
        assert ticket["url"].startswith("ws://localhost:"), "a policy cannot name an IPv6 address"
        nursery.cancel_scope.cancel()
