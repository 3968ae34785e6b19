"""The roll-up: the CPU time that figures by the hour cost each message, in the writer's transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

from hubd.core.measures import Measure
from hubd.store.batch import roll_back
from hubd.store.connection import open_plain
from hubd.store.steady import Moment
from hubd.store.unit import SharedUnit
from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.processes import free_port
from tests.bench.settings import Settings

TITLE = "CPU of the roll-up per message, in microseconds"
ROUNDS = 5

BATCHES = (1, 16, 64)  #: messages whose outcomes are written in one transaction
LIMIT = 3.0  #: what it may cost at 16


def points(settings: Settings) -> list[Point]:
    count = settings.messages or (2_000 if settings.quick else 20_000)
    hub = Hub(settings.folder / "hub", smtp_provider("sink", free_port(), connections=1))
    with hub:
        contacts = hub.ensure_list(1)
        spec = mail.campaign("rollup", provider="sink", contacts=contacts, kilobytes=2)
        hub.hub.call("campaign.apply", spec=spec)
    found = []
    for batch in BATCHES:
        ways = [Way("hubd", Role.SUBJECT, _adding(hub, batch, count))]
        if batch == BATCHES[1]:
            ways.append(Way("the limit", Role.CEILING, lambda: {"us": LIMIT}))
        name = f"{batch} message{'s' if batch > 1 else ''} in a transaction"
        found.append(Point(name=name, figure="us", unit="us CPU", higher_is_better=False, ways=ways))
    return found


def _adding(hub: Hub, batch: int, count: int) -> Callable[[], Sample]:
    def measure() -> Sample:
        db = open_plain(hub.folder / "state" / "hub.db", writer=True)
        try:
            (campaign,) = db.execute("SELECT max(id) FROM campaign").fetchone()
            now, spent = time.time(), 0
            for _ in range(max(1, count // batch)):
                db.execute("BEGIN IMMEDIATE")
                unit = SharedUnit(db, Moment(now, now))
                began = time.thread_time_ns()
                for _ in range(batch):
                    unit.measured(campaign, Measure.SENT, now)
                    unit.measured(campaign, Measure.COST, now)
                unit.flush()
                spent += time.thread_time_ns() - began
                roll_back(db)
            return {"us": spent / 1000 / (max(1, count // batch) * batch)}
        finally:
            db.close()

    return measure
