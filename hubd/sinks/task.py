"""One sink: sends it what it does not have yet, for as long as it exists.

What is wrong with a sink affects only that sink: a server that is slow, down or wrong, a full disk, a bug.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trio

from hubd.config.sinks import AirtableSink, CsvSink, SinkSettings, WebhookSink, secrets_of_sink
from hubd.core.measures import DAY, hour_of
from hubd.core.records import EventRow
from hubd.core.reports import place, stretch_of
from hubd.core.sinks import (
    BATCH,
    CAMPAIGN_FIELDS,
    GIVE_UP,
    KPI_FIELDS,
    OK,
    Row,
    Told,
    batches,
    campaign_rows,
    delay,
    digest,
    kpi_rows,
    wanted,
)
from hubd.core.times import parse_duration
from hubd.errors import BadConfig, CredentialMissing, StoreError
from hubd.failpoints import reach
from hubd.sinks.targets import Airtable, CsvFiles, Pace, Webhook
from hubd.store.events import Events
from hubd.store.sinks import Sinks, SinkState

log = logging.getLogger(__name__)

PAGE = 100  #: events read at once
KEPT_EVERY = 20  #: events after which a webhook's progress is stored
LINES = 1_000  #: lines written to a file at once
LOOK_BACK = 40 * DAY  #: seconds; figures of older days are sent once
SECRET_SECONDS = 10.0
WHOLE = ""  #: a key that no record has: stored once a sink has been sent everything
#: After these the figures are sent at once.
_NEWS = frozenset({"campaign.state", "campaign.deleted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What all sinks use."""

    sinks: Sinks
    events: Events
    wait_events: Callable[[int], Awaitable[int]]  #: waits for an event after this one; returns the newest
    head: Callable[[], int]  #: the newest event
    now: Callable[[], float]  #: seconds since the epoch
    steady: Callable[[], float]  #: seconds of a monotonic clock
    pace: Pace


class SinkTask:
    """Runs until it is cancelled."""

    def __init__(self, name: str, settings: SinkSettings, folder: Path, context: Context) -> None:
        self.name = name
        self.settings = settings
        self._folder = folder
        self._context = context
        self._resumed = trio.Event()

    def resume(self) -> None:
        """Note that it was resumed: try now."""
        self._resumed.set()

    async def run(self) -> None:
        """Send it everything, again and again. Raises nothing."""
        while True:
            try:
                await self._context.sinks.add(self.name, self.settings.type, repr(self.settings))
                await self._run()
                return
            except StoreError:
                await trio.sleep(1.0)  # the database reports its own trouble
            except Exception as error:
                log.exception("the sink %s failed on this", self.name, exc_info=error)
                await self._fail("the daemon failed; its log has the details")

    async def _fail(self, reason: str) -> None:
        try:
            state = await self._context.sinks.get(self.name)
            if state is not None:
                await self._failed(state, Told(outcome="retry", reason=reason))
        except StoreError:
            await trio.sleep(1.0)

    async def _run(self) -> None:
        seen = self._context.head()
        while (state := await self._context.sinks.get(self.name)) is not None:
            if state.paused:
                await self._resumed.wait()
                self._resumed = trio.Event()
                continue
            told = await self._round(state)
            if told is not OK:
                after = await self._context.sinks.get(self.name)  # part of it may have succeeded
                await self._failed(after or state, told)
            elif not isinstance(self.settings, WebhookSink):
                seen = await self._news(seen, parse_duration(self.settings.every))

    async def _failed(self, state: SinkState, told: Told) -> None:
        since = state.failing_since
        too_long = since is not None and self._context.steady() - since >= GIVE_UP
        pause = told.outcome == "pause" or too_long
        if state.failures == 0 or pause:
            what = "is paused" if pause else "fails and will be tried again"
            log.warning("the sink %s %s: %s", self.name, what, told.reason)
        await self._context.sinks.failed(self.name, told.reason, pause=pause)
        if not pause:
            with trio.move_on_after(delay(state.failures + 1, told.after)):
                await self._resumed.wait()
            self._resumed = trio.Event()

    async def _news(self, seen: int, every: float) -> int:
        """Wait until figures are due: after `every` seconds, or at once when a campaign changes its state.

        Returns the newest event that was looked at.
        """
        with trio.move_on_after(every):
            while True:
                await self._context.wait_events(seen)
                page = await self._context.events.page(seen, PAGE)
                seen = page[-1].seq if page else self._context.head()
                if any(event.type in _NEWS for event in page):
                    break
        return seen

    async def _round(self, state: SinkState) -> Told:
        try:
            match self.settings:
                case WebhookSink():
                    return await self._tell_events(self.settings, state)
                case AirtableSink():
                    return await self._tell_airtable(self.settings)
                case CsvSink():
                    return await self._tell_csv(self.settings)
        except CredentialMissing as error:
            return Told(outcome="retry", reason=str(error))
        except (BadConfig, OSError) as error:
            return Told(outcome="retry", reason=f"it cannot be opened: {error}")

    async def secret(self, key: str) -> str:
        """The secret as it is now. Raises `CredentialMissing`."""
        reference = secrets_of_sink(self.settings)[key]
        with trio.move_on_after(SECRET_SECONDS):
            found = await trio.to_thread.run_sync(reference.resolve, self._folder, abandon_on_cancel=True)
            return found.reveal()
        raise CredentialMissing(f"{reference}: could not be read within {SECRET_SECONDS:g} s")

    # -- events --------------------------------------------------------------------------------------

    async def _tell_events(self, settings: WebhookSink, state: SinkState) -> Told:
        """Send a page of events, or wait for one."""
        page = await self._context.events.page(state.cursor, PAGE)
        if not page:
            await self._context.wait_events(state.cursor)
            return OK
        if page[0].seq > state.cursor + 1:
            log.warning(
                "the sink %s missed events: they were pruned before they could be sent to it", self.name
            )
        server = Webhook(settings)
        try:
            return await self._tell_page(server, settings, page)
        finally:
            server.close()

    async def _tell_page(self, server: Webhook, settings: WebhookSink, page: Sequence[EventRow]) -> Told:
        secret = await self.secret("secret")
        since, cursor = 0, page[0].seq - 1
        for event in page:
            if wanted(event.type, settings.events):
                reach("before_telling")
                told = await server.send(event, secret, self._context.now())
                reach("after_telling")
                if told is not OK:
                    if cursor >= page[0].seq:
                        await self._context.sinks.told(self.name, cursor, {})
                    return told
                since += 1
            cursor = event.seq
            if since == KEPT_EVERY:
                await self._context.sinks.told(self.name, cursor, {})
                since = 0
        await self._context.sinks.told(self.name, cursor, {})
        return OK

    # -- records -------------------------------------------------------------------------------------

    async def _tell_airtable(self, settings: AirtableSink) -> Told:
        changed, key, cursor = await self._changed(settings)
        if not changed:
            return OK
        table = Airtable(settings, self._context.pace)
        try:
            token = await self.secret("token")

            async def send(rows: Sequence[Row]) -> Told:
                return await table.send(rows, token)

            return await self._tell_records(changed, key, cursor, BATCH, send)
        finally:
            table.close()

    async def _tell_csv(self, settings: CsvSink) -> Told:
        changed, key, cursor = await self._changed(settings)
        files = CsvFiles(settings, self._folder)

        async def append(rows: Sequence[Row]) -> Told:
            at = datetime.fromtimestamp(self._context.now(), place(settings.timezone))
            return await trio.to_thread.run_sync(files.append, rows, at)

        return await self._tell_records(changed, key, cursor, LINES, append)

    async def _tell_records(
        self,
        changed: Mapping[str, Row],
        key: str,
        cursor: int,
        size: int,
        send: Callable[[Sequence[Row]], Awaitable[Told]],
    ) -> Told:
        pages = batches(list(changed.values()), size)
        for n, rows in enumerate(pages, 1):
            reach("before_telling")
            told = await send(rows)
            reach("after_telling")
            if told is not OK:
                return told
            digests = {str(row[key]): digest(row) for row in rows}
            if n == len(pages):
                digests[WHOLE] = b""
            await self._context.sinks.told(self.name, cursor, digests)
        return OK

    async def _changed(self, settings: AirtableSink | CsvSink) -> tuple[dict[str, Row], str, int]:
        """The records changed since they were last sent, by key; the name of the key; the newest event."""
        cursor = self._context.head()
        told = await self._context.sinks.digests(self.name)
        if settings.content == "campaigns":
            key = CAMPAIGN_FIELDS[0]
            rows = campaign_rows(await self._context.sinks.sums())
        else:
            key, there = KPI_FIELDS[0], place(settings.timezone)
            back = hour_of(max(0.0, self._context.now() - LOOK_BACK))
            since = stretch_of(back, "day", there) if WHOLE in told else 0
            rows = kpi_rows(*await self._context.sinks.hours(since), there)
        return {str(row[key]): row for row in rows if told.get(str(row[key])) != digest(row)}, key, cursor

    # -- a test --------------------------------------------------------------------------------------

    async def test(self) -> Told:
        """Whether the sink can be written to now. A webhook is sent an event called sink.test."""
        try:
            return await self._test()
        except (CredentialMissing, BadConfig, OSError) as error:
            return Told(outcome="retry", reason=str(error))

    async def _test(self) -> Told:
        match self.settings:
            case WebhookSink():
                server = Webhook(self.settings)
                try:
                    return await server.test(await self.secret("secret"), self._context.now())
                finally:
                    server.close()
            case AirtableSink():
                table = Airtable(self.settings, self._context.pace)
                try:
                    return await table.test(await self.secret("token"))
                finally:
                    table.close()
            case CsvSink():
                return await trio.to_thread.run_sync(CsvFiles(self.settings, self._folder).test)
