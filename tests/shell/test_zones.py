"""A sending window is in the recipient's time zone, else in the campaign's; UTC is never taken in silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio

from hubd.client import open_client
from tests.shell.open_hub import Served
from tests.shell.test_methods import apply


def around_now() -> str:
    """A window of some hours that is open in UTC, and closed where it is twelve hours later."""
    now = datetime.now(UTC)
    return f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(hours=4):%H:%M}"


async def test_a_window_is_in_the_campaigns_zone_for_who_has_none(served: Served) -> None:
    rows = [
        {"line": 2, "values": {"email": "ann@example.com", "timezone": "UTC"}},
        {"line": 3, "values": {"email": "bob@example.com"}},
    ]
    words = {"subject": "Hello", "text": "Hi"}
    window = around_now()
    async with open_client(served.path) as hub:
        await hub.call("contacts.import", list="customers", rows=rows, import_id="one")
        await apply(hub, **words, schedule={"window": window})
        (warning,) = (await hub.call("campaign.check", name="spring"))["warnings"]
        assert warning.startswith(f"1 recipient has no known time zone, so the window {window} is in UTC")
        foretold = await hub.call("campaign.start", name="spring", dry_run=True)
        assert foretold["would"]["warnings"] == [warning]
        changed = await apply(hub, **words, schedule={"window": window, "timezone": "Etc/GMT-12"})
        assert changed["changed"] == ["schedule.timezone"]
        assert (await hub.call("campaign.check", name="spring"))["warnings"] == []
        await hub.call("campaign.clone", name="spring", new="copy")
        await hub.call("campaign.start", name="copy")
        with trio.fail_after(30):
            states: list[tuple[str, str]] = []
            while states != [("sent", ""), ("pending", "window_closed")]:
                found = (await hub.call("delivery.list", campaign="copy"))["deliveries"]
                states = [(each["state"], each["reason"]) for each in found]


async def test_a_start_in_utc_is_said_by_the_start_itself(served: Served) -> None:
    async with open_client(served.path) as hub:
        rows = [{"line": 2, "values": {"email": "ann@example.com"}}]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="one")
        await apply(hub, subject="Hello", text="Hi", schedule={"window": "08:00-21:00"})
        (warning,) = (await hub.call("campaign.start", name="spring"))["warnings"]
        assert "UTC" in warning
