"""A campaign starts at the time that a person named, in the zone that they meant, and at no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hubd.client import Client, open_client
from hubd.errors import BadInput, InvalidTransition
from tests.shell.open_hub import open_hub
from tests.shell.test_methods import apply, import_people, until

#: A Monday, 10:00 in Berlin.
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC).timestamp()
PLAIN = {"subject": "Hello", "text": "Hi"}


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Client]:
    """A hub at whose wall it is always `NOW`."""
    async with open_hub(tmp_path, clock=lambda: NOW) as served, open_client(served.path) as hub:
        await import_people(hub)
        yield hub


async def test_a_start_is_in_the_campaigns_zone_else_in_that_of_who_asks(hub: Client) -> None:
    await apply(hub, **PLAIN)
    start = partial(hub.call, "campaign.start", name="spring", at="tomorrow 9:00")
    with pytest.raises(BadInput, match="has no time zone"):
        await start()
    assert (await start(timezone="America/New_York", dry_run=True))["would"][
        "at"
    ] == "2026-12-01T14:00:00.000Z"
    await apply(hub, **PLAIN, schedule={"timezone": "Europe/Berlin"})
    planned = await start(timezone="America/New_York")
    assert planned["campaign"]["scheduled_at"] == "2026-12-01T08:00:00.000Z"
    later = await hub.call("campaign.schedule", name="spring", at="friday 9:00")
    assert later["campaign"]["scheduled_at"] == "2026-12-04T08:00:00.000Z"


async def test_words_in_a_file_become_a_time_when_it_is_applied(hub: Client) -> None:
    spec: dict[str, Any] = {"name": "spring", "channel": "sms", "text": "Hi", "lists": ["customers"]}
    spec |= {"schedule": {"at": "tomorrow 9:00"}}
    await hub.call("campaign.apply", spec=spec, timezone="Europe/Berlin")
    kept = (await hub.call("campaign.get", name="spring"))["spec"]["schedule"]["at"]
    assert kept == "2026-12-01T09:00:00+01:00"
    planned = await hub.call("campaign.start", name="spring")
    assert planned["campaign"]["scheduled_at"] == "2026-12-01T08:00:00.000Z"


@pytest.mark.parametrize("at", ["9:00", "today 09:59", "2026-11-30 10:00", "2026-11-30T09:00:00Z"])
async def test_a_time_that_has_passed_is_refused_and_nothing_starts(hub: Client, at: str) -> None:
    await apply(hub, **PLAIN)
    with pytest.raises(BadInput, match="is in the past"):
        await hub.call("campaign.start", name="spring", at=at, timezone="Europe/Berlin")
    await apply(hub, **PLAIN, schedule={"at": at, "timezone": "Europe/Berlin"})
    (warning,) = (await hub.call("campaign.check", name="spring"))["warnings"]
    assert warning.startswith("its start time has passed: 2026-11-30T")
    with pytest.raises(BadInput, match="the start time in the file of spring has passed") as caught:
        await hub.call("campaign.start", name="spring")
    assert caught.value.hint.endswith("hubctl start spring --at now")
    assert (await hub.call("campaign.get", name="spring"))["campaign"]["state"] == "draft"
    started = await hub.call("campaign.start", name="spring", at="now")
    assert started["campaign"]["state"] == "running"


async def test_a_schedule_that_was_stopped_can_be_scheduled_again(hub: Client) -> None:
    await apply(hub, **PLAIN, schedule={"at": "2026-12-01T09:00:00Z"})
    await hub.call("campaign.start", name="spring")
    assert (await hub.call("campaign.stop", name="spring"))["campaign"]["state"] == "stopped"
    again = await hub.call("campaign.start", name="spring")  # as its file says, and not at once
    assert (again["campaign"]["state"], again["campaign"]["scheduled_at"]) == (
        "scheduled",
        "2026-12-01T09:00:00.000Z",
    )
    await hub.call("campaign.stop", name="spring")
    moved = await hub.call("campaign.schedule", name="spring", at="2026-12-02T09:00:00Z")
    assert moved["campaign"]["scheduled_at"] == "2026-12-02T09:00:00.000Z"


async def test_one_that_has_begun_cannot_be_scheduled(hub: Client) -> None:
    await apply(hub, **PLAIN, rate="1/minute")
    await hub.call("campaign.start", name="spring")
    await hub.call("campaign.stop", name="spring")
    at = "2026-12-02T09:00:00Z"
    for method in ("campaign.schedule", "campaign.start"):
        with pytest.raises(InvalidTransition, match="has already begun"):
            await hub.call(method, name="spring", at=at)
    await hub.call("campaign.start", name="spring")
    await hub.call("campaign.rate", name="spring", rate=None)
    await until(hub, "spring", "completed")
