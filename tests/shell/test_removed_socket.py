"""A socket file that somebody removes while the daemon runs: it is noticed, said, and made again."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from hubd.client import open_client
from hubd.client.holder import holder_of
from hubd.control.endpoints import Endpoints
from hubd.control.listener import open_listener
from hubd.errors import Unreachable
from tests.shell.open_hub import Served


async def test_a_removed_socket_is_created_again_and_open_connections_stay(served: Served) -> None:
    endpoints = served.hub.endpoints
    async with open_client(served.path) as old:
        assert (await old.call("hub.check"))["checks"][1]["ok"]
        for _ in range(2):
            served.path.unlink()
            check = (await old.call("hub.check"))["checks"][1]
            assert (check["check"], check["ok"]) == ("sockets", False)
            assert str(served.path) in check["found"]
            assert f"kill -HUP {os.getpid()}" in check["advice"]
            (warning,) = (await old.call("hub.status"))["warnings"]
            assert str(served.path) in warning
            with pytest.raises(Unreachable, match="is running, but its socket") as caught:
                async with open_client(served.path):
                    pass
            assert caught.value.hint == f"to create the socket again: kill -HUP {os.getpid()}"
            endpoints.make_again()
            assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
            async with open_client(served.path) as new:
                assert (await new.call("hub.status"))["warnings"] == []
            assert (await old.call("hub.status"))["warnings"] == []


async def test_a_socket_whose_folder_was_removed_is_created_again_with_its_folder(served: Served) -> None:
    served.path.unlink()
    served.path.with_name("control.sock.lock").unlink()
    served.path.parent.rmdir()
    served.hub.endpoints.make_again()
    async with open_client(served.path) as hub:
        assert (await hub.call("hub.check"))["checks"][1]["ok"]
    assert stat.S_IMODE(served.path.parent.stat().st_mode) == 0o700


async def test_a_path_that_another_program_took_is_left_to_it_until_it_is_free(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.path.unlink()
    served.path.write_text("another's")
    served.hub.endpoints.make_again()
    assert served.path.read_text() == "another's"
    assert "cannot be created again" in caplog.text
    served.path.unlink()
    served.hub.endpoints.make_again()
    async with open_client(served.path) as hub:
        assert (await hub.call("hub.status"))["warnings"] == []


async def test_sockets_that_are_in_their_place_are_left_as_they_are(served: Served) -> None:
    before = served.path.stat()
    served.hub.endpoints.make_again()
    assert served.path.stat().st_ino == before.st_ino


async def test_an_inherited_socket_is_for_its_service_manager_to_create(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.sock"
    endpoints = Endpoints()
    with socket.socket(socket.AF_UNIX) as made, socket.socket() as tcp:
        made.bind(os.fspath(path))
        made.listen()
        tcp.listen()
        async with endpoints.open(None, None, {"control": made, "observe": tcp}, None) as opened:
            assert [each.own for each in opened] == [False, False]
            assert endpoints.trouble == ""
            path.unlink()
            endpoints.make_again()
            assert not path.exists()
            assert "systemctl restart hubd.socket" in endpoints.trouble
            assert "systemctl restart hubd.socket" in caplog.text


async def test_the_daemon_says_once_that_a_socket_is_gone_and_once_that_it_is_back(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.sock"
    endpoints = Endpoints()
    told: list[tuple[str, Mapping[str, object]]] = []

    async def add(kind: str, campaign: None, data: Mapping[str, object]) -> None:
        told.append((kind, data))

    async with endpoints.open(path, None, {}, None), trio.open_nursery() as nursery:
        nursery.start_soon(endpoints.watch, add)
        await trio.sleep(60)
        assert told == []
        path.unlink()
        await trio.sleep(60)
        assert [kind for kind, _ in told] == ["hub.socket_removed"]
        assert told[0][1]["path"] == str(path)
        assert "clients cannot connect" in caplog.text
        endpoints.make_again()
        await trio.sleep(60)
        assert [kind for kind, _ in told] == ["hub.socket_removed", "hub.socket_restored"]
        nursery.cancel_scope.cancel()


async def test_only_a_process_that_really_holds_the_lock_is_named(tmp_path: Path) -> None:
    """Somebody is going to signal it, and a signal ends most programs."""
    path = tmp_path / "c.sock"
    lock = path.with_name("c.sock.lock")
    assert holder_of(path) is None
    with open_listener(path):
        assert holder_of(path) == os.getpid()
        lock.write_text("1\n")
        assert holder_of(path) is None
        lock.write_text("no number")
        assert holder_of(path) is None
        lock.write_text(f"{os.getpid()}\n")
        assert holder_of(path, tmp_path / "no-such-file") is None
    assert holder_of(path) is None
