"""The daemon ends when a command is written and before it is answered; the client asks again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.client import Client, open_client
from hubd.control.fingerprint import fingerprint
from hubd.errors import Conflict, HubError
from hubd.store import ledger
from hubd.wire.campaign_params import CampaignRetry
from tests.shell.open_hub import open_hub
from tests.shell.test_methods import SPEC, apply, import_people, until

pytestmark = pytest.mark.slow

KEY = {"idempotency_key": "once"}


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        yield hub


async def cut_off(tmp_path: Path, method: str, *, after: int = 1, **params: Any) -> None:
    """Carry a command out in a daemon that ends once `after` of its transactions are committed."""
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        written = served.database.write
        committed = trio.Event()
        left = after

        async def lost(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            done = await written(*args, **kwargs)
            left -= 1
            if not left:
                committed.set()
                await trio.sleep_forever()
            return done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(served.hub.commands, "_db", Writes(served.database, lost))
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    await hub.call(method, **params, **KEY)

                nursery.start_soon(ask)
                with trio.fail_after(30):
                    await committed.wait()
                nursery.cancel_scope.cancel()


class Writes:
    """A database whose `write` is another one."""

    def __init__(self, database: Any, write: Any) -> None:
        self.read, self.write = database.read, write


async def trail(tmp_path: Path, action: str) -> int:
    """How often the audit trail has a command."""
    with closing(sqlite3.connect(tmp_path / "hub.db")) as db:
        count: int = db.execute("SELECT count(*) FROM audit WHERE action = ?", (action,)).fetchone()[0]
    return count


async def test_a_canary_that_is_asked_for_again_sends_no_second_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        await import_people(hub, 10)
        await apply(hub)
    await cut_off(tmp_path, "campaign.start", name="spring", limit=3)
    async with opened(tmp_path) as hub:
        paused = await until(hub, "spring", "paused")
        assert paused["counts"]["sent"] == 3
        again = await hub.call("campaign.start", name="spring", limit=3, **KEY)
        assert (again["changed"], again["campaign"]["state"]) == (True, "running")
        assert (await hub.call("campaign.start", name="spring", limit=3, **KEY)) == again
        more = await hub.call("campaign.start", name="spring", limit=3, idempotency_key="another")
        assert more["changed"]
        assert (await until(hub, "spring", "paused"))["counts"]["sent"] == 6
        assert await trail(tmp_path, "campaign.start") == 2


async def test_what_was_removed_is_not_missed_by_who_asks_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        await import_people(hub, 1)
        await apply(hub)
    await cut_off(tmp_path, "campaign.delete", name="spring")
    async with opened(tmp_path) as hub:
        assert await hub.call("campaign.delete", name="spring", **KEY) == {"changed": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KEY, "idempotency_key", "other")
        await cut_off(tmp_path, "contacts.remove", key="p0@example.com")
        async with opened(tmp_path) as hub:
            removed = {"changed": True, "cancelled": 0}
            assert await hub.call("contacts.remove", key="p0@example.com", **KEY) == removed


async def test_a_backup_that_was_finished_without_an_answer_is_known_again(tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    await cut_off(tmp_path, "hub.backup", path=str(target), after=2)
    made = target.stat()
    async with opened(tmp_path) as hub:
        first = await hub.call("hub.backup", path=str(target), **KEY)
        assert (first["path"], first["size"]) == (str(target), made.st_size)
        assert await hub.call("hub.backup", path=str(target), **KEY) == first
    assert target.stat().st_mtime == made.st_mtime


async def test_a_backup_that_was_not_finished_is_made_and_another_file_is_no_backup(tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    await cut_off(tmp_path, "hub.backup", path=str(target))
    target.write_bytes(b"")
    async with opened(tmp_path) as hub:
        with pytest.raises(HubError, match="already exists"):
            await hub.call("hub.backup", path=str(target), **KEY)
        assert target.read_bytes() == b""
        target.unlink()
        assert (await hub.call("hub.backup", path=str(target), **KEY))["size"] == target.stat().st_size


async def test_a_key_of_what_was_refused_may_be_used_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        with pytest.raises(HubError):
            await hub.call("campaign.start", name="spring", **KEY)
        await import_people(hub, 1)
        await apply(hub)
        assert (await hub.call("campaign.start", name="spring", **KEY))["changed"]


@pytest.mark.parametrize("method", ["campaign.start", "campaign.resume"])
async def test_a_start_that_is_asked_for_again_when_all_was_sent_gets_the_first_answer(
    tmp_path: Path, method: str
) -> None:
    async with opened(tmp_path) as hub:
        await import_people(hub, 3)
        await apply(hub)
        if method == "campaign.resume":
            await hub.call("campaign.start", name="spring", limit=1)
            await until(hub, "spring", "paused")
    await cut_off(tmp_path, method, name="spring")
    async with opened(tmp_path) as hub:
        await until(hub, "spring", "completed")
        again = await hub.call(method, name="spring", **KEY)
        assert (again["changed"], again["campaign"]["state"]) == (True, "running")
        assert (await hub.call(method, name="spring", **KEY)) == again
        with pytest.raises(Conflict):
            await hub.call(method, name="spring", idempotency_key="another")


async def test_a_change_at_a_revision_is_answered_as_the_first_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        revision = (await apply(hub))["campaign"]["revision"]
    change = {"spec": {**SPEC, "text": "Other words"}, "if_revision": revision}
    await cut_off(tmp_path, "campaign.apply", **change)
    async with opened(tmp_path) as hub:
        again = await hub.call("campaign.apply", **change, **KEY)
        assert (again["changed"], again["campaign"]["revision"]) == (["text"], revision + 1)


@pytest.mark.parametrize("pages", [1, 2, 3])
async def test_a_retry_that_was_cut_off_between_its_pages_goes_on_where_it_was(
    tmp_path: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAGE", 2)
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 5)
        await apply(hub)
        await hub.call("campaign.start", name="spring")
        await until(hub, "spring", "completed")
        await served.database.write(fail_all)
    await cut_off(tmp_path, "campaign.retry", name="spring", after=pages, **{"class": "all"})
    async with opened(tmp_path) as hub:
        again = await hub.call("campaign.retry", name="spring", **{"class": "all"}, **KEY)
        assert (again["changed"], again["left"], again["campaign"]["state"]) == (5, 0, "running")
        assert (await hub.call("campaign.retry", name="spring", **{"class": "all"}, **KEY)) == again
        ended = await until(hub, "spring", "completed")
        assert ended["counts"]["sent"] == 5
        events = (await hub.call("events.list", limit=500))["events"]
        assert [each["data"]["count"] for each in events if each["type"] == "delivery.requeued"] == [2, 2, 1]
    assert await trail(tmp_path, "campaign.retry") == 1


async def test_a_pause_does_not_wait_for_the_pages_of_a_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAGE", 2)
    at_second_page, go_on = trio.Event(), trio.Event()
    answers: list[Any] = []
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 5)
        await apply(hub)
        await hub.call("campaign.start", name="spring")
        await until(hub, "spring", "completed")
        await served.database.write(fail_all)
        await served.database.write(
            lambda unit: unit.db.execute("UPDATE campaign SET state = 'paused', completed_at = NULL")
        )
        written = served.database.write

        async def waiting(*args: Any, **kwargs: Any) -> Any:
            done = await written(*args, **kwargs)
            if not at_second_page.is_set():
                at_second_page.set()
                await go_on.wait()
            return done

        async def retry() -> None:
            async with open_client(served.path) as another:
                answers.append(await another.call("campaign.retry", name="spring", **{"class": "all"}))

        monkeypatch.setattr(served.hub.commands, "_db", Writes(served.database, waiting))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(retry)
            with trio.fail_after(30):
                await at_second_page.wait()
                assert (await hub.call("campaign.pause", name="spring"))["campaign"]["state"] == "paused"
            assert not answers
            go_on.set()
        assert (answers[0]["changed"], answers[0]["campaign"]["state"]) == (5, "paused")


async def test_the_rate_that_was_written_last_is_the_one_that_is_used(tmp_path: Path) -> None:
    """The command that wrote the other one is told to go on after it."""
    first_written, go_on = trio.Event(), trio.Event()
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 3)
        await apply(hub, rate="1/day")
        written = served.database.write

        async def waiting(*args: Any, **kwargs: Any) -> Any:
            done = await written(*args, **kwargs)
            if not first_written.is_set():
                first_written.set()
                await go_on.wait()
            return done

        async def change() -> None:
            async with open_client(served.path) as another:
                await another.call("campaign.rate", name="spring", rate="2/day")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(served.hub.commands, "_db", Writes(served.database, waiting))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                with trio.fail_after(30):
                    await first_written.wait()
                await hub.call("campaign.rate", name="spring", rate="3/day")
                go_on.set()
        campaign = await served.hub.campaigns.get("spring")
        limiter = served.hub.supervisor._factory._limits._all[f"campaign/{campaign.id}"]
        assert campaign.rate == limiter.rates == ("3/day",)


async def test_pages_of_an_import_with_keys_are_taken_in_the_order_in_which_they_came(
    tmp_path: Path,
) -> None:
    """Whether the first one was carried out before takes longer to find out."""
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        looked_up = served.database.read
        begun = trio.Event()

        async def slow(work: Any) -> Any:
            if not begun.is_set():
                begun.set()
                await trio.testing.wait_all_tasks_blocked(0.1)
            return await looked_up(work)

        async def send(name: str) -> None:
            rows = [{"line": 2, "values": {"email": "p@example.com", "first_name": name}}]
            await hub.call("contacts.import", list="all", rows=rows, import_id="one", idempotency_key=name)

        with pytest.MonkeyPatch.context() as patch:
            commands = Writes(served.database, served.database.write)
            commands.read = slow
            patch.setattr(served.hub.commands, "_db", commands)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, "first")
                with trio.fail_after(30):
                    await begun.wait()
                nursery.start_soon(send, "second")
        found = (await hub.call("contacts.get", key="p@example.com"))["contact"]
        assert found["fields"]["first_name"] == "first"


def fail_all(unit: Any) -> None:
    unit.db.execute("UPDATE delivery SET state = 'failed', reason = 'gave_up'")
    unit.db.execute("UPDATE campaign_count SET n_failed = n_sent, n_sent = 0")


async def test_what_an_earlier_version_began_may_have_been_done_and_the_answer_says_so(
    tmp_path: Path,
) -> None:
    """It wrote the effect and the answer apart, so nobody can know."""
    asked = CampaignRetry(name="spring", class_="all")
    begun = ("campaign.retry", "once", fingerprint(asked), "", "", 0, 0.0)
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await served.database.write(
            lambda unit: unit.db.execute(
                "INSERT INTO answer (method, key, fingerprint, result, progress, arrived, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                begun,
            )
        )
        for _ in range(2):  # who asks again and again is told the same, and nothing is done after all
            with pytest.raises(Conflict) as caught:
                await hub.call("campaign.retry", name="spring", **{"class": "all"}, **KEY)
            assert caught.value.code == "outcome_unknown"


async def test_a_retry_that_was_cut_off_after_all_its_pages_is_ended_by_another_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that failed is left, and yet what was queued again has to be sent."""
    monkeypatch.setattr(ledger, "PAGE", 2)
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 4)
        await apply(hub)
        await hub.call("campaign.start", name="spring")
        await until(hub, "spring", "completed")
        await served.database.write(fail_all)
    asked = {"name": "spring", "class": "all"}
    await cut_off(tmp_path, "campaign.retry", after=2, **asked)
    async with opened(tmp_path) as hub:
        planned = await hub.call("campaign.retry", **asked, dry_run=True)
        assert planned["would"]["state"] == "running"
        again = await hub.call("campaign.retry", **asked, idempotency_key="another")
        assert (again["changed"], again["campaign"]["state"]) == (0, "running")
        assert (await until(hub, "spring", "completed"))["counts"]["sent"] == 4
