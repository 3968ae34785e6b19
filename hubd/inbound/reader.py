"""Reads the sources of inbound items: one task for each, for as long as the daemon runs.

Fetch, book, acknowledge, wait. What was booked is durable before the source is told so: if anything ends in
between, the same items come again and have no further effect. A source in trouble affects no other source and
no campaign. One that needs a person, such as after a refused login, is tried less and less often.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import trio

from hubd.core.inbound import Item, ItemKind
from hubd.core.inbox import Booked, SourceView, in_trouble
from hubd.errors import SourceUnavailable, StoreUnavailable
from hubd.inbound.source import ReadFirst, Refused, Source

log = logging.getLogger(__name__)

#: The most seconds between two looks while something is being sent.
WHILE_SENDING = 15.0
#: Seconds until the next try: the first wait, and the longest. Repeated refused logins lock accounts.
RETRY = (5.0, 900.0)
RETRY_WITH_PERSON = (300.0, 3_600.0)
#: Seconds of trouble after which a source counts as broken although it may recover.
BROKEN_AFTER = 600.0
#: The most seconds that a run waits for a source to be read to its end.
CATCH_UP = 10.0
#: Seconds that closing a source may take.
GOODBYE = 5.0


class Inbox(Protocol):
    """Where items are booked."""

    async def cursor(self, source: str) -> str: ...
    async def book(self, source: str, items: Sequence[Item], cursor: str, *, leave_for: float) -> Booked: ...


#: Appends an event: its type, its campaign, its data. Raises `StoreUnavailable`.
AddEvent = Callable[[str, int | None, Mapping[str, object]], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A source in the configuration. It is replaced when `settings` differ after a reload."""

    source: Source
    settings: object


@dataclass(slots=True, eq=False)
class _Reader:
    """One source and how it is doing."""

    configured: Configured
    since: float
    state: str = "starting"
    reason: str = ""
    person: bool = False
    failing_since: float | None = None
    failures: int = 0
    read_at: float | None = None
    next_at: float | None = None
    items: Counter[ItemKind] = field(default_factory=Counter)
    unmatched: int = 0
    unreadable: int = 0
    attempts: int = 0  #: messages tried when it was last looked at
    told_broken: bool = False  #: whether the last event called it broken
    told_refused: str = ""  #: the refusal in the last event
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wake: trio.Event = field(default_factory=trio.Event)
    begun: float = 0  #: how many looks have begun
    caught_up: float = 0  #: the value of `begun` when it was last read to its end, or could not be read
    progress: trio.Event = field(default_factory=trio.Event)  #: `caught_up` has changed
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def name(self) -> str:
        return self.configured.source.name

    @property
    def provider(self) -> str:
        """The provider whose messages it is about; "" for any."""
        kind, _, name = self.name.partition(" ")
        return name if kind == "provider" else ""

    def catch_up(self, looks: float) -> None:
        """Note that this many looks have reached the end of what is there."""
        self.caught_up = looks
        self.progress.set()
        self.progress = trio.Event()


class Readers:
    """All readers. Run `run` in a task, and `apply` the configured sources, also after a reload."""

    def __init__(
        self,
        inbox: Inbox,
        *,
        add: AddEvent,
        attempts: Callable[[str], int],
        waiting_changed: Callable[[], None],
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """`attempts`: how many messages were tried so far through a provider, "" for all.

        `waiting_changed` is called when waiting messages were cancelled or held. `random` gives numbers in
        [0, 1).
        """
        self._inbox = inbox
        self._add = add
        self._attempts = attempts
        self._waiting_changed = waiting_changed
        self._now = now
        self._random = random
        self._readers: dict[str, _Reader] = {}
        self._nursery: trio.Nursery | None = None
        self._applying = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def apply(self, configured: Iterable[Configured]) -> None:
        """Read these sources from now on. Unchanged ones go on; one in trouble is tried now."""
        async with self._applying:
            wanted = {each.source.name: each for each in configured}
            for name, reader in list(self._readers.items()):
                kept = wanted.get(name)
                if kept is not None and kept.settings == reader.configured.settings:
                    del wanted[name]
                    if kept.source is not reader.configured.source:
                        await _close(kept.source)
                    if reader.failures:
                        reader.wake.set()
                    continue
                reader.scope.cancel()
                await reader.ended.wait()
                del self._readers[name]
            for name, each in wanted.items():
                if self._nursery is None:
                    await _close(each.source)
                    continue
                reader = self._readers[name] = _Reader(each, self._now())
                self._nursery.start_soon(self._read, reader)

    def changed(self, configured: Iterable[Configured]) -> list[str]:
        """The names of the sources that `apply` would start, end or replace."""
        before = {name: reader.configured.settings for name, reader in self._readers.items()}
        after = {each.source.name: each.settings for each in configured}
        names = sorted(before.keys() | after.keys())
        return [name for name in names if before.get(name) != after.get(name)]

    def wake(self) -> None:
        """Look at all of them now, except those that need a person."""
        for reader in self._readers.values():
            if not reader.person:
                reader.wake.set()

    async def catch_up(self, provider: str) -> None:
        """Read to the end a source that has to be read before something is sent through a provider.

        If that takes long, it goes on without being waited for.
        """
        await trio.lowlevel.checkpoint()
        reader = self._readers.get(f"provider {provider}")
        source = reader.configured.source if reader is not None else None
        if reader is None or not isinstance(source, ReadFirst) or not source.read_first:
            return
        wanted = reader.begun + 1  # a look under way may have seen less
        reader.wake.set()
        with trio.move_on_after(CATCH_UP):
            while reader.caught_up < wanted:
                await reader.progress.wait()

    def views(self) -> list[SourceView]:
        """How each source is doing, by name."""
        return [_view(reader) for _, reader in sorted(self._readers.items())]

    async def _read(self, reader: _Reader) -> None:
        try:
            with reader.scope:
                cursor: str | None = None
                while True:
                    reader.begun += 1
                    try:
                        if cursor is None:
                            cursor = await self._inbox.cursor(reader.name)
                        cursor, wait = await self._look(reader, cursor)
                    except SourceUnavailable as error:
                        wait = await self._in_trouble(
                            reader,
                            str(error),
                            person=bool(error.data.get("person")),
                            told=bool(error.data.get("told")),
                        )
                    except StoreUnavailable:
                        wait = RETRY[0]  # the disk, which is reported elsewhere
                    except Exception:
                        log.exception("%s failed", reader.name)
                        wait = await self._in_trouble(
                            reader, "it failed; the log has the details", person=False
                        )
                    if wait > 0:
                        reader.catch_up(reader.begun)
                    await self._wait(reader, wait)
        finally:
            with trio.CancelScope(shield=True):
                await _close(reader.configured.source)
            reader.catch_up(math.inf)
            reader.ended.set()

    async def _look(self, reader: _Reader, cursor: str) -> tuple[str, float]:
        """Fetch, book and acknowledge once. Returns the cursor of the next look, and seconds until then."""
        reader.next_at, reader.attempts = None, self._attempts(reader.provider)
        fetched = await reader.configured.source.fetch(cursor)
        with trio.CancelScope(shield=True):  # so that what is written is counted
            done = await self._inbox.book(
                reader.name, fetched.items, fetched.cursor, leave_for=fetched.leave_for
            )
            reader.items.update(done.new)
            reader.unmatched += done.unmatched
            reader.unreadable += fetched.unreadable
        if done.waiting:
            self._waiting_changed()
        if fetched.acknowledge is not None:
            await fetched.acknowledge(done)
        await self._well(reader)
        await self._refused(reader)
        return fetched.cursor, fetched.wait

    async def _wait(self, reader: _Reader, seconds: float) -> None:
        reader.next_at = self._now() + seconds
        deadline = trio.current_time() + seconds
        while (left := deadline - trio.current_time()) > 0:
            with trio.move_on_after(min(left, WHILE_SENDING)):
                await reader.wake.wait()
                break
            if not reader.failures and self._attempts(reader.provider) != reader.attempts:
                break
        await trio.lowlevel.checkpoint()
        reader.wake = trio.Event()

    async def _well(self, reader: _Reader) -> None:
        reader.read_at = self._now()
        if reader.state != "working":
            reader.state, reader.reason, reader.person, reader.since = "working", "", False, self._now()
        reader.failures, reader.failing_since = 0, None
        await self._tell(reader, broken=False)

    async def _refused(self, reader: _Reader) -> None:
        """Report, once, what a source refuses although it can be read."""
        source = reader.configured.source
        refused = source.refused if isinstance(source, Refused) else ""
        if refused or reader.told_refused:
            reader.reason, reader.person = refused, bool(refused)
        if refused == reader.told_refused:
            return
        if refused:
            log.warning("%s: %s", reader.name, refused)
            with suppress(StoreUnavailable):
                data = {"source": reader.name, "reason": refused, "person": True, "readable": 1}
                await self._add("mailbox.refused", None, data)
        reader.told_refused = refused

    async def _in_trouble(self, reader: _Reader, reason: str, *, person: bool, told: bool = False) -> float:
        """Note that a look failed. Returns seconds until the next. `told`: it counts as broken at once."""
        now = self._now()
        if reader.failing_since is None:
            reader.failing_since = now
        if person and not reader.person:
            reader.failures = 0  # another kind of trouble, with its own waits
        reader.failures += 1
        broken = person or told or now - reader.failing_since >= BROKEN_AFTER
        state = "broken" if broken else "retrying"
        if (state, reason) != (reader.state, reader.reason):
            log.warning("%s", in_trouble(reader.name, reason))
        if state != reader.state:
            reader.since = now
        reader.state, reader.reason, reader.person = state, reason, person
        if broken:
            await self._tell(reader, broken=True)
        first, longest = RETRY_WITH_PERSON if person else RETRY
        wait = min(longest, first * 2.0 ** min(reader.failures - 1, 40))
        return wait * (0.9 + 0.2 * self._random())

    async def _tell(self, reader: _Reader, *, broken: bool) -> None:
        """Add an event, if it is news. While the disk fails, it waits for the next look."""
        if reader.told_broken is broken:
            return
        data = {"source": reader.name, "reason": reader.reason, "person": reader.person}
        with suppress(StoreUnavailable):
            if broken:
                await self._add("mailbox.broken", None, data)
            else:
                await self._add("mailbox.working", None, data)
            reader.told_broken = broken


async def _close(source: Source) -> None:
    try:
        with trio.move_on_after(GOODBYE):
            await source.aclose()
    except Exception:
        log.exception("%s did not close", source.name)


def _view(reader: _Reader) -> SourceView:
    return SourceView(
        name=reader.name,
        state=reader.state,  # type: ignore[arg-type]
        reason=reader.reason,
        person=reader.person,
        since=reader.since,
        read_at=reader.read_at,
        next_at=reader.next_at if reader.next_at is not None and math.isfinite(reader.next_at) else None,
        items=dict(reader.items),
        unmatched=reader.unmatched,
        unreadable=reader.unreadable,
    )
