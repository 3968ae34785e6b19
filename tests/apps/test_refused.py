"""A campaign that paused because many were refused alike: the commands name them, fail them, or pass them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apps.conftest import Hub, new_hub
from tests.whole.world import hostile, provider

STALE, PEOPLE = 8, 30


@pytest.fixture
def paused() -> Iterator[Hub]:
    """A campaign to thirty; the server refuses the first eight with a text that hubd does not know."""
    with new_hub() as hub, hostile(hub.folder) as server:
        refused = {f"p{n}@example.com": {"rcpt": ["550 xyzzy"] * 50} for n in range(STALE)}
        server.mood(to=refused)
        hub.file("hubd.toml", provider("relay", server.port, connections=2))
        hub.ok("daemon", "reload")
        hub.contacts(PEOPLE)
        hub.campaign("spring", provider="relay")
        hub.ok("start", "spring")
        hub.ok("wait", "spring", "--for", "paused")
        yield hub


def test_the_paused_campaign_says_who_and_what_to_do(paused: Hub) -> None:
    view = paused.json("status", "spring")["campaign"]
    count = view["refused"]
    assert 5 <= count <= STALE
    assert "@" not in view["reason"]
    told = paused.ok("status", "spring")
    assert (
        f"{count} recipients got the refusal that paused the campaign: hubctl deliveries spring --refused"
        in told
    )
    assert "hubctl resume spring --fail-refused" in told
    asked = paused.run("failures", "spring")
    assert "hubctl deliveries spring --refused" in asked.stderr
    assert "nothing went wrong" not in asked.stderr
    listed = paused.json("deliveries", "spring", "--refused")["deliveries"]
    assert len(listed) == count
    assert {(each["state"], each["reason"], each["code"]) for each in listed} == {
        ("pending", "recipient_refused", 550)
    }
    assert "example.com" not in (paused.folder / "hubd.log").read_text()
    assert paused.run("deliveries", "spring", "--refused", "--state", "sent").returncode == 2


def test_they_can_be_failed_without_another_try_also_after_a_restart(paused: Hub) -> None:
    paused.end()
    paused.boot()
    count = paused.json("status", "spring")["campaign"]["refused"]
    would = f"would fail {count} refused recipients and resume spring: {PEOPLE - count} recipients are left\n"
    assert paused.ok("resume", "spring", "--fail-refused", "--dry-run") == would
    planned = paused.json("resume", "spring", "--fail-refused", "--dry-run")["would"]
    assert planned == {"change": True, "state": "running", "failed": count}
    assert paused.json("status", "spring")["campaign"]["refused"] == count, "nothing was changed"
    done = paused.json("resume", "spring", "--fail-refused")
    assert (done["failed"], done["campaign"]["refused"]) == (count, 0)
    paused.ok("wait", "spring", "--for", "completed")
    counts = paused.json("status", "spring")["campaign"]["counts"]
    assert (counts["sent"], counts["failed"]) == (PEOPLE - STALE, STALE)


def test_a_plain_resume_goes_past_them(paused: Hub) -> None:
    for _ in range(3):
        if paused.run("resume", "spring", "--wait").returncode == 0:
            break
    counts = paused.json("status", "spring")["campaign"]["counts"]
    assert (counts["sent"], counts["failed"]) == (PEOPLE - STALE, STALE)
