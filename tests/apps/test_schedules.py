"""Schedules on the command line: said as people say them, and shown with the day that was understood."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hubctl import start_times
from tests.apps.conftest import Hub

BERLIN = ZoneInfo("Europe/Berlin")


def test_what_is_due_when_is_shown_in_the_local_zone_and_in_utc(hub: Hub) -> None:
    hub.environ["TZ"] = "Europe/Berlin"
    hub.contacts(2)
    hub.campaign("spring")
    day = datetime.now(BERLIN).date() + timedelta(1)
    at = datetime(day.year, day.month, day.day, 9, tzinfo=BERLIN)  # as long as the day does not end just now
    shown = start_times.shown(at.isoformat(), "Europe/Berlin")
    assert f"on {shown}" in hub.ok("start", "spring", "--at", "tomorrow 9:00", "--dry-run")
    assert hub.ok("start", "spring", "--at", "tomorrow 9:00") == f"spring is scheduled for {shown}\n"
    assert shown in hub.ok("status", "spring")
    head, row = hub.ok("list").splitlines()
    assert row[head.index("STARTS") :].startswith(f"{at:%Y-%m-%d %H:%M:%S}")
    hub.ok("stop", "spring")
    assert "STARTS" not in hub.ok("list")
    tokyo = hub.json("start", "spring", "--at", f"{day} 9:00", "--timezone", "asia/tokyo")
    assert tokyo["campaign"]["scheduled_at"] == f"{day}T00:00:00.000Z"
    for wrong in ("tomorrow", "tomorrow 9", "9:00 Nowhere/City"):
        done = hub.run("start", "spring", "--at", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: --at: ")
    past = hub.run("start", "spring", "--at", "2026-01-01 9:00")
    assert past.returncode == 2
    assert "2026-01-01T09:00:00+01:00 is in the past" in past.stderr
    hub.ok("apply", hub.file("f.toml", FILE))
    assert hub.json("show", "timed")["spec"]["schedule"]["at"] == "2999-07-01T09:00:00+02:00"


FILE = """
name = "timed"
channel = "sms"
text = "Hi"
lists = ["all"]
[schedule]
at = 2999-07-01T09:00:00
"""


@pytest.mark.parametrize(
    ("named", "zone"),
    [("Europe/Berlin", "Europe/Berlin"), (":UTC", "UTC"), ("", "UTC"), ("CET-1CEST", ""), ("../etc", "")],
)
def test_the_zone_of_the_environment(monkeypatch: pytest.MonkeyPatch, named: str, zone: str) -> None:
    monkeypatch.setenv("TZ", named)
    assert start_times.local_zone() == zone


def test_the_zone_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    place, named = tmp_path / "localtime", tmp_path / "timezone"
    monkeypatch.setattr(start_times, "_LOCALTIME", place)
    monkeypatch.setattr(start_times, "_NAMED", named)
    assert start_times.local_zone() == "UTC"
    zones = tmp_path / "zoneinfo/Asia"
    zones.mkdir(parents=True)
    (zones / "Tokyo").touch()
    place.symlink_to(zones / "Tokyo")
    assert start_times.local_zone() == "Asia/Tokyo"
    place.unlink()
    place.touch()
    assert start_times.local_zone() == ""
    named.write_text("Asia/Kolkata\n")
    assert start_times.local_zone() == "Asia/Kolkata"


@pytest.mark.parametrize(
    ("text", "zone", "shown"),
    [
        ("2026-12-01T08:00:00.000Z", "Europe/Berlin", "Tuesday 2026-12-01 09:00 CET (2026-12-01 08:00 UTC)"),
        (
            "2026-12-01T20:00:00.000Z",
            "Asia/Kathmandu",
            "Wednesday 2026-12-02 01:45 +0545 (2026-12-01 20:00 UTC)",
        ),
        ("2026-12-01T08:00:00.000Z", "UTC", "Tuesday 2026-12-01 08:00 UTC"),
        ("soon", "UTC", "soon"),
        (None, None, ""),
    ],
)
def test_a_start_has_its_day_of_the_week_and_both_times(
    text: str | None, zone: str | None, shown: str
) -> None:
    assert start_times.shown(text, zone) == shown
