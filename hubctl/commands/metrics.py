"""The daemon's figures for a monitoring system."""

from __future__ import annotations

from hubctl.answer import told
from hubctl.app import App
from hubctl.command import command


@command("metrics", example="hubctl metrics > /var/lib/node_exporter/messagehub.prom")
def metrics(app: App) -> None:
    """Figures for a monitoring system, as OpenMetrics text.

    Campaigns by state and delivery, queues, doubts, providers and their circuit breakers, how long attempts
    take, trouble with the disk. No figure is labelled with an address. For a mere check of health use
    `hubctl status --check`.
    """
    found = app.call("hub.metrics")
    if not told(app, found):
        app.out(found["text"].removesuffix("\n"))
