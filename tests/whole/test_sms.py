"""SMS end to end: the real daemon, Twilio's real library, and a local server that answers as Twilio does."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import launcher
from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN
from tests.whole.conftest import ROOT, TIMEOUT, Hub, Witness, spawn, until

UNKNOWN = "+14155552003"  #: behaves as a number that Twilio refuses
OPTED_OUT = "+14155552004"
LOST = "+14155552005"  #: accepted, but the answer never comes back
BUSY = "+14155552006"

ARRIVES = "+14155552007"
BOUNCES = "+14155552008"
WRITES = "+14155552009"  #: answers STOP


@dataclass
class Twilio(Witness):
    """The double, and what it accepted."""

    def accepted(self) -> Counter[str]:
        return Counter(str(json.loads(line)["to"]) for line in self.lines())

    def asked(self) -> int:
        """How many requests to send a message came."""
        return self.record.with_name(f"{self.record.name}.asked").stat().st_size

    @property
    def config(self) -> str:
        return (
            f'[providers.text]\ntype = "twilio"\naccount_sid = "{ACCOUNT}"\n'
            'auth_token = { file = "twilio.token" }\n'
            f'from = "{SENDER}"\nconcurrency = 4\nbase_url = "http://127.0.0.1:{self.port}"\n'
        )


@contextmanager
def double(tmp_path: Path, *options: str) -> Iterator[Twilio]:
    record = tmp_path / "sms"
    process, port = spawn(
        [sys.executable, "-m", "tests.shell.twilio_double", "--record", str(record), *options]
    )
    yield Twilio(port, record)
    process.terminate()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def twilio(tmp_path: Path) -> Iterator[Twilio]:
    behave = (
        f"{UNKNOWN}=refuse:21211", f"{OPTED_OUT}=refuse:21610", f"{LOST}=+drop", f"{BUSY}=busy,busy,accept",
    )  # fmt: skip
    with double(tmp_path, *(word for rule in behave for word in ("--behave", rule))) as running:
        yield running


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Twilio]:
    """One whose list says what became of the messages."""
    rules = ("--becomes", f"{ARRIVES}=delivered", "--becomes", f"{BOUNCES}=undelivered:30006")
    with double(tmp_path, *rules, "--answers", f"{WRITES}=Stop!") as running:
        yield running


def with_token(hub: Hub, token: str = TOKEN) -> None:
    path = hub.folder / "twilio.token"
    path.write_text(token)
    path.chmod(0o600)


def text_campaign(hub: Hub, name: str, n: int, **keys: object) -> None:
    hub.contacts(n, column="phone")
    sms: dict[str, object] = {
        "provider": "text", "channel": "sms", "sender": None, "subject": None, "html": None,
        "text": "Hi {{ first_name }}",
    }  # fmt: skip
    hub.apply(name, **{**sms, **keys})


def boot_impatient(hub: Hub) -> None:
    """hubd as it is, but for the minute between two questions, which takes a second."""
    (hub.folder / "hubd.toml").write_text(hub.config)
    with (hub.folder / "hubd.log").open("ab") as log:
        hub.daemon = launcher.popen(
            [
                sys.executable, "-m", "tests.whole.impatient_hubd", "twilio",
                "--config", str(hub.folder / "hubd.toml"),
                "--state-dir", str(hub.state),
            ],
            stderr=log, cwd=ROOT,
        )  # fmt: skip
    hub.processes.append(hub.daemon)
    until(hub.answers, "hubd", hub.log)


def test_each_answer_of_twilio_means_what_it_should(hub: Hub, twilio: Twilio) -> None:
    hub.config = twilio.config
    with_token(hub)
    hub.boot()
    text_campaign(hub, "sms", 40)
    hub.hubctl("start", "sms", "--wait")
    counts = hub.campaign("sms")["counts"]
    assert {s: n for s, n in counts.items() if n} == {"total": 40, "sent": 37, "failed": 2, "in_doubt": 1}
    rows = {row["recipient"]: row for row in hub.deliveries("sms")}
    assert rows[LOST]["state"] == "in_doubt"
    assert rows[UNKNOWN]["code"] == 400
    assert rows[BUSY]["attempts"] == 1, "a message that was never processed is not an attempt"
    accepted = twilio.accepted()
    assert set(accepted.values()) == {1}
    assert len(accepted) == 38
    suppressed = hub.hubctl("suppress", "list")
    assert UNKNOWN in suppressed
    assert OPTED_OUT in suppressed
    hub.hubctl("retry", "sms", "--in-doubt", "sent")
    assert hub.campaign("sms")["counts"]["sent"] == 38
    assert TOKEN not in hub.log()


def test_what_becomes_of_texts_and_who_answers_stop_is_known_without_a_public_address(
    hub: Hub, told: Twilio
) -> None:
    """Also across a restart, and only once."""
    hub.config = told.config
    with_token(hub)
    boot_impatient(hub)
    text_campaign(hub, "sms", 12)
    hub.hubctl("start", "sms", "--wait")
    seen = {"delivered": 1, "undelivered": 1}
    until(lambda: seen.items() <= hub.campaign("sms")["counts"].items(), "the list of messages")
    until(lambda: WRITES in hub.hubctl("suppress", "list"), "the STOP")
    hub.end(signal.SIGKILL)
    boot_impatient(hub)
    until(lambda: hub.json("mailbox", "list")["mailboxes"][0]["read_at"] is not None, "the list again")
    rows = {row["recipient"]: row["state"] for row in hub.deliveries("sms")}
    assert (rows[ARRIVES], rows[BOUNCES], rows[WRITES]) == ("delivered", "undelivered", "sent")
    listed = hub.json("inbox")["items"]
    assert sorted((item["kind"], item["campaign"]) for item in listed) == [
        ("bounce", "sms"),
        ("opt_out", "sms"),
    ]
    assert BOUNCES in hub.hubctl("suppress", "list")
    text_campaign(hub, "again", 12)
    hub.hubctl("start", "again", "--wait")
    accepted = told.accepted()
    assert (accepted[ARRIVES], accepted[BOUNCES], accepted[WRITES]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("count", "kills"),
    [pytest.param(300, 2, id="300"), pytest.param(2_000, 8, id="2000", marks=pytest.mark.soak)],
)
def test_after_faults_and_kills_the_ledger_says_what_twilio_accepted(
    hub: Hub, twilio: Twilio, count: int, kills: int
) -> None:
    hub.config = twilio.config
    with_token(hub)
    hub.boot()
    text_campaign(hub, "kill", count)
    hub.hubctl("start", "kill")
    for kill in range(1, kills + 1):
        until(lambda kill=kill: len(twilio.lines()) >= kill * count // (kills + 1), "messages", hub.log)
        hub.end(signal.SIGKILL)
        hub.boot()
    hub.hubctl("wait", "kill", "--for", "completed", "--timeout", "60s")
    accepted = twilio.accepted()
    assert set(accepted.values()) == {1}
    counts = hub.campaign("kill")["counts"]
    assert counts["in_doubt"] <= kills * 4 + 1  # and the one whose answer is lost by design
    assert counts["sent"] + counts["in_doubt"] + counts["failed"] == count
    for row in hub.deliveries("kill"):
        if row["state"] == "sent":
            assert accepted[row["recipient"]] == 1
        elif accepted[row["recipient"]]:
            assert row["state"] == "in_doubt", row


def test_a_lost_answer_is_settled_by_asking_twilio(hub: Hub, twilio: Twilio) -> None:
    hub.config = twilio.config
    with_token(hub)
    boot_impatient(hub)
    text_campaign(hub, "ask", 40, in_doubt="reconcile")
    hub.hubctl("start", "ask", "--wait")
    counts = hub.campaign("ask")["counts"]
    assert {s: n for s, n in counts.items() if n} == {"total": 40, "sent": 38, "failed": 2}
    rows = {row["recipient"]: row for row in hub.deliveries("ask")}
    assert rows[LOST]["state"] == "sent"
    sids = {json.loads(line)["to"]: json.loads(line)["sid"] for line in twilio.lines()}
    assert rows[LOST]["provider_id"] == sids[LOST]
    assert set(twilio.accepted().values()) == {1}


def test_kill_9_leaves_no_sms_in_doubt_and_doubles_none_when_twilio_is_asked(
    hub: Hub, twilio: Twilio
) -> None:
    hub.config = twilio.config
    with_token(hub)
    boot_impatient(hub)
    text_campaign(hub, "kill", 600, in_doubt="reconcile")
    hub.hubctl("start", "kill")
    for kill in range(1, 4):
        until(lambda kill=kill: len(twilio.lines()) >= kill * 120, "messages")
        hub.end(signal.SIGKILL)
        boot_impatient(hub)
    hub.hubctl("wait", "kill", "--for", "completed", "--timeout", "60s")
    counts = hub.campaign("kill")["counts"]
    assert {s: n for s, n in counts.items() if n} == {"total": 600, "sent": 598, "failed": 2}
    accepted = twilio.accepted()
    assert set(accepted.values()) == {1}
    assert {row["recipient"] for row in hub.deliveries("kill") if row["state"] == "sent"} == set(accepted)
    sids = {json.loads(line)["to"]: json.loads(line)["sid"] for line in twilio.lines()}
    named = {row["recipient"]: row["provider_id"] for row in hub.deliveries("kill") if row["state"] == "sent"}
    assert named == sids


@pytest.mark.parametrize("point", ["before_dot", "after_dot"])
def test_a_kill_on_either_side_of_the_request_is_told_apart_by_asking(
    hub: Hub, twilio: Twilio, point: str
) -> None:
    hub.config = twilio.config
    with_token(hub)
    hub.boot(fail=f"{point}:20")
    text_campaign(hub, "edge", 40, in_doubt="reconcile")
    hub.hubctl("start", "edge")
    assert hub.daemon is not None
    hub.daemon.wait(TIMEOUT)
    boot_impatient(hub)
    hub.hubctl("wait", "edge", "--for", "completed", "--timeout", "60s")
    counts = hub.campaign("edge")["counts"]
    assert {s: n for s, n in counts.items() if n} == {"total": 40, "sent": 38, "failed": 2}
    assert set(twilio.accepted().values()) == {1}
    assert len(twilio.accepted()) == 38


def test_a_provider_that_cannot_be_asked_does_not_start_with_that_policy(hub: Hub, twilio: Twilio) -> None:
    hub.config = twilio.config
    with_token(hub)
    hub.boot()
    text_campaign(hub, "ask", 5, in_doubt="reconcile")
    hub.hubctl("check", "ask")
    text_campaign(hub, "never", 5, in_doubt="reconcile", provider="outbox")
    problem = hub.json("check", "never", code=1)["problems"][0]["problem"]
    assert problem.startswith('in_doubt = "reconcile" needs a provider that can be asked')
    hub.hubctl("start", "never", code=1)
    assert hub.campaign("never")["state"] == "draft"


def test_a_person_decides_about_a_lost_answer_and_a_text_sent_again_is_a_possible_duplicate(
    hub: Hub, twilio: Twilio
) -> None:
    hub.config = twilio.config
    with_token(hub)
    hub.boot()
    text_campaign(hub, "hold", 40)
    hub.hubctl("start", "hold", "--wait")
    (doubtful,) = (
        json.loads(line)
        for line in hub.hubctl("deliveries", "hold", "--state", "in_doubt", "--output", "ndjson").splitlines()
    )
    assert doubtful["recipient"] == LOST
    assert LOST in hub.hubctl("deliveries", "hold", "--state", "in_doubt")
    assert hub.campaign("hold")["possible_duplicates"] == 0
    hub.hubctl("retry", "hold", "--in-doubt", "resend", code=2)  # nobody is there to be asked
    assert "queued again" in hub.hubctl("--yes", "retry", "hold", "--in-doubt", "resend")
    hub.hubctl("wait", "hold", "--for", "completed", "--timeout", "60s")
    assert twilio.accepted()[LOST] == 2
    campaign = hub.campaign("hold")
    assert (campaign["counts"]["in_doubt"], campaign["possible_duplicates"]) == (1, 1)
    assert hub.json("message", str(doubtful["id"]))["delivery"]["possible_duplicates"] == 1
    assert "1 recipient counted as failed" in hub.hubctl("retry", "hold", "--in-doubt", "failed")
    assert "nobody is in doubt" in hub.hubctl("retry", "hold", "--in-doubt", "sent")


def test_a_wrong_token_pauses_with_the_reason_and_the_right_one_goes_on(hub: Hub, twilio: Twilio) -> None:
    hub.config = twilio.config
    with_token(hub, "not-the-token")
    hub.boot()
    text_campaign(hub, "login", 20)
    hub.hubctl("start", "login")
    hub.hubctl("wait", "login", "--for", "paused", "--timeout", "60s")
    campaign = hub.campaign("login")
    assert campaign["reason"]
    assert campaign["counts"]["pending"] == 20
    assert twilio.asked() == 1
    with_token(hub)
    hub.hubctl("resume", "login")
    hub.hubctl("wait", "login", "--for", "completed", "--timeout", "60s")
    assert len(twilio.accepted()) == 18
    assert "not-the-token" not in hub.log()
