"""All types of events; the `data` of each is a typed dict in `*_events`. Loaded only by the daemon.

A durable event has a number and is replayed after it; it is written in the transaction of what it tells. A
live figure has none. `campaign` in the data is the campaign's name; in a figure it is all of the campaign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hubd.wire.campaign_events import (
    CampaignApplied,
    CampaignArchived,
    CampaignChanged,
    CampaignDeleted,
    CampaignHeld,
    CampaignJoined,
    CampaignMoved,
    CampaignOccurrence,
    CampaignProgress,
    CampaignRated,
    DeliveriesCancelled,
    DeliveriesRequeued,
    DeliveryTold,
    DoubtResolved,
    TemplateApplied,
    TemplateDeleted,
)
from hubd.wire.contact_events import ContactRemoved, ContactsImported, ListCounted, ListRenamed
from hubd.wire.credit_events import CreditsGranted, CreditsLow
from hubd.wire.hub_events import (
    ConfigReloaded,
    ConfigReloadFailed,
    HubRestored,
    NameReused,
    NotificationAdded,
    ProviderChanged,
    SinkBroken,
    SinkResumed,
    SocketRemoved,
    SocketRestored,
)
from hubd.wire.inbox_events import (
    BounceTold,
    CameBack,
    MailboxRefused,
    MailboxTold,
    ReplyDecided,
    ReplyTold,
)


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
            summary="A campaign has another reason, limit or start time, but its state has not changed.",
            data=CampaignChanged,
        ),
        "campaign.occurrence": EventType(
            summary="The time of an occurrence of a campaign that repeats has come.", data=CampaignOccurrence
        ),
        "campaign.joined": EventType(
            summary="Contacts added to a list became recipients of a campaign that waits for them.",
            data=CampaignJoined,
        ),
        "campaign.rate": EventType(summary="The rate limits of a campaign changed.", data=CampaignRated),
        "campaign.archived": EventType(
            summary="A campaign was archived or listed again.", data=CampaignArchived
        ),
        "campaign.deleted": EventType(summary="A campaign was deleted.", data=CampaignDeleted),
        "campaign.restored": EventType(
            summary="Recipients of a campaign are held after a restore.", data=CampaignHeld
        ),
        "campaign.progress": EventType(
            summary="The live figures of a running campaign, and its latest ones after each change of state.",
            data=CampaignProgress,
            durable=False,
        ),
        "delivery.failed": EventType(summary="A delivery failed for good.", data=DeliveryTold),
        "delivery.in_doubt": EventType(
            summary="Nobody knows whether a message was accepted.", data=DeliveryTold
        ),
        "delivery.resolved": EventType(summary="A delivery in doubt was decided about.", data=DoubtResolved),
        "delivery.requeued": EventType(summary="Failures are tried again.", data=DeliveriesRequeued),
        "delivery.cancelled": EventType(
            summary="Deliveries are skipped because a contact was removed or an address suppressed.",
            data=DeliveriesCancelled,
        ),
        "delivery.bounced": EventType(
            summary="A message came back. One that was delivered stays delivered.", data=BounceTold
        ),
        "delivery.complained": EventType(summary="A recipient reported a message as spam.", data=CameBack),
        "reply.received": EventType(summary="Somebody replied.", data=ReplyTold),
        "reply.opted_out": EventType(summary="Somebody wants no more messages.", data=CameBack),
        "reply.opted_in": EventType(summary="Somebody withdrew an opt-out.", data=CameBack),
        "reply.decided": EventType(summary="A person decided about a reply.", data=ReplyDecided),
        "mailbox.broken": EventType(
            summary="What comes back cannot be read from a mailbox, a queue or a provider.", data=MailboxTold
        ),
        "mailbox.refused": EventType(
            summary="A mailbox can be read, but its mails cannot be moved or marked.", data=MailboxRefused
        ),
        "mailbox.working": EventType(summary="It can be read again.", data=MailboxTold),
        "provider.changed": EventType(summary="A provider's health changed.", data=ProviderChanged),
        "provider.sid_reused": EventType(
            summary="A provider gave two messages the same id.", data=NameReused
        ),
        "contacts.imported": EventType(summary="Contacts were imported or changed.", data=ContactsImported),
        "list.left": EventType(summary="Contacts were taken off a list.", data=ListCounted),
        "template.applied": EventType(summary="A template has a new version.", data=TemplateApplied),
        "template.deleted": EventType(summary="A template was deleted.", data=TemplateDeleted),
        "list.renamed": EventType(summary="A list was renamed.", data=ListRenamed),
        "list.deleted": EventType(summary="A list was deleted; its contacts stay.", data=ListCounted),
        "contact.removed": EventType(summary="A contact was deleted.", data=ContactRemoved),
        "credits.granted": EventType(
            summary="Credits were granted to an account or taken back.", data=CreditsGranted
        ),
        "notification.added": EventType(summary="There is a new notification.", data=NotificationAdded),
        "credits.low": EventType(summary="An account has few credits left.", data=CreditsLow),
        "config.reloaded": EventType(summary="The configuration was read again.", data=ConfigReloaded),
        "config.reload_failed": EventType(
            summary="The configuration was read again but is invalid; the old one remains in effect.",
            data=ConfigReloadFailed,
        ),
        "sink.broken": EventType(
            summary="A sink was paused: a person has to act, or it has failed for three days.",
            data=SinkBroken,
        ),
        "sink.resumed": EventType(summary="A paused sink will be tried again.", data=SinkResumed),
        "hub.restored": EventType(
            summary="The daemon found that its database is an older copy.", data=HubRestored
        ),
        "hub.socket_removed": EventType(
            summary="Somebody removed or replaced the file of a socket that the daemon listens on.",
            data=SocketRemoved,
        ),
        "hub.socket_restored": EventType(summary="The file of such a socket is back.", data=SocketRestored),
    }
)
