"""What holds at every moment, whatever was asked of a hub and whatever happened to it.

The records (what is written down) are held against the witness (what the provider really has).
"""

from __future__ import annotations

from collections import Counter

from hubd.core.pacing import parse_rate
from hubd.core.verdict import is_systemic
from tests.shell.model_records import CampaignLine, DeliveryLine, Records
from tests.shell.model_wire import CONNECTIONS, Parked, Witness

GOING = ("pending", "deferred", "sending")


class Promises:
    """Remembers what people decided, which is all that may excuse an exception."""

    def __init__(self, witness: Witness) -> None:
        self.retried: set[str] = set()  #: campaigns whose failures were queued again in this step
        self.finished: set[str] = set()  #: campaigns whose doubts a person decided in this step
        self.resent: set[str] = set()  #: campaigns in which a person ever had doubts sent again
        self.written_off: set[int] = set()  #: deliveries that a person called failed, not knowing
        self._witness = witness
        self._audience: dict[str, frozenset[str]] = {}
        self._paced: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._records: Records

    def check(self, before: Records, records: Records, on_the_wire: list[Parked], now: float) -> None:
        """All of them, after a step that led from `before` to `records`."""
        self._records = records
        for line in records.campaigns.values():
            self._check_campaign(line, before)
            self._check_pace(line, now)
        for delivery in records.deliveries.values():
            self._check_delivery(delivery, before.deliveries.get(delivery.id))
        assert before.deliveries.keys() <= records.deliveries.keys(), "somebody was forgotten"
        for parked in on_the_wire:
            assert records.deliveries[parked.rendered.delivery_id].state == "sending"
        self._look_ahead()
        assert not self._witness.faults, self._witness.faults
        self.retried.clear()
        self.finished.clear()

    def _check_campaign(self, line: CampaignLine, before: Records) -> None:
        assert line.counted == line.recounted, f"the counters of {line.name} do not count its deliveries"
        accepted = sum(line.counted[word] for word in ("sent", "delivered", "undelivered"))
        assert line.rolled_up.get("sent", 0) == accepted, f"the roll-up of {line.name} does not count it"
        for word in ("delivered", "undelivered", "failed"):
            assert line.rolled_up.get(word, 0) == line.counted[word], f"the roll-up of {line.name}: {word}"
        total = line.counted["total"]
        assert total == sum(n for word, n in line.counted.items() if word != "total")
        if line.state != "running":
            assert line.counted["sending"] == 0, f"{line.name} is {line.state} and sends"
        if line.state == "completed":
            assert not any(line.counted[word] for word in GOING), f"{line.name} is completed and has work"
        if line.limit is not None and line.state == "running":
            accepted = sum(line.counted[word] for word in ("sent", "in_doubt", "sending"))
            assert accepted <= line.limit, f"{line.name} goes beyond its limit"
        if line.fixed and line.name not in self._audience:
            known = (before.members.get(name, frozenset()) for name in line.lists)
            self._audience[line.name] = frozenset().union(*known)
        if line.policy == "hold" and line.name not in self.resent:
            assert all(d.resent == 0 for d in self._records.of(line.name)), "a doubt was sent again by itself"

    def _check_pace(self, line: CampaignLine, now: float) -> None:
        """A message that has its slot may wait in line for one on the same connection: so many may be
        late.
        """
        since, rate = self._paced.setdefault(line.name, (now, line.rate))
        if rate != line.rate:
            self._paced[line.name] = (now, line.rate)
            return
        times = [when for when, name in self._witness.begun if name == line.name and when > since]
        for each in map(parse_rate, rate):
            for start in times:
                inside = sum(start <= when < start + each.period for when in times)
                assert inside <= each.amount + CONNECTIONS, f"{line.name} is faster than {rate}"

    def _check_delivery(self, line: DeliveryLine, before: DeliveryLine | None) -> None:
        taken = self._witness.of(line.id)
        decided = line.resent > 0 or line.id in self.written_off
        assert line.opened == (line.state == "sending")
        assert line.opened <= 1
        assert len({each.message_id for each in taken}) <= 1, "copies with different Message-IDs"
        assert len(taken) <= 1 + line.doubted, "a duplicate without a doubt"
        if not decided:
            assert len(taken) <= 1, "sent twice, and nobody wanted it"
        if line.state == "sent" and line.reason != "settled_sent":
            assert taken, "called sent, and the provider has nothing"
        if taken and not line.doubted:
            assert line.state in ("sending", "sent"), f"the provider has it and it is {line.state}"
        if before is not None and before.state != line.state:
            assert self._may_change(before), f"{before.state} became {line.state} by itself"

    def _may_change(self, before: DeliveryLine) -> bool:
        match before.state:
            case "sent" | "skipped":
                return False
            case "failed":
                return before.campaign in self.retried or is_systemic(before.reason)
            case "in_doubt":
                policy = self._records.campaigns[before.campaign].policy
                return before.campaign in self.finished or policy == "retry"
        return True

    def _look_ahead(self) -> None:
        """What must not happen before somebody asks for it."""
        self._witness.suppressed = set(self._records.suppressed)
        self._witness.halted |= {c.name for c in self._records.campaigns.values() if c.state != "running"}

    def check_end(self, records: Records) -> None:
        """Once the world was well for long enough, nobody waits and nobody is missing."""
        for line in records.campaigns.values():
            deliveries = records.of(line.name)
            assert line.state in ("draft", "running" if line.transactional_queue else "completed"), line
            assert not [d for d in deliveries if d.state in GOING], f"{line.name} leaves somebody waiting"
            if not line.transactional_queue:
                found = Counter(d.recipient for d in deliveries)
                assert found == Counter(self._audience.get(line.name, ())), "not everybody was written down"


def check_recovery(before: Records, after: Records, broken: set[int]) -> None:
    """After a kill: in doubt is what was on the wire, and what a bug had broken off before; nothing else."""
    cut = {line.id for line in before.deliveries.values() if line.state == "sending"}
    doubts = {line.id: line.doubted for line in before.deliveries.values()}
    assert {line.id for line in after.deliveries.values() if line.doubted > doubts.get(line.id, 0)} == cut
    assert len(cut - broken) <= CONNECTIONS, "more is in doubt than there are connections"
