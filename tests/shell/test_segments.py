"""What an SMS campaign costs is counted over every recipient: one name outside of GSM 7 doubles a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hubd.client import Client, open_client
from tests.shell.open_hub import Served

TEXT = (
    "Don't miss it, {{ first_name }}: our spring sale ends on Sunday at midnight. "
    "20 % off everything in store and online."
)
NAMES = ("Ann", "Zoë", "Łukasz", "Anaïs", "Ann")


async def ready(hub: Client, names: Sequence[str | None], **changes: Any) -> dict[str, Any]:
    """What `check` says of a campaign to people with these names."""
    rows = [
        {"line": line, "values": {"phone": f"+1415555{2600 + line}", "first_name": name or ""}}
        for line, name in enumerate(names, 2)
    ]
    await hub.call("contacts.import", list="people", rows=rows, import_id="one")
    spec = {"name": "s", "channel": "sms", "lists": ["people"], "text": TEXT, **changes}
    await hub.call("campaign.apply", spec=spec)
    return await hub.call("campaign.check", name="s")


async def previews(hub: Client) -> list[int]:
    """What each recipient's own message costs."""
    contacts = (await hub.call("contacts.list", list="people"))["contacts"]
    shown = [await hub.call("campaign.preview", name="s", to=each["phone"]) for each in contacts]
    return [each["segments"] for each in shown]


async def test_the_segments_of_all_recipients_are_counted(served: Served) -> None:
    async with open_client(served.path) as hub:
        found = await ready(hub, NAMES)
        each = await previews(hub)
        assert each == [1, 2, 2, 2, 1]
        said = found["segments"]
        assert (said["segments"], said["least"], said["most"], said["total"]) == (1, 1, 2, sum(each))


async def test_whom_a_message_cannot_be_written_for_costs_nothing(served: Served) -> None:
    async with open_client(served.path) as hub:
        found = await ready(hub, ("Ann", None, "Zoë"))
        assert found["segments"]["total"] == 3
        assert not found["ok"]


@pytest.mark.parametrize("text", ["Hi", "Hi {{ first_name | default('there') }} {{ phone }}"])
async def test_a_short_text_is_one_segment_for_each(served: Served, text: str) -> None:
    async with open_client(served.path) as hub:
        said = (await ready(hub, ("Ann", None), text=text))["segments"]
        assert (said["least"], said["most"], said["total"]) == (1, 1, 2)


async def test_the_estimate_is_that_of_the_segments_which_the_limits_count(served: Served) -> None:
    async with open_client(served.path) as hub:
        found = await ready(hub, NAMES, rate=["1/minute"])
        assert found["estimate"]["messages"] == 5
        assert found["segments"]["total"] == 8
        assert found["estimate"]["seconds"] == (8 - 1) * 60
