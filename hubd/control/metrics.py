"""`hub.metrics`: the daemon's figures for a monitoring system, as OpenMetrics text.

Gauges and figures of campaigns are read from the counters of the database when somebody asks. Figures of
providers are counted from the start of the daemon (see `attempt_metrics`). No label holds an address.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence

import trio

from hubd.control.exposition import CONTENT_TYPE, Family, counter, gauge, render, stateset
from hubd.control.hub import Hub
from hubd.core.inbox import MAILBOX_STATES
from hubd.core.measures import CAME_BACK
from hubd.core.model import Campaign, CampaignState, DeliveryState
from hubd.wire import hub_results as r
from hubd.wire.params import Params

PROVIDER_STATES = ("ready", "slowed", "resting", "half_open", "stopped", "disabled")


async def metrics(hub: Hub, _: Params) -> r.MetricsResult:
    """Everything as OpenMetrics text."""
    campaigns = await hub.campaigns.list(queues=True)
    bulk = [campaign for campaign in campaigns if not campaign.transactional_queue]
    figures = await hub.ledger.figures(bulk)
    again = {campaign.name: figures[campaign.id].possible_duplicates for campaign in bulk}
    free = await trio.to_thread.run_sync(_free_bytes, hub.info.state_dir)
    families = [
        *_of_daemon(hub, free),
        *_of_campaigns(hub, bulk, again),
        *_of_queues(campaigns),
        *_of_providers(hub),
        *_of_inbox(hub, await hub.inbox.waiting()),
    ]
    return {"content_type": CONTENT_TYPE, "text": await trio.to_thread.run_sync(render, families)}


def _free_bytes(directory: str) -> int:
    return shutil.disk_usage(directory).free


def _of_daemon(hub: Hub, free: int) -> Iterator[Family]:
    version = {"version": hub.info.version}
    yield Family("info", "messagehub_build", "The version of the daemon.", [("_info", version, 1)])
    started = hub.info.started_at
    yield gauge("messagehub_start_time_seconds", "When the daemon started.", [({}, started)], unit="seconds")
    yield counter(
        "messagehub_events",
        "Durable events ever written, across restarts.",
        [({}, hub.database.head_seq)],
    )
    trouble = float(bool(hub.database.trouble))
    yield gauge(
        "messagehub_database_trouble",
        "1 while nothing is sent because of a problem with the disk.",
        [({}, trouble)],
    )
    yield gauge(
        "messagehub_free_room_bytes", "Free space on the disk of the database.", [({}, free)], unit="bytes"
    )


def _of_campaigns(hub: Hub, campaigns: Sequence[Campaign], again: dict[str, int]) -> Iterator[Family]:
    """The figures of campaigns that are not archived."""
    states = Counter(campaign.state for campaign in campaigns)
    yield gauge(
        "messagehub_campaigns",
        "Campaigns by state, without archived ones.",
        (({"state": state.value}, states[state]) for state in CampaignState),
    )
    yield stateset(
        "messagehub_campaign_state",
        "The state of each campaign.",
        [state.value for state in CampaignState],
        (({"campaign": campaign.name}, campaign.state.value) for campaign in campaigns),
    )
    yield gauge(
        "messagehub_campaign_deliveries",
        "Deliveries of each campaign by state.",
        (
            ({"campaign": campaign.name, "state": state.value}, getattr(campaign.counts, state.value))
            for campaign in campaigns
            for state in DeliveryState
        ),
    )
    yield gauge(
        "messagehub_campaign_settled_per_second",
        "The current speed of each campaign.",
        (({"campaign": campaign.name}, _speed(hub, campaign)) for campaign in campaigns),
    )
    yield counter(
        "messagehub_campaign_possible_duplicates",
        "How often a message was sent again although it may have been accepted before.",
        (({"campaign": campaign.name}, again[campaign.name]) for campaign in campaigns),
    )

    yield counter(
        "messagehub_campaign_came_back",
        "What came back about each campaign.",
        (
            ({"campaign": campaign.name, "kind": kind.value}, getattr(campaign, kind.value))
            for campaign in campaigns
            for kind in CAME_BACK
        ),
    )


def _of_inbox(hub: Hub, waiting: int) -> Iterator[Family]:
    views = hub.readers.views()
    yield gauge("messagehub_replies_waiting", "Replies that need a decision.", [({}, waiting)])
    yield stateset(
        "messagehub_mailbox_state",
        "How each source of what comes back is doing.",
        MAILBOX_STATES,
        (({"mailbox": view.name}, view.state) for view in views),
    )
    yield counter(
        "messagehub_inbound_items",
        "What came back since the daemon started, by kind.",
        (
            ({"mailbox": view.name, "kind": kind.value}, n)
            for view in views
            for kind, n in sorted(view.items.items())
        ),
    )


def _speed(hub: Hub, campaign: Campaign) -> float:
    sample = hub.progress.sample(campaign.id) if campaign.state is CampaignState.RUNNING else None
    return round(sample.rate, 3) if sample is not None else 0.0


def _of_queues(campaigns: Sequence[Campaign]) -> Iterator[Family]:
    """What waits: in running campaigns, and one-off messages, which go ahead of them."""
    depth = Counter({(label, state): 0 for label in ("bulk", "single") for state in ("pending", "deferred")})
    doubts = Counter({"bulk": 0, "single": 0})
    for campaign in campaigns:
        label = "single" if campaign.transactional_queue else "bulk"
        doubts[label] += campaign.counts.in_doubt
        if campaign.state is CampaignState.RUNNING:
            depth[label, "pending"] += campaign.counts.pending
            depth[label, "deferred"] += campaign.counts.deferred
    yield gauge(
        "messagehub_queue_deliveries",
        "Untried deliveries of running campaigns (bulk) and transactional messages (single).",
        (({"lane": label, "state": state}, n) for (label, state), n in depth.items()),
    )
    yield gauge(
        "messagehub_in_doubt_deliveries",
        "Deliveries that may or may not have been accepted.",
        (({"lane": label}, n) for label, n in doubts.items()),
    )


def _of_providers(hub: Hub) -> Iterator[Family]:
    views = hub.supervisor.providers.views()
    yield stateset(
        "messagehub_provider_state",
        "The health of each provider: resting and half_open are an open circuit breaker.",
        PROVIDER_STATES,
        (({"provider": view.name}, view.state) for view in views),
    )
    yield gauge(
        "messagehub_provider_lanes",
        "Connections that each provider is configured for.",
        (({"provider": view.name}, view.connections) for view in views),
    )
    yield gauge(
        "messagehub_provider_lanes_allowed",
        "How many of them may be used now.",
        (({"provider": view.name}, view.connections_allowed) for view in views),
    )
    yield counter(
        "messagehub_attempts",
        "Attempts since the daemon started, by outcome.",
        (
            ({"provider": provider, "outcome": outcome}, n)
            for (provider, outcome), n in sorted(hub.attempt_metrics.outcomes.items())
        ),
    )
    durations = sorted(hub.attempt_metrics.durations().items())
    yield Family(
        name="messagehub_attempt_duration_seconds",
        kind="histogram",
        unit="seconds",
        help="Time from the record of an attempt to its outcome.",
        samples=[
            sample
            for provider, histogram in durations
            for sample in histogram.samples({"provider": provider})
        ],
    )
