"""A campaign that repeats, over the end of the daemon at bad moments: each of its times once, or told."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from tests.whole.conftest import Hub
from tests.whole.invariants import check_records
from tests.whole.test_failpoints import killed


def bring_forward(hub: Hub, at: float) -> None:
    """While no daemon runs: the series waits for a time that has just passed."""
    with closing(sqlite3.connect(hub.state / "hub.db")) as db:
        db.execute("UPDATE campaign SET scheduled_at = ? WHERE name = 'news'", (at,))
        db.commit()


def occurrences(hub: Hub) -> list[tuple[str, str | None]]:
    with closing(sqlite3.connect(hub.state / "hub.db")) as db:
        return db.execute(
            "SELECT outcome, name FROM occurrence LEFT JOIN campaign ON campaign.id = campaign_id ORDER BY at"
        ).fetchall()


def test_an_occurrence_over_the_end_of_the_daemon_is_started_once(hub: Hub) -> None:
    passed = time.time() // 60 * 60
    daily = f"daily {time.gmtime(passed + 12 * 3600).tm_hour}:00"  # not while the test runs
    hub.boot()
    hub.contacts(20)
    path = hub.folder / "news.toml"
    path.write_text(
        'name = "news"\nchannel = "email"\nlists = ["all"]\nkind = "transactional"\n'
        f'sender = "a@acme.example"\nsubject = "Hi"\ntext = "Hi"\n'
        f'schedule = {{ every = "{daily}", timezone = "UTC" }}\n'
    )
    hub.hubctl("apply", str(path))
    assert f"repeats {daily} (UTC)" in hub.hubctl("start", "news")
    assert hub.end() == 0
    bring_forward(hub, passed)
    hub.launch(fail="in_occurrence:1")
    check_records(killed(hub))
    assert occurrences(hub) == [], "all of it, or nothing"
    hub.launch(fail="in_freeze:1")  # it was made, and has no recipient yet
    check_records(killed(hub))
    ((outcome, name),) = occurrences(hub)
    assert outcome == "started"
    hub.boot()
    hub.hubctl("wait", str(name), "--timeout", "60s")
    assert hub.campaign(str(name))["counts"]["sent"] == 20
    assert hub.campaign("news")["state"] == "scheduled"
    assert hub.end() == 0
    # The clock was set back over it: it is not made again.
    bring_forward(hub, passed)
    hub.boot()
    hub.hubctl("stop", "news")
    assert hub.end() == 0
    assert occurrences(hub) == [("started", name)]
    assert len(list((hub.state / "outbox").glob("news.*/*.eml"))) == 20
