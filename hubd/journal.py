"""Where the log goes, and in which shape: the journal's own protocol, marked lines, or lines for people.

    stderr is the journal ($JOURNAL_STREAM)   one datagram a record, with fields (systemd.journal-fields(7))
    stderr is no terminal                     `<6>hubd.daemon: ready`, the marks of sd-daemon(3)
    stderr is a terminal                      time, level and text, in colour

A record carries fields for the journal as attributes that begin with `hub_`, given as
`extra={"hub_campaign": name}`: they become HUB_CAMPAIGN and so on, and each can be asked for with
`journalctl HUB_CAMPAIGN=spring-sale`. Nobody's address is written, not even when it is in a traceback: see
`masked`.
"""

from __future__ import annotations

import array
import errno
import hashlib
import logging
import os
import re
import secrets
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import TextIO

SOCKET = "/run/systemd/journal/socket"  #: where journald listens
IDENTIFIER = "hubd"

#: Level -> priority of syslog. What is not listed has the one of the next lower level.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_COLOURS = {2: "\x1b[1;31m", 3: "\x1b[31m", 4: "\x1b[33m", 7: "\x1b[2m"}

#: Libraries that log every call, with its arguments: nobody's log is the place for those.
_CHATTY = ("aiosqlite", "trio-websocket", "twilio", "wsproto")

#: An email address, and a phone number as E.164 writes it. Bounded, so that no line makes them slow.
_ADDRESS = re.compile(
    r"[^\s@<>()\",;:]{1,64}@"
    r"[^\s@<>()\"',;:=/\\\[\]{}]{0,254}[^\s@<>()\"',;:=/\\\[\]{}.]"
)
_PHONE = re.compile(r"\+[0-9][0-9 ().-]{5,20}[0-9]")
#: Of this process: nobody can try out whose name a mask stands for, and one person has one mask in one run.
_MASK_KEY = secrets.token_bytes(16)


class Kind(StrEnum):
    """MESSAGE_ID of the log lines that an operator may want to watch: `journalctl MESSAGE_ID=...`. Never
    changed.
    """

    READY = "d03166c692594c3f94de2c86f6a7f25b"
    STOPPING = "5fb6782f3c0b491dad13619957a04528"
    IN_DOUBT = "0a75176a087749368ab9b93d027229b5"  #: messages were on the wire when hubd last ended
    RELOADED = "3bb9be3dac5e4c39a1b0cf1c136a0817"
    NOT_RELOADED = "fb9cc57c88f54dd8af933a39b877088b"
    FAILED = "f97776845b354bd4a5966ffb09f430cc"  #: hubd could not go on because of a fault of its own


def set_up(level: str, environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Send the log of the whole program to stderr in the shape that fits it, from `level` on."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.addHandler(handler_for(stream or sys.stderr, environ))
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def handler_for(stream: TextIO, environ: Mapping[str, str], journal: str = SOCKET) -> logging.Handler:
    """The handler that fits what `stream` is; `journal` is where journald listens."""
    marked = logging.StreamHandler(stream)
    marked.setFormatter(MarkedLines(time.gmtime if _is_file(stream) else None))
    if is_journal(stream, environ):
        return JournalHandler(journal, otherwise=marked)
    if stream.isatty():
        marked.setFormatter(ForPeople(coloured=not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"))
    return marked


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` itself is the journal, and was not sent elsewhere since (systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return (device, inode) == (str(about.st_dev), str(about.st_ino))


def priority(level: int) -> int:
    """The priority that syslog has for a level of logging: 2 critical ... 7 debug."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def masked(text: str) -> str:
    """`text` without anybody's address: `ada@example.com` becomes `<address 3fa9c1..om>`.

    The same address has the same mask for as long as the process lives, so that lines can be matched.
    """
    if "@" in text:
        text = _ADDRESS.sub(_mask, text)
    return _PHONE.sub(_mask, text) if "+" in text else text


def _mask(found: re.Match[str]) -> str:
    word = found.group().lstrip("'=/[{\\")
    digest = hashlib.blake2b(word.lower().encode("utf-8", "replace"), digest_size=3, key=_MASK_KEY)
    tail = word[-2:] if word[-2:].isalnum() else ""
    return f"<address {digest.hexdigest()}..{tail}>"


# -- lines -------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Text with control characters escaped: a server's answer, for instance, can contain anything."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


class Plain(logging.Formatter):
    """Formats a record without addresses, also one that cannot be formatted.

    `logging` itself prints such a record with all its arguments.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The text, and the traceback below."""
        try:
            return printable(masked(super().format(record)))
        except (TypeError, ValueError, KeyError):
            return masked(f"{record.name}: this line does not match its arguments: {record.msg!r}")


class MarkedLines(Plain):
    """`<6>hubd.daemon: ready`: every line begins with its priority, which whoever collects them can read.

    `clock` gives lines a time of their own: for a file, which nobody else stamps.
    """

    def __init__(self, clock: Callable[[float], time.struct_time] | None = None) -> None:
        super().__init__("%(name)s: %(message)s")
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        """All lines of a record, a traceback's too."""
        mark = f"<{priority(record.levelno)}>"
        if self._clock is not None:
            mark += time.strftime("%Y-%m-%dT%H:%M:%SZ ", self._clock(record.created))
        return "\n".join(mark + line for line in super().format(record).splitlines() or [""])


class ForPeople(Plain):
    """`09:31:07 warning  hubd.daemon: ...`, in the colour of its level."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__("%(asctime)s %(word)-8s %(name)s: %(message)s", "%H:%M:%S")
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """The record, and its traceback below."""
        record.word = record.levelname.lower()
        text = super().format(record)
        colour = _COLOURS.get(priority(record.levelno), "")
        return f"{colour}{text}\x1b[0m" if self._coloured and colour else text


# -- the journal -------------------------------------------------------------------------------------------


class JournalHandler(logging.Handler):
    """One datagram a record. Writes to `otherwise` while the journal cannot be reached.

    Logging never waits: while journald reads too slowly records are dropped and counted, and the count is the
    first thing that is written afterwards.
    """

    def __init__(self, address: str = SOCKET, *, otherwise: logging.Handler) -> None:
        super().__init__()
        self.setFormatter(Plain("%(message)s"))
        self._address = address
        self._otherwise = otherwise
        self._lost = 0
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that cannot be written is counted, or goes to stderr."""
        try:
            self._tell_of_lost()
            self._send(encoded(fields_of(record, self.format(record))))
        except BlockingIOError:
            self._lost += 1
        except OSError:
            self._otherwise.handle(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()
        self._otherwise.close()
        super().close()

    def _tell_of_lost(self) -> None:
        if self._lost:
            text = f"{self._lost} lines of this log were lost: the journal was too slow"
            self._send(encoded({"MESSAGE": text, "PRIORITY": "4", "SYSLOG_IDENTIFIER": IDENTIFIER}))
            self._lost = 0

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendto(data, self._address)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        """What is too large for a datagram: the same bytes in a sealed memory file, whose descriptor goes."""
        if sys.platform != "linux":
            raise OSError(errno.EMSGSIZE, "too large for a datagram")
        import fcntl

        descriptor = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
            self._sock.sendmsg([b""], [rights], 0, self._address)
        finally:
            os.close(descriptor)


def fields_of(record: logging.LogRecord, text: str) -> dict[str, str]:
    """The journal's fields for a record whose message, with its traceback, is `text`."""
    fields = {
        "MESSAGE": text,
        "PRIORITY": str(priority(record.levelno)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
        "CODE_FUNC": record.funcName or "",
        "HUB_LOGGER": record.name,
        "THREAD_NAME": record.threadName or "",
    }
    for name, value in vars(record).items():
        if name.startswith("hub_") and value is not None:
            fields[_field_name(name)] = masked(str(value))
    if isinstance(kind := getattr(record, "kind", None), Kind):
        fields["MESSAGE_ID"] = kind.value
    return fields


def encoded(fields: Mapping[str, str]) -> bytes:
    """The bytes of one record (systemd's JOURNAL_NATIVE_PROTOCOL).

    A value of one line is `NAME=value`; any other has its length before it, so that nothing in it can pass
    for a field.
    """
    return b"".join(_pieces(fields))


def _pieces(fields: Mapping[str, str]) -> Iterator[bytes]:
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            yield b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
        else:
            yield b"%s=%s\n" % (name.encode(), data)


def _field_name(attribute: str) -> str:
    """Field names have capitals, digits and underscores, 64 at most; the rest is dropped."""
    return re.sub(r"[^A-Z0-9_]", "", attribute.upper())[:64]


def _is_file(stream: TextIO) -> bool:
    with suppress(OSError, ValueError):
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    return False
