"""A campaign that repeats is a campaign of its own at each of its times, once, and says what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.errors import BadInput, Conflict
from tests.shell.open_hub import PLAIN, Served, open_hub
from tests.shell.test_methods import import_people, until

#: A Monday, 10:00 in Berlin.
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC).timestamp()
WEEK = 7 * 86_400.0
WEEKLY = {"every": "monday 9:00", "timezone": "Europe/Berlin"}


class Wall:
    """A clock on the wall that is set by hand, for a hub that is open."""

    def __init__(self, served: Served, hub: Client, set_to: list[float]) -> None:
        self.served, self.hub, self._set_to = served, hub, set_to

    async def set(self, at: str) -> None:
        """Set it, and wait until the scheduler has looked."""
        self._set_to[0] = datetime.fromisoformat(at).timestamp()
        self.served.hub.supervisor.scheduler.wake()
        with trio.fail_after(30):
            while await self._is_due():  # noqa: ASYNC110 - see below
                await trio.sleep(0.005)  # the look itself tells nobody

    async def _is_due(self) -> bool:
        at = (await self.view())["next_at"]
        return at is not None and at <= iso(self._set_to[0])

    async def view(self, name: str = "weekly") -> dict[str, Any]:
        found: dict[str, Any] = (await self.hub.call("campaign.get", name=name))["campaign"]
        return found

    async def told(self) -> list[str]:
        listed = (await self.hub.call("notification.list"))["notifications"]
        return [each["headline"] for each in listed if each["kind"] == "occurrence_skipped"]

    async def outcomes(self) -> list[tuple[str, str, str | None]]:
        """What became of the occurrences, the oldest first."""
        found = await self.hub.call("campaign.get", name="weekly")
        return [(each["at"][:10], each["outcome"], each["name"]) for each in reversed(found["occurrences"])]

    async def apply(self, **keys: object) -> dict[str, Any]:
        spec = {**PLAIN, "name": "weekly", "schedule": WEEKLY, **keys}
        return await self.hub.call("campaign.apply", spec=spec)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@asynccontextmanager
async def open_wall(tmp_path: Path, at: float = NOW) -> AsyncIterator[Wall]:
    clock = [at]
    async with (
        open_hub(tmp_path, clock=lambda: clock[0]) as served,
        open_client(served.path) as hub,
    ):
        yield Wall(served, hub, clock)


@pytest.fixture
async def wall(tmp_path: Path) -> AsyncIterator[Wall]:
    async with open_wall(tmp_path) as wall:
        await import_people(wall.hub)
        yield wall


async def test_each_time_has_a_campaign_of_its_own(wall: Wall) -> None:
    await wall.apply()
    check = await wall.hub.call("campaign.check", name="weekly")
    times = [f"2026-12-{day:02}T08:00:00.000Z" for day in (7, 14, 21)]
    assert check["upcoming"] == times
    would = (await wall.hub.call("campaign.start", name="weekly", dry_run=True))["would"]
    assert (would["at"], would["upcoming"]) == (times[0], times)
    started = await wall.hub.call("campaign.start", name="weekly")
    assert (started["changed"], started["campaign"]["state"]) == (True, "scheduled")
    assert started["campaign"]["next_at"] == times[0]
    assert started["campaign"]["repeats"] == "monday 9:00 (Europe/Berlin)"
    assert (await wall.hub.call("campaign.start", name="weekly"))["changed"] is False
    await wall.set("2026-12-07T08:00:00Z")
    first = await until(wall.hub, "weekly.2026-12-07", "completed")
    assert (first["counts"]["sent"], first["series"]) == (first["counts"]["total"], "weekly")
    # Who has come since, and what the file says by then, is of the next time.
    rows = [{"line": 2, "values": {"email": "new@example.com", "first_name": "New"}}]
    await wall.hub.call("contacts.import", list="customers", rows=rows, import_id="two")
    assert (await wall.apply(text="Something else"))["campaign"]["next_at"] == times[1]
    await wall.set("2026-12-14T08:30:00Z")
    second = await until(wall.hub, "weekly.2026-12-14", "completed")
    assert second["counts"]["total"] == first["counts"]["total"] + 1
    assert (await wall.hub.call("campaign.get", name="weekly.2026-12-14"))["spec"]["text"] == "Something else"
    assert await wall.outcomes() == [
        ("2026-12-07", "started", "weekly.2026-12-07"),
        ("2026-12-14", "started", "weekly.2026-12-14"),
    ]
    assert (await wall.view())["counts"]["total"] == 0, "a series itself sends nothing"


async def test_what_was_missed_is_skipped_or_caught_up_once(tmp_path: Path) -> None:
    async with open_wall(tmp_path) as wall:
        await import_people(wall.hub)
        await wall.apply()
        await wall.hub.call("campaign.start", name="weekly")
    async with open_wall(tmp_path, NOW + 3 * WEEK + 7200) as wall:  # three Mondays, the last one 3 hours ago
        await wall.set("2026-12-21T12:00:00Z")
        assert await wall.outcomes() == [("2026-12-07", "missed", None)]
        events = (await wall.hub.call("events.list", campaign="weekly"))["events"]
        (missed,) = (each["data"] for each in events if each["type"] == "campaign.occurrence")
        assert missed["missed"] == 3
        assert await wall.told() == ["weekly missed 3 of its start times"]
        await wall.apply(schedule={**WEEKLY, "catch_up": "once"})
        assert (await wall.view())["next_at"] == "2026-12-28T08:00:00.000Z"
    async with open_wall(tmp_path, NOW + 9 * WEEK) as wall:
        await wall.set("2027-02-01T12:00:00Z")
        await until(wall.hub, "weekly.2027-02-01", "completed")
        assert await wall.outcomes() == [
            ("2026-12-07", "missed", None),
            ("2026-12-28", "missed", None),
            ("2027-02-01", "started", "weekly.2027-02-01"),
        ]


async def test_a_time_that_meets_the_one_before_is_skipped_and_told(wall: Wall) -> None:
    await wall.apply(rate="1/day")
    await wall.hub.call("campaign.start", name="weekly")
    await wall.set("2026-12-07T08:00:00Z")
    await until(wall.hub, "weekly.2026-12-07", "running")
    await wall.hub.call("campaign.pause", name="weekly.2026-12-07")
    await wall.set("2026-12-14T08:00:00Z")
    assert (await wall.outcomes())[-1] == ("2026-12-14", "overlap", None)
    events = (await wall.hub.call("events.list", campaign="weekly"))["events"]
    told = [each["data"]["outcome"] for each in events if each["type"] == "campaign.occurrence"]
    assert told == ["started", "overlap"]
    assert await wall.told() == ["weekly missed one of its start times"]
    # A stop of the series ends no campaign that has begun, and the other way round.
    stopped = await wall.hub.call("campaign.stop", name="weekly")
    assert (stopped["campaign"]["state"], stopped["campaign"]["next_at"]) == ("stopped", None)
    assert (await wall.view("weekly.2026-12-07"))["state"] == "paused"
    await wall.hub.call("campaign.stop", name="weekly.2026-12-07")
    again = await wall.hub.call("campaign.start", name="weekly")
    assert again["campaign"]["next_at"] == "2026-12-21T08:00:00.000Z"
    await wall.set("2026-12-21T08:00:00Z")
    await until(wall.hub, "weekly.2026-12-21", "running")
    with pytest.raises(Conflict, match="scheduled"):
        await wall.hub.call("campaign.delete", name="weekly")
    await wall.hub.call("campaign.stop", name="weekly")
    await wall.hub.call("campaign.delete", name="weekly")
    assert (await wall.view("weekly.2026-12-21"))["state"] == "running"


async def test_a_series_that_cannot_be_planned_holds_up_no_other(
    wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("broken", "weekly"):
        await wall.apply(name=name)
        await wall.hub.call("campaign.start", name=name)
    once = {**PLAIN, "name": "once"}
    await wall.hub.call("campaign.apply", spec=once)
    await wall.hub.call("campaign.schedule", name="once", at="2026-12-07T08:00:00Z")
    spoil = "UPDATE campaign SET recurrence = 'no JSON' WHERE name = 'broken'"
    await wall.served.database.write(lambda unit: unit.db.execute(spoil))
    await wall.set("2026-12-07T08:00:00Z")
    await until(wall.hub, "weekly.2026-12-07", "completed")
    await until(wall.hub, "once", "completed")
    assert "the next time of broken could not be planned" in caplog.text


async def test_a_series_ends_with_its_last_time_and_goes_on_with_the_newest_template(wall: Wall) -> None:
    async def template(text: str) -> None:
        spec = {"name": "note", "channel": "email", "subject": "Hi", "text": text}
        await wall.hub.call("template.apply", specs=[spec])

    await template("First")
    keys = {"template": "note", "subject": None, "text": None}
    await wall.apply(**keys, schedule={**WEEKLY, "until": "2026-12-14"})
    await wall.hub.call("campaign.start", name="weekly")
    await wall.set("2026-12-07T08:00:00Z")
    assert (await until(wall.hub, "weekly.2026-12-07", "completed"))["template"] == "note@1"
    await template("Second")
    await wall.set("2026-12-14T08:00:00Z")
    assert (await until(wall.hub, "weekly.2026-12-14", "completed"))["template"] == "note@2"
    ended = await wall.view()
    assert (ended["state"], ended["reason"]) == ("stopped", "it has no more occurrences")
    told = (await wall.hub.call("notification.list"))["notifications"]
    assert {(each["kind"], each["about"]) for each in told} == {
        ("completed", "weekly.2026-12-07"),
        ("completed", "weekly.2026-12-14"),
    }
    with pytest.raises(BadInput, match="no more occurrences"):
        await wall.hub.call("campaign.start", name="weekly")


async def test_what_a_series_cannot_be_asked(wall: Wall) -> None:
    await wall.apply()
    for asked in ({"at": "now"}, {"at": "2026-12-01T09:00:00Z"}):
        with pytest.raises(Conflict, match="repeats"):
            await wall.hub.call("campaign.start", name="weekly", **asked)
    with pytest.raises(BadInput, match="limit"):
        await wall.hub.call("campaign.start", name="weekly", limit=1)
    with pytest.raises(Conflict, match="repeats"):
        await wall.hub.call("campaign.schedule", name="weekly", at="2026-12-01T09:00:00Z")
    await wall.hub.call("campaign.start", name="weekly")
    with pytest.raises(Conflict, match="its new file says otherwise"):
        await wall.apply(schedule={})
    # Its name is taken: the occurrence has another one, and nothing is lost.
    await wall.apply(name="weekly.2026-12-07", schedule={})
    await wall.set("2026-12-07T08:00:00Z")
    await until(wall.hub, "weekly.2026-12-07-2", "completed")
