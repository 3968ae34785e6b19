"""A small file beside the database that says how far the database had come.

A database cannot know what it has lost: an older copy of it, or one without its write-ahead log, is healthy
in itself. So its watermark is written down once more, in `hub.anchor`: at each boot before anything is sent,
within a second after it changed, and at an orderly end. Only what is committed is written. So the database
may be ahead of its watermark, after a crash for one; when the watermark is ahead, committed history is
missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

import trio

from hubd.errors import StoreUnavailable
from hubd.files import replace_file
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit

log = logging.getLogger(__name__)

INTERVAL = 0.5  #: seconds between looks at whether the database has come further
MAX_BYTES = 4096  #: a watermark takes a few hundred

#: How far the database has come.
CURRENT = """
SELECT instance_id, epoch, (SELECT coalesce(sum(attempts), 0) FROM opened) AS opened,
    coalesce(audit.seq, 0) AS audit_seq, audit.hash AS audit_hash
FROM hub LEFT JOIN audit ON audit.seq = (SELECT max(seq) FROM audit)"""
#: The link of the audit trail that the watermark names, if it is there.
LINK = "SELECT hash FROM audit WHERE seq = ?"
#: From now on the watermark has to be there.
NOTE_WATERMARK = "UPDATE hub SET anchored = 1 WHERE anchored = 0"

#: What is known of the file itself.
HUB = "SELECT * FROM hub"
#: It is a restored one. The epoch goes beyond every epoch that was ever told to a client.
MARK_RESTORED = """
UPDATE hub SET restored_at = :now, restored_why = :why, restored_epoch = :epoch + 1,
    restoring = 0, copied_at = NULL, epoch = :epoch"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """How far a database has come."""

    instance_id: str
    epoch: int  #: the number of its newest boot
    opened: int  #: attempts ever opened
    audit_seq: int  #: the newest link of the audit trail, 0 when there is none
    audit_hash: str  #: in hexadecimal; "" when there is none


class Reader(Protocol):
    """Runs something on a connection that sees what is committed, and nothing else."""

    def __call__(self, work: Callable[[Transaction], Watermark], /) -> Awaitable[Watermark]: ...


def watermark_path(database: Path) -> Path:
    """The path of the watermark of a database: hub.anchor beside hub.db."""
    return database.with_suffix(".anchor")


def watermark_of(db: Transaction) -> Watermark:
    """How far this database has come, as this connection sees it."""
    instance_id, epoch, opened, audit_seq, audit_hash = db.execute(CURRENT).fetchone()
    return Watermark(
        instance_id=instance_id,
        epoch=epoch,
        opened=opened,
        audit_seq=audit_seq,
        audit_hash=(audit_hash or b"").hex(),
    )


def missing_history(
    watermark: Watermark, recorded: Watermark | None, *, link: str | None, anchored: bool, copy: bool
) -> str:
    """Why a database that stands at `watermark` lacks what was once committed; "" when it does not.

    `recorded` is what its watermark says (None without one), `link` the database's own hash of the link of
    the audit trail that the watermark names, `anchored` whether the watermark has to be there, `copy` whether
    the file was made as a backup.
    """
    if copy:
        return "it is a backup"
    if recorded is None:
        return "its file hub.anchor is missing or damaged" if anchored else ""
    if recorded.instance_id != watermark.instance_id:
        return "its file hub.anchor belongs to another database"
    behind = watermark.epoch < recorded.epoch or watermark.opened < recorded.opened
    if behind or (recorded.audit_seq and link != recorded.audit_hash):
        return "its file hub.anchor says that later changes are missing"
    return ""


def _link_of(db: Transaction, recorded: Watermark | None) -> str | None:
    """The database's own hash of the link that the watermark names; None when it has no such link."""
    found = db.execute(LINK, (recorded.audit_seq,)).fetchone() if recorded is not None else None
    return None if found is None else bytes(found[0]).hex()


def notice(unit: Unit, recorded: Watermark | None) -> str:
    """Mark the file when committed history is missing: why, or "". Inside the transaction of the boot.

    `recorded` is what the watermark says, None without one. A file whose holding was cut off is marked
    already.
    """
    hub = unit.db.execute(HUB).fetchone()
    if hub["restoring"] is not None and hub["copied_at"] is None:
        return ""
    watermark = watermark_of(unit.db)
    why = missing_history(
        watermark,
        recorded,
        link=_link_of(unit.db, recorded),
        anchored=bool(hub["anchored"]),
        copy=hub["copied_at"] is not None,
    )
    if not why:
        return ""
    own = recorded if recorded is not None and recorded.instance_id == watermark.instance_id else watermark
    epoch, opened = max(watermark.epoch, own.epoch), max(watermark.opened, own.opened)
    unit.db.execute(MARK_RESTORED, {"now": unit.now, "why": why, "epoch": epoch})
    unit.attempts += opened - watermark.opened
    unit.event("hub.restored", None, {"why": why})
    data = {"why": why, "epoch": watermark.epoch, "opened": watermark.opened, "copied_at": hub["copied_at"]}
    unit.audit("restore", "restore.found", data=data)
    return why


class WatermarkFile:
    """The file beside one database."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.path = watermark_path(database)
        self._written: Watermark | None = None
        self._troubled = False

    def read(self) -> Watermark | None:
        """What it says; None when there is none, or none that can be believed. Raises `OSError`."""
        try:
            with self.path.open("rb") as stream:
                text = stream.read(MAX_BYTES)
        except FileNotFoundError:
            return None
        return _parse(text)

    def write(self, watermark: Watermark) -> None:
        """Replace it, durably and all at once. Raises `OSError`, and then the old one stays."""
        replace_file(self.path, _text(watermark), new=self.path.with_name(self.path.name + ".new"))
        self._written = watermark

    def cast(self, db: Transaction) -> None:
        """Write down what `db`, which must be outside any transaction, has committed. Raises `OSError`, and
        `sqlite3.Error` when it cannot be noted in the database that the file is there.
        """
        self.write(watermark_of(db))
        db.execute(
            NOTE_WATERMARK
        )  # only after the file: were it the other way, a crash between would look like a loss

    async def follow(self, read: Reader, changes: Callable[[], int]) -> None:
        """Keep the file within a second of what is committed, until cancelled.

        `changes` is a number that grows with every commit: while it stands still nothing is read.
        """
        seen = -1
        while True:
            await trio.sleep(INTERVAL)
            if (latest := changes()) == seen:
                continue
            try:
                watermark = await read(watermark_of)
                if watermark != self._written:
                    await trio.to_thread.run_sync(self.write, watermark)
            except StoreUnavailable as error:
                log.debug("the watermark waits: %s", error)
            except OSError as error:
                if not self._troubled:
                    log.error("%s cannot be written: %s", self.path, error.strerror)
                self._troubled = True
            else:
                seen, self._troubled = latest, False


def _text(watermark: Watermark) -> bytes:
    values = asdict(watermark)
    return json.dumps({"format": 1, **values, "check": _check(values)}, indent=1).encode("ascii") + b"\n"


def _parse(text: bytes) -> Watermark | None:
    try:
        found = json.loads(text)
        values = {field.name: found[field.name] for field in fields(Watermark)}
        believable = found["format"] == 1 and found["check"] == _check(values)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return Watermark(**values) if believable else None


def _check(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
