"""A message of a campaign to an address of one's own."""

from __future__ import annotations

from pathlib import Path

from hubd.client import open_client
from tests.shell.open_hub import open_hub
from tests.shell.test_methods import apply, import_people


async def test_who_unsubscribes_from_a_test_unsubscribes_no_customer(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 1)
        await apply(hub, unsubscribe="https://acme.example/u/{{ contact_id }}")
        sent = await hub.call("campaign.test", name="spring", to="me@acme.example")
        message = (await hub.call("delivery.get", id=sent["delivery_id"]))["content"]["source"]
        contact = (await hub.call("contacts.get", key="p0@example.com"))["contact"]["contact_id"]
    assert "Hello N0" in message
    assert "https://acme.example/u/test" in message
    assert contact not in message
