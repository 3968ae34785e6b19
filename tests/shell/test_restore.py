"""A database that was restored: nothing that may have been sent since is sent again in silence."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hubd import failpoints
from hubd.bridge import Bridge
from hubd.client import Client, open_client
from hubd.core.decide import Retried
from hubd.core.model import CampaignState, Channel, DeliveryState
from hubd.errors import PreflightFailed, ResumeGap
from hubd.store.after_restore import hold_some, open_restores
from hubd.store.backup import Backups
from hubd.store.database import open_database
from hubd.store.integrity import IntegrityCheck
from hubd.wire.places import Place
from tests.shell.conftest import DRAFT, Store, close_entry, open_entry
from tests.shell.open_hub import open_hub

C, D = CampaignState, DeliveryState
NAMES = ("ann", "bob", "cid", "dan", "eve", "fay")
#: What somebody sees of a restored campaign: its state, and its deliveries as (state, reason).
Seen = tuple[CampaignState, list[tuple[DeliveryState, str]]]


class Restored(Store):
    """A store on a database that was put back, and what was found of the restore."""

    async def seen(self, name: str) -> Seen:
        campaign = await self.campaigns.get(name)
        await self.check_counters(campaign)
        rows = await self.ledger.deliveries(campaign.id)
        return campaign.state, [(row.state, row.reason) for row in rows]


@asynccontextmanager
async def restored_from(backup: Path, path: Path, bridge: Bridge) -> AsyncIterator[Restored]:
    """Put a backup in the database's place, as a person would, and open it as the daemon does."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, path)
    async with open_database(path, bridge) as database:
        assert await (await open_restores(database)).finish()
        yield Restored(database)


@pytest.fixture
async def backup(bridge: Bridge, database_path: Path, tmp_path: Path) -> Path:
    """A backup of a hub in the middle of its work."""
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        await busy(store)
        made = await Backups(database).make(str(tmp_path / "backup.db"))
    return Path(made.path)


async def busy(store: Store) -> None:
    """Campaigns in every state that one can be in."""
    first, second, third, fourth, *_ = await store.ids(await store.running(*NAMES, name="running"))
    await store.ledger.record([open_entry(first), close_entry(first)])
    await store.ledger.record([open_entry(second)])
    await store.ledger.record(
        [open_entry(third), close_entry(third, D.DEFERRED, reason="greylisted", next_at=9e9)]
    )
    await store.ledger.record([open_entry(fourth), close_entry(fourth, D.IN_DOUBT, reason="answer_lost")])
    for name, state in (("paused", C.PAUSED), ("stopped", C.STOPPED), ("failed", C.FAILED)):
        await store.move(await store.running(name=name), state, reason="as it was")
    done = await store.running(name="completed")
    for delivery in await store.ids(done):
        await store.ledger.record([open_entry(delivery), close_entry(delivery)])
    await store.move(done, C.COMPLETED)
    await store.draft(name="draft")
    await store.move(await store.draft(name="scheduled"), C.SCHEDULED)
    freezing = await store.draft(name="freezing")
    await store.move(freezing, C.RUNNING)
    await store.campaigns.freeze_page(freezing.id, 2)
    content = await store.campaigns.add_content(store.spec().content(), "a message of its own")
    transactional_queue = await store.campaigns.transactional_queue("office", Channel.EMAIL)
    await store.ledger.add_transactional(
        transactional_queue.id, "ann@example.com", "ann@example.com", {}, content
    )


HELD = (D.IN_DOUBT, "restored")


async def test_what_may_have_been_sent_since_the_backup_is_held(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    async with restored_from(backup, database_path, bridge) as store:
        assert await store.seen("running") == (C.PAUSED, [(D.SENT, ""), *[HELD] * 5])
        assert await store.seen("paused") == (C.PAUSED, [HELD] * 6)
        assert await store.seen("stopped") == (C.STOPPED, [HELD] * 6)
        assert await store.seen("failed") == (C.FAILED, [HELD] * 6)
        assert await store.seen("completed") == (C.COMPLETED, [(D.SENT, "")] * 6)
        assert await store.seen("draft") == (C.DRAFT, [])
        assert await store.seen("scheduled") == (C.DRAFT, [])
        assert await store.seen("freezing") == (C.PAUSED, [HELD] * 2)
        assert await store.seen("~office") == (C.RUNNING, [HELD])


async def test_nothing_is_left_that_could_be_sent_by_itself(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    async with restored_from(backup, database_path, bridge) as store:
        for campaign in await store.campaigns.list(queues=True):
            assert await store.ledger.due(campaign.id, 9e12, 100) == []
            assert await store.ledger.release_doubts(campaign.id) == 0, "no policy may decide about these"
            assert campaign.transactional_queue or campaign.state not in (C.RUNNING, C.SCHEDULED)


async def test_who_is_listed_after_the_restore_comes_in_doubt(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    async with restored_from(backup, database_path, bridge) as store:
        await store.contacts.suppress(Channel.EMAIL, "fay@example.com", "asked", "test")
        freezing = await store.campaigns.get("freezing")
        await store.freeze(freezing)
        assert await store.seen("freezing") == (C.PAUSED, [HELD] * 5 + [(D.SKIPPED, "suppressed")])


async def test_every_campaign_that_was_touched_has_one_event_one_audit_row_and_says_what_to_do(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    async with restored_from(backup, database_path, bridge) as store:
        told = {
            "running": 5,
            "paused": 6,
            "stopped": 6,
            "failed": 6,
            "scheduled": 0,
            "freezing": 2,
            "~office": 1,
        }
        events = [event for event in await store.events.page(0, 1000) if event.type == "campaign.restored"]
        assert {event.campaign: event.data["held"] for event in events} == told
        assert len(events) == len(told)
        audited = await store.db.read(
            lambda db: db.execute("SELECT count(*) FROM audit WHERE action = 'restore.held'").fetchone()[0]
        )
        assert audited == len(told)
        for name in ("running", "paused", "stopped", "freezing"):
            reason = (await store.campaigns.get(name)).reason
            assert f"hubctl retry {name} --in-doubt resend|sent|failed" in reason
        assert "--accept-risk restored" in (await store.campaigns.get("scheduled")).reason
        assert (await store.campaigns.get("failed")).reason == "as it was"
        assert "hub.restored" in [event.type for event in await store.events.page(0, 1000)]
        assert all(finding.ok for finding in await IntegrityCheck(store.db).examine(lambda: ()))


async def test_a_person_decides_and_then_it_goes_on(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    async with restored_from(backup, database_path, bridge) as store:
        running, paused = [await store.campaigns.get(name) for name in ("running", "paused")]
        assert await store.ledger.resolve_doubt(running.id, "sent") == 5
        assert await store.ledger.resolve_doubt(paused.id, "resend") == 6
        assert (await store.seen("running"))[1][1:] == [(D.SENT, "settled_sent")] * 5
        assert (await store.seen("paused"))[1] == [(D.PENDING, "possible_duplicate")] * 6
        undecided = await (await open_restores(store.db)).undecided()
        assert undecided == {"stopped": 6, "failed": 6, "freezing": 2, "~office": 1}


async def test_the_reason_says_what_is_left_to_decide_and_no_longer_what_was(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    async with restored_from(backup, database_path, bridge) as store:
        for name, left in (
            ("paused", "restored from a backup: to continue, hubctl resume paused"),
            ("stopped", "restored from a backup: to continue, hubctl start stopped"),
            ("failed", "as it was"),
        ):
            campaign = await store.campaigns.get(name)
            await store.ledger.resolve_doubt(campaign.id, "sent")
            work = store.ledger.ending_retry(campaign.id, Retried(decided=6))
            decided, _ = await store.db.write(work)
            assert decided.campaign.reason == (await store.campaigns.get(name)).reason == left
        freezing = await store.campaigns.get("freezing")
        await store.ledger.resolve_doubt(freezing.id, "sent")
        await store.db.write(store.ledger.ending_retry(freezing.id, Retried(decided=2)))
        left = (await store.campaigns.get("freezing")).reason
        assert left.startswith("restored from a backup: recipients that are not listed yet may")


async def test_the_next_start_holds_nothing_again(bridge: Bridge, database_path: Path, backup: Path) -> None:
    async with restored_from(backup, database_path, bridge) as store:
        paused = await store.campaigns.get("paused")
        await store.ledger.resolve_doubt(paused.id, "resend")
    async with open_database(database_path, bridge) as database:
        restores = await open_restores(database)
        assert not await restores.finish()
        assert restores.found is not None
        assert await Restored(database).seen("paused") == (C.PAUSED, [(D.PENDING, "possible_duplicate")] * 6)


async def test_the_same_backup_may_be_restored_twice(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    for _ in range(2):
        async with restored_from(backup, database_path, bridge) as store:
            paused = await store.campaigns.get("paused")
            assert await store.ledger.resolve_doubt(paused.id, "resend") == 6


async def test_it_is_held_page_by_page(bridge: Bridge, database_path: Path, backup: Path) -> None:
    shutil.copy(backup, database_path)
    async with open_database(database_path, bridge) as database:
        pages = 0
        while await database.write(lambda unit: hold_some(unit, 2)):
            pages += 1
        assert pages > 12
        assert await Restored(database).seen("paused") == (C.PAUSED, [HELD] * 6)
        assert len([event for event in await Store(database).types() if event == "campaign.restored"]) == 7


class Killed(Exception):
    """Stands for `kill -9`: nothing after this point happens."""


@pytest.mark.parametrize("step", [1, 2, 5, 8])
async def test_a_kill_while_it_is_held_is_gone_on_from(
    bridge: Bridge, database_path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    reached = 0

    def kill(point: str) -> None:
        nonlocal reached
        reached += point == "in_restore"
        if reached >= step and point == "in_restore":  # a unit that fails may be run twice
            raise Killed

    async def cut_off() -> None:
        async with open_database(database_path, bridge) as database:
            monkeypatch.setattr(failpoints, "_armed", kill)
            with pytest.raises(Killed):
                await (await open_restores(database)).finish()
            monkeypatch.setattr(failpoints, "_armed", None)

    shutil.copy(backup, database_path)
    await cut_off()
    async with open_database(database_path, bridge) as database:
        assert await (await open_restores(database)).finish()
        store = Restored(database)
        assert await store.seen("running") == (C.PAUSED, [(D.SENT, ""), *[HELD] * 5])
        assert await store.seen("~office") == (C.RUNNING, [HELD])
        assert (await store.types()).count("hub.restored") == 1
        assert (await store.types()).count("campaign.restored") == 7
        assert all(finding.ok for finding in await IntegrityCheck(database).examine(lambda: ()))


# --- through the socket -------------------------------------------------------------------------


@asynccontextmanager
async def hub_after_a_restore(tmp_path: Path) -> AsyncIterator[tuple[Client, dict[str, Any]]]:
    """A hub that was restored to an hour ago, and what a client knew of it before."""
    async with open_hub(tmp_path) as served, client(served.path) as hub:
        rows = [{"line": n, "values": {"email": f"p{n}@example.com", "first_name": "P"}} for n in range(3)]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="i")
        await hub.call("campaign.apply", spec={**DRAFT, "kind": "transactional"})
        store = Store(served.database)
        transactional_queue = await store.campaigns.transactional_queue("outbox", Channel.EMAIL)
        content = await store.campaigns.add_content(store.spec().content(), "a message of its own")
        await store.ledger.add_transactional(
            transactional_queue.id, "ann@example.com", "ann@example.com", {}, content
        )
        await hub.call("hub.backup", path=str(tmp_path / "backup.db"))
        await hub.call("campaign.apply", spec={**DRAFT, "kind": "transactional", "name": "later"})
        before = {"epoch": served.database.epoch, "seq": served.database.head_seq}
    (tmp_path / "hub.db").unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "hub.db")
    async with open_hub(tmp_path) as served, client(served.path) as hub:
        yield hub, before


def client(path: Path) -> Any:
    return open_client(Place(path=path), client=("test", "1"))


async def test_a_draft_that_is_older_than_the_restore_needs_a_persons_word(tmp_path: Path) -> None:
    async with hub_after_a_restore(tmp_path) as (hub, _):
        found = await hub.call("campaign.check", name="spring-sale")
        assert [problem["risk"] for problem in found["problems"]] == ["restored"]
        with pytest.raises(PreflightFailed, match="may have been sent") as refused:
            await hub.call("campaign.start", name="spring-sale")
        assert "--accept-risk restored" in refused.value.hint
        started = await hub.call("campaign.start", name="spring-sale", accept_risk=["restored"])
        assert started["changed"]


async def test_a_draft_that_was_made_after_it_needs_none(tmp_path: Path) -> None:
    async with hub_after_a_restore(tmp_path) as (hub, _):
        await hub.call("campaign.apply", spec={**DRAFT, "kind": "transactional", "name": "new"})
        assert (await hub.call("campaign.start", name="new"))["changed"]


async def test_the_status_names_what_is_to_be_decided_until_it_is(tmp_path: Path) -> None:
    async with hub_after_a_restore(tmp_path) as (hub, _):
        told = (await hub.call("hub.status"))["restored"]
        assert told["in_doubt"] == {"~outbox": 1}
        assert "backup" in told["why"]
        assert (await hub.call("campaign.retry", name="~outbox", in_doubt="sent"))["changed"] == 1
        assert (await hub.call("hub.status"))["restored"] is None


async def test_a_cursor_into_the_history_that_is_gone_is_a_gap(tmp_path: Path) -> None:
    async with hub_after_a_restore(tmp_path) as (hub, before):
        for n in range(5):  # until the number that the client has seen is that of another event
            await hub.call("campaign.rate", name="spring-sale", rate=f"{n + 1}/s")
        with pytest.raises(ResumeGap):
            await hub.call("events.subscribe", topics=["*"], after=before)
        early = {**before, "seq": 1}  # it may be shared, but two restores later nobody could tell
        with pytest.raises(ResumeGap):
            await hub.call("events.subscribe", topics=["*"], after=early)
