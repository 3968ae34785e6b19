"""The methods of the daemon, each with what it answers: `answer = await hub.call(HUB_STATUS)` has a type.

What they take is in `hubd.control.methods`; a test compares both tables. Only names are in here, so that a
client which knows them starts no later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from hubd.wire import (
        campaign_results,
        contact_results,
        event_results,
        hub_results,
        inbox_results,
        message_results,
        provider_results,
        results,
        template_results,
    )
    from hubd.wire.credit_results import AccountsResult, GrantResult, HistoryResult
    from hubd.wire.notification_results import NotificationsRead, NotificationsResult
    from hubd.wire.report_results import ReportResult
    from hubd.wire.sink_results import SinkResult, SinksResult, SinkTestResult

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Method(Generic[R_co]):
    """A method by name; `R_co` is what it answers, a typed dictionary of `hubd.wire.*_results`."""

    name: str


def name_of(method: Method[object] | str) -> str:
    """The name to send."""
    return method if isinstance(method, str) else method.name


HUB_HELLO: Method[hub_results.HelloResult] = Method("hub.hello")
HUB_STATUS: Method[hub_results.StatusResult] = Method("hub.status")
HUB_METRICS: Method[hub_results.MetricsResult] = Method("hub.metrics")
HUB_RELOAD: Method[hub_results.ReloadResult] = Method("hub.reload")
CONFIG_SHOW: Method[hub_results.ConfigResult] = Method("config.show")
HUB_SHUTDOWN: Method[hub_results.ShutdownResult] = Method("hub.shutdown")
HUB_BACKUP: Method[hub_results.BackupResult] = Method("hub.backup")
HUB_CHECK: Method[hub_results.DoctorResult] = Method("hub.check")
HUB_CANCEL: Method[results.Done] = Method("hub.cancel")
AUTH_TICKET: Method[hub_results.TicketResult] = Method("auth.ticket")
RPC_DISCOVER: Method[hub_results.OpenRpc] = Method("rpc.discover")
CONTACTS_IMPORT: Method[contact_results.ImportResult] = Method("contacts.import")
CONTACTS_COLUMNS: Method[contact_results.ColumnsResult] = Method("contacts.columns")
CONTACTS_LISTS: Method[contact_results.ListsResult] = Method("contacts.lists")
CONTACTS_LIST: Method[contact_results.ContactsResult] = Method("contacts.list")
CONTACTS_EXPORT: Method[contact_results.ContactsResult] = Method("contacts.export")
CONTACTS_GET: Method[contact_results.ContactResult] = Method("contacts.get")
CONTACTS_REMOVE: Method[contact_results.RemovedResult] = Method("contacts.remove")
CONTACTS_FORGET: Method[contact_results.ForgottenResult] = Method("contacts.forget")
CONTACTS_ADD: Method[contact_results.AddedResult] = Method("contacts.add")
LIST_RENAME: Method[contact_results.ListRenamedResult] = Method("list.rename")
LIST_DELETE: Method[contact_results.ListDeletedResult] = Method("list.delete")
LIST_TRIM: Method[contact_results.TrimResult] = Method("list.trim")
SUPPRESSION_ADD: Method[results.Done] = Method("suppression.add")
SUPPRESSION_IMPORT: Method[contact_results.SuppressImportResult] = Method("suppression.import")
SUPPRESSION_REMOVE: Method[results.Done] = Method("suppression.remove")
SUPPRESSION_LIST: Method[contact_results.SuppressionsResult] = Method("suppression.list")
CAMPAIGN_ATTACH: Method[campaign_results.AttachResult] = Method("campaign.attach")
CAMPAIGN_APPLY: Method[campaign_results.ApplyResult] = Method("campaign.apply")
CAMPAIGN_GET: Method[campaign_results.CampaignResult] = Method("campaign.get")
CAMPAIGN_LIST: Method[campaign_results.CampaignsResult] = Method("campaign.list")
CAMPAIGN_CHECK: Method[campaign_results.CheckResult] = Method("campaign.check")
CAMPAIGN_PREVIEW: Method[message_results.PreviewResult] = Method("campaign.preview")
CAMPAIGN_TEST: Method[campaign_results.TestSendResult] = Method("campaign.test")
CAMPAIGN_START: Method[campaign_results.StartResult] = Method("campaign.start")
CAMPAIGN_SCHEDULE: Method[campaign_results.ChangeResult] = Method("campaign.schedule")
CAMPAIGN_UNSCHEDULE: Method[campaign_results.ChangeResult] = Method("campaign.unschedule")
CAMPAIGN_PAUSE: Method[campaign_results.ChangeResult] = Method("campaign.pause")
CAMPAIGN_RESUME: Method[campaign_results.ResumeResult] = Method("campaign.resume")
CAMPAIGN_STOP: Method[campaign_results.ChangeResult] = Method("campaign.stop")
CAMPAIGN_RETRY: Method[campaign_results.RetryResult] = Method("campaign.retry")
CAMPAIGN_RATE: Method[campaign_results.ChangeResult] = Method("campaign.rate")
CAMPAIGN_DELETE: Method[results.Done] = Method("campaign.delete")
CAMPAIGN_CLONE: Method[campaign_results.ChangeResult] = Method("campaign.clone")
CAMPAIGN_ARCHIVE: Method[campaign_results.ChangeResult] = Method("campaign.archive")
TEMPLATE_APPLY: Method[template_results.TemplatesApplied] = Method("template.apply")
TEMPLATE_LIST: Method[template_results.TemplatesResult] = Method("template.list")
TEMPLATE_GET: Method[template_results.TemplateResult] = Method("template.get")
TEMPLATE_HISTORY: Method[template_results.TemplateHistory] = Method("template.history")
TEMPLATE_DELETE: Method[results.Done] = Method("template.delete")
DELIVERY_LIST: Method[message_results.DeliveriesResult] = Method("delivery.list")
DELIVERY_GET: Method[message_results.DeliveryResult] = Method("delivery.get")
DELIVERY_SOURCE: Method[message_results.SourcePart] = Method("delivery.source")
DELIVERY_FAILURES: Method[message_results.FailuresResult] = Method("delivery.failures")
MESSAGE_LIST: Method[message_results.MessagesResult] = Method("message.list")
MESSAGE_SEND: Method[message_results.SendResult] = Method("message.send")
PROVIDER_LIST: Method[provider_results.ProvidersResult] = Method("provider.list")
PROVIDER_TEST: Method[provider_results.ProbeResult] = Method("provider.test")
MAILBOX_TEST: Method[inbox_results.MailboxTestResult] = Method("mailbox.test")
PROVIDER_ENABLE: Method[provider_results.ProviderResult] = Method("provider.enable")
PROVIDER_DISABLE: Method[provider_results.ProviderResult] = Method("provider.disable")
CREDITS_LIST: Method[AccountsResult] = Method("credits.list")
CREDITS_GRANT: Method[GrantResult] = Method("credits.grant")
CREDITS_HISTORY: Method[HistoryResult] = Method("credits.history")
NOTIFICATION_LIST: Method[NotificationsResult] = Method("notification.list")
NOTIFICATION_READ: Method[NotificationsRead] = Method("notification.read")
EVENTS_SUBSCRIBE: Method[event_results.SubscribeResult] = Method("events.subscribe")
EVENTS_UNSUBSCRIBE: Method[results.Done] = Method("events.unsubscribe")
EVENTS_LIST: Method[event_results.EventsResult] = Method("events.list")
REPORT_GET: Method[ReportResult] = Method("report.get")
SINK_LIST: Method[SinksResult] = Method("sink.list")
SINK_TEST: Method[SinkTestResult] = Method("sink.test")
SINK_RESUME: Method[SinkResult] = Method("sink.resume")
INBOX_LIST: Method[inbox_results.InboxResult] = Method("inbox.list")
INBOX_GET: Method[inbox_results.InboxItemResult] = Method("inbox.get")
INBOX_DECIDE: Method[results.Done] = Method("inbox.decide")
INBOX_REPLY: Method[message_results.SendResult] = Method("inbox.reply")
MAILBOX_LIST: Method[inbox_results.MailboxesResult] = Method("mailbox.list")
