"""What the methods about deliveries and one-off messages answer."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.inbox_results import InboxItem
from hubd.wire.results import WouldChange


class DeliveryView(TypedDict):
    id: int
    recipient: str
    state: str
    reason: str
    attempts: int
    code: int
    provider_reply: str  #: what the provider said to the last attempt, with addresses masked
    provider_id: str
    message_id: str
    updated_at: str | None


class DeliveriesResult(TypedDict):
    deliveries: list[DeliveryView]
    next: int | None


class MessageView(DeliveryView):
    """A one-off message."""

    subject: str  #: "" for SMS, and once the contact was removed
    provider: str
    channel: str


class MessagesResult(TypedDict):
    messages: list[MessageView]
    next: int | None


class DeliveryLife(DeliveryView):
    campaign: str
    channel: str
    next_at: str | None
    detail: str
    possible_duplicates: int  #: how often it was sent again although it may have been accepted
    single: bool  #: a transactional message, outside any campaign
    content_of: str  #: the campaign whose content it has; "" when it has its own
    file: str | None  #: where an outbox wrote it


class AttemptView(TypedDict):
    n: int
    provider: str
    opened_at: str | None
    closed_at: str | None
    stage: str
    outcome: str | None
    reason: str
    code: int
    enhanced: str
    detail: str
    provider_reply: str  #: what the provider said, with addresses masked; "" if it said nothing
    provider_id: str


class FileView(TypedDict):
    name: str
    type: str  #: its MIME type
    size: int  #: in bytes
    inline: bool  #: whether it is a picture in the HTML


class ContentView(TypedDict):
    """A rendered message. `source` is the email as it is sent; without attachments above 1 MiB."""

    headers: NotRequired[list[list[str]]]  #: of an email: names and values, decoded, in their order
    subject: NotRequired[str]
    text: str
    html: NotRequired[str]
    source: NotRequired[str]
    source_shortened: NotRequired[bool]  #: only present when true: `delivery.source` has all of it
    segments: NotRequired[int]
    encoding: NotRequired[str]


class PreviewResult(ContentView):
    recipient: str
    attachments: list[FileView]


class DeliveryResult(TypedDict):
    delivery: DeliveryLife
    attempts: list[AttemptView]
    came_back: list[InboxItem]  #: about this message, the oldest first
    content: ContentView | None


class SourcePart(TypedDict):
    data: str  #: in base64
    size: int  #: bytes of the whole email; 0 when there is none, as for an SMS
    attempts: int  #: parts fit together when they have the same size and the same attempts
    next: int | None  #: the offset of the next part; None after the last


FailureGroup = TypedDict(
    "FailureGroup",
    {
        "reason": str,
        "code": int,
        "state": str,
        "count": int,
        "detail": str,
        "provider_reply": str,  # to the example; the others got much the same
        "example_id": int,
        "class": str,  # "transient", "permanent" or "in_doubt"
    },
)


class FailuresResult(TypedDict):
    groups: list[FailureGroup]


class SendResult(TypedDict):
    delivery_id: int  #: 0 in the answer to a dry run
    state: str
    message_id: str
    would: NotRequired[WouldChange]  #: in the answer to a dry run
