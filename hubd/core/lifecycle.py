"""READ THIS FIRST: what may happen to a campaign, and to one delivery.

Two tables, each total: every state has a row, and an event that a row does not list is illegal there. An
illegal event raises `InvalidTransition` and changes nothing. Everything that changes a state anywhere in
the program asks one of these tables first, and the store then writes the change only if the row is still in
the state that was asked about (compare-and-swap).

The campaign::

    draft --schedule--> scheduled --due--> running <--resume/pause--> paused
      \\                   |  ^ unschedule       |  \\                   |
       `------start-------/---'                  |   `--complete--> completed --retry--> running
                                        stop     v
    running | paused | scheduled  ----------> stopped | (fail) failed  --start--> running
                                               stopped, not begun --schedule--> scheduled

An event that asks for the state the campaign is already in leaves it there: that is success without change,
so that a command may be repeated safely.

The delivery::

    pending --open--> sending --accept--> sent --receipt--> delivered | undelivered
       ^ \\               | \\--defer--> deferred --open--> sending ...
       |  `-defer/fail/   |  `-fail--> failed
       |    skip          |`-doubt--> in_doubt --resend--> pending | --settle--> sent | failed
       `----withdraw------'        pending | deferred --hold--> in_doubt (after a restore, or
                                                           when another provider sends)

    in_doubt | sending | to be sent again after a doubt --found_sent--> sent
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from hubd.core.model import CampaignState as C
from hubd.core.model import DeliveryState as D
from hubd.errors import InvalidTransition


class CampaignEvent(StrEnum):
    """What can be asked of a campaign, or happen to it."""

    START = "start"
    SCHEDULE = "schedule"
    UNSCHEDULE = "unschedule"
    DUE = "due"  #: the scheduled time has come
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    COMPLETE = "complete"  #: every delivery is finished
    FAIL = "fail"  #: the runner itself cannot continue
    RETRY = "retry"  #: deliveries were queued again


class DeliveryEvent(StrEnum):
    """What can happen to one delivery."""

    OPEN = "open"  #: an attempt is recorded, before the irrevocable byte
    ACCEPT = "accept"  #: the provider took it
    DEFER = "defer"  #: refused for now
    FAIL = "fail"  #: refused for good
    SKIP = "skip"  #: never to be tried
    DOUBT = "doubt"  #: the answer was lost
    HOLD = "hold"  #: an older database, or another provider, may not send what may have been sent already
    WITHDRAW = "withdraw"  #: the attempt certainly did not happen
    RECEIPT_ARRIVED = "receipt_arrived"
    RECEIPT_LOST = "receipt_lost"
    REQUEUE = "requeue"  #: a failed one is to be tried again, or a deferred one as if for the first time
    RESEND = "resend"  #: a person or the policy wants a doubtful one tried again
    SETTLE_SENT = "settle_sent"  #: a person knows that it was sent
    SETTLE_FAILED = "settle_failed"  #: a person knows that it was not
    FOUND_SENT = "found_sent"  #: what came back proves that an attempt without a known answer was accepted


E = CampaignEvent
CAMPAIGN: Mapping[C, Mapping[E, C]] = MappingProxyType(
    {
        C.DRAFT: {E.START: C.RUNNING, E.SCHEDULE: C.SCHEDULED, E.UNSCHEDULE: C.DRAFT},
        C.SCHEDULED: {
            E.START: C.RUNNING,
            E.SCHEDULE: C.SCHEDULED,
            E.UNSCHEDULE: C.DRAFT,
            E.DUE: C.RUNNING,
            E.STOP: C.STOPPED,
        },
        C.RUNNING: {
            E.START: C.RUNNING,
            E.RESUME: C.RUNNING,
            E.PAUSE: C.PAUSED,
            E.STOP: C.STOPPED,
            E.COMPLETE: C.COMPLETED,
            E.FAIL: C.FAILED,
            E.RETRY: C.RUNNING,
        },
        C.PAUSED: {
            E.START: C.RUNNING,
            E.RESUME: C.RUNNING,
            E.PAUSE: C.PAUSED,
            E.STOP: C.STOPPED,
            E.RETRY: C.PAUSED,
        },
        C.STOPPED: {
            E.START: C.RUNNING,
            E.SCHEDULE: C.SCHEDULED,  # one that has not begun, see `decide.schedule`
            E.STOP: C.STOPPED,
            E.RETRY: C.RUNNING,
        },
        C.FAILED: {E.START: C.RUNNING, E.FAIL: C.FAILED, E.RETRY: C.RUNNING},
        C.COMPLETED: {E.COMPLETE: C.COMPLETED, E.RETRY: C.RUNNING},
    }
)

V = DeliveryEvent
_UNTRIED: Mapping[V, D] = MappingProxyType(
    {
        V.OPEN: D.SENDING,
        V.DEFER: D.DEFERRED,
        V.FAIL: D.FAILED,
        V.SKIP: D.SKIPPED,
        V.HOLD: D.IN_DOUBT,
        V.FOUND_SENT: D.SENT,  # of one that was in doubt and is to be sent again
    }
)
DELIVERY: Mapping[D, Mapping[V, D]] = MappingProxyType(
    {
        D.PENDING: {**_UNTRIED, V.WITHDRAW: D.PENDING},
        D.DEFERRED: {**_UNTRIED, V.WITHDRAW: D.PENDING, V.REQUEUE: D.PENDING},
        D.SENDING: {
            V.ACCEPT: D.SENT,
            V.DEFER: D.DEFERRED,
            V.FAIL: D.FAILED,
            V.DOUBT: D.IN_DOUBT,
            V.WITHDRAW: D.PENDING,
            V.FOUND_SENT: D.SENT,
        },
        D.SENT: {V.RECEIPT_ARRIVED: D.DELIVERED, V.RECEIPT_LOST: D.UNDELIVERED},
        D.DELIVERED: {V.RECEIPT_ARRIVED: D.DELIVERED},
        D.UNDELIVERED: {V.RECEIPT_LOST: D.UNDELIVERED, V.REQUEUE: D.PENDING},
        D.FAILED: {V.REQUEUE: D.PENDING},
        D.SKIPPED: {V.SKIP: D.SKIPPED},
        D.IN_DOUBT: {
            V.RESEND: D.PENDING,
            V.SETTLE_SENT: D.SENT,
            V.SETTLE_FAILED: D.FAILED,
            V.FOUND_SENT: D.SENT,
        },
    }
)


def advance_campaign(state: C, event: E, name: str = "the campaign") -> C:
    """The state a campaign goes to, which may be the one it is in. Raises `InvalidTransition`."""
    row = CAMPAIGN[state]
    if event not in row:
        raise _illegal(_refusal(name, state, event), state, event, sorted(row))
    return row[event]


def advance_delivery(state: D, event: V) -> D:
    """The state a delivery goes to. Raises `InvalidTransition`."""
    row = DELIVERY[state]
    if event not in row:
        raise _illegal(f"a delivery that is {state} cannot {event}", state, event, sorted(row))
    return row[event]


#: What happens to a campaign automatically; nobody can ask for it.
_BY_ITSELF = {E.DUE, E.COMPLETE, E.FAIL}


#: What a campaign is after each event.
_PARTICIPLES: Mapping[E, str] = MappingProxyType(
    {
        E.START: "started",
        E.SCHEDULE: "scheduled",
        E.UNSCHEDULE: "unscheduled",
        E.DUE: "started",
        E.PAUSE: "paused",
        E.RESUME: "resumed",
        E.STOP: "stopped",
        E.COMPLETE: "completed",
        E.FAIL: "failed",
        E.RETRY: "retried",
    }
)


def _refusal(name: str, state: C, event: E) -> str:
    """Why it is not possible: what the campaign is, and what it would have to be."""
    # Where it would be so already, nothing would be done; to retry is to do something everywhere.
    sources = [
        at for at, row in CAMPAIGN.items() if event in row and (row[event] is not at or event is E.RETRY)
    ]
    others = " or ".join(", ".join(at for at in sources if at is not C.DRAFT).rsplit(", ", 1))
    groups = ["drafts"] * (C.DRAFT in sources) + [f"{others} campaigns"] * bool(others)
    found = "a draft" if state is C.DRAFT else state.value
    return f"{name} is {found}; only {' or '.join(groups)} can be {_PARTICIPLES[event]}"


def _illegal(why: str, state: StrEnum, event: StrEnum, allowed: list[E] | list[V]) -> InvalidTransition:
    return InvalidTransition(
        why,
        hint=f"allowed now: {', '.join(a for a in allowed if a not in _BY_ITSELF)}",
        data={"from": state.value, "requested": event.value, "allowed": [str(a) for a in allowed]},
    )
