"""From a TCP connection to a logged-in SMTP connection: greeting, TLS, EHLO, AUTH.

The connection is Trio's from the first packet; a cancellation ends it at once, whatever it waits for. The
dialogues of EHLO and AUTH are aiosmtplib's: it talks to one end of a socket pair, on the loop of the bridge,
and what it sends is passed on to the server. Everything that can go wrong becomes an `Answer` in one place
(`_answer`); no aiosmtplib exception goes further. The particular cases:

- certificate not accepted: stage TLS, signal GARBAGE, text "certificate verify failed: ...". No other failure
  has stage TLS and signal GARBAGE.
- any other broken handshake: stage TLS, signal DROPPED (or TIMEOUT).
- STARTTLS required and not offered: stage TLS, code 502, and nothing was sent.
- the password would be sent in clear text: stage AUTH, code 538, and it was not sent.
- no login method that both sides know: stage AUTH, code 504.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import aiosmtplib
import trio

from hubd.bridge import Bridge
from hubd.core.model import Answer, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.providers.smtp.pipeline import Conversation
from hubd.providers.smtp.replies import Garbage, Reply
from hubd.providers.smtp.reply_reader import ReplyReader
from hubd.providers.smtp.settings import TOKEN_FIELD
from hubd.transports.loopback import is_loopback_peer
from hubd.transports.resolver import own_name
from hubd.transports.stream import Stream
from hubd.transports.tls import client_context


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """How to reach one SMTP server. Timeouts are in seconds."""

    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""  #: "" for no login
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)  #: an access token for XOAUTH2; then there is no password
    connections: int = 8
    ca_file: Path | None = None  #: trust the certificates in this PEM file instead of the system's
    ehlo_name: str = ""  #: what we call ourselves in EHLO; "" for this machine's name
    pipelining: bool = True  #: use PIPELINING if it is offered
    #: The envelope sender of messages without their own return path; "" for that of the message.
    bounce_address: str = ""
    #: What reports of delivery to ask for where the server offers DSN (RFC 3461 section 4.1); "" for none.
    notify: str = "FAILURE,DELAY"
    #: The token of a delivery, by its id: for `TOKEN_FIELD` in the bounce address.
    bounce_token: Callable[[int], str] | None = field(default=None, repr=False)
    connect_timeout: float = 30.0  #: each for lookup and connection, the TLS handshake, and the greeting
    reply_timeout: float = 300.0  #: for every reply but the last (RFC 5321 section 4.5.3.2 asks for 300)
    dot_timeout: float = 600.0  #: for the reply that says whether the message was accepted (also there)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password or token in every form in which it is sent; none may show up in an answer's text."""
        if self.token:
            secret, login = self.token, f"user={self.username}\1auth=Bearer {self.token}\1\1"
        else:
            secret, login = self.password, f"\0{self.username}\0{self.password}"
        if not secret:
            return ()
        return (secret, *(base64.b64encode(text.encode()).decode() for text in (secret, login)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A connection that is ready for messages, and what the server said it can do."""

    conversation: Conversation
    pipelining: bool  #: RFC 2920
    size: bool  #: RFC 1870: MAIL may say how large the message is
    max_size: int  #: bytes the server takes at most; 0 for no stated limit
    answer: Answer  #: the last reply, for people
    bounce_address: str = ""  #: as in the settings
    notify: str = ""  #: what reports to ask for; "" where the server has no DSN
    bounce_token: Callable[[int], str] | None = None  #: None if the bounce address has no place for one
    secrets: tuple[str, ...] = field(default=(), repr=False)  #: what must not show up in a reply's text


#: A dialogue with the server by aiosmtplib: its last reply.
Dialogue = Callable[[aiosmtplib.SMTP], Awaitable[aiosmtplib.SMTPResponse]]
#: What we call ourselves without a full name: an address literal, which every server accepts
#: (RFC 5321 4.1.4).
#: Many refuse a bare "localhost".
NO_NAME = "[127.0.0.1]"
_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
#: After STARTTLS the server does not greet again, and aiosmtplib waits for a greeting.
_GREETING = b"220 after STARTTLS\r\n"


class LoginRefused(Exception):
    """There is no connection; `answer` says why. No message was sent."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def tls_context(settings: SmtpSettings) -> ssl.SSLContext | None:
    """What certificates are checked against; None for `security = "none"`.

    Raises what `client_context` raises.
    """
    if settings.security == "none":
        return None
    return client_context(settings.ca_file)


async def ehlo_name() -> str:
    """The name for EHLO: the full name of this machine if the lookup finds one in time, or `NO_NAME`."""
    name = await own_name()
    known = _HOST_NAME.fullmatch(name) and not name.lower().startswith("localhost.")
    return name if known else NO_NAME


async def log_in(
    bridge: Bridge,
    connected: socket.socket,
    settings: SmtpSettings,
    context: ssl.SSLContext | None,
    local_hostname: str,
) -> Login:
    """Greet, secure and log in on a connected socket, which belongs to this call.

    Raises `LoginRefused`, and then leaves no open socket. Certificates are checked against the host's name.
    """
    attempt = _Attempt(bridge, Stream(connected), settings, local_hostname)
    try:
        return await attempt.run(context)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        # Not "from error": its text is the server's, and a server may quote the password.
        attempt.stream.close()
        raise LoginRefused(_answer(attempt.stage, error, settings.secrets)) from None
    except BaseException:
        attempt.stream.close()
        raise


@dataclass(frozen=True, slots=True)
class _Session:
    """The result of a dialogue with the server."""

    last: aiosmtplib.SMTPResponse
    extensions: Mapping[str, str]


class _Attempt:
    """One login under way; `stage` is how far it has come."""

    def __init__(self, bridge: Bridge, stream: Stream, settings: SmtpSettings, local_hostname: str) -> None:
        self.bridge = bridge
        self.stream = stream
        self.settings = settings
        self.local_hostname = local_hostname
        self.stage = Stage.CONNECT
        self._replies = ReplyReader(stream)
        self._garbage = ""  # what the server sent instead of a reply
        self._peer: object = None
        with suppress(OSError):  # it has closed; what it said before is still to be read
            self._peer = stream.peer

    async def run(self, context: ssl.SSLContext | None) -> Login:
        settings = self.settings
        if settings.security == "tls" and context is not None:
            self.stage = Stage.TLS
            with _limit(settings.connect_timeout):
                await self.stream.start_tls(context, settings.host)
            self.stage = Stage.CONNECT
        if settings.security == "starttls" and context is not None:
            await self._start_tls(await self._talk(self._greet), context)
            session = await self._talk(self._greet_and_log_in, greeting=_GREETING)
        else:
            session = await self._talk(self._greet_and_log_in)
        conversation = Conversation(self.stream, bytes(self._replies.unread))
        if self._replies.unread and not conversation.usable:  # this must not count against a message
            loss = conversation.loss
            text = one_line(str(loss), settings.secrets)
            raise LoginRefused(Answer(stage=self.stage, signal=loss.signal, text=text))
        limit = session.extensions.get("size", "").strip()
        notify = settings.notify if "dsn" in session.extensions else ""
        return Login(
            conversation=conversation,
            pipelining=settings.pipelining and "pipelining" in session.extensions,
            bounce_address=settings.bounce_address,
            notify=notify,
            bounce_token=settings.bounce_token if TOKEN_FIELD in settings.bounce_address else None,
            size="size" in session.extensions,
            max_size=int(limit) if limit.isascii() and limit.isdigit() else 0,
            answer=_reply_answer(self.stage, session.last.code, session.last.message, settings.secrets),
            secrets=settings.secrets,
        )

    async def _start_tls(self, session: _Session, context: ssl.SSLContext) -> None:
        """STARTTLS (RFC 3207)."""
        self.stage = Stage.TLS
        if "starttls" not in session.extensions:
            raise self._refused(502, "", "the server does not offer STARTTLS; nothing was sent")
        with _limit(self.settings.connect_timeout):
            try:
                reply, _ = await self._replies.ask(b"STARTTLS\r\n")
            except Garbage as problem:
                raise ConnectionError(f"the server sent {problem}") from None
            if reply.code != 220:
                secrets = self.settings.secrets
                raise LoginRefused(_reply_answer(self.stage, reply.code, reply.text, secrets, refused=True))
            # What came after the 220 in clear text is discarded, or it would be taken for something sent
            # inside TLS (RFC 3207 section 4.2).
            self._replies = ReplyReader(self.stream)
            await self.stream.start_tls(context, self.settings.host)

    async def _talk(self, dialogue: Dialogue, greeting: bytes = b"") -> _Session:
        """Have aiosmtplib talk to the server. `greeting` is what it gets if the server greeted before."""
        await trio.lowlevel.checkpoint()
        ours, theirs = socket.socketpair()
        try:
            theirs.setblocking(False)
            ours.sendall(greeting)
            pipe = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_on, pipe, bool(greeting))
                try:
                    session: _Session | Exception = await self.bridge.ask(self._session, theirs, dialogue)
                except Exception as error:  # raised below: a nursery would wrap it in a group
                    session = error
                nursery.cancel_scope.cancel()
            if self._garbage:
                stage = Stage.BANNER if self.stage is Stage.CONNECT else self.stage
                raise LoginRefused(Answer(stage=stage, signal=Signal.GARBAGE, text=self._garbage))
            if isinstance(session, Exception):
                raise session
            return session
        finally:
            ours.close()
            theirs.close()

    async def _pass_on(self, pipe: trio.SocketStream, greeted: bool) -> None:
        """Pass each command of aiosmtplib on to the server, and one reply to each back."""
        try:
            if not greeted:
                await pipe.send_all((await self._replies.next())[1])
            while command := await pipe.receive_some():
                await pipe.send_all((await self._replies.ask(command))[1])
        except trio.Cancelled:
            # asyncio can lose a cancellation (wait_for before Python 3.12), but not the end of a connection.
            pipe.socket.close()
            raise
        except Garbage as problem:
            self._garbage = f"the server sent {problem}"
            await pipe.aclose()
        except (OSError, trio.BrokenResourceError):  # one of the two has closed
            await pipe.aclose()

    # -- on the loop of the bridge -------------------------------------------------------------------

    async def _session(self, connected: socket.socket, dialogue: Dialogue) -> _Session:
        client = aiosmtplib.SMTP(
            sock=connected,
            timeout=self.settings.reply_timeout,
            use_tls=False,
            start_tls=False,
            local_hostname=self.local_hostname,
        )
        try:
            await client.connect(timeout=self.settings.connect_timeout)
            last = await dialogue(client)
            return _Session(last, dict(client.esmtp_extensions))
        finally:
            if client.transport is not None:
                cast(asyncio.Transport, client.transport).abort()
            client.close()

    async def _greet_and_log_in(self, client: aiosmtplib.SMTP) -> aiosmtplib.SMTPResponse:
        last = await self._greet(client)
        if not self.settings.username:
            return last
        self.stage = Stage.AUTH
        return await self._authenticate(client)

    async def _greet(self, client: aiosmtplib.SMTP) -> aiosmtplib.SMTPResponse:
        """EHLO; HELO for servers from before ESMTP, when we need none of its extensions."""
        self.stage = Stage.EHLO
        try:
            return await client.ehlo()
        except aiosmtplib.SMTPHeloError as refusal:
            plain = self.settings.security == "none" and not self.settings.username
            if not plain or refusal.code not in (500, 502):
                raise
        return await client.helo()

    async def _authenticate(self, client: aiosmtplib.SMTP) -> aiosmtplib.SMTPResponse:
        """Log in by one method, once: a second try with the same password only hastens a lockout."""
        username, password = self.settings.username, self.settings.password
        if not self.stream.secured and not is_loopback_peer(self._peer or self.stream.peer):
            raise self._refused(538, "5.7.11", "a password is only sent over TLS; it was not sent")
        offered = client.server_auth_methods
        if self.settings.token:
            if "xoauth2" in offered:
                return await client.auth_xoauth2(username, self.settings.token)
            raise self._refused(504, "5.7.4", "the server does not offer XOAUTH2")
        if "plain" in offered:
            return await client.auth_plain(username, password)
        if "login" in offered:
            return await client.auth_login(username, password)
        if "cram-md5" in offered:
            return await client.auth_crammd5(username, password)
        names = " ".join(offered).upper()
        problem = f"only unsupported ways to log in: {names}" if names else "no way to log in"
        raise self._refused(504, "5.7.4", f"the server offers {problem}")

    def _refused(self, code: int, enhanced: str, text: str) -> LoginRefused:
        answer = Answer(stage=self.stage, code=code, enhanced=enhanced, text=one_line(text))
        return LoginRefused(answer)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` when the block takes longer."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise TimeoutError from None


def _answer(stage: Stage, error: Exception, secrets: tuple[str, ...]) -> Answer:
    """What an exception of aiosmtplib, ssl or the socket means: the only place that knows them."""
    cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = one_line(f"certificate verify failed: {cause.verify_message or cause.reason}")
        return Answer(stage=Stage.TLS, signal=Signal.GARBAGE, text=text)
    if isinstance(cause, ssl.SSLError):
        text = one_line(f"the TLS handshake failed: {cause.reason or 'no reason given'}")
        return Answer(stage=Stage.TLS, signal=Signal.DROPPED, text=text)
    if isinstance(error, aiosmtplib.SMTPConnectError) and isinstance(cause, aiosmtplib.SMTPException):
        stage = Stage.BANNER  # it was connected; what failed is the greeting
    if isinstance(error, aiosmtplib.SMTPResponseException):
        if stage is Stage.CONNECT:
            stage = Stage.BANNER
        return _reply_answer(stage, error.code, error.message, secrets, refused=True)
    if isinstance(error, TimeoutError):
        return Answer(stage=stage, signal=Signal.TIMEOUT, text="the server did not answer in time")
    if isinstance(error, aiosmtplib.SMTPServerDisconnected) or stage is Stage.BANNER:
        return Answer(stage=stage, signal=Signal.DROPPED, text="the server closed the connection")
    if isinstance(cause, OSError):
        return Answer(stage=stage, signal=Signal.DROPPED, text=one_line(_why(cause)))
    text = one_line("the server sent something that is not an SMTP reply")
    return Answer(stage=stage, signal=Signal.GARBAGE, text=text)


def _reply_answer(
    stage: Stage, code: int, text: str, secrets: tuple[str, ...], *, refused: bool = False
) -> Answer:
    reply = Reply(code, " ".join(text.split("\n")))
    honest = 400 <= code <= 599 if refused else 200 <= code <= 599
    return Answer(
        stage=stage,
        signal=Signal.REPLY if honest else Signal.GARBAGE,
        code=max(code, 0),
        enhanced=reply.enhanced,
        text=one_line(reply.text, secrets),
        verbatim=code > 0,
    )


def _why(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
