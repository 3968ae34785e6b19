"""Under the policy `hold` a message whose answer was lost is never sent again by itself."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

from hubd.core.model import Answer, DeliveryState, InDoubt, RenderedMessage
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.engine_world import EMAIL, LOST, world


@pytest.mark.parametrize("policy", [InDoubt.HOLD, InDoubt.RETRY])
async def test_a_lost_answer_is_followed_by_a_second_try_only_if_the_policy_says_so(
    autojump_clock: trio.testing.MockClock, policy: InDoubt
) -> None:
    tries: Counter[int] = Counter()

    def answer(rendered: RenderedMessage) -> Answer:
        tries[rendered.delivery_id] += 1
        return LOST if rendered.delivery_id == 7 and tries[7] == 1 else ACCEPTED

    store, transport = FakeStore(), FakeTransport(answer=answer)
    campaign = store.add_campaign("doubt", 20, EMAIL, in_doubt=policy)
    async with world(store, transport) as here:
        await here.ended(campaign)
        await trio.sleep(86_400)
    again = policy is InDoubt.RETRY
    assert tries[7] == (2 if again else 1)
    assert tries.total() == 20 + again
    assert store.states(campaign.id)[DeliveryState.SENT] == 19 + again
