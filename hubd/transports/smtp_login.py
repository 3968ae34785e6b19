"""From a TCP connection to a logged-in SMTP connection: greeting, TLS, EHLO, AUTH, by aiosmtplib.

Runs in asyncio's flavour, through `Bridge.ask`. Everything that can go wrong becomes an `Answer` here, at one
seam (`_answer`); no aiosmtplib exception goes further. How the particular cases look:

- certificate not accepted: stage TLS, signal GARBAGE, text "certificate verify failed: ...". No other failure
  has stage TLS and signal GARBAGE.
- any other broken handshake: stage TLS, signal DROPPED (or TIMEOUT).
- STARTTLS required and not offered: stage TLS, code 502, and nothing was sent.
- the password would travel in clear text: stage AUTH, code 538, and it was not sent.
- no way to log in that both sides know: stage AUTH, code 504.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import aiosmtplib

from hubd.bridge import Bridge
from hubd.core.model import Answer, Signal, Stage
from hubd.errors import BadConfig
from hubd.transports.loopback import is_loopback_peer
from hubd.transports.pipeline import Conversation
from hubd.transports.replies import Reply, one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """How to reach one SMTP server. Timeouts are in seconds."""

    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""  #: "" for no login
    password: str = field(default="", repr=False)
    connections: int = 8
    ca_file: Path | None = None  #: trust the certificates in this PEM file instead of the system's
    local_hostname: str = ""  #: what we call ourselves in EHLO; "" for this machine's name
    connect_timeout: float = 30.0  #: for the lookup and the connection, the TLS handshake, and the greeting
    reply_timeout: float = 300.0  #: for every reply but the last (RFC 5321 section 4.5.3.2 asks for 300)
    dot_timeout: float = 600.0  #: for the reply that says whether the message was accepted (also there)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password in every form in which it travels; none of them may show up in an answer's text."""
        if not self.password:
            return ()
        plain = f"\0{self.username}\0{self.password}"
        encoded = (base64.b64encode(text.encode()).decode() for text in (self.password, plain))
        return (self.password, *encoded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A connection that is ready for messages, and what the server said it can do."""

    conversation: Conversation
    pipelining: bool  #: RFC 2920
    size: bool  #: RFC 1870: MAIL may say how large the message is
    max_size: int  #: octets the server takes at most; 0 for no stated limit
    answer: Answer  #: the last reply, for people
    secrets: tuple[str, ...] = field(default=(), repr=False)  #: what must not show up in a reply's text


class LoginRefused(Exception):
    """There is no connection; `answer` says why. Certainly nothing was sent."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def tls_context(settings: SmtpSettings) -> ssl.SSLContext | None:
    """What certificates are judged by; None for `security = "none"`.

    Raises `BadConfig` for a ca_file that cannot be used, and `OSError` when the system's certificates cannot
    be read, for want of descriptors for instance.
    """
    if settings.security == "none":
        return None
    if settings.ca_file is not None:
        try:
            return ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ValueError) as problem:
            raise BadConfig(
                f"the ca_file of the SMTP provider cannot be used: {_why(problem)}",
                hint="It must be a readable file with certificates in PEM form.",
            ) from None
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:  # slim containers come without certificates
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    context = ssl.create_default_context()
    if paths.cafile is not None and not context.cert_store_stats()["x509_ca"]:
        # OpenSSL does not mind when it cannot open the system's file, for want of a descriptor for instance.
        # Then every certificate would look forged. To name the file makes it tell.
        context.load_verify_locations(cafile=paths.cafile)
    return context


async def log_in_over(
    bridge: Bridge,
    sock: socket.socket,
    settings: SmtpSettings,
    context: ssl.SSLContext | None,
    local_hostname: str,
) -> Login:
    """`log_in` from Trio. The socket is closed also when this is cancelled before asyncio knows of it."""
    begun = False

    async def begin() -> Login:
        nonlocal begun
        begun = True
        return await log_in(sock, settings, context, local_hostname)

    try:
        return await bridge.ask(begin)
    finally:
        if not begun:
            sock.close()


async def log_in(
    sock: socket.socket, settings: SmtpSettings, context: ssl.SSLContext | None, local_hostname: str
) -> Login:
    """Greet, secure and log in on a connected socket (asyncio flavour), which belongs to this call.

    Raises `LoginRefused`; leaves no open socket then. Certificates are checked against the host's name.
    """
    client = aiosmtplib.SMTP(
        hostname=settings.host,
        sock=sock,
        timeout=settings.reply_timeout,
        use_tls=settings.security == "tls",
        start_tls=False,  # done below, so that each stage can be told from the others
        tls_context=context,
        local_hostname=local_hostname,
    )
    attempt = _Attempt(settings, client)
    try:
        return await attempt.run(context)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        # Not "from error": its words are the server's, and a server may quote the password.
        raise LoginRefused(_answer(attempt.stage, error, settings.secrets)) from None
    finally:
        if not attempt.done:
            if client.transport is not None:
                cast(asyncio.Transport, client.transport).abort()
            client.close()


class _Attempt:
    """One login on its way; `stage` is how far it has come."""

    def __init__(self, settings: SmtpSettings, client: aiosmtplib.SMTP) -> None:
        self.settings = settings
        self.client = client
        self.stage = Stage.CONNECT
        self.done = False

    async def run(self, context: ssl.SSLContext | None) -> Login:
        settings, client = self.settings, self.client
        await client.connect(timeout=settings.connect_timeout)
        last = await self._greet()
        if settings.security == "starttls":
            self.stage = Stage.TLS
            if not client.supports_extension("starttls"):
                raise self._refused(502, "", "the server does not offer STARTTLS; nothing was sent")
            await client.starttls(tls_context=context, timeout=settings.connect_timeout)
            last = await self._greet()
        if settings.username:
            self.stage = Stage.AUTH
            last = await self._authenticate()
        extensions = client.esmtp_extensions
        limit = extensions.get("size", "").strip()
        # From here no await until the protocol is exchanged: the loss of the connection must not be missed.
        conversation = Conversation(cast(asyncio.Transport, client.transport))
        self.done = True
        return Login(
            conversation=conversation,
            pipelining="pipelining" in extensions,
            size="size" in extensions,
            max_size=int(limit) if limit.isascii() and limit.isdigit() else 0,
            answer=_reply_answer(self.stage, last.code, last.message, settings.secrets),
            secrets=settings.secrets,
        )

    async def _greet(self) -> aiosmtplib.SMTPResponse:
        """EHLO; HELO for servers from before ESMTP, when we need none of its extensions."""
        self.stage = Stage.EHLO
        try:
            return await self.client.ehlo()
        except aiosmtplib.SMTPHeloError as refusal:
            plain = self.settings.security == "none" and not self.settings.username
            if not plain or refusal.code not in (500, 502):
                raise
        return await self.client.helo()

    async def _authenticate(self) -> aiosmtplib.SMTPResponse:
        """Log in by one method, once: a second try with the same password only hastens a lockout."""
        client, username, password = self.client, self.settings.username, self.settings.password
        if client.get_transport_info("sslcontext") is None and not is_loopback_peer(
            client.get_transport_info("peername")
        ):
            raise self._refused(538, "5.7.11", "a password is only sent over TLS; it was not sent")
        offered = client.server_auth_methods
        if "plain" in offered:
            return await client.auth_plain(username, password)
        if "login" in offered:
            return await client.auth_login(username, password)
        if "cram-md5" in offered:
            return await client.auth_crammd5(username, password)
        names = " ".join(offered).upper()
        problem = f"only ways to log in that are not supported: {names}" if names else "no way to log in"
        raise self._refused(504, "5.7.4", f"the server offers {problem}")

    def _refused(self, code: int, enhanced: str, text: str) -> LoginRefused:
        answer = Answer(stage=self.stage, code=code, enhanced=enhanced, text=one_line(text))
        return LoginRefused(answer)


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
        stage = Stage.BANNER  # the connection stood; what failed is the greeting
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
    )


def _why(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
