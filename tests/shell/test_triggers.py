"""A campaign with a trigger goes to each contact who is added to its list while it runs, once and at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.errors import BadInput, Conflict
from tests.shell.open_hub import PLAIN, Served, open_hub
from tests.shell.test_methods import import_people

WELCOME = {**PLAIN, "name": "welcome", "lists": [], "trigger": {"list": "customers"}}


class Desk:
    """Where contacts come in: three are on the list already."""

    def __init__(self, served: Served, hub: Client, clock: list[float]) -> None:
        self.served, self.hub, self._clock = served, hub, clock
        self._imports = 0

    async def start(self, **keys: object) -> None:
        await self.hub.call("campaign.apply", spec={**WELCOME, **keys})
        await self.hub.call("campaign.start", name="welcome")

    async def add(self, email: str, **fields: str) -> None:
        await self.hub.call("contacts.add", list="customers", email=email, fields=fields)

    async def bring(self, *emails: str, **asked: object) -> dict[str, Any]:
        """Import them, as one page."""
        self._imports += 1
        rows = [{"line": n, "values": {"email": email}} for n, email in enumerate(emails, start=2)]
        asked = {"list": "customers", "import_id": f"i{self._imports}", **asked}
        return await self.hub.call("contacts.import", rows=rows, **asked)

    async def view(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.hub.call("campaign.get", name="welcome"))["campaign"]
        return found

    async def counts(self, **wanted: int) -> dict[str, int]:
        """The counters above zero, once they are these."""

        def told(view: dict[str, Any]) -> dict[str, int]:
            return {state: n for state, n in view["counts"].items() if n and state != "total"}

        with trio.fail_after(30):
            while (found := told(await self.view())) != wanted:  # noqa: ASYNC110 - counters have no event
                await trio.sleep(0.005)
        return found

    def pass_time(self, seconds: float) -> None:
        self._clock[0] += seconds
        self.served.hub.supervisor.scheduler.wake()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    import time

    ahead = [0.0]
    clock: Callable[[], float] = lambda: time.time() + ahead[0]  # noqa: E731
    async with open_hub(tmp_path, clock=clock) as served, open_client(served.path) as hub:
        await import_people(hub)
        yield Desk(served, hub, ahead)


async def test_who_is_added_gets_it_once_and_who_was_there_does_not(desk: Desk) -> None:
    await desk.hub.call("campaign.apply", spec=WELCOME)
    check = await desk.hub.call("campaign.check", name="welcome")
    assert (check["ok"], check["recipients"]) == (True, 0)
    assert check["warnings"] == [
        "it goes to contacts that are added to customers while it runs, not to those already on it"
    ]
    await desk.hub.call("campaign.start", name="welcome")
    await desk.add("ann@example.com")
    await desk.counts(sent=1)
    taken = await desk.bring("p0@example.com", "bo@example.com", "cat@example.com", "BO@example.com")
    assert (taken["imported"], taken["unchanged"], taken["duplicates"]) == (2, 1, 1)
    await desk.counts(sent=3)
    await desk.bring("p0@example.com", "bo@example.com", "cat@example.com")
    await desk.hub.call("contacts.remove", key="bo@example.com", list="customers")
    await desk.add("bo@example.com")
    await desk.add("dan@example.com")  # behind the one who came back
    await desk.counts(sent=4)
    view = await desk.view()
    assert (view["state"], view["trigger"], view["lists"]) == ("running", "customers", ["customers"])
    events = (await desk.hub.call("events.list", campaign="welcome"))["events"]
    joined = [each["data"]["recipients"] for each in events if each["type"] == "campaign.joined"]
    assert joined == [1, 2, 1]


async def test_who_may_get_none_or_is_not_meant_does_not(desk: Desk) -> None:
    await desk.hub.call("suppression.add", channel="email", address="out@example.com")
    await desk.start(where="city == 'Koeln'")
    await desk.add("out@example.com", city="Koeln")
    await desk.add("far@example.com", city="Bonn")
    await desk.add("near@example.com", city="Koeln")
    await desk.counts(sent=1, skipped=1)
    await desk.bring("x@example.com", dry_run=True)
    await desk.bring("y@example.com", list="others")
    await desk.counts(sent=1, skipped=1)


async def test_a_pause_holds_them_and_a_stop_ends_it(desk: Desk) -> None:
    await desk.start()
    await desk.hub.call("campaign.pause", name="welcome")
    await desk.add("ann@example.com")
    await desk.counts(pending=1)
    await desk.hub.call("campaign.resume", name="welcome")
    await desk.counts(sent=1)
    for method, asked in (("list.rename", {"new": "people"}), ("list.delete", {})):
        with pytest.raises(Conflict, match="welcome"):
            await desk.hub.call(method, name="customers", **asked)
    await desk.hub.call("campaign.stop", name="welcome")
    await desk.add("late@example.com")
    await desk.hub.call("campaign.start", name="welcome")
    await desk.add("bo@example.com")
    await desk.counts(sent=2)


async def test_a_delay_is_waited_for_whatever_the_clock_does(desk: Desk) -> None:
    await desk.start(trigger={"list": "customers", "delay": "3 days"})
    await desk.add("ann@example.com")
    await desk.counts(pending=1)
    desk.pass_time(2.9 * 86_400)
    await desk.served.hub.supervisor.scheduler.heartbeat()
    desk.pass_time(-60)  # the clock was set back: who waits for so long, waits on
    await desk.served.hub.supervisor.scheduler.heartbeat()
    await desk.counts(pending=1)
    desk.pass_time(0.2 * 86_400)
    await desk.counts(sent=1)


async def test_a_limit_pauses_it_also_when_nobody_waits(desk: Desk) -> None:
    await desk.hub.call("campaign.apply", spec=WELCOME)
    await desk.hub.call("campaign.start", name="welcome", limit=1)
    await desk.add("ann@example.com")
    with trio.fail_after(30):
        while (view := await desk.view())["state"] != "paused":  # noqa: ASYNC110 - told as a view
            await trio.sleep(0.005)
    assert view["reason"] == "limit"
    await desk.add("bo@example.com")
    await desk.hub.call("campaign.start", name="welcome")
    await desk.counts(sent=2)


async def test_who_lacks_a_field_fails_alone_and_check_foretells_it(desk: Desk) -> None:
    words = "Hello {{ city }} {{ name | default('you') }}"
    await desk.add("ann@example.com", city="Berlin")
    await desk.hub.call("campaign.apply", spec={**WELCOME, "text": words})
    report = await desk.hub.call("campaign.check", name="welcome")
    assert report["problems"] == []
    told = [each for each in report["warnings"] if "without the field" in each]
    assert len(told) == 1
    assert "without the field city" in told[0]
    assert "3 of those already on it have none" in told[0]

    await desk.hub.call("campaign.start", name="welcome")
    await desk.add("bob@example.com")
    await desk.add("eve@example.com", city="Bonn")
    assert await desk.counts(sent=1, failed=1)
    assert (await desk.view())["state"] == "running"
    (failed,) = (await desk.hub.call("delivery.list", campaign="welcome", state="failed"))["deliveries"]
    assert (failed["recipient"], failed["reason"]) == ("bob@example.com", "missing_field")
    (group,) = (await desk.hub.call("delivery.failures", campaign="welcome"))["groups"]
    assert (group["reason"], group["count"]) == ("missing_field", 1)


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"lists": ["all"]}, "lists"),
        ({"trigger": {"list": "x", "on": "removed"}}, "trigger.on"),
        ({"trigger": {"list": "x", "delay": "2 years"}}, "trigger.delay"),
        ({"trigger": {"delay": "1h"}}, "trigger.list"),
        ({"trigger": {"lists": ["x"]}}, "trigger.lists"),
        ({"schedule": {"every": "hourly", "timezone": "UTC"}}, "trigger.list"),
    ],
)
async def test_a_trigger_that_is_none_is_refused(desk: Desk, keys: dict[str, object], path: str) -> None:
    with pytest.raises(BadInput) as caught:
        await desk.hub.call("campaign.apply", spec={**WELCOME, **keys})
    assert path in str(caught.value.data)


async def test_what_runs_keeps_its_trigger(desk: Desk) -> None:
    await desk.start()
    await desk.hub.call("campaign.pause", name="welcome")
    with pytest.raises(Conflict, match="trigger"):
        await desk.hub.call("campaign.apply", spec={**WELCOME, "trigger": {"list": "others"}})
