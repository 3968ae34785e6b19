"""Reports: how long `report.get` takes over the figures of three months, however many deliveries there are.

The deliveries are those of a campaign whose audience is frozen. Its figures by the hour are written straight
into the roll-up, for ninety days, as if it had been sent to in that time.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

from hubd.core.measures import DAY, HOUR, Measure, hour_of
from tests.bench import mail
from tests.bench.benches.rpc import percentile
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

TITLE = "report.get over three months, in milliseconds"
ROUNDS = 3

DAYS = 89
MEASURES = (Measure.SENT, Measure.DELIVERED, Measure.FAILED, Measure.COST, Measure.BOUNCED)
#: What takes its place without a roll-up: to count the rows.
COUNT = "SELECT state, count(*) FROM delivery GROUP BY state"
ADD = "INSERT INTO rollup (campaign_id, at, measure, node, n) VALUES (?, ?, ?, 1, ?) ON CONFLICT DO NOTHING"


def points(settings: Settings) -> list[Point]:
    size = settings.recipients or (10_000 if settings.quick else 1_000_000)
    calls = 20 if settings.quick else 100
    port = settings.stack.enter_context(smtp_sink())
    config = smtp_provider("sink", port, connections=16)
    hubs = settings.hubs(config, started=False)
    for _, hub in hubs:
        _fill(hub, size)
    found = []
    for name, by in (("in all", None), ("by the day", "day"), ("by the hour", "hour")):
        ways = [Way(hub.name, role, partial(_latency, hub, by, calls)) for role, hub in hubs]
        ways.append(Way("sqlite3: the rows counted", Role.ALTERNATIVE, _counting(hubs[0][1])))
        point = Point(
            name=f"{size:,} deliveries, {name}", figure="ms", unit="ms", higher_is_better=False, ways=ways
        )
        found.append(point)
    return found


def _fill(hub: Hub, size: int) -> None:
    """Leaves the daemon running."""
    hub.start()
    spec = mail.campaign("report", provider="sink", contacts=hub.ensure_list(size), kilobytes=2)
    hub.wait_for_state(hub.start_campaign(spec, limit=1), "paused")
    hub.stop()
    newest = hour_of(time.time()) - HOUR
    each = max(1, size // (DAYS * DAY // HOUR))
    with closing(sqlite3.connect(hub.folder / "state" / "hub.db")) as db, db:
        (campaign,) = db.execute("SELECT max(id) FROM campaign").fetchone()
        hours = range(newest - DAYS * DAY, newest, HOUR)
        db.executemany(ADD, [(campaign, at, measure.value, each) for at in hours for measure in MEASURES])
    hub.start()


def _latency(hub: Hub, by: str | None, calls: int) -> Sample:
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        hub.hub.call("report.get", by=by)
        took.append((time.perf_counter() - began) * 1000)
    return {"ms": statistics.median(took), "ms at p99": percentile(took, 99)}


def _counting(hub: Hub) -> Callable[[], Sample]:
    def measure() -> Sample:
        with closing(sqlite3.connect(f"file:{hub.folder}/state/hub.db?mode=ro", uri=True)) as db:
            began = time.perf_counter()
            db.execute(COUNT).fetchall()
            return {"ms": (time.perf_counter() - began) * 1000}

    return measure
