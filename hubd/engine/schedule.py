"""What starts automatically: campaigns whose time has come, once or again and again, runs that crashed.

A time of day is a time on the wall clock, so the schedule looks at it at least once a minute. How long a
campaign waits for a deferred recipient was also decided on the wall clock: when that is set back by a day,
no recipient shall wait a day longer for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from hubd.core.credits import PAUSED
from hubd.core.decide import Decide, Decided, Move, if_it_waits_for, waits_for_credits
from hubd.core.lifecycle import CampaignEvent, advance_campaign
from hubd.core.model import Campaign, CampaignState
from hubd.engine.ports import Campaigns, Commit, Ledger, StoreHealth
from hubd.engine.wakeup import Wakeup
from hubd.errors import CreditsShort, HubError, NotFound, ShuttingDown, StoreError

log = logging.getLogger(__name__)


class _Supervisor(Protocol):
    async def recover(self) -> None: ...
    async def start(
        self, name: str, *, event: CampaignEvent = CampaignEvent.START, commit: Commit | None = None
    ) -> tuple[bool, Campaign]: ...
    def wake_all(self) -> None: ...


class Scheduler:
    """Run `keep_going` for as long as the supervisor lives."""

    #: Seconds between two looks at the clock, at most.
    LOOK = 60.0
    #: Seconds by which the clock may drift or be slewed between two looks without having been set.
    SLACK = 5.0
    #: Seconds that a deferred recipient waits at most: more is the work of a clock that was set back.
    LONGEST_WAIT = 5_000.0

    def __init__(
        self,
        supervisor: _Supervisor,
        campaigns: Campaigns,
        ledger: Ledger,
        health: StoreHealth,
        now: Callable[[], float],
    ) -> None:
        self._supervisor = supervisor
        self._campaigns = campaigns
        self._ledger = ledger
        self._health = health
        self._now = now
        self._offset: float | None = (
            None  # of the wall clock from the monotonic one; None before the first look
        )
        self._moved = trio.Event()
        self._moved.set()
        self._news = Wakeup()

    def wake(self) -> None:
        """There is another time to wait for."""
        self._news.set()

    async def heartbeat(self) -> None:
        """Return at once between two looks and while it waits for the database, else with its next step."""
        await self._moved.wait()

    async def keep_going(self) -> None:
        """Start scheduled campaigns when their time has come, and restart crashed runs; until cancelled."""
        while True:
            pause = self.LOOK
            try:
                await self._health.wait_healthy()
                self._moved = trio.Event()
                await self._watch_clock()
                await self._supervisor.recover()
                await self._resume_what_is_paid()
                pause = await self._start_what_is_due()
            except StoreError as error:
                log.warning("the scheduler waits for the database: %s", error)
                pause = 1.0
            except Exception:
                log.exception("the scheduler failed once and continues")
            self._moved.set()
            await self._news.wait(trio.current_time() + pause)

    async def _watch_clock(self) -> None:
        offset = self._now() - trio.current_time()
        step = offset - self._offset if self._offset is not None else 0.0
        if self._offset is not None and abs(step) <= self.SLACK:
            return
        if step:
            log.warning("the clock was set %s by %.0f seconds", "forward" if step > 0 else "back", abs(step))
        # At the first look, too: it may have been set back while the daemon was down.
        await self._ledger.cap_wait(self._now() + self.LONGEST_WAIT, windows=step < 0)
        self._offset = offset
        self._supervisor.wake_all()

    async def _start_what_is_due(self) -> float:
        """Start what is due; seconds until there is something to look at again."""
        pause = await self._repeat_what_is_due()
        for campaign in await self._campaigns.list():
            if campaign.state is not CampaignState.SCHEDULED or campaign.recurrence:
                continue
            self._moved.set()
            self._moved = trio.Event()
            wait = (campaign.scheduled_at or 0.0) - self._now()
            if wait > 0:
                pause = min(pause, wait)
                continue
            try:
                await self._supervisor.start(campaign.name, event=CampaignEvent.DUE)
            except StoreError:
                raise
            except ShuttingDown:
                return self.LOOK  # it is due at the next boot
            except CreditsShort as error:
                log.warning("%s", error, extra={"hub_campaign": campaign.name})
                await self._wait_for_credits(campaign.id)
            except HubError as error:
                log.warning(
                    "campaign %s could not start on time: %s",
                    campaign.name,
                    error,
                    extra={"hub_campaign": campaign.name},
                )
                await self._stop_late(campaign.id, str(error))
        return pause

    async def _wait_for_credits(self, campaign_id: int) -> None:
        """Its time has come and its account has too few credits: it begins when there are more."""
        campaign = await self._campaigns.by_id(campaign_id)
        for event, reason in ((CampaignEvent.DUE, ""), (CampaignEvent.PAUSE, PAUSED)):
            if event is CampaignEvent.DUE and campaign.state is not CampaignState.SCHEDULED:
                return
            to = advance_campaign(campaign.state, event)
            campaign = await self._campaigns.move(
                campaign_id, (campaign.state,), to, event=event.value, reason=reason
            )

    async def _resume_what_is_paid(self) -> None:
        """Credits were granted: campaigns paused for lack of them resume, if there are enough now."""
        for account, grants in (await self._campaigns.topped_up()).items():

            async def commit(number: int, decide: Decide[Move], account: str = account) -> Decided[Move]:
                # Somebody may have paused it after it was listed.
                return await self._campaigns.carry_out(number, if_it_waits_for(account, decide))

            for campaign in await self._campaigns.list():
                if not waits_for_credits(campaign) or campaign.credits != account:
                    continue
                try:
                    await self._supervisor.start(campaign.name, event=CampaignEvent.RESUME, commit=commit)
                except StoreError:
                    raise
                except ShuttingDown:
                    return  # at the next boot
                except HubError as error:
                    log.warning(
                        "%s stays paused: %s", campaign.name, error, extra={"hub_campaign": campaign.name}
                    )
            await self._campaigns.looked_at(account, grants)

    async def _repeat_what_is_due(self) -> float:
        """Schedule the campaigns of occurrences that are due; seconds until the next one, at most `LOOK`."""
        pause = self.LOOK
        for series in await self._campaigns.list():
            if series.state is not CampaignState.SCHEDULED or not series.recurrence:
                continue
            at = series.scheduled_at
            if at is None or at <= self._now():
                try:
                    at = (await self._campaigns.occur(series.id, self._now())).next_at
                except NotFound:  # it was deleted meanwhile
                    continue
                except StoreError:
                    raise
                except Exception:  # tried again at the next look; the others do not wait for it
                    log.exception(
                        "the next time of %s could not be planned",
                        series.name,
                        extra={"hub_campaign": series.name},
                    )
                    continue
            if at is not None:
                pause = min(pause, max(at - self._now(), 0.0))
        return pause

    async def _stop_late(self, campaign_id: int, why: str) -> None:
        campaign = await self._campaigns.by_id(campaign_id)
        if campaign.state is CampaignState.SCHEDULED:
            await self._campaigns.move(
                campaign_id,
                (CampaignState.SCHEDULED,),
                advance_campaign(campaign.state, CampaignEvent.STOP),
                event="stop",
                reason=f"it could not start on time: {why}",
            )
