"""What the methods about events take."""

from __future__ import annotations

from typing import Annotated

import msgspec

from hubd.wire.params import Count, Limit, Name, Params, Word


class Cursor(Params, frozen=True):
    """The position of a subscriber: the database's epoch and the last event it has seen."""

    epoch: Count
    seq: Count


class EventsSubscribe(Params, frozen=True):
    """`topics`: "campaign:NAME", "campaigns", "daemon" or, for operators, "*". `types`: only these events.

    `gauge_hz`: live figures at most so often a second. With `after` there is no snapshot.
    """

    topics: Annotated[list[Word], msgspec.Meta(min_length=1, max_length=64)]
    after: Cursor | None = None
    snapshot: bool = True
    gauge_hz: Annotated[float, msgspec.Meta(ge=0, le=20)] = 4.0
    types: Annotated[list[Word], msgspec.Meta(min_length=1, max_length=64)] | None = None


class EventsUnsubscribe(Params, frozen=True):
    """A subscription of this connection."""

    subscription: Word


class EventsList(Params, frozen=True):
    """A page of events after the one numbered `after`. Without `campaign` it is for operators."""

    after: Count = 0
    limit: Limit = 200
    campaign: Name | None = None
