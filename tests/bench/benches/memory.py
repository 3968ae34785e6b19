"""Memory: the daemon's peak over importing, freezing and sending, by the number of recipients."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Sample, Way
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

TITLE = "peak resident memory of hubd, in MB"
ROUNDS = 1

SENT = 10_000  #: of the recipients are sent to, then it is paused


def points(settings: Settings) -> list[Point]:
    largest = settings.recipients or (10_000 if settings.quick else 1_000_000)
    sizes = sorted({largest, *(size for size in (1_000, 100_000) if size < largest)})
    port = settings.stack.enter_context(smtp_sink())
    config = smtp_provider("sink", port, connections=16)
    return [
        Point(
            name=f"{size:,} recipients, {min(SENT, size):,} of them sent to",
            figure="MB",
            unit="MB",
            higher_is_better=False,
            ways=[
                Way(hub.name, role, _measure(settings.folder / f"{role}-{size}", config, hub.checkout, size))
                for role, hub in settings.hubs(config, started=False)
            ],
        )
        for size in sizes
    ]


def _measure(folder: Path, config: str, checkout: Path, size: int) -> Callable[[], Sample]:
    rounds = itertools.count(1)

    def measure() -> Sample:
        path = folder / str(next(rounds))
        try:
            with Hub(path, config, checkout=checkout) as hub:
                spec = mail.campaign("memory", provider="sink", contacts=hub.ensure_list(size), kilobytes=2)
                after_import = hub.peak_mb()
                if size <= SENT:
                    hub.run_campaign(spec, size)
                else:
                    name = hub.start_campaign(spec, limit=SENT)
                    hub.wait_for_state(name, "paused")
                return {"MB": hub.peak_mb(), "MB after the import": after_import}
        finally:
            shutil.rmtree(path, ignore_errors=True)

    return measure
