"""Freeze: how long it takes to fix the audience of a campaign, and whether the daemon answers meanwhile.

The provider's rate lets one message a day through, so that nothing else happens in this time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

TITLE = "from the start command to a frozen audience, in seconds"
ROUNDS = 3

SECONDS = 600.0


def points(settings: Settings) -> list[Point]:
    largest = settings.recipients or (20_000 if settings.quick else 1_000_000)
    sizes = sorted({largest, *(size for size in (1_000, 100_000) if size < largest)})
    port = settings.stack.enter_context(smtp_sink())
    hubs = settings.hubs(smtp_provider("sink", port, connections=1, rate="1/day"))
    return [
        Point(
            name=f"{size:,} recipients",
            figure="s",
            unit="s",
            higher_is_better=False,
            ways=[
                *(Way(hub.name, role, _hubd(hub, size)) for role, hub in hubs),
                Way("sqlite3: one INSERT ... SELECT", Role.CEILING, _sqlite(settings.folder, size)),
            ],
        )
        for size in sizes
    ]


def _hubd(hub: Hub, size: int) -> Callable[[], Sample]:
    def measure() -> Sample:
        contacts = hub.ensure_list(size)
        spec = mail.campaign(f"freeze-{size}", provider="sink", contacts=contacts, kilobytes=2)
        began = time.monotonic()
        name = hub.start_campaign(spec)
        slowest = 0.0
        while True:
            asked = time.monotonic()
            found = hub.campaign(name)
            answered = time.monotonic()
            slowest = max(slowest, answered - asked)
            if not found["freezing"] and found["counts"]["total"] == size:
                break
            if answered - began > SECONDS:
                raise RuntimeError(f"only {found['counts']['total']} of {size} are frozen")
            time.sleep(0.01)
        hub.hub.call("campaign.stop", name=name)
        took = answered - began
        return {"s": took, "recipients/s": size / took, "ms for the slowest answer meanwhile": slowest * 1000}

    return measure


def _sqlite(folder: Path, size: int) -> Callable[[], Sample]:
    path = folder / f"freeze-{size}.db"

    def measure() -> Sample:
        fresh = not path.exists()
        database = sqlite3.connect(path)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            if fresh:
                database.execute(
                    "CREATE TABLE contact (id INTEGER PRIMARY KEY, email TEXT UNIQUE, fields TEXT)"
                )
                database.execute(
                    "CREATE TABLE delivery (id INTEGER PRIMARY KEY, email TEXT, fields TEXT, state TEXT)"
                )
                people = ((p["email"], p["first_name"]) for p in mail.people(size))
                database.executemany("INSERT INTO contact (email, fields) VALUES (?, ?)", people)
            database.execute("DELETE FROM delivery")
            database.commit()
            began = time.monotonic()
            database.execute(
                "INSERT INTO delivery (email, fields, state) SELECT email, fields, 'pending' FROM contact"
            )
            database.commit()
            took = time.monotonic() - began
            return {"s": took, "recipients/s": size / took}
        finally:
            database.close()

    return measure
