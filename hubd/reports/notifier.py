"""Sends notifications by email: ordinary transactional messages, each queued exactly once.

A notification is in the database before this task learns of it. Nothing is sent through a provider that is
not working now, which may be what the notification is about: another one is used, or it waits. After a start
nobody knows that yet, so the provider logs in first.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from hubd.core.model import Campaign, Channel
from hubd.core.notices import Mail, Notice, NoticeKind, plan
from hubd.errors import HubError

log = logging.getLogger(__name__)

#: Seconds between two looks, however much happens.
PAUSE = 0.5
#: Seconds after which it looks again if something kept it from sending.
AGAIN = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """Who is told what, and through which provider."""

    addresses: Mapping[str, str]  #: each with its form for comparison
    provider: str
    sender: str
    kinds: frozenset[NoticeKind]


class Notices(Protocol):
    """Stored notifications."""

    async def waiting(self, now: float) -> tuple[Sequence[Notice], Sequence[float]]: ...
    async def settle(self, ids: Sequence[int]) -> None: ...
    async def send(self, mail: Mail, queue: int, sender: str, addresses: Mapping[str, str]) -> None: ...


class Queues(Protocol):
    """Who sends one-off messages."""

    async def transactional_queue(self, provider: str, channel: Channel) -> Campaign: ...
    async def works(self, provider: str) -> bool: ...
    async def wake_transactional(self, provider: str, channel: Channel) -> object: ...


class Notifier:
    """Run `run` for as long as the daemon lives."""

    def __init__(
        self,
        notices: Notices,
        queues: Queues,
        *,
        recipients: Callable[[], Recipients | None],
        working: Callable[[], Sequence[str]],
        news: Callable[[int], Awaitable[int]],
        now: Callable[[], float],
    ) -> None:
        """`recipients` says who is told now, None for nobody; `working` names the providers that send email
        now. `news` waits for an event after the one with this number, and returns the newest event's number.
        """
        self._notices = notices
        self._queues = queues
        self._recipients = recipients
        self._working = working
        self._news = news
        self._now = now

    async def run(self) -> None:
        """Send what there is to send, until cancelled."""
        seen = -1
        while True:
            try:
                wait = await self.look()
            except HubError as error:
                log.warning("notifications wait: %s", error)
                wait = AGAIN
            except Exception:
                log.exception("notifications could not be sent; trying again in a minute")
                wait = AGAIN
            await trio.sleep(PAUSE)
            with trio.move_on_after(wait):
                seen = await self._news(seen)

    async def look(self) -> float:
        """Send what may be sent now. Returns seconds until there may be more without any event."""
        now = self._now()
        waiting, mailed = await self._notices.waiting(now)
        to = self._recipients()
        told = [each for each in waiting if to is not None and each.kind in to.kinds]
        if silent := [each.id for each in waiting if each not in told]:
            await self._notices.settle(silent)
        if to is None or not told:
            return float("inf")
        mails, again = plan(told, mailed, now)
        provider = await self._provider(to.provider) if mails else ""
        if provider is None:
            return AGAIN
        for mail in mails:
            queue = await self._queues.transactional_queue(provider, Channel.EMAIL)
            await self._notices.send(mail, queue.id, to.sender, to.addresses)
            await self._queues.wake_transactional(provider, Channel.EMAIL)
        return float("inf") if again is None else max(0.0, again - now)

    async def _provider(self, wanted: str) -> str | None:
        """The wanted provider, or another one if it does not work; None if none does."""
        for name in sorted(self._working(), key=lambda name: name != wanted):
            if await self._queues.works(name):
                return name
        return None
