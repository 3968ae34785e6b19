"""Notifications by email, with real servers: one that refuses the login, and another one that takes mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubd.core.notices import MOST
from tests.interposed import Interposed
from tests.whole.chaos_processes import ChaosHub
from tests.whole.conftest import Hub, Witness, ended, until
from tests.whole.invariants import check_records, read_records
from tests.whole.test_failpoints import killed
from tests.whole.world import hostile, provider, secret

OPS = "ops@acme.example"
NOTIFY = f'[notify]\nemail = ["{OPS}"]\nprovider = "broken"\nsender = "Hub <hub@acme.example>"\n'
LATER = MOST + 1  #: campaigns that end while no email can be sent


def messages(hub: Hub) -> list[dict[str, Any]]:
    """The emails about notifications, the oldest first."""
    listed: list[dict[str, Any]] = hub.told("message.list", "sends", limit=100)["messages"]
    return listed[::-1]


def subjects(hub: Hub) -> list[str]:
    return [each["subject"] for each in messages(hub)]


def test_an_email_about_a_broken_provider_arrives_once_over_kills_and_through_another_one(
    tmp_path: Path, witness: Witness
) -> None:
    hub = ChaosHub(tmp_path, failures=Interposed.controlled_in(tmp_path))
    with hostile(tmp_path, "broken", "--login", "news:right") as broken, ended(hub):
        login = {"username": "news", "password": "pass"}
        hub.config = provider("broken", broken.port, **login) + provider("office", witness.port) + NOTIFY
        secret(hub, "wrong")
        hub.boot(fail="in_notice:1")
        hub.contacts(3)
        hub.apply("spring", provider="broken")
        hub.ask("start", "spring")
        left = killed(hub)  # the campaign is paused, which is news, and the email is not queued
        check_records(left)
        assert [row["state"] for row in left.campaigns if row["name"] == "spring"] == ["paused"]
        assert len(left.deliveries) == 3

        hub.launch(fail="before_dot:1")
        left = killed(hub)  # it is on its way, and the last byte has not left
        check_records(left)
        assert [row["state"] for row in left.deliveries if row["single"]] == ["sending"]
        assert witness.lines() == []

        hub.boot()  # what was cut off is tried again at once
        until(lambda: witness.accepted()[OPS] == 1, "the email", hub.log)
        assert subjects(hub) == ["spring is paused"]

        hub.hubctl("provider", "disable", "office")
        for n in range(LATER):
            hub.apply(f"c{n}", provider="outbox")
            hub.hubctl("start", f"c{n}", "--wait")
        hub.hubctl("provider", "enable", "office")
        until(lambda: witness.accepted()[OPS] == 2, "the digest", hub.log)
        assert subjects(hub) == ["spring is paused", f"{LATER} notifications from MessageHub"]
        listed = hub.json("notifications", "--unread")["notifications"]
        told = [(each["kind"], each["about"]) for each in reversed(listed)]
        assert told == [("paused", "spring"), *(("completed", f"c{n}") for n in range(LATER))]
        assert hub.end() == 0
        records = read_records(hub.state)
        check_records(records)
        assert witness.accepted() == {OPS: 2}
        assert broken.lines() == [], "nothing went through the provider that the first one is about"
        through = {row["id"]: row["provider"] for row in records.campaigns}
        assert {through[row["campaign_id"]] for row in records.deliveries if row["single"]} == {"office"}
