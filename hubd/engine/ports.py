"""What the engine needs from below, in its own words.

The stores and the transports are handed in by `hubd.daemon`; they fit these shapes without knowing them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from hubd.core.account import AccountAnswer
from hubd.core.credits import Cost
from hubd.core.decide import Decide, Decided, Move, Occurred
from hubd.core.ledger import Entry, Rejection
from hubd.core.model import (
    Answer,
    Campaign,
    CampaignState,
    Channel,
    Content,
    Counts,
    DueDelivery,
    InDoubt,
    RenderedMessage,
)
from hubd.core.outcome import RetryPolicy
from hubd.core.request_verdicts import RequestVerdicts
from hubd.engine.plan import MessagePlan, RenderBudget


class Connection(Protocol):
    """One connection to a provider, or one place in its queue. Used by one task at a time."""

    @property
    def connected(self) -> bool:
        """Whether it has an open connection to the provider of its own."""
        ...

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Go up to the irrevocable byte. None: ready. An answer: certainly not accepted."""
        ...

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Pass the irrevocable byte and return what the provider said. Never raises for what it does."""
        ...

    def waits(self, rendered: RenderedMessage) -> bool:
        """Whether `prepare` would have to wait for the provider now."""
        ...

    def drop(self) -> None:
        """Cut the connection at once. An announced envelope ends with it."""
        ...

    async def aclose(self) -> None:
        """End the connection politely."""
        ...


class Transport(Protocol):
    """One provider account."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def account(self) -> str:
        """A fingerprint of the account, where it matters which one it was; else ""."""
        ...

    @property
    def channels(self) -> frozenset[Channel]: ...
    @property
    def connections(self) -> int: ...
    @property
    def in_doubt(self) -> InDoubt: ...
    @property
    def verdicts(self) -> RequestVerdicts:
        """What the answers to its HTTP requests mean."""
        ...

    @property
    def talks_first(self) -> bool:
        """Whether `prepare` hears from the provider, so that its success proves that the account works."""
        ...

    @property
    def largest_message(self) -> int | None:
        """The largest message in bytes that the provider announced; None if unknown."""
        ...

    def connection(self) -> Connection: ...
    async def probe(self) -> Answer: ...
    async def aclose(self) -> None: ...


@runtime_checkable
class TellsAccount(Protocol):
    """A transport whose provider describes the account, which stands for `Transport.probe`."""

    @property
    def tells_rate(self) -> bool:
        """Whether it says how fast the account may send. Then it is asked before the first message."""
        ...

    async def ask_account(self) -> AccountAnswer:
        """Log in and ask. Never raises for what the provider or the network do."""
        ...


class Ledger(Protocol):
    """The attempt ledger. Every method is one durable unit of work, or one read."""

    async def due(self, campaign_id: int, now: float, limit: int, exclude_after: int) -> list[DueDelivery]:
        """Deliveries that may be tried now, by id, with ids above `exclude_after`."""
        ...

    async def next_due_at(self, campaign_id: int) -> float | None:
        """When the next untried or deferred delivery is due (0 for at once); None if there is none left."""
        ...

    async def record(self, entries: Sequence[Entry]) -> list[Rejection | None]:
        """Write the entries in order as one unit; durable when it returns.

        Raises `StoreUnavailable` while the disk is full or failing: nothing was written then.
        """
        ...

    async def abandon(self, campaign_id: int) -> int:
        """Attempts of a campaign that are still open become in doubt. Returns how many."""
        ...

    async def release_doubts(
        self, campaign_id: int, again_at: float | None = None, *, provider: str | None = None
    ) -> int:
        """Put doubtful deliveries back in the queue, flagged as possible duplicates, to be tried at once or
        at `again_at`; with `provider` only those that may have been accepted by that one. Returns how many.
        """
        ...

    async def hold_elsewhere(self, campaign_id: int, provider: str) -> None:
        """What waits to be sent again, but may have been accepted by another provider, is in doubt again."""
        ...

    async def cap_wait(self, latest: float, *, windows: bool) -> int:
        """Nobody waits beyond this time (epoch seconds), with `windows` not even for a sending window: the
        clock was set back. Returns how many did.
        """
        ...

    async def counts(self, campaign_ids: Sequence[int]) -> Mapping[int, Counts]:
        """The counters of campaigns as they are in the database now."""
        ...


class Campaigns(Protocol):
    """Campaigns as the engine sees them."""

    async def get(self, name: str) -> Campaign: ...
    async def by_id(self, campaign_id: int) -> Campaign: ...
    async def list(self, *, queues: bool = False) -> list[Campaign]: ...
    async def move(
        self,
        campaign_id: int,
        from_states: Sequence[CampaignState],
        to_state: CampaignState,
        *,
        event: str,
        reason: str = "",
        limit: int | None = None,
        scheduled_at: float | None = None,
    ) -> Campaign:
        """Compare-and-swap. Raises `InvalidTransition` when the campaign is in none of `from_states`."""
        ...

    async def carry_out(self, campaign_id: int, decide: Decide[Move], /) -> Decided[Move]:
        """Decide about a campaign as it is now, and do it, in one unit of work; raises what `decide` does."""
        ...

    async def occur(self, campaign_id: int, now: float) -> Occurred:
        """Schedule the campaign of what is due of a series, and the series for what comes next."""
        ...

    async def freeze_page(self, campaign_id: int, size: int) -> bool:
        """Freeze the next page of the audience into delivery rows. True while there is more."""
        ...

    async def audience_size(self, campaign_id: int) -> int:
        """About how many bytes freezing the rest of the audience takes; 0 if it is frozen."""
        ...

    async def cost(self, campaign: Campaign) -> Cost:
        """What the messages that a campaign has still to send cost, in credits."""
        ...

    async def topped_up(self) -> Mapping[str, int]:
        """How many grants credit accounts had since the last look at what waits for them."""
        ...

    async def looked_at(self, account: str, grants: int) -> None:
        """What waited for these grants was looked at."""
        ...

    async def content(self, content_id: int) -> Content: ...

    async def blob(self, sha256: str) -> bytes: ...
    async def transactional_queue(
        self, provider: str, channel: Channel, *, in_doubt: InDoubt = InDoubt.HOLD
    ) -> Campaign:
        """The transactional queue of a provider and a channel."""
        ...


#: Writes what was decided, as `Campaigns.carry_out` does, with what else belongs to it.
Commit = Callable[[int, Decide[Move]], Awaitable[Decided[Move]]]


class Plans(Protocol):
    """Compiled contents."""

    async def get(self, content_id: int) -> MessagePlan: ...
    async def of(self, content: Content) -> MessagePlan: ...


class StoreHealth(Protocol):
    """Whether the database can be written."""

    @property
    def trouble(self) -> str:
        """ "" while all is well, else the reason."""
        ...

    @property
    def low_disk_space(self) -> bool:
        """Whether no new message may begin now, because the disk is nearly full. Cheap."""
        ...

    def check_disk_space(self, size: int = 0) -> None:
        """Raise `StoreUnavailable` without space for `size` bytes beyond what sending needs."""
        ...

    async def wait_healthy(self) -> None: ...
    async def wait_for_disk_space(self) -> None:
        """Wait until new messages may begin; returns at once, cheaply, when they may.

        Raises `StoreUnavailable` when nothing will ever be written again.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What a campaign's run works with."""

    campaigns: Campaigns
    ledger: Ledger
    health: StoreHealth
    plans: Plans
    now: Callable[[], float]  #: seconds since the epoch
    steady: Callable[[], float]  #: seconds on the clock that limits and ages are recorded by
    random: Callable[[], float]  #: random numbers in [0, 1)
    retry_policy: Callable[[Campaign], RetryPolicy]
    rendered: RenderBudget = field(default_factory=RenderBudget)
