"""RPC: how long the daemon takes to answer `hub.status` while it sends as fast as it can."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import suppress

from hubd.errors import InvalidTransition
from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

TITLE = "latency of hub.status while sending, in milliseconds"
ROUNDS = 3

PAUSE = 0.005  #: between an answer and the next question
CAMPAIGNS = (1, 50)  #: that send at a time, all through the same provider


def points(settings: Settings) -> list[Point]:
    recipients = settings.messages or (10_000 if settings.quick else 50_000)
    seconds = 1.0 if settings.quick else 4.0
    connections = settings.connections or [16]
    port = settings.stack.enter_context(smtp_sink())
    hubs = settings.hubs(
        "".join(smtp_provider(f"sink{count}", port, connections=count) for count in connections)
    )
    found = []
    for campaigns, count in itertools.product(CAMPAIGNS, connections):
        ways = [
            Way(f"{hub.name}, sending", role, _sending(hub, campaigns, count, recipients, seconds))
            for role, hub in hubs
        ]
        ways += [
            Way(f"{hub.name}, idle", Role.REFERENCE, lambda hub=hub: latency(hub, seconds / 2))
            for _, hub in hubs
        ]
        name = f"{campaigns} campaign{'s' if campaigns > 1 else ''} sending over {count} connections"
        found.append(Point(name=name, figure="p99", unit="ms at p99", higher_is_better=False, ways=ways))
    return found


def latency(hub: Hub, seconds: float, name: str = "") -> Sample:
    """Ask for this many seconds, or as long as the campaign of this name runs."""
    took: list[float] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        began = time.perf_counter()
        hub.hub.call("hub.status")
        took.append((time.perf_counter() - began) * 1000)
        if name and len(took) % 20 == 0 and hub.campaign(name)["state"] != "running":
            break
        time.sleep(PAUSE)
    return {"p99": percentile(took, 99), "ms at p50": statistics.median(took), "calls": float(len(took))}


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that is at least as high as the given percentage of them."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def _sending(
    hub: Hub, campaigns: int, connections: int, recipients: int, seconds: float
) -> Callable[[], Sample]:
    # The first ones send while the others are being started.
    contacts = hub.ensure_list(max(1, recipients * 2 // (campaigns + 1)))
    spec = mail.campaign("rpc", provider=f"sink{connections}", contacts=contacts, kilobytes=2)

    def measure() -> Sample:
        names = [hub.start_campaign(spec) for _ in range(campaigns)]
        hub.wait_until_sent(names[-1], 1)
        sample = latency(hub, seconds, names[-1])
        for name in names:
            with suppress(InvalidTransition):  # it has just been completed
                hub.hub.call("campaign.stop", name=name)
        return sample

    return measure
