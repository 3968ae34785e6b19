"""A store in memory and a provider that says what it is told, for tests of the engine on the mock clock.

The fake store passes the same contract suite as the real one: `tests/shell/test_store_contract.py`.
"""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import trio

from hubd.core.credits import Cost
from hubd.core.decide import Decide, Decided, Move, Occurred
from hubd.core.ledger import Close, Entry, Open, Rejection, Requeue
from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.model import (
    Answer,
    Campaign,
    CampaignState,
    Channel,
    Content,
    Counts,
    DeliveryState,
    DueDelivery,
    Figures,
    InDoubt,
    RenderedMessage,
    Signal,
    Stage,
)
from hubd.core.reconcile import Doubt, Finding, Found, How, Resolution
from hubd.core.request_verdicts import PLAIN, RequestVerdicts
from hubd.errors import Conflict, InvalidTransition, NotFound, StoreUnavailable

EVENT = {
    DeliveryState.SENT: DeliveryEvent.ACCEPT,
    DeliveryState.DEFERRED: DeliveryEvent.DEFER,
    DeliveryState.FAILED: DeliveryEvent.FAIL,
    DeliveryState.IN_DOUBT: DeliveryEvent.DOUBT,
    DeliveryState.PENDING: DeliveryEvent.WITHDRAW,
}


@dataclass(slots=True)
class Row:
    due: DueDelivery
    campaign_id: int
    state: DeliveryState = DeliveryState.PENDING
    reason: str = ""
    open: bool = False
    doubts: int = 0


@dataclass(slots=True)
class FakeStore:
    """Campaigns, contents and the ledger in dictionaries; one object plays all of the engine's stores."""

    campaigns: dict[int, Campaign] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)
    rows: dict[int, Row] = field(default_factory=dict)
    suppressed: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    trouble: str = ""
    _healthy: trio.Event = field(default_factory=trio.Event)
    _numbers: dict[int, list[int]] = field(default_factory=dict)  # the rows of each campaign
    _views: dict[int, tuple[Campaign, Campaign]] = field(default_factory=dict)  # as stored, and with counts

    # -- what a test sets up

    def add_campaign(self, name: str, recipients: int, content: Content, **columns: object) -> Campaign:
        number = len(self.campaigns) + 1
        self.contents[number] = content
        campaign = Campaign(
            id=number, name=name, channel=content.channel, provider="fake", state=CampaignState.RUNNING,
            reason="", revision=1, spec="{}", content_id=number, in_doubt=None, audience_ready=True,
        )  # fmt: skip
        self.campaigns[number] = replace(campaign, **columns)  # type: ignore[arg-type]
        for _ in range(recipients):
            self.add_row(number)
        return self.campaigns[number]

    def add_row(self, campaign_id: int, **fields: str) -> int:
        number = len(self.rows) + 1
        address = f"r{number}@example.com"
        due = DueDelivery(
            id=number, recipient=address, attempts=0, fields={"email": address, **fields},
            content_id=campaign_id, first_attempt_at=None, next_at=None,
        )  # fmt: skip
        self.rows[number] = Row(due=due, campaign_id=campaign_id)
        self._numbers.setdefault(campaign_id, []).append(number)
        self._views.pop(campaign_id, None)
        return number

    def fail_writes(self, reason: str) -> None:
        self.trouble, self._healthy = reason, trio.Event()

    def heal(self) -> None:
        self.trouble = ""
        self._healthy.set()

    def states(self, campaign_id: int) -> dict[DeliveryState, int]:
        return dict(Counter(row.state for row in self._rows_of(campaign_id)))

    def recount(self, campaign_id: int) -> None:
        """A test changed rows by hand."""
        self._views.pop(campaign_id, None)

    def _rows_of(self, campaign_id: int) -> list[Row]:
        return [self.rows[number] for number in self._numbers.get(campaign_id, ())]

    # -- StoreHealth

    @property
    def low_disk_space(self) -> bool:
        return False

    def check_disk_space(self, size: int = 0) -> None:
        pass

    async def wait_healthy(self) -> None:
        if self.trouble:
            await self._healthy.wait()

    async def wait_for_disk_space(self) -> None:
        await self.wait_healthy()

    # -- UsageStore

    async def spent(self, prefix: str, since: float = 0.0) -> dict[str, list[tuple[float, int]]]:
        await trio.lowlevel.checkpoint()
        found: dict[str, list[tuple[float, int]]] = {}
        for entry in self.entries:
            if isinstance(entry, Open) or (isinstance(entry, Close) and not entry.opened):
                for name in entry.limits:
                    if name == prefix or name.startswith(prefix + "/"):
                        found.setdefault(name, []).append((entry.at // 10 * 10, entry.cost))
        return {name: [step for step in steps if step[0] >= since] for name, steps in found.items()}

    async def warmup_began(self, provider: str) -> float | None:
        steps = (await self.spent(f"provider/{provider}")).values()
        return min((at for of in steps for at, _ in of), default=None)

    # -- Doubts

    async def doubtful(self, campaign_id: int, after_id: int = 0, limit: int = 200) -> list[Doubt]:
        await trio.lowlevel.checkpoint()
        at = {e.delivery_id: e.at for e in self.entries if isinstance(e, Open)}
        return [
            Doubt(
                delivery_id=n, n=row.due.attempts, provider="fake", account="",
                opened_at=at[n], closed_at=at[n], reason=row.reason, row=row.due,
            )
            for n, row in self.rows.items()
            if row.campaign_id == campaign_id and row.state is DeliveryState.IN_DOUBT and n > after_id
        ][:limit]  # fmt: skip

    async def known(self, provider: str, provider_ids: Collection[str]) -> frozenset[str]:
        await trio.lowlevel.checkpoint()
        return frozenset()

    async def resolve(self, doubt: Doubt, resolution: Resolution) -> bool:
        await trio.lowlevel.checkpoint()
        assert resolution.how is How.SENT, "a fake provider has every message it is asked for"
        row = self.rows[doubt.delivery_id]
        row.state = advance_delivery(row.state, DeliveryEvent.SETTLE_SENT)
        self._views.pop(row.campaign_id, None)
        return True

    # -- Campaigns

    async def get(self, name: str) -> Campaign:
        for campaign in self.campaigns.values():
            if campaign.name == name:
                return await self.by_id(campaign.id)
        raise NotFound(f"there is no campaign {name}")

    async def by_id(self, campaign_id: int) -> Campaign:
        await trio.lowlevel.checkpoint()
        return self._view(campaign_id)

    async def list(self, *, queues: bool = False) -> list[Campaign]:
        await trio.lowlevel.checkpoint()
        return [self._view(number) for number in self.campaigns]

    def _view(self, campaign_id: int) -> Campaign:
        stored = self.campaigns[campaign_id]
        known, view = self._views.get(campaign_id, (None, stored))
        if known is not stored:
            view = replace(stored, counts=self._counts(campaign_id))
            self._views[campaign_id] = (stored, view)
        return view

    async def move(
        self, campaign_id: int, from_states: Sequence[CampaignState], to_state: CampaignState, *, event: str,
        reason: str = "", limit: int | None = None, scheduled_at: float | None = None,
    ) -> Campaign:  # fmt: skip
        campaign = await self.by_id(campaign_id)
        if campaign.state not in from_states:
            raise InvalidTransition("moved meanwhile")
        if self.trouble:
            raise StoreUnavailable(self.trouble)
        counts = campaign.counts
        if to_state is CampaignState.COMPLETED and counts.pending + counts.deferred + counts.sending:
            raise Conflict("something is left to do", code="not_settled")
        self.campaigns[campaign_id] = replace(
            campaign, state=to_state, reason=reason, limit=limit, scheduled_at=scheduled_at
        )
        return await self.by_id(campaign_id)

    async def carry_out(self, campaign_id: int, decide: Decide[Move], /) -> Decided[Move]:
        before = await self.by_id(campaign_id)
        plan = decide(before)
        limit = plan.limit if plan.limited else before.limit
        after = before
        if plan.changed:
            after = await self.move(
                campaign_id, [before.state], plan.to, event=plan.event, limit=limit,
                scheduled_at=before.scheduled_at if plan.scheduled_at is None else plan.scheduled_at,
            )  # fmt: skip
        return Decided(plan=plan, campaign=after, figures=Figures(0, 0, None))

    async def occur(self, campaign_id: int, now: float) -> Occurred:
        raise AssertionError("no campaign of this store repeats")

    async def audience_size(self, campaign_id: int) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    async def cost(self, campaign: Campaign) -> Cost:
        await trio.lowlevel.checkpoint()
        return Cost(messages=0, total=0)

    async def topped_up(self) -> Mapping[str, int]:
        await trio.lowlevel.checkpoint()
        return {}

    async def looked_at(self, account: str, grants: int) -> None:
        raise NotFound("nobody pays in these tests")

    async def freeze_page(self, campaign_id: int, size: int) -> bool:
        await trio.lowlevel.checkpoint()
        if self.trouble:
            raise StoreUnavailable(self.trouble)
        return False

    async def content(self, content_id: int) -> Content:
        await trio.lowlevel.checkpoint()
        return self.contents[content_id]

    async def blob(self, sha256: str) -> bytes:
        raise NotFound("no such attachment")

    async def transactional_queue(
        self, provider: str, channel: Channel, *, in_doubt: InDoubt = InDoubt.HOLD
    ) -> Campaign:
        return await self.get(f"~{provider}")

    # -- Ledger

    async def due(
        self, campaign_id: int, now: float, limit: int, exclude_after: int
    ) -> builtins.list[DueDelivery]:
        await trio.lowlevel.checkpoint()
        waiting = (DeliveryState.PENDING, DeliveryState.DEFERRED)
        return [
            row.due
            for row in self._rows_of(campaign_id)
            if row.state in waiting and row.due.id > exclude_after and (row.due.next_at or 0.0) <= now
        ][:limit]

    async def next_due_at(self, campaign_id: int) -> float | None:
        await trio.lowlevel.checkpoint()
        waiting = (DeliveryState.PENDING, DeliveryState.DEFERRED)
        return min(
            (row.due.next_at or 0.0 for row in self._rows_of(campaign_id) if row.state in waiting),
            default=None,
        )

    async def record(self, entries: Sequence[Entry]) -> builtins.list[Rejection | None]:
        await trio.lowlevel.checkpoint()
        if self.trouble:
            raise StoreUnavailable(self.trouble)
        touched = {entry.delivery_id for entry in entries} & self.rows.keys()
        for number in touched:
            self._views.pop(self.rows[number].campaign_id, None)
        rows, suppressed = {number: replace(self.rows[number]) for number in touched}, dict(self.suppressed)
        try:
            results = [self._enter(entry) for entry in entries]
        except Exception:
            self.rows |= rows
            self.suppressed = suppressed
            raise
        self.entries.extend(e for e, refusal in zip(entries, results, strict=True) if refusal is None)
        return results

    async def abandon(self, campaign_id: int) -> int:
        if self.trouble:
            raise StoreUnavailable(self.trouble)
        self._views.pop(campaign_id, None)
        lost = [row for row in self._rows_of(campaign_id) if row.open]
        for row in lost:
            row.state, row.open, row.reason = DeliveryState.IN_DOUBT, False, "crashed"
        return len(lost)

    async def release_doubts(
        self, campaign_id: int, again_at: float | None = None, *, provider: str | None = None
    ) -> int:
        await trio.lowlevel.checkpoint()
        self._views.pop(campaign_id, None)
        freed = [
            row
            for row in self._rows_of(campaign_id)
            if row.state is DeliveryState.IN_DOUBT and row.doubts < 3
        ]
        for row in freed:
            row.state, row.doubts = DeliveryState.PENDING, row.doubts + 1
            row.due = msgspec.structs.replace(row.due, next_at=again_at, first_attempt_at=None)
        return len(freed)

    async def hold_elsewhere(self, campaign_id: int, provider: str) -> None:
        """Runs of this store have one provider."""
        await trio.lowlevel.checkpoint()

    async def cap_wait(self, latest: float, *, windows: bool) -> int:
        await trio.lowlevel.checkpoint()
        late = [
            row
            for row in self.rows.values()
            if row.state in (DeliveryState.PENDING, DeliveryState.DEFERRED)
            and (row.due.next_at or 0.0) > latest
            and (windows or row.reason != "window_closed")
        ]
        for row in late:
            row.due = msgspec.structs.replace(row.due, next_at=latest)
        return len(late)

    async def counts(self, campaign_ids: Sequence[int]) -> Mapping[int, Counts]:
        await trio.lowlevel.checkpoint()
        return {number: self._counts(number) for number in campaign_ids}

    def _enter(self, entry: Entry) -> Rejection | None:
        if entry.delivery_id not in self.rows:
            raise NotFound("there is no such delivery", code="delivery_not_found")
        match entry:
            case Open():
                return self._open(entry)
            case Close():
                return self._close(entry)
            case Requeue():
                row = self.rows[entry.delivery_id]
                refused = row.reason if row.state is DeliveryState.FAILED else ""
                row.state = advance_delivery(row.state, DeliveryEvent.REQUEUE)
                row.due = msgspec.structs.replace(
                    row.due, next_at=None, first_attempt_at=None, refused=refused
                )
        return None

    def _open(self, entry: Open) -> Rejection | None:
        row = self.rows[entry.delivery_id]
        if self.campaigns[row.campaign_id].state is not CampaignState.RUNNING:
            return Rejection(why="campaign_state")
        if row.state not in (DeliveryState.PENDING, DeliveryState.DEFERRED):
            return Rejection(why="delivery_state")
        if row.due.recipient in self.suppressed:
            row.state, row.reason = DeliveryState.SKIPPED, "suppressed"
            return Rejection(why="suppressed", skipped=True)
        assert not row.open, "two open attempts for one delivery"
        row.state, row.open = advance_delivery(row.state, DeliveryEvent.OPEN), True
        row.due = msgspec.structs.replace(
            row.due, attempts=row.due.attempts + 1, first_attempt_at=row.due.first_attempt_at or entry.at
        )
        return None

    def _close(self, entry: Close) -> Rejection | None:
        row = self.rows[entry.delivery_id]
        waits = row.state in (DeliveryState.PENDING, DeliveryState.DEFERRED)
        if not (entry.opened or row.open or waits):
            return Rejection(why="delivery_state")
        if row.open is not entry.opened:
            raise Conflict("no such attempt", code="attempt_not_open" if entry.opened else "attempt_open")
        row.state = advance_delivery(row.state, EVENT[entry.to])
        tries = row.due.attempts
        if entry.opened and entry.to is DeliveryState.PENDING:
            tries -= 1
        elif not entry.opened and entry.to is not DeliveryState.PENDING:
            tries += 1
        row.open, row.reason = False, entry.reason
        first = row.due.first_attempt_at if tries == row.due.attempts or tries < 1 else entry.at
        row.due = msgspec.structs.replace(
            row.due,
            attempts=tries,
            next_at=entry.next_at,
            first_attempt_at=row.due.first_attempt_at or first,
            refused=entry.refused or row.due.refused,
        )
        if entry.suppress:
            self.suppressed[row.due.recipient] = entry.suppress
        return None

    def _counts(self, campaign_id: int) -> Counts:
        states = self.states(campaign_id)
        return Counts(total=sum(states.values()), **{state.value: n for state, n in states.items()})


ACCEPTED = Answer(stage=Stage.DOT, code=250, text="ok")
SURPLUS = Answer(stage=Stage.BANNER, signal=Signal.DROPPED, text="the server closed the connection")
Script = Callable[[RenderedMessage], Answer | None]


@dataclass(slots=True, eq=False)
class FakeTransport:
    """A provider with real waiting and scripted answers.

    `refuse` is asked in `prepare` (None: ready), `answer` in `deliver`, which takes `latency` seconds. Beyond
    `most_connections` at a time a connection is answered with `surplus`, after `surplus_after` seconds.
    """

    name: str = "fake"
    kind: str = "fake"
    account: str = ""
    connections: int = 4
    latency: float = 0.01
    channels: frozenset[Channel] = frozenset(Channel)
    in_doubt: InDoubt = InDoubt.HOLD
    verdicts: RequestVerdicts = PLAIN
    talks_first: bool = True
    largest_message: int | None = None
    can_reconcile: bool = False
    slow_envelopes: bool = False
    refuse: Script = field(default=lambda rendered: None)
    answer: Callable[[RenderedMessage], Answer] = field(default=lambda rendered: ACCEPTED)
    accepted: list[int] = field(default_factory=list)
    prepared: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most_connections: int | None = None
    surplus: Answer = field(default=SURPLUS)
    surplus_after: float = 0.0
    surplus_times: list[float] = field(default_factory=list)
    connected_now: set[FakeConnection] = field(default_factory=set)
    closed: int = 0
    busy: int = 0
    most_busy: int = 0

    def connection(self) -> FakeConnection:
        return FakeConnection(self)

    async def probe(self) -> Answer:
        await trio.lowlevel.checkpoint()
        return ACCEPTED

    async def reconcile(self, rendered: RenderedMessage, opened_at: float) -> Finding:
        await trio.lowlevel.checkpoint()
        return Finding(kind=Found.FOUND, provider_id=f"sid{rendered.delivery_id}")

    async def aclose(self) -> None:
        self.closed += 1
        await trio.lowlevel.checkpoint()


@dataclass(slots=True, eq=False)
class FakeConnection:
    transport: FakeTransport
    drops: int = 0

    @property
    def connected(self) -> bool:
        return self in self.transport.connected_now

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        await trio.lowlevel.checkpoint()
        self.transport.prepared.append(rendered.delivery_id)
        most, connected_now = self.transport.most_connections, self.transport.connected_now
        if most is not None and not self.connected and len(connected_now) >= most:
            await trio.sleep(self.transport.surplus_after)
            self.transport.surplus_times.append(trio.current_time())
            return self.transport.surplus
        refused = self.transport.refuse(rendered)
        if refused is None:
            connected_now.add(self)
        return refused

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        transport = self.transport
        transport.busy += 1
        transport.most_busy = max(transport.most_busy, transport.busy)
        try:
            await trio.sleep(transport.latency)
        finally:
            transport.busy -= 1
        answer = transport.answer(rendered)
        if answer.code // 100 == 2:
            transport.accepted.append(rendered.delivery_id)
            transport.times.append(trio.current_time())
        return answer

    def waits(self, rendered: RenderedMessage) -> bool:
        return self.transport.slow_envelopes

    def drop(self) -> None:
        self.drops += 1
        self.transport.connected_now.discard(self)

    async def aclose(self) -> None:
        self.transport.connected_now.discard(self)
        await trio.lowlevel.checkpoint()
