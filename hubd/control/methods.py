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
    credit_methods,
    delivery_methods,
    event_methods,
    hub_methods,
    inbox_methods,
    list_methods,
    mailbox_methods,
    message_methods,
    metrics,
    notification_methods,
    provider_methods,
    report_methods,
    run_methods,
    sink_methods,
    template_methods,
)
from hubd.control.discovery import describe
from hubd.control.hub import Hub
from hubd.control.table import Disk, Method, changes, of_session, reads
from hubd.wire import Encoded, encoded
from hubd.wire import campaign_params as p
from hubd.wire import campaign_results as r
from hubd.wire import inbox_params as ip
from hubd.wire import inbox_results as ir
from hubd.wire.contact_params import (
    ContactAdd,
    ContactForget,
    ContactKey,
    ContactRemove,
    ContactsColumns,
    ContactsImport,
    ContactsList,
    ListName,
    ListRename,
    ListTrim,
    SuppressionAdd,
    SuppressionImport,
    SuppressionList,
    SuppressionRemove,
)
from hubd.wire.contact_results import (
    AddedResult,
    ColumnsResult,
    ContactResult,
    ContactsResult,
    ForgottenResult,
    ImportResult,
    ListDeletedResult,
    ListRenamedResult,
    ListsResult,
    RemovedResult,
    SuppressImportResult,
    SuppressionsResult,
    TrimResult,
)
from hubd.wire.credit_params import CreditsGrant, CreditsHistory
from hubd.wire.credit_results import AccountsResult, GrantResult, HistoryResult
from hubd.wire.event_params import EventsList, EventsSubscribe, EventsUnsubscribe
from hubd.wire.event_results import EventsResult, SubscribeResult
from hubd.wire.hub_params import AuthTicket, Hello, HubBackup, HubCancel
from hubd.wire.hub_results import (
    BackupResult,
    ConfigResult,
    DoctorResult,
    HelloResult,
    MetricsResult,
    OpenRpc,
    ReloadResult,
    ShutdownResult,
    StatusResult,
    TicketResult,
)
from hubd.wire.inbox_params import MailboxTest
from hubd.wire.inbox_results import MailboxTestResult
from hubd.wire.message_params import (
    DeliveryFailures,
    DeliveryId,
    DeliveryList,
    DeliverySource,
    MessageList,
    MessageSend,
)
from hubd.wire.message_results import (
    DeliveriesResult,
    DeliveryResult,
    FailuresResult,
    MessagesResult,
    PreviewResult,
    SendResult,
    SourcePart,
)
from hubd.wire.notification_params import NotificationList, NotificationRead
from hubd.wire.notification_results import NotificationsRead, NotificationsResult
from hubd.wire.params import Change, Params
from hubd.wire.provider_params import ProviderChange
from hubd.wire.provider_results import ProbeResult, ProviderResult, ProvidersResult
from hubd.wire.report_params import ReportGet
from hubd.wire.report_results import ReportResult
from hubd.wire.results import Done
from hubd.wire.sink_params import SinkChange
from hubd.wire.sink_results import SinkResult, SinksResult, SinkTestResult
from hubd.wire.template_params import TemplateApply, TemplateDelete, TemplateName, TemplateReference
from hubd.wire.template_results import TemplateHistory, TemplateResult, TemplatesApplied, TemplatesResult

CHECK_SECONDS = 1_800.0  #: to recount a database of many millions of messages, or to write as many texts


async def discover(hub: Hub, _: Params) -> Encoded:
    """This table, as an OpenRPC document."""
    return await trio.to_thread.run_sync(_document, hub.info.version)


@cache
def _document(version: str) -> Encoded:
    """Made and encoded once: it takes some tenths of a second, which messages would wait for."""
    return encoded(describe(METHODS, version))


_HUB = (
    of_session("hub.hello", "The first call of a connection.", Hello, HelloResult),
    reads("hub.status", "The status of everything.", Params, StatusResult, hub_methods.status),
    reads("hub.metrics", "Metrics for a monitoring system.", Params, MetricsResult, metrics.metrics),
    changes(
        "hub.reload",
        "Read the configuration again.",
        Change,
        ReloadResult,
        hub_methods.reload,
        disk=Disk.NOT_NEEDED,
    ),
    reads(
        "config.show",
        "The configuration that the daemon uses.",
        Params,
        ConfigResult,
        config_methods.show,
    ),
    changes(
        "hub.shutdown",
        "Stop the daemon.",
        Change,
        ShutdownResult,
        hub_methods.shutdown,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "hub.backup",
        "Back up the whole database to a new file while messages are being sent.",
        HubBackup,
        BackupResult,
        hub_methods.backup,
        disk=Disk.NOT_NEEDED,
    ),
    reads(
        "hub.check",
        "Check the database.",
        Params,
        DoctorResult,
        hub_methods.check,
        seconds=CHECK_SECONDS,
    ),
    of_session("hub.cancel", "Cancel a request in progress.", HubCancel, Done),
    of_session("auth.ticket", "Get a ticket for a web page on this machine.", AuthTicket, TicketResult),
    reads("rpc.discover", "List the methods.", Params, OpenRpc, discover),
)
_CONTACTS = (
    changes(
        "contacts.import",
        "Import a page of rows into a list.",
        ContactsImport,
        ImportResult,
        contact_methods.import_page,
        disk=Disk.NEEDS_ROOM,
    ),
    reads(
        "contacts.columns",
        "Which field each column of a table fills.",
        ContactsColumns,
        ColumnsResult,
        contact_methods.columns,
    ),
    reads("contacts.lists", "All lists.", Params, ListsResult, contact_methods.lists),
    reads(
        "contacts.list",
        "A page of contacts.",
        ContactsList,
        ContactsResult,
        contact_methods.page,
        private=True,
    ),
    reads(
        "contacts.export",
        "A page of contacts, to be written to a file.",
        ContactsList,
        ContactsResult,
        contact_methods.page,
        private=True,
    ),
    reads("contacts.get", "One contact.", ContactKey, ContactResult, contact_methods.get, private=True),
    changes(
        "contacts.remove",
        "Delete one contact and cancel what waits for it; or take it off one list.",
        ContactRemove,
        RemovedResult,
        contact_methods.remove,
    ),
    changes(
        "contacts.forget",
        "Erase a person everywhere; a suppressed address stays suppressed.",
        ContactForget,
        ForgottenResult,
        contact_methods.forget,
    ),
    changes(
        "contacts.add",
        "Put one contact on a list.",
        ContactAdd,
        AddedResult,
        list_methods.add,
        disk=Disk.NEEDS_ROOM,
    ),
    changes("list.rename", "Rename a list.", ListRename, ListRenamedResult, list_methods.rename),
    changes(
        "list.delete",
        "Delete a list; its contacts stay.",
        ListName,
        ListDeletedResult,
        list_methods.delete,
    ),
    changes(
        "list.trim",
        "Take off a list whoever an import did not have.",
        ListTrim,
        TrimResult,
        list_methods.trim,
    ),
    changes("suppression.add", "Suppress an address.", SuppressionAdd, Done, contact_methods.suppress),
    changes(
        "suppression.import",
        "Suppress the addresses in a page of rows.",
        SuppressionImport,
        SuppressImportResult,
        contact_methods.suppress_page,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "suppression.remove",
        "Allow an address again.",
        SuppressionRemove,
        Done,
        contact_methods.unsuppress,
    ),
    reads(
        "suppression.list",
        "A page of suppressed addresses.",
        SuppressionList,
        SuppressionsResult,
        contact_methods.suppressions,
        private=True,
    ),
)
_CAMPAIGNS = (
    changes(
        "campaign.attach",
        "Upload a part of an attachment.",
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
        "Check whether a campaign is ready to start.",
        p.CampaignName,
        r.CheckResult,
        campaign_methods.check,
        seconds=CHECK_SECONDS,
        instead=lambda asked: event_methods.named_instead(asked.name),
    ),
    reads(
        "campaign.preview",
        "One message as a contact would receive it.",
        p.CampaignPreview,
        PreviewResult,
        campaign_methods.preview,
        private=True,
    ),
    changes(
        "campaign.test",
        "Send one message to your own address.",
        p.CampaignTest,
        r.TestSendResult,
        message_methods.test,
        disk=Disk.NEEDS_ROOM,
        keeps_answer=False,
    ),
    changes(
        "campaign.start",
        "Start a campaign, now or at a given time.",
        p.CampaignStart,
        r.StartResult,
        run_methods.start,
    ),
    changes(
        "campaign.schedule",
        "Schedule a campaign.",
        p.CampaignSchedule,
        r.ChangeResult,
        run_methods.schedule,
    ),
    changes(
        "campaign.unschedule",
        "Unschedule a campaign.",
        p.CampaignChange,
        r.ChangeResult,
        run_methods.unschedule,
    ),
    changes("campaign.pause", "Pause a campaign.", p.CampaignChange, r.ChangeResult, run_methods.pause),
    changes("campaign.resume", "Resume a campaign.", p.CampaignResume, r.ResumeResult, run_methods.resume),
    changes("campaign.stop", "Stop a campaign.", p.CampaignChange, r.ChangeResult, run_methods.stop),
    changes(
        "campaign.retry",
        "Queue failures again, or decide about deliveries in doubt.",
        p.CampaignRetry,
        r.RetryResult,
        run_methods.retry,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "campaign.rate",
        "Change the rate of a campaign.",
        p.CampaignRate,
        r.ChangeResult,
        campaign_methods.set_rate,
    ),
    changes(
        "campaign.delete",
        "Delete a campaign.",
        p.CampaignChange,
        Done,
        campaign_methods.delete,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "campaign.clone",
        "Copy a campaign into a new draft.",
        p.CampaignClone,
        r.ChangeResult,
        campaign_methods.clone,
        disk=Disk.NEEDS_ROOM,
    ),
    changes(
        "campaign.archive",
        "Archive an ended campaign, or list it again.",
        p.CampaignArchive,
        r.ChangeResult,
        campaign_methods.archive,
    ),
)
_TEMPLATES = (
    changes(
        "template.apply",
        "Create templates from their files, or new versions of them.",
        TemplateApply,
        TemplatesApplied,
        template_methods.apply,
        disk=Disk.NEEDS_ROOM,
    ),
    reads("template.list", "All templates.", Params, TemplatesResult, template_methods.list_all),
    reads(
        "template.get",
        "One version of a template.",
        TemplateReference,
        TemplateResult,
        template_methods.get,
    ),
    reads(
        "template.history",
        "All versions of a template.",
        TemplateName,
        TemplateHistory,
        template_methods.history,
    ),
    changes("template.delete", "Delete a template.", TemplateDelete, Done, template_methods.delete),
)
_MESSAGES = (
    reads(
        "delivery.list",
        "A page of deliveries.",
        DeliveryList,
        DeliveriesResult,
        delivery_methods.page,
        private=True,
    ),
    reads(
        "delivery.get",
        "All attempts of one message.",
        DeliveryId,
        DeliveryResult,
        delivery_methods.get,
        private=True,
    ),
    reads(
        "delivery.source",
        "A part of an email as it is sent.",
        DeliverySource,
        SourcePart,
        delivery_methods.source,
        private=True,
    ),
    reads(
        "delivery.failures",
        "What went wrong, by reason.",
        DeliveryFailures,
        FailuresResult,
        delivery_methods.failures,
        instead=lambda asked: event_methods.named_instead(asked.campaign),
    ),
    reads(
        "message.list",
        "One-off messages, the newest first.",
        MessageList,
        MessagesResult,
        message_methods.page,
        private=True,
    ),
    changes(
        "message.send",
        "Send one message now.",
        MessageSend,
        SendResult,
        message_methods.send,
        disk=Disk.NEEDS_ROOM,
        keeps_answer=False,
    ),
)
_PROVIDERS = (
    reads("provider.list", "All providers.", Params, ProvidersResult, provider_methods.list_all),
    changes(
        "provider.test",
        "Test the login; send nothing.",
        ProviderChange,
        ProbeResult,
        provider_methods.test,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.enable",
        "Enable a provider.",
        ProviderChange,
        ProviderResult,
        provider_methods.enable,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.disable",
        "Disable a provider.",
        ProviderChange,
        ProviderResult,
        provider_methods.disable,
        disk=Disk.NOT_NEEDED,
    ),
)
_CREDITS = (
    reads("credits.list", "All credit accounts.", Params, AccountsResult, credit_methods.list_all),
    changes(
        "credits.grant",
        "Grant credits to an account, or take them back.",
        CreditsGrant,
        GrantResult,
        credit_methods.grant,
    ),
    reads(
        "credits.history",
        "The log of a credit account, and what campaigns have of it.",
        CreditsHistory,
        HistoryResult,
        credit_methods.history,
    ),
)
_MAILBOXES = (
    reads(
        "mailbox.test",
        "Log in to a mailbox; read nothing.",
        MailboxTest,
        MailboxTestResult,
        mailbox_methods.test,
        private=True,
    ),
)
_NOTIFICATIONS = (
    reads(
        "notification.list",
        "What people are told, the newest first.",
        NotificationList,
        NotificationsResult,
        notification_methods.page,
    ),
    changes(
        "notification.read",
        "Mark notifications as read.",
        NotificationRead,
        NotificationsRead,
        notification_methods.read,
    ),
)
_EVENTS = (
    of_session(
        "events.subscribe",
        "Subscribe to events.",
        EventsSubscribe,
        SubscribeResult,
        instead=event_methods.subscribe_instead,
    ),
    of_session("events.unsubscribe", "End a subscription.", EventsUnsubscribe, Done),
    reads(
        "events.list",
        "A page of events.",
        EventsList,
        EventsResult,
        event_methods.page,
        instead=event_methods.list_instead,
    ),
)
_REPORTS = (
    reads(
        "report.get",
        "Figures by campaign and over time.",
        ReportGet,
        ReportResult,
        report_methods.get,
        instead=report_methods.instead,
    ),
)
_SINKS = (
    reads("sink.list", "The state of each sink.", Params, SinksResult, sink_methods.list_all),
    changes(
        "sink.test",
        "Try a sink once.",
        SinkChange,
        SinkTestResult,
        sink_methods.test,
        disk=Disk.NOT_NEEDED,
    ),
    changes("sink.resume", "Try a paused sink again.", SinkChange, SinkResult, sink_methods.resume),
)

_INBOX = (
    reads(
        "inbox.list",
        "What came back, the newest first.",
        ip.InboxList,
        ir.InboxResult,
        inbox_methods.page,
        private=True,
    ),
    reads(
        "inbox.get",
        "One thing that came back, all of it.",
        ip.InboxId,
        ir.InboxItemResult,
        inbox_methods.get,
        private=True,
    ),
    changes(
        "inbox.decide",
        "Decide about a reply that may be an opt-out.",
        ip.InboxDecide,
        Done,
        inbox_methods.decide,
    ),
    changes(
        "inbox.reply",
        "Answer a reply.",
        ip.InboxReply,
        SendResult,
        inbox_methods.reply,
        disk=Disk.NEEDS_ROOM,
        keeps_answer=False,
    ),
    reads(
        "mailbox.list",
        "Everything that is read for what comes back.",
        Params,
        ir.MailboxesResult,
        inbox_methods.mailboxes,
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            *_HUB,
            *_CONTACTS,
            *_CAMPAIGNS,
            *_TEMPLATES,
            *_MESSAGES,
            *_PROVIDERS,
            *_MAILBOXES,
            *_CREDITS,
            *_REPORTS,
            *_NOTIFICATIONS,
            *_SINKS,
            *_EVENTS,
            *_INBOX,
        )
    }
)
