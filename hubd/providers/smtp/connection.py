"""One SMTP connection: envelopes, bodies and replies, pipelined where the server allows.

A message goes in two steps. `prepare` sends MAIL, RCPT and DATA: a message that fails before the server's
354 was certainly not accepted. `deliver` writes the body and the dot that ends it; from that byte on only the
reply tells, and when it is lost the message is in doubt. With PIPELINING (RFC 2920) `deliver` also writes the
envelope of the message that follows, so that a connection needs one write and one wait per message.

A connection is only kept when both sides are certain to agree about what comes next; otherwise it is cut, and
the next `prepare` opens another. An announced envelope is never ended by a dot, except where RFC 2920 asks
for it: after a 354 although the recipient was refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import trio

from hubd.core.model import Answer, RenderedMessage, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.failpoints import reach
from hubd.providers.smtp.dsn import Dsn
from hubd.providers.smtp.envelope import (
    ENVELOPE,
    PASSED,
    body_pieces,
    envelope,
    same_envelope,
    too_large,
    unfit,
)
from hubd.providers.smtp.login import Login, LoginRefused, SmtpSettings
from hubd.providers.smtp.pipeline import Lost
from hubd.providers.smtp.pipelining import UNPROVEN_TIMEOUT, Pipelining
from hubd.providers.smtp.replies import Reply

#: Seconds that a polite goodbye may take.
GOODBYE = 2.0


class Account(Protocol):
    """The account that a connection belongs to."""

    @property
    def settings(self) -> SmtpSettings: ...
    @property
    def pipelining(self) -> Pipelining: ...
    @property
    def dsn(self) -> Dsn: ...
    async def log_in(self, connection: SmtpConnection) -> Login:
        """Open a fresh connection. Raises `LoginRefused`."""
        ...

    def forget(self, connection: SmtpConnection) -> None:
        """Note that it is not connected any more."""
        ...


class SmtpConnection:
    """One connection to the account, opened when first needed. Used by one task at a time."""

    def __init__(self, transport: Account) -> None:
        self._transport = transport
        self._pipelining = transport.pipelining
        self._dsn = transport.dsn
        self._timeouts = transport.settings
        self._login: Login | None = None
        # its MAIL, RCPT and DATA have been written, but the replies not read
        self._announced: RenderedMessage | None = None
        self._ready: RenderedMessage | None = None  # the server waits for its body
        self._stale = False  # the server may still hold a transaction: RSET before the next MAIL
        self._unproven_wait = False  # the last envelope's silence was not waited for
        self._slowest = 0.0  # seconds for a reply to a single command
        self._suspicious = False  # PIPELINING may have caused the last refusal of an envelope
        self._notify = ""  # the reports that the last envelope asked for
        self._plain = False  # this envelope asks for no reports, to see whether the server refused those
        self._secrets: tuple[str, ...] = ()  # what this connection logged in with

    @property
    def connected(self) -> bool:
        """Whether it is connected and logged in."""
        return self._login is not None and self._login.conversation.usable

    async def connect(self) -> Answer:
        """Connect and log in. Returns the server's last reply."""
        try:
            login = await self._transport.log_in(self)
        except LoginRefused as refusal:
            return refusal.answer
        self._login, self._secrets = login, login.secrets
        return login.answer

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Connect if needed and send MAIL, RCPT, DATA. None: ready. An answer: certainly not accepted.

        A kept connection that turns out to be dead, silent or closing (421) is replaced once, silently.
        """
        if self._announced is rendered:
            if self._passed(rendered):
                return None
        elif refusal := unfit(rendered):
            return refusal
        try:
            return await self._prepare(rendered)
        except BaseException:
            self.drop()
            raise

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Write the body and the dot, and wait for the verdict. Any 2xx is an acceptance (RFC 5321 4.2).

        The envelope of `following` goes in the same write when the server allows it. Cancellation cuts the
        connection, and the message is in doubt.
        """
        try:
            return await self._deliver(rendered, following)
        except BaseException:
            self.drop()
            raise

    def waits(self, rendered: RenderedMessage) -> bool:
        """Always, unless it was announced, and all replies have come and let it pass."""
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
        """Send QUIT if nothing is under way and wait for at most two seconds; then cut."""
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

    def _passed(self, announced: RenderedMessage) -> bool:
        """Whether the server has already accepted an announced envelope, as it usually has."""
        if self._login is None or not self._login.conversation.take(PASSED):
            return False
        self._announced, self._ready = None, announced
        self._stale = self._suspicious = False
        self._pipelining.answered(announced=True)
        return True

    async def _prepare(self, rendered: RenderedMessage) -> Answer | None:
        if self._login is not None and not self._can_take(rendered):
            if self._announced is not None and not self._login.conversation.was_usable:
                self._pipelining.lost_announced()
            self.drop()
        self._plain = False
        refusal = await self._accepted_envelope(rendered)
        if refusal is None or not self._notify or not self._dsn.suspects(refusal):
            return refusal
        self._plain = True
        before, refusal = refusal, await self._accepted_envelope(rendered)
        self._plain = False
        self._dsn.tried_without(before, refusal)
        return refusal

    async def _accepted_envelope(self, rendered: RenderedMessage) -> Answer | None:
        """Have the envelope accepted, on this connection or, if it turns out to be useless, another."""
        reused = self._login is not None
        suspicion: Answer | None = None
        while True:
            if self._login is None:
                greeting = await self.connect()
                if self._login is None:
                    return greeting
            if self._ready is not None:
                return None
            if refusal := too_large(rendered, self._login):
                return refusal
            if suspicion is not None:
                return await self._one_by_one(rendered, self._login, suspicion)
            refusal = await self._envelope(rendered, self._login)
            if refusal is None:
                return None
            if self._suspicious:
                suspicion = refusal
            elif not reused or not _broken(refusal):
                return refusal
            self.drop()
            reused = False

    def _lines(self, rendered: RenderedMessage, login: Login) -> bytes:
        """The envelope of a message, as this server accepts it."""
        if login.notify and (self._plain or not self._dsn.usable):
            login = replace(login, notify="")
        self._notify = login.notify
        return envelope(rendered, login)

    def _can_take(self, rendered: RenderedMessage) -> bool:
        """Whether this message's envelope may begin on the connection, or has begun.

        If it has begun, its replies tell whether the connection is alive; a refusal among them counts.
        """
        if self._login is None:
            return False
        conversation, begun = self._login.conversation, self._announced or self._ready
        if begun is None:
            return conversation.quiet
        return (conversation.was_usable or conversation.refused) and same_envelope(begun, rendered)

    async def _envelope(self, rendered: RenderedMessage, login: Login) -> Answer | None:
        """Send MAIL, RCPT, DATA, unless that was done before, and read the replies.

        The first refusal is the answer. The connection is ready for the next message then, or is dropped.
        """
        announced, self._announced = self._announced is not None, None
        at_once = announced or (login.pipelining and self._pipelining.usable)
        refusal, answered = await self._ask(rendered, login, announced=announced, at_once=at_once)
        self._suspicious = (
            at_once
            and refusal is not None
            and self._pipelining.suspects(refusal, announced=announced, impatient=self._unproven_wait)
        )
        if at_once and not self._suspicious and answered >= len(ENVELOPE):
            self._pipelining.answered(announced=announced)
        return refusal

    async def _one_by_one(self, rendered: RenderedMessage, login: Login, suspicion: Answer) -> Answer | None:
        """Send it without PIPELINING, to see whether that was what the server refused."""
        self._slowest = 0.0
        refusal, _ = await self._ask(rendered, login, announced=False, at_once=False)
        self._pipelining.tried_without(suspicion, refusal, slowest=self._slowest)
        return refusal

    async def _ask(
        self, rendered: RenderedMessage, login: Login, *, announced: bool, at_once: bool
    ) -> tuple[Answer | None, int]:
        """The first refusal of an envelope, and how many of its commands were answered."""
        conversation = login.conversation
        stages: tuple[Stage | None, ...] = ENVELOPE
        lines: list[bytes] = []
        if not announced:
            data = self._lines(rendered, login)
            if self._stale:
                stages, data = (None, *stages), b"RSET\r\n" + data
            lines = data.splitlines(keepends=True)
            if at_once:
                conversation.write(data, replies=len(lines))
        refusal: Answer | None = None
        rcpt_refused = go_ahead = False
        timeout = self._timeouts.reply_timeout
        self._unproven_wait = False
        proven = not at_once or self._pipelining.proven(announced=announced)
        for number, stage in enumerate(stages):
            if not at_once:
                conversation.write(lines[number], replies=1)
                asked = trio.current_time()
            elif not proven and (announced or number) and timeout > UNPROVEN_TIMEOUT:
                timeout, self._unproven_wait = UNPROVEN_TIMEOUT, True
            try:
                reply = await conversation.reply(timeout)
            except Lost as lost:
                refusal = refusal or self._lost(stage or Stage.MAIL, lost)
                self.drop()
                return refusal, number
            if not at_once:
                self._slowest = max(self._slowest, trio.current_time() - asked)
            if stage is None and not 200 <= reply.code <= 299:
                self.drop()  # it refuses even RSET: no answer about this message
                text = f"{reply.code} {self._words(reply)}"
                answer = Answer(stage=Stage.MAIL, signal=Signal.DROPPED, text=text, verbatim=True)
                return answer, number + 1
            wanted = 3 if stage is Stage.DATA else 2
            if reply.code // 100 == wanted:
                go_ahead = stage is Stage.DATA
                continue
            refusal = refusal or self._refusal(stage or Stage.MAIL, reply)
            rcpt_refused = rcpt_refused or stage is Stage.RCPT
            if reply.code == 421 or reply.code < 400:
                self.drop()
                return refusal, number + 1
            if not at_once:
                break
        if refusal is None and not conversation.was_quiet:  # `deliver` checks again before the body
            self.drop()
            return self._lost(Stage.DATA, conversation.loss), len(stages)
        if refusal is None:
            self._ready, self._stale = rendered, False
        elif not go_ahead:
            self._stale = True
        elif rcpt_refused:
            await self._lone_dot(login)
        else:
            self.drop()  # a dot might send an empty message to a recipient that was accepted
        return refusal, len(stages)

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
                await conversation.drain(self._timeouts.reply_timeout)
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
        conversation.write(rest + announcement, replies=1 + len(ENVELOPE) if announcement else 1)
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
                verbatim=True,
                provider_id=reply.queue_id,
            )
        if reply.code == 421 or reply.code < 400:
            self.drop()
        return self._refusal(Stage.DOT, reply)

    def _announcement(self, following: RenderedMessage | None, login: Login) -> bytes:
        """The envelope that may travel with a body: none without PIPELINING, or for an unfit message."""
        if following is None or not (login.pipelining and self._pipelining.usable):
            return b""
        if unfit(following) or too_large(following, login):
            return b""
        return self._lines(following, login)

    # -- answers -------------------------------------------------------------------------------------

    def _refusal(self, stage: Stage, reply: Reply) -> Answer:
        """The answer for a reply that refuses the message. A positive one in the wrong place is garbage."""
        return Answer(
            stage=stage,
            signal=Signal.REPLY if reply.code >= 400 else Signal.GARBAGE,
            code=reply.code,
            enhanced=reply.enhanced,
            text=self._words(reply),
            verbatim=True,
        )

    def _lost(self, stage: Stage, lost: Lost) -> Answer:
        if lost.stray is not None:
            text = f"{lost.stray.code} {self._words(lost.stray)}"
            return Answer(stage=stage, signal=lost.signal, text=text, verbatim=True)
        return Answer(stage=stage, signal=lost.signal, text=one_line(str(lost), self._secrets))

    def _words(self, reply: Reply) -> str:
        return one_line(reply.text, self._secrets)


def _broken(refusal: Answer) -> bool:
    """Whether an answer is about the connection and not about the message."""
    return refusal.signal in (Signal.DROPPED, Signal.TIMEOUT) or refusal.code == 421
