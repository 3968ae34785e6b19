"""A mailbox that receives bounces, receipts, complaints and replies, as a source of inbound items."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import trio

from hubd.core.inbound import Item
from hubd.core.inbox import Booked
from hubd.core.returned_mail import read_returned_mail
from hubd.errors import CredentialMissing, SourceUnavailable
from hubd.inbound.imap_session import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    Broken,
    ImapSession,
    Mail,
    MailboxSettings,
    Place,
    renewal,
)
from hubd.inbound.source import Fetched

log = logging.getLogger(__name__)

#: Seconds between two looks at a mailbox whose server has no IDLE.
POLL = 60.0
#: Seconds between two looks at one whose server ended IDLE without new mail: some send news at once.
PAUSE = 1.0
#: Seconds for a command with all that belongs to it.
_STEP_SECONDS = 2 * ANSWER_SECONDS

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a login found."""

    mails: int  #: number of mails in the folder
    idles: bool  #: the server reports new mail at once; else hubd looks once a minute
    moves: bool  #: mails can be moved into `processed_folder`; else they are marked as seen


class Mailbox:
    """A source of items: see `inbound.source.Source`. Used by one task at a time."""

    def __init__(
        self,
        name: str,
        settings: MailboxSettings,
        now: Callable[[], float],
        read_password: Callable[[], Awaitable[str]] | None,
        access_token: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        """`now` gives seconds since the epoch. `read_password` is called for each login and may raise
        `CredentialMissing`. Or `access_token` is called, with the token that the server has just refused, or
        ""; it may raise `SourceUnavailable`.
        """
        self.name = f"mailbox {name}"
        self.settings = settings
        self.refused = ""
        self._now = now
        self._read_password = read_password
        self._access_token = access_token
        self._renewal = renewal(name)
        self._session: ImapSession | None = None
        self._place: Place | None = None  # where reading continues; None until this connection knows
        # Each mailbox has its own threads, so one that hangs keeps nobody else waiting.
        self._threads = trio.CapacityLimiter(2)

    async def fetch(self, cursor: str) -> Fetched:
        """The next mails. If there are none, it waits up to nine minutes for some, if the server has IDLE.

        Raises `SourceUnavailable`.
        """
        last = Place.parse(cursor)
        try:
            session, begin = await self._connected(last)
            mails, place, more = await self._run(session, partial(session.after, begin))
            if not mails:
                mails, place, more = await self._look(session, place)
            if not mails and session.idles:
                await self._run(session, partial(session.wait, self._renewal), self._renewal)
                mails, place, more = await self._look(session, place)
        except Broken as problem:
            self._drop()
            raise self._unavailable(problem) from None
        except BaseException:
            self._drop()
            raise
        self._place = place
        read = await trio.to_thread.run_sync(_read, mails, limiter=self._threads)
        pause = PAUSE if session.idles else POLL
        return Fetched(
            items=[item for items in read.values() for item in items],
            cursor=str(place),
            wait=0.0 if more or (mails and session.idles) else pause,
            acknowledge=partial(self._acknowledge, session, read) if mails else None,
        )

    async def _look(self, session: ImapSession, place: Place) -> tuple[list[Mail], Place, bool]:
        """What has arrived since."""
        await self._run(session, session.look)
        return await self._run(session, partial(session.after, place))

    async def probe(self) -> Probe:
        """Log in and open the folder, and change nothing. Raises `SourceUnavailable`."""
        try:
            session = await self._open()
            try:
                await self._run(session, session.close)
            finally:
                session.cut()
        except Broken as problem:
            raise self._unavailable(problem) from None
        return Probe(mails=session.mails, idles=session.idles, moves=session.moves)

    async def aclose(self) -> None:
        """Close the connection at once."""
        self._drop()

    async def _connected(self, last: Place | None) -> tuple[ImapSession, Place]:
        """The connection, and where to continue reading."""
        if self._session is not None and self._place is not None and last == self._place:
            return self._session, self._place
        self._drop()
        session = self._session = await self._open()
        begin = await self._run(session, partial(session.begin, last, self._now()))
        if begin == last:
            left = await self._run(session, partial(session.acknowledge_until, begin, self._now()))
            self.refused = self.refused if left is None else left
        elif last is not None:
            log.warning("%s: the server has renumbered its mails; all of them are read again", self.name)
        return session, begin

    async def _open(self) -> ImapSession:
        """Connect and log in. A token that the server refuses is replaced once."""
        username = self.settings.username
        if self._access_token is None:
            try:
                password = await self._read_password() if self._read_password is not None else ""
            except CredentialMissing as problem:
                raise Broken(str(problem), person=True) from None
            return await self._new(lambda client: client.login(username, password))
        token = await self._access_token("")
        try:
            return await self._new(lambda client: client.oauth2_login(username, token))
        except Broken as refusal:
            if not refusal.login:
                raise
        token = await self._access_token(token)
        return await self._new(lambda client: client.oauth2_login(username, token))

    async def _new(self, log_in: Callable[[Any], object]) -> ImapSession:
        """A connection that is logged in and has opened the folder."""
        session = ImapSession(self.settings)
        await self._run(session, partial(session.open, log_in), CONNECT_SECONDS)
        return session

    async def _run(self, session: ImapSession, step: Callable[[], _T], longer: float = 0.0) -> _T:
        """Run a step in a thread. Whatever ends it early ends the connection, and with it the thread."""
        done = False
        try:
            with trio.fail_after(_STEP_SECONDS + longer):
                result = await trio.to_thread.run_sync(
                    session.run, step, abandon_on_cancel=True, limiter=self._threads
                )
                done = True
                return result
        except trio.TooSlowError:
            raise Broken("the server does not answer") from None
        finally:
            if not done:
                session.cut()

    async def _acknowledge(
        self, session: ImapSession, read: Mapping[int, Sequence[Item]], booked: Booked
    ) -> None:
        """Acknowledge mails whose effects are durable. If the connection has ended, the next one does it."""
        if session is not self._session:
            return
        uids = [uid for uid, items in read.items() if not any(item.key in booked.left for item in items)]
        try:
            if uids:
                self.refused = await self._run(session, partial(session.acknowledge, uids))
        except Broken as problem:
            self._drop()
            raise self._unavailable(problem) from None
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        session, self._session, self._place = self._session, None, None
        if session is not None:
            session.cut()

    def _unavailable(self, problem: Broken) -> SourceUnavailable:
        where = f"{self.settings.host}:{self.settings.port}"
        what = "refused the login" if problem.login else "cannot be read"
        hint = "check its username and password in hubd.toml" if problem.login else ""
        text = f"{self.name} ({where}) {what}: {problem}"
        return SourceUnavailable(text, hint=hint, data={"person": problem.person})


def _read(mails: Sequence[Mail]) -> dict[int, list[Item]]:
    """The items of each mail, by UID."""
    return {mail.uid: read_returned_mail(mail.data, received=mail.received) for mail in mails}
