"""`dry_run`: the daemon says what a command would do, changes nothing, and then does just that."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.control.methods import METHODS
from hubd.errors import HubError
from tests.shell.open_hub import Served, open_hub
from tests.shell.test_methods import apply, import_people, until
from tests.whole.test_commands import book_reply, story

#: Kept for the daemon itself, or moved by the clock or by a task of its own.
NOT_COMPARED = {"hub", "steady", "probe", "sqlite_sequence", "usage", "sink", "sink_record"}


def dump(served: Served) -> dict[str, list[tuple[object, ...]]]:
    """Everything that is in the file."""
    with closing(sqlite3.connect(f"file:{served.hub.info.state_dir}/hub.db?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for name in tables
            if name not in NOT_COMPARED
        }


async def finished(hub: Client, method: str, done: dict[str, Any]) -> None:
    """Wait until the engine has done what follows from a command."""

    async def sent() -> bool:
        if method == "campaign.start":  # its rate lets one go, and the next one half a day later
            counts = (await hub.call("campaign.get", name="spring"))["campaign"]["counts"]
            return bool(counts["sent"] == 1)
        if method in ("message.send", "inbox.reply"):
            life = await hub.call("delivery.get", id=done["delivery_id"])
            return bool(life["delivery"]["state"] == "sent")
        return True

    with trio.fail_after(30):
        while not await sent():
            await trio.lowlevel.checkpoint()


async def fail_all(served: Served) -> None:
    """Nobody got anything."""

    def fail(unit: Any) -> None:
        unit.db.execute("UPDATE delivery SET state = 'failed', reason = 'gave_up'")
        others = "n_pending = 0, n_deferred = 0, n_sent = 0"
        unit.db.execute(f"UPDATE campaign_count SET n_failed = n_total, {others}")

    await served.database.write(fail)


async def test_a_dry_run_of_every_command_changes_nothing_and_foretells_that_it_would(
    tmp_path: Path,
) -> None:
    tried = set()
    async with open_hub(tmp_path, figures=True) as served, open_client(served.path) as hub:
        for step in story(tmp_path):
            if step.method == "campaign.retry":
                await fail_all(served)
            if step.method == "campaign.archive":
                await hub.call("campaign.stop", name="spring")
            if step.method == "inbox.reply":
                await book_reply(served.database)
            before = dump(served)
            foretold = await hub.call(step.method, **step.params, dry_run=True)
            assert dump(served) == before, step.method
            done = await hub.call(step.method, **step.params)
            if "changed" in step.answer:
                assert foretold["would"]["change"] is True, step.method
                assert foretold["changed"] in (False, 0), step.method
            if "state" in foretold.get("would", {}):
                assert foretold["would"]["state"] == done["campaign"]["state"], step.method
            if step.method == "campaign.retry":
                assert foretold["would"]["retried"] == done["changed"]
            await finished(hub, step.method, done)
            tried.add(step.method)
        before = dump(served)
        assert (await hub.call("hub.shutdown", dry_run=True))["would"] == {"change": True, "running": 0}
        assert dump(served) == before
        assert not served.stopped.is_set()
    changing = {name for name, method in METHODS.items() if method.mutates}
    assert tried | {"hub.shutdown", "list.trim"} == changing  # test_lists has the second


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("campaign.pause", {"name": "spring"}),
        ("campaign.resume", {"name": "spring"}),
        ("campaign.retry", {"name": "spring", "class": "all"}),
        ("campaign.archive", {"name": "spring"}),
        ("campaign.clone", {"name": "spring", "new": "spring"}),
        ("campaign.rate", {"name": "spring", "rate": "fast"}),
        ("campaign.rate", {"name": "spring", "rate": "1/s", "if_revision": 7}),
        ("campaign.delete", {"name": "nobody"}),
        ("campaign.schedule", {"name": "spring", "at": "1999-01-01T00:00:00Z"}),
        ("contacts.remove", {"key": "nobody@example.com"}),
        ("suppression.add", {"channel": "email", "address": "p@@x"}),
        ("provider.disable", {"name": "nowhere"}),
        ("message.send", {"provider": "nowhere", "to": "a@example.com", "subject": "x", "text": "x"}),
        ("message.send", {"provider": "outbox", "to": "a@example.com", "template": "spring"}),
        ("campaign.test", {"name": "nobody", "to": "a@example.com"}),
        ("hub.backup", {"path": "relative.db"}),
        ("credits.grant", {"account": "team", "credits": -1}),
    ],
)
async def test_a_dry_run_is_refused_as_the_command_is(
    tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 1)
        await apply(hub)
        before = dump(served)
        refused = []
        for more in ({"dry_run": True}, {}):
            with pytest.raises(HubError) as caught:
                await hub.call(method, **params, **more)
            refused.append((caught.value.code, str(caught.value)))
        assert refused[0] == refused[1]
        assert dump(served) == before


async def test_a_retry_is_foretold_by_counting_and_without_those_who_are_suppressed(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 5)
        await apply(hub)
        await hub.call("campaign.start", name="spring")
        await until(hub, "spring", "completed")
        await fail_all(served)
        await hub.call("suppression.add", channel="email", address="p0@example.com")
        asked = {"name": "spring", "class": "transient"}
        foretold = await hub.call("campaign.retry", **asked, dry_run=True)
        assert foretold["would"] == {
            "change": True, "state": "running", "retried": 4, "decided": 0, "suppressed": 1,
        }  # fmt: skip
        assert (foretold["suppressed"], foretold["left"]) == (1, 0)
        assert (await hub.call("campaign.retry", **asked))["changed"] == 4


async def test_pages_of_an_import_that_is_tried_out_are_counted_as_one_file(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        before = dump(served)
        for line, fate in ((1, "imported"), (2, "duplicates")):
            rows = [{"line": line, "values": {"email": "ann@example.com"}}]
            page = {"list": "all", "rows": rows, "import_id": "one", "dry_run": True}
            assert (await hub.call("contacts.import", **page))[fate] == 1
        assert dump(served) == before
