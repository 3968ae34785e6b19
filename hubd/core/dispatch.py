"""Which waiting message goes next: urgent ones first, then the least served campaign that may send.

Campaigns share a provider by start-time fair queueing (Goyal, Vin and Cheng 1996) with equal weights: a
message takes its sender's place back by what it costs, and who comes new, or was held up by a limit of its
own, begins where the others are now, without credit for the past.

A message has to fit every limit that it counts under at the same instant. It reserves the limit that opens
last: nobody behind it takes a slot there, or a long SMS would wait for ever behind short ones. The others it
leaves alone, so a campaign at its limit slows no other.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Generic, Protocol, TypeVar


class Limit(Protocol):
    """A limit by which messages are held up. Compared by identity."""

    def opens_at(self, now: float, cost: int = 1) -> float:
        """When `cost` slots are free: `now`, or a later time at which to look again."""
        ...


class Waiting(Protocol):
    """A message that waits."""

    @property
    def cost(self) -> int:
        """How many slots of each limit it takes."""
        ...

    @property
    def limits(self) -> Iterable[Limit]:
        """What it counts under."""
        ...


W = TypeVar("W", bound=Waiting)
S = TypeVar("S")


def choose(waiting: Iterable[W], now: float) -> tuple[W | None, float]:
    """The first of these messages that may go now, and otherwise None and when to look again.

    `waiting` is in the order in which they are to go. That time is infinite while nothing but a change can
    let one go.
    """
    reserved: set[Limit] = set()
    again = float("inf")
    for message in waiting:
        held = []
        opens = now
        for limit in message.limits:
            at = limit.opens_at(now, message.cost)
            if at > now:
                held.append((limit, at))
                opens = max(opens, at)
        if held:
            again = min(again, opens)
            reserved.update(limit for limit, at in held if at == opens)
        elif not reserved or reserved.isdisjoint(message.limits):
            return message, now
    return None, again


class FairOrder(Generic[S]):
    """The order in which senders are asked for a message: urgent ones first, then the least served."""

    def __init__(self) -> None:
        self._line: list[tuple[bool, float, int, S]] = []  # not urgent, start tag, arrival
        self._places: dict[S, tuple[bool, float, int]] = {}
        self._served = {True: 0.0, False: 0.0}  # the start tag of the message that went last, by class
        self._arrivals = count()

    def __iter__(self) -> Iterator[S]:
        return iter([entry[3] for entry in self._line])

    def __len__(self) -> int:
        return len(self._line)

    def join(self, sender: S, *, urgent: bool = False) -> None:
        """A sender joins where the others are now."""
        self._insert(sender, not urgent, self._served[not urgent])

    def leave(self, sender: S) -> None:
        """A sender leaves; that it is not there does not matter."""
        if self._places.pop(sender, None) is not None:
            self._line = [entry for entry in self._line if entry[3] is not sender]

    def serve(self, sender: S, cost: int) -> None:
        """A message of this sender goes; it moves back by its cost."""
        bulk, start, _ = self._places[sender]
        if len(self._line) > 1:
            self._line = [entry for entry in self._line if entry[3] is not sender]
        else:
            self._line.clear()
        self._served[bulk] = max(self._served[bulk], start)
        self._insert(sender, bulk, self._served[bulk] + cost)

    def _insert(self, sender: S, bulk: bool, start: float) -> None:
        place = (bulk, start, next(self._arrivals))
        self._places[sender] = place
        insort(self._line, (*place, sender), key=lambda entry: entry[:3])
