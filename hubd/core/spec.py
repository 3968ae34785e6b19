"""A campaign file as a typed value: what each key means. `spec_reading` reads one from a file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from hubd.core.html_text import plain_text
from hubd.core.model import Attachment, Channel, Content, InDoubt, Kind
from hubd.core.recurrence import CATCH_UP, Recurrence, cron_of, read_until
from hubd.core.times import parse_duration, parse_time
from hubd.errors import BadInput

#: Seconds after which a message that is refused for now fails, where the file does not say. Yesterday's offer
#: is of no use to anybody; a receipt still is, so it gets the four to five days of RFC 5321 section 4.5.4.1.
GIVE_UP_AFTER: Mapping[Kind, float] = MappingProxyType(
    {Kind.MARKETING: 86_400.0, Kind.TRANSACTIONAL: 5 * 86_400.0}
)


TRIGGERS = ("added",)  #: what a triggered campaign can wait for


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a message that was refused for now is tried again."""

    give_up_after: Annotated[
        str,
        Meta(
            description='How long after its first attempt a deferred message fails, such as `"24h"`; from 1 '
            "second to 30 days. The default is 24 hours for marketing and 5 days for transactional messages."
        ),
    ] = ""


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a campaign starts, and at what time of day it may send."""

    at: Annotated[
        str | None,
        Meta(
            description='When the campaign starts: a time such as `"2026-12-01 09:00"`, `"tomorrow 9:00"`, '
            '`"monday 9:00"` or `2026-12-01T09:00:00+01:00`. Words count from when the file is applied. '
            "Without an offset it is a time in `timezone`, else in the time zone of the person who "
            "applies the file."
        ),
    ] = None
    window: Annotated[
        str,
        Meta(
            description='The time of day at which it may send, such as `"08:00-21:00"`, in the time zone of '
            "the recipient where it is known, else in `timezone`."
        ),
    ] = ""
    timezone: Annotated[
        str,
        Meta(
            description='A time zone such as `"Europe/Berlin"`: that of `at` if it has no offset, and of the '
            "window for recipients who have none. Without it their window is in UTC, and `check` says how "
            "many there are."
        ),
    ] = ""

    every: Annotated[
        str,
        Meta(
            description="When it repeats, each time as a campaign of its own: "
            '`"monday 9:00"`, `"weekdays 8:30"`, `"monthly on the last friday 9:00"`, `"2 hours"`. Needs '
            "`timezone`."
        ),
    ] = ""
    cron: Annotated[
        str,
        Meta(
            description='The same as a cron expression of five fields, such as `"0 9 * * 1"`, instead of '
            "`every`."
        ),
    ] = ""
    until: Annotated[
        str | None,
        Meta(description="The last day, or the last time, of a campaign that repeats: `2026-12-31`."),
    ] = None
    catch_up: Annotated[
        str | None,
        Meta(
            description="What happens to occurrences that are missed by more than an hour because hubd "
            'was not running: `"skip"`, or `"once"` to start the last of them.'
        ),
    ] = None

    @property
    def recurrence(self) -> Recurrence | None:
        """When it repeats; None if it does not."""
        if not self.every and not self.cron:
            return None
        return Recurrence(
            cron=self.cron or cron_of(self.every),
            zone=self.timezone,
            text=self.every or self.cron,
            until=None if self.until is None else read_until(self.until, self.timezone),
            catch_up=self.catch_up or CATCH_UP[0],
        )


class Trigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign that goes to each contact that is added to a list while it runs."""

    list: Annotated[
        str,
        Meta(
            description="The list: every contact added to it while the campaign runs gets one "
            "message, at once "
            "and ahead of other campaigns. It takes the place of `lists`."
        ),
    ] = ""
    on: Annotated[str | None, Meta(description='What it waits for. Only `"added"`.')] = None
    delay: Annotated[
        str,
        Meta(
            description='How long after that the message is sent, such as `"1h"`. The default is immediately.'
        ),
    ] = ""

    @property
    def wait(self) -> float:
        """Seconds from the event until the message is due."""
        return parse_duration(self.delay) if self.delay else 0.0


class CampaignSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A validated campaign file. Everything in it parses; the preflight decides whether it can start."""

    name: Annotated[
        str, Meta(description="The unique name: a-z, 0-9 and `.` `_` `-`, up to 64 characters. Required.")
    ]
    channel: Annotated[Channel, Meta(description="What is sent. Required.")]
    provider: Annotated[
        str | tuple[str, ...],
        Meta(
            title="name or list of names",
            description="A provider of hubd.toml, or the built-in outbox. Of a list, each next one sends "
            "while those before it cannot, and only what they certainly did not accept.",
        ),
    ] = "outbox"
    lists: Annotated[
        tuple[str, ...], Meta(description="The contact lists; a contact on several gets one message.")
    ] = ()
    where: Annotated[
        str,
        Meta(
            description="Which contacts of the lists: an expression on their fields as in templates, such as "
            "`city == 'Koeln' and orders > 3`. It is evaluated once, when the campaign starts. The default "
            "is all of them."
        ),
    ] = ""
    kind: Annotated[
        Kind,
        Meta(
            description="Marketing email needs `unsubscribe` and `postal_address`, unless you accept the "
            "risk when you start the campaign."
        ),
    ] = Kind.MARKETING
    sender: Annotated[
        str,
        Meta(
            description="Who it comes from. Email: `Acme <news@acme.example>`, required. SMS: a number or a "
            "name; the default is the provider's."
        ),
    ] = ""
    reply_to: Annotated[str, Meta(description="Where replies go. Email only.")] = ""
    template: Annotated[
        str,
        Meta(
            description="A stored template in place of `subject`, `text` and `html`: `welcome@3`, or "
            "`welcome` for its newest version when the campaign starts."
        ),
    ] = ""
    subject: Annotated[
        str, Meta(description="The subject, a template. Email only, required without `template`.")
    ] = ""
    text: Annotated[
        str,
        Meta(
            description="The plain text, a template. Email needs text, HTML or both; without text, one is "
            "made from the HTML. SMS needs text."
        ),
    ] = ""
    html: Annotated[str, Meta(description="The HTML part, a template. Email only.")] = ""
    unsubscribe: Annotated[
        str,
        Meta(
            description="Where a recipient unsubscribes: `listener` for links that hubd serves itself (see "
            "`[listener]` in hubd.toml), or an `https:` or `mailto:` address, a template whose "
            "fields are percent-encoded as they are filled in. It becomes the List-Unsubscribe header and "
            "the template variable `unsubscribe_url`. Email only."
        ),
    ] = ""
    postal_address: Annotated[
        str, Meta(description="The sender's postal address, for the footer. Email only.")
    ] = ""
    footer: Annotated[
        str,
        Meta(
            description="The text of the footer of marketing email, a template with `unsubscribe_url`. It "
            "ends a body that has no link to unsubscribe. Email only."
        ),
    ] = ""
    language: Annotated[
        str,
        Meta(description='The language of a footer that you do not write, such as `"de"`. Email only.'),
    ] = ""
    return_path: Annotated[
        str,
        Meta(
            description="Where bounces go: the envelope sender, an address without a name. The default is "
            "the address of `sender`. Email only."
        ),
    ] = ""
    list_id: Annotated[
        str,
        Meta(
            description="The List-Id header (RFC 2919), by which readers sort mail: `news.acme.example`, or "
            "`Acme News <news.acme.example>`. Email only."
        ),
    ] = ""
    headers: Annotated[
        dict[str, str],
        Meta(
            title="table of texts",
            description='Further headers, such as `{ "X-PM-Message-Stream" = "broadcast" }`; also a '
            "`Feedback-ID`. The values are templates; a header that is empty for a recipient is left out. "
            "Headers that other keys set, or that mail servers write, are refused. Email only.",
        ),
    ] = {}
    attachments: Annotated[
        tuple[Attachment, ...],
        Meta(description="Files to attach, up to 25 MiB together: paths inside the folder of the file."),
    ] = ()
    inline: Annotated[
        tuple[Attachment, ...],
        Meta(
            title="list of file names",
            description='Pictures in the HTML, such as `["logo.png"]`, shown by `<img src="cid:logo.png">`. '
            "An attached picture that is shown like this needs no mention here. Email only.",
        ),
    ] = ()
    in_doubt: Annotated[
        InDoubt | None,
        Meta(
            description="What happens to a message whose outcome is unknown: send it again, hold it for your "
            "decision, or ask the provider. The default is the provider's: `retry` for mail servers and the "
            "outbox, `reconcile` for SendGrid, `hold` for the others."
        ),
    ] = None
    rate: Annotated[
        tuple[str, ...],
        Meta(
            title="rate or list of rates",
            description='How fast this campaign may send, such as `"50/s"`. Several rates apply at once.',
        ),
    ] = ()
    labels: Annotated[
        tuple[str, ...],
        Meta(description='Words to find related campaigns by, such as `["portfolio"]`.'),
    ] = ()
    credits: Annotated[
        str,
        Meta(
            description='The credit account that pays, such as `"team"`: one credit for each email, or for '
            "each segment of an SMS. The default is none."
        ),
    ] = ""
    retry: Retry = Retry()
    schedule: Schedule = Schedule()
    trigger: Trigger = Trigger()

    @property
    def sources(self) -> tuple[str, ...]:
        """The lists that its recipients come from."""
        return (self.trigger.list,) if self.trigger.list else self.lists

    @property
    def give_up_after(self) -> float:
        """Seconds from the first attempt until a deferred message fails."""
        after = self.retry.give_up_after
        return parse_duration(after) if after else GIVE_UP_AFTER[self.kind]

    @property
    def start_at(self) -> float | None:
        """The epoch second to start at, or None."""
        return None if self.schedule.at is None else parse_time(self.schedule.at)

    @property
    def providers(self) -> tuple[str, ...]:
        """Its providers, the preferred one first."""
        return (self.provider,) if isinstance(self.provider, str) else self.provider

    def content(self) -> Content:
        """The part that is frozen when the campaign starts."""
        return Content(
            channel=self.channel,
            kind=self.kind,
            sender=self.sender,
            reply_to=self.reply_to,
            subject=self.subject,
            text=self.text if self.text.strip() else plain_text(self.html),
            html=self.html,
            unsubscribe=self.unsubscribe,
            postal_address=self.postal_address,
            attachments=self.attachments,
            footer=self.footer,
            language=self.language,
            return_path=self.return_path,
            list_id=self.list_id,
            headers=tuple(self.headers.items()),
            inline=self.inline,
        )


def spec_json(spec: CampaignSpec) -> str:
    """The spec as JSON, for keeping."""
    return msgspec.json.encode(spec).decode()


def spec_from_json(text: str) -> CampaignSpec:
    """What `spec_json` wrote. Raises BadInput when it was not."""
    try:
        return msgspec.json.decode(text, type=CampaignSpec)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise BadInput("the stored campaign was written by another version and cannot be read") from None
