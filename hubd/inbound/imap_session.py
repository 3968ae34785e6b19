"""One connection to a mailbox over IMAP4rev1 (RFC 3501), for use in a thread: imapclient blocks.

No server can make it read without end: each answer may only take so many bytes, and the caller ends what
takes too long with `cut`. Mails are only peeked at and never deleted.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError

from hubd.core.mail_parts import MOST_BYTES

# They would log what was said: passwords, addresses, and tracebacks about broken mails.
for _name in ("imapclient", "flufl.bounce"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

#: Seconds for a connection, and for each answer of the server.
CONNECT_SECONDS = 30.0
ANSWER_SECONDS = 60.0
#: Bytes that a server may send in answer to one command.
MOST_ANSWER = 8 << 20
#: Bytes of mails that are fetched at once, and how many mails.
FETCH_BYTES = 4 << 20
FETCH_MAILS = 50
#: UIDs that one search spans: its answer is one line, and imaplib accepts one million bytes.
_SPAN = 100_000
#: Mails from the last so many days are read when a mailbox is read for the first time.
LOOK_BACK_DAYS = 30
#: Mails of an earlier run that are moved at once: see `acknowledge_until`.
_MOST_MOVED = 1_000


T = TypeVar("T")
#: Refusals that pass by themselves (RFC 5530, 3).
_PASSES = re.compile(r"\[(?:UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\]|too many", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSettings:
    """How to reach one mailbox."""

    host: str
    port: int = 993
    security: Literal["tls", "starttls", "none"] = "tls"
    username: str
    folder: str = "INBOX"
    processed_folder: str = ""  #: "" to mark as seen instead
    context: ssl.SSLContext | None = field(default=None, compare=False)  #: checks certificates


@dataclass(frozen=True, slots=True)
class Place:
    """How far a mailbox has been read: its UIDVALIDITY and the last UID (RFC 3501, 2.3.1.1)."""

    validity: int
    uid: int

    @classmethod
    def parse(cls, cursor: str) -> Place | None:
        """None for "", and for anything that is not our cursor."""
        validity, _, uid = cursor.partition(":")
        if not (validity.isascii() and validity.isdigit() and uid.isascii() and uid.isdigit()):
            return None
        return cls(int(validity), int(uid))

    def __str__(self) -> str:
        return f"{self.validity}:{self.uid}"


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail in the mailbox, or as much of it as was read."""

    uid: int
    data: bytes
    received: float  #: seconds since the epoch


class Broken(Exception):
    """The connection or the mailbox cannot be used; `person` says whether somebody has to act."""

    def __init__(self, problem: str, *, person: bool = False, login: bool = False) -> None:
        super().__init__(problem)
        self.person = person
        self.login = login  #: the server refused the login


class ImapSession:
    """One connection. Its methods block, so call them through `run` in a thread; only `cut` does not."""

    def __init__(self, settings: MailboxSettings) -> None:
        self._settings = settings
        self._client: Any = None
        self._left = MOST_ANSWER
        self._turn = threading.Lock()  # held by the thread that uses the client
        self._cut = False
        self.validity = self.next_uid = 0
        self.mails = 0  #: in the folder when it was opened
        self.idles = self.moves = False  #: whether the server supports IDLE, and MOVE

    def run(self, step: Callable[[], T]) -> T:
        """Call one of the other methods, in a thread. Raises `Broken`."""
        try:
            with self._turn:
                return step()
        finally:
            if self._cut:  # `cut` left closing to this step if it was under way
                self.cut()

    def cut(self) -> None:
        """End the connection at once, from any thread; a step that is under way raises `Broken`."""
        self._cut = True
        client = self._client
        if client is not None:
            with suppress(OSError):
                # Not the TLS socket's own shutdown: another thread may be using it.
                socket.socket.shutdown(client.socket(), socket.SHUT_RDWR)
        if self._turn.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._turn.release()

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(OSError, ValueError):
                client.shutdown()

    def open(self, log_in: Callable[[Any], object]) -> None:
        """Connect, call `log_in` with the client, and open the folder."""
        self._client = _connected(self._settings)
        self._limit_answers()
        if self._settings.security == "starttls":
            self._say(self._client.starttls, self._settings.context)
        self._say(log_in, self._client)
        selected = self._select(self._settings.folder)
        self.validity = _number(selected.get(b"UIDVALIDITY"))
        self.next_uid = _number(selected.get(b"UIDNEXT"))
        self.mails = _number(selected.get(b"EXISTS"))
        self.idles = bool(self._say(self._client.has_capability, "IDLE"))
        self.moves = bool(self._say(self._client.has_capability, "MOVE"))

    def close(self) -> None:
        """Log out."""
        with suppress(Broken):  # it does not matter if the server does not answer properly
            self._say(self._client.logout)

    def begin(self, last: Place | None, now: float) -> Place:
        """Where to continue reading: after `last`, if it is still valid for this mailbox.

        If it is not (another UIDVALIDITY, or a mailbox that was restored from a copy), the mails of the last
        `LOOK_BACK_DAYS` are read again, which has no further effect.
        """
        if last is not None and last.validity == self.validity and last.uid < max(self._upper(), 1):
            return last
        for at in range(1, self._upper(), _SPAN):
            if uids := self._say(self._client.search, [*_since(now), "UID", f"{at}:{at + _SPAN - 1}"]):
                return Place(self.validity, max(min(uids), 1) - 1)
        return Place(self.validity, self._upper() - 1)

    def _upper(self) -> int:
        """The lowest UID that the next mail can have."""
        return self.next_uid or 1

    def look(self) -> None:
        """Find out what has arrived since."""
        selected = self._select(self._settings.folder)
        if _number(selected.get(b"UIDVALIDITY")) != self.validity:
            raise Broken("the folder was replaced while it was read")
        self.next_uid = _number(selected.get(b"UIDNEXT"))

    def after(self, place: Place) -> tuple[list[Mail], Place, bool]:
        """The next mails after a place, the place after them, and whether there are more."""
        at = place.uid + 1
        while at < self._upper():
            found = self._say(self._client.search, ["UID", f"{at}:{at + _SPAN - 1}"])
            # For "n:*", and on some servers always, the last mail is found although its UID is lower.
            uids = sorted(uid for uid in found if at <= uid < at + _SPAN)
            if uids:
                mails, last = self._fetch(uids[:FETCH_MAILS])
                return mails, Place(self.validity, last), last < self._upper() - 1
            at += _SPAN
        return [], Place(self.validity, max(place.uid, self._upper() - 1)), False

    def _fetch(self, uids: Sequence[int]) -> tuple[list[Mail], int]:
        """The first of these mails, as many as fit in memory at once, and the last UID among them."""
        told = self._say(self._client.fetch, uids, ["INTERNALDATE", "RFC822.SIZE"])
        wanted: list[int] = []
        left = FETCH_BYTES
        for uid in uids:
            size = min(_number(told.get(uid, {}).get(b"RFC822.SIZE")), MOST_BYTES)
            if wanted and size > left:
                break
            wanted.append(uid)
            left -= size
        # A mail that is not listed any more was removed meanwhile.
        here = [uid for uid in wanted if uid in told]
        got = self._say(self._client.fetch, here, [f"BODY.PEEK[]<0.{MOST_BYTES}>"]) if here else {}
        mails = [
            Mail(uid, _body(got[uid]), _time(told[uid].get(b"INTERNALDATE"))) for uid in here if uid in got
        ]
        return mails, wanted[-1]

    def wait(self, seconds: float) -> None:
        """IDLE (RFC 2177) until something happens, or until the seconds are over.

        When a server says BYE, the next command notices.
        """
        if not self._say(self._begin_idle):
            self._say(self._client.idle_check, seconds)
        self._say(self._client.idle_done)

    def _begin_idle(self) -> bool:
        """Ask for IDLE. Returns whether the server sent news first, which imapclient takes for an error."""
        imap = self._client._imap
        tag = self._client._idle_tag = imap._command("IDLE")
        told = False
        while imap._get_response() is not None:
            told = True
            if imap.tagged_commands[tag] is not None:
                raise Broken("the server offers IDLE but refuses it")
        return told

    def acknowledge(self, uids: Sequence[int]) -> str:
        """Move these into the folder for processed mails, or mark them as seen.

        Returns what the server refused, "" if nothing: a refusal does not stop the mailbox from being read.
        """
        if not uids:
            return ""
        folder, refusal = self._settings.processed_folder, ""
        if folder and self.moves:
            try:
                if not self._say(self._client.folder_exists, folder):
                    self._say(self._client.create_folder, folder)
                self._say(self._client.move, uids, folder)
                return ""
            except Broken as refused:
                if not refused.person:
                    raise
                refusal = f"mails cannot be moved to the folder {folder}: {refused}"
        try:
            self._say(self._client.add_flags, uids, [rb"\Seen"], silent=True)
        except Broken as refused:
            if not refused.person:
                raise
            return refusal or f"mails cannot be marked as seen: {refused}"
        return f"{refusal}; they are marked as seen instead" if refusal else ""

    def acknowledge_until(self, place: Place, now: float) -> str | None:
        """Move what an earlier connection read but could not move before it ended; as `acknowledge`.

        None if mails are not moved: then nothing shows whether the server still refuses something. Mails that
        were too old when the mailbox was read for the first time stay where they are.
        """
        if self._settings.processed_folder and self.moves and place.uid:
            span = f"{max(1, place.uid - _SPAN)}:{place.uid}"
            found = self._say(self._client.search, [*_since(now), "UID", span])
            return self.acknowledge(sorted(uid for uid in found if uid <= place.uid)[-_MOST_MOVED:])
        return None

    def _select(self, folder: str) -> dict[bytes, Any]:
        try:
            selected: dict[bytes, Any] = self._say(self._client.select_folder, folder)
        except Broken as refused:
            if refused.person:
                raise Broken(f"the folder {folder} cannot be opened: {refused}", person=True) from None
            raise
        return selected

    def _say(self, command: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Run one command and return its answer. Raises `Broken`, with `person` if the server refused it."""
        self._left = MOST_ANSWER
        if self._cut:
            raise Broken("the connection was closed")
        try:
            return command(*arguments, **more)
        except LoginError as refused:
            passes = _PASSES.search(str(refused)) is not None
            raise Broken(_words(refused), person=not passes, login=not passes) from None
        except IMAPClientAbortError as lost:
            raise Broken(_words(lost)) from None
        except IMAPClientError as refused:
            raise Broken(_words(refused), person=not _PASSES.search(str(refused))) from None
        except ssl.SSLCertVerificationError as untrusted:
            raise Broken(
                f"the certificate is not accepted: {untrusted.verify_message}", person=True
            ) from None
        except OSError as lost:
            raise Broken(_reason(lost)) from None
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError):
            # What imaplib and imapclient raise for invalid answers.
            raise Broken("the server sent something that is not an IMAP answer") from None

    def _limit_answers(self) -> None:
        """Count what the server sends; imaplib believes whatever length a literal claims."""
        imap = self._client._imap
        read, readline = imap.read, imap.readline

        def take(size: int) -> None:
            self._left -= size
            if self._left < 0:
                raise IMAPClientAbortError(f"the server sends more than {MOST_ANSWER >> 20} MB at once")

        def limited_read(size: int) -> bytes:
            take(size)
            data: bytes = read(size)
            return data

        def limited_readline() -> bytes:
            line: bytes = readline()
            take(len(line))
            return line

        imap.read, imap.readline = limited_read, limited_readline


def renewal(name: str) -> float:
    """Seconds after which IDLE is renewed: 5 to 9 minutes, different for each mailbox.

    RFC 2177 asks for less than 29 minutes; many routers forget a silent connection sooner.
    """
    return 300.0 + zlib.crc32(name.encode()) % 240


def _connected(settings: MailboxSettings) -> Any:
    try:
        return IMAPClient(
            settings.host,
            settings.port,
            ssl=settings.security == "tls",
            ssl_context=settings.context,
            timeout=SocketTimeout(CONNECT_SECONDS, ANSWER_SECONDS),
        )
    except ssl.SSLCertVerificationError as untrusted:
        raise Broken(f"the certificate is not accepted: {untrusted.verify_message}", person=True) from None
    except OSError as lost:
        raise Broken(_reason(lost)) from None
    except (IMAPClientError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise Broken("the server at this address is not an IMAP server") from None


def _since(now: float) -> list[object]:
    """The search criteria for mails that are not too old to be read."""
    return ["SINCE", datetime.fromtimestamp(now - LOOK_BACK_DAYS * 86400, UTC).date()]


def _words(error: Exception) -> str:
    """What the server said, one printable line."""
    text = " ".join(str(error).split())
    if text.startswith("b'") and text.endswith("'"):
        text = text[2:-1]
    return "".join(char for char in text if char.isprintable())[:300]


def _reason(lost: OSError) -> str:
    if isinstance(lost, TimeoutError):
        return "the server does not answer"
    return lost.strerror or _words(lost) or "the connection was lost"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _body(answer: dict[bytes, Any]) -> bytes:
    found = next((value for name, value in answer.items() if name.startswith(b"BODY[]")), b"")
    return found if isinstance(found, bytes) else b""


def _time(received: object) -> float:
    if not isinstance(received, datetime):
        return 0.0
    try:
        return received.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
