"""Who may do what: by the socket that was connected to, for every method of the table. And who did it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import open_client
from hubd.control.gate import MAX_VIEWER_MESSAGE, serve_control
from hubd.control.methods import METHODS
from hubd.control.roles import Peer, Role
from hubd.errors import HubError
from hubd.wire import MAX_MESSAGE
from tests.shell.open_hub import Served, open_hub
from tests.shell.raw_client import open_raw

MUTATIONS = sorted(name for name, method in METHODS.items() if method.mutates)


@asynccontextmanager
async def observed(tmp_path: Path) -> AsyncIterator[tuple[Served, Path, Path]]:
    """A hub with a control socket and one for viewers."""
    control, observe = tmp_path / "d" / "control.sock", tmp_path / "d" / "observe.sock"
    async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, observe=observe), control, served.hub)
        yield served, control, observe
        nursery.cancel_scope.cancel()


def audit(served: Served) -> list[dict[str, Any]]:
    """The trail as it lies in the file."""
    with sqlite3.connect(f"file:{served.hub.info.state_dir}/hub.db?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT * FROM audit ORDER BY seq")]
    db.close()
    return rows


def test_an_operator_may_everything_and_a_viewer_may_look() -> None:
    assert all(Role.OPERATOR.may(method.role) for method in METHODS.values())
    assert not any(Role.VIEWER.may(method.role) for method in METHODS.values() if method.mutates)
    assert any(Role.VIEWER.may(method.role) for method in METHODS.values())


def test_the_table_says_of_every_command_that_it_is_one() -> None:
    """What takes an idempotency key changes something, and the reverse; a mistake here would be a hole."""
    for method in METHODS.values():
        assert ("idempotency_key" in method.params.__struct_fields__) is method.mutates, method.name
    assert len(MUTATIONS) > 20


async def test_what_the_daemon_describes_as_the_operators_is_refused_to_a_viewer(tmp_path: Path) -> None:
    """By the document that clients are written from: with its own examples, which would work, and without."""
    async with observed(tmp_path) as (served, _, observe), open_raw(observe) as raw:
        assert raw.hello["role"] == "viewer"
        methods = (await raw.ask("rpc.discover"))["result"]["methods"]
        operators = [method for method in methods if method["x-role"] == "operator"]
        assert {method["name"] for method in operators} >= set(MUTATIONS)
        for method in operators:
            examples = [{each["name"]: each["value"] for each in e["params"]} for e in method["examples"]]
            for params in ({}, *examples):
                asked = {"jsonrpc": "2.0", "id": 1, "method": method["name"], "params": params}
                await raw.say(asked)
                refused = await raw.hear()
                assert refused["error"]["code"] == -32002, method["name"]
                assert refused["error"]["data"]["code"] == "forbidden"
                await raw.say([{**asked, "id": 2}, {key: asked[key] for key in asked if key != "id"}])
                assert [each["error"]["code"] for each in await raw.hear()] == [-32002]
        assert not served.stopped.is_set()
        assert audit(served) == []


async def test_a_viewer_may_call_what_only_reads(tmp_path: Path) -> None:
    async with observed(tmp_path) as (_, _, observe), open_raw(observe) as raw:
        for name in ("hub.status", "campaign.list", "contacts.lists", "provider.list", "rpc.discover"):
            assert "result" in await raw.ask(name), name
        opened = await raw.ask("events.subscribe", topics=["campaigns", "daemon"])
        assert "snapshot" in opened["result"]


async def test_a_viewer_has_no_large_messages(tmp_path: Path) -> None:
    async with observed(tmp_path) as (_, control, observe):
        async with open_raw(observe) as raw:
            assert raw.hello["limits"]["message_bytes"] == MAX_VIEWER_MESSAGE
            await raw.say('"' + "x" * MAX_VIEWER_MESSAGE + '"')
            assert await raw.closed() == 1009
        async with open_raw(control) as raw:
            assert raw.hello["limits"]["message_bytes"] == MAX_MESSAGE


async def test_a_viewer_gets_no_ticket_of_an_operator(tmp_path: Path) -> None:
    async with observed(tmp_path) as (_, _, observe), open_client(observe) as hub:
        with pytest.raises(HubError) as caught:
            await hub.call("auth.ticket", role="operator")
        assert caught.value.code == "forbidden"


async def test_a_command_says_who_in_the_audit_trail(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await hub.call("suppression.add", channel="email", address="ann@example.com", reason="asked")
        await hub.call("provider.disable", name="outbox")
        added, disabled = audit(served)
    assert (added["actor"], added["action"]) == (f"uid {os.getuid()}", "suppression.add")
    assert json.loads(added["data"]) == {"changed": True, "listener": "control", "pid": os.getpid()}
    assert disabled["action"] == "provider.disable"
    assert json.loads(disabled["data"])["name"] == "outbox"


async def test_what_was_refused_or_only_tried_out_is_not_in_the_trail(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        with pytest.raises(HubError):
            await hub.call("campaign.pause", name="nope")
        await hub.call("contacts.import", list="all", import_id="i", rows=[], dry_run=True)
        await hub.call("hub.status")
        assert audit(served) == []


async def test_a_ticket_is_in_the_trail_and_so_is_who_had_it_issued(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
        path = tmp_path / "d" / "control.sock"
        await nursery.start(partial(serve_control, tcp=("127.0.0.1", 0)), path, served.hub)
        async with open_client(path) as hub:
            issued = await hub.call("auth.ticket", role="operator", origin="http://localhost:1")
        port = int(issued["url"].removesuffix("/rpc").rpartition(":")[2])
        async with open_raw(port, origin="http://localhost:1", bearer=issued["ticket"]) as raw:
            assert "result" in await raw.ask("provider.enable", name="outbox")
        first, second = audit(served)
        nursery.cancel_scope.cancel()
    assert first["action"] == "auth.ticket"
    assert issued["ticket"] not in str(first)
    assert json.loads(first["data"])["role"] == "operator"
    assert second["actor"] == f"uid {os.getuid()}, by ticket"
    assert json.loads(second["data"])["listener"] == "tcp"


def test_an_actor_is_named_without_a_kernel_that_says_who() -> None:
    assert Peer(role=Role.OPERATOR, listener="control").actor == "control"


# -- sockets that the service manager made -----------------------------------------------------------------


async def test_inherited_sockets_are_served_by_name_and_never_removed(tmp_path: Path) -> None:
    made: dict[str, socket.socket] = {}
    for name in ("control", "observe"):
        made[name] = socket.socket(socket.AF_UNIX)
        made[name].bind(os.fspath(tmp_path / f"{name}.sock"))
        made[name].listen(5)
    (tmp_path / "control.sock").chmod(0o660)
    for _ in range(2):  # it is there for the next daemon too
        async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
            elsewhere = tmp_path / "not-made" / "control.sock"
            await nursery.start(partial(serve_control, inherited=made), elsewhere, served.hub)
            assert not elsewhere.parent.exists()
            async with open_raw(tmp_path / "control.sock") as raw:
                assert raw.hello["role"] == "operator"
                assert "result" in await raw.ask("hub.reload")
            async with open_raw(tmp_path / "observe.sock") as raw:
                assert raw.hello["role"] == "viewer"
            nursery.cancel_scope.cancel()
        assert all((tmp_path / f"{name}.sock").is_socket() for name in made)
        assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o660
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".lock") and "sock" in name]
    for sock in made.values():
        sock.close()


async def test_a_viewer_socket_may_stand_beside_an_inherited_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(os.fspath(tmp_path / "control.sock"))
        control.listen(5)
        async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
            endpoints = partial(
                serve_control, inherited={"control": control}, observe=tmp_path / "observe.sock"
            )
            await nursery.start(endpoints, tmp_path / "control.sock", served.hub)
            async with open_raw(tmp_path / "observe.sock") as raw:
                assert raw.hello["role"] == "viewer"
            nursery.cancel_scope.cancel()
        assert not (tmp_path / "observe.sock").exists()
