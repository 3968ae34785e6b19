"""The outbox: the provider that needs no account. Every message becomes a file that you can open and read.

    DIRECTORY/<campaign>/<delivery id>.eml       the whole message, as SMTP would carry it
    DIRECTORY/<campaign>/<delivery id>.txt       the text of an SMS
    DIRECTORY/<campaign>/messages.ndjson         one line of JSON for each of them

An acceptance is durable: the file and its line are on the disk before `deliver` answers. Connections that
deliver at the same time share the flushes of their folder, which cost more than the writing. Repeating a
delivery overwrites its file and leaves one line, so an in-doubt retry makes no second message.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from pathlib import Path
from urllib.parse import quote

import msgspec
import trio

from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.core.request_verdicts import PLAIN
from hubd.errors import ProviderUnavailable
from hubd.files import sync_directory
from hubd.providers.outbox.kind import CONNECTIONS

JOURNAL = "messages.ndjson"
#: Held while files are written or removed.
WRITING = threading.Lock()

_SUBJECT = re.compile(rb"^Subject:[ \t]*((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


def open_outbox(directory: Path, name: str = "outbox") -> OutboxTransport:
    """The outbox in `directory`, which is created if needed, readable by its owner only.

    Raises `ProviderUnavailable` when it cannot be created.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as problem:
        raise ProviderUnavailable(
            f"the outbox directory cannot be used: {problem.strerror}",
            hint=f"Make sure {directory} is a directory that the daemon may write to.",
        ) from None
    return OutboxTransport(directory, name)


class OutboxTransport:
    """Writes messages to files instead of sending them."""

    kind = "outbox"
    channels = frozenset({Channel.EMAIL, Channel.SMS})
    connections = CONNECTIONS
    in_doubt = InDoubt.RETRY
    verdicts = PLAIN
    account = ""
    talks_first = False
    largest_message = None

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self._directory = directory
        self._folders: dict[str, _Folder] = {}
        self._waiting: list[_Item] = []
        self._turn = trio.Lock()
        self._threads = trio.CapacityLimiter(1)

    def connection(self) -> OutboxConnection:
        """One place in the queue for the disk."""
        return OutboxConnection(self)

    async def probe(self) -> Answer:
        """Whether a file can be written."""
        return await trio.to_thread.run_sync(_probe, self._directory, limiter=self._threads)

    async def aclose(self) -> None:
        """Nothing is kept open between messages."""
        await trio.lowlevel.checkpoint()

    async def deliver(self, rendered: RenderedMessage) -> Answer:
        """Write a message together with all others that are waiting now."""
        item = _Item(rendered)
        self._waiting.append(item)
        try:
            async with self._turn:
                if item.answer is None:
                    batch, self._waiting = self._waiting, []
                    with trio.CancelScope(shield=True):  # the others' messages are in it too
                        await trio.to_thread.run_sync(self._write, batch, limiter=self._threads)
        except BaseException:
            if item in self._waiting:
                self._waiting.remove(item)
            raise
        assert item.answer is not None
        return item.answer

    def _write(self, batch: Sequence[_Item]) -> None:
        """Write a batch, folder by folder (in a thread)."""
        by_campaign: dict[str, list[_Item]] = {}
        for item in batch:
            by_campaign.setdefault(item.rendered.campaign, []).append(item)
        for campaign, items in by_campaign.items():
            try:
                with WRITING:
                    self._folder(campaign).write(items)
            except OSError as problem:
                self._folders.pop(campaign, None)  # look again at what is there next time
                for item in items:
                    item.answer = _trouble(problem)

    def _folder(self, campaign: str) -> _Folder:
        folder = self._folders.get(campaign)
        if folder is None or not folder.exists:
            folder = self._folders[campaign] = _Folder(self._directory / folder_name(campaign))
        return folder


class OutboxConnection:
    """One place in the queue for the disk."""

    def __init__(self, transport: OutboxTransport) -> None:
        self._transport = transport

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Nothing needs preparing."""
        await trio.lowlevel.checkpoint()
        return None

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Write the message. Code 250: it is on the disk. `provider_id` is its path within the outbox."""
        return await self._transport.deliver(rendered)

    @property
    def connected(self) -> bool:
        """Never: it writes to the disk."""
        return False

    def waits(self, rendered: RenderedMessage) -> bool:
        """Preparing needs no answer."""
        return False

    def drop(self) -> None:
        """There is no connection to cut."""

    async def aclose(self) -> None:
        """There is no connection to close."""
        await trio.lowlevel.checkpoint()


def folder_name(campaign: str) -> str:
    """A campaign's name as one path component that stays in the outbox, whatever the name is."""
    name = quote(campaign, safe="~ ", errors="replace")[:200]
    return f"%2E{name[1:]}" if name.startswith(".") else name or "%"


@dataclass(slots=True, eq=False)
class _Item:
    """A message that waits to be written, and then what became of it."""

    rendered: RenderedMessage
    answer: Answer | None = None


class _Line(msgspec.Struct, omit_defaults=True):
    """A line of the journal."""

    delivery_id: int
    channel: str
    recipient: str
    subject: str = ""
    message_id: str = ""
    file: str = ""


class _Folder:
    """The messages of one campaign. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._journal = path / JOURNAL
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)
        self._listed: set[int] | None = None  # read from the journal when a delivery comes again

    @property
    def exists(self) -> bool:
        """Whether the folder still exists."""
        return self._path.is_dir()

    def write(self, items: Sequence[_Item]) -> None:
        """Write files and lines and flush them; sets every item's answer.

        Raises `OSError` when none of the items is known to be on the disk.
        """
        written: list[tuple[_Item, str]] = []
        failure: OSError | None = None
        for item in items:
            try:
                written.append((item, self._write_file(item.rendered)))
            except OSError as problem:
                failure, item.answer = problem, _trouble(problem)
        if failure is not None and not written:
            raise failure
        lines = [
            _line(item.rendered, name) for item, name in written if not self._is_listed(item.rendered, name)
        ]
        for _, name in written:
            os.replace(self._path / f".{name}.new", self._path / name)
        sync_directory(self._path)
        # A line follows its file: after a crash between them the file exists, and a retry adds the line.
        self._append(lines)
        for item, name in written:
            place = f"{self._path.name}/{name}"
            item.answer = Answer(stage=Stage.LOCAL, code=250, text=f"written to {place}", provider_id=place)

    def _write_file(self, rendered: RenderedMessage) -> str:
        """Write and flush a message under a temporary name. Returns the final name."""
        email = rendered.channel is Channel.EMAIL
        name = f"{rendered.delivery_id}.{'eml' if email else 'txt'}"
        pieces = (rendered.payload, *rendered.shared.chunks) if email else (rendered.text.encode(),)
        new = self._path / f".{name}.new"
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                for data in pieces:
                    _write_all(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        return name

    def _is_listed(self, rendered: RenderedMessage, name: str) -> bool:
        """Whether the journal has this delivery already. It is only read if the delivery's file exists."""
        if self._listed is None and not (self._path / name).exists():
            return False
        if self._listed is None:
            self._listed = _read_journal(self._journal)
        return rendered.delivery_id in self._listed

    def _append(self, lines: Sequence[_Line]) -> None:
        if not lines:
            return
        with self._journal.open("ab+", buffering=0) as journal:
            os.fchmod(journal.fileno(), 0o600)
            end = _cut_torn_line(journal.fileno())
            try:
                _write_all(journal.fileno(), b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
                os.fsync(journal.fileno())
            except OSError:
                os.ftruncate(journal.fileno(), end)
                raise
        if self._listed is not None:
            self._listed.update(line.delivery_id for line in lines)


def _line(rendered: RenderedMessage, name: str) -> _Line:
    return _Line(
        delivery_id=rendered.delivery_id,
        channel=rendered.channel.value,
        recipient=rendered.recipient,
        subject=_subject(rendered.payload),
        message_id=rendered.message_id,
        file=name,
    )


def _subject(payload: bytes) -> str:
    """The decoded subject of a message."""
    match = _SUBJECT.search(payload.partition(b"\r\n\r\n")[0])
    if match is None:
        return ""
    raw = " ".join(match[1].decode("utf-8", "replace").split())
    if "=?" not in raw:
        return raw
    try:
        return str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, ValueError):
        return raw


def _trouble(problem: OSError) -> Answer:
    """A disk problem is the provider's, not the recipient's: the message is tried again later."""
    text = one_line(f"the outbox cannot write: {problem.strerror or type(problem).__name__}")
    return Answer(stage=Stage.LOCAL, signal=Signal.DROPPED, text=text)


def _probe(directory: Path) -> Answer:
    try:
        trial = directory / ".probe"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as problem:
        return _trouble(problem)
    return Answer(stage=Stage.LOCAL, code=250, text=f"messages are written to {directory}")


def _read_journal(path: Path) -> set[int]:
    """The deliveries that a journal lists. A line that is not ours is passed over."""
    listed: set[int] = set()
    try:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    listed.add(msgspec.json.decode(line, type=_Line).delivery_id)
                except msgspec.DecodeError:
                    continue
    except FileNotFoundError:
        pass
    return listed


def _cut_torn_line(handle: int) -> int:
    """Remove a last line that a crash left unfinished. Returns the journal's length."""
    end = os.lseek(handle, 0, os.SEEK_END)
    while end and os.pread(handle, 1, end - 1) != b"\n":
        start = max(0, end - 4096)
        cut = os.pread(handle, end - start, start).rfind(b"\n") + 1
        end = start + cut
        os.ftruncate(handle, end)
    return end


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
