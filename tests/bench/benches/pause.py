"""Pause: how long `campaign.pause` takes to answer, which is when nothing more will leave."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.bench import mail
from tests.bench.benches.rpc import percentile
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Sample, Way
from tests.bench.settings import Settings
from tests.bench.sinks import delayed, smtp_sink

TITLE = "latency of campaign.pause while sending, in milliseconds"
ROUNDS = 3

CONNECTIONS = 16


def points(settings: Settings) -> list[Point]:
    round_trips = settings.round_trips or ([0, 100] if settings.quick else [0, 20, 100])
    recipients = settings.messages or (5_000 if settings.quick else 20_000)
    times = 3 if settings.quick else 10
    port = settings.stack.enter_context(smtp_sink())
    config = ""
    for delay in round_trips:
        there = settings.stack.enter_context(delayed(port, delay))
        config += smtp_provider(f"sink{delay}", there, connections=CONNECTIONS)
    hubs = settings.hubs(config)
    return [
        Point(
            name=f"{delay} ms per round trip, {CONNECTIONS} connections",
            figure="p99",
            unit="ms at p99",
            higher_is_better=False,
            ways=[Way(hub.name, role, _hubd(hub, f"sink{delay}", recipients, times)) for role, hub in hubs],
        )
        for delay in round_trips
    ]


def _hubd(hub: Hub, provider: str, recipients: int, times: int) -> Callable[[], Sample]:
    contacts = hub.ensure_list(recipients)
    spec = mail.campaign(f"pause-{provider}", provider=provider, contacts=contacts, kilobytes=2)

    def measure() -> Sample:
        name = hub.start_campaign(spec)
        took: list[float] = []
        sent = 0
        for _ in range(times):
            hub.wait_until_sent(name, sent + CONNECTIONS)
            began = time.perf_counter()
            hub.hub.call("campaign.pause", name=name)
            took.append((time.perf_counter() - began) * 1000)
            sent = hub.campaign(name)["counts"]["sent"]
            hub.hub.call("campaign.resume", name=name)
        hub.hub.call("campaign.stop", name=name)
        return {"p99": percentile(took, 99), "ms at p50": statistics.median(took), "pauses": float(len(took))}

    return measure
