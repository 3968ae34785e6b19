"""The data of events about campaigns, their deliveries and templates."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.campaign_results import CampaignView


class CampaignApplied(TypedDict):
    """A campaign was created or updated from its file. `changed` names the keys of the file."""

    campaign: str
    created: bool
    changed: list[str]
    clone_of: NotRequired[str]
    revision: NotRequired[int]
    channel: NotRequired[str]
    provider: NotRequired[str]
    rate: NotRequired[list[str]]


CampaignMoved = TypedDict(
    "CampaignMoved",
    {
        "campaign": str,
        "name": str,
        "from": str,
        "to": str,
        "reason": str,
        "event": str,
        "limit": NotRequired[int | None],
        "scheduled_at": NotRequired[float | None],
    },
)


class CampaignChanged(TypedDict):
    """`scheduled_at` in seconds since 1970-01-01 UTC."""

    campaign: str
    reason: str
    limit: int | None
    scheduled_at: float | None


class CampaignOccurrence(TypedDict):
    """What became of an occurrence of a campaign that repeats.

    `at` is when it was planned for, in seconds since 1970-01-01 UTC. `outcome` is "started" (`occurrence` is
    its campaign), "overlap" (the one before it has not ended), "missed" (so many as `missed`, the first of
    them at this time) or "failed"; `detail` says why.
    """

    campaign: str
    at: float
    outcome: str
    occurrence: str
    detail: str
    missed: int


class CampaignJoined(TypedDict):
    """So many contacts were added to the list that the campaign waits for, and are recipients now."""

    campaign: str
    list: str
    recipients: int


class CampaignRated(TypedDict):
    """The campaign's own limits changed to these."""

    campaign: str
    rate: list[str]


class CampaignDeleted(TypedDict):
    campaign: str
    name: str


class CampaignArchived(TypedDict):
    """Whether it is now hidden from listings."""

    campaign: str
    archived: bool


class CampaignHeld(TypedDict):
    """After a restore: how many recipients are held because they may have got the message since."""

    campaign: str
    held: int
    state: str


class CampaignProgress(TypedDict):
    """The campaign as it is now, with all its counters."""

    campaign: CampaignView


class DeliveryTold(TypedDict):
    """One delivery, why, and the provider's code (0 for none) and words (absent for none)."""

    campaign: str
    delivery_id: int
    reason: str
    code: int
    provider_reply: NotRequired[str]


DeliveriesRequeued = TypedDict(
    "DeliveriesRequeued",
    {
        "campaign": str,
        "count": int,
        "class": str,
        "failed": NotRequired[int],
        "undelivered": NotRequired[int],
    },
)


class DeliveriesCancelled(TypedDict):
    """How many deliveries of the campaign will not be tried: `reason` is that of a skipped delivery."""

    campaign: str
    count: int
    reason: str


class DoubtResolved(TypedDict):
    """A delivery in doubt was decided (`by` whom): `how` is resend, sent, failed or hold."""

    campaign: str
    delivery_id: int
    how: str
    by: str


class TemplateApplied(TypedDict):
    """The newest version now."""

    template: str
    version: int


class TemplateDeleted(TypedDict):
    template: str
