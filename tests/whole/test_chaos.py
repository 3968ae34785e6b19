"""Everything goes wrong at once, for a while; then it is calm, and the records equal the outside record.

Which operation is the n-th follows from the seed alone. The journal that pytest shows says what was done and
when.

    CHAOS_SEED=7                   another seed
    CHAOS_SECONDS=600              for longer or shorter
    CHAOS_OFF="viewers lose_names" without these operations
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.whole.chaos import LATER, MAIL, TEXT, Chaos, open_chaos
from tests.whole.chaos_checks import check_all
from tests.whole.chaos_commands import PAYS, grant, launch
from tests.whole.chaos_failures import operate
from tests.whole.conftest import until

MOST_MEMORY = 256 * 2**20  #: bytes: an eighth of what the unit lets hubd have
MOST_RESUMES = 20  #: of one campaign, when nothing goes wrong any more


@pytest.mark.parametrize(
    ("seconds", "seed"),
    [
        pytest.param(60, 1, id="one minute"),
        pytest.param(1200, 2, id="twenty minutes", marks=pytest.mark.soak),
    ],
)
def test_after_every_failure_at_once_the_records_equal_the_outside_record(
    tmp_path: Path, seconds: float, seed: int
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", seed))
    seconds = float(os.environ.get("CHAOS_SECONDS", seconds))
    with open_chaos(tmp_path) as chaos:
        chaos.note(f"CHAOS_SEED={seed}")
        number = 0
        grant(chaos, random.Random(seed))
        while chaos.age < seconds:
            chance = random.Random(f"{seed} {number}")
            chaos.note(f"#{number}")
            (launch if number < len(MAIL) + len(TEXT) else operate)(chaos, chance)
            number += 1
        calm(chaos)
        chaos.note(f"{chaos.ends} ends, {len(chaos.cut_off)} attempts cut off, {chaos.recorded()} accepted")
        chaos.note(f"{chaos.memory.peak / 2**20:.0f} MiB at most")
        check_all(chaos)
        assert chaos.ends > 1
        assert "Traceback" not in chaos.hub.log()
        assert chaos.memory.peak < MOST_MEMORY, f"{chaos.memory.peak / 2**20:.0f} MiB"


def calm(chaos: Chaos) -> None:
    """Let nothing go wrong any more, go on with everything, and wait for its end."""
    chaos.note("calm")
    for path in (chaos.hub.failures.resolver, chaos.hub.failures.fsync, chaos.hub.failures.checkpoint):
        path.unlink(missing_ok=True)
    for server in chaos.servers.values():
        server.mood(to=chaos.stale())
    for viewer in chaos.deaf:
        viewer.close()
    chaos.limits, chaos.rates = {**MAIL, **TEXT}, {}
    with chaos.ending(signal.SIGTERM, 0.0):
        chaos.after_the_end()
        chaos.hub.later = LATER
        chaos.start()
    for name in [*MAIL, *TEXT]:
        chaos.call("provider.enable", name=name)
    for sent in chaos.campaigns.values():
        chaos.call("campaign.rate", name=sent.name, rate=None)
    plenty = sum(len(sent.audience) for sent in chaos.campaigns.values()) * MOST_RESUMES
    chaos.call("credits.grant", account=PAYS, credits=plenty, idempotency_key="plenty")
    chaos.granted += plenty
    resumed: Counter[str] = Counter()
    until(lambda: not [n for n in chaos.campaigns if not go_on(chaos, n, resumed)], "the campaigns to end")
    until(
        lambda: all(finished(chaos, each.delivery) for each in chaos.transactional.values()), "the messages"
    )
    with chaos.ending(signal.SIGTERM, 0.0):
        chaos.after_the_end()


def go_on(chaos: Chaos, name: str, resumed: Counter[str]) -> bool:
    """Whether a campaign has ended for good; a paused or in-doubt one is resumed first."""
    sent = chaos.campaigns[name]
    campaign = chaos.call("campaign.get", name=name)["campaign"]
    verb = {"paused": "resume", "stopped": "start", "failed": "start"}.get(campaign["state"])
    if verb is not None:
        chaos.note(f"  {verb} {name}: {campaign['reason']}")
        chaos.wake(sent)
        chaos.call(f"campaign.{verb}", name=name)
        resumed[name] += 1
        assert resumed[name] < MOST_RESUMES, f"{name} always stops: {campaign['reason']}"
    elif campaign["state"] == "completed" and sent.policy == "retry" and campaign["counts"]["in_doubt"]:
        chaos.note(f"  resend {name}")
        chaos.wake(sent)
        chaos.call("campaign.retry", name=name, in_doubt="resend")
    else:
        return bool(campaign["state"] == "completed")
    return False


def finished(chaos: Chaos, delivery: int) -> bool:
    """Whether a message needs no more tries."""
    state = chaos.call("delivery.get", id=delivery)["delivery"]["state"]
    return state not in ("pending", "deferred", "sending")
