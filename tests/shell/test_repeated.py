"""A request that is repeated with its key is answered as the first time, whatever has changed since then."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hubd.client import Client, open_client
from hubd.errors import Conflict, ProviderUnavailable, StoreUnavailable
from tests.shell.broken_disk import broken_disk
from tests.shell.open_hub import open_hub
from tests.shell.test_methods import SPEC, apply, import_people, until

KEY = {"idempotency_key": "once"}
WORDS = {"sender": "a@acme.example", "subject": "Hi", "text": "Hello"}


async def disable(hub: Client) -> None:
    await hub.call("provider.disable", name="outbox")
    with pytest.raises(ProviderUnavailable):
        await hub.call("message.send", provider="outbox", to="p0@example.com", **WORDS)


async def delete(hub: Client) -> None:
    await hub.call("campaign.delete", name="spring")


async def change(hub: Client) -> None:
    await hub.call("campaign.apply", spec={**SPEC, "text": "Other words"})


async def forget(hub: Client) -> None:
    await hub.call("contacts.remove", key="p0@example.com")


CHANGES = [disable, delete, change, forget]


@pytest.mark.parametrize("happened", CHANGES)
async def test_a_message_is_found_again_by_its_key_whatever_has_changed(
    tmp_path: Path, happened: Callable[[Client], Awaitable[None]]
) -> None:
    send = {"provider": "outbox", "to": "p0@example.com", "template": "spring", **KEY}
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 1)
        await apply(hub)
        first = await hub.call("message.send", **send)
        await happened(hub)
        again = await hub.call("message.send", **send)
        assert again["delivery_id"] == first["delivery_id"]
        erased = happened is forget  # perhaps before it was tried: then nothing says what it would have been
        assert again["message_id"] in {first["message_id"], *([""] if erased else [])}
        with pytest.raises(Conflict) as caught:
            await hub.call("message.send", **send, fields={"first_name": "Other"})
        assert caught.value.code == "key_used"
        assert caught.value.data["delivery_id"] == first["delivery_id"]


@pytest.mark.parametrize("happened", CHANGES)
async def test_a_test_message_is_found_again_by_its_key_whatever_has_changed(
    tmp_path: Path, happened: Callable[[Client], Awaitable[None]]
) -> None:
    test = {"name": "spring", "to": "me@example.com", **KEY}
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 1)
        await apply(hub)
        first = await hub.call("campaign.test", **test)
        await happened(hub)
        assert await hub.call("campaign.test", **test) == first


async def test_a_key_that_was_kept_by_an_earlier_version_still_finds_its_message(tmp_path: Path) -> None:
    send = {"provider": "outbox", "to": "p0@example.com", **WORDS, **KEY}
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        first = await hub.call("message.send", **send)
        await served.database.write(lambda unit: unit.db.execute("UPDATE request SET fingerprint = x''"))
        assert (await hub.call("message.send", **send))["delivery_id"] == first["delivery_id"]
        with pytest.raises(Conflict):
            await hub.call("message.send", **send | {"to": "p1@example.com"})


async def test_a_command_is_answered_from_what_was_kept_before_the_present_state_is_looked_at(
    tmp_path: Path,
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("campaign.schedule", {"name": "spring", "at": "2999-01-01T00:00:00Z"}),
        ("campaign.clone", {"name": "spring", "new": "copy"}),
        ("campaign.start", {"name": "spring", "limit": 1}),
        ("campaign.resume", {"name": "spring"}),
        ("campaign.retry", {"name": "spring", "class": "all"}),
        ("contacts.remove", {"key": "p0@example.com"}),
        ("campaign.delete", {"name": "spring"}),
    ]
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 2)
        await apply(hub)
        answers = []
        for method, params in asked:
            answers.append(await hub.call(method, **params, **KEY))
            if method == "campaign.start":
                await until(hub, "spring", "paused")
            if method == "campaign.resume":
                await until(hub, "spring", "completed")
        await disable(hub)
        assert [await hub.call(method, **params, **KEY) for method, params in asked] == answers


async def test_a_kept_answer_is_given_while_the_disk_takes_nothing(tmp_path: Path) -> None:
    """Otherwise the repetition would be carried out once more: the provider would be disabled again."""
    with broken_disk(tmp_path) as disk:
        async with open_hub(tmp_path) as served, open_client(served.path) as hub:
            first = await hub.call("provider.disable", name="outbox", **KEY)
            await hub.call("provider.enable", name="outbox")
            disk.fails = lambda op: sqlite3.SQLITE_FULL if op.kind == "write" else 0
            with pytest.raises(StoreUnavailable):
                await hub.call("suppression.add", channel="email", address="ann@example.com")
            assert await hub.call("provider.disable", name="outbox", **KEY) == first
            with pytest.raises(Conflict):
                await hub.call("provider.disable", name="other", **KEY)
            (shown,) = (await hub.call("provider.list"))["providers"]
            assert shown["state"] == "ready", shown
            disk.fails = lambda op: 0
