"""Every method by name: the table that dispatches and that `rpc.discover` describes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import trio

from hubd.control import (
    campaign_methods,
    config_methods,
    contact_methods,
    delivery_methods,
    event_methods,
    hub_methods,
    message_methods,
    metrics,
    provider_methods,
    run_methods,
)
from hubd.control.discovery import describe
from hubd.control.needs import Hub
from hubd.control.table import Disk, Method, changes, of_session, reads
from hubd.wire import params as p
from hubd.wire import results as r

CHECK_SECONDS = 1_800.0  #: to recount a database of many millions of messages


async def discover(hub: Hub, _: p.Params) -> r.OpenRpc:
    """This table, as an OpenRPC document."""
    return await trio.to_thread.run_sync(_document, hub.info.version)


@cache
def _document(version: str) -> r.OpenRpc:
    """Made once: it takes a tenth of a second of computing, which messages would wait for."""
    return describe(METHODS, version)


_HUB = (
    of_session("hub.hello", "The first call of a connection.", p.Hello, r.HelloResult),
    reads("hub.status", "How everything is.", p.Params, r.StatusResult, hub_methods.status),
    reads("hub.metrics", "Figures for a monitoring system.", p.Params, r.MetricsResult, metrics.metrics),
    changes(
        "hub.reload",
        "Read the configuration again.",
        p.Change,
        r.ReloadResult,
        hub_methods.reload,
        disk=Disk.NOT_NEEDED,
    ),
    reads("config.show", "What the daemon goes by.", p.Params, r.ConfigResult, config_methods.show),
    changes(
        "hub.shutdown",
        "Stop the daemon.",
        p.Change,
        r.ShutdownResult,
        hub_methods.shutdown,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "hub.backup",
        "Copy the whole database to a new file, while messages go out.",
        p.HubBackup,
        r.BackupResult,
        hub_methods.backup,
        disk=Disk.NOT_NEEDED,
    ),
    reads(
        "hub.check",
        "Look over the database.",
        p.Params,
        r.DoctorResult,
        hub_methods.check,
        seconds=CHECK_SECONDS,
    ),
    of_session("hub.cancel", "Drop a request that is under way.", p.HubCancel, r.Done),
    of_session("auth.ticket", "Let a web page of this machine in.", p.AuthTicket, r.TicketResult),
    reads("rpc.discover", "What there is to call.", p.Params, r.OpenRpc, discover),
)
_CONTACTS = (
    changes(
        "contacts.import",
        "Take a page of rows into a list.",
        p.ContactsImport,
        r.ImportResult,
        contact_methods.import_page,
        disk=Disk.NEEDS_ROOM,
    ),
    reads(
        "contacts.columns",
        "Which field each column of a table fills.",
        p.ContactsColumns,
        r.ColumnsResult,
        contact_methods.columns,
    ),
    reads("contacts.lists", "All lists.", p.Params, r.ListsResult, contact_methods.lists),
    reads(
        "contacts.list",
        "A page of contacts.",
        p.ContactsList,
        r.ContactsResult,
        contact_methods.page,
        private=True,
    ),
    reads(
        "contacts.export",
        "A page of contacts, to be written to a file.",
        p.ContactsList,
        r.ContactsResult,
        contact_methods.page,
        private=True,
    ),
    reads("contacts.get", "One contact.", p.ContactKey, r.ContactResult, contact_methods.get, private=True),
    changes("contacts.remove", "Forget one contact.", p.ContactRemove, r.Done, contact_methods.remove),
    changes(
        "suppression.add", "Never write to an address.", p.SuppressionAdd, r.Done, contact_methods.suppress
    ),
    changes(
        "suppression.remove",
        "Allow an address again.",
        p.SuppressionRemove,
        r.Done,
        contact_methods.unsuppress,
    ),
    reads(
        "suppression.list",
        "A page of suppressed addresses.",
        p.SuppressionList,
        r.SuppressionsResult,
        contact_methods.suppressions,
        private=True,
    ),
)
_CAMPAIGNS = (
    changes(
        "campaign.attach",
        "Take a part of an attachment.",
        p.CampaignAttach,
        r.AttachResult,
        campaign_methods.attach,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "campaign.apply",
        "Create or update a campaign from its file.",
        p.CampaignApply,
        r.ApplyResult,
        campaign_methods.apply,
        disk=Disk.NEEDS_ROOM,
    ),
    reads(
        "campaign.get",
        "A campaign and its file.",
        p.CampaignName,
        r.CampaignResult,
        campaign_methods.get,
        instead=lambda asked: event_methods.named_instead(asked.name),
    ),
    reads("campaign.list", "Campaigns.", p.CampaignList, r.CampaignsResult, campaign_methods.list_all),
    reads(
        "campaign.check",
        "Is it fit to start?",
        p.CampaignName,
        r.CheckResult,
        campaign_methods.check,
        instead=lambda asked: event_methods.named_instead(asked.name),
    ),
    reads(
        "campaign.preview",
        "One message as a contact would get it.",
        p.CampaignPreview,
        r.PreviewResult,
        campaign_methods.preview,
        private=True,
    ),
    changes(
        "campaign.test",
        "Send one message to an address of one's own.",
        p.CampaignTest,
        r.TestSendResult,
        message_methods.test,
        disk=Disk.NEEDS_ROOM,
        keeps_answer=False,
    ),
    changes("campaign.start", "Run it, now or at a time.", p.CampaignStart, r.StartResult, run_methods.start),
    changes(
        "campaign.schedule",
        "Start it by itself at a time.",
        p.CampaignSchedule,
        r.ChangeResult,
        run_methods.schedule,
    ),
    changes(
        "campaign.unschedule",
        "Make it a draft again.",
        p.CampaignChange,
        r.ChangeResult,
        run_methods.unschedule,
    ),
    changes("campaign.pause", "Stop sending for now.", p.CampaignChange, r.ChangeResult, run_methods.pause),
    changes("campaign.resume", "Go on.", p.CampaignResume, r.ResumeResult, run_methods.resume),
    changes("campaign.stop", "End it.", p.CampaignChange, r.ChangeResult, run_methods.stop),
    changes(
        "campaign.retry",
        "Queue failures again or decide doubts.",
        p.CampaignRetry,
        r.RetryResult,
        run_methods.retry,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "campaign.rate", "Another speed, at once.", p.CampaignRate, r.ChangeResult, campaign_methods.set_rate
    ),
    changes(
        "campaign.delete",
        "Forget a campaign.",
        p.CampaignChange,
        r.Done,
        campaign_methods.delete,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "campaign.clone",
        "A draft like this one.",
        p.CampaignClone,
        r.ChangeResult,
        campaign_methods.clone,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "campaign.archive",
        "Leave an ended campaign out of listings, or bring it back.",
        p.CampaignArchive,
        r.ChangeResult,
        campaign_methods.archive,
    ),
)
_MESSAGES = (
    reads(
        "delivery.list",
        "A page of deliveries.",
        p.DeliveryList,
        r.DeliveriesResult,
        delivery_methods.page,
        private=True,
    ),
    reads(
        "delivery.get",
        "One message's whole life.",
        p.DeliveryId,
        r.DeliveryResult,
        delivery_methods.get,
        private=True,
    ),
    reads(
        "delivery.source",
        "A part of an email as it goes over the wire.",
        p.DeliverySource,
        r.SourcePart,
        delivery_methods.source,
        private=True,
    ),
    reads(
        "delivery.failures",
        "What went wrong, by reason.",
        p.DeliveryFailures,
        r.FailuresResult,
        delivery_methods.failures,
        instead=lambda asked: event_methods.named_instead(asked.campaign),
    ),
    changes(
        "message.send",
        "Send one message now.",
        p.MessageSend,
        r.SendResult,
        message_methods.send,
        disk=Disk.NEEDS_ROOM,
        keeps_answer=False,
    ),
)
_PROVIDERS = (
    reads("provider.list", "All providers.", p.Params, r.ProvidersResult, provider_methods.list_all),
    changes(
        "provider.test",
        "Log in, send nothing.",
        p.ProviderChange,
        r.ProbeResult,
        provider_methods.test,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.enable",
        "Use it again.",
        p.ProviderChange,
        r.ProviderResult,
        provider_methods.enable,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.disable",
        "Let nothing more begin through it.",
        p.ProviderChange,
        r.ProviderResult,
        provider_methods.disable,
        disk=Disk.NOT_NEEDED,
    ),
)
_EVENTS = (
    of_session(
        "events.subscribe",
        "Follow events.",
        p.EventsSubscribe,
        r.SubscribeResult,
        instead=event_methods.subscribe_instead,
    ),
    of_session("events.unsubscribe", "Follow no more.", p.EventsUnsubscribe, r.Done),
    reads(
        "events.list",
        "A page of events.",
        p.EventsList,
        r.EventsResult,
        event_methods.page,
        instead=event_methods.list_instead,
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {method.name: method for method in (*_HUB, *_CONTACTS, *_CAMPAIGNS, *_MESSAGES, *_PROVIDERS, *_EVENTS)}
)
