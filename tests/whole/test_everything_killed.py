"""Kill -9, again and again, under everything at once that goes on by itself.

A campaign repeats every minute, another one welcomes contacts who are added all the time, one account pays
for both, their figures go to three sinks, and what happens is told by email through another provider. In the
end the account, the roll-up, the notifications and the sinks agree with a recount of the deliveries, nobody
is sent one message twice, and each minute has at most one campaign.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from hubd.client import connect
from hubd.errors import HubError
from tests.interposed import Interposed
from tests.whole.chaos_processes import ChaosHub
from tests.whole.conftest import Hub, ended, until
from tests.whole.invariants import Records, check_crash, check_records, read_records
from tests.whole.outside import Outside, open_outside
from tests.whole.test_sinks_killed import Sinks, open_sinks, told_of_all
from tests.whole.world import provider

OPS = "ops@acme.example"
PEOPLE = 12
SENDING, TELLING = 6, 2  #: connections for campaigns, and for notifications
MINUTE, TEN_MINUTES = 60.0, 700.0
NOTIFY = f'[notify]\nemail = ["{OPS}"]\nprovider = "office"\nsender = "Hub <hub@acme.example>"\n'


@dataclass
class Newcomers:
    """Adds one contact after the other to a list, each until it is acknowledged."""

    hub: Hub
    acknowledged: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def add(self) -> None:
        """Until it is over."""
        while not self.over.wait(0.05):
            address = f"new{len(self.acknowledged)}@example.com"
            try:
                with connect(self.hub.state / "control.sock") as client:
                    client.call("contacts.add", list="new", email=address, fields={"first_name": "N"})
            except HubError:
                continue  # it was killed: the same contact again
            self.acknowledged.append(address)

    @contextmanager
    def come(self) -> Iterator[None]:
        """For the length of the block."""
        thread = Thread(target=self.add, name="newcomers")
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()


@pytest.mark.parametrize(
    ("kills", "seed"),
    [pytest.param(5, 1, id="5 kills"), pytest.param(20, 2, id="20 kills", marks=pytest.mark.soak)],
)
def test_kills_under_campaigns_that_repeat_welcome_pay_and_report_leave_everything_in_agreement(
    tmp_path: Path, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    hub = ChaosHub(tmp_path, failures=Interposed.controlled_in(tmp_path))
    for name in ("bulk", "office"):
        (tmp_path / name).mkdir()
    with (
        open_outside(tmp_path / "bulk", "email", connections=SENDING, delay=0.05) as bulk,
        open_outside(tmp_path / "office", "email", connections=TELLING, delay=0.05) as office,
        open_sinks(hub) as sinks,
        ended(hub),
    ):
        through = provider("sink", bulk.port, connections=SENDING)
        hub.config = through + provider("office", office.port, connections=TELLING) + NOTIFY + sinks.config
        set_up(hub, 2 * PEOPLE * (kills + 60))
        newcomers = Newcomers(hub)
        cut_off = 0
        with newcomers.come():
            for _ in range(kills):
                before = len(bulk.lines()) + SENDING  # as many may still come of the daemon before
                hub.later += MINUTE
                hub.boot()
                until(lambda before=before: len(bulk.lines()) > before, "messages of this daemon", hub.log)
                time.sleep(chance.uniform(0.0, 0.4))  # the moment of the kill
                assert hub.end(signal.SIGKILL) == -signal.SIGKILL
                records = read_records(hub.state)
                check_crash(records, SENDING + TELLING)
                cut_off += records.open
            hub.boot()
        assert cut_off, "no kill hit anything"
        hub.hubctl("stop", "news")
        until(lambda: everybody_tried(hub), "everybody to be tried", hub.log)
        hub.hubctl("stop", "welcome")
        assert hub.end() == 0
        hub.later += TEN_MINUTES  # emails that had to wait for others may go
        hub.boot()
        until(lambda: all_told(hub), "the emails", hub.log)
        wait_for_sinks(hub, sinks)
        assert hub.end() == 0
        bulk.over()
        office.over()
        records = read_records(hub.state)
        check_records(records)
        check_sent_once(records, bulk)
        check_account(records)
        check_occurrences(hub, records, at_least=kills // 4)
        (welcome,) = (row["id"] for row in records.campaigns if row["name"] == "welcome")
        welcomed = [row["recipient"] for row in records.deliveries if row["campaign_id"] == welcome]
        assert len(welcomed) == len(set(welcomed))
        assert set(newcomers.acknowledged) <= set(welcomed)
        assert len(welcomed) <= len(newcomers.acknowledged) + 1, "one more may have come unacknowledged"
        check_notices(hub, records, office)
        check_sinks(records, sinks)


def set_up(hub: Hub, credits: int) -> None:
    """Both campaigns are started, and no daemon runs."""
    hub.boot()
    hub.hubctl("credits", "grant", "team", str(credits))
    hub.contacts(PEOPLE)
    paid = {"in_doubt": "hold", "credits": "team"}
    hub.apply("news", **paid, **{"schedule.every": "1 minute", "schedule.timezone": "UTC"})
    hub.contacts(1, listed="new")  # the list is there, and who is on it gets nothing
    hub.apply("welcome", lists=None, **paid, **{"trigger.list": "new"})
    hub.hubctl("start", "welcome")
    hub.hubctl("start", "news")
    assert hub.end() == 0


def rows(hub: Hub, statement: str) -> list[dict[str, Any]]:
    """Rows of the database of a daemon."""
    with closing(sqlite3.connect(f"file:{hub.state / 'hub.db'}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(statement)]


def everybody_tried(hub: Hub) -> bool:
    """Whether no recipient waits for a first or another try."""
    found = rows(hub, "SELECT count(*) AS n FROM delivery WHERE state IN ('pending', 'deferred', 'sending')")
    running = rows(hub, "SELECT count(*) AS n FROM campaign WHERE series <> '' AND state = 'running'")
    return bool(found[0]["n"] == running[0]["n"] == 0)


def all_told(hub: Hub) -> bool:
    """Whether each notification is in an email, and each of these is sent."""
    waiting = rows(hub, "SELECT count(*) AS n FROM notification WHERE mailed_at IS NULL")
    return bool(waiting[0]["n"] == 0 and everybody_tried(hub))


def wait_for_sinks(hub: Hub, sinks: Sinks) -> None:
    """Until each of them knows everything."""
    until(lambda: told_of_all(hub), "the last event to be told", hub.log)
    sent = Counter(row["name"] for row in rows(hub, SENT))
    until(
        lambda: totals(sinks.records()) == sent, "the table", lambda: f"{sinks.records()} {sent} {hub.log()}"
    )
    until(lambda: totals(sinks.newest_lines()) == sent, "the files", hub.log)
    until(lambda: sinks.records() == sinks.newest_lines(), "both to show the same", hub.log)


SENT = """
SELECT name FROM delivery JOIN campaign ON campaign.id = campaign_id
WHERE delivery.state = 'sent' AND delivery.single = 0"""


def totals(shown: dict[str, dict[str, str]]) -> Counter[str]:
    return Counter({name: int(values["Total Sent"]) for name, values in shown.items()})


def check_sent_once(records: Records, bulk: Outside) -> None:
    """Of each delivery: `sent` was accepted once, `in_doubt` at most once, and nothing else was."""
    assert set(records.states) <= {"sent", "in_doubt"}
    by_message_id = {row["message_id"]: row["delivery_id"] for row in records.attempts}
    accepted = Counter(by_message_id[line.split()[1]] for line in bulk.lines())
    for row in records.deliveries:
        if not row["single"]:
            n = accepted.pop(row["id"], 0)
            assert n == 1 if row["state"] == "sent" else n <= 1, f"{row} was accepted {n} times"
    assert not accepted, "nothing else was sent through this provider"


def check_account(records: Records) -> None:
    """What was accepted is paid for, what is in doubt is held, and the rest is there."""
    (account,) = records.accounts
    states = Counter(row["state"] for row in records.paid_by(account))
    assert states.total() == sum(not row["single"] for row in records.deliveries)
    assert (account["spent"], account["held"]) == (states["sent"], states["in_doubt"])


def check_occurrences(hub: Hub, records: Records, *, at_least: int) -> None:
    """Each time of the campaign that repeats has one campaign, or a reason why it has none."""
    found = rows(hub, "SELECT at, outcome, campaign_id FROM occurrence ORDER BY at")
    made = [row["id"] for row in records.campaigns if row["series"] == "news"]
    assert Counter(row["campaign_id"] for row in found if row["outcome"] == "started") == Counter(made)
    assert {row["outcome"] for row in found} <= {"started", "overlap", "missed"}
    assert len(made) >= at_least
    sizes = Counter(row["campaign_id"] for row in records.deliveries)
    assert {sizes[each] for each in made} == {PEOPLE}


def check_notices(hub: Hub, records: Records, office: Outside) -> None:
    """Each end of a campaign is told once, by one email that was accepted, and by its provider alone."""
    names = {row["id"]: row["name"] for row in records.campaigns}
    done = {row["name"] for row in records.campaigns if row["series"] == "news"}
    doubts = {names[row["campaign_id"]] for row in records.deliveries if row["state"] == "in_doubt"}
    notices = rows(hub, "SELECT kind, about, mail FROM notification")
    told = Counter((row["kind"], row["about"]) for row in notices)
    skipped = rows(hub, "SELECT at FROM occurrence WHERE outcome <> 'started'")
    assert told.pop(("occurrence_skipped", "news"), 0) == len(skipped)
    assert told == Counter([*(("completed", n) for n in done), *(("in_doubt", n) for n in doubts & done)])
    singles = {row["id"] for row in records.deliveries if row["single"]}
    assert {row["state"] for row in records.deliveries if row["single"]} == {"sent"}
    assert len(singles) == len({row["mail"] for row in notices})
    mine = {
        row["message_id"]: row["delivery_id"] for row in records.attempts if row["delivery_id"] in singles
    }
    doubted = sum(row["outcome"] == "in_doubt" and row["delivery_id"] in singles for row in records.attempts)
    accepted = Counter(mine[line.split()[1]] for line in office.lines())
    assert set(accepted) == singles
    assert accepted.total() <= len(singles) + doubted, "again only what a kill put in doubt"
    assert set(office.accepted()) == {OPS}


def check_sinks(records: Records, sinks: Sinks) -> None:
    """Each campaign has its newest figures in the table and the files; the webhook knows each event."""
    sent = Counter(row["campaign_id"] for row in records.deliveries if row["state"] == "sent")
    names = {
        str(row["name"]): row["id"] for row in records.campaigns if row["started_at"] and not row["single"]
    }
    shown = sinks.records()
    assert shown.keys() == names.keys()
    for name, campaign in names.items():
        assert int(shown[name]["Total Sent"]) == sent[campaign] == records.rolled_up[campaign]["sent"]
    assert shown == sinks.newest_lines()
    sinks.check_events()
