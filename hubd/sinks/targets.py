"""How sinks are written to: one request to Airtable, one event to a webhook, lines of a CSV file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import trio

from hubd.config.sinks import AirtableSink, CsvSink, WebhookSink
from hubd.core.records import EventRow
from hubd.core.sinks import (
    CAMPAIGN_FIELDS,
    KPI_FIELDS,
    OK,
    PER_SECOND,
    Cell,
    Row,
    Told,
    airtable_answer,
    signed,
    signing_key,
    webhook_answer,
)
from hubd.errors import BadInput
from hubd.files import sync_directory
from hubd.sinks.http import Server, Unreachable

JSON = ("content-type", "application/json")


class Pace:
    """When the next request to each Airtable base may be sent: all sinks of a base share its limit."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    async def turn(self, base: str) -> None:
        """Wait until the next request may be sent."""
        at = max(trio.current_time(), self._next.get(base, 0.0))
        self._next[base] = at + 1 / PER_SECOND
        await trio.sleep_until(at)

    def rest(self, base: str, seconds: float) -> None:
        """Send nothing for this many seconds."""
        self._next[base] = max(self._next.get(base, 0.0), trio.current_time() + seconds)


class Airtable:
    """One table. Raises `BadConfig` and `OSError`."""

    def __init__(self, settings: AirtableSink, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self._server = Server(settings.base_url)
        root = self._server.target.rstrip("/")
        self._target = f"{root}/v0/{settings.base}/{quote(settings.table, safe='')}"
        names = CAMPAIGN_FIELDS if settings.content == "campaigns" else KPI_FIELDS
        self._names = {name: settings.fields.get(name, name) for name in names}
        self._key = self._names[names[0]]

    async def send(self, rows: Sequence[Row], token: str) -> Told:
        """Update these records, at most ten, or create them."""
        records = [
            {"fields": {name: row[field] for field, name in self._names.items() if name}} for row in rows
        ]
        body = {"performUpsert": {"fieldsToMergeOn": [self._key]}, "records": records, "typecast": True}
        return await self._ask("PATCH", self._target, token, json.dumps(body).encode())

    async def test(self, token: str) -> Told:
        """Read at most one record."""
        return await self._ask("GET", f"{self._target}?maxRecords=1", token)

    async def _ask(self, method: str, target: str, token: str, body: bytes = b"") -> Told:
        await self._pace.turn(self._settings.base)
        headers = [("authorization", f"Bearer {token}"), JSON]
        try:
            status, _, said = await self._server.request(method, target, headers, body)
        except (Unreachable, ValueError) as problem:  # ValueError: the token cannot be a header
            reason = str(problem) if isinstance(problem, Unreachable) else "the token cannot be one"
            return Told(outcome="retry", reason=reason)
        told = airtable_answer(status, said)
        if told.after is not None:
            self._pace.rest(self._settings.base, told.after)
        return told

    def close(self) -> None:
        self._server.close()


class Webhook:
    """One server. Raises `BadConfig` and `OSError`."""

    def __init__(self, settings: WebhookSink) -> None:
        self._server = Server(settings.url)

    async def send(self, event: EventRow, secret: str, now: float) -> Told:
        """Tell it about an event."""
        data = {"seq": event.seq, "campaign": event.campaign or None, **event.data}
        return await self._post(f"evt_{event.seq}", event.type, event.at, data, secret, now)

    async def test(self, secret: str, now: float) -> Told:
        """Tell it about an event that did not happen, of the type `sink.test`."""
        return await self._post("evt_test", "sink.test", now, {}, secret, now)

    async def _post(
        self, number: str, type_: str, at: float, data: Mapping[str, object], secret: str, now: float
    ) -> Told:
        try:
            key = signing_key(secret)
        except BadInput as problem:
            return Told(outcome="pause", reason=str(problem))
        when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = json.dumps({"type": type_, "timestamp": when, "data": data}).encode()
        headers = [JSON, ("user-agent", "messagehub"), *signed(key, number, int(now), body)]
        try:
            status, found, _ = await self._server.request("POST", self._server.target, headers, body)
        except Unreachable as problem:
            return Told(outcome="retry", reason=str(problem))
        return webhook_answer(status, found.get("retry-after", ""))

    def close(self) -> None:
        self._server.close()


#: Bytes at the end of a file that are searched for the newest lines.
TAIL = 1 << 20


class CsvFiles:
    """The files of a folder, one for each day."""

    def __init__(self, settings: CsvSink, folder: Path) -> None:
        self._content = settings.content
        self._directory = folder / settings.directory
        self._names = CAMPAIGN_FIELDS if settings.content == "campaigns" else KPI_FIELDS

    def append(self, rows: Sequence[Row], at: datetime) -> Told:
        """Append a line for each record whose newest line says something else, durably. For a thread.

        What was appended just before a crash comes again, and is not appended twice. A line that a crash cut
        off is removed.
        """
        path = self._directory / f"{self._content}-{at:%Y-%m-%d}.csv"
        try:
            self._make_directory()
            with open(path, "ab+", buffering=0, opener=_private) as file:
                newest = {line[1]: line[1:] for line in _last_lines(file) if len(line) > len(self._names)}
                lines = [[_cell(row[name]) for name in self._names] for row in rows]
                new = [line for line in lines if newest.get(line[0]) != line]
                _append(file, [["At", *self._names]] if not newest else [], at, new)
            sync_directory(self._directory)
        except OSError as error:
            reason = f"{path.name} cannot be written: {(error.strerror or 'the disk failed').lower()}"
            return Told(outcome="retry", reason=reason)
        return OK

    def _make_directory(self) -> None:
        if not self._directory.is_dir():
            self._directory.mkdir(mode=0o700)
            sync_directory(self._directory.parent)

    def test(self) -> Told:
        """Whether the folder can be written to. For a thread."""
        try:
            self._make_directory()
            probe = self._directory / ".messagehub-test"
            with open(probe, "wb", opener=_private) as file:
                os.fsync(file.fileno())
            probe.unlink()
        except OSError as error:
            reason = f"the folder cannot be written to: {(error.strerror or 'the disk failed').lower()}"
            return Told(outcome="retry", reason=reason)
        return OK


def _cell(value: Cell) -> str:
    """A value as written to a file: on one line."""
    return "" if value is None else " ".join(str(value).splitlines())


def _last_lines(file: io.FileIO) -> list[list[str]]:
    """The lines at the end of a file; what follows the last whole one is removed."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - TAIL))
    data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        file.truncate(start + whole)
    lines = data[:whole].decode("utf-8", "replace").split("\n")
    return list(csv.reader(lines[1:] if start else lines))


def _append(file: io.FileIO, head: Sequence[Sequence[str]], at: datetime, lines: Sequence[list[str]]) -> None:
    """Append lines with the time in front, durably: all of them, or none if that fails."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows(head)
    stamp = at.isoformat(timespec="seconds")
    writer.writerows([stamp, *line] for line in lines)
    size = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(text.getvalue().encode())
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
