"""Recovery: kill -9 in the middle of a campaign, then start again."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

TITLE = "from the start after kill -9 to the next message sent, in milliseconds"
ROUNDS = 3

CONNECTIONS = 16


def points(settings: Settings) -> list[Point]:
    recipients = settings.messages or (10_000 if settings.quick else 50_000)
    port = settings.stack.enter_context(smtp_sink())
    hubs = settings.hubs(smtp_provider("sink", port, connections=CONNECTIONS))
    ways = [Way(f"{hub.name}, killed", role, _measure(hub, recipients, kill=True)) for role, hub in hubs]
    ways += [
        Way(f"{hub.name}, stopped in order", Role.REFERENCE, _measure(hub, recipients, kill=False))
        for _, hub in hubs
    ]
    name = f"{recipients:,} recipients, {CONNECTIONS} connections"
    return [Point(name=name, figure="ms", unit="ms", higher_is_better=False, ways=ways)]


def _measure(hub: Hub, recipients: int, *, kill: bool) -> Callable[[], Sample]:
    contacts = hub.ensure_list(recipients)
    spec = mail.campaign("recovery", provider="sink", contacts=contacts, kilobytes=2)

    def measure() -> Sample:
        name = hub.start_campaign(spec)
        hub.wait_until_sent(name, recipients // 5)
        hub.kill() if kill else hub.stop()
        began = time.perf_counter()
        hub.start()
        answered = time.perf_counter()
        first = hub.campaign(name)
        hub.wait_until_sent(name, first["counts"]["sent"] + 1)
        sent = time.perf_counter()
        repeated = hub.campaign(name)["possible_duplicates"]
        hub.hub.call("campaign.stop", name=name)
        if repeated > CONNECTIONS:
            raise RuntimeError(f"{repeated} messages were in doubt on {CONNECTIONS} connections")
        return {
            "ms": (sent - began) * 1000,
            "ms to the first answer": (answered - began) * 1000,
            "messages were in doubt": float(repeated),
        }

    return measure
