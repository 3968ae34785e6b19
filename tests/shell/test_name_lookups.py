"""Name lookups: shared, in threads that can be left behind, and every address of a name is tried."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.model import Channel, Signal, Stage
from hubd.core.verdict import judge
from hubd.providers.smtp.login import ehlo_name
from hubd.providers.smtp.transport import SmtpSettings, open_smtp
from hubd.transports.resolver import MOST_THREADS, NameUnresolved, addresses_of
from hubd.transports.tcp_connect import NotConnected, connect
from tests.shell.scripted_smtp import Say, serve_script
from tests.shell.smtp_peers import rendered, send

ROOT = Path(__file__).resolve().parents[2]
BOUND = 60.0


class Names:
    """Stands in for the system's resolver: some names have addresses, the others hang until released."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.released = threading.Event()

    def getaddrinfo(self, host: str, port: object, **_: object) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        name = host.partition(".")[0]
        if name not in self.addresses:
            self.released.wait(BOUND)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(0, 0, 0, "", (address, 0)) for address in self.addresses[name]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names(mail=["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", instead(found))
    return found


def instead(names: Names) -> Callable[..., Any]:
    """`socket.getaddrinfo`, with the names of `names`; what is an address goes to the real one."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *more: Any, **others: Any) -> Any:
        if isinstance(host, str) and host.endswith(".example"):
            return names.getaddrinfo(host, port)
        return real(host, port, *more, **others)

    return getaddrinfo


async def abandoned(host: str) -> None:
    """Ask for a name and give up once its lookup has begun."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(addresses_of, host, BOUND)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_callers_that_ask_for_one_name_share_its_lookup_and_its_answer(names: Names) -> None:
    failures: list[str] = []

    async def ask() -> None:
        try:
            await addresses_of("hang.example", BOUND)
        except NameUnresolved as error:
            failures.append(f"{error}: {error.why}")

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        names.released.set()
    assert set(failures) == {"the name hang.example does not resolve: Temporary failure in name resolution"}
    assert len(failures) == 100
    assert names.asked == ["hang.example"]


async def test_a_lookup_that_hangs_takes_nothing_from_other_names_and_threads(names: Names) -> None:
    """A hundred names hang: more than Trio has threads for everything else."""
    for n in range(100):
        await abandoned(f"hang{n}.example")
    with trio.fail_after(BOUND):
        assert await addresses_of("mail.example", BOUND) == ["127.0.0.1"]
        assert await trio.to_thread.run_sync(lambda: "a thread") == "a thread"
    assert not names.released.is_set()
    names.released.set()


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock()


async def test_a_name_that_hangs_for_long_gets_another_thread_rarely_and_then_no_more(
    names: Names, clock: trio.testing.MockClock
) -> None:
    for _ in range(2000):
        await abandoned("hang.example")
        clock.jump(1)
    assert len(names.asked) == MOST_THREADS
    names.released.set()


async def test_a_name_that_resolves_again_is_used_although_an_old_lookup_still_hangs(
    names: Names, clock: trio.testing.MockClock
) -> None:
    await abandoned("hang.example")
    names.addresses["hang"] = ["127.0.0.9"]
    clock.jump(60)
    assert await addresses_of("hang.example", 1000) == ["127.0.0.9"]
    assert not names.released.is_set()
    names.released.set()


async def test_a_name_that_takes_too_long_is_the_reason_of_the_failure(
    names: Names, clock: trio.testing.MockClock
) -> None:
    clock.rate = 1000
    with pytest.raises(NotConnected) as caught:
        await connect("hang.example", 25, 30)
    answer = caught.value.answer
    assert (answer.stage, answer.signal) == (Stage.CONNECT, Signal.DROPPED)
    assert judge(answer, Channel.EMAIL).detail == "the name hang.example does not resolve"
    assert "did not answer in time" in answer.text
    names.released.set()


async def test_every_address_of_a_name_is_tried(names: Names) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        names.addresses["mail"] = ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"]
        sock = await connect("mail.example", port, BOUND)
        with sock, server.accept()[0]:
            assert sock.getpeername()[0] == "127.0.0.1"


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(names: Names) -> None:
    with socket.create_server(("127.0.0.2", 0), backlog=0) as full:
        port = full.getsockname()[1]
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.2", port))
        with socket.create_server(("127.0.0.1", port)) as server:
            names.addresses["mail"] = ["127.0.0.2", "127.0.0.1"]
            sock = await connect("mail.example", port, BOUND)
            with sock, server.accept()[0]:
                assert sock.getpeername()[0] == "127.0.0.1"
        for client in clients:
            client.close()


@pytest.mark.parametrize("greeting", [b"554 5.3.2 no service here\r\n", b"", b"HTTP/1.1 400 what?\r\n"])
async def test_an_address_that_turns_us_away_does_not_keep_us_from_the_next(
    greeting: bytes, names: Names, bridge: Bridge
) -> None:
    greeted: list[str] = []

    async def turn_away(stream: trio.SocketStream) -> None:
        greeted.append("no")
        async with stream:
            if greeting:
                await stream.send_all(greeting)

    names.addresses["mail"] = ["127.0.0.2", "127.0.0.1"]
    async with serve_script() as server, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(server.port, host="127.0.0.2")
        nursery.start_soon(trio.serve_listeners, turn_away, [listener])
        made = SmtpSettings(host="mail.example", port=server.port, security="none", ehlo_name="me.example")
        transport = open_smtp("office", made, bridge)
        answers = [await send(transport.connection(), rendered(number)) for number in (1, 2)]
        await transport.aclose()
        nursery.cancel_scope.cancel()
    assert [answer.code for answer in answers] == [250, 250]
    assert greeted == ["no"], "the second connection went straight to the address that works"


async def test_the_first_address_that_turned_us_away_says_why(names: Names, bridge: Bridge) -> None:
    names.addresses["mail"] = ["127.0.0.1", "127.0.0.2"]
    async with serve_script({"banner": [Say(b"554 5.3.2 no service here\r\n")]}) as server:
        made = SmtpSettings(host="mail.example", port=server.port, security="none", ehlo_name="me.example")
        transport = open_smtp("office", made, bridge)
        answer = await send(transport.connection(), rendered())
        await transport.aclose()
    assert (answer.stage, answer.code) == (Stage.BANNER, 554)


async def test_the_last_address_says_why_none_could_be_connected(names: Names) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        names.addresses["mail"] = ["127.0.0.2", "127.0.0.1"]
        with pytest.raises(NotConnected) as caught:
            await connect("mail.example", unused.getsockname()[1], BOUND)
    assert caught.value.answer.text == "Connection refused"
    assert caught.value.answer.detail == ""


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain", "box", "", "127.0.1.1 x"])
async def test_a_host_without_a_full_name_gives_an_address_and_never_localhost(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    assert await ehlo_name() == "[127.0.0.1]"


async def test_a_host_whose_name_takes_too_long_gives_an_address(
    monkeypatch: pytest.MonkeyPatch, clock: trio.testing.MockClock
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getfqdn", lambda: released.wait(BOUND) and "")
    clock.rate = 1000
    assert await ehlo_name() == "[127.0.0.1]"
    released.set()


_HANGING = """
import os, sys, threading, trio
from hubd.transports import resolver

def hang(*_, **__):
    os.write(1, b"asked\\n")  # print would hold a lock that Python wants at its end
    threading.Event().wait()

resolver.socket.getaddrinfo = hang

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.addresses_of, "hang.example", 600)
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()

trio.run(main)
"""


def test_a_lookup_that_hangs_does_not_keep_the_process_from_ending() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HANGING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
            process.communicate("\n", timeout=BOUND)
            assert process.returncode == 0
        finally:
            process.kill()


_NO_THREADS = """
import threading, trio
from hubd.transports import resolver
from hubd.providers.smtp.login import ehlo_name

async def main():
    threading.stack_size(1 << 46)  # more than there is: no thread can be started
    for _ in range(2 * resolver.MOST_THREADS):
        try:
            await resolver.addresses_of("localhost", 600)
        except resolver.NameUnresolved as error:
            print(error.why)
        print(await ehlo_name())
    threading.stack_size(0)
    print(*await resolver.addresses_of("localhost", 600))

trio.run(main)
"""


def test_a_lookup_for_which_no_thread_starts_fails_alone_and_the_next_may_succeed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_THREADS], capture_output=True, text=True, cwd=ROOT, timeout=BOUND
    )
    assert done.stderr == ""
    *failed, found = done.stdout.splitlines()
    assert failed == ["no thread can be started", "[127.0.0.1]"] * 2 * MOST_THREADS
    assert "127.0.0.1" in found.split()
