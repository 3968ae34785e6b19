"""What an answer means, and what to do about it. One function, `judge`, over the tables of `verdict_tables`.

Three rules stand above the tables.

A. The numeric code decides the class (RFC 5321 section 4.2.1). An enhanced code (RFC 3463) only refines it,
   and one that contradicts the class is ignored. Text never makes a refusal an acceptance, nor suppresses an
   address. It can say that the trouble is the provider's or ours; and where no code says more, that a refusal
   for good is the recipient's own (see `recipient_texts`).
B. Before the terminating dot (SMTP) or the first request byte (HTTP) nothing can have been accepted, so
   whatever happens there is definite. After it, only a well-formed answer is: anything else is doubt.
C. An address is suppressed only by a reply to RCPT that carries an address-type code, or by an error of an
   HTTP provider that speaks of the address itself. Never by policy codes, and never from another stage.

The tables are read from the particular to the general: text, enhanced code, reply code, class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.reasons import SENTENCES
from hubd.core.recipient_texts import GENERAL_CODES, about_us, recipients_own
from hubd.core.request_verdicts import PLAIN, RequestVerdicts
from hubd.core.sending_limits import sending_limit
from hubd.core.verdict_tables import (
    MESSAGE,
    SENDING_LIMITS,
    SMTP,
    SMTP_CODE_FIRST,
    SMTP_CODES,
    SMTP_ENHANCED,
    SMTP_TEXTS,
    Class,
    Row,
)
from hubd.core.verdict_tables import Action as Action

#: The longest rest a provider can ask for, in seconds. More than that is a mistake or malice.
LONGEST_REST = 3600.0


#: The stages before the first command that is about a message.
CONNECTING = frozenset({Stage.CONNECT, Stage.TLS, Stage.BANNER, Stage.EHLO, Stage.AUTH})
#: The stages at which a refusal can be about the recipient.
RECIPIENT_KNOWN = frozenset({Stage.RCPT, Stage.DATA, Stage.BODY, Stage.DOT})
#: Refusals that are about one recipient when they are rare, and about us when they come in a row.
SYSTEMIC = frozenset(
    {
        "refused_by_policy",
        "block_listed",
        "content_refused",
        "message_refused",
        "recipient_refused",
        "request_refused",
    }
    | {"refused_for_now", "region_not_permitted", "route_missing", "answer_lost", "blocked"}
    | {"connection_lost", "no_answer", "not_a_reply", "out_of_sync"}
    | {
        "address_rejected",
        "storage_full",
        "routing_trouble",
        "message_too_large",
        "busy_at_recipient",
        "too_many_recipients",
    }
)
#: Usual at the first try of a recipient, and about us when many hear it at a later one.
SYSTEMIC_WHEN_REPEATED = frozenset({"greylisted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be done, and why."""

    action: Action
    reason: str  #: stable word such as "mailbox_unknown"; "" for ACCEPT
    detail: str  #: one sentence for people, without an address
    #: Seconds: what the provider asked for, at most `LONGEST_REST`, or when another try makes sense at all.
    retry_after: float | None = None
    close: bool = False  #: the connection must not be used again


#: What nearly every answer means.
ACCEPTED = Verdict(action=Action.ACCEPT, reason="", detail="The provider accepted the message.")


def judge(
    answer: Answer, channel: Channel, *, attempts: int = 0, requests: RequestVerdicts = PLAIN
) -> Verdict:
    """What `answer` means for a message of `channel`. Total: every answer has a verdict, none raises.

    The stage alone picks the table: an SMS that goes through a mail server is judged as mail, and the
    connection stages are judged alike for all providers. `attempts` is how many tries the delivery had before
    this one: some refusals are only worth so many. `requests` is the table of that kind of provider.
    """
    if answer.stage is Stage.DOT and answer.signal is Signal.REPLY and 200 <= answer.code <= 299:
        return ACCEPTED
    if answer.stage is Stage.LOCAL:
        row = _judge_local(answer)
    elif answer.stage is Stage.REQUEST:
        row = requests.row(answer)
    else:
        row = _judge_smtp(answer)
        if answer.code == 421:  # RFC 5321 section 3.8: the server closes the connection after it
            row = row._replace(close=True)
    if row.most_tries and attempts + 1 >= row.most_tries:
        row = row._replace(action=row.then)
    if row.action is Action.ACCEPT:
        return ACCEPTED
    detail = answer.detail or row.sentence or SENTENCES[row.reason]
    if channel is Channel.SMS and not answer.detail:
        detail = detail.replace("mailbox", "number").replace("mail server", "provider")
    return Verdict(
        action=row.action,
        reason=row.reason,
        detail=detail,
        retry_after=_wait(answer.retry_after, row),
        close=row.close,
    )


def is_ready(answer: Answer) -> bool:
    """Whether the answer to a probe means that the provider can be used."""
    return answer.signal is Signal.REPLY and 200 <= answer.code < 300


def refuses_connection(answer: Answer, verdict: Verdict) -> bool:
    """Whether the answer may only mean that the server accepts no further connection at the moment."""
    if verdict.action not in (Action.PROVIDER, Action.SLOW):
        return False
    return answer.stage in CONNECTING or verdict.reason == "too_many_connections"


def is_systemic(reason: str) -> bool:
    """Whether many of these in a row mean that something is wrong with us or the provider."""
    return reason in SYSTEMIC


def retry_delay(
    age: float, attempts: int, jitter: float, *, floor: float = 300.0, ceiling: float = 4000.0
) -> float:
    """Seconds until the next try of a deferred delivery: as long as it has waited so far, within bounds.

    `age` is the seconds since the first attempt, `jitter` a random number in [0, 1) that spreads the delay by
    10 % both ways, though never below `floor`, which greylisting needs. Waiting as long as one has waited
    roughly doubles each delay (Postfix does the same). `attempts` stands in for an age that is no age
    because the clock was set back.
    """
    if not (math.isfinite(age) and age > 0):
        age = floor * 2.0 ** max(0, min(attempts, 40) - 2)
    middle = max(floor, min(age, ceiling))
    low = max(floor, middle * 0.9)
    return low + (max(low, middle * 1.1) - low) * jitter


def rest_delay(failures: int, jitter: float, *, floor: float = 1.0, ceiling: float = 60.0) -> float:
    """Seconds a provider rests after this many failures in a row: doubling, spread by 10 % both ways."""
    doubled = floor * 2.0 ** max(0, min(failures, 40) - 1)
    return min(doubled, ceiling) * (0.9 + 0.2 * jitter)


def classify(answer: Answer) -> Class:
    """The column an answer belongs to. A code outside 200 to 599 is no reply."""
    if answer.signal is not Signal.REPLY:
        return Class(answer.signal.value)
    if 200 <= answer.code < 400:
        return Class.POSITIVE
    if 400 <= answer.code < 500:
        return Class.TRANSIENT
    return Class.PERMANENT if 500 <= answer.code < 600 else Class.GARBAGE


def _judge_local(answer: Answer) -> Row:
    if answer.signal is Signal.REPLY and answer.code == 250:
        return Row(Action.ACCEPT, "")
    return Row(Action.PROVIDER, "outbox_unwritable")


def _judge_smtp(answer: Answer) -> Row:
    kind = classify(answer)
    if answer.stage is Stage.DOT and kind is Class.POSITIVE and answer.code >= 300:
        kind = Class.GARBAGE  # "go on" is no answer to the end of a message
    if kind in (Class.TRANSIENT, Class.PERMANENT) and (limit := sending_limit(answer.text)):
        if answer.stage in MESSAGE:
            return SENDING_LIMITS[limit]._replace(close=answer.stage is Stage.BODY)
        if answer.stage is Stage.AUTH:
            passes = kind is Class.TRANSIENT or limit == "too_fast"
            return Row(Action.PROVIDER if passes else Action.PROVIDER_STOP, limit, close=True)
    for wording in SMTP_TEXTS:
        if answer.stage in wording.stages and kind in wording.classes and wording.pattern.search(answer.text):
            return wording.row
    if answer.signal is Signal.REPLY:
        exact = SMTP_CODES.get((answer.stage, answer.code))
        if exact is not None and answer.code in SMTP_CODE_FIRST:
            return exact
        refined = _read(answer, kind) or _refine(answer, kind)
        if refined is not None:
            return refined
        if exact is not None:
            return exact
        if answer.stage is Stage.RCPT and answer.code in (450, 451):
            return Row(Action.RETRY, "greylisted")
    return SMTP[answer.stage][kind]


def _read(answer: Answer, kind: Class) -> Row | None:
    """The row for a permanent refusal whose text says whom it concerns, if its code does not."""
    if kind is not Class.PERMANENT or answer.stage not in RECIPIENT_KNOWN:
        return None
    too_large = answer.code == 552 and answer.stage is not Stage.RCPT  # RFC 1870: that is about the message
    if not too_large and (own := recipients_own(answer.text, answer.enhanced)):
        return Row(Action.FAIL, own, close=answer.stage is Stage.BODY)
    if answer.stage is Stage.RCPT and answer.enhanced in GENERAL_CODES and about_us(answer.text):
        return Row(Action.FAIL, "refused_by_policy")
    return None


def _refine(answer: Answer, kind: Class) -> Row | None:
    """The row for the enhanced code, unless the code is absent or contradicts the class (rule A)."""
    leading = {Class.TRANSIENT: "4", Class.PERMANENT: "5"}.get(kind)
    table = SMTP_ENHANCED.get(answer.stage)
    if table is None or leading is None or not answer.enhanced.startswith(leading + "."):
        return None
    row = table.get(answer.enhanced)
    if row is None:
        row = table.get(answer.enhanced.rpartition(".")[0] + ".*")
    if row is not None and answer.stage is Stage.BODY:
        return row._replace(close=True)
    return row


def _wait(asked: float | None, row: Row) -> float | None:
    least = row.least_wait if row.action in (Action.RETRY, Action.SLOW, Action.PROVIDER) else 0.0
    if asked is None or math.isnan(asked) or asked < 0:
        return least or None
    return max(least, min(asked, LONGEST_REST))
