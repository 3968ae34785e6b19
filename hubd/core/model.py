"""The vocabulary: what a campaign, a delivery, a message and an answer are.

Plain frozen values without behaviour of their own. All other packages use them.
Times are seconds since the Unix epoch (UTC, float); addresses are already normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import msgspec

from hubd.core.email_parts import Parts
from hubd.core.shared import NOTHING, SharedBytes


class Channel(StrEnum):
    """What kind of address a message goes to."""

    EMAIL = "email"
    SMS = "sms"


class Kind(StrEnum):
    """Marketing mail needs an unsubscribe link and a postal address, transactional mail does not."""

    MARKETING = "marketing"
    TRANSACTIONAL = "transactional"


class CampaignState(StrEnum):
    """Where a campaign is. The arrows are in `lifecycle`."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"


#: The states in which nothing happens without a command.
ENDED = frozenset({CampaignState.STOPPED, CampaignState.COMPLETED, CampaignState.FAILED})
#: Begins the names of the transactional queues, which never end.
TRANSACTIONAL_PREFIX = "~"


class DeliveryState(StrEnum):
    """Where one recipient's message is. Every delivery is in exactly one of these."""

    PENDING = "pending"  #: not tried yet, or put back untouched
    DEFERRED = "deferred"  #: tried, refused for now, due again at `next_at`
    SENDING = "sending"  #: an attempt is recorded as open; its outcome is not known yet
    SENT = "sent"  #: the provider durably accepted it
    DELIVERED = "delivered"  #: a receipt said it arrived
    UNDELIVERED = "undelivered"  #: a receipt said it did not
    FAILED = "failed"  #: refused for good
    SKIPPED = "skipped"  #: never to be tried; the reason says why
    IN_DOUBT = "in_doubt"  #: it was on the wire and the answer was lost


class SkipReason(StrEnum):
    """Why a delivery is `skipped`."""

    SUPPRESSED = "suppressed"
    OPTED_OUT = "opted_out"  #: suppressed because the person asked for it
    INVALID_ADDRESS = "invalid_address"  #: the contact has no address of the campaign's channel
    CANCELLED = "cancelled"  #: the contact was removed
    NOT_COMPARABLE = (
        "not_comparable"  #: the campaign's condition compares a number with a text of the contact
    )


class InDoubt(StrEnum):
    """What to do with an attempt whose answer was lost."""

    RETRY = "retry"  #: try again with the same Message-ID; a duplicate is possible and counted
    HOLD = "hold"  #: keep it `in_doubt` until a person decides
    RECONCILE = "reconcile"  #: ask the provider whether it has the message; `hold` when it cannot say


class Stage(StrEnum):
    """How far a conversation with a provider had come when its answer was given."""

    CONNECT = "connect"
    TLS = "tls"
    BANNER = "banner"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"  #: part of the body was written, the terminating dot was not
    DOT = "dot"  #: the terminating dot was handed to the socket: the message may be accepted
    REQUEST = "request"  #: an HTTP request was (or may have been) written
    LOCAL = "local"  #: nothing left this machine (rendering, the outbox's disk)


class Signal(StrEnum):
    """In what way the answer came."""

    REPLY = "reply"  #: a well-formed reply with a code
    DROPPED = "dropped"  #: the connection was closed or reset
    TIMEOUT = "timeout"  #: nothing came in time
    GARBAGE = "garbage"  #: something came that is not a reply


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider said, in one shape for all providers. `verdict.judge` says what it means.

    A struct, like `RenderedMessage`: every message has one, and a frozen dataclass takes eight times as long
    to make.
    """

    stage: Stage
    signal: Signal = Signal.REPLY
    code: int = 0  #: SMTP reply code or HTTP status; 0 without a reply
    enhanced: str = ""  #: SMTP enhanced status code such as "5.1.1" (RFC 3463), or ""
    vendor: str = ""  #: the provider's own word or number for an error ("21211", "MessageRejected"), or ""
    text: str = ""  #: one printable line for people; may quote an address, so never logged
    verbatim: bool = False  #: `text` is what the provider said; else it is our own
    own: bool = False  #: a refusal that was decided on this side: nobody was asked
    provider_id: str = ""  #: the provider's name for the accepted message (queue id, sid)
    retry_after: float | None = None  #: seconds the provider asked us to wait
    detail: str = ""  #: for failures on this side: replaces the usual sentence for people


class RenderedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One finished message on its way to one recipient. A struct because one is made for every message."""

    delivery_id: int
    channel: Channel
    recipient: str  #: RCPT TO address in ASCII form, or an E.164 number
    sender: str = ""  #: MAIL FROM address; for SMS the sender number when the campaign sets one
    own_return_path: bool = False  #: email: the campaign itself says where bounces go, which is `sender`
    message_id: str = ""  #: RFC 5322 Message-ID with its angle brackets; "" for SMS
    parts: Parts | None = None  #: email: the same message in pieces, for APIs that build it themselves
    payload: bytes = b""  #: email: the message without `shared`, CRLF lines, ends in CRLF, not dot-stuffed
    #: email: known to have no line end but CRLF, and no line that begins with a dot, in `payload`
    wire_ready: bool = False
    shared: SharedBytes = NOTHING  #: email: the rest of the message, the same for many recipients
    text: str = ""  #: SMS: the body
    segments: int = 1  #: SMS: how many segments the body costs
    campaign: str = ""  #: the campaign's name, for the outbox's folders
    dated: float | None = None  #: email: its Date, epoch seconds

    @property
    def size(self) -> int:
        """Bytes of the whole email."""
        return len(self.payload) + self.shared.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that travels with every message of a campaign. Its bytes are kept apart, by hash."""

    name: str
    type: str  #: MIME type such as "application/pdf"
    sha256: str
    size: int  #: bytes


#: As `unsubscribe` of a content: the links are those of hubd's own listener.
LISTENER = "listener"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a campaign says. Frozen when it starts: a running campaign keeps its content."""

    channel: Channel
    kind: Kind = Kind.MARKETING
    sender: str = ""  #: email "Acme <news@acme.example>"
    reply_to: str = ""
    subject: str = ""  #: template
    text: str = ""  #: template
    html: str = ""  #: template
    unsubscribe: str = ""  #: template of the List-Unsubscribe URL, or `LISTENER`
    postal_address: str = ""
    attachments: tuple[Attachment, ...] = ()
    footer: str = ""  #: template of the footer's text; "" for one in `language`
    language: str = ""  #: such as "de"; "" is English
    return_path: str = ""  #: email: the envelope sender, a bare address; "" for that of `sender`
    list_id: str = ""  #: email: "news.acme.example", or a title and that in angle brackets (RFC 2919)
    headers: tuple[tuple[str, str], ...] = ()  #: email: further headers, names and templates
    inline: tuple[Attachment, ...] = ()  #: email: pictures that the HTML shows by `cid:NAME`

    @property
    def files(self) -> tuple[Attachment, ...]:
        """All files of the message."""
        return (*self.inline, *self.attachments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many deliveries are in each state. `total` is their sum, by database constraint."""

    total: int = 0
    pending: int = 0
    deferred: int = 0
    sending: int = 0
    sent: int = 0
    delivered: int = 0
    undelivered: int = 0
    failed: int = 0
    skipped: int = 0
    in_doubt: int = 0

    @property
    def finished(self) -> int:
        """Deliveries on which nothing more will be done without a person."""
        return self.accepted + self.failed + self.skipped

    @property
    def accepted(self) -> int:
        """Deliveries that were accepted, or may have been."""
        return self.sent + self.delivered + self.undelivered + self.in_doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as it stands. `spec` is the validated campaign file (see `core.spec`) as JSON."""

    id: int
    name: str
    channel: Channel
    provider: str
    state: CampaignState
    reason: str  #: why it is in this state, for people; "" when there is nothing to say
    revision: int  #: grows with every apply
    spec: str
    content_id: int  #: the content it was last applied with
    in_doubt: InDoubt | None  #: what the campaign file says; None leaves it to the provider
    rate: tuple[str, ...] = ()  #: such as ("50/s", "10000/day")
    give_up_after: float = 86_400.0  #: seconds from the first attempt until a deferred one fails
    window: str = ""  #: "08:00-21:00" in the recipient's time zone, or ""
    zone: str = ""  #: the time zone of the window for recipients who have none; "" for UTC
    limit: int | None = None  #: send this many in this run and pause (a canary)
    audience_ready: bool = False  #: every delivery row is frozen
    transactional_queue: bool = False  #: whether it is a provider's transactional queue
    archived: bool = False  #: hidden from listings
    template: str = ""  #: the version of a template whose content it has, such as "welcome@3"
    credits: str = ""  #: the account that pays for its messages; "" for none
    recurrence: str = ""  #: when it repeats (see `core.recurrence`), as JSON; "" for one that does not
    trigger_list: str = ""  #: contacts added to this list while it runs are recipients; "" for no trigger
    series: str = ""  #: the name of the campaign whose occurrence it is; "" for none
    counts: Counts = field(default_factory=Counts)
    bounced: int = 0  #: how many of its messages came back; this and the next three: see `measures`
    complaints: int = 0
    replies: int = 0
    opt_outs: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    scheduled_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    last_error: str = ""


class Figures(NamedTuple):
    """What is known of a campaign beyond its counters."""

    possible_duplicates: int  #: how often a message was queued again although it may have been accepted
    refused: int  #: of a paused campaign: how many waiting recipients had the refusals that paused it
    next_due_at: (
        float | None
    )  #: of one with a sending window: when the next recipient may be tried, 0 for at once


class DueDelivery(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A delivery that may be tried now, with what is needed to write its message.

    A struct, as `Answer`; `Ledger.due` decodes it from an array of its values.
    """

    id: int
    recipient: str
    attempts: int  #: attempts made so far
    fields: Mapping[str, str]  #: the contact as it was when the audience was frozen
    content_id: int  #: the content to render; single messages each have their own
    first_attempt_at: float | None  #: for `give_up_after`
    next_at: float | None
    refused: str = ""  #: the reason of its refusal when the campaign last paused; "" for none
