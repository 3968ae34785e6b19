"""The interface of a source of inbound items, for the task that reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from hubd.core.inbound import Item
from hubd.core.inbox import Booked


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What one look at a source found."""

    items: Sequence[Item]
    cursor: str  #: where the next look begins; opaque, kept in the transaction that writes the items' effects
    wait: float  #: seconds until the next look, unless something wakes the reader; 0: there is more
    #: Called with the result once the effects are durable: delete from the queue, mark as seen, move; but not
    #: the items that were left. May fail: then the same items come again, with no further effect.
    acknowledge: Callable[[Booked], Awaitable[None]] | None = None
    #: Seconds from its time `at` for which an item that fits no message is left there, to come again, and is
    #: not booked: a provider may report on a message before its answer to us is stored. 0: never.
    leave_for: float = 0.0
    unreadable: int = 0  #: items that could not be read; each was logged, with no address


class Source(Protocol):
    """Somewhere items come from. Used by one task at a time."""

    @property
    def name(self) -> str:
        """As in hubd.toml, with its kind: "mailbox bounces", "provider ses"."""
        ...

    async def fetch(self, cursor: str) -> Fetched:
        """Look once; "" is the cursor of a source that was never read. May wait for something to arrive.

        Raises `SourceUnavailable`, which says whether a person is needed.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Refused(Protocol):
    """A source that can be read although something else is refused, such as moving mails."""

    @property
    def refused(self) -> str:
        """What is refused, and why; "" for nothing."""
        ...


@runtime_checkable
class ReadFirst(Protocol):
    """A source that is read to its end before a campaign sends through its provider."""

    @property
    def read_first(self) -> bool:
        """Whether it is: only it says, for example, who opted out."""
        ...
