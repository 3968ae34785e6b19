"""The main job, end to end, with real processes: a CSV becomes a campaign and everybody is accounted for."""

from __future__ import annotations

import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import launcher
from tests.ports import own_port
from tests.whole.conftest import (
    ROOT,
    Hub,
    Witness,
    reconcile,
    sink_config,
    smtp_sink_command,
    until,
)


def test_from_csv_to_completed(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port)
    hub.boot()
    path = hub.folder / "people.csv"
    path.write_bytes(
        "\ufeffEmail;First Name\r\n"
        "ada@example.com;Ada\r\n"
        "ADA@EXAMPLE.COM;Twice\r\n"
        'zoe@example.com;"Zoë\r\nof Springfield"\r\n'
        "not-an-address;Bob\r\n"
        "x@exämple.com;Jörg\r\n".encode()
    )
    report = hub.json("import", str(path), "--list", "all", code=9)
    assert {key: report[key] for key in ("rows", "imported", "duplicates", "invalid")} == {
        "rows": 5, "imported": 3, "duplicates": 1, "invalid": 1,
    }  # fmt: skip
    again = hub.json("import", str(path), "--list", "all", code=9)
    assert (again["imported"], again["updated"], again["unchanged"]) == (0, 0, 3)
    hub.apply("story")
    assert hub.campaign("story")["state"] == "draft"
    hub.hubctl("check", "story")
    hub.hubctl("start", "story", "--wait")
    counts = reconcile(hub, witness, "story", 3)
    assert counts["sent"] == 3
    assert witness.accepted() == Counter(["ada@example.com", "zoe@example.com", "x@xn--exmple-cua.com"])
    row = next(row for row in hub.deliveries("story") if row["recipient"] == "zoe@example.com")
    life = hub.hubctl("message", str(row["id"]))
    assert "Hi Zoë" in life
    assert row["message_id"] in witness.message_ids("zoe@example.com")
    assert hub.end() == 0


@pytest.fixture
def dumps() -> Iterator[Path]:
    """A folder that smtp-sink may write to after it has given up root; pytest's own is for its owner only."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_campaign_of_2000_through_postfix_smtp_sink(hub: Hub, dumps: Path) -> None:
    port = own_port()
    sink = subprocess.Popen(smtp_sink_command(port, dumps))
    try:
        hub.config = sink_config(port, 16)
        hub.boot()
        hub.contacts(2000)
        hub.apply("sink")
        hub.hubctl("start", "sink", "--wait")
        assert hub.campaign("sink")["counts"]["sent"] == 2000
        assert hub.end() == 0
        received = Counter(recipient_in(path) for path in dumps.iterdir())
        assert received == Counter(f"p{i}@example.com" for i in range(2000))
    finally:
        sink.terminate()
        sink.wait()


def recipient_in(dump: Path) -> str:
    """To whom smtp-sink was told to deliver; it writes the RCPT command in front of each message."""
    line = next(line for line in dump.read_text().splitlines() if line.startswith("X-Rcpt-Args:"))
    return line[line.index("<") + 1 : line.index(">")]


@pytest.mark.parametrize("witness", [("--unknown", "3")], indirect=True)
def test_unknown_mailboxes_fail_alone_and_are_suppressed(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port, 8)
    hub.boot()
    hub.contacts(3000)
    hub.apply("unknown", in_doubt="hold")
    hub.hubctl("start", "unknown", "--wait")
    counts = reconcile(hub, witness, "unknown", 3000)
    assert (counts["sent"], counts["failed"], counts["in_doubt"]) == (2000, 1000, 0)
    assert all(row["attempts"] == 1 for row in hub.deliveries("unknown"))
    assert len(hub.hubctl("suppress", "list").splitlines()) >= 1000


@pytest.mark.parametrize("witness", [("--delay", "0.05")], indirect=True)
def test_a_reload_in_the_middle_of_a_campaign_cuts_nothing(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    hub.contacts(400)
    hub.apply("reload", in_doubt="hold")
    hub.hubctl("start", "reload")
    for connections in (6, 3, 8):
        before = len(witness.lines())
        (hub.folder / "hubd.toml").write_text(sink_config(witness.port, connections))
        assert "providers.sink" in hub.hubctl("daemon", "reload")
        until(lambda before=before: len(witness.lines()) > before + 10, "messages after the reload")
    hub.hubctl("wait", "reload", "--for", "completed", "--timeout", "60s")
    assert reconcile(hub, witness, "reload", 400)["sent"] == 400


@pytest.mark.parametrize("witness", [("--delay", "0.01")], indirect=True)
def test_after_pause_answered_the_sinks_count_never_grows(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port)
    hub.boot()
    hub.contacts(1500)
    hub.apply("pause")
    hub.hubctl("start", "pause")
    for goal in (100, 400, 700):
        until(lambda goal=goal: len(witness.lines()) >= goal, "messages")
        paused = hub.json("pause", "pause")
        accepted = len(witness.lines())
        assert paused["changed"] is True
        assert paused["campaign"]["counts"]["sent"] == accepted
        hub.hubctl("list")
        hub.hubctl("deliveries", "pause")  # seconds of other work: long enough for a straggler
        assert len(witness.lines()) == accepted
        hub.hubctl("resume", "pause")
    hub.hubctl("wait", "pause", "--for", "completed", "--timeout", "60s")
    assert reconcile(hub, witness, "pause", 1500)["sent"] == 1500
    assert set(witness.accepted().values()) == {1}


@pytest.mark.parametrize("witness", [("--delay", "0.01"), ("--delay", "0.01", "--lockstep")], indirect=True)
def test_sigterm_in_the_middle_and_again_goes_on_where_it_was(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port)
    hub.boot()
    hub.contacts(1200)
    hub.apply("term")
    hub.hubctl("start", "term")
    for goal in (200, 600):
        until(lambda goal=goal: len(witness.lines()) >= goal, "messages")
        assert hub.end(signal.SIGTERM) == 0
        accepted = len(witness.lines())
        hub.boot()
        assert hub.campaign("term")["counts"]["sent"] >= accepted
    hub.hubctl("wait", "term", "--for", "completed", "--timeout", "60s")
    assert reconcile(hub, witness, "term", 1200)["sent"] == 1200
    assert set(witness.accepted().values()) == {1}, "a clean stop leaves nothing in doubt"


@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
def test_kill_9_in_the_middle_loses_nobody_and_doubles_nobody_in_silence(
    hub: Hub, witness: Witness, policy: str
) -> None:
    connections = 8
    hub.config = sink_config(witness.port, connections)
    hub.boot()
    hub.contacts(1500)
    hub.apply("kill", in_doubt=policy)
    hub.hubctl("start", "kill")
    kills = 5
    for kill in range(1, kills + 1):
        until(lambda kill=kill: len(witness.lines()) >= kill * 200, "messages")
        assert hub.end(signal.SIGKILL) == -signal.SIGKILL
        hub.boot()
    hub.hubctl("wait", "kill", "--for", "completed", "--timeout", "60s")
    counts = reconcile(hub, witness, "kill", 1500, policy)
    accepted = witness.accepted()
    if policy == "hold":
        assert set(accepted.values()) == {1}
        assert counts["in_doubt"] <= kills * connections
        assert counts["sent"] + counts["in_doubt"] == 1500
    else:
        assert counts["sent"] == 1500
        doubled = [recipient for recipient, n in accepted.items() if n > 1]
        assert sum(accepted[r] - 1 for r in doubled) <= kills * connections
        for recipient in doubled:
            assert len(witness.message_ids(recipient)) == 1, "a copy carries the same Message-ID"


def test_a_second_daemon_on_the_same_state_is_turned_away(hub: Hub) -> None:
    first = hub.boot()
    second = launcher.run([sys.executable, "-m", "hubd", "--state-dir", str(hub.state)], timeout=60, cwd=ROOT)
    assert second.returncode == 75
    assert str(first.pid) in second.stderr
    assert "Traceback" not in second.stderr
    hub.hubctl("status")
    assert hub.end() == 0


def test_a_welcome_mail_goes_ahead_of_a_running_campaign(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port, 2)
    hub.boot()
    hub.contacts(3000)
    hub.apply("bulk")
    hub.hubctl("start", "bulk")
    until(lambda: len(witness.lines()) >= 100, "messages")
    before = len(witness.lines())
    hub.hubctl(
        "send", "--provider", "sink", "--to", "new@example.com", "--sender", "Acme <hi@acme.example>",
        "--subject", "Welcome", "--text", "Good to have you.",
    )  # fmt: skip
    until(lambda: witness.accepted()["new@example.com"] == 1, "the welcome mail")
    position = [line.split()[0] for line in witness.lines()].index("new@example.com")
    assert before <= position < 3000, "it did not wait for the campaign to end"
    hub.hubctl("stop", "bulk")
    assert hub.end() == 0


def test_everything_the_daemon_keeps_is_for_its_owner_only(hub: Hub) -> None:
    hub.boot()
    assert stat.S_IMODE(hub.state.stat().st_mode) == 0o700
    for path in hub.state.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_two_campaigns_and_both_channels_at_once_on_the_outbox(hub: Hub) -> None:
    hub.boot()
    path = hub.folder / "both.csv"
    rows = "".join(f"b{i}@example.com,+1415555{2000 + i},Ada {i}\n" for i in range(120))
    path.write_text("email,phone,first_name\n" + rows)
    hub.hubctl("import", str(path), "--list", "all")
    hub.apply("mail", provider="outbox")
    hub.apply(
        "text",
        provider="outbox",
        channel="sms",
        sender=None,
        subject=None,
        html=None,
        text="Hi {{ first_name }}",
    )
    hub.hubctl("start", "mail")
    hub.hubctl("start", "text")
    for name in ("mail", "text"):
        hub.hubctl("wait", name, "--for", "completed", "--timeout", "60s")
        assert hub.campaign(name)["counts"]["sent"] == 120
    files = list((hub.state / "outbox").rglob("*"))
    assert sum(path.suffix == ".eml" for path in files) == 120
    assert sum(path.suffix == ".txt" for path in files) == 120


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"SQLite format 3\x00" + b"\x00" * 4080, "database"),
        (b"this is a diary, not a database\n" * 200, "database"),
    ],
)
def test_a_file_that_is_not_our_database_is_refused_and_not_touched(
    hub: Hub, content: bytes, what: str
) -> None:
    hub.state.mkdir(mode=0o700)
    path = hub.state / "hub.db"
    path.write_bytes(content)
    path.chmod(0o600)
    done = launcher.run([sys.executable, "-m", "hubd", "--state-dir", str(hub.state)], timeout=60, cwd=ROOT)
    assert done.returncode in (73, 77, 78)
    assert re.search(what, done.stderr)
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == content


def test_a_state_directory_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = launcher.run(
        [sys.executable, "-m", "hubd", "--state-dir", str(tmp_path / "file" / "state")], timeout=60, cwd=ROOT
    )
    assert done.returncode == 73
    assert "state directory" in done.stderr
    assert "Traceback" not in done.stderr
