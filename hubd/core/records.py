"""What the stores hand out, declared once: a store fills these, the methods of control make results of them.

Campaigns and their contents are in `model`, what a command decided in `decide`. Times are seconds since the
epoch.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hubd.core.condition import Matching
from hubd.core.model import Campaign, Channel, Content, DeliveryState

# --- people ----------------------------------------------------------------------------------------------


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A person as stored. `id` is the cursor of pages, `contact_id` the name for the world."""

    id: int
    contact_id: str
    email: str | None
    phone: str | None  #: E.164
    fields: Mapping[str, str]
    lists: tuple[str, ...] = ()  #: only filled for one that was asked for by itself
    created_at: float
    updated_at: float


class ListView(msgspec.Struct, frozen=True, kw_only=True):
    """A list and how many contacts are on it."""

    name: str
    contacts: int


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """An address that nothing is sent to, and why."""

    channel: Channel
    address: str  #: as it is compared
    reason: str
    source: str
    created_at: float


class ImportCount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one page. The first four add up to the rows."""

    imported: int = 0  #: new contacts
    updated: int = 0  #: known contacts of which something changed, or that are new on this list
    unchanged: int = 0
    duplicates: tuple[int, ...] = ()  #: lines whose address an earlier line of the same import had
    conflicts: tuple[int, ...] = ()  #: lines that were taken without their phone: another contact has it


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """How many people a campaign reaches, and how many of its lists it does not, by reason."""

    recipients: int
    remaining: int  #: of those, still to be tried
    skipped: Mapping[str, int]
    matching: Matching | None = None  #: of a draft with a condition


class MissingPattern(msgspec.Struct, frozen=True, kw_only=True):
    """So many recipients lack exactly these fields of a template. `sample` is what one of them has."""

    fields: frozenset[str]
    count: int
    sample: Mapping[str, str]


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased of a person."""

    contact: bool  #: whether it was a contact
    cancelled: int  #: messages that waited
    messages: int  #: all that were to the person
    known: bool  #: whether there was any of these, or anything else about the person


# --- messages --------------------------------------------------------------------------------------------


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient's line in a list of deliveries."""

    id: int
    recipient: str
    state: DeliveryState
    reason: str
    detail: str
    code: int
    attempts: int
    doubts: int  #: how often it was sent again although it may have been accepted
    next_at: float | None
    updated_at: float
    provider_id: str
    message_id: str
    provider_reply: str  #: to its last attempt; see `provider_reply`


class TransactionalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A one-off message. `subject` is a template for `fields`; of a removed contact there are none."""

    delivery: DeliveryRow
    provider: str
    channel: Channel
    subject: str
    fields: Mapping[str, str]


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One try. `outcome` is None while it is open, "withdrawn" when it did not happen after all."""

    n: int
    epoch: int
    provider: str
    message_id: str
    content_hash: str
    opened_at: float
    closed_at: float | None
    outcome: str | None
    stage: str
    reason: str
    detail: str
    code: int
    enhanced: str
    vendor_word: str
    provider_id: str
    provider_reply: str


class MessageLife(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one delivery. `content` is what it said, or will say if it was not tried yet;
    `content_id` is that which it has now.
    """

    delivery: DeliveryRow
    campaign_id: int
    campaign: str
    channel: Channel
    provider: str
    transactional: bool
    fields: Mapping[str, str]
    content: Content
    content_id: int
    attempts: tuple[AttemptRow, ...]


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """So many deliveries went wrong in the same way. `kind` is "transient", "permanent" or "in_doubt".

    `provider_reply` is what the provider said to `example_id`, and in essence to all of them.
    """

    state: DeliveryState
    reason: str
    code: int
    count: int
    detail: str
    example_id: int
    kind: str
    provider_reply: str


class NotRequeued(msgspec.Struct, frozen=True, kw_only=True):
    """Failures that are left after some were put back."""

    suppressed: int  #: whose address is on the suppression list: it would only be skipped
    others: int


# --- events, commands and the database -------------------------------------------------------------------


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One durable event. `campaign` is the campaign's name when it happened, "" for the daemon's own."""

    seq: int
    at: float
    type: str
    campaign_id: int | None
    campaign: str
    data: Mapping[str, object]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Campaigns as of one event: what follows `seq` is news to who has this."""

    seq: int
    campaigns: tuple[Campaign, ...]


class First(msgspec.Struct, frozen=True, kw_only=True):
    """The first request with an idempotency key."""

    fingerprint: bytes  #: of what was asked for
    answer: str  #: as JSON; "" when it is not finished
    progress: str  #: how far it has got then, as JSON; "" for one that an earlier version began


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made."""

    path: str
    size: int  #: bytes
    taken_at: float  #: what was committed before is in it
    seconds: float  #: that it took


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at when the database was checked."""

    check: str
    ok: bool
    found: str  #: in words
    advice: str = ""  #: what to do when it is not ok


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """When it was found that the database is a restored one, and why."""

    at: float
    why: str
    epoch: int  #: of the boot that found it


class OccurrenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an occurrence of a campaign that repeats."""

    at: float  #: when it was planned for, in epoch seconds
    outcome: str  #: started, overlap, missed or failed
    detail: str
    name: str | None  #: of its campaign; None for none
    state: str | None  #: of its campaign
