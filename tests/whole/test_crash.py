"""The real daemon is killed again and again in the middle of a campaign; its records meet the outside record.

Nothing is arranged: SIGKILL comes at a random moment (from a seed), the daemon is started again, and so on
until the campaign is over. The provider is another process that has each acceptance on the disk before it
says so. README.md has the list of what must hold (I1 to I10).
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.whole.conftest import Hub, until
from tests.whole.invariants import check_crash, check_doubts, check_settled, read_records
from tests.whole.outside import CAMPAIGN, open_outside

RECIPIENTS = 2000
CONNECTIONS = 16
SOONEST, LATEST = 0.020, 0.400  #: seconds that the daemon has before its end
UNCOUNTED = 0.15  #: seconds that it sends besides, about


@pytest.mark.parametrize(
    ("kills", "seed"),
    [pytest.param(10, 1, id="10 kills"), pytest.param(40, 2, id="40 kills", marks=pytest.mark.soak)],
)
@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("channel", ["email", "sms"])
def test_kill_9_again_and_again_loses_nobody_and_doubles_nobody_in_silence(
    hub: Hub, tmp_path: Path, channel: str, policy: str, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    # So slow that the last kill still finds something to do: twice as long as it is sent altogether.
    delay = 2 * kills * ((SOONEST + LATEST) / 2 + UNCOUNTED) * CONNECTIONS / RECIPIENTS
    with open_outside(tmp_path, channel, connections=CONNECTIONS, delay=delay, seed=seed) as outside:
        audience = outside.set_up(hub, RECIPIENTS, policy)
        hub.hubctl("start", CAMPAIGN)
        interrupted = accepted = 0
        for kill in range(kills):
            if chance.random() < 0.7:  # else its time begins when it answers
                goal = accepted + CONNECTIONS  # as many may still come of the one before
                until(lambda goal=goal: len(outside.lines()) > goal, "messages of this very daemon")
            time.sleep(chance.uniform(SOONEST, LATEST))  # the moment of the kill
            assert hub.end(signal.SIGKILL) == -signal.SIGKILL
            records = read_records(hub.state)
            check_crash(records, CONNECTIONS)
            assert records.waiting, f"kill {kill} came when all was done: the provider is too quick"
            interrupted += records.open
            accepted = len(outside.lines())
            hub.boot()
        assert interrupted, "no kill hit anything"
        hub.hubctl("wait", CAMPAIGN, "--for", "completed", "--timeout", "120s")
        assert hub.end() == 0
        outside.over()
        records = read_records(hub.state)
        check_settled(records, outside.copies(), policy, audience)
        check_doubts(records, interrupted)
