"""Moments at which a message, a wake-up or a connection could get lost between two parts of the engine."""

from __future__ import annotations

import trio
import trio.testing

from hubd.core.model import (
    Answer,
    DeliveryState,
    Parcel,
    Stage,
)
from tests.fakes import FakeStore, FakeTransport
from tests.shell.test_runner import EMAIL, world

NO_SUCH_USER = Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user")


async def test_an_outcome_that_waits_for_the_disk_is_given_up_by_each_campaign_for_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(lanes=1, latency=1.0)
    first = store.add_campaign("first", 4, EMAIL)
    second = store.add_campaign("second", 4, EMAIL)

    def refuse(parcel: Parcel) -> Answer | None:
        if store.rows[parcel.delivery_id].campaign_id != second.id or not transport.accepted:
            return None
        store.fail_writes("the disk is full")
        return NO_SUCH_USER

    transport.refuse = refuse
    async with world(store, transport) as here:
        await trio.sleep(4)
        assert store.trouble
        here.supervisor.hurry()
        with trio.fail_after(30):
            for campaign in (first, second):
                await here.supervisor.ended(campaign.id)
        store.heal()


async def test_the_outcome_of_one_campaign_does_not_wait_for_the_patience_of_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(lanes=1, latency=1.0)
    first = store.add_campaign("first", 4, EMAIL)
    second = store.add_campaign("second", 4, EMAIL)

    def refuse(parcel: Parcel) -> Answer | None:
        if store.rows[parcel.delivery_id].campaign_id != second.id or not transport.accepted:
            return None
        store.fail_writes("the disk is full")
        return NO_SUCH_USER

    transport.refuse = refuse
    async with world(store, transport) as here:
        await trio.sleep(4)
        run = here.supervisor._runs[second.id]
        run.leave(5.0)
        with trio.fail_after(10):
            await run.ended()
        store.heal()
        await here.ended(first)
        assert store.states(first.id) == {DeliveryState.SENT: 4}
