"""What the methods about deliveries and one-off messages take."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hubd.wire.params import Count, Key, Limit, Name, Params, Reference, Sha256, Word

StateName = Literal[
    "pending", "deferred", "sending", "sent", "delivered", "undelivered", "failed", "skipped", "in_doubt"
]


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
    """A page of one-off messages, newest first. The next page has those `before` the `next` of this one.

    A page may have fewer than `limit` messages, or none, although there is a next one.
    """

    provider: Name | None = None
    state: StateName | None = None
    before: Count = 0
    limit: Limit = 200
