"""Import: how many rows of a CSV file a second, all of them new contacts."""

from __future__ import annotations

import csv
import itertools
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import mail
from tests.bench.hub import Hub
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.processes import cpu_seconds
from tests.bench.settings import Settings

TITLE = "contacts from a CSV file, rows per second"
ROUNDS = 3


def points(settings: Settings) -> list[Point]:
    count = settings.messages or (10_000 if settings.quick else 100_000)
    return [
        Point(
            name=f"{count:,} new contacts",
            figure="rate",
            unit="rows/s",
            higher_is_better=True,
            ways=[
                *(
                    Way(f"hubctl import: {hub.name}", role, _hubctl(hub, count))
                    for role, hub in settings.hubs("")
                ),
                Way(
                    "csv and sqlite3.executemany: nothing checked",
                    Role.CEILING,
                    _plain(settings.folder, count),
                ),
            ],
        )
    ]


def write_csv(path: Path, count: int, prefix: str) -> Path:
    """A file of contacts with email addresses that begin with `prefix`."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(["email", "first_name", "city"])
        for person in mail.people(count, prefix=prefix):
            out.writerow([person["email"], person["first_name"], person["city"]])
    return path


def _hubctl(hub: Hub, count: int) -> Callable[[], Sample]:
    rounds = itertools.count(1)

    def measure() -> Sample:
        number = next(rounds)
        path = write_csv(hub.folder / "contacts.csv", count, f"round{number}-")
        cpu, began = cpu_seconds(hub.pid), time.monotonic()
        report = json.loads(hub.hubctl("import", path, "--list", f"import-{number}", "--json"))
        took = time.monotonic() - began
        if report["imported"] != count:
            raise RuntimeError(f"{report['imported']} of {count} rows were imported")
        return {"rate": count / took, "us CPU of hubd per row": (cpu_seconds(hub.pid) - cpu) / count * 1e6}

    return measure


def _plain(folder: Path, count: int) -> Callable[[], Sample]:
    rounds = itertools.count(1)

    def measure() -> Sample:
        path = write_csv(folder / "plain.csv", count, f"round{next(rounds)}-")
        database = sqlite3.connect(folder / "plain.db")
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS contact (email TEXT UNIQUE, first_name TEXT, city TEXT)"
            )
            began = time.monotonic()
            with path.open(newline="", encoding="utf-8") as stream, database:
                rows = csv.reader(stream)
                next(rows)
                database.executemany("INSERT INTO contact VALUES (?, ?, ?)", rows)
            return {"rate": count / (time.monotonic() - began)}
        finally:
            database.close()

    return measure
