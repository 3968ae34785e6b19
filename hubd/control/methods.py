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
from hubd.wire import inbox_params as ip
from hubd.wire import inbox_results as ir
from hubd.wire import params as p
from hubd.wire import results as r
from hubd.wire.credit_params import CreditsGrant, CreditsHistory
from hubd.wire.credit_results import AccountsResult, GrantResult, HistoryResult
from hubd.wire.notification_params import NotificationList, NotificationRead
from hubd.wire.notification_results import NotificationsRead, NotificationsResult
from hubd.wire.report_params import ReportGet
from hubd.wire.report_results import ReportResult
from hubd.wire.sink_params import SinkChange
from hubd.wire.sink_results import SinkResult, SinksResult, SinkTestResult

CHECK_SECONDS = 1_800.0  #: to recount a database of many millions of messages, or to write as many texts


async def discover(hub: Hub, _: p.Params) -> Encoded:
    """This table, as an OpenRPC document."""
    return await trio.to_thread.run_sync(_document, hub.info.version)


@cache
def _document(version: str) -> Encoded:
    """Made and encoded once: it takes some tenths of a second, which messages would wait for."""
    return encoded(describe(METHODS, version))


_HUB = (
    of_session("hub.hello", "The first call of a connection.", p.Hello, r.HelloResult),
    reads("hub.status", "The status of everything.", p.Params, r.StatusResult, hub_methods.status),
    reads("hub.metrics", "Metrics for a monitoring system.", p.Params, r.MetricsResult, metrics.metrics),
    changes(
        "hub.reload",
        "Read the configuration again.",
        p.Change,
        r.ReloadResult,
        hub_methods.reload,
        disk=Disk.NOT_NEEDED,
    ),
    reads(
        "config.show",
        "The configuration that the daemon uses.",
        p.Params,
        r.ConfigResult,
        config_methods.show,
    ),
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
        "Back up the whole database to a new file while messages are being sent.",
        p.HubBackup,
        r.BackupResult,
        hub_methods.backup,
        disk=Disk.NOT_NEEDED,
    ),
    reads(
        "hub.check",
        "Check the database.",
        p.Params,
        r.DoctorResult,
        hub_methods.check,
        seconds=CHECK_SECONDS,
    ),
    of_session("hub.cancel", "Cancel a request in progress.", p.HubCancel, r.Done),
    of_session("auth.ticket", "Get a ticket for a web page on this machine.", p.AuthTicket, r.TicketResult),
    reads("rpc.discover", "List the methods.", p.Params, r.OpenRpc, discover),
)
_CONTACTS = (
    changes(
        "contacts.import",
        "Import a page of rows into a list.",
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
    changes(
        "contacts.remove",
        "Delete one contact and cancel what waits for it; or take it off one list.",
        p.ContactRemove,
        r.RemovedResult,
        contact_methods.remove,
    ),
    changes(
        "contacts.forget",
        "Erase a person everywhere; a suppressed address stays suppressed.",
        p.ContactForget,
        r.ForgottenResult,
        contact_methods.forget,
    ),
    changes(
        "contacts.add",
        "Put one contact on a list.",
        p.ContactAdd,
        r.AddedResult,
        list_methods.add,
        disk=Disk.NEEDS_ROOM,
    ),
    changes("list.rename", "Rename a list.", p.ListRename, r.ListRenamedResult, list_methods.rename),
    changes(
        "list.delete",
        "Delete a list; its contacts stay.",
        p.ListName,
        r.ListDeletedResult,
        list_methods.delete,
    ),
    changes(
        "list.trim",
        "Take off a list whoever an import did not have.",
        p.ListTrim,
        r.TrimResult,
        list_methods.trim,
    ),
    changes("suppression.add", "Suppress an address.", p.SuppressionAdd, r.Done, contact_methods.suppress),
    changes(
        "suppression.import",
        "Suppress the addresses in a page of rows.",
        p.SuppressionImport,
        r.SuppressImportResult,
        contact_methods.suppress_page,
        disk=Disk.NEEDS_ROOM,
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
        r.PreviewResult,
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
        r.Done,
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
        p.TemplateApply,
        r.TemplatesApplied,
        template_methods.apply,
        disk=Disk.NEEDS_ROOM,
    ),
    reads("template.list", "All templates.", p.Params, r.TemplatesResult, template_methods.list_all),
    reads(
        "template.get",
        "One version of a template.",
        p.TemplateReference,
        r.TemplateResult,
        template_methods.get,
    ),
    reads(
        "template.history",
        "All versions of a template.",
        p.TemplateName,
        r.TemplateHistory,
        template_methods.history,
    ),
    changes("template.delete", "Delete a template.", p.TemplateDelete, r.Done, template_methods.delete),
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
        "All attempts of one message.",
        p.DeliveryId,
        r.DeliveryResult,
        delivery_methods.get,
        private=True,
    ),
    reads(
        "delivery.source",
        "A part of an email as it is sent.",
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
    reads(
        "message.list",
        "One-off messages, the newest first.",
        p.MessageList,
        r.MessagesResult,
        message_methods.page,
        private=True,
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
        "Test the login; send nothing.",
        p.ProviderChange,
        r.ProbeResult,
        provider_methods.test,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.enable",
        "Enable a provider.",
        p.ProviderChange,
        r.ProviderResult,
        provider_methods.enable,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.disable",
        "Disable a provider.",
        p.ProviderChange,
        r.ProviderResult,
        provider_methods.disable,
        disk=Disk.NOT_NEEDED,
    ),
)
_CREDITS = (
    reads("credits.list", "All credit accounts.", p.Params, AccountsResult, credit_methods.list_all),
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
        p.MailboxTest,
        r.MailboxTestResult,
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
        p.EventsSubscribe,
        r.SubscribeResult,
        instead=event_methods.subscribe_instead,
    ),
    of_session("events.unsubscribe", "End a subscription.", p.EventsUnsubscribe, r.Done),
    reads(
        "events.list",
        "A page of events.",
        p.EventsList,
        r.EventsResult,
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
    reads("sink.list", "The state of each sink.", p.Params, SinksResult, sink_methods.list_all),
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
        r.Done,
        inbox_methods.decide,
    ),
    changes(
        "inbox.reply",
        "Answer a reply.",
        ip.InboxReply,
        r.SendResult,
        inbox_methods.reply,
        disk=Disk.NEEDS_ROOM,
        keeps_answer=False,
    ),
    reads(
        "mailbox.list",
        "Everything that is read for what comes back.",
        p.Params,
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
