"""What each method takes, as typed structs; `reading` turns JSON into them.

Parameters go by name or by position; the order of the fields is the order of the positions, so a field is
only ever added at the end. Every mutation takes an `idempotency_key`, under which it is done once, and
`dry_run`: then it changes nothing and says what it would do.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

MAX_INTEGER = 2**53  #: beyond it, a reader that keeps numbers as doubles sees another number
MAX_ROWS = 2000  #: rows in one page of an import
MAX_PAGE = 1000  #: entries in one page of a listing
MAX_PART = 512 * 1024  #: bytes in one part of an attachment, or of an email

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]  #: a template, with or without "@3"
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]  #: as long as an address may be
Reason = Annotated[str, msgspec.Meta(max_length=500)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Zone = Annotated[str, msgspec.Meta(max_length=64)]  #: the name of a time zone; "" for none
ChannelName = Literal["email", "sms"]
StateName = Literal[
    "pending", "deferred", "sending", "sent", "delivered", "undelivered", "failed", "skipped", "in_doubt"
]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters; the base of all others."""


class ClientInfo(Params, frozen=True):
    """Who is calling."""

    name: Annotated[str, msgspec.Meta(max_length=100)]
    version: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Hello(Params, frozen=True):
    """The first call of a connection. `protocol` lists the versions that the client speaks."""

    client: ClientInfo
    protocol: Annotated[list[int], msgspec.Meta(max_length=50)]
    caps: list[str] = []


class Change(Params, frozen=True):
    """A mutation without parameters of its own."""

    idempotency_key: Key = None
    dry_run: bool = False


class HubBackup(Params, frozen=True):
    """`path` is an absolute path on the daemon's machine, of a file that does not exist yet."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    idempotency_key: Key = None
    dry_run: bool = False


class ImportRow(Params, frozen=True, gc=False):
    """One row of a table: its line in the file, and its cells by column."""

    line: Count
    values: dict[str, str]


class ContactsImport(Params, frozen=True):
    """One page of rows; the pages of one file share their `import_id`."""

    list_name: Name = msgspec.field(name="list")
    rows: Annotated[list[ImportRow], msgspec.Meta(max_length=MAX_ROWS)]
    import_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    dry_run: bool = False
    region: str | None = None
    idempotency_key: Key = None
    replace: bool = False  #: remember whom the rows name, for `list.trim`


class ContactsColumns(Params, frozen=True):
    """The header of a table, and what the person who imports it says about its columns."""

    columns: Annotated[list[str], msgspec.Meta(max_length=10_000)]
    maps: Annotated[dict[str, str], msgspec.Meta(max_length=10_000)] = {}  #: column to field
    skip: Annotated[list[str], msgspec.Meta(max_length=10_000)] = []  #: columns to leave out
    addresses: bool = False  #: for `suppression.import`, which also takes a column `address`


class ContactsList(Params, frozen=True):
    """A page of contacts; `after` is the `next` of the page before."""

    list_name: Name | None = msgspec.field(default=None, name="list")
    after: Count = 0
    limit: Limit = 200


class ContactKey(Params, frozen=True):
    """An email address, a phone number or a contact id."""

    key: Word


class ContactAdd(Params, frozen=True):
    """Put one contact on a list; it needs an email address or a phone number."""

    list_name: Name = msgspec.field(name="list")
    email: Word | None = None
    phone: Word | None = None
    fields: Annotated[dict[str, str], msgspec.Meta(max_length=200)] = {}
    region: str | None = None
    idempotency_key: Key = None
    dry_run: bool = False


class ContactRemove(Params, frozen=True):
    """Delete one contact; or with `list`, take it off this list."""

    key: Word
    idempotency_key: Key = None
    dry_run: bool = False
    list_name: Name | None = msgspec.field(default=None, name="list")


class ContactForget(Params, frozen=True):
    """Erase a person: an email address, a phone number or a contact id."""

    key: Word
    idempotency_key: Key = None
    dry_run: bool = False


class ListName(Params, frozen=True):
    """A list."""

    name: Name
    idempotency_key: Key = None
    dry_run: bool = False


class ListRename(Params, frozen=True):
    """A list, and the name that it gets."""

    name: Name
    new: Name
    idempotency_key: Key = None
    dry_run: bool = False


class ListTrim(Params, frozen=True):
    """Take off a list whoever was not in an import with `replace`, which had so many valid `rows`."""

    name: Name
    import_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    rows: Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]
    idempotency_key: Key = None
    dry_run: bool = False


class SuppressionAdd(Params, frozen=True):
    """Suppress an address: nothing is sent to it again.

    `imported` marks it as one of a file: those are refused on a nearly full disk, a single one is not.
    """

    channel: ChannelName
    address: Word
    reason: Reason = ""
    idempotency_key: Key = None
    imported: bool = False
    dry_run: bool = False
    region: str | None = None


class SuppressionImport(Params, frozen=True):
    """One page of rows with addresses to suppress; the pages of one file share their `import_id`.

    Without `channel`, every address of a row counts.
    """

    rows: Annotated[list[ImportRow], msgspec.Meta(max_length=MAX_ROWS)]
    import_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    channel: ChannelName | None = None
    reason: Reason = ""
    region: str | None = None
    idempotency_key: Key = None
    dry_run: bool = False


class SuppressionRemove(Params, frozen=True):
    """Allow messages to this address again."""

    channel: ChannelName
    address: Word
    idempotency_key: Key = None
    dry_run: bool = False
    region: str | None = None


class SuppressionList(Params, frozen=True):
    """A page of suppressed addresses; or one address, if it is suppressed, which needs its channel."""

    channel: ChannelName | None = None
    address: Word | None = None
    after: Word | None = None
    limit: Limit = 200


class CampaignAttach(Params, frozen=True):
    """A part of an attachment, in base64; parts come in order, and `size` is the size of the whole."""

    sha256: Sha256
    offset: Count
    data: str
    size: Count
    idempotency_key: Key = None
    dry_run: bool = False


class CampaignApply(Params, frozen=True):
    """A campaign file as parsed, with the texts and attachments read in; `dry_run` changes nothing.

    `timezone` is that of `schedule.at` where the file names none.
    """

    spec: dict[str, object]
    if_revision: Count | None = None
    idempotency_key: Key = None
    dry_run: bool = False
    timezone: Zone = ""


class CampaignName(Params, frozen=True):
    """A campaign."""

    name: Name


class CampaignChange(Params, frozen=True):
    """A change to a campaign that needs nothing but its name."""

    name: Name
    idempotency_key: Key = None
    if_revision: Count | None = None
    dry_run: bool = False


class CampaignResume(Params, frozen=True):
    """`fail_refused` fails the recipients whose refusals paused the campaign, without another attempt."""

    name: Name
    fail_refused: bool = False
    idempotency_key: Key = None
    if_revision: Count | None = None
    dry_run: bool = False


class CampaignList(Params, frozen=True):
    """`all` includes campaigns that have ended, `archived` archived ones; `label`: only those with it."""

    all: bool = False
    archived: bool = False
    label: Name | None = None


class CampaignClone(Params, frozen=True):
    """`new` is the name of the copy, and `changes` are keys of its file that have other values.

    A table such as `schedule` keeps the keys that are not named; an empty value takes a key out. `timezone`
    as in `campaign.apply`.
    """

    name: Name
    new: Name
    idempotency_key: Key = None
    dry_run: bool = False
    changes: dict[str, object] = {}
    timezone: Zone = ""


class TemplateApply(Params, frozen=True):
    """Template files as parsed, with the texts read in; all of them are applied, or none."""

    specs: Annotated[list[dict[str, object]], msgspec.Meta(min_length=1, max_length=50)]
    idempotency_key: Key = None
    dry_run: bool = False


class TemplateReference(Params, frozen=True):
    """A template such as "welcome", or one version of it: "welcome@3"."""

    name: Reference


class TemplateName(Params, frozen=True):
    """A template with all its versions."""

    name: Name


class TemplateDelete(Params, frozen=True):
    """A template that nothing uses any more, with all its versions."""

    name: Name
    idempotency_key: Key = None
    dry_run: bool = False


class CampaignArchive(Params, frozen=True):
    """Archive a campaign that has ended; with `archived` false, list it again."""

    name: Name
    archived: bool = True
    idempotency_key: Key = None
    if_revision: Count | None = None
    dry_run: bool = False


class CampaignPreview(Params, frozen=True):
    """`to` is a contact, or null for the first of the audience."""

    name: Name
    to: Word | None = None


class CampaignTest(Params, frozen=True):
    """Send one message of a campaign to your own address, as it is for the contact `as` or the first one."""

    name: Name
    to: Word
    idempotency_key: Key = None
    dry_run: bool = False
    as_: Word | None = msgspec.field(default=None, name="as")


class CampaignStart(Params, frozen=True):
    """`limit` sends that many and pauses; `at` schedules; `accept_risk` lists accepted risks.

    `at` is a time such as "2026-12-01 09:00", "tomorrow 9:00" or "monday 9:00", in the time zone of the
    campaign's schedule, else in `timezone`; or "now". The default is what the campaign's file says.
    """

    name: Name
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)] | None = None
    at: str | None = None
    accept_risk: list[str] = []
    dry_run: bool = False
    idempotency_key: Key = None
    if_revision: Count | None = None
    timezone: Zone = ""


class CampaignSchedule(Params, frozen=True):
    """`at` as in `campaign.start`; without an offset it needs the time zone of the campaign's schedule."""

    name: Name
    at: str
    accept_risk: list[str] = []
    idempotency_key: Key = None
    if_revision: Count | None = None
    dry_run: bool = False


class CampaignRetry(Params, frozen=True):
    """Queue failures again (`class`) or decide about deliveries in doubt (`in_doubt`)."""

    name: Name
    class_: Literal["transient", "permanent", "all"] | None = msgspec.field(default=None, name="class")
    in_doubt: Literal["resend", "sent", "failed"] | None = None
    idempotency_key: Key = None
    if_revision: Count | None = None
    dry_run: bool = False


class CampaignRate(Params, frozen=True):
    """One rate such as "20/s", or several that apply together; null removes the limit."""

    name: Name
    rate: Annotated[list[str], msgspec.Meta(max_length=8)] | str | None
    idempotency_key: Key = None
    if_revision: Count | None = None
    dry_run: bool = False


class DeliveryList(Params, frozen=True):
    """A page of a campaign's deliveries; `refused`: only those whose refusals paused the campaign.

    `search`: only recipients whose address or number contains it, without regard to case. `skip`: leave
    out the first so many of those after `after`, to show a far part of a long list without what is before it.
    """

    campaign: Name
    state: StateName | None = None
    after: Count = 0
    limit: Limit = 200
    refused: bool = False
    search: Annotated[str, msgspec.Meta(max_length=320)] = ""
    skip: Count = 0


class DeliveryId(Params, frozen=True):
    """One delivery."""

    id: Count


class DeliverySource(Params, frozen=True):
    """A part of an email as it is sent, from an offset in bytes."""

    id: Count
    offset: Count = 0


class DeliveryFailures(Params, frozen=True):
    """A campaign whose failures are grouped."""

    campaign: Name


class FileParam(Params, frozen=True):
    """A file whose bytes `campaign.attach` has taken; `type` is its MIME type, `size` is in bytes."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    sha256: Sha256
    size: Count


class MessageSend(Params, frozen=True):
    """One message, from the content given here or that of `template`: a campaign, or else a stored template.

    An attached picture that the HTML shows by `cid:NAME` becomes a part of it.
    """

    provider: Name
    to: Word
    template: Reference | None = None
    subject: str = ""
    text: str = ""
    html: str = ""
    sender: str = ""
    fields: dict[str, str] = {}
    idempotency_key: Key = None
    dry_run: bool = False
    reply_to: str = ""
    attachments: list[FileParam] = []
    credits: Name | None = None  #: the credit account that pays


class MessageList(Params, frozen=True):
    """A page of one-off messages, the newest first. The next page has those `before` the `next` of this one.

    A page may have fewer than `limit` messages, or none, although there is a next one.
    """

    provider: Name | None = None
    state: StateName | None = None
    before: Count = 0
    limit: Limit = 200


class ProviderChange(Params, frozen=True):
    """A change to a provider."""

    name: Name
    idempotency_key: Key = None
    dry_run: bool = False


class MailboxTest(Params, frozen=True):
    """A mailbox of hubd.toml."""

    name: Name


class Cursor(Params, frozen=True):
    """The position of a subscriber: the database's epoch and the last event it has seen."""

    epoch: Count
    seq: Count


class EventsSubscribe(Params, frozen=True):
    """`topics`: "campaign:NAME", "campaigns", "daemon" or, for operators, "*". `types`: only these events.

    `gauge_hz`: live figures at most so often a second. With `after` there is no snapshot.
    """

    topics: Annotated[list[Word], msgspec.Meta(min_length=1, max_length=64)]
    after: Cursor | None = None
    snapshot: bool = True
    gauge_hz: Annotated[float, msgspec.Meta(ge=0, le=20)] = 4.0
    types: Annotated[list[Word], msgspec.Meta(min_length=1, max_length=64)] | None = None


class EventsUnsubscribe(Params, frozen=True):
    """A subscription of this connection."""

    subscription: Word


class EventsList(Params, frozen=True):
    """A page of events after the one numbered `after`. Without `campaign` it is for operators."""

    after: Count = 0
    limit: Limit = 200
    campaign: Name | None = None


class AuthTicket(Params, frozen=True):
    """`origin` is that of the page that will connect; null for another program. `ttl`: seconds.

    `listen`: if the daemon does not listen on TCP, open a free port on 127.0.0.1; it is closed when nobody is
    connected there and no ticket and no session token is good.
    """

    role: Literal["viewer", "operator"] = "viewer"
    origin: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    ttl: Annotated[int, msgspec.Meta(ge=1, le=60)] = 60
    listen: bool = False


class HubCancel(Params, frozen=True):
    """The id of a request in progress on this connection."""

    id: str | int | float | None
