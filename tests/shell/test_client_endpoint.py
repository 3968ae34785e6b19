"""The client on TCP: by an endpoint file and its token, and one error for each way in which that fails."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hubd.client import Place, connect, follow, open_client
from hubd.client.endpoint import MAX_FILE, read_endpoint
from hubd.control.gate import serve_control
from hubd.errors import HubError, Unreachable
from hubd.wire.places import place_at
from tests.shell.open_hub import Served, open_hub

NOBODY = 65534


@asynccontextmanager
async def open_endpoint(folder: Path, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Served]:
    """A hub whose TCP listener is named by `folder`/endpoint.json."""
    async with open_hub(folder) as served, trio.open_nursery() as nursery:
        endpoint = partial(
            serve_control, None, served.hub, tcp=(host, port), endpoint=folder / "endpoint.json"
        )
        await nursery.start(endpoint)
        yield served
        nursery.cancel_scope.cancel()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with open_endpoint(tmp_path) as served:
        yield served


def write(path: Path, record: object, mode: int = 0o600) -> Path:
    """A file as somebody else might have left it."""
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    path.chmod(mode)
    return path


async def why_not(place: Path | Place) -> HubError:
    with pytest.raises(HubError) as caught:
        async with open_client(place):
            pass
    assert caught.value.hint, "each comes with the next step"
    return caught.value


# -- it lets in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_calls_and_events_by_an_endpoint_file(tmp_path: Path, host: str) -> None:
    async with open_endpoint(tmp_path, host) as served:
        path = tmp_path / "endpoint.json"
        async with open_client(path) as hub, follow(["*"], socket=str(path)) as events:
            assert hub.hello["role"] == "operator"
            assert (await hub.call("hub.status"))["campaigns"] == []
            assert (await anext(events))["type"] == "snapshot"
            await served.events.add("test", None, {"n": 1})
            assert (await anext(events))["data"]["n"] == 1


async def test_the_blocking_client_by_an_endpoint_file(tmp_path: Path, served: Served) -> None:
    def work() -> None:
        with connect(tmp_path / "endpoint.json", client=("shop", "1")) as hub:
            assert hub.call("hub.status")["trouble"] == ""

    await trio.to_thread.run_sync(work)


async def test_the_way_is_told_without_the_token(tmp_path: Path, served: Served) -> None:
    async with open_client(tmp_path / "endpoint.json") as hub:
        token = hub.reached.token
        assert token
        assert token == json.loads((tmp_path / "endpoint.json").read_text())["token"]
        assert token not in repr(hub.reached)
        assert hub.reached.describe() == f"{hub.reached.host} ({tmp_path}/endpoint.json, found there)"


async def test_nothing_is_said_to_a_program_that_did_not_write_the_file(
    tmp_path: Path, served: Served
) -> None:
    """One that has got the port of a daemon that was killed takes any token and cannot know the secret."""
    record = json.loads((tmp_path / "endpoint.json").read_text())
    stale = write(tmp_path / "stale.json", record | {"proof": record["proof"][::-1]})
    assert (await why_not(stale)).code == "not_hubd"
    async with open_client(tmp_path / "endpoint.json") as hub:
        assert record["proof"] not in repr(hub.reached)


async def test_following_goes_on_with_the_port_and_the_token_of_the_next_daemon(tmp_path: Path) -> None:
    lost = trio.Event()
    seen: list[int] = []

    def tell(error: HubError | None) -> None:
        if error is not None:
            lost.set()

    async def read(*, task_status: trio.TaskStatus[None]) -> None:
        async with follow(["*"], socket=tmp_path / "endpoint.json", tell=tell) as events:
            await anext(events)
            task_status.started()
            async for event in events:
                seen.append(event["data"]["n"])
                if event["data"]["n"] == 2:
                    return

    async with trio.open_nursery() as nursery:
        async with open_endpoint(tmp_path) as served:
            await nursery.start(read)
            await served.events.add("test", None, {"n": 1})
            while not seen:
                await trio.lowlevel.checkpoint()
        await lost.wait()
        async with open_endpoint(tmp_path) as served:
            await served.events.add("test", None, {"n": 2})
            while len(seen) < 2:
                await trio.lowlevel.checkpoint()
    assert seen == [1, 2]


async def test_a_token_that_was_replaced_on_the_way_is_read_again(tmp_path: Path, served: Served) -> None:
    """The daemon is restarted between reading the file and being heard: the new one knows no old token."""
    path = tmp_path / "endpoint.json"
    fresh = json.loads(path.read_text())
    async with open_refusing(lambda: write(path, fresh)) as port:
        write(path, {**fresh, "url": f"ws://127.0.0.1:{port}/rpc", "token": "old"})
        async with open_client(path) as hub:
            assert await hub.call("hub.status")


@asynccontextmanager
async def open_refusing(then: Callable[[], object]) -> AsyncIterator[int]:
    """The port of a listener that answers everybody with 401, and does `then` before."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        then()
        await stream.send_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


# -- why not -----------------------------------------------------------------------------------------------


async def test_no_file(tmp_path: Path) -> None:
    error = await why_not(tmp_path / "none.json")
    assert (error.code, error.hint) == (
        "socket_missing",
        f"start it with: hubd --endpoint {tmp_path}/none.json",
    )
    assert f"no endpoint file at {tmp_path}/none.json" in str(error)
    (tmp_path / "file").touch()
    assert (await why_not(tmp_path / "file" / "none.json")).code == "socket_missing"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o777])
async def test_a_file_that_others_can_reach_is_not_used(tmp_path: Path, served: Served, mode: int) -> None:
    path = tmp_path / "endpoint.json"
    path.chmod(mode)
    error = await why_not(path)
    assert error.code == "endpoint_exposed"
    assert f"chmod 600 {path}" in error.hint


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
async def test_a_file_of_another_user_is_not_used(tmp_path: Path, served: Served) -> None:
    os.chown(tmp_path / "endpoint.json", NOBODY, NOBODY)
    error = await why_not(tmp_path / "endpoint.json")
    assert error.code == "permission_denied"
    assert "belongs to another user" in str(error)


async def test_a_file_of_a_daemon_that_has_ended(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets this port meanwhile
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        path = write(tmp_path / "e.json", {"url": f"ws://127.0.0.1:{port}/rpc", "token": "x"})
        error = await why_not(path)
    assert error.code == "refused"
    assert str(error) == f"hubd is not running: nothing listens at 127.0.0.1:{port}, named in {path}"


async def test_a_wrong_token(tmp_path: Path, served: Served) -> None:
    record = json.loads((tmp_path / "endpoint.json").read_text())
    error = await why_not(write(tmp_path / "e.json", {**record, "token": "s3cr3t"}))
    assert error.code == "unauthenticated"
    assert "does not know the token" in str(error)
    assert "s3cr3t" not in f"{error} {error.hint}"


async def test_following_does_not_try_a_wrong_token_for_ever(tmp_path: Path, served: Served) -> None:
    record = json.loads((tmp_path / "endpoint.json").read_text())
    path = write(tmp_path / "e.json", {**record, "token": "s3cr3t"})
    async with follow(["*"], socket=path, after={"epoch": served.database.epoch, "seq": 0}) as events:
        with pytest.raises(Unreachable) as caught:
            await anext(events)
    assert caught.value.code == "unauthenticated"


async def test_a_program_that_is_no_hubd_at_the_port(tmp_path: Path) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        await stream.send_eof()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/rpc"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, greet, [listener])
        assert (await why_not(write(tmp_path / "e.json", {"url": url, "token": "x"}))).code == "not_hubd"
        nursery.cancel_scope.cancel()


GOOD = {"url": "ws://127.0.0.1:1/rpc", "token": "abc"}


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[" * 20_000,
        "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
        [],
        {},
        {**GOOD, "url": None},
        {**GOOD, "url": "ws://example.com:80/rpc"},
        {**GOOD, "url": "ws://localhost:80/rpc"},
        {**GOOD, "url": "ws://127.0.0.1.evil.example:80/rpc"},
        {**GOOD, "url": "ws://127.0.0.1:80/rpc@evil.example"},
        {**GOOD, "url": "ws://user@127.0.0.1:80/rpc"},
        {**GOOD, "url": "ws://127.0.0.1:0/rpc"},
        {**GOOD, "url": "ws://127.0.0.1:65536/rpc"},
        {**GOOD, "url": "wss://127.0.0.1:80/rpc"},
        {**GOOD, "token": "a\r\nOrigin: http://evil.example"},
        {**GOOD, "token": "a, hub.bearer.b"},
        {**GOOD, "token": "x" * 201},
    ],
)
async def test_a_file_that_hubd_did_not_write_is_not_used(tmp_path: Path, record: object) -> None:
    """Above all no address elsewhere: the token would leave this machine."""
    error = await why_not(write(tmp_path / "e.json", record))
    assert error.code == "bad_endpoint"
    assert "Origin" not in str(error)


@pytest.mark.parametrize("token", [None, "", 5, ["x"]])
async def test_a_file_without_a_token(tmp_path: Path, token: object) -> None:
    error = await why_not(write(tmp_path / "e.json", {**GOOD, "token": token}))
    assert error.code == "unauthenticated"


async def test_a_folder_and_a_pipe_are_no_endpoint_files(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json", 0o600)
    for name in ("folder.json", "pipe.json"):
        assert (await why_not(tmp_path / name)).code == "bad_endpoint"


async def test_a_file_without_end_is_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    write(path, json.dumps({**GOOD, "more": "x" * MAX_FILE}))
    assert (await why_not(path)).code == "bad_endpoint"


@given(data=st.binary(max_size=200), kept=st.sampled_from(["url", "token", ""]), other=st.text(max_size=60))
def test_any_file_is_an_endpoint_of_this_machine_or_an_error_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kept: str, other: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    for content in (data, json.dumps({**GOOD, kept: other}).encode()):
        path.write_bytes(content)
        path.chmod(0o600)
        try:
            found = read_endpoint(place_at(path))
        except Unreachable:
            continue
        assert found.host in ("127.0.0.1", "::1")
        assert 0 < found.port < 65536
        assert found.token.isascii()
        assert "token" not in repr(found)


# -- a token in a file of its own --------------------------------------------------------------------------


async def test_a_token_of_a_file_of_its_own_has_its_own_role(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path) as served:
        # Tickets belong to the door that issued them: the one of `served.path`, which has a port as well.
        async with open_client(served.path) as hub:
            issued = await hub.call("auth.ticket", role="viewer", origin=None)
        write(tmp_path / "e.json", {"url": issued["url"]})
        write(tmp_path / "token", f"{issued['ticket']}\n")
        place = replace(place_at(tmp_path / "e.json"), token_file=tmp_path / "token")
        async with open_client(place) as hub:
            assert hub.hello["role"] == "viewer"
            with pytest.raises(HubError) as caught:
                await hub.call("hub.reload")
        assert caught.value.code == "forbidden"
        assert "the endpoint file of hubd is an operator" in caught.value.hint
        used = await why_not(place)
        assert (used.code, "a ticket works only once" in used.hint) == ("unauthenticated", True)


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (None, 0, "unauthenticated"),
        ("", 0o600, "unauthenticated"),
        ("two words", 0o600, "unauthenticated"),
        ("tök", 0o600, "unauthenticated"),
        ("abc", 0o644, "endpoint_exposed"),
    ],
)
async def test_a_token_file_that_cannot_be_used(
    tmp_path: Path, content: str | None, mode: int, code: str
) -> None:
    if content is not None:
        write(tmp_path / "token", content, mode)
    place = replace(place_at(write(tmp_path / "e.json", {"url": GOOD["url"]})), token_file=tmp_path / "token")
    error = await why_not(place)
    assert error.code == code
    assert str(tmp_path / "token") in f"{error}"


async def test_the_daemon_writes_what_the_client_believes(tmp_path: Path, served: Served) -> None:
    assert stat.S_IMODE((tmp_path / "endpoint.json").stat().st_mode) == 0o600
    assert read_endpoint(place_at(tmp_path / "endpoint.json")).port
