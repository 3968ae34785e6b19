"""What the methods about events answer."""

from __future__ import annotations

from typing import TypedDict

from hubd.wire.campaign_results import CampaignView


class Snapshot(TypedDict):
    campaigns: list[CampaignView]


class SubscribeResult(TypedDict):
    subscription: str
    epoch: int
    seq: int
    snapshot: Snapshot | None


class EventView(TypedDict):
    """`seq` of a live figure is that of the last durable event before it."""

    epoch: int
    seq: int
    ts: str | None
    type: str
    campaign: str
    data: dict[str, object]


class EventsResult(TypedDict):
    events: list[EventView]
    next: int | None
    oldest: int  #: the first event that is kept; one past the newest when none is
