"""What is measured of a campaign, and the rates that follow from it: one place for status, reports, metrics.

The first four follow from the states of deliveries, so that they can be counted again at any time. The others
count what came back: each item once, also about a message whose state it does not change.

The roll-up has them by campaign and hour, each delivery in the hour that its rows say. So it equals a recount
at every moment, and no period shows less than nothing:

- `sent`: in the hour in which the provider took it. An attempt that was in doubt and turned out to be sent
  counts in the hour in which its answer was lost.
- `delivered`, `undelivered`, `failed`: in the hour of `delivery.updated_at`.
- `cost`: with `sent`; but sending again costs again.
- what came back: in the hour in which it happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from hubd.core.model import DeliveryState as D

HOUR = 3_600  #: seconds
DAY = 86_400


class Measure(StrEnum):
    """What is counted."""

    SENT = "sent"  #: messages that a provider accepted, whatever became of them afterwards
    DELIVERED = "delivered"  #: of those, with a receipt that they arrived
    UNDELIVERED = "undelivered"  #: of those, with a bounce before any such receipt
    FAILED = "failed"  #: refused for good
    BOUNCED = "bounced"  #: bounces that came back, also of messages that had a receipt
    COMPLAINTS = "complaints"
    REPLIES = "replies"
    OPT_OUTS = "opt_outs"
    COST = "cost"  #: segments of text messages, or emails, that a provider accepted


#: The states in which a delivery counts for a measure.
STATES_OF: Mapping[Measure, frozenset[D]] = MappingProxyType(
    {
        Measure.SENT: frozenset({D.SENT, D.DELIVERED, D.UNDELIVERED}),
        Measure.DELIVERED: frozenset({D.DELIVERED}),
        Measure.UNDELIVERED: frozenset({D.UNDELIVERED}),
        Measure.FAILED: frozenset({D.FAILED}),
    }
)
ACCEPTED = STATES_OF[Measure.SENT]  #: the provider has taken these
#: States that are a measure of their own.
OF_STATE: Mapping[D, Measure] = MappingProxyType(
    {D.DELIVERED: Measure.DELIVERED, D.UNDELIVERED: Measure.UNDELIVERED, D.FAILED: Measure.FAILED}
)
#: A delivery that goes to or from one of these changes a sum.
MEASURED = ACCEPTED | frozenset(OF_STATE)
#: The measures of what came back.
CAME_BACK = (Measure.BOUNCED, Measure.COMPLAINTS, Measure.REPLIES, Measure.OPT_OUTS)


def hour_of(at: float) -> int:
    """When the hour of a time began, in seconds since the epoch."""
    return int(at) // HOUR * HOUR


def day_of(at: float) -> int:
    """When the day of a time began in UTC, in seconds since the epoch."""
    return int(at) // DAY * DAY


def delivery_rate(sent: int, delivered: int, undelivered: int) -> float | None:
    """The part of the messages sent that arrived, from 0 to 1; None while no receipt is known.

    Without receipts only bounces are known, and a message that did not bounce need not have arrived.
    """
    if not sent or not (delivered or undelivered == sent):
        return None
    return delivered / sent


def rate_of(count: int, sent: int, *, known: bool) -> float | None:
    """The part of the messages sent that led to it, from 0 to 1, such as opt-outs.

    `known` is whether anything reads what comes back; without that, none is not a count.
    """
    if not sent or not (known or count):
        return None
    return count / sent
