"""Email over SMTP: one account, some connections to it, pipelined where the server allows.

A message goes in two steps. `prepare` says MAIL, RCPT and DATA: whatever fails up to the server's 354 is
certain not to have been accepted. `deliver` writes the body and the dot that ends it; from that byte on only
the reply tells, and when it is lost the message is in doubt. With PIPELINING (RFC 2920) `deliver` also writes
the envelope of the message that follows, so that a connection needs one write and one wait per message.

A connection is only kept when both sides are certain to agree about what is next; otherwise it is cut, and
the next `prepare` opens another. An announced envelope is never ended by a dot, save where RFC 2920 asks for
it: after a 354 although the recipient was refused.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from hubd.bridge import Bridge
from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.errors import CredentialMissing
from hubd.failpoints import reach
from hubd.transports.pipeline import Lost
from hubd.transports.replies import Reply, one_line
from hubd.transports.secret_reader import SecretReader, unreadable_secret
from hubd.transports.smtp_envelope import (
    ENVELOPE,
    body_pieces,
    envelope,
    same_envelope,
    too_large,
    unfit,
)
from hubd.transports.smtp_login import Login, LoginRefused, SmtpSettings, ehlo_name, log_in, tls_context
from hubd.transports.tcp_connect import NotConnected, connect

__all__ = ["SmtpConnection", "SmtpSettings", "SmtpTransport", "open_smtp"]

#: Seconds that a polite goodbye may take.
GOODBYE = 2.0


def open_smtp(
    name: str, settings: SmtpSettings, bridge: Bridge, read_password: SecretReader | None = None
) -> SmtpTransport:
    """A transport for one SMTP account. Connects to nothing yet. Raises `BadConfig` for a bad `ca_file`.

    `read_password` is called at each login; without it the password is that of the settings.
    """
    return SmtpTransport(name, settings, bridge, read_password)


class SmtpTransport:
    """One SMTP account. Get one from `open_smtp`; close it before the bridge."""

    kind = "smtp"
    channels = frozenset({Channel.EMAIL})
    in_doubt = InDoubt.RETRY
    account = ""
    talks_first = True  #: up to the 354 reply: connection, login and envelope

    def __init__(
        self, name: str, settings: SmtpSettings, bridge: Bridge, read_password: SecretReader | None = None
    ) -> None:
        self.name = name
        self.connections = settings.connections
        self.settings = settings
        self._read_password = read_password
        self._bridge = bridge
        self._context = tls_context(settings)
        self._local_hostname = settings.local_hostname
        self.largest_message: int | None = None  #: as the last login said; None: no login yet, or no limit
        self._open: set[SmtpConnection] = set()
        self._closed = False

    def connection(self) -> SmtpConnection:
        """One connection, not connected yet."""
        return SmtpConnection(self)

    async def probe(self) -> Answer:
        """Log in, send nothing, say goodbye. A reply below 400 means that the account can be used."""
        connection = self.connection()
        try:
            return await connection.connect()
        finally:
            await connection.aclose()

    async def aclose(self) -> None:
        """End every connection; those in the middle of something are cut."""
        self._closed = True
        async with trio.open_nursery() as nursery:
            for connection in list(self._open):
                nursery.start_soon(connection.aclose)

    async def log_in(self, connection: SmtpConnection) -> Login:
        """Open a fresh connection. Raises `LoginRefused`."""
        settings = await self._settings_now()
        if not self._local_hostname:
            self._local_hostname = await ehlo_name()
        try:
            sock = await connect(settings.host, settings.port, settings.connect_timeout)
        except NotConnected as failure:
            raise LoginRefused(failure.answer) from None
        login = await log_in(self._bridge, sock, settings, self._context, self._local_hostname)
        if self._closed:
            login.conversation.abort()
            raise LoginRefused(
                Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text="the provider is being closed")
            )
        self._open.add(connection)
        self.largest_message = login.max_size or None
        return login

    async def _settings_now(self) -> SmtpSettings:
        """The settings with the password as it is now. Raises `LoginRefused` when it cannot be read."""
        if self._read_password is None:
            return self.settings
        try:
            return replace(self.settings, password=await self._read_password())
        except CredentialMissing as problem:
            raise LoginRefused(unreadable_secret(problem, Stage.AUTH, 535)) from None

    def forget(self, connection: SmtpConnection) -> None:
        """It is not connected any more."""
        self._open.discard(connection)


class SmtpConnection:
    """One connection to the account, opened when first needed. Used by one task at a time."""

    def __init__(self, transport: SmtpTransport) -> None:
        self._transport = transport
        self._timeouts = transport.settings
        self._login: Login | None = None
        # its MAIL, RCPT and DATA are written, the replies not read
        self._announced: RenderedMessage | None = None
        self._ready: RenderedMessage | None = None  # the server waits for its body
        self._stale = False  # the server may still hold a transaction: RSET before the next MAIL
        self._secrets: tuple[str, ...] = ()  # what this connection logged in with

    @property
    def connected(self) -> bool:
        """Whether a connection stands, logged in."""
        return self._login is not None and self._login.conversation.usable

    async def connect(self) -> Answer:
        """Connect and log in; the server's last word."""
        try:
            login = await self._transport.log_in(self)
        except LoginRefused as refusal:
            return refusal.answer
        self._login, self._secrets = login, login.secrets
        return login.answer

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Connect if need be and say MAIL, RCPT, DATA. None: ready. An answer: certainly not accepted.

        A kept connection that turns out to be dead, silent or closing (421) is replaced once, silently.
        """
        if self._announced is not rendered and (refusal := unfit(rendered)):
            return refusal
        try:
            return await self._prepare(rendered)
        except BaseException:
            self.drop()
            raise

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Write the body and the dot, and wait for the verdict. Any 2xx is an acceptance (RFC 5321 4.2).

        The envelope of `following` travels in the same write when the server allows. Cancellation cuts the
        connection: the message is in doubt then.
        """
        try:
            return await self._deliver(rendered, following)
        except BaseException:
            self.drop()
            raise

    def waits(self, rendered: RenderedMessage) -> bool:
        """Anything but: it was announced, every reply is here, and all of them let it pass."""
        if self._login is None or self._announced is None or not same_envelope(self._announced, rendered):
            return True
        return not self._login.conversation.smooth

    def drop(self) -> None:
        """Cut the connection at once. What was announced ends with it."""
        if self._login is not None:
            self._login.conversation.abort()
        self._login = self._announced = self._ready = None
        self._stale = False
        self._transport.forget(self)

    async def aclose(self) -> None:
        """Say QUIT if nothing is under way and wait for at most two seconds; then cut."""
        login = self._login
        try:
            if login is not None and self._announced is None and self._ready is None:
                conversation = login.conversation
                if conversation.quiet:
                    conversation.write(b"QUIT\r\n", replies=1)
                    await conversation.reply(GOODBYE)
        except Lost:
            pass  # it is gone either way
        finally:
            self.drop()

    # -- the envelope --------------------------------------------------------------------------------

    async def _prepare(self, rendered: RenderedMessage) -> Answer | None:
        if self._login is not None and not self._can_take(rendered):
            self.drop()
        reused = self._login is not None
        while True:
            if self._login is None:
                greeting = await self.connect()
                if self._login is None:
                    return greeting
            if self._ready is not None:
                return None
            if refusal := too_large(rendered, self._login):
                return refusal
            refusal = await self._envelope(rendered, self._login)
            if refusal is None or not reused or not _broken(refusal):
                return refusal
            self.drop()
            reused = False

    def _can_take(self, rendered: RenderedMessage) -> bool:
        """Whether the connection stands where this message's envelope may begin or has begun.

        If it has begun, its replies tell whether the connection still lives; a refusal among them counts.
        """
        if self._login is None:
            return False
        conversation, begun = self._login.conversation, self._announced or self._ready
        if begun is None:
            return conversation.quiet
        return (conversation.was_usable or conversation.refused) and same_envelope(begun, rendered)

    async def _envelope(self, rendered: RenderedMessage, login: Login) -> Answer | None:
        """Say MAIL, RCPT, DATA, unless that was done before, and read the replies.

        The first refusal is the answer. It leaves the connection fit for the next message, or drops it.
        """
        conversation = login.conversation
        announced, self._announced = self._announced is not None, None
        at_once = login.pipelining or announced
        stages: tuple[Stage | None, ...] = ENVELOPE
        lines: list[bytes] = []
        if not announced:
            data = envelope(rendered, login)
            if self._stale:
                stages, data = (None, *stages), b"RSET\r\n" + data
            lines = data.splitlines(keepends=True)
            if at_once:
                conversation.write(data, replies=len(lines))
        refusal: Answer | None = None
        rcpt_refused = go_ahead = False
        for number, stage in enumerate(stages):
            if not at_once:
                conversation.write(lines[number], replies=1)
            try:
                reply = await conversation.reply(self._timeouts.reply_timeout)
            except Lost as lost:
                refusal = refusal or self._lost(stage or Stage.MAIL, lost)
                self.drop()
                return refusal
            if stage is None and not 200 <= reply.code <= 299:
                self.drop()  # it does not even reset: no answer about this message
                return Answer(stage=Stage.MAIL, signal=Signal.DROPPED, text=self._words(reply))
            wanted = 3 if stage is Stage.DATA else 2
            if reply.code // 100 == wanted:
                go_ahead = stage is Stage.DATA
                continue
            refusal = refusal or self._refusal(stage or Stage.MAIL, reply)
            rcpt_refused = rcpt_refused or stage is Stage.RCPT
            if reply.code == 421 or reply.code < 400:
                self.drop()
                return refusal
            if not at_once:
                break
        if refusal is None and not conversation.was_quiet:  # `deliver` looks once more before the body
            self.drop()
            return self._lost(Stage.DATA, conversation.loss)
        if refusal is None:
            self._ready, self._stale = rendered, False
        elif not go_ahead:
            self._stale = True
        elif rcpt_refused:
            await self._lone_dot(login)
        else:
            self.drop()  # a dot might send an empty message to a recipient that was accepted
        return refusal

    async def _lone_dot(self, login: Login) -> None:
        """End a DATA that was granted although the recipient was refused (RFC 2920 section 3.1)."""
        login.conversation.write(b".\r\n", replies=1)
        try:
            reply = await login.conversation.reply(self._timeouts.dot_timeout)
        except Lost:
            self.drop()
            return
        if reply.code < 400 or reply.code == 421:
            self.drop()
        else:
            self._stale = True

    # -- the body ------------------------------------------------------------------------------------

    async def _deliver(self, rendered: RenderedMessage, following: RenderedMessage | None) -> Answer:
        login, ready = self._login, self._ready
        if login is None or ready is None or not same_envelope(ready, rendered):
            self.drop()
            return Answer(
                stage=Stage.BODY, signal=Signal.DROPPED, text="the connection was closed before the body"
            )
        conversation = login.conversation
        *pieces, rest = body_pieces(rendered)
        try:
            for piece in pieces:
                conversation.write(piece, replies=0)
                await conversation.room(self._timeouts.reply_timeout)
            if not conversation.usable:
                raise conversation.loss
        except Lost as lost:
            self.drop()
            if conversation.stray is not None and conversation.stray.code >= 400:
                return self._refusal(Stage.BODY, conversation.stray)
            return self._lost(Stage.BODY, lost)
        announcement = self._announcement(following, login)
        self._ready = None
        reach("before_dot")
        conversation.write(rest + announcement, replies=1 + announcement.count(b"\n"))
        reach("after_dot")
        if announcement:
            self._announced = following
        try:
            reply = await conversation.reply(self._timeouts.dot_timeout)
        except Lost as lost:
            self.drop()
            return self._lost(Stage.DOT, lost)
        if 200 <= reply.code <= 299:
            return Answer(
                stage=Stage.DOT,
                code=reply.code,
                enhanced=reply.enhanced,
                text=self._words(reply),
                provider_id=reply.queue_id,
            )
        if reply.code == 421 or reply.code < 400:
            self.drop()
        return self._refusal(Stage.DOT, reply)

    def _announcement(self, following: RenderedMessage | None, login: Login) -> bytes:
        """The envelope that may travel with a body: none without PIPELINING, or for an unfit message."""
        if following is None or not login.pipelining:
            return b""
        if unfit(following) or too_large(following, login):
            return b""
        return envelope(following, login)

    # -- answers -------------------------------------------------------------------------------------

    def _refusal(self, stage: Stage, reply: Reply) -> Answer:
        """A reply that does not let the message pass. A positive one in the wrong place is garbage."""
        return Answer(
            stage=stage,
            signal=Signal.REPLY if reply.code >= 400 else Signal.GARBAGE,
            code=reply.code,
            enhanced=reply.enhanced,
            text=self._words(reply),
        )

    def _lost(self, stage: Stage, lost: Lost) -> Answer:
        return Answer(stage=stage, signal=lost.signal, text=one_line(str(lost), self._secrets))

    def _words(self, reply: Reply) -> str:
        return one_line(reply.text, self._secrets)


def _broken(refusal: Answer) -> bool:
    """Whether an answer is about the connection and not about the message."""
    return refusal.signal in (Signal.DROPPED, Signal.TIMEOUT) or refusal.code == 421
