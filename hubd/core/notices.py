"""Notifications: which events people are told of, in which words, and when an email says several. Pure.

A notification is written in the transaction of the event that it tells of. The email is an ordinary
transactional message whose idempotency key is the notification's, so it is sent once. More than three emails
in ten minutes become one digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from hubd.core.inbox import LISTENER
from hubd.core.model import Counts, DeliveryState
from hubd.core.recurrence import OVER

OWN_KEYS = "notify:"  #: what the keys of these emails begin with; clients choose others
WINDOW = 600.0  #: seconds in which ...
MOST = 3  #: ... so many emails are sent at most, and then a digest


class NoticeKind(StrEnum):
    """What a notification tells."""

    COMPLETED = "completed"  #: a campaign is done
    FAILED = "failed"  #: a campaign cannot continue, or could not start on time
    PAUSED = "paused"  #: a campaign paused automatically
    IN_DOUBT = "in_doubt"  #: a campaign is done but for messages that somebody has to decide about
    CREDITS_LOW = "credits_low"  #: an account has few credits left
    MAILBOX_BROKEN = "mailbox_broken"  #: a mailbox cannot be read, or its mails cannot be moved
    SINK_BROKEN = "sink_broken"  #: a sink no longer accepts anything
    OCCURRENCE_SKIPPED = "occurrence_skipped"  #: a campaign that repeats did not start at one of its times


#: Events that are about something else than a campaign: what they are told as, and where its name is.
OTHERS: Mapping[str, tuple[NoticeKind, str]] = {
    "credits.low": (NoticeKind.CREDITS_LOW, "account"),
    "mailbox.broken": (NoticeKind.MAILBOX_BROKEN, "source"),
    "mailbox.refused": (NoticeKind.MAILBOX_BROKEN, "source"),
    "sink.broken": (NoticeKind.SINK_BROKEN, "sink"),
}
OCCURRENCE = "campaign.occurrence"
#: Events of which people may be told.
TOLD = frozenset({"campaign.state", OCCURRENCE, *OTHERS})


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A notification."""

    id: int
    at: float
    kind: NoticeKind
    key: str
    about: str  #: the name of the campaign, account or sink, or "mailbox NAME"
    provider: str  #: of the campaign, else ""
    reason: str
    figures: Mapping[str, int]
    read: bool = False


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """An email to be sent now, and which notifications it tells."""

    key: str
    notices: tuple[int, ...]
    subject: str
    text: str


def kinds_of(event: str, data: Mapping[str, object], counts: Counts) -> list[NoticeKind]:
    """What people are told because of an event. `counts` are the campaign's, if it is about one.

    A pause, and a stop, by an operator has no reason and is no news to anybody. Nor is the planned end of a
    campaign that repeats: its last occurrence tells for itself.
    """
    if event in OTHERS:
        return [OTHERS[event][0]]
    if event == OCCURRENCE:
        return [] if data.get("outcome") == "started" else [NoticeKind.OCCURRENCE_SKIPPED]
    match data.get("to"), bool(data.get("reason")):
        case "completed", _:
            doubts = [NoticeKind.IN_DOUBT] if counts.in_doubt else []
            return [NoticeKind.COMPLETED, *doubts]
        case "stopped", _ if data.get("reason") == OVER:
            return []
        case ("failed", _) | ("stopped", True):
            return [NoticeKind.FAILED]
        case "paused", True:
            return [NoticeKind.PAUSED]
    return []


def plan(waiting: Sequence[Notice], mailed: Sequence[float], now: float) -> tuple[list[Mail], float | None]:
    """The emails to send now, and when to look again at those that wait; None if none does.

    `waiting` are the notifications that are to be mailed, the oldest first, and `mailed` the times of the
    emails that were sent within `WINDOW` seconds, on the same clock as `now`.
    """
    recent = [at for at in mailed if at <= now < at + WINDOW]
    if not waiting:
        return [], None
    if len(recent) + len(waiting) <= MOST:
        return [_mail_of(each) for each in waiting], None
    if len(recent) < MOST:
        return [_digest(waiting)], None
    return [], min(recent) + WINDOW


def _mail_of(notice: Notice) -> Mail:
    text = f"{sentence(notice)}\n{_details(notice)}"
    return Mail(key=notice.key, notices=(notice.id,), subject=headline(notice), text=text)


def _digest(notices: Sequence[Notice]) -> Mail:
    parts = [f"{sentence(each)}\n{_details(each)}" for each in notices]
    return Mail(
        key=f"{OWN_KEYS}digest:{notices[0].id}-{notices[-1].id}",
        notices=tuple(each.id for each in notices),
        subject=f"{len(notices)} notifications from MessageHub",
        text="\n".join(parts),
    )


def headline(notice: Notice) -> str:
    """A notification in a few words."""
    name = notice.about
    match notice.kind:
        case NoticeKind.COMPLETED:
            return f"{name} is completed"
        case NoticeKind.FAILED:
            return f"{name} has failed"
        case NoticeKind.PAUSED:
            return f"{name} is paused"
        case NoticeKind.IN_DOUBT:
            return f"{name}: {_count(notice.figures.get('in_doubt', 0), 'message')} in doubt"
        case NoticeKind.CREDITS_LOW:
            return f"The account {name} has few credits left"
        case NoticeKind.MAILBOX_BROKEN if notice.figures.get("readable"):
            return f"The {name} can be read, but its emails cannot be moved or marked"
        case NoticeKind.MAILBOX_BROKEN:
            return (
                "The listener cannot accept connections" if name == LISTENER else f"The {name} cannot be read"
            )
        case NoticeKind.SINK_BROKEN:
            return f"The sink {name} is paused"
        case NoticeKind.OCCURRENCE_SKIPPED if notice.figures.get("missed", 0) > 1:
            return f"{name} missed {notice.figures['missed']:,} of its start times"
        case NoticeKind.OCCURRENCE_SKIPPED:
            return f"{name} missed one of its start times"


def sentence(notice: Notice) -> str:
    """A notification in one sentence, with what to do about it."""
    name, why = notice.about, _why(notice.reason)
    match notice.kind:
        case NoticeKind.COMPLETED:
            return f"The campaign {name} is completed."
        case NoticeKind.FAILED:
            then = f"Once the cause is gone, continue with the other recipients: hubctl start {name}"
            return f"The campaign {name} has failed{why}. {then}"
        case NoticeKind.PAUSED if notice.reason == "limit":
            return (
                f"The campaign {name} has sent as many messages as its limit allows. To "
                f"continue: hubctl resume {name}"
            )
        case NoticeKind.PAUSED if notice.reason == "credits":
            why = ": its account has too few credits"
            return f"The campaign {name} is paused{why}. It resumes after hubctl credits grant ACCOUNT N"
        case NoticeKind.PAUSED:
            return f"The campaign {name} is paused{why}. Once the cause is gone: hubctl resume {name}"
        case NoticeKind.IN_DOUBT:
            n = notice.figures.get("in_doubt", 0)
            decide = f"Decide: hubctl retry {name} --in-doubt resend|sent|failed"
            return f"{_count(n, 'message')} of {name} may or may not have been sent. {decide}"
        case NoticeKind.CREDITS_LOW:
            left = _count(notice.figures.get("available", 0), "credit")
            return f"The account {name} has {left} left. To add some: hubctl credits grant {name} N"
        case NoticeKind.MAILBOX_BROKEN if notice.figures.get("readable"):
            then = "Replies and bounces are still read"
            return f"The {name} cannot be changed{why}. {then}. Check processed_folder in hubd.toml"
        case NoticeKind.MAILBOX_BROKEN if name == LISTENER:
            then = "Until it succeeds, unsubscribe links and webhooks do not work; everything else does"
            return f"The listener cannot accept connections{why}. hubd keeps trying. {then}."
        case NoticeKind.MAILBOX_BROKEN:
            kind, _, named = name.partition(" ")
            then = f" Test it: hubctl mailbox test {named}" if kind == "mailbox" else ""
            return f"The {name} cannot be read{why}. Replies and bounces wait there.{then}"
        case NoticeKind.SINK_BROKEN:
            return f"The sink {name} is paused{why}. Once the cause is gone: hubctl sink resume {name}"
        case NoticeKind.OCCURRENCE_SKIPPED:
            missed = notice.figures.get("missed", 0)
            why = why or ": hubd was not running then"
            times = f"{missed:,} of its times" if missed > 1 else "one of its times"
            return (
                f"The campaign {name} did not start at {times}{why}. The next occurrence starts on time. "
                f"To see the latest ones: hubctl show {name}"
            )


def _why(reason: str) -> str:
    return f": {reason.rstrip('.')}" if reason else ""


def _details(notice: Notice) -> str:
    """The figures of a campaign, a line each, of the states that have any."""
    if notice.kind not in (NoticeKind.COMPLETED, NoticeKind.FAILED, NoticeKind.PAUSED):
        return ""
    rows = [("recipients", notice.figures.get("total", 0))]
    rows += [(word.replace("_", " "), n) for word in DeliveryState if (n := notice.figures.get(word, 0))]
    width = max(len(word) for word, _ in rows)
    return "".join(f"\n  {word.ljust(width)}  {n:>10,}" for word, n in rows) + "\n"


def _count(n: int, noun: str) -> str:
    return f"1 {noun}" if n == 1 else f"{n:,} {noun}s"
