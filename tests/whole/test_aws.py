"""Campaigns through Amazon SES and SNS: the real daemon, and a local server that answers as AWS does."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.shell.aws_double import KEY, QUEUE, REGION, SECRET
from tests.whole.conftest import Hub, Witness, spawn, until

CONNECTIONS = 4


@dataclass
class Aws(Witness):
    """The double, what it accepted and what it refused."""

    refused: Path

    def accepted(self) -> Counter[str]:
        return Counter(str(json.loads(line)["to"]) for line in self.lines())

    def refusals(self) -> list[str]:
        return self.refused.read_text().splitlines() if self.refused.exists() else []

    def config(self, kind: str) -> str:
        url = f"http://127.0.0.1:{self.port}"
        events = f'events = "{url}{QUEUE}"\nconfiguration_set = "hub"\n' if kind == "ses" else ""
        return (
            f'[providers.aws]\ntype = "{kind}"\nregion = "{REGION}"\naccess_key_id = "{KEY}"\n'
            'secret_access_key = { file = "aws.secret" }\n'
            f'endpoint_url = "{url}"\nconcurrency = {CONNECTIONS}\n{events}'
        )


#: Who is answered in a way of their own: lost after it was accepted, refused, throttled first, and 500.
LOST, REFUSED, BUSY, BROKEN = range(10, 14)
BEHAVIOURS = {
    LOST: "+drop",
    REFUSED: "refuse:400:{refusal}",
    BUSY: "refuse:429:{throttle}:Rate exceeded,accept",
    BROKEN: "status:503",
}
OPTED_OUT = 14  #: answered STOP to a text of the account once
#: What becomes of emails that were accepted; all others are delivered.
OUTCOMES = {20: "bounce", 21: "complaint", 22: "full", 23: "delayed", 24: "reject"}
STATES = {
    20: "undelivered",
    21: "delivered",
    22: "undelivered",
    23: "sent",
    24: "undelivered",
    LOST: "delivered",
}
WORDS = {
    "ses": {"refusal": "BadRequestException:no", "throttle": "TooManyRequestsException"},
    "sns": {"refusal": "InvalidParameter:Invalid parameter: PhoneNumber", "throttle": "Throttling"},
}


def recipient(kind: str, number: int) -> str:
    return f"p{number}@example.com" if kind == "ses" else f"+1415555{2000 + number}"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Callable[[str], Aws]]:
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(open_aws(tmp_path, kind))


@contextmanager
def open_aws(folder: Path, kind: str) -> Iterator[Aws]:
    """The double, for the length of the block."""
    record, refused = folder / "accepted", folder / "refused"
    command = [sys.executable, "-m", "tests.shell.aws_double"]
    command += ["--record", str(record), "--refusals", str(refused), "--events-first"]
    for number, behaviour in BEHAVIOURS.items():
        command += ["--behave", f"{recipient(kind, number)}={behaviour.format(**WORDS[kind])}"]
    command += ["--opted-out", recipient("sns", OPTED_OUT)]
    for number, outcome in OUTCOMES.items():
        command += ["--outcome", f"{recipient(kind, number)}={outcome}"]
    process, port = spawn(command)
    try:
        yield Aws(port, record, refused)
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def with_secret(hub: Hub, secret: str) -> None:
    path = hub.folder / "aws.secret"
    path.write_text(secret)
    path.chmod(0o600)


def apply(hub: Hub, kind: str, count: int) -> None:
    hub.contacts(count, column="email" if kind == "ses" else "phone")
    text: dict[str, object] = {
        "channel": "sms", "sender": None, "subject": None, "html": None, "text": "Hi {{ first_name }}"
    }  # fmt: skip
    hub.apply("aws", provider="aws", **({} if kind == "ses" else text))


def known(hub: Hub) -> int:
    counts = hub.campaign("aws")["counts"]
    return int(counts["delivered"]) + int(counts["undelivered"])


@pytest.mark.parametrize("kind", ["ses", "sns"])
@pytest.mark.parametrize(
    ("count", "kills"),
    [pytest.param(300, 2, id="300"), pytest.param(2000, 8, id="2000", marks=pytest.mark.soak)],
)
def test_a_wrong_key_costs_one_request_and_faults_and_kills_double_nothing(
    hub: Hub, aws: Callable[[str], Aws], kind: str, count: int, kills: int
) -> None:
    """With a wrong key nobody is lost; then every recipient is in the record of AWS as hubd says."""
    double = aws(kind)
    hub.config = double.config(kind)
    with_secret(hub, "not-the-secret")
    hub.boot()
    apply(hub, kind, count)
    hub.hubctl("start", "aws")
    hub.hubctl("wait", "aws", "--for", "paused", "--timeout", "60s")
    campaign = hub.campaign("aws")
    assert campaign["counts"]["pending"] == count
    assert "does not accept the keys" in campaign["reason"]
    wrong = {"ses": "outbound-emails InvalidSignatureException", "sns": "Publish SignatureDoesNotMatch"}[kind]
    assert [line for line in double.refusals() if line.startswith(wrong.split()[0])] == [wrong]
    assert double.lines() == []

    with_secret(hub, SECRET)
    tested = hub.json("provider", "test", "aws")
    assert tested["ok"]
    assert tested["account"]["lines"]
    if kind == "ses":
        (provider,) = (each for each in hub.json("provider", "list")["providers"] if each["name"] == "aws")
        assert provider["rate"] == ["2000/s", "50000/day"], "as the account says"
    hub.hubctl("resume", "aws")
    for kill in range(1, kills + 1):
        until(lambda kill=kill: len(double.lines()) >= kill * count // (kills + 1), "messages")
        hub.end(signal.SIGKILL)
        hub.boot()
    hub.hubctl("wait", "aws", "--for", "completed", "--timeout", "120s")

    accepted = double.accepted()
    assert set(accepted.values()) == {1}, "nobody got it twice"
    if kind == "ses":
        until(lambda: known(hub) == len(accepted) - 1, "what became of all but the one that is delayed")
    rows = {row["recipient"]: row for row in hub.deliveries("aws")}
    assert len(rows) == count
    names = {json.loads(line)["to"]: json.loads(line)["id"] for line in double.lines()}
    for who, row in rows.items():
        if row["state"] in ("sent", "delivered", "undelivered"):
            assert (accepted[who], row["provider_id"]) == (1, names[who])
        elif accepted[who]:
            assert row["state"] == "in_doubt", row
    state = {number: rows[recipient(kind, number)]["state"] for number in BEHAVIOURS}
    assert state[REFUSED] == "failed"
    assert state[BROKEN] == "in_doubt"
    assert rows[recipient(kind, BUSY)]["attempts"] == 1, "a throttle is not an attempt"
    doubtful = [row for row in rows.values() if row["state"] == "in_doubt"]
    assert len(doubtful) <= kills * CONNECTIONS + 2, "those on the wire, and the two that are lost by design"
    if kind == "ses":
        assert {number: rows[recipient(kind, number)]["state"] for number in STATES} == STATES
        assert not [row for row in doubtful if accepted[row["recipient"]]], "an event settles a doubt"
        suppressed = hub.hubctl("suppress", "list")
        assert [n for n in OUTCOMES if recipient(kind, n) in suppressed] == [20, 21]
    else:
        assert state[LOST] == "in_doubt"
        out = rows[recipient(kind, OPTED_OUT)]
        assert (out["state"], out["reason"]) == ("skipped", "opted_out"), "it was known before the first text"
        assert recipient(kind, REFUSED) not in hub.hubctl("suppress", "list"), "it may be the region's fault"
    assert SECRET not in hub.log()
    assert "not-the-secret" not in hub.log()
