"""Whether a campaign is ready to start: takes what was found, returns problems, warnings, an estimate. Pure.

A problem names its risk when a person may take it knowingly ("no-unsubscribe", "missing-fields"); a problem
without a risk has to be fixed first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hubd.core.compose import problems as content_problems
from hubd.core.condition import Matching
from hubd.core.content_warnings import content_warnings, first_use
from hubd.core.credits import Need, short_of
from hubd.core.estimate import Estimate, Limits, how_long
from hubd.core.links import example_host, private_host
from hubd.core.model import LISTENER, Channel, Content, Kind
from hubd.core.sms import Bill
from hubd.core.template import compile_template
from hubd.errors import BadTemplate, nearest

MISSING_FIELDS = "missing-fields"
BAD_MESSAGES = "bad-messages"
NO_UNSUBSCRIBE = "no-unsubscribe"
RESTORED = "restored"
RISKS = frozenset({MISSING_FIELDS, BAD_MESSAGES, NO_UNSUBSCRIBE, RESTORED})  #: all that a person may take
STANDARD_FIELDS = frozenset(
    {
        "email",
        "phone",
        "first_name",
        "last_name",
        "timezone",
        "contact_id",
        "unsubscribe_url",
        "postal_address",
    }
)
_WRITE_BUFFER = 128 * 1024  #: about how many bytes wait to be written per connection
MANY_SEGMENTS = 3  #: an SMS of more is worth a word
_SHOWN_FIELDS = 8  #: of the fields that recipients have
_OF_MANY = frozenset({"first_name", "last_name", "timezone"})  #: fields that many people have the same in


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """So many recipients whose message cannot be written: each lacks these fields, or has another fault."""

    fields: frozenset[str]
    count: int
    fault: str = ""  #: when no field is lacking


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found out about a campaign."""

    content: Content
    recipients: int = 0
    remaining: int = 0  #: of those, still to be tried
    skipped: Mapping[str, int] = field(default_factory=dict)
    matching: Matching | None = None  #: of a campaign with a condition that was not started yet
    gaps: Sequence[Gap] = ()
    known_fields: frozenset[str] = frozenset()  #: that contacts of the audience have
    absent_fields: frozenset[str] = frozenset()  #: that the content names and none of them has
    limits: Limits = field(default_factory=Limits)  #: that hold its messages up
    obstacles: tuple[str, ...] = ()  #: sentences: what cannot be excused by taking a risk
    advice: tuple[str, ...] = ()  #: sentences: what of the providers' settings cannot work as meant
    provider_reason: str = ""  #: why the provider does not send right now; "" when it does
    bill: Bill | None = None  #: of the remaining recipients, for SMS; None if it was not reckoned
    own_bytes: int = 0  #: email: bytes of one sample message that only its recipient gets ...
    shared_bytes: int = 0  #: ... and bytes that all get, mostly attachments
    connections: int = 1  #: that send it
    largest_message: int | None = None  #: the limit in bytes that the provider announced; None if unknown
    leaves: bool = False  #: whether what is sent leaves this machine: the provider is no outbox
    window: str = ""  #: the sending window
    no_zone: int = 0  #: recipients for whom it is in UTC, because no time zone is known
    credits: Need | None = None  #: if somebody pays for it
    trigger: str = ""  #: the list that it waits for additions to; it has no recipients before
    needs: frozenset[str] = (
        frozenset()
    )  #: of one with a trigger: fields without which a message is not written
    restored: bool = False  #: it is older than a restore of the database, which may not know that it was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that keeps a campaign from starting; `risk` is "" if it cannot be accepted."""

    risk: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The upload and the memory that an email campaign needs, in bytes, estimated from one message."""

    message: int
    upload: int  #: all remaining messages
    memory: int  #: the most that the daemon holds at once
    largest_message: int | None  #: the limit that the provider announced; None if unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is to be said before a start."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    estimate: Estimate
    load: Load | None = None  #: None for SMS, and if no message can be rendered

    @property
    def ok(self) -> bool:
        """Whether nothing keeps it from starting."""
        return not self.problems


def assess(found: Found, *, limit: int | None = None) -> Report:
    """Judge what was found. `limit` is how many are to be sent in the first run."""
    problems = [Problem(risk="", problem=obstacle) for obstacle in found.obstacles]
    if found.matching is not None:
        problems += [_absent(name, found.matching) for name in found.matching.absent]
    if not found.recipients and not found.trigger and not problems:
        problems.append(Problem(risk="", problem=_nobody(found)))
    problems += [
        Problem(risk=item["risk"], problem=item["problem"]) for item in content_problems(found.content)
    ]
    if found.trigger:  # who is on the list now gets no message
        problems += [_key_missing(name) for name in sorted(found.needs & _KEYS.keys())]
    else:
        problems += [_gap(gap, found) for gap in found.gaps]
    if found.restored:
        problems.append(Problem(risk=RESTORED, problem=_MAY_HAVE_BEEN_SENT))
    if found.credits is not None and found.credits.missing:
        problems.append(Problem(risk="", problem=_unpaid(found.credits)))
    return Report(
        problems=tuple(problems),
        warnings=tuple(_warnings(found)),
        estimate=_estimate(found, found.remaining if limit is None else min(limit, found.remaining)),
        load=_load(found),
    )


def _unpaid(need: Need) -> str:
    available = need.account.available
    short = short_of("it", need.account.name, available + need.missing, available)
    return f"{short}; {short.hint}"


_MAY_HAVE_BEEN_SENT = "it is older than the restored database and may have been sent since"


def unaccepted(problems: Iterable[Problem], accepted: Iterable[str]) -> list[Problem]:
    """The problems that remain when a person takes the risks named in `accepted`."""
    taken = {risk for risk in accepted if risk}
    return [problem for problem in problems if problem.risk not in taken]


def _estimate(found: Found, messages: int) -> Estimate:
    each = found.bill.total / found.remaining if found.bill is not None and found.remaining else 1.0
    return how_long(messages, found.limits, slots=math.ceil(messages * max(each, 1.0)))


def _load(found: Found) -> Load | None:
    message = found.own_bytes + found.shared_bytes
    if not message:
        return None
    in_hand = 2 * found.connections  # one on the wire, one rendered ahead
    return Load(
        message=message,
        upload=message * found.remaining,
        memory=found.shared_bytes + in_hand * found.own_bytes + found.connections * _WRITE_BUFFER,
        largest_message=found.largest_message,
    )


def _nobody(found: Found) -> str:
    if found.matching and found.matching.contacts and not found.matching.matched:
        return f"where is true for none of the {found.matching.contacts:,} contacts on its lists"
    if not any(found.skipped.values()):
        return "its lists are empty"
    kind = "phone number" if found.content.channel is Channel.SMS else "email address"
    words = {"invalid_address": f"without {kind}", "not_comparable": "that cannot be compared"}
    why = ", ".join(f"{n} {words.get(w, w.replace('_', ' '))}" for w, n in sorted(found.skipped.items()) if n)
    return f"nobody on its lists can get a message ({why})"


def _absent(name: str, matching: Matching) -> Problem:
    near = nearest(name, matching.known, likeness=0.75)
    hint = f"did you mean {near}?" if near else f"if it is meant as text, put it in quotes: '{name}'"
    return Problem(
        risk=MISSING_FIELDS,
        problem=f"where names the field {name}, which no contact on its lists has; {hint}",
    )


#: Fields that come from keys of the campaign file.
_KEYS = {"unsubscribe_url": "unsubscribe", "postal_address": "postal_address"}


def _gap(gap: Gap, found: Found) -> Problem:
    names = sorted(gap.fields)
    if not names:
        who = "1 recipient" if gap.count == 1 else f"{gap.count} recipients"
        return Problem(risk=BAD_MESSAGES, problem=f"the message cannot be rendered for {who}: {gap.fault}")
    who = "1 recipient has" if gap.count == 1 else f"{gap.count} recipients have"
    known = sorted(found.known_fields | STANDARD_FIELDS)
    if key := next((name for name in names if name in _KEYS), ""):
        return _key_missing(key)
    hints = []
    for name in names:
        if near := nearest(name, (other for other in known if other not in gap.fields), likeness=0.75):
            hints.append(f"did you mean {near}?")
    plain = [name for name in names if name != "contact_id"]  # a link that names nobody leads nowhere
    if not hints and plain:
        hints = ["give it a default: {{ " + plain[0] + " | default('...') }}"]
    hint = " ".join(hints) or "import the contact again"
    return Problem(risk=MISSING_FIELDS, problem=f"{who} no {' and no '.join(names)}; {hint}")


def _key_missing(name: str) -> Problem:
    return Problem(
        risk=MISSING_FIELDS, problem=f"the message has {{{{ {name} }}}}; set it with the key {_KEYS[name]}"
    )


def _about_trigger(found: Found) -> Iterator[str]:
    """Whom it goes to, and what becomes of a contact who lacks a field."""
    yield f"it goes to contacts that are added to {found.trigger} while it runs, not to those already on it"
    for name in sorted(found.needs - _KEYS.keys()):
        lacking = sum(gap.count for gap in found.gaps if name in gap.fields)
        now = f"; {lacking:,} of those already on it have none" if lacking else ""
        known = sorted(found.known_fields | STANDARD_FIELDS - {name})
        near = "" if name in found.known_fields else nearest(name, known, likeness=0.75)
        default = "{{ " + name + " | default('...') }}"
        yield (
            f"a contact that is added without the field {name} gets no message: it fails with missing_field, "
            f"which hubctl failures shows{now}; "
            + (f"did you mean {near}?" if near else f"give it a default: {default}")
        )


def _warnings(found: Found) -> Iterator[str]:
    if found.trigger:
        yield from _about_trigger(found)
    if found.provider_reason:
        yield f"the provider is not sending now: {found.provider_reason}"
    yield from found.advice
    yield from _about_fields(found)
    yield from map(str, content_warnings(found.content, found.known_fields))
    if found.content.channel is Channel.EMAIL and found.content.html and not found.content.text:
        yield (
            "there is no text part, which some mail readers and spam filters expect, and none could be made "
            "from the HTML: write one with text_file"
        )
    if found.no_zone:
        who = "1 recipient has" if found.no_zone == 1 else f"{found.no_zone:,} recipients have"
        yield (
            f"{who} no known time zone, so the window {found.window} is in UTC for them: "
            'give one under [schedule], such as timezone = "Europe/Berlin"'
        )
    for names, count in (found.matching.not_comparable if found.matching else {}).items():
        who = "1 contact is" if count == 1 else f"{count:,} contacts are"
        yield f"{who} skipped, because where compares a number with text that is not a number ({names})"
    if found.content.kind is Kind.MARKETING:
        yield from _about_link(found)
    load = _load(found)
    if load and load.largest_message and load.message > load.largest_message:
        accepted = f"the provider accepts at most {load.largest_message:,}"
        yield f"each message has about {load.message:,} bytes, but {accepted}: make the attachments smaller"
    if found.bill is not None and found.bill.most > MANY_SEGMENTS:
        fewer = "" if found.bill.least == found.bill.most else f"{found.bill.least} to "
        yield f"a message costs {fewer}{found.bill.most} segments"


def _about_fields(found: Found) -> Iterator[str]:
    """Fields that are always empty: those without a default are problems already."""
    told = frozenset[str]().union(*(gap.fields for gap in found.gaps))
    for name in sorted(found.absent_fields - told):
        where = first_use(found.content, name)
        others = sorted(found.known_fields - {name})
        near = nearest(name, [*others, *sorted(STANDARD_FIELDS - {name})], likeness=0.75)
        listed = ", ".join(others[:_SHOWN_FIELDS]) + (", ..." if len(others) > _SHOWN_FIELDS else "")
        hint = f"did you mean {near}?" if near else f"they have {listed}" if listed else ""
        yield f"{where}: no recipient has the field {name}; {hint}".removeprefix(": ").removesuffix("; ")


def _about_link(found: Found) -> Iterator[str]:
    link = found.content.unsubscribe
    if link == LISTENER:
        return
    if host := private_host(link):
        yield f"the unsubscribe link leads to {host}, which only machines on this network can reach"
    elif found.leaves and (host := example_host(link)):
        yield (
            f"the unsubscribe link leads to {host}, a name that is reserved for examples, so the "
            f"link does not work"
        )
    if link.startswith("https:") and not _names_the_person(link):
        yield (
            "the unsubscribe link is the same for every recipient, so it does not say who wants to "
            "unsubscribe; "
            "add {{ contact_id }} to it"
        )


def _names_the_person(link: str) -> bool:
    try:
        return bool(compile_template(link, html=False, name="unsubscribe").fields - _OF_MANY)
    except BadTemplate:
        return True  # which is said elsewhere
