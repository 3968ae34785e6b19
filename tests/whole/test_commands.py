"""The daemon is killed at each step of each command that changes something, and asked again with its key.

There is one effect, one event and one audit row then, and both repetitions get the same answer, which is that
of a command that was carried out once. What has its effect outside the database (a provider that is disabled,
a configuration that is read) is done again by the new process, which knows nothing of it; that is in the
audit trail once, too.
"""

from __future__ import annotations

import base64
import hashlib
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.bridge import open_bridge
from hubd.client import connect
from hubd.control.methods import METHODS
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.tokens import Purpose, Tokens
from hubd.errors import Unreachable
from hubd.store.database import Database, open_database
from hubd.store.inbox import Inbox
from tests.whole.conftest import TIMEOUT, Hub, until

POINTS = ("before_command", "in_command", "after_command", "before_reply")
SPEC = {
    "name": "spring", "channel": "email", "lists": ["all"], "kind": "transactional", "rate": "2/day",
    "sender": "Acme <news@acme.example>", "subject": "Hello", "text": "Hi",
}  # fmt: skip
DATA = b"an attachment"
PEOPLE = [{"line": n, "values": {"email": f"p{n}@example.com"}} for n in range(3)]
WORDS = {"sender": "a@acme.example", "subject": "Hi", "text": "Hello"}
#: One ends the daemon, as it should; a repetition is asked of the next one. The other needs what the daemon
#: knows of an import, which ends with it: a repetition is refused, and the file has to be imported again.
LEFT_OUT = {"hub.shutdown", "list.trim"}


TEMPLATE = {"name": "note", "channel": "sms", "text": "Hi"}


def nothing(_: Hub) -> None:
    """Nothing has to be arranged."""


def all_failed(hub: Hub) -> None:
    """Nobody got anything."""
    hub.end(signal.SIGKILL)
    with closing(sqlite3.connect(hub.state / "hub.db")) as db, db:
        db.execute("UPDATE delivery SET state = 'failed', reason = 'gave_up'")
        # One may be in doubt: the kill before this can come while the first message is sent.
        others = ", ".join(f"n_{state} = 0" for state in ("pending", "deferred", "sent", "in_doubt"))
        db.execute(f"UPDATE campaign_count SET n_failed = n_total, {others}")


def frozen(hub: Hub) -> None:
    """The campaign runs and has its recipients: it gets them after the answer to its start."""
    until(lambda: hub.campaign("spring")["counts"]["total"] == len(PEOPLE), "the recipients")


def stopped(hub: Hub) -> None:
    with connect(hub.state / "control.sock") as client:
        client.call("campaign.stop", name="spring")


async def book_reply(database: Database) -> None:
    """The recipient of the newest message replies, perhaps to get no more."""
    newest = await database.read(lambda db: int(db.execute("SELECT max(id) FROM delivery").fetchone()[0]))
    tokens = Tokens(database.install_key)
    reply = Item(
        key="1",
        kind=ItemKind.REPLY,
        at=1.0,
        about=Reference(token=tokens.of(Purpose.BOUNCE, newest), address="me@example.com"),
        sender="me@example.com",
        message_id="<7@example.com>",
        text="please stop this",
    )
    await Inbox(database, tokens).book("mailbox replies", [reply], "1")


def replied(hub: Hub) -> None:
    """Somebody replied to the message of its own."""
    hub.end(signal.SIGKILL)

    async def book() -> None:
        async with open_bridge() as bridge, open_database(hub.state / "hub.db", bridge) as database:
            await book_reply(database)

    trio.run(book)


def with_sink(hub: Hub) -> None:
    """The configuration has a sink."""
    hub.end(signal.SIGKILL)
    hub.config += '\n[sinks.figures]\ntype = "csv"\ndirectory = "figures"\n'


@dataclass(frozen=True)
class Step:
    """A command, what it is answered, and the events of its effect."""

    method: str
    params: dict[str, Any]
    answer: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    before: Callable[[Hub], None] = nothing


def story(folder: Path) -> list[Step]:
    """Every command once, in an order in which each of them changes something."""
    spring = {"name": "spring"}
    part = {"sha256": hashlib.sha256(DATA).hexdigest(), "data": base64.b64encode(DATA).decode()}
    ann = {"channel": "email", "address": "ann@example.com"}
    changed = {"changed": True}
    moved = ("campaign.state",)
    return [
        Step("contacts.import", {"list": "all", "rows": PEOPLE, "import_id": "i"}, {"imported": 3},
             ("contacts.imported",)),
        Step("campaign.attach", {**part, "offset": 0, "size": len(DATA)}, {"complete": True}),
        Step("template.apply", {"specs": [TEMPLATE]}, changed, ("template.applied",)),
        Step("template.delete", {"name": "note"}, changed, ("template.deleted",)),
        Step("campaign.apply", {"spec": SPEC}, {"created": True}, ("campaign.applied",)),
        Step("campaign.rate", {**spring, "rate": "1/day"}, changed, ("campaign.rate",)),
        Step("campaign.clone", {**spring, "new": "copy"}, changed, ("campaign.applied",)),
        Step("campaign.schedule", {**spring, "at": "2999-01-01T00:00:00Z"}, changed, moved),
        Step("campaign.unschedule", spring, changed, moved),
        Step("campaign.start", {**spring, "limit": 2}, changed, moved),
        Step("campaign.pause", spring, changed, moved, frozen),
        Step("campaign.resume", spring, changed, moved),
        Step("campaign.stop", spring, changed, moved),
        Step("campaign.retry", {**spring, "class": "all"}, {"changed": 3}, ("delivery.requeued", *moved),
             all_failed),
        Step("campaign.archive", spring, changed, ("campaign.archived",), stopped),
        Step("campaign.test", {**spring, "to": "me@example.com"}, {"state": "sent"}),
        Step("message.send", {"provider": "outbox", "to": "me@example.com", **WORDS}),
        Step("inbox.reply", {"id": 1, "text": "What exactly?"}, {}, (), replied),
        Step("inbox.decide", {"id": 1, "decision": "continue"}, changed, ("reply.decided",)),
        Step("campaign.delete", spring, changed, ("campaign.deleted",)),
        Step("contacts.add", {"list": "some", "email": "p9@example.com"}, changed, ("contacts.imported",)),
        Step("contacts.remove", {"key": "p9@example.com", "list": "some"}, changed, ("list.left",)),
        Step("list.rename", {"name": "some", "new": "few"}, changed, ("list.renamed",)),
        Step("list.delete", {"name": "few"}, changed, ("list.deleted",)),
        Step("contacts.remove", {"key": "p0@example.com"}, changed, ("contact.removed",)),
        Step("contacts.forget", {"key": "p1@example.com"}, changed, ("contact.removed",)),
        Step("suppression.add", ann, changed),
        Step("suppression.import", {"rows": [{"line": 2, "values": {"email": "bob@example.com"}}],
             "import_id": "stop"}, {"added": 1}),
        Step("suppression.remove", ann, changed),
        Step("credits.grant", {"account": "team", "credits": 10, "low_at": 20}, changed,
             ("credits.granted", "credits.low", "notification.added")),
        Step("notification.read", {"through": 10}, changed),
        Step("sink.test", {"name": "figures"}, {"ok": True}, (), with_sink),
        Step("sink.resume", {"name": "figures"}),
        Step("hub.backup", {"path": str(folder / "copy.db")}),
        Step("hub.reload", {}, {"applied": []}),
        Step("provider.test", {"name": "outbox"}, {"ok": True}),
        Step("provider.disable", {"name": "outbox"}, changed),
        Step("provider.enable", {"name": "outbox"}),
    ]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_command_that_is_repeated_after_a_kill_at_any_step_is_carried_out_once(
    hub: Hub, point: str
) -> None:
    steps = story(hub.folder)
    plan = hub.folder / "plan"
    assert {step.method for step in steps} | LEFT_OUT == {m.name for m in METHODS.values() if m.mutates}
    for number, step in enumerate(steps):
        key = f"{number} {step.method}"
        step.before(hub)
        daemon = hub.daemon
        if daemon is None or daemon.poll() is not None:
            daemon = hub.boot(fail=f"@{plan}")
        before = records(hub)
        written = plan.with_suffix(".new")
        written.write_text(f"{point}:1")
        written.rename(plan)  # the daemon may look at any moment, and never finds half of it
        with connect(hub.state / "control.sock") as client, pytest.raises(Unreachable):
            client.call(step.method, **step.params, idempotency_key=key)
        assert daemon.wait(TIMEOUT) == -signal.SIGKILL, hub.log()
        plan.unlink()
        hub.boot(fail=f"@{plan}")  # it repeats this command, and is the one to be killed at the next
        with connect(hub.state / "control.sock") as client:
            again = [client.call(step.method, **step.params, idempotency_key=key) for _ in range(2)]
        after = records(hub)
        assert same(again[0]) == same(again[1]), step.method
        assert {key: again[0][key] for key in step.answer} == step.answer, step.method
        for kind in step.events:
            assert after.get(kind, 0) - before.get(kind, 0) == 1, (step.method, kind)
        row = f"audit {step.method}"
        assert after.get(row, 0) - before.get(row, 0) == 1, step.method
    # Three of the campaign were removed with it; the test, the message and the answer are one each.
    assert records(hub)["deliveries"] == 3


def same(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without how far the message has got, which is not kept."""
    return {key: value for key, value in answer.items() if key != "state"}


def records(hub: Hub) -> dict[str, int]:
    """Events by type, audit rows by action, and deliveries, as they are in the file."""
    if not (hub.state / "hub.db").exists():
        return {}
    with closing(sqlite3.connect(f"file:{hub.state}/hub.db?mode=ro", uri=True)) as db:
        found = dict(db.execute("SELECT type, count(*) FROM event GROUP BY type").fetchall())
        found |= db.execute("SELECT 'audit ' || action, count(*) FROM audit GROUP BY action").fetchall()
        found["deliveries"] = db.execute("SELECT count(*) FROM delivery").fetchone()[0]
    return found
