"""The daemon's figures for a monitoring system."""

from __future__ import annotations

from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import command
from hubd.wire import methods as m


@command("metrics", example="hubctl metrics > /var/lib/node_exporter/messagehub.prom")
def metrics(app: App) -> None:
    """Print metrics for a monitoring system, as OpenMetrics text.

    Campaigns by state and delivery, queues, deliveries in doubt, providers and their circuit breakers, the
    duration of attempts, trouble with the disk. No metric is labelled with an address. For a plain health
    check use `hubctl status --check`.
    """
    found = app.call(m.HUB_METRICS)
    if not print_result(app, found):
        app.out(found["text"].removesuffix("\n"))
