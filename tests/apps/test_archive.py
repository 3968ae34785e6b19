"""Cloning a campaign, and archiving those that have ended."""

from __future__ import annotations

import json

from tests.apps.conftest import Hub


def names(hub: Hub, *options: str) -> list[str]:
    return [view["name"] for view in hub.json("list", *options)["campaigns"]]


def test_a_clone_is_a_draft_that_says_the_same_to_the_same_lists(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring", rate="50/s", in_doubt="hold")
    hub.ok("start", "spring", "--wait")
    hub.ok("rate", "spring", "7/s")
    found = hub.json("clone", "spring", "summer")
    assert found["changed"] is True
    assert (found["campaign"]["state"], found["campaign"]["counts"]["total"]) == ("draft", 0)
    old, new = hub.json("show", "spring"), hub.json("show", "summer")
    assert new["spec"] == {**old["spec"], "name": "summer", "rate": ["7/s"]}, "as it is now, not as applied"
    assert new["campaign"]["in_doubt"] == "hold"
    assert new["campaign"]["started_at"] is None
    assert hub.json("start", "summer", "--wait")["campaign"]["counts"]["sent"] == 3
    assert hub.json("status", "spring")["campaign"]["counts"]["sent"] == 3


def test_cloning_twice_is_done_already_and_another_campaign_is_not_overwritten(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    hub.ok("clone", "spring", "summer")
    assert hub.json("clone", "spring", "summer")["changed"] is False
    hub.campaign("other", text="Something else")
    for new in ("other", "spring"):
        done = hub.run("clone", "spring", new, "--json")
        assert done.returncode == 5, new
        assert json.loads(done.stderr)["error"]["code"] == "name_taken"
    assert hub.json("show", "other")["spec"]["text"] == "Something else"
    assert hub.run("clone", "nobody", "x").returncode == 3
    for bad in ("Spring", "-x", "a b", "x" * 65, "x\n"):
        assert hub.run("clone", "spring", bad).returncode == (2 if bad.startswith("-") else 1), bad


def test_a_clone_brings_its_attachments(hub: Hub) -> None:
    hub.contacts(1)
    hub.file("flyer.bin", b"flyer")
    hub.campaign("spring", attachments=["flyer.bin"])
    hub.ok("clone", "spring", "summer")
    hub.ok("delete", "spring", "--yes")
    assert "flyer.bin" in hub.ok("preview", "summer", "--source")


def test_only_what_has_ended_can_be_archived(hub: Hub) -> None:
    hub.contacts(100)
    hub.campaign("spring", rate="1/s")
    assert "delete it instead" in hub.run("archive", "spring").stderr
    hub.ok("start", "spring")
    done = hub.run("archive", "spring")
    assert done.returncode == 5
    assert "stop it first" in done.stderr
    hub.ok("pause", "spring")
    assert hub.run("archive", "spring").returncode == 5
    hub.ok("stop", "spring")
    assert hub.json("archive", "spring")["changed"] is True
    assert hub.json("archive", "spring")["changed"] is False
    assert hub.run("archive", "nobody").returncode == 3


def test_what_is_archived_is_out_of_the_lists_and_not_gone(hub: Hub) -> None:
    hub.contacts(2)
    for name in ("spring", "summer"):
        hub.campaign(name)
    hub.ok("start", "spring", "--wait")
    hub.ok("archive", "spring")
    assert names(hub) == ["summer"]
    assert "spring" not in hub.ok()
    assert names(hub, "--all") == ["spring", "summer"]
    assert hub.json("list", "--all")["archived"] == ["spring"]
    assert "(archived)" in hub.ok("list", "--all")
    assert hub.json("status", "spring")["campaign"]["counts"]["sent"] == 2
    assert hub.json("show", "spring")["archived"] is True
    assert len(hub.json("deliveries", "spring")["deliveries"]) == 2
    assert "archived" in hub.ok("log", "spring")
    hub.end()
    hub.boot()
    assert names(hub) == ["summer"]
    assert hub.json("archive", "spring", "--undo")["changed"] is True
    assert names(hub) == ["spring", "summer"]
    assert hub.json("archive", "spring", "--undo")["changed"] is False


def test_a_campaign_that_runs_again_is_in_the_lists_again(hub: Hub) -> None:
    hub.contacts(50)
    hub.campaign("spring", rate="1/s")
    hub.ok("start", "spring")
    hub.ok("stop", "spring")
    hub.ok("archive", "spring")
    hub.ok("start", "spring")
    assert names(hub) == ["spring"]
    assert hub.json("show", "spring")["archived"] is False
