"""What a check of health reads: hub.status, and for a prober a status line of HTTP without anything else."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.control import hub_methods
from hubd.control.gate import serve_control
from tests.shell.open_hub import PLAIN, Served
from tests.shell.raw_client import answer_to

SPEC = PLAIN
WELL = b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n"


class Troubled:
    """A database whose disk is full."""

    epoch, head_seq, trouble = 3, 7, "the disk is full"


class Still:
    """A schedule that hangs."""

    async def heartbeat(self) -> None:
        await trio.sleep_forever()


class Stuck:
    """A supervisor with such a schedule, and otherwise the real one."""

    scheduler = Still()

    def __init__(self, supervisor: Any) -> None:
        self.providers = supervisor.providers
        self.reason = supervisor.reason


async def port_of(path: Path) -> int:
    async with open_client(path) as hub:
        url = (await hub.call("auth.ticket"))["url"]
    return int(url.removesuffix("/rpc").rpartition(":")[2])


def asked(port: int, line: str = "GET /healthz HTTP/1.1", **headers: str) -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in ({"Host": f"127.0.0.1:{port}"} | headers).items())]
    return "\r\n".join([*lines, "", ""]).encode()


# -- hub.status --------------------------------------------------------------------------------------------


async def test_status_tells_of_store_schedule_providers_and_counts(served: Served) -> None:
    async with open_client(served.path) as hub:
        await prepare(hub)
        found = await hub.call("hub.status")
    assert found["version"] == "0.0.1"
    assert found["uptime"] >= 0
    assert found["trouble"] == ""
    assert found["store"] == {
        "ok": True,
        "epoch": served.database.epoch,
        "head_seq": served.database.head_seq,
    }
    assert found["schedule"] == {"ok": True, "next_at": "2099-01-01T00:00:00.000Z"}
    assert [provider["state"] for provider in found["providers"]] == ["ready"]
    assert found["states"] == {"paused": 1, "scheduled": 2}
    assert (found["counts"]["total"], found["counts"]["sent"]) == (3, 1)
    counts = dict(found["counts"])
    assert counts.pop("total") == sum(counts.values())


async def prepare(hub: Client) -> None:
    """Two campaigns that are scheduled, and one that has sent one message of three."""
    rows = [{"line": n, "values": {"email": f"p{n}@example.com"}} for n in range(3)]
    await hub.call("contacts.import", list="customers", rows=rows, import_id="i")
    for name, year in (("late", 2100), ("later", 2099)):
        await hub.call("campaign.apply", spec=SPEC | {"name": name})
        await hub.call("campaign.schedule", name=name, at=f"{year}-01-01T00:00:00Z")
    await hub.call("campaign.apply", spec=SPEC)
    subscription = hub.subscribe(["campaign:spring"], gauge_hz=0)
    await anext(subscription)
    await hub.call("campaign.start", name="spring", limit=1)
    with trio.fail_after(20):
        async for event in subscription:
            if event["data"].get("to") == "paused":
                break


async def test_status_answers_when_the_schedule_hangs_and_says_so(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_methods, "PULSE_SECONDS", 0.01)
    # all it needs
    hub = replace(served.hub, supervisor=Stuck(served.hub.supervisor))  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        path = tmp_path / "t" / "c.sock"
        await nursery.start(serve_control, path, hub)
        async with open_client(path) as client:
            assert (await client.call("hub.status"))["schedule"] == {"ok": False, "next_at": None}
        nursery.cancel_scope.cancel()


# -- /healthz ----------------------------------------------------------------------------------------------


async def test_a_prober_is_told_200_and_nothing_else(served: Served) -> None:
    port = await port_of(served.path)
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert await answer_to(port, asked(port, Host=f"{host}:{port}")) == WELL


async def test_a_prober_is_told_503_when_the_disk_takes_nothing(tmp_path: Path, served: Served) -> None:
    async with trio.open_nursery() as nursery:
        port = await port_of(served.path)
        hub = replace(served.hub, database=Troubled())  # type: ignore[arg-type]  # all it needs
        path = tmp_path / "t" / "c.sock"
        await nursery.start(partial(serve_control, tcp=("127.0.0.1", 0)), path, hub)
        sick = await port_of(path)
        said = await answer_to(sick, asked(sick))
        assert said == WELL.replace(b"200 OK", b"503 Service Unavailable")
        assert await answer_to(port, asked(port)) == WELL
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "rebind.example:80"}, 403),
        ({"Host": "hubd.sock"}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 403),
        ({"Origin": "null"}, 403),
        ({"Referer": "http://evil.example/"}, 403),
    ],
)
async def test_no_page_asks_how_the_daemon_is(served: Served, headers: dict[str, str], expected: int) -> None:
    port = await port_of(served.path)
    said = await answer_to(port, asked(port, **headers))
    assert int(said.split(b" ")[1]) == expected
    assert b"Access-Control" not in said


@pytest.mark.parametrize(
    "line",
    ["GET /healthz?x HTTP/1.1", "POST /healthz HTTP/1.1", "GET /healthz/ HTTP/1.1", "HEAD /healthz HTTP/1.1"],
)
async def test_only_this_one_path_is_answered(served: Served, line: str) -> None:
    port = await port_of(served.path)
    assert (await answer_to(port, asked(port, line))).startswith(b"HTTP/1.1 404 ")


async def test_the_unix_socket_has_no_such_path(served: Served) -> None:
    said = await answer_to(served.path, b"GET /healthz HTTP/1.1\r\nHost: hubd.sock\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 404 ")


async def test_asking_is_no_try_to_get_in(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A prober that asks every second is not slowed down as one who guesses tokens, and not told of."""
    caplog.set_level("INFO", logger="hubd.control")
    port = await port_of(served.path)
    for _ in range(12):
        assert await answer_to(port, asked(port)) == WELL
    assert caplog.messages == []
