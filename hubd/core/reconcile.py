"""What is to be believed about a message whose answer was lost, when its provider can be asked. Pure.

A provider that lists what it accepted is asked for the recipient's messages. `search` compares the list with
what is looked for, `exclude_known` takes out what the ledger knows already, and `conclude` decides: found is
sent; absent twice, a minute apart or as long as the provider's list takes to show what it accepted, is
certainly not accepted; anything less is asked again, and after five
vain questions or an hour a person has to decide.

The rules lean to one side: a message counts as absent only when the list was complete and nothing in it could
be the message under another spelling or time. What is only similar leaves the doubt, because a wrong "absent"
sends twice.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from hubd.core.model import DueDelivery
from hubd.core.outcome import RetryPolicy
from hubd.core.verdict import retry_delay

SKEW = 300.0  #: seconds by which the provider's clock may be behind ours
WINDOW = 3_600.0  #: seconds after the attempt was opened within which the provider made the message
PAST = 26 * 3_600.0  #: an older message of the same words is an earlier one and no reason for doubt
APART = 60.0  #: seconds between two questions, and from the lost answer to the first of them
MOST_UNKNOWN = 5  #: vain questions before a person has to decide
LONGEST = 3_600.0  #: seconds of asking before a person has to decide


class Found(StrEnum):
    """What a provider's list says about one message."""

    FOUND = "found"
    ABSENT = "absent"
    UNKNOWN = "unknown"  #: it did not answer, or what it answered proves nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one question. `detail` is one sentence for people, without an address."""

    kind: Found
    provider_id: str = ""  #: the provider's name for the first message that fits
    others: tuple[str, ...] = ()  #: further ones that fit, oldest first
    similar: tuple[str, ...] = ()  #: those that could be it: other spelling, sender or time
    complete: bool = True  #: whether the list was read to its end
    detail: str = ""
    retry_after: float | None = None  #: seconds that the provider asked us to wait
    apart: float = 0.0  #: seconds between two answers "absent" that confirm each other; 0 for the usual

    @property
    def fits(self) -> tuple[str, ...]:
        """The names of all messages that fit, oldest first."""
        return (self.provider_id, *self.others) if self.provider_id else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A message that may have been accepted. It has a sender, or a service that chooses one."""

    recipient: str
    text: str
    opened_at: float  #: when its attempt became irrevocable, epoch seconds by our clock
    sender: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One message of a provider's list."""

    provider_id: str
    recipient: str
    text: str
    sender: str = ""
    service: str = ""
    created_at: float | None = None  #: epoch seconds by the provider's clock; None when it does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A delivery that is in doubt, with its last attempt."""

    delivery_id: int
    n: int  #: the attempt's number
    provider: str
    account: str  #: which account the provider's name stood for then
    opened_at: float
    closed_at: float  #: when the answer was found to be lost
    reason: str
    row: DueDelivery | None  #: what is needed to write the message again; None when its content is gone


class How(StrEnum):
    """What became of a doubt."""

    SENT = "sent"  #: the provider has the message
    ABSENT = "absent"  #: the provider certainly does not; to be tried again
    FAILED = "failed"  #: the provider certainly does not, and it is too late to try again
    HELD = "held"  #: the provider cannot say: it stays in doubt until a person decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A decision about a doubt, ready to be recorded."""

    how: How
    provider_ids: tuple[str, ...] = ()  #: for SENT: the first that no other delivery has is its own
    next_at: float | None = None  #: for ABSENT: not to be tried before this time, epoch seconds
    detail: str = ""  #: one sentence for people


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileProgress:
    """How far the asking about one attempt has come. Times are seconds on a clock that is never set."""

    n: int
    next_at: float
    asked_at: float | None = None  #: the first question
    absent_at: float | None = None  #: the answer "absent" that waits to be confirmed
    unknown: int = 0
    held: bool = False


ABSENT_TWICE = "The provider was asked twice and does not have the message."
NOT_ASKABLE: Mapping[str, str] = MappingProxyType(
    {
        "provider": "It was sent through a provider that the campaign no longer uses.",
        "account": "It was sent through an account that the provider no longer uses.",
        "contact": "Its contact was removed, so it is not known what the message said.",
        "content": "Its content no longer exists, so the provider cannot be asked about it.",
        "kind": "This provider cannot say what it accepted.",
    }
)


# -- one list ----------------------------------------------------------------------------------------------


def search(listed: Iterable[Listed], sought: Sought, *, complete: bool) -> Finding:
    """Compare a list with what is looked for; `complete` says whether it was read to its end."""
    fits: list[tuple[float, str]] = []
    similar: list[str] = []
    seen: set[str] = set()
    for message in listed:
        if message.provider_id in seen or message.recipient != sought.recipient:
            continue
        seen.add(message.provider_id)
        age = None if message.created_at is None else message.created_at - sought.opened_at
        if age is not None and -SKEW <= age <= WINDOW and _same(message, sought):
            fits.append((age, message.provider_id))
        elif (age is None or age >= -PAST) and _folded(message.text) == _folded(sought.text):
            similar.append(message.provider_id)
    return _finding([name for _, name in sorted(fits)], similar, complete=complete)


def exclude_known(finding: Finding, known: Collection[str]) -> Finding:
    """The finding without the messages that other deliveries account for: one message settles one doubt."""
    if not (finding.fits or finding.similar):
        return finding
    return _finding(
        [name for name in finding.fits if name not in known],
        [name for name in finding.similar if name not in known],
        complete=finding.complete,
    )


def _finding(fits: Sequence[str], similar: Sequence[str], *, complete: bool) -> Finding:
    kind, detail = Found.UNKNOWN, "The provider's list is too long to read completely."
    if fits:
        kind, detail = Found.FOUND, ""
    elif similar:
        detail = "The provider has a message that may be this one, but that is not certain."
    elif complete:
        kind, detail = Found.ABSENT, ""
    return Finding(
        kind=kind,
        provider_id=fits[0] if fits else "",
        others=tuple(fits[1:]),
        similar=tuple(similar),
        complete=complete,
        detail=detail,
    )


def _same(message: Listed, sought: Sought) -> bool:
    """The same words (providers strip the ends), from the same sender or service."""
    if message.text.strip() != sought.text.strip():
        return False
    return message.sender == sought.sender if sought.sender else message.service == sought.service


def _folded(text: str) -> str:
    """The letters and digits alone: providers replace quotation marks, dashes and spaces by plainer ones."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in plain if char.isalnum()) or plain.strip()


# -- one doubt ---------------------------------------------------------------------------------------------


def begin(doubt: Doubt, wall: float, clock: float) -> ReconcileProgress:
    """When to ask for the first time: a minute after the answer was lost. A clock that was set back does not
    make it later.
    """
    lost_at = max(doubt.opened_at, doubt.closed_at)
    return ReconcileProgress(n=doubt.n, next_at=clock + min(max(lost_at + APART - wall, 0.0), APART))


def opened_at(doubt: Doubt, wall: float) -> float:
    """When the attempt was opened, for comparison with the provider's times, in epoch seconds.

    If the clock was ahead then and is right now, the provider's message would look much older than the
    attempt, and would not be found. A time in the future is replaced by that of the first attempt on the
    steady clock.
    """
    first = doubt.row.first_attempt_at if doubt.row is not None else None
    if doubt.opened_at <= wall + SKEW or first is None:
        return doubt.opened_at
    return min(first, wall)


def conclude(
    progress: ReconcileProgress, finding: Finding, asked_at: float, clock: float
) -> tuple[Found | None, ReconcileProgress]:
    """What a finding settles, and when to ask again.

    FOUND and ABSENT settle the doubt, UNKNOWN means that a person has to, None that it is asked again.
    `asked_at` is when the question was put, `clock` when the answer came, both as in `ReconcileProgress`.
    """
    first = asked_at if progress.asked_at is None else progress.asked_at
    match finding.kind:
        case Found.FOUND:
            return Found.FOUND, replace(progress, asked_at=first)
        case Found.ABSENT:
            # As `next_at` is reckoned below: a difference may be rounded to a little less.
            if progress.absent_at is not None and asked_at >= progress.absent_at + (finding.apart or APART):
                return Found.ABSENT, progress
            since = clock if progress.absent_at is None else progress.absent_at
            again = since + (finding.apart or APART)
            return None, replace(progress, asked_at=first, absent_at=since, next_at=again)
        case _:
            unknown = progress.unknown + 1
            # Only two answers in a row confirm each other.
            after = replace(progress, asked_at=first, absent_at=None, unknown=unknown)
            if unknown >= MOST_UNKNOWN or clock - first >= LONGEST:
                return Found.UNKNOWN, replace(after, held=True)
            pause = max(APART * 2.0 ** (unknown - 1), min(finding.retry_after or 0.0, LONGEST))
            return None, replace(after, next_at=clock + pause)


def held(detail: str) -> Resolution:
    """A person has to decide; `detail` says why."""
    return Resolution(how=How.HELD, detail=detail or "The provider could not say whether it has the message.")


def absent(doubt: Doubt, retry_policy: RetryPolicy, now: float, steady: float, jitter: float) -> Resolution:
    """A message that certainly was not accepted is tried again, as after any refusal for now.

    At once when it was our own end that lost the answer. `now` is by the wall clock, `steady` by the one that
    ages are measured with, `jitter` a random number in [0, 1).
    """
    row = doubt.row
    assert row is not None, "a message that cannot be rendered again cannot be looked up"
    age = max(0.0, now - doubt.opened_at if row.first_attempt_at is None else steady - row.first_attempt_at)
    delay = 0.0
    if doubt.reason != "interrupted":
        delay = retry_delay(age, row.attempts, jitter, floor=retry_policy.floor, ceiling=retry_policy.ceiling)
    if age + delay > retry_policy.give_up_after:
        return Resolution(how=How.FAILED, detail=f"given up: {ABSENT_TWICE}")
    return Resolution(how=How.ABSENT, next_at=now + delay if delay else None, detail=ABSENT_TWICE)
