"""Logins: what a server says beyond its replies, and that nothing is left of a login that fails."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
import trustme

from hubd.bridge import Bridge
from hubd.core.model import Answer, Signal, Stage
from hubd.providers.smtp.transport import SmtpSettings, open_smtp
from tests.shell.scripted_smtp import BEHAVIOURS, STALL, WELL, Say, ScriptedServer, serve_script
from tests.shell.smtp_peers import rendered, send

BOUND = 60.0  #: seconds for what must end
EHLO = b"250-script\r\n250 AUTH PLAIN\r\n"
CLOSING = b"421 4.3.2 closing\r\n"


def account(server: ScriptedServer, **more: object) -> SmtpSettings:
    made = {"security": "none", "username": "anna", "password": "s3cret", "ehlo_name": "me.example"}
    return SmtpSettings(host="127.0.0.1", port=server.port, **{**made, **more})  # type: ignore[arg-type]


async def message(bridge: Bridge, settings: SmtpSettings) -> Answer:
    """The answer to one message on a connection of its own."""
    async with aclosing(open_smtp("test", settings, bridge)) as transport:
        return await send(transport.connection(), rendered())


# -- what was said too early -------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["close", "reset", "stall"])
@pytest.mark.parametrize(
    ("at", "said", "stage"),
    [("banner", WELL["banner"], Stage.EHLO), ("ehlo", EHLO, Stage.AUTH)],
    ids=["banner", "ehlo"],
)
async def test_a_421_between_two_commands_of_a_login_is_the_answer_to_it(
    bridge: Bridge, at: str, said: bytes, stage: Stage, then: str
) -> None:
    """It comes in one packet with a good reply, and perhaps the end; nothing more is said to that server."""
    async with serve_script({at: [Say(said + CLOSING, then)]}) as server:
        with trio.fail_after(BOUND):
            answer = await message(bridge, account(server))
    assert (answer.stage, answer.signal, answer.code) == (stage, Signal.REPLY, 421)
    assert stage.value not in server.reached


async def test_a_421_before_starttls_is_the_answer_to_it(bridge: Bridge) -> None:
    said = b"250 STARTTLS\r\n" + CLOSING
    async with serve_script({"ehlo": [Say(b"250-script\r\n" + said, "close")]}) as server:
        answer = await message(bridge, account(server, security="starttls"))
    assert (answer.stage, answer.signal, answer.code) == (Stage.TLS, Signal.REPLY, 421)


@pytest.mark.parametrize("stray", [b"250 Ok\r\n", b"235 Welcome\r\n", b"550 no\r\n", b"25", b"junk\r\n"])
@pytest.mark.parametrize(
    ("at", "said", "stage"),
    [
        ("banner", WELL["banner"], Stage.EHLO),
        ("ehlo", EHLO, Stage.AUTH),
        ("auth", WELL["auth"], Stage.AUTH),
    ],
    ids=["banner", "ehlo", "auth"],
)
async def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_one(
    bridge: Bridge, at: str, said: bytes, stage: Stage, stray: bytes
) -> None:
    """Neither is a password sent to who is one reply ahead, nor a message."""
    script = {"ehlo": [Say(EHLO)]} | {at: [Say(said + stray)]}
    async with serve_script(script) as server:
        with trio.fail_after(BOUND):
            answer = await message(bridge, account(server, reply_timeout=0.5))
    assert (answer.stage, answer.code) == (stage, 0)
    assert answer.signal in (Signal.GARBAGE, Signal.TIMEOUT)
    assert at == "auth" or stage.value not in server.reached
    assert "mail" not in server.reached
    assert server.messages == []


# -- what is left ------------------------------------------------------------------------------------


async def in_use(bridge: Bridge) -> tuple[int, int, int, int]:
    """Descriptors, threads, tasks of the bridge's loop, and descriptors that this loop watches."""

    async def of_the_loop() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        return len(asyncio.all_tasks(loop)), len(loop._selector.get_map())  # type: ignore[attr-defined]

    tasks, watched = await bridge.finish(of_the_loop)
    return len(os.listdir("/proc/self/fd")), threading.active_count(), tasks, watched


async def until_none_is_left(bridge: Bridge, before: tuple[int, int, int, int]) -> None:
    with trio.fail_after(BOUND):
        while any(  # noqa: ASYNC110 # the server has to notice the end, too, and a descriptor has no event
            now > then for now, then in zip(await in_use(bridge), before, strict=True)
        ):
            await trio.sleep(0.01)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return authority, file


def server_side(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


ENDS = {**BEHAVIOURS, "talks on": Say(b"250 more\r\n" * 20_000)}
OFFER = [b"STARTTLS", b"AUTH PLAIN"]


@pytest.mark.parametrize("stage", ["banner", "ehlo", "starttls", "auth"])
async def test_nothing_is_left_of_logins_that_fail(
    bridge: Bridge, authority: tuple[trustme.CA, Path], caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    script = {stage: list(ENDS.values())}
    async with serve_script(script, extensions=OFFER, tls=server_side(authority[0])) as server:
        settings = account(
            server, security="starttls", ca_file=authority[1], connect_timeout=0.5, reply_timeout=0.5
        )
        before = await in_use(bridge)
        for end in ENDS:
            answer = await message(bridge, settings)
            assert answer.stage is not Stage.DOT, end
            await until_none_is_left(bridge, before)
        assert (await message(bridge, settings)).code == 250
        await until_none_is_left(bridge, before)
    assert caplog.records == []


async def test_nothing_is_left_of_logins_that_meet_a_wrong_certificate(
    bridge: Bridge, authority: tuple[trustme.CA, Path]
) -> None:
    tls = server_side(authority[0], "other.example")
    async with serve_script(extensions=OFFER, tls=tls) as server:
        before = await in_use(bridge)
        for _ in range(5):
            answer = await message(bridge, account(server, security="starttls", ca_file=authority[1]))
            assert (answer.stage, answer.signal) == (Stage.TLS, Signal.GARBAGE)
        await until_none_is_left(bridge, before)


class AtStep(trio.abc.Instrument):
    """Calls something when the tasks of Trio have taken that many steps together."""

    def __init__(self, step: int, then: Callable[[], object]) -> None:
        self._left, self._then = step, then

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()


async def test_nothing_is_left_of_a_login_wherever_it_is_cancelled(
    bridge: Bridge, authority: tuple[trustme.CA, Path], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve_script(extensions=OFFER, tls=server_side(authority[0])) as server:
        settings = account(server, security="starttls", ca_file=authority[1])
        transport = open_smtp("test", settings, bridge)
        before = await in_use(bridge)
        step, cancelled = 0, True
        while cancelled:
            step += 1
            with trio.CancelScope() as scope:
                instrument = AtStep(step, scope.cancel)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await transport.probe()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            cancelled = scope.cancelled_caught
            await until_none_is_left(bridge, before)
        await transport.aclose()
    assert step > 20
    assert caplog.records == []


async def test_nothing_is_left_of_a_cancelled_login_at_a_silent_server(bridge: Bridge) -> None:
    stages = ["banner", "ehlo", "auth"]
    async with serve_script({stage: [STALL] for stage in stages}, extensions=[b"AUTH PLAIN"]) as server:
        before = await in_use(bridge)
        for stage in stages:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(message, bridge, account(server))
                await server.wait_for(stage)
                nursery.cancel_scope.cancel()
            await until_none_is_left(bridge, before)
