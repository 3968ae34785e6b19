"""Real processes: hubd, hubctl, and servers that remember what they were sent."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hubd.client import connect
from hubd.errors import HubError
from tests import launcher

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TIMEOUT = 300.0  #: seconds; for what hangs: a machine with much else to do takes long, too
SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.2  #: seconds between two looks


def until(ready: Callable[[], object], what: str, more: Callable[[], str] = str) -> None:
    """Wait for something outside this process; there is no event to wait on.

    The longer it takes, the longer are the pauses: most looks ask the daemon, which has its own work to do.
    `more` says what else to report if the wait was in vain.
    """
    begun = time.monotonic()
    while not ready():
        waited = time.monotonic() - begun
        assert waited < TIMEOUT, f"waited too long for {what}; {more()}"
        time.sleep(min(max(SHORTEST_PAUSE, waited / 10), LONGEST_PAUSE))


@dataclass
class Witness:
    """The record of what an SMTP server or the Twilio double accepted."""

    port: int
    record: Path

    def accepted(self) -> Counter[str]:
        """How many messages each recipient was sent."""
        return Counter(line.split()[0] for line in self.lines())

    def message_ids(self, recipient: str) -> set[str]:
        return {line.split()[1] for line in self.lines() if line.split()[0] == recipient}

    def lines(self) -> list[str]:
        text = self.record.read_text() if self.record.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()


@dataclass
class Hub:
    """One state directory, the daemon that runs on it, and the command line that talks to it."""

    folder: Path
    config: str = ""
    daemon: subprocess.Popen[bytes] | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def boot(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd and wait until it answers; with `fail` it kills or stops itself there."""
        daemon = self.launch(*options, fail=fail)
        until(self.answers, "hubd", self.log)
        return daemon

    def launch(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd and do not wait. What `fail` says is in `crashing_hubd`."""
        (self.folder / "hubd.toml").write_text(self.config)
        with (self.folder / "hubd.log").open("ab") as log:
            self.daemon = launcher.popen(
                [
                    sys.executable, "-m", "tests.whole.crashing_hubd" if fail else "hubd",
                    "--config", str(self.folder / "hubd.toml"), "--state-dir", str(self.state), *options,
                ],
                stderr=log, cwd=ROOT, env={**os.environ, "HUBD_FAIL": fail} if fail else None,
            )  # fmt: skip
        self.processes.append(self.daemon)
        return self.daemon

    def answers(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, f"hubd ended with {self.daemon.returncode}: {self.log()}"
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.state / "control.sock")) == 0

    def log(self) -> str:
        path = self.folder / "hubd.log"
        return path.read_text() if path.exists() else ""

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        assert self.daemon is not None
        self.daemon.send_signal(how)
        return self.daemon.wait(TIMEOUT)

    def hubctl(self, *arguments: str, code: int = 0) -> str:
        """Run a command, check its exit code, return its output."""
        done = self.ask(*arguments)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr, self.log())
        return done.stdout

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command whatever comes of it."""
        return launcher.run(
            [sys.executable, "-m", "hubctl", "--socket", str(self.state / "control.sock"), *arguments],
            timeout=TIMEOUT, cwd=ROOT,
        )  # fmt: skip

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.hubctl(*arguments, "--json", code=code))
        return answer

    def told(self, method: str, *command: str, **params: Any) -> dict[str, Any]:
        """What `hubctl COMMAND --json` says, without a process where that works: tests wait for it."""
        try:
            with connect(self.state / "control.sock") as hub:
                return hub.call(method, **params)
        except HubError:
            return self.json(*command)

    def campaign(self, name: str) -> dict[str, Any]:
        """How a campaign is."""
        answer: dict[str, Any] = self.told("campaign.get", "status", name, name=name)["campaign"]
        return answer

    def trouble(self) -> str:
        """Why the daemon sends nothing; "" when it does."""
        return str(self.told("hub.status", "daemon", "status").get("trouble") or "")

    def deliveries(self, name: str) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.hubctl("deliveries", name, "--output", "ndjson").splitlines()
        ]

    def contacts(self, n: int, listed: str = "all", column: str = "email") -> None:
        """Import n contacts with addresses that are easy to check."""
        path = self.folder / f"{listed}.csv"
        with path.open("w", newline="") as stream:
            out = csv.writer(stream)
            out.writerow([column, "first_name"])
            for i in range(n):
                address = f"p{i}@example.com" if column == "email" else f"+1415555{2000 + i}"
                out.writerow([address, f"Zoë {i}"])
        self.hubctl("import", str(path), "--list", listed)

    def apply(self, name: str, **keys: object) -> None:
        """Apply an email campaign on the provider `sink`, with the keys given."""
        spec: dict[str, object] = {
            "name": name, "channel": "email", "provider": "sink", "lists": ["all"], "kind": "transactional",
            "sender": "Acme <news@acme.example>", "subject": "Hello {{ first_name }}",
            "text": "Hi {{ first_name }}\n", "html": "<p>Hi {{ first_name }}</p>", **keys,
        }  # fmt: skip
        path = self.folder / f"{name}.toml"
        path.write_text(
            "".join(f"{key} = {json.dumps(value)}\n" for key, value in spec.items() if value is not None)
        )
        self.hubctl("apply", str(path))


def reconcile(hub: Hub, witness: Witness, name: str, total: int, policy: str = "hold") -> dict[str, int]:
    """The records of the daemon against the record of the witness. Returns the counts.

    `sent` has exactly one acceptance; under the policy `retry` it may have more, all with one Message-ID.
    """
    campaign = hub.campaign(name)
    counts: dict[str, int] = campaign["counts"]
    accepted = witness.accepted()
    rows = hub.deliveries(name)
    assert counts["total"] == total == len(rows)
    assert sum(n for state, n in counts.items() if state != "total") == total
    by_state = Counter(row["state"] for row in rows)
    assert {s: n for s, n in counts.items() if n and s != "total"} == dict(by_state)
    for row in rows:
        n = accepted[row["recipient"]]
        if row["state"] == "sent" and policy == "hold":
            assert n == 1, f"{row} was accepted {n} times"
        elif row["state"] == "sent":
            assert n >= 1, f"{row} was not accepted by anybody"
            assert witness.message_ids(row["recipient"]) == {row["message_id"]}
        elif n:
            assert row["state"] == "in_doubt", f"{row} was accepted {n} times"
    return counts


@contextmanager
def ended(hub: Hub) -> Iterator[None]:
    """No daemon of this hub is left at the end of the block."""
    try:
        yield
    finally:
        for process in hub.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            forget_clock(process.pid)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub whose daemon is not started yet."""
    hub = Hub(tmp_path)
    with ended(hub):
        yield hub


def forget_clock(pid: int) -> None:
    """Remove what libfaketime shares between processes: of one that was killed it stays, in memory."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (Path("/dev/shm") / name).unlink(missing_ok=True)


def spawn(command: list[str]) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    return process, int(line.rsplit(":", 1)[-1].strip("/"))


@pytest.fixture
def witness(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Witness]:
    """A running SMTP witness. Parametrise indirectly with extra command line options."""
    record = tmp_path / "accepted"
    extra = list(getattr(request, "param", ()))
    process, port = spawn([sys.executable, str(HERE / "witness.py"), str(record), *extra])
    yield Witness(port, record)
    process.terminate()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def sink_config(port: int, connections: int = 8) -> str:
    """A provider `sink` on a local SMTP server."""
    return (
        f'[providers.sink]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
        f"connections = {connections}\n"
    )


def smtp_sink_command(port: int, dumps: Path) -> list[str]:
    """Postfix's test server, which writes every message it is given into a file of its own."""
    program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "smtp-sink is missing: tests/run installs the package postfix"
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    return [program, *user, "-d", f"{dumps}/%M.", f"127.0.0.1:{port}", "256"]
