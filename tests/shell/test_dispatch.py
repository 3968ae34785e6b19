"""Commands: once per key, at the revision asked for, and stopping works when the disk does not."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hubd.client import open_client
from hubd.control.fingerprint import fingerprint
from hubd.control.methods import METHODS
from hubd.errors import BadInput, Conflict, HubError, RevisionConflict, StoreUnavailable
from hubd.store.housekeeping import tidy
from hubd.wire.campaign_params import CampaignApply, CampaignClone, CampaignStart
from hubd.wire.contact_params import ContactRemove, SuppressionAdd, SuppressionRemove
from hubd.wire.message_params import MessageSend
from hubd.wire.params import Params
from tests.shell.open_hub import PLAIN, open_hub

SPEC = PLAIN | {"provider": "outbox", "lists": ["all"]}


async def test_a_repeated_key_gets_the_first_answer_over_a_restart(tmp_path: Path) -> None:
    add = {"channel": "email", "address": "ann@example.com", "idempotency_key": "k1"}
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        assert await hub.call("suppression.add", **add) == {"changed": True}
        assert await hub.call("suppression.add", **add) == {"changed": True}
        assert await hub.call("suppression.add", **(add | {"idempotency_key": "k2"})) == {"changed": False}
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        assert await hub.call("suppression.add", **add) == {"changed": True}


async def test_a_key_for_another_request_is_refused_and_nothing_is_done(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await hub.call("suppression.add", channel="email", address="ann@example.com", idempotency_key="k")
        with pytest.raises(Conflict) as caught:
            await hub.call("suppression.add", channel="email", address="bob@example.com", idempotency_key="k")
        assert caught.value.code == "key_used"
        listed = await hub.call("suppression.list")
        assert [entry["address"] for entry in listed["suppressions"]] == ["ann@example.com"]
        # Another method has keys of its own.
        await hub.call("suppression.remove", channel="email", address="ann@example.com", idempotency_key="k")


async def test_keys_of_hubds_own_messages_are_refused(tmp_path: Path) -> None:
    """A client that guessed one would keep a notification from being sent."""
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        letter = {"provider": "outbox", "to": "ann@example.com", "sender": "hub@acme.example", "text": "Hi"}
        for key in ("notify:1:1:completed", "notify:"):
            with pytest.raises(BadInput, match="begin with notify: are hubd's own"):
                await hub.call("message.send", **letter, subject="Hi", idempotency_key=key)
        await hub.call("message.send", **letter, subject="Hi", idempotency_key="notify")
        assert len((await hub.call("message.list"))["messages"]) == 1


async def test_who_repeats_a_request_that_is_under_way_waits_for_its_answer(tmp_path: Path) -> None:
    begun, go_on = trio.Event(), trio.Event()
    times = 0

    async def slow() -> list[str]:
        nonlocal times
        times += 1
        begun.set()
        await go_on.wait()
        return [f"time {times}"]

    answers: list[Any] = []
    async with open_hub(tmp_path, reload=slow) as served:

        async def ask() -> None:
            async with open_client(served.path) as hub:
                answers.append(await hub.call("hub.reload", idempotency_key="k"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await begun.wait()
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.05)
            go_on.set()
    assert [answer["applied"] for answer in answers] == [["time 1"], ["time 1"]]


async def test_a_request_that_failed_may_be_repeated_with_its_key(tmp_path: Path) -> None:
    tries = 0

    async def moody() -> list[str]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreUnavailable("the disk is full")
        return ["done"]

    async with open_hub(tmp_path, reload=moody) as served, open_client(served.path) as hub:
        with pytest.raises(StoreUnavailable):
            await hub.call("hub.reload", idempotency_key="k")
        assert (await hub.call("hub.reload", idempotency_key="k"))["applied"] == ["done"]


async def test_the_daemon_can_be_stopped_when_nothing_can_be_written(tmp_path: Path) -> None:
    class Full:
        """A disk that takes nothing."""

        async def first(self, *_: object, **__: object) -> None:
            raise StoreUnavailable("the disk is full")

        carry_out = first

    async with open_hub(tmp_path, commands=Full()) as served, open_client(served.path) as hub:
        await hub.call("hub.shutdown", idempotency_key="k")
        assert served.stopped.is_set()


async def test_a_change_to_another_revision_is_refused(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await hub.call("campaign.apply", spec=SPEC, if_revision=0)
        applied = await hub.call("campaign.apply", spec={**SPEC, "text": "Hello again"}, if_revision=1)
        revision = applied["campaign"]["revision"]
        for method, params in [
            ("campaign.start", {}),
            ("campaign.pause", {}),
            ("campaign.rate", {"rate": "5/s"}),
            ("campaign.delete", {}),
            ("campaign.schedule", {"at": "2999-01-01T00:00:00Z"}),
        ]:
            with pytest.raises(RevisionConflict) as caught:
                await hub.call(method, name="spring", if_revision=revision - 1, **params)
            assert caught.value.data["current"] == revision
        assert await hub.call("campaign.rate", name="spring", rate="5/s", if_revision=revision)


async def test_of_two_that_change_one_revision_one_wins(tmp_path: Path) -> None:
    won: list[str] = []
    lost: list[HubError] = []
    async with open_hub(tmp_path) as served:

        async def change(text: str) -> None:
            async with open_client(served.path) as hub:
                try:
                    await hub.call("campaign.apply", spec={**SPEC, "text": text}, if_revision=1)
                    won.append(text)
                except RevisionConflict as error:
                    lost.append(error)

        async with open_client(served.path) as hub:
            await hub.call("campaign.apply", spec=SPEC)
            async with trio.open_nursery() as nursery:
                for text in ("one", "two", "three"):
                    nursery.start_soon(change, text)
            assert (len(won), len(lost)) == (1, 2)
            assert (await hub.call("campaign.get", name="spring"))["spec"]["text"] == won[0]


async def test_answers_are_forgotten_after_thirty_days(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await hub.call("hub.reload", idempotency_key="k")
        now = served.hub.now()
        assert (await tidy(served.hub.database, now=now + 29 * 86_400)).requests == 0
        assert (await tidy(served.hub.database, now=now + 31 * 86_400)).requests == 1
        with sqlite3.connect(tmp_path / "hub.db") as db:
            assert db.execute("SELECT count(*) FROM answer").fetchone() == (0,)
        db.close()


def test_every_command_takes_a_key_and_can_be_tried_out() -> None:
    for method in METHODS.values():
        if method.mutates:
            assert "idempotency_key" in method.params.__struct_fields__, method.name
            assert "dry_run" in method.params.__struct_fields__, method.name


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_a_fingerprint_is_of_what_is_asked_and_not_of_how(spec: dict[str, object]) -> None:
    turned = dict(reversed(spec.items()))
    one = CampaignApply(spec=spec, idempotency_key="a")
    assert fingerprint(one) == fingerprint(CampaignApply(spec=turned, idempotency_key="b"))
    assert fingerprint(one) != fingerprint(CampaignApply(spec=spec, idempotency_key="a", dry_run=True))


@pytest.mark.parametrize(
    ("params", "before"),
    [
        (
            SuppressionAdd(channel="email", address="a@b.example", idempotency_key="k"),
            b'{"channel":"email","address":"a@b.example","reason":"","idempotency_key":null,"imported":false}',
        ),
        (
            SuppressionRemove(channel="email", address="a@b.example", idempotency_key="k"),
            b'{"channel":"email","address":"a@b.example","idempotency_key":null}',
        ),
        (
            ContactRemove(key="a@b.example", idempotency_key="k"),
            b'{"key":"a@b.example","idempotency_key":null}',
        ),
        (
            CampaignStart(name="spring", idempotency_key="k"),
            b'{"name":"spring","limit":null,"at":null,"accept_risk":[],"dry_run":false,"idempotency_key":null,'
            b'"if_revision":null}',
        ),
        (
            CampaignApply(spec={}, idempotency_key="k"),
            b'{"spec":{},"if_revision":null,"idempotency_key":null,"dry_run":false}',
        ),
        (
            CampaignClone(name="spring", new="summer", idempotency_key="k"),
            b'{"name":"spring","new":"summer","idempotency_key":null}',
        ),
        (
            MessageSend(provider="outbox", to="a@b.example", idempotency_key="k"),
            b'{"provider":"outbox","to":"a@b.example","template":null,"subject":"","text":"","html":"","sender":"",'
            b'"fields":{},"idempotency_key":null}',
        ),
    ],
)
def test_a_request_is_known_again_whose_key_version_0_1_kept(params: Params, before: bytes) -> None:
    """It had fewer parameters."""
    assert fingerprint(params) == hashlib.sha256(before).digest()
