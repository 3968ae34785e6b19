"""What is measured of a campaign, and the rates that follow from it: one place for status, reports, metrics.

The first four follow from the states of deliveries, so that they can be counted again at any time. The others
count what came back: each item once, also about a message whose state it does not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from hubd.core.model import DeliveryState as D


class Measure(StrEnum):
    """What is counted."""

    SENT = "sent"  #: messages that a provider accepted, whatever became of them then
    DELIVERED = "delivered"  #: of those, with a receipt that they arrived
    UNDELIVERED = "undelivered"  #: of those, with a bounce before any such receipt
    FAILED = "failed"  #: refused for good
    BOUNCED = "bounced"  #: bounces that came back, also of messages that had a receipt
    COMPLAINTS = "complaints"
    REPLIES = "replies"
    OPT_OUTS = "opt_outs"


#: The states in which a delivery counts for a measure.
STATES_OF: Mapping[Measure, frozenset[D]] = MappingProxyType(
    {
        Measure.SENT: frozenset({D.SENT, D.DELIVERED, D.UNDELIVERED}),
        Measure.DELIVERED: frozenset({D.DELIVERED}),
        Measure.UNDELIVERED: frozenset({D.UNDELIVERED}),
        Measure.FAILED: frozenset({D.FAILED}),
    }
)
#: The measures of what came back.
CAME_BACK = (Measure.BOUNCED, Measure.COMPLAINTS, Measure.REPLIES, Measure.OPT_OUTS)


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
