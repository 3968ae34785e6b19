"""Listings: how long hubctl takes to write out a whole campaign or all contacts.

The provider's rate lets one message a day through, so that nothing else happens in this time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.bench import mail
from tests.bench.benches.rpc import PAUSE
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Sample, Way
from tests.bench.processes import cpu_seconds, wait_until
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

TITLE = "a whole listing as JSON, in seconds"
ROUNDS = 3

SECONDS = 600.0


def points(settings: Settings) -> list[Point]:
    size = settings.recipients or (20_000 if settings.quick else 1_000_000)
    port = settings.stack.enter_context(smtp_sink())
    hubs = settings.hubs(smtp_provider("sink", port, connections=1, rate="1/day"))
    return [
        Point(
            name=f"hubctl {command}, {size:,} rows",
            figure="s",
            unit="s",
            higher_is_better=False,
            ways=[Way(hub.name, role, _listing(hub, command, size)) for role, hub in hubs],
        )
        for command in ("deliveries", "contacts export")
    ]


def _listing(hub: Hub, command: str, size: int) -> Callable[[], Sample]:
    def measure() -> Sample:
        words = [*command.split(), *([_frozen(hub, size)] if command == "deliveries" else []), "--json"]
        cpu, began = cpu_seconds(hub.pid), time.monotonic()
        process = hub.hubctl_process(*words)
        slowest = 0.0
        while process.poll() is None:
            asked = time.monotonic()
            hub.hub.call("hub.status")
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(PAUSE)
        took, cpu = time.monotonic() - began, cpu_seconds(hub.pid) - cpu
        if process.returncode:
            raise RuntimeError(f"hubctl {command} exited with {process.returncode}")
        return {
            "s": took,
            "us CPU of hubd per row": cpu / size * 1e6,
            "ms for the slowest answer meanwhile": slowest * 1000,
        }

    return measure


def _frozen(hub: Hub, size: int) -> str:
    """A stopped campaign with this many deliveries."""
    spec = mail.campaign("listing", provider="sink", contacts=hub.ensure_list(size), kilobytes=2)
    name = hub.start_campaign(spec)

    def frozen() -> bool:
        found = hub.campaign(name)
        return not found["freezing"] and bool(found["counts"]["total"] == size)

    wait_until(frozen, "a frozen audience", seconds=SECONDS)
    hub.hub.call("campaign.stop", name=name)
    return name
