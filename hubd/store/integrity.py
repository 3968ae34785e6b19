"""Checks the database and the files beside it; changes nothing.

It reads on a connection of its own, in snapshots that follow one another, so that messages go out and the
write-ahead log can be copied meanwhile. What is found is said in words, with what to do about it.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import trio

from hubd.core.model import TRANSACTIONAL_PREFIX, DeliveryState
from hubd.core.records import Finding
from hubd.errors import StoreUnavailable
from hubd.store.batch import roll_back
from hubd.store.campaign_rows import EVERY
from hubd.store.compaction import empty_bytes, is_worth_it
from hubd.store.connection import open_plain, trouble_of
from hubd.store.database import Database
from hubd.store.disk_space import DEFAULT_LIMITS, MIB, needed
from hubd.store.free_pages import number
from hubd.store.retention import Retention, overdue
from hubd.store.rollup import difference
from hubd.store.transaction import Transaction
from hubd.store.unit import audit_hash
from hubd.store.watermark import Watermark, WatermarkFile, watermark_of

LOOK = 100_000  #: instructions of SQLite's machine between looks at whether the answer is still wanted
LATE = 2 * 86_400.0  #: seconds after which what is to be removed is late: a daemon may not have run meanwhile
_DAY = 86_400.0
WATERMARK_SECONDS = 3.0  #: seconds in which the watermark has to catch up
NAMED = 5  #: things that are named one by one

#: The health of the file, in a line for each fault.
QUICK_CHECK = "PRAGMA quick_check(5)"
#: Rows that name a row which is not there.
DANGLING = 'SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1'
#: The same numbers, counted.
RECOUNT = "SELECT campaign_id, state, count(*) FROM delivery GROUP BY campaign_id, state"
#: Campaigns whose figures are complete, with those of one-off messages.
ROLLED_UP = """
SELECT id, name FROM campaign
WHERE doomed = 0 AND id NOT IN (SELECT campaign_id FROM rollup_pending)"""
#: Accounts of credits, and what is left of a recount of each; nothing is left if all is as it should be.
ACCOUNTS = """
SELECT name,
    granted - coalesce((SELECT sum(CASE kind WHEN 'granted' THEN credits WHEN 'taken_back' THEN -credits
                                   ELSE 0 END) FROM credit_entry WHERE account = name), 0) AS granted,
    held - coalesce((SELECT sum(held) FROM credit_hold WHERE account = name), 0) AS held,
    spent - coalesce((SELECT sum(spent) FROM credit_hold WHERE account = name), 0) AS spent
FROM credit_account"""
#: The same of holds: those of which the attempts do not say the same.
HOLDS = """
SELECT DISTINCT account FROM credit_hold LEFT JOIN (
    SELECT hold_id, sum(CASE spent WHEN 0 THEN credits ELSE 0 END) AS at_risk,
        sum(CASE spent WHEN 1 THEN credits ELSE 0 END) AS spent FROM credit_use GROUP BY hold_id
) AS used ON used.hold_id = credit_hold.id
WHERE credit_hold.at_risk <> coalesce(used.at_risk, 0)
    OR credit_hold.spent <> coalesce(used.spent, 0) + cleared"""
#: Accounts whose campaigns have attempts that were accepted and not paid for, or paid for and not accepted.
UNPAID = """
SELECT DISTINCT campaign.credits FROM campaign JOIN delivery ON delivery.campaign_id = campaign.id
JOIN attempt ON attempt.delivery_id = delivery.id
LEFT JOIN credit_use ON credit_use.delivery_id = delivery.id AND credit_use.n = attempt.n
WHERE campaign.credits <> '' AND campaign.doomed = 0
    AND ((attempt.outcome = 'sent' AND coalesce(credit_use.spent, 0) = 0)
         OR (credit_use.spent = 1 AND coalesce(attempt.outcome, '') NOT IN ('sent', 'in_doubt')))"""
#: Attempts that are open, with the campaign they belong to.
OPEN_ATTEMPTS = """
SELECT attempt.id, attempt.epoch, delivery.campaign_id, delivery.state
FROM attempt INDEXED BY attempt_one_open JOIN delivery ON delivery.id = attempt.delivery_id
WHERE attempt.outcome IS NULL"""
#: The audit trail, a page at a time.
LINKS = """
SELECT seq, at, actor, action, campaign_id, delivery_id, data, hash FROM audit
WHERE seq > ? ORDER BY seq LIMIT 1000"""

_ASIDE = (
    "stop hubd, keep the state directory as it is and examine a copy of it; "
    "if it cannot be repaired, restore a backup (docs/backup.md)"
)


class IntegrityCheck:
    """Looks over an open database."""

    def __init__(self, db: Database, retention: Callable[[], Retention] = Retention) -> None:
        """`retention` says how long history is to be kept."""
        self._db = db
        self._retention = retention
        self._threads = trio.CapacityLimiter(1)  # of its own: imports and commands need the others

    async def examine(self, running: Callable[[], Collection[int]]) -> list[Finding]:
        """Everything that can be looked at while the daemon runs; `running` says which campaigns run now."""
        path, epoch = self._db.path, self._db.epoch
        try:
            self._db.check_file()
        except StoreUnavailable as error:  # what is at the path is not what is open
            return [Finding(check="file", ok=False, found=str(error), advice=error.hint)]
        findings = await trio.to_thread.run_sync(partial(_examine, path), limiter=self._threads)
        findings.insert(3, await self._attempts(running, epoch))
        findings.append(await self._history())
        return findings

    async def _history(self) -> Finding:
        """Whether anything is kept longer than it should be. What is due is removed once an hour."""
        retention, now = self._retention(), self._db.steady()
        if retention == Retention():
            return Finding(
                check="history", ok=True, found="history is kept for ever: hubd.toml has no [retention]"
            )
        late = await self._db.read(partial(overdue, retention=retention, now=now))
        if late < LATE:
            return Finding(check="history", ok=True, found="nothing is kept longer than [retention] allows")
        return Finding(
            check="history",
            ok=False,
            found=f"some history is kept {_count(int(late // _DAY), 'day')} longer than [retention] allows",
            advice="hubd removes old history once an hour; if this stays, see the log for the reason",
        )

    async def _attempts(self, running: Callable[[], Collection[int]], epoch: int) -> Finding:
        """An open attempt that no run holds, seen twice: a run that ends in between has closed its own."""
        held = set(running())
        lost = await self._unheld(held, epoch)
        if lost:
            held |= set(running())
            lost &= await self._unheld(held, epoch)
        if not lost:
            return Finding(check="attempts", ok=True, found="every open attempt has an active sender")
        return Finding(
            check="attempts",
            ok=False,
            found=f"{_count(len(lost), 'open attempt')} without an active sender",
            advice="restart hubd: they become in_doubt, and you decide about them",
        )

    async def _unheld(self, held: Collection[int], epoch: int) -> set[int]:
        def work(db: Transaction) -> set[int]:
            return {
                attempt
                for attempt, opened_in, campaign_id, state in db.execute(OPEN_ATTEMPTS)
                if opened_in != epoch or campaign_id not in held or state != DeliveryState.SENDING
            }

        return await self._db.read(work)


def _examine(path: Path) -> list[Finding]:
    try:
        return _examine_all(path)
    except sqlite3.Error as error:
        trio.from_thread.check_cancelled()
        return [Finding(check="file", ok=False, found=trouble_of(error)[0], advice=_ASIDE)]


def _examine_all(path: Path) -> list[Finding]:
    watermark = WatermarkFile(path)
    findings: list[Finding] = []
    with closing(open_plain(path, writer=False)) as db:
        db.set_progress_handler(_unwanted, LOOK)
        current = watermark_of(db)
        for look in (_file, _links, _counts, _figures, _credits, _audit, _space):
            try:
                with _snapshot(db):
                    found = look(db)
                if found is not None:
                    findings.append(found)
            except sqlite3.Error as error:
                trio.from_thread.check_cancelled()
                what = trouble_of(error)[0]
                findings.append(Finding(check=look.__name__[1:], ok=False, found=what, advice=_ASIDE))
    findings.append(_watermark(watermark, current))
    findings.append(_disk_space(path))
    return findings


def _unwanted() -> bool:
    try:
        trio.from_thread.check_cancelled()
    except trio.Cancelled:
        return True
    return False


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
    finally:
        roll_back(db)


def _file(db: sqlite3.Connection) -> Finding:
    faults = [str(row[0]) for row in db.execute(QUICK_CHECK)]
    if faults == ["ok"]:
        return Finding(check="file", ok=True, found="the database file is sound")
    return Finding(
        check="file", ok=False, found=f"the database file is damaged: {'; '.join(faults)}", advice=_ASIDE
    )


def _space(db: sqlite3.Connection) -> Finding:
    """How much of the file holds nothing."""
    size, empty = number(db, "page_count") * number(db, "page_size"), empty_bytes(db)
    found = f"{empty // MIB:,} of {size // MIB:,} MiB of the database file are unused"
    if is_worth_it(empty, size):
        found += ": a restart of hubd frees them"
    return Finding(check="space", ok=True, found=found)


def _links(db: sqlite3.Connection) -> Finding:
    dangling = [f"{n} in {table}" for table, n in db.execute(DANGLING)]
    if not dangling:
        return Finding(check="links", ok=True, found="no row refers to a missing row")
    found = f"rows that refer to missing rows: {', '.join(dangling)}"
    return Finding(check="links", ok=False, found=found, advice=_ASIDE)


def _counts(db: sqlite3.Connection) -> Finding:
    counted: dict[int, dict[str, int]] = {}
    for campaign_id, state, n in db.execute(RECOUNT):
        counted.setdefault(campaign_id, {})[state] = n
    wrong, looked_at = [], 0
    for campaign in db.execute(EVERY):
        looked_at += not campaign["name"].startswith(TRANSACTIONAL_PREFIX)  # the others are no user's
        states = counted.pop(campaign["id"], {})
        data = {state: campaign[f"n_{state}"] for state in DeliveryState}
        if campaign["n_total"] != sum(states.values()) or any(
            data[state] != states.get(state, 0) for state in DeliveryState
        ):
            wrong.append(campaign["name"])
    if not wrong and not counted:
        found = f"the counts of {_count(looked_at, 'campaign')} match a recount"
        return Finding(check="counts", ok=True, found=found)
    found = (
        f"the counts do not match a recount: {_some(wrong)}"
        if wrong
        else "there are deliveries without a campaign"
    )
    return Finding(check="counts", ok=False, found=found, advice=_ASIDE)


def _figures(db: sqlite3.Connection) -> Finding:
    """Whether the roll-up of each campaign equals a recount."""
    wrong, looked_at = [], 0
    for row in db.execute(ROLLED_UP).fetchall():
        looked_at += 1
        if difference(db, row["id"]):
            wrong.append(row["name"])
    if not wrong:
        found = f"the figures of {_count(looked_at, 'campaign')} by the hour match a recount"
        return Finding(check="figures", ok=True, found=found)
    found = f"the figures by the hour do not match a recount: {_some(wrong)}"
    return Finding(check="figures", ok=False, found=found, advice=_ASIDE)


def _credits(db: sqlite3.Connection) -> Finding | None:
    """None if there are no accounts."""
    accounts = db.execute(ACCOUNTS).fetchall()
    if not accounts:
        return None
    wrong = {str(name) for name, *left in accounts if any(left)}
    wrong |= {str(name) for statement in (HOLDS, UNPAID) for (name,) in db.execute(statement)}
    if not wrong:
        found = f"the credits of {_count(len(accounts), 'account')} match a recount"
        return Finding(check="credits", ok=True, found=found)
    found = f"the credits do not match a recount: {', '.join(sorted(wrong)[:NAMED])}"
    return Finding(check="credits", ok=False, found=found, advice=_ASIDE)


def _audit(db: sqlite3.Connection) -> Finding:
    before, seq = b"", 0
    while rows := db.execute(LINKS, (seq,)).fetchall():
        for row in rows:
            fields = (row[name] for name in ("at", "actor", "action", "campaign_id", "delivery_id", "data"))
            if row["seq"] != seq + 1 or row["hash"] != audit_hash(before, *fields):
                found = f"the audit trail is broken at number {seq + 1}: a decision was changed or removed"
                return Finding(check="audit", ok=False, found=found, advice=_ASIDE)
            before, seq = row["hash"], row["seq"]
    return Finding(check="audit", ok=True, found=f"the audit trail is complete: {_count(seq, 'decision')}")


def _watermark(watermark: WatermarkFile, current: Watermark) -> Finding:
    """Whether the watermark has come at least as far as the database had when the looking began."""
    end = time.monotonic() + WATERMARK_SECONDS
    advice = f"check whether the disk is full and whether hubd may write {watermark.path}"
    while True:
        try:
            recorded = watermark.read()
        except OSError as error:
            found = f"{watermark.path} cannot be read: {error.strerror}"
            return Finding(check="anchor", ok=False, found=found, advice=advice)
        if (
            recorded is not None
            and recorded.instance_id == current.instance_id
            and _reaches(recorded, current)
        ):
            return Finding(
                check="anchor", ok=True, found=f"{watermark.path.name} is up to date with the database"
            )
        if time.monotonic() >= end:
            how = "missing or damaged" if recorded is None else "behind the database"
            return Finding(check="anchor", ok=False, found=f"{watermark.path} is {how}", advice=advice)
        trio.from_thread.check_cancelled()
        time.sleep(0.05)  # in a thread of its own; a file has no event to wait on


def _reaches(recorded: Watermark, current: Watermark) -> bool:
    return (recorded.epoch, recorded.opened, recorded.audit_seq) >= (
        current.epoch,
        current.opened,
        current.audit_seq,
    )


def _disk_space(path: Path) -> Finding:
    log = path.with_name(path.name + "-wal")
    log_size = log.stat().st_size if log.exists() else 0
    disk = shutil.disk_usage(path.parent)
    wanted = needed(DEFAULT_LIMITS, total=disk.total, log_size=log_size, short=False)
    data = f"{disk.free // MIB:,} MiB are free in {path.parent}"
    if disk.free >= wanted:
        return Finding(check="room", ok=True, found=data)
    advice = f"free disk space: hubd sends nothing while less than {wanted // MIB:,} MiB are free"
    return Finding(check="room", ok=False, found=f"only {data}", advice=advice)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _count(n: int, noun: str) -> str:
    return f"1 {noun}" if n == 1 else f"{n:,} {noun}s"
