"""SMS end to end: the real daemon, Twilio's real library, and a local server that answers as Twilio does."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN
from tests.whole.conftest import Hub, Witness, spawn, until

UNKNOWN = "+14155552003"  #: behaves as a number that Twilio refuses
OPTED_OUT = "+14155552004"
LOST = "+14155552005"  #: accepted, but the answer never comes back
BUSY = "+14155552006"


@dataclass
class Twilio(Witness):
    """The double, and what it accepted."""

    def accepted(self) -> Counter[str]:
        return Counter(str(json.loads(line)["to"]) for line in self.lines())

    @property
    def config(self) -> str:
        return (
            f'[providers.text]\ntype = "twilio"\naccount_sid = "{ACCOUNT}"\n'
            'auth_token = { file = "twilio.token" }\n'
            f'from = "{SENDER}"\nconcurrency = 4\nbase_url = "http://127.0.0.1:{self.port}"\n'
        )


@pytest.fixture
def twilio(tmp_path: Path) -> Iterator[Twilio]:
    record = tmp_path / "sms"
    process, port = spawn(
        [
            sys.executable, "-m", "tests.shell.twilio_double", "--record", str(record),
            "--behave", f"{UNKNOWN}=refuse:21211", "--behave", f"{OPTED_OUT}=refuse:21610",
            "--behave", f"{LOST}=+drop", "--behave", f"{BUSY}=busy,busy,accept",
        ]
    )  # fmt: skip
    yield Twilio(port, record)
    process.terminate()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def with_token(hub: Hub, token: str = TOKEN) -> None:
    path = hub.folder / "twilio.token"
    path.write_text(token)
    path.chmod(0o600)


def text_campaign(hub: Hub, name: str, n: int) -> None:
    hub.contacts(n, column="phone")
    hub.apply(
        name, provider="text", channel="sms", sender=None, subject=None, html=None, text="Hi {{ first_name }}"
    )


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


def test_kill_9_doubles_no_sms(hub: Hub, twilio: Twilio) -> None:
    hub.config = twilio.config
    with_token(hub)
    hub.boot()
    text_campaign(hub, "kill", 600)
    hub.hubctl("start", "kill")
    kills = 3
    for kill in range(1, kills + 1):
        until(lambda kill=kill: len(twilio.lines()) >= kill * 120, "messages")
        hub.end(signal.SIGKILL)
        hub.boot()
    hub.hubctl("wait", "kill", "--for", "completed", "--timeout", "60s")
    accepted = twilio.accepted()
    assert set(accepted.values()) == {1}
    counts = hub.campaign("kill")["counts"]
    assert counts["in_doubt"] <= kills * 4 + 1  # and the one whose answer is lost by design
    for row in hub.deliveries("kill"):
        if row["state"] == "sent":
            assert accepted[row["recipient"]] == 1
        elif accepted[row["recipient"]]:
            assert row["state"] == "in_doubt", row


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
    with_token(hub)
    hub.hubctl("resume", "login")
    hub.hubctl("wait", "login", "--for", "completed", "--timeout", "60s")
    assert len(twilio.accepted()) == 18
    assert "not-the-token" not in hub.log()
