"""Commands as transactions: the effect, its events, the audit row and the kept answer are one unit of work.

A request that is repeated with its key gets the answer that was kept with the effect of the first one. After
a daemon that was killed there are both, or neither. What is too much for one transaction goes page by page:
each page is written together with how far that is, and a repeated request continues from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import msgspec

from hubd.core.decide import Pages, Request, S, check_revision
from hubd.core.model import Campaign
from hubd.core.records import First
from hubd.errors import HubError, NotFound
from hubd.failpoints import reach
from hubd.store.campaign_rows import campaign_by_name
from hubd.store.database import Database
from hubd.store.transaction import Transaction, record
from hubd.store.unit import Unit, Work

T = TypeVar("T")
A = TypeVar("A", bound=Mapping[str, object])

#: The first request with this key.
FIRST = "SELECT fingerprint, result, progress FROM answer WHERE method = ? AND key = ?"
#: What it was answered, or how far it has got.
KEEP = """
INSERT INTO answer (method, key, fingerprint, result, progress, arrived, created_at)
VALUES (?, ?, ?, ?, ?, 0, ?)
ON CONFLICT (method, key) DO UPDATE SET result = excluded.result, progress = excluded.progress"""
#: It has failed: the key may be used again.
FORGET = "DELETE FROM answer WHERE method = ? AND key = ? AND result = ''"
#: Answers older than a time, a page of them.
REMOVE_ANSWERS = """
DELETE FROM answer WHERE (method, key) IN
    (SELECT method, key FROM answer WHERE created_at < ? LIMIT ?)"""

PAGE = 1_000  #: answers removed in one unit of work


class Commands:
    """The audit trail of commands, and the answers that are kept for 30 days."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def first(self, method: str, key: str) -> First | None:
        """What is known of the first request with a key. Raises `StoreUnavailable`."""

        def work(db: Transaction) -> First | None:
            row = db.execute(FIRST, (method, key)).fetchone()
            if row is None:
                return None
            return record(First, row, answer=row["result"])

        return await self._db.read(work)

    async def carry_out(
        self, request: Request, work: Work[T], answer: Callable[[T], A], *, bulk: bool = False
    ) -> tuple[T, A]:
        """Run a command's unit of work; what it returned, and the answer, which is kept under the key.

        `answer` is pure and makes the answer of what `work` returns. Nothing is noted or kept of a `work`
        that raises. One that returns an error was refused and yet has an effect, and the error is raised.
        Raises `RevisionConflict` and `StoreUnavailable`; `bulk` is that of `Database.write`.
        """

        def whole(unit: Unit) -> tuple[T, A] | HubError:
            _check(unit, request)
            value = work(unit)
            if isinstance(value, HubError):
                return value
            said = answer(value)
            _note(unit, request, said)
            _keep(unit, request, said)
            return value, said

        done = await self._db.write(whole, bulk=bulk)
        reach("after_command")
        if isinstance(done, HubError):
            raise done
        return done

    async def carry_out_pages(
        self,
        request: Request,
        pages: Pages[S],
        last: Callable[[S], Work[T]],
        answer: Callable[[S, T], A],
        *,
        bulk: bool = False,
    ) -> tuple[T, A]:
        """As `carry_out`, page by page; `last` is done with the last page, and mostly that is the first.

        The audit row is written with the first page. Under a key a request that was cut off goes on where it
        was.
        """
        done = msgspec.json.decode(request.progress, type=type(pages.begin)) if request.progress else None
        while True:

            def whole(unit: Unit, before: S | None = done) -> tuple[S, tuple[T, A] | None]:
                if before is None:
                    _check(unit, request)
                after, ends = pages.page(unit, before or pages.begin)
                value: T | None = None
                said: A | None = None
                if ends:
                    unit.flush()  # `last` reads the counters
                    value = last(after)(unit)
                    said = answer(after, value)
                if before is None:
                    _note(unit, request, said or {})
                _keep(unit, request, said, progress=msgspec.json.encode(after).decode())
                return after, None if said is None else (cast("T", value), said)

            done, ended = await self._db.write(whole, bulk=bulk)
            reach("after_command")
            if ended is not None:
                return ended

    async def begin(self, request: Request) -> None:
        """Remember, before it has its effect, a request whose effect is not in the database."""
        await self._db.write(lambda unit: _keep(unit, request, None, progress="{}"))

    async def forget(self, request: Request) -> None:
        """A request that was begun has failed: the key may be used again."""
        await self._db.write(lambda unit: unit.db.execute(FORGET, (request.method, request.key)))

    async def plan(self, pages: Pages[S]) -> S:
        """What the pages would come to. Raises `StoreUnavailable`."""
        return await self._db.read(pages.plan)

    async def dry_run(
        self, request: Request, work: Work[T], answer: Callable[[T], A], *, bulk: bool = False
    ) -> tuple[T, A]:
        """As `carry_out`, and roll it all back: for a dry run. Raises the same."""

        def whole(unit: Unit) -> None:
            _check(unit, request)
            value = work(unit)
            raise value if isinstance(value, HubError) else _RolledBack((value, answer(value)))

        try:
            await self._db.write(whole, bulk=bulk)
        except _RolledBack as rolled_back:
            return cast("tuple[T, A]", rolled_back.done)
        raise AssertionError("a dry run is rolled back")

    async def note(self, request: Request) -> None:
        """Append what is no command, but was asked for, to the audit trail. Raises `StoreUnavailable`."""
        await self._db.write(lambda unit: _note(unit, request, {}))


class _RolledBack(Exception):
    def __init__(self, done: tuple[object, Mapping[str, object]]) -> None:
        self.done = done


def _check(unit: Unit, request: Request) -> None:
    if request.revision is not None:
        check_revision(_campaign(unit.db, request.campaign), request.campaign, request.revision)


def _note(unit: Unit, request: Request, said: Mapping[str, object]) -> None:
    """The audit row, with what was changed as far as the answer tells a number.

    The name of a campaign that no longer exists is part of the data.
    """
    found = _campaign(unit.db, request.campaign)
    data = dict(request.noted)
    if isinstance(said.get("changed"), int):
        data["changed"] = said["changed"]
    if request.campaign and found is None:
        data["campaign"] = request.campaign
    unit.audit(request.actor, request.method, campaign_id=found.id if found else None, data=data)


def _keep(unit: Unit, request: Request, said: Mapping[str, object] | None, *, progress: str = "") -> None:
    """The answer under its key; or, as long as there is none, how far the request is."""
    if request.key:
        answer, progress = ("", progress) if said is None else (json.dumps(said), "")
        kept = (request.method, request.key, request.fingerprint, answer, progress, unit.steady)
        unit.db.execute(KEEP, kept)
    reach("in_command")


def _campaign(db: Transaction, name: str) -> Campaign | None:
    try:
        return campaign_by_name(db, name) if name else None
    except NotFound:
        return None


async def tidy_answers(db: Database, before: float) -> int:
    """Remove answers that were given before a time, in epoch seconds; how many. Raises `StoreUnavailable`."""
    removed = 0
    while True:
        gone = await db.write(
            lambda unit: unit.db.execute(REMOVE_ANSWERS, (before, PAGE)).rowcount, bulk=True
        )
        removed += gone
        if gone < PAGE:
            return removed
