"""What must hold, whatever happened: the records of the daemon against themselves and an outside record.

The records are read from a copy of the database's files, so that looking at them changes nothing that the
next daemon finds. The outside record is what a provider durably accepted, written down by another process.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hubd.store.unit import audit_hash

STATES = (
    "pending", "deferred", "sending", "sent", "delivered", "undelivered", "failed", "skipped", "in_doubt",
)  # fmt: skip
#: What a message that was accepted is known by: its recipient, and its Message-ID or its text.
Accepted = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that the database of a daemon says, as it lies on the disk."""

    health: str  #: what quick_check says
    hub: dict[str, object]
    campaigns: list[dict[str, object]]
    deliveries: list[dict[str, object]]
    attempts: list[dict[str, object]]
    audit: list[tuple[object, ...]]
    contacts: list[tuple[object, ...]]
    members: int
    rolled_up: dict[object, Counter[str]]  #: by campaign id
    accounts: list[dict[str, object]]  #: of credits
    at_risk: int  #: credits of messages that are on the wire or in doubt

    def paid_by(self, account: Mapping[str, object]) -> list[dict[str, object]]:
        """The deliveries of campaigns that this account of credits pays for."""
        campaigns = {row["id"] for row in self.campaigns if row["credits"] == account["name"]}
        return [row for row in self.deliveries if row["campaign_id"] in campaigns]

    @property
    def open(self) -> int:
        """Attempts of which nobody knows what will come."""
        return sum(attempt["outcome"] is None for attempt in self.attempts)

    @property
    def states(self) -> Counter[str]:
        """Over all campaigns."""
        return Counter(str(delivery["state"]) for delivery in self.deliveries)

    @property
    def waiting(self) -> int:
        """Deliveries that still have to be tried."""
        return self.states["pending"] + self.states["deferred"] + self.states["sending"]


def read_records(state: Path) -> Records:
    """The records in a state directory whose daemon does not run. Nothing in it is touched, not even a
    lock.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in ("hub.db", "hub.db-wal"):
            if (state / name).exists():
                shutil.copy(state / name, folder)
        with closing(sqlite3.connect(Path(folder, "hub.db"))) as db:
            return _read(db)


def _read(db: sqlite3.Connection) -> Records:
    def table(statement: str) -> list[dict[str, object]]:
        rows = db.execute(statement)
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    # Before its last migration a file has the counters in the campaigns.
    apart = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'campaign_count'").fetchone() is not None
    counted = "LEFT JOIN campaign_count ON campaign_id = id" if apart else ""
    return Records(
        health=db.execute("PRAGMA quick_check").fetchone()[0],
        hub=table("SELECT * FROM hub")[0],
        campaigns=table(f"SELECT * FROM campaign {counted} ORDER BY id"),
        deliveries=table("SELECT * FROM delivery ORDER BY id"),
        attempts=table("SELECT * FROM attempt ORDER BY id"),
        audit=db.execute(
            "SELECT hash, at, actor, action, campaign_id, delivery_id, data FROM audit ORDER BY seq"
        ).fetchall(),
        contacts=db.execute("SELECT email, phone, fields FROM contact ORDER BY id").fetchall(),
        members=db.execute("SELECT count(*) FROM membership").fetchone()[0],
        rolled_up=_rolled_up(db),
        accounts=table("SELECT * FROM credit_account") if _paid(db) else [],
        at_risk=db.execute(AT_RISK).fetchone()[0] if _paid(db) else 0,
    )


#: What the attempts cost of which nobody knows whether they were accepted.
AT_RISK = "SELECT coalesce(sum(credits), 0) FROM credit_use WHERE spent = 0"


def _paid(db: sqlite3.Connection) -> bool:
    """Whether the file is of a version that has credits."""
    found = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'credit_account'").fetchone()
    return found is not None


def _rolled_up(db: sqlite3.Connection) -> dict[object, Counter[str]]:
    """The sums of each campaign's hours; not of those that an older version has left to be counted."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'rollup_pending'").fetchone() is None:
        return {}
    pending = {row[0] for row in db.execute("SELECT campaign_id FROM rollup_pending")}
    campaigns = {row[0] for row in db.execute("SELECT id FROM campaign WHERE doomed = 0")} - pending
    sums: dict[object, Counter[str]] = {campaign: Counter() for campaign in campaigns}
    for campaign, measure, n in db.execute("SELECT campaign_id, measure, n FROM rollup"):
        if campaign in sums:
            sums[campaign][measure] += n
    return sums


def check_records(records: Records) -> None:
    """What holds at every instant, also in the middle of everything (I8, I9).

    Each counter and the roll-up equal a recount; what is `sending` has exactly one open attempt, and nothing
    else has one; an attempt that was opened is counted; the file is healthy; the audit trail is unbroken.
    """
    assert records.health == "ok"
    for campaign in records.campaigns:
        own = Counter(str(row["state"]) for row in records.deliveries if row["campaign_id"] == campaign["id"])
        counted = {state: campaign[f"n_{state}"] or 0 for state in STATES}
        assert counted == {state: own[state] for state in STATES}, campaign["name"]
        assert (campaign["n_total"] or 0) == own.total(), campaign["name"]
        rolled_up = records.rolled_up.get(campaign["id"])
        if rolled_up is not None:
            assert rolled_up["sent"] == own["sent"] + own["delivered"] + own["undelivered"], campaign["name"]
            for state in ("delivered", "undelivered", "failed"):
                assert rolled_up[state] == own[state], (campaign["name"], state)
    on_the_wire = {row["id"] for row in records.deliveries if row["state"] == "sending"}
    being_tried = Counter(row["delivery_id"] for row in records.attempts if row["outcome"] is None)
    assert being_tried == Counter(on_the_wire)
    check_chain(records.audit)
    for account in records.accounts:
        paid_for = {row["id"] for row in records.paid_by(account)}
        attempts = [row for row in records.attempts if row["delivery_id"] in paid_for]
        paid = [row for row in attempts if row["outcome"] == "sent"]
        assert account["spent"] == len(paid), "each accepted attempt is paid for once"
        unknown = [row for row in attempts if row["outcome"] in (None, "in_doubt")]
        assert records.at_risk <= len(unknown), "nothing else is held for what may have been accepted"


def check_chain(audit: Sequence[tuple[object, ...]]) -> None:
    """No row of the audit trail was changed, and none is missing between two others."""
    before = b""
    for link, *fields in audit:
        assert link == audit_hash(before, *fields), f"the audit trail is broken at {fields}"
        assert isinstance(link, bytes)
        before = link


def check_crash(records: Records, connections: int) -> None:
    """What holds right after the daemon was killed: I7, and everything that always holds.

    At most as many attempts are open as there were connections to send on: those, and no others, will be in
    doubt.
    """
    check_records(records)
    assert records.open <= connections


def check_settled(records: Records, accepted: Accepted, policy: str, audience: set[str]) -> None:
    """What holds when everything is over: everybody is settled (I1), and all of `check_accepted`."""
    assert set(records.states) <= {"sent", "in_doubt"}, "I1: everybody is settled"
    for account in records.accounts:
        doubts = [row for row in records.paid_by(account) if row["state"] == "in_doubt"]
        assert account["held"] == len(doubts), "what is in doubt is held, and nothing else"
    check_accepted(records, accepted, policy, audience)


def check_accepted(records: Records, accepted: Accepted, policy: str, audience: set[str]) -> None:
    """What holds when nothing is on the wire: I1 to I6, and everything that always holds.

    Each recipient's message was accepted by the provider at least as often as the records say `sent`, and at
    most once more for each time that they say that it was in doubt.
    """
    check_records(records)
    assert {row["recipient"] for row in records.deliveries} == audience, "I1: everybody has a delivery"
    assert len(records.deliveries) == len(audience), "I1: and only one"
    assert set(accepted) <= audience, "nobody else was sent anything"
    outcomes = Counter((row["delivery_id"], row["outcome"]) for row in records.attempts)
    doubted = 0
    for row in records.deliveries:
        n = len(accepted.get(str(row["recipient"]), ()))
        doubts = outcomes[row["id"], "in_doubt"]
        doubted += doubts
        if row["state"] == "sent":
            assert n >= 1, f"I4: {row} was not accepted by anybody"
        if policy == "hold":
            assert n <= 1, f"I5: {row} was accepted {n} times"
        assert n >= outcomes[row["id"], "sent"], f"I2: {row} was accepted {n} times"
        assert n <= outcomes[row["id"], "sent"] + doubts, f"I3, I6: {row} was accepted {n} times"
        assert len(set(accepted.get(str(row["recipient"]), ()))) <= 1, "I6: a copy is a copy"
        if row["message_id"] and n:
            assert accepted[str(row["recipient"])][0] == row["message_id"], "I6: by its Message-ID"
    surplus = sum(len(copies) - 1 for copies in accepted.values())
    assert surplus <= (doubted if policy == "retry" else 0), "I6: each copy more had been in doubt"


def check_doubts(records: Records, interrupted: int) -> None:
    """Each attempt that a crash cut off is in doubt, and was put on record once; nothing else is."""
    doubted = [row for row in records.attempts if row["outcome"] == "in_doubt"]
    assert len(doubted) == interrupted
    found = [fields for fields in records.audit if fields[3] == "doubt.found"]
    assert len(found) == interrupted
