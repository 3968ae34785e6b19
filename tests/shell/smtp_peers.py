"""What the SMTP tests share: messages and connections, and servers by other people (smtp-sink, aiosmtpd)."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from hubd.bridge import open_bridge
from hubd.core.model import Answer, Channel, RenderedMessage
from hubd.core.tokens import Purpose, Tokens
from hubd.providers.smtp.transport import SmtpConnection, SmtpSettings, SmtpTransport, open_smtp
from tests.ports import own_port
from tests.shell.scripted_smtp import ScriptedServer

TOKENS = partial(Tokens(b"key of this installation").of, Purpose.BOUNCE)
BODY = b"Subject: hi\r\n\r\n.one\r\n..\r\n.\r\nlast\r\n"

SMTP_SINK = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin")


def rendered(number: int = 1, payload: bytes = BODY) -> RenderedMessage:
    return RenderedMessage(
        delivery_id=number,
        channel=Channel.EMAIL,
        recipient=f"to{number}@example.net",
        sender="from@example.org",
        payload=payload,
    )


@asynccontextmanager
async def open_connection(
    server: ScriptedServer,
    *,
    reply: float = 30,
    dot: float = 30,
    bounces: str = "",
    notify: str = "FAILURE,DELAY",
) -> AsyncIterator[tuple[SmtpTransport, SmtpConnection]]:
    made = SmtpSettings(
        host="127.0.0.1",
        port=server.port,
        security="none",
        connect_timeout=reply,
        reply_timeout=reply,
        dot_timeout=dot,
        ehlo_name="client.example.org",
        bounce_address=bounces,
        notify=notify,
        bounce_token=TOKENS,
    )
    with trio.fail_after(60):
        async with open_bridge() as bridge:
            transport = open_smtp("test", made, bridge)
            try:
                yield transport, transport.connection()
            finally:
                await transport.aclose()


async def send(
    connection: SmtpConnection, message: RenderedMessage, following: RenderedMessage | None = None
) -> Answer:
    refusal = await connection.prepare(message)
    return refusal or await connection.deliver(message, following)


async def send_in_a_row(connection: SmtpConnection, messages: Sequence[RenderedMessage]) -> list[Answer]:
    """As the engine does it: each message announces the next."""
    followers = [*messages[1:], None]
    return [await send(connection, one, next_) for one, next_ in zip(messages, followers, strict=True)]


@contextmanager
def smtp_sink(*flags: str) -> Iterator[int]:
    """A running smtp-sink on the loopback interface. Gives its port."""
    assert SMTP_SINK is not None
    user = ("-u", "nobody") if os.getuid() == 0 else ()
    port = own_port()
    command = [SMTP_SINK, *user, *flags, f"127.0.0.1:{port}", "100"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the process accepts connections."""
    while True:
        assert process.poll() is None, "smtp-sink has ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            os.sched_yield()
        else:
            return


@dataclass(slots=True)
class Mailbox:
    """What an aiosmtpd server accepted, and how it was spoken to."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    password: bytes = b"s3cret"  #: what it takes from now on
    stop: Callable[[], object] = lambda: None  #: ends the server

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd's hook for an accepted message."""
        self.envelopes.append(envelope)
        assert server.transport is not None
        self.over_tls.append(server.transport.get_extra_info("sslcontext") is not None)
        return f"250 OK id=in-{len(self.envelopes)}"

    def log_in(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """aiosmtpd's hook for AUTH: one account, anna."""
        self.logins.append(mechanism)
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"anna", self.password)
        return AuthResult(success=good, handled=False, auth_data=data)


@contextmanager
def aiosmtpd_server(
    *,
    starttls: ssl.SSLContext | None = None,
    implicit_tls: ssl.SSLContext | None = None,
    auth: bool = False,
    auth_needs_tls: bool = True,
    exclude: tuple[str, ...] = (),
    size: int = 1_000_000,
    box: Mailbox | None = None,
) -> Iterator[Mailbox]:
    """aiosmtpd with its own loop in its own thread, on a free port of the loopback interface."""
    box = Mailbox() if box is None else box
    ready = threading.Event()

    def factory() -> SMTP:
        return SMTP(
            box,
            hostname="aio",
            tls_context=starttls,
            authenticator=box.log_in if auth else None,
            auth_require_tls=auth_needs_tls and implicit_tls is None,
            auth_exclude_mechanism=exclude,
            data_size_limit=size,
        )

    async def run() -> None:
        loop = asyncio.get_running_loop()
        over, box.stop = asyncio.Event(), lambda: loop.call_soon_threadsafe(over.set)
        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=implicit_tls)
        box.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await over.wait()

    def serve() -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(run())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(30)
        yield box
    finally:
        box.stop()
        thread.join(30)
