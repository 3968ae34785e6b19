"""What the methods about campaigns take."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hubd.wire.params import MAX_INTEGER, Count, Key, Name, Params, Sha256, Word, Zone


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
