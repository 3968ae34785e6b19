"""The roll-up: what happened in each hour, by campaign. `core.measures` says what is counted where.

`SharedUnit.moved` changes it in the transaction that changes the deliveries. Here is what else it needs:
when a delivery was accepted, a recount, the counting of what an older version has left, and the days that
old hours are summed up to.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from hubd.core.measures import DAY, HOUR, Measure, day_of
from hubd.store.batch import roll_back
from hubd.store.connection import DISK_ERRORS, open_plain, trouble_of
from hubd.store.database import Database
from hubd.store.multirow import write_rows
from hubd.store.transaction import Transaction
from hubd.store.unit import NODE, ROLL_UP, Unit

log = logging.getLogger(__name__)

#: The attempt that was accepted: the last that may have been, as `sent` says that one of them was.
_ACCEPTED = """
SELECT id FROM attempt WHERE delivery_id = delivery.id AND outcome IN ('sent', 'in_doubt')
ORDER BY n DESC LIMIT 1"""
#: When the provider took a delivery, what it cost, and whether its attempt was in doubt first. One that no
#: attempt is known of (a restored database) counts in the hour in which its campaign was made.
ACCEPTANCE = f"""
SELECT coalesce(attempt.closed_at, campaign.created_at), coalesce(attempt.cost, 1),
    coalesce(attempt.outcome = 'in_doubt', 1)
FROM delivery JOIN campaign ON campaign.id = delivery.campaign_id
LEFT JOIN attempt ON attempt.id = ({_ACCEPTED}) WHERE delivery.id = ?"""  # noqa: S608 - only our own words
_HOUR = f"CAST({{}} AS INTEGER) / {HOUR} * {HOUR}"
#: What the rows say: hour, measure, how many.
RECOUNT_STATES = f"""
SELECT {_HOUR.format("updated_at")}, state, count(*) FROM delivery
WHERE campaign_id = ? AND state IN ('delivered', 'undelivered', 'failed') GROUP BY 1, 2"""  # noqa: S608
RECOUNT_SENT = f"""
SELECT {_HOUR.format("coalesce(attempt.closed_at, campaign.created_at)")}, count(*),
    sum(CASE WHEN attempt.outcome = 'sent' THEN 0 ELSE coalesce(attempt.cost, 1) END)
FROM delivery JOIN campaign ON campaign.id = delivery.campaign_id
LEFT JOIN attempt ON attempt.id = ({_ACCEPTED})
WHERE campaign_id = ? AND delivery.state IN ('sent', 'delivered', 'undelivered') GROUP BY 1"""  # noqa: S608
RECOUNT_COST = f"""
SELECT {_HOUR.format("attempt.closed_at")}, sum(attempt.cost)
FROM delivery JOIN attempt ON attempt.delivery_id = delivery.id
WHERE delivery.campaign_id = ? AND attempt.outcome = 'sent' GROUP BY 1"""  # noqa: S608
#: What the roll-up says.
SUMS = "SELECT at, measure, sum(n) FROM rollup WHERE campaign_id = ? GROUP BY at, measure HAVING sum(n) <> 0"
#: Measures that deliveries and their attempts say.
_OF_ROWS = frozenset({Measure.SENT, Measure.DELIVERED, Measure.UNDELIVERED, Measure.FAILED, Measure.COST})
#: Campaigns that an older version has left to be counted.
PENDING = """
SELECT campaign_id FROM rollup_pending JOIN campaign ON campaign.id = campaign_id WHERE doomed = 0"""
IS_PENDING = "SELECT 1 FROM rollup_pending WHERE campaign_id = ?"
COUNTED = "DELETE FROM rollup_pending WHERE campaign_id = ?"
#: Hours are older than this, and are summed up by days.
SET_DAILY = "UPDATE rollup_state SET daily_until = ? WHERE daily_until < ? RETURNING daily_until"
DAILY_UNTIL = "SELECT daily_until FROM rollup_state"
#: A page of hours that are to be summed up; those that begin with their day have become that day.
OLD_HOURS = f"""
SELECT campaign_id, at, measure, n FROM rollup
WHERE at < ? AND at % {DAY} <> 0 AND node = ? LIMIT ?"""  # noqa: S608
REMOVE_HOUR = "DELETE FROM rollup WHERE campaign_id = ? AND at = ? AND measure = ? AND node = ?"

KEPT_HOURLY = 90 * DAY  #: seconds
PAGE = 1_000  #: hours summed up in one unit of work

Sums = Counter[tuple[int, Measure]]  #: when the hour (or day) began, what: how often


def acceptance(db: Transaction, delivery_id: int) -> tuple[float, int]:
    """When the provider took a delivery that turns out to be sent, and its cost: `accepted` of `moved`."""
    at, cost, _ = db.execute(ACCEPTANCE, (delivery_id,)).fetchone()
    return at, cost


def withdrawn_acceptance(db: Transaction, delivery_id: int) -> tuple[float, int]:
    """The same for one that is to be sent again: its attempt stays paid for, unless that was in doubt."""
    at, cost, doubted = db.execute(ACCEPTANCE, (delivery_id,)).fetchone()
    return at, cost if doubted else 0


def recount(db: Transaction, campaign_id: int) -> Sums:
    """The campaign's sums by the hour as its rows have them; without what came back."""
    sums: Sums = Counter()
    for at, state, n in db.execute(RECOUNT_STATES, (campaign_id,)):
        sums[at, Measure(state)] += n
    for at, n, doubted_cost in db.execute(RECOUNT_SENT, (campaign_id,)):
        sums[at, Measure.SENT] += n
        sums[at, Measure.COST] += doubted_cost
    for at, cost in db.execute(RECOUNT_COST, (campaign_id,)):
        sums[at, Measure.COST] += cost
    return Counter({key: n for key, n in sums.items() if n})


def counted(db: Transaction, campaign_id: int) -> Sums:
    """The campaign's sums as the roll-up has them; without what came back."""
    rows = db.execute(SUMS, (campaign_id,))
    return Counter({(at, Measure(word)): n for at, word, n in rows if Measure(word) in _OF_ROWS})


def difference(db: Transaction, campaign_id: int) -> Sums:
    """What is to be added to the roll-up to make it equal to a recount; nothing, usually."""
    daily_until: int = db.execute(DAILY_UNTIL).fetchone()[0]
    wanted: Sums = Counter()
    for (at, measure), n in recount(db, campaign_id).items():
        wanted[day_of(at) if at < daily_until else at, measure] += n
    wanted.subtract(counted(db, campaign_id))
    return Counter({key: n for key, n in wanted.items() if n})


# --- what an older version has left -------------------------------------------------------------


async def count_pending(db: Database) -> int:
    """Count the campaigns of an older version, one after another; how many. Raises `StoreUnavailable`.

    Each is read in one snapshot, on a connection of its own, while messages are sent. What is missing at that
    moment is missing later, too, because all changes since then are counted: so it is added in a short unit.
    """
    pending = [row[0] for row in await db.read(lambda reader: reader.execute(PENDING).fetchall())]
    for campaign_id in pending:
        try:
            missing = await trio.to_thread.run_sync(
                partial(_missing, db.path, campaign_id), abandon_on_cancel=True
            )
        except DISK_ERRORS as error:
            log.warning("the figures of an older version cannot be counted: %s", trouble_of(error)[0])
            return 0
        await db.write(partial(_add, campaign_id, missing))
    return len(pending)


def _missing(path: Path, campaign_id: int) -> Sums:
    with closing(open_plain(path, writer=False)) as db:
        db.execute("BEGIN")
        try:
            return difference(db, campaign_id)
        finally:
            roll_back(db)


def _add(campaign_id: int, sums: Sums, unit: Unit) -> None:
    if unit.db.execute(COUNTED, (campaign_id,)).rowcount:  # neither deleted nor counted meanwhile
        rows = [(campaign_id, at, measure, NODE, n) for (at, measure), n in sums.items()]
        write_rows(unit.db, ROLL_UP, rows)


# --- old hours ----------------------------------------------------------------------------------


async def sum_up_days(db: Database, now: float) -> int:
    """Sum up by days (UTC) what is older than 90 days; how many rows of an hour. By pages, while messages
    are sent. `now` in seconds on the steady clock. Raises `StoreUnavailable`.
    """
    until = day_of(now - KEPT_HOURLY)
    await db.write(lambda unit: unit.db.execute(SET_DAILY, (until, until)).fetchall())
    removed = 0
    while await db.read(lambda reader: reader.execute(OLD_HOURS, (until, NODE, 1)).fetchone()):
        removed += await db.write(partial(_sum_up_page, until))
    return removed


def _sum_up_page(until: int, unit: Unit) -> int:
    rows = unit.db.execute(OLD_HOURS, (until, NODE, PAGE)).fetchall()
    days: Counter[tuple[int, int, str]] = Counter()
    for campaign_id, at, measure, n in rows:
        days[campaign_id, day_of(at), measure] += n
        unit.db.execute(REMOVE_HOUR, (campaign_id, at, measure, NODE))
    write_rows(unit.db, ROLL_UP, [(*key, NODE, n) for key, n in days.items()])
    return len(rows)
