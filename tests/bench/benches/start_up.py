"""Start-up: how long hubd takes until it answers, and how long `hubctl status` takes as a whole."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from tests.bench.hub import Hub
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.settings import Settings

TITLE = "start-up, in milliseconds"
ROUNDS = 5


def points(settings: Settings) -> list[Point]:
    hubs = settings.hubs("")
    bare = Way("python -c pass", Role.CEILING, _bare)
    return [
        Point(
            name="hubd, from its start to its first answer",
            figure="ms",
            unit="ms",
            higher_is_better=False,
            ways=[*(Way(hub.name, role, _start(hub)) for role, hub in hubs), bare],
        ),
        Point(
            name="hubctl status",
            figure="ms",
            unit="ms",
            higher_is_better=False,
            ways=[*(Way(f"hubctl of {hub.name}", role, _status(hub)) for role, hub in hubs), bare],
        ),
    ]


def _start(hub: Hub) -> Callable[[], Sample]:
    def measure() -> Sample:
        hub.stop()
        began = time.perf_counter()
        hub.start()
        return {"ms": (time.perf_counter() - began) * 1000}

    return measure


def _status(hub: Hub) -> Callable[[], Sample]:
    def measure() -> Sample:
        began = time.perf_counter()
        hub.hubctl("status")
        return {"ms": (time.perf_counter() - began) * 1000}

    return measure


def _bare() -> Sample:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return {"ms": (time.perf_counter() - began) * 1000}
