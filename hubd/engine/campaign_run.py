"""One campaign while it runs: contained, and the one that writes how its run ended on its own.

A command such as `pause` asks for the end (`halt`), waits until it `ended`, and writes the state itself, in
the transaction that has its answer. While the database cannot be used, the run waits and then continues; a
bug in it fails this campaign, with an incident number that is in the log, and nobody else notices.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable

import trio

from hubd.core.lifecycle import CampaignEvent, advance_campaign
from hubd.core.model import Campaign
from hubd.engine.campaign import CampaignTask, Ending, How
from hubd.engine.failover import Failover
from hubd.engine.health import OFF
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import RunContext
from hubd.engine.source import Source
from hubd.errors import HubError, StoreUnavailable

log = logging.getLogger(__name__)

#: Makes the task of the campaign with an id, for a run that begins or begins again, and says through which
#: pool it sends. The events of deliveries that somebody watches go with it. Raises what opening the provider
#: raises, and `NotFound` when it is no longer configured.
TaskMaker = Callable[[int, dict[int, trio.Event]], Awaitable[tuple[CampaignTask, WorkerPool]]]


class CampaignRun:
    """Start `supervise` in a nursery; the rest is for other tasks."""

    #: Seconds before one-off messages continue after a bug stopped them.
    BREATHER = 60.0
    #: Seconds that messages on the wire are given when another provider takes over.
    HANDOVER = 60.0
    #: Seconds before a run continues after trouble with the database.
    SETBACK = 1.0

    def __init__(
        self,
        campaign: Campaign,
        context: RunContext,
        make_task: TaskMaker,
        failover: Callable[[Campaign], Failover | None] = lambda campaign: None,
    ) -> None:
        """`failover` gives the choice among the providers of a campaign that has several."""
        self._failover = failover
        self._campaign = campaign
        self._context = context
        self._make_task = make_task
        self._source: Source | None = None
        self._watched: dict[int, trio.Event] = {}
        self._waiting = trio.CancelScope()
        self._done = trio.Event()
        self._halted = False
        self._asked_to_end = False
        self._told = {"hub_campaign": campaign.name}  #: with every line of the log

    # -- from outside ------------------------------------------------------------------------------

    def halt(self, grace: float) -> None:
        """End, with `grace` seconds for what is on the wire; who asks for it writes the state.

        When all is done, or a person is needed, by then, that is written all the same.
        """
        self._halted = True
        self.leave(grace)

    def leave(self, grace: float) -> None:
        """End, with `grace` seconds for what is on the wire. Without `halt` the state stays `running`."""
        self._asked_to_end = True
        self._waiting.cancel()
        if self._source is not None:
            self._source.close(grace)

    @property
    def ending(self) -> bool:
        """Whether it was asked to end."""
        return self._asked_to_end

    async def ended(self) -> None:
        """Wait until nothing more leaves and the end is written."""
        await self._done.wait()

    def wake(self) -> None:
        """There are new rows, or rows became due."""
        if self._source is not None:
            self._source.news.set()

    def joined(self, list_name: str) -> None:
        """Contacts were added to a list: if that is what it waits for, there are new rows."""
        if self._campaign.trigger_list == list_name:
            self.wake()

    def read_again(self) -> None:
        """Rows that it has read may have been cancelled."""
        if self._source is not None:
            self._source.read_again()

    def watch(self, delivery_id: int) -> trio.Event:
        """An event that is set when this delivery's next outcome is recorded."""
        return self._watched.setdefault(delivery_id, trio.Event())

    # -- the task ----------------------------------------------------------------------------------

    async def supervise(self) -> None:
        """Run the campaign to its end. Nothing that happens in it gets out of here."""
        crash = ""
        try:
            while not self._asked_to_end or crash:
                try:
                    if crash:
                        await self._record_crash(crash)
                        crash = ""
                        if not self._campaign.transactional_queue or not await self._wait(self.BREATHER):
                            return
                        continue
                    ending = await self._run()
                    if ending is None:  # another provider takes over
                        continue
                    await self._conclude(ending)
                    return
                except StoreUnavailable as error:
                    log.warning(
                        "campaign %s waits for the database: %s",
                        self._campaign.name,
                        error,
                        extra=self._told,
                    )
                    if not await self._wait_for_database():
                        return
                except HubError as error:
                    if error.code == "not_settled":  # something was queued again in the last moment
                        continue
                    if not self._campaign.transactional_queue:
                        await self._write(CampaignEvent.PAUSE, str(error))
                    return
                except Exception:
                    crash = secrets.token_hex(4)
                    log.exception(
                        "campaign %s crashed, incident %s", self._campaign.name, crash, extra=self._told
                    )
        except Exception:
            log.exception("campaign %s: its end could not be recorded", self._campaign.name, extra=self._told)
        finally:
            self._done.set()

    async def _run(self) -> Ending | None:
        """Send from the campaign as it is now. What an earlier run left open is in doubt.

        None when another of its providers takes over.
        """
        await self._context.ledger.abandon(self._campaign.id)
        task, pool = await self._make_task(self._campaign.id, self._watched)
        source = self._source = task.source
        self._campaign = source.campaign
        if self._asked_to_end:
            source.close(0.0)
        pool.add(source)
        failover = self._failover(self._campaign)
        try:
            if failover is None:
                return await task.run()
            return await self._run_until_another(task, pool, failover)
        finally:
            pool.remove(source)
            self._source = None

    async def _run_until_another(
        self, task: CampaignTask, pool: WorkerPool, failover: Failover
    ) -> Ending | None:
        """Run while the provider is the one to send through. None when another one takes over."""
        current, successor = pool.transport.name, ""
        ending: Ending | None = None
        errors: list[Exception] = []

        async def watch() -> None:
            nonlocal successor
            successor = await failover.until_another(current)
            task.source.close(self.HANDOVER)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                ending = await task.run()
            except Exception as error:
                errors.append(error)
            nursery.cancel_scope.cancel()
        if errors:
            raise errors[0]
        assert ending is not None
        if ending.how is How.NEEDS_PERSON:
            successor = failover.successor(current) if pool.breaker.health in OFF else ""
        if not successor or self._asked_to_end or ending.how is How.COMPLETED:
            return ending
        why = pool.breaker.reason or "it works again"
        log.warning(
            "campaign %s is now sent through %s: %s", self._campaign.name, successor, why, extra=self._told
        )
        return None

    async def _record_crash(self, incident: str) -> None:
        await self._context.ledger.abandon(self._campaign.id)
        if not self._campaign.transactional_queue:
            reason = f"an internal error stopped it; look for incident {incident} in the log"
            await self._write(CampaignEvent.FAIL, reason)

    async def _conclude(self, ending: Ending) -> None:
        """Write the state that this ending leads to. One-off messages have no end."""
        if self._campaign.transactional_queue or (self._asked_to_end and not self._halted):
            return
        match ending.how:
            case How.COMPLETED:
                await self._write(CampaignEvent.COMPLETE, "")
            case How.NEEDS_PERSON:
                await self._write(CampaignEvent.PAUSE, ending.reason)
            case How.CLOSED if not self._halted:
                await self._write(CampaignEvent.PAUSE, "")

    async def _write(self, event: CampaignEvent, reason: str) -> None:
        with trio.CancelScope(shield=True):
            campaign = await self._context.campaigns.by_id(self._campaign.id)
            to = advance_campaign(campaign.state, event)
            if to is not campaign.state:
                await self._context.campaigns.move(
                    campaign.id, (campaign.state,), to, event=event.value, reason=reason
                )
                if reason:
                    log.info("campaign %s is %s: %s", campaign.name, to.value, reason, extra=self._told)

    async def _wait_for_database(self) -> bool:
        """False when it was asked to end meanwhile."""
        # A disk that can be written but not read looks healthy: so at least a pause.
        try:
            return await self._wait(self.SETBACK, self._context.health.wait_healthy)
        except StoreUnavailable:
            return False  # it is lost for good, and the daemon ends

    async def _wait(self, seconds: float, then: Callable[[], Awaitable[None]] | None = None) -> bool:
        if not self._asked_to_end:
            with trio.CancelScope() as self._waiting:
                await trio.sleep(seconds)
                if then is not None:
                    await then()
        return not self._asked_to_end
