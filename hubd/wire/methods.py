"""The methods of the daemon, each with what it answers: `answer = await hub.call(HUB_STATUS)` has a type.

What they take is in `hubd.control.methods`; a test compares both tables. Only names are in here, so that a
client which knows them starts no later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from hubd.wire import inbox_results as ir
    from hubd.wire import results as r
    from hubd.wire.credit_results import AccountsResult, GrantResult, HistoryResult
    from hubd.wire.notification_results import NotificationsRead, NotificationsResult
    from hubd.wire.report_results import ReportResult
    from hubd.wire.sink_results import SinkResult, SinksResult, SinkTestResult

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Method(Generic[R_co]):
    """A method by name; `R_co` is what it answers, a typed dictionary of `hubd.wire.results`."""

    name: str


def name_of(method: Method[object] | str) -> str:
    """The name to send."""
    return method if isinstance(method, str) else method.name


HUB_HELLO: Method[r.HelloResult] = Method("hub.hello")
HUB_STATUS: Method[r.StatusResult] = Method("hub.status")
HUB_METRICS: Method[r.MetricsResult] = Method("hub.metrics")
HUB_RELOAD: Method[r.ReloadResult] = Method("hub.reload")
CONFIG_SHOW: Method[r.ConfigResult] = Method("config.show")
HUB_SHUTDOWN: Method[r.ShutdownResult] = Method("hub.shutdown")
HUB_BACKUP: Method[r.BackupResult] = Method("hub.backup")
HUB_CHECK: Method[r.DoctorResult] = Method("hub.check")
HUB_CANCEL: Method[r.Done] = Method("hub.cancel")
AUTH_TICKET: Method[r.TicketResult] = Method("auth.ticket")
RPC_DISCOVER: Method[r.OpenRpc] = Method("rpc.discover")
CONTACTS_IMPORT: Method[r.ImportResult] = Method("contacts.import")
CONTACTS_COLUMNS: Method[r.ColumnsResult] = Method("contacts.columns")
CONTACTS_LISTS: Method[r.ListsResult] = Method("contacts.lists")
CONTACTS_LIST: Method[r.ContactsResult] = Method("contacts.list")
CONTACTS_EXPORT: Method[r.ContactsResult] = Method("contacts.export")
CONTACTS_GET: Method[r.ContactResult] = Method("contacts.get")
CONTACTS_REMOVE: Method[r.RemovedResult] = Method("contacts.remove")
CONTACTS_FORGET: Method[r.ForgottenResult] = Method("contacts.forget")
CONTACTS_ADD: Method[r.AddedResult] = Method("contacts.add")
LIST_RENAME: Method[r.ListRenamedResult] = Method("list.rename")
LIST_DELETE: Method[r.ListDeletedResult] = Method("list.delete")
LIST_TRIM: Method[r.TrimResult] = Method("list.trim")
SUPPRESSION_ADD: Method[r.Done] = Method("suppression.add")
SUPPRESSION_IMPORT: Method[r.SuppressImportResult] = Method("suppression.import")
SUPPRESSION_REMOVE: Method[r.Done] = Method("suppression.remove")
SUPPRESSION_LIST: Method[r.SuppressionsResult] = Method("suppression.list")
CAMPAIGN_ATTACH: Method[r.AttachResult] = Method("campaign.attach")
CAMPAIGN_APPLY: Method[r.ApplyResult] = Method("campaign.apply")
CAMPAIGN_GET: Method[r.CampaignResult] = Method("campaign.get")
CAMPAIGN_LIST: Method[r.CampaignsResult] = Method("campaign.list")
CAMPAIGN_CHECK: Method[r.CheckResult] = Method("campaign.check")
CAMPAIGN_PREVIEW: Method[r.PreviewResult] = Method("campaign.preview")
CAMPAIGN_TEST: Method[r.TestSendResult] = Method("campaign.test")
CAMPAIGN_START: Method[r.StartResult] = Method("campaign.start")
CAMPAIGN_SCHEDULE: Method[r.ChangeResult] = Method("campaign.schedule")
CAMPAIGN_UNSCHEDULE: Method[r.ChangeResult] = Method("campaign.unschedule")
CAMPAIGN_PAUSE: Method[r.ChangeResult] = Method("campaign.pause")
CAMPAIGN_RESUME: Method[r.ResumeResult] = Method("campaign.resume")
CAMPAIGN_STOP: Method[r.ChangeResult] = Method("campaign.stop")
CAMPAIGN_RETRY: Method[r.RetryResult] = Method("campaign.retry")
CAMPAIGN_RATE: Method[r.ChangeResult] = Method("campaign.rate")
CAMPAIGN_DELETE: Method[r.Done] = Method("campaign.delete")
CAMPAIGN_CLONE: Method[r.ChangeResult] = Method("campaign.clone")
CAMPAIGN_ARCHIVE: Method[r.ChangeResult] = Method("campaign.archive")
TEMPLATE_APPLY: Method[r.TemplatesApplied] = Method("template.apply")
TEMPLATE_LIST: Method[r.TemplatesResult] = Method("template.list")
TEMPLATE_GET: Method[r.TemplateResult] = Method("template.get")
TEMPLATE_HISTORY: Method[r.TemplateHistory] = Method("template.history")
TEMPLATE_DELETE: Method[r.Done] = Method("template.delete")
DELIVERY_LIST: Method[r.DeliveriesResult] = Method("delivery.list")
DELIVERY_GET: Method[r.DeliveryResult] = Method("delivery.get")
DELIVERY_SOURCE: Method[r.SourcePart] = Method("delivery.source")
DELIVERY_FAILURES: Method[r.FailuresResult] = Method("delivery.failures")
MESSAGE_LIST: Method[r.MessagesResult] = Method("message.list")
MESSAGE_SEND: Method[r.SendResult] = Method("message.send")
PROVIDER_LIST: Method[r.ProvidersResult] = Method("provider.list")
PROVIDER_TEST: Method[r.ProbeResult] = Method("provider.test")
MAILBOX_TEST: Method[r.MailboxTestResult] = Method("mailbox.test")
PROVIDER_ENABLE: Method[r.ProviderResult] = Method("provider.enable")
PROVIDER_DISABLE: Method[r.ProviderResult] = Method("provider.disable")
CREDITS_LIST: Method[AccountsResult] = Method("credits.list")
CREDITS_GRANT: Method[GrantResult] = Method("credits.grant")
CREDITS_HISTORY: Method[HistoryResult] = Method("credits.history")
NOTIFICATION_LIST: Method[NotificationsResult] = Method("notification.list")
NOTIFICATION_READ: Method[NotificationsRead] = Method("notification.read")
EVENTS_SUBSCRIBE: Method[r.SubscribeResult] = Method("events.subscribe")
EVENTS_UNSUBSCRIBE: Method[r.Done] = Method("events.unsubscribe")
EVENTS_LIST: Method[r.EventsResult] = Method("events.list")
REPORT_GET: Method[ReportResult] = Method("report.get")
SINK_LIST: Method[SinksResult] = Method("sink.list")
SINK_TEST: Method[SinkTestResult] = Method("sink.test")
SINK_RESUME: Method[SinkResult] = Method("sink.resume")
INBOX_LIST: Method[ir.InboxResult] = Method("inbox.list")
INBOX_GET: Method[ir.InboxItemResult] = Method("inbox.get")
INBOX_DECIDE: Method[r.Done] = Method("inbox.decide")
INBOX_REPLY: Method[r.SendResult] = Method("inbox.reply")
MAILBOX_LIST: Method[ir.MailboxesResult] = Method("mailbox.list")
