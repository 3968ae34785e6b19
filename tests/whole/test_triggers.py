"""A welcome mail over the end of the daemon: each contact who was added gets one, ahead of campaigns."""

from __future__ import annotations

import csv
from pathlib import Path

from hubd.client import connect
from tests.whole.conftest import Hub, until
from tests.whole.invariants import check_crash, check_settled, read_records
from tests.whole.outside import CAMPAIGN, open_outside
from tests.whole.test_failpoints import killed


def people(hub: Hub, n: int) -> str:
    path = hub.folder / f"new{n}.csv"
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["email", "first_name"])
        out.writerows([f"new{i}@example.com", f"N{i}"] for i in range(n))
    return str(path)


def test_everybody_who_is_added_is_welcomed_once_over_kills(hub: Hub, tmp_path: Path) -> None:
    with open_outside(tmp_path, "email", connections=4, delay=0.0) as outside:
        outside.set_up(hub, 1, "hold")
        hub.hubctl("credits", "grant", "team", "6000")
        hub.apply(CAMPAIGN, in_doubt="hold", lists=None, credits="team", **{"trigger.list": "all"})
        hub.hubctl("start", CAMPAIGN)
        assert hub.end() == 0
        hub.boot(fail="in_trigger:2")  # the first page is welcomed, the second one is not even stored
        file = people(hub, 3000)
        assert hub.ask("import", file, "--list", "all").returncode != 0
        left = killed(hub)
        check_crash(left, 4)
        assert 0 < len(left.deliveries) < 3000
        assert left.members == len(left.deliveries) + 1, "who is on the list is a recipient, and nobody else"
        hub.boot()
        for _ in range(2):
            hub.hubctl("import", file, "--list", "all")
        with connect(hub.state / "control.sock") as client:
            client.call("contacts.add", list="all", email="last@example.com", fields={"first_name": "Z"})
        until(lambda: hub.campaign(CAMPAIGN)["counts"]["pending"] == 0, "all are sent")
        until(lambda: hub.campaign(CAMPAIGN)["counts"]["sending"] == 0, "all are sent")
        assert hub.campaign(CAMPAIGN)["state"] == "running"
        hub.hubctl("stop", CAMPAIGN)
        assert hub.end() == 0
        outside.over()
        records = read_records(hub.state)
        audience = {f"new{i}@example.com" for i in range(3000)} | {"last@example.com"}
        check_settled(records, outside.copies(), "hold", audience)


def test_a_welcome_does_not_wait_for_a_campaign(hub: Hub, tmp_path: Path) -> None:
    with open_outside(tmp_path, "email", connections=2, delay=0.05) as outside:
        outside.set_up(hub, 400, "hold")  # ten seconds of bulk
        hub.apply("welcome", lists=None, **{"trigger.list": "new"})
        hub.contacts(1, listed="new")
        hub.hubctl("start", "welcome")
        hub.hubctl("start", CAMPAIGN)
        with connect(hub.state / "control.sock") as client:
            client.call("contacts.add", list="new", email="ann@example.com", fields={"first_name": "Ann"})
            until(lambda: hub.campaign("welcome")["counts"]["sent"] == 1, "the welcome")
            assert client.call("campaign.get", name=CAMPAIGN)["campaign"]["counts"]["pending"] > 200
        hub.hubctl("stop", "*")
        assert hub.end() == 0
