"""What events say: the `data` of each type, as typed dicts; loaded only by the daemon.

A durable event has a number and is replayed after it; it is written in the transaction of what it tells. A
live figure has none. `campaign` in the data is the campaign's name; in a figure it is all of the campaign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NotRequired, TypedDict

from hubd.wire.results import CampaignView


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


class CameBack(TypedDict):
    """Something came back: the number of the `item` in the inbox, and of the delivery, null for none."""

    campaign: NotRequired[str]
    item: int
    delivery_id: int | None


class BounceTold(TypedDict):
    """A bounce: why, the server's code (0 for none), and the state that the delivery has now."""

    campaign: str
    item: int
    delivery_id: int
    reason: str
    code: int
    state: str


class ReplyTold(TypedDict):
    """A reply; `held`: nothing more is sent to the person until somebody decides."""

    campaign: NotRequired[str]
    item: int
    delivery_id: int | None
    held: bool


class ReplyDecided(TypedDict):
    """What a person decided about a reply: "opt_out" or "continue"."""

    campaign: NotRequired[str]
    item: int
    delivery_id: int | None
    decision: str


class MailboxTold(TypedDict):
    """A source of what comes back, such as "mailbox bounces"; `person`: whether somebody has to act."""

    source: str
    reason: str
    person: bool


ProviderChanged = TypedDict(
    "ProviderChanged",
    {"provider": str, "from": str, "to": str, "reason": str, "until": float | None},
)


class NameReused(TypedDict):
    """A provider gave a message the id of another one, so what it accepted is unknown."""

    campaign: NotRequired[str]
    delivery_id: int
    provider: str
    provider_id: str


class ContactsImported(TypedDict):
    """A page of an import that changed something."""

    list: str
    imported: int
    updated: int


class TemplateApplied(TypedDict):
    """The newest version now."""

    template: str
    version: int


class TemplateDeleted(TypedDict):
    template: str


class CreditsGranted(TypedDict):
    """`credits` were granted to the account, or taken back if the number is negative; what it has now."""

    account: str
    credits: int
    granted: int
    held: int
    spent: int
    available: int


class CreditsLow(TypedDict):
    """Fewer credits are available than `low_at`."""

    account: str
    available: int
    low_at: int


class NotificationAdded(TypedDict):
    """There is news for people: `about` is a campaign, an account, a mailbox or a sink."""

    id: int
    kind: str
    about: str
    headline: str


class ListCounted(TypedDict):
    """A list, and how many contacts are not on it any more."""

    list: str
    contacts: int


class ListRenamed(TypedDict):
    """`list` is the name that it had, `to` the one that it has."""

    list: str
    to: str


class ContactRemoved(TypedDict):
    contact_id: str


class ConfigReloaded(TypedDict):
    """hubd.toml was applied: the keys that changed, and those that need a restart."""

    applied: list[str]
    needs_restart: list[str]


class ConfigFault(TypedDict):
    """An invalid key of hubd.toml; "" is the file itself. Never quotes a value."""

    path: str
    problem: str
    line: int | None
    file: str


class ConfigReloadFailed(TypedDict):
    """hubd.toml was invalid; nothing changed."""

    problem: str
    errors: list[ConfigFault]


class SinkBroken(TypedDict):
    """A sink is not tried any more until it is resumed."""

    sink: str
    reason: str


class SinkResumed(TypedDict):
    sink: str


class HubRestored(TypedDict):
    """The database is an older copy: what was committed after it is missing."""

    why: str


class SocketRemoved(TypedDict):
    """The file of a socket is gone, so nobody can connect to it; what to do is in `remedy`."""

    path: str
    remedy: str


class SocketRestored(TypedDict):
    """The file of a socket is there again."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type of event."""

    summary: str
    data: type  #: a TypedDict
    durable: bool = True  #: numbered and replayed; else a live figure


#: Every type that `event` may carry. Clients pass over a type that they do not know.
EVENTS: Mapping[str, EventType] = MappingProxyType(
    {
        "campaign.applied": EventType(
            summary="A campaign was created or updated from its file.", data=CampaignApplied
        ),
        "campaign.state": EventType(summary="A campaign changed its state.", data=CampaignMoved),
        "campaign.changed": EventType(
            summary="A campaign has another reason, limit or time to start, and the state that it had.",
            data=CampaignChanged,
        ),
        "campaign.occurrence": EventType(
            summary="The time of an occurrence of a campaign that repeats has come.", data=CampaignOccurrence
        ),
        "campaign.joined": EventType(
            summary="Additions to a list are recipients of a campaign that waits for them.",
            data=CampaignJoined,
        ),
        "campaign.rate": EventType(summary="A campaign has other limits.", data=CampaignRated),
        "campaign.archived": EventType(
            summary="A campaign was archived or listed again.", data=CampaignArchived
        ),
        "campaign.deleted": EventType(summary="A campaign was deleted.", data=CampaignDeleted),
        "campaign.restored": EventType(
            summary="Recipients of a campaign are held after a restore.", data=CampaignHeld
        ),
        "campaign.progress": EventType(
            summary="The live figures of a campaign that runs, and the last ones after each change of state.",
            data=CampaignProgress,
            durable=False,
        ),
        "delivery.failed": EventType(summary="A delivery failed for good.", data=DeliveryTold),
        "delivery.in_doubt": EventType(
            summary="Nobody knows whether a message was accepted.", data=DeliveryTold
        ),
        "delivery.resolved": EventType(summary="A delivery in doubt was decided.", data=DoubtResolved),
        "delivery.requeued": EventType(summary="Failures are tried again.", data=DeliveriesRequeued),
        "delivery.cancelled": EventType(
            summary="Deliveries are skipped because a contact was removed or an address suppressed.",
            data=DeliveriesCancelled,
        ),
        "delivery.bounced": EventType(
            summary="A message came back. One that was delivered stays so.", data=BounceTold
        ),
        "delivery.complained": EventType(summary="A recipient reported a message as spam.", data=CameBack),
        "reply.received": EventType(summary="Somebody replied.", data=ReplyTold),
        "reply.opted_out": EventType(summary="Somebody wants no more messages.", data=CameBack),
        "reply.opted_in": EventType(summary="Somebody takes an opt-out back.", data=CameBack),
        "reply.decided": EventType(summary="A person decided about a reply.", data=ReplyDecided),
        "mailbox.broken": EventType(
            summary="What comes back cannot be read from a mailbox, a queue or a provider.", data=MailboxTold
        ),
        "mailbox.working": EventType(summary="It can be read again.", data=MailboxTold),
        "provider.changed": EventType(summary="A provider's health changed.", data=ProviderChanged),
        "provider.sid_reused": EventType(
            summary="A provider gave two messages the same id.", data=NameReused
        ),
        "contacts.imported": EventType(summary="Contacts were imported or changed.", data=ContactsImported),
        "list.left": EventType(summary="Contacts were taken off a list.", data=ListCounted),
        "template.applied": EventType(summary="A template has a new version.", data=TemplateApplied),
        "template.deleted": EventType(summary="A template is gone.", data=TemplateDeleted),
        "list.renamed": EventType(summary="A list has another name.", data=ListRenamed),
        "list.deleted": EventType(summary="A list was deleted; its contacts stay.", data=ListCounted),
        "contact.removed": EventType(summary="A contact was deleted.", data=ContactRemoved),
        "credits.granted": EventType(
            summary="Credits were granted to an account or taken back.", data=CreditsGranted
        ),
        "notification.added": EventType(summary="There is a new notification.", data=NotificationAdded),
        "credits.low": EventType(summary="An account has few credits left.", data=CreditsLow),
        "config.reloaded": EventType(summary="The configuration was read again.", data=ConfigReloaded),
        "config.reload_failed": EventType(
            summary="The configuration was read again but is invalid; the old one stays.",
            data=ConfigReloadFailed,
        ),
        "sink.broken": EventType(
            summary="A sink was paused: a person has to act, or it has failed for three days.",
            data=SinkBroken,
        ),
        "sink.resumed": EventType(summary="A paused sink is tried again.", data=SinkResumed),
        "hub.restored": EventType(
            summary="The daemon found that its database is an older copy.", data=HubRestored
        ),
        "hub.socket_removed": EventType(
            summary="Somebody removed or replaced the file of a socket that the daemon listens on.",
            data=SocketRemoved,
        ),
        "hub.socket_restored": EventType(
            summary="The file of such a socket is there again.", data=SocketRestored
        ),
    }
)
