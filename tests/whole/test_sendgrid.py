"""SendGrid end to end: the real daemon, and a local server that answers as SendGrid does."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import launcher
from tests.shell.sendgrid_double import KEY
from tests.whole.conftest import ROOT, Hub, Witness, spawn, until

CONNECTIONS = 4
#: What becomes of some recipients: p10, p60 ... p260, so far apart that they are not taken for one fault.
SCRIPTS = (
    "field:personalizations.0.to.0.email", "+drop", "drop", "busy,accept", "+status:500", "status:502",
)  # fmt: skip


@dataclass
class SendGrid(Witness):
    """The double, and what it accepted."""

    def accepted(self) -> Counter[str]:
        return Counter(str(json.loads(line)["to"]) for line in self.lines())

    def asked(self) -> int:
        """How many requests came, of every kind."""
        return self.record.with_name(f"{self.record.name}.asked").stat().st_size

    @property
    def config(self) -> str:
        return (
            '[providers.grid]\ntype = "sendgrid"\napi_key = { file = "grid.key" }\n'
            f'concurrency = {CONNECTIONS}\nbase_url = "http://127.0.0.1:{self.port}"\n'
        )


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[SendGrid]:
    record = tmp_path / "grid"
    behave = [f"p{10 + 50 * number}@example.com={script}" for number, script in enumerate(SCRIPTS)]
    scripted = [part for rule in behave for part in ("--behave", rule)]
    process, port = spawn(
        [sys.executable, "-m", "tests.shell.sendgrid_double", "--record", str(record), *scripted]
    )
    yield SendGrid(port, record)
    process.terminate()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def boot(hub: Hub, key: str = KEY) -> None:
    path = hub.folder / "grid.key"
    path.write_text(key)
    path.chmod(0o600)
    (hub.folder / "hubd.toml").write_text(hub.config)
    with (hub.folder / "hubd.log").open("ab") as log:
        hub.daemon = launcher.popen(
            [
                sys.executable, "-m", "tests.whole.impatient_hubd", "sendgrid",
                "--config", str(hub.folder / "hubd.toml"),
                "--state-dir", str(hub.state),
            ],
            stderr=log, cwd=ROOT,
        )  # fmt: skip
    hub.processes.append(hub.daemon)
    until(hub.answers, "hubd", hub.log)


def test_after_faults_and_kills_the_ledger_says_what_sendgrid_accepted(
    hub: Hub, grid: SendGrid, request: pytest.FixtureRequest
) -> None:
    n, kills = (2_000, 6) if request.config.getoption("--soak") else (300, 2)
    hub.config = grid.config
    boot(hub)
    hub.contacts(n)
    hub.apply("spring", provider="grid")
    hub.hubctl("start", "spring")
    for kill in range(1, kills + 1):
        until(lambda kill=kill: len(grid.lines()) >= kill * n // (kills + 2), "messages")
        hub.end(signal.SIGKILL)
        boot(hub)
    until(lambda: hub.campaign("spring")["counts"]["sent"] >= n - 3, "the messages that SendGrid takes")
    until(lambda: not hub.campaign("spring")["counts"]["in_doubt"], "what is in doubt to be settled")
    accepted = grid.accepted()
    assert set(accepted.values()) == {1}, "nobody got it twice"
    counts = Counter(row["state"] for row in hub.deliveries("spring"))
    for row in hub.deliveries("spring"):
        assert (row["state"] == "sent") is (accepted[row["recipient"]] == 1), row
    assert counts["failed"] == 1
    assert counts["sent"] + counts["failed"] + counts["deferred"] + counts["pending"] == n
    assert KEY not in hub.log()


def test_a_wrong_key_stops_the_provider_after_one_request(hub: Hub, grid: SendGrid) -> None:
    hub.config = grid.config
    boot(hub, key="SG.wrong")
    hub.contacts(20)
    hub.apply("spring", provider="grid")
    hub.hubctl("start", "spring")
    until(lambda: hub.campaign("spring")["state"] == "paused", "the pause")
    view = hub.campaign("spring")
    assert view["counts"]["pending"] == 20
    assert "SG.wrong" not in json.dumps(view) + hub.log()
    tested = json.loads(hub.hubctl("provider", "test", "grid", "--json", code=1))
    assert (tested["ok"], tested["code"]) == (False, 401)
    assert grid.asked() == 2  # the message, and the test
