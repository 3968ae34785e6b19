"""A real hubd of one checkout, as the benches use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from hubd.client import Connection, connect
from hubd.errors import HubError
from tests.bench import mail
from tests.bench.measure import Sample
from tests.bench.processes import (
    ROOT,
    SECONDS_TO_END,
    SECONDS_TO_START,
    child,
    cpu_seconds,
    peak_mb,
    wait_until,
)

SECONDS_FOR_A_CAMPAIGN = 1800.0
PAGE_ROWS = 500


class Hub:
    """One state directory, and the daemon that runs on it.

    As a context manager it ends the daemon, and starts it before unless `start` is false.
    """

    def __init__(self, folder: Path, config: str, *, checkout: Path = ROOT, start: bool = True) -> None:
        self._start = start
        self.folder = folder
        self.checkout = checkout
        self.name = "hubd" if checkout == ROOT else f"hubd of {checkout.name}"
        self._stack = ExitStack()
        self._campaigns = 0
        self._imported: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hubd.toml").write_text(config)

    def __enter__(self) -> Hub:
        if self._start:
            try:
                self.start()
            except BaseException:
                self.stop()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environment(self) -> Mapping[str, str]:
        """For the processes of this checkout: its modules come before those that are installed."""
        return {**os.environ, "PYTHONPATH": str(self.checkout)}

    @property
    def command(self) -> list[str]:
        """How hubd is started, without its Python."""
        places = ["--config", str(self.folder / "hubd.toml"), "--state-dir", str(self.folder / "state")]
        return ["-m", "hubd", *places, "--socket", str(self.socket), "--log-level", "error"]

    def start(self, prefix: list[str] | None = None) -> None:
        """Start the daemon and connect. `prefix` is a program that starts it, such as a profiler."""
        # Not in the state directory: the path of a socket may be little longer than 100 characters.
        short = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-hub-"))
        self.socket = Path(short) / "control.sock"
        command = [*(prefix or []), python_of(self.checkout), *self.command]
        self.process = self._stack.enter_context(
            child(command, stderr=self.folder / "hubd.log", cwd=self.checkout, env=self.environment)
        )
        self.hub = self._stack.enter_context(self._connected())
        self.pid = int(self.hub.call("hub.status")["pid"])
        if prefix:
            self._stack.callback(self._shut_down)  # a signal would end the other program first

    def stop(self) -> None:
        """End the daemon in order."""
        self._stack.close()

    def kill(self) -> None:
        """End the daemon with SIGKILL."""
        self.process.kill()
        self.process.wait()
        self._stack.close()

    def _shut_down(self) -> None:
        with suppress(HubError, subprocess.TimeoutExpired):
            self.hub.call("hub.shutdown")
            self.process.wait(SECONDS_TO_END)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection, as soon as the daemon takes one."""
        deadline = time.monotonic() + SECONDS_TO_START
        with ExitStack() as stack:
            connection: Connection | None = None
            while connection is None:
                try:
                    connection = stack.enter_context(connect(self.socket, client=("bench", "")))
                except HubError as error:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        log = (self.folder / "hubd.log").read_text(errors="replace")[-300:]
                        raise RuntimeError(f"hubd did not start: {error}; its log: {log}") from None
                    time.sleep(0.005)
            yield connection

    def hubctl(self, *arguments: str | Path) -> str:
        """Run a command and return its standard output."""
        done = subprocess.run(
            self._hubctl(arguments),
            capture_output=True,
            text=True,
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"hubctl {arguments[0]} exited with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def hubctl_process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin a command whose output is thrown away."""
        return subprocess.Popen(
            self._hubctl(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.checkout,
            env=self.environment,
        )

    def _hubctl(self, arguments: Sequence[str | Path]) -> list[str]:
        command = [python_of(self.checkout), "-m", "hubctl", "--socket", self.socket, *arguments]
        return [str(part) for part in command]

    def ensure_list(self, count: int) -> str:
        """The name of a list with this many contacts."""
        name = f"list-{count}"
        if name not in self._imported:
            rows = iter(enumerate(mail.people(count), start=2))
            while page := list(islice(rows, PAGE_ROWS)):
                values = [{"line": line, "values": person} for line, person in page]
                self.hub.call("contacts.import", list=name, rows=values, import_id=name)
            self._imported.add(name)
        return name

    def start_campaign(self, spec: Mapping[str, object], *, limit: int | None = None) -> str:
        """Start a new campaign like this one, and return its name."""
        self._campaigns += 1
        name = f"{spec['name']}-{self._campaigns}"
        self.hub.call("campaign.apply", spec={**spec, "name": name})
        self.hub.call("campaign.start", name=name, **({"limit": limit} if limit else {}))
        return name

    def campaign(self, name: str) -> dict[str, Any]:
        """The campaign as `campaign.get` shows it."""
        found: dict[str, Any] = self.hub.call("campaign.get", name=name)["campaign"]
        return found

    def wait_for_state(self, name: str, state: str) -> dict[str, Any]:
        """Wait until a campaign is in this state. Raises RuntimeError when it cannot get there any more."""
        found: dict[str, Any] = {}

        def there() -> bool:
            found.update(self.campaign(name))
            if found["state"] in {"completed", "failed", "stopped", "paused"} and found["state"] != state:
                raise RuntimeError(f"the campaign is {found['state']}: {found['reason']}")
            return bool(found["state"] == state)

        wait_until(there, f"{name} to be {state}", seconds=SECONDS_FOR_A_CAMPAIGN, pause=0.05)
        return found

    def wait_until_sent(self, name: str, count: int) -> None:
        """Wait until this many messages of a running campaign are sent."""

        def sent() -> bool:
            found = self.campaign(name)
            if found["state"] != "running":
                raise RuntimeError(f"the campaign is {found['state']} too early: give it more messages")
            return bool(found["counts"]["sent"] >= count)

        wait_until(sent, f"{count} messages", seconds=SECONDS_FOR_A_CAMPAIGN, pause=0.005)

    def run_campaign(self, spec: Mapping[str, object], count: int) -> Sample:
        """Send a campaign to the last recipient: messages per second, and CPU time for each.

        The time is from the start command, so that freezing the audience is in it, to the daemon's own
        time of completion.
        """
        self._campaigns += 1
        name = f"{spec['name']}-{self._campaigns}"
        self.hub.call("campaign.apply", spec={**spec, "name": name})
        cpu, began = cpu_seconds(self.pid), time.time()
        self.hub.call("campaign.start", name=name)
        done = self.wait_for_state(name, "completed")
        cpu = cpu_seconds(self.pid) - cpu
        if done["counts"]["sent"] != count:
            raise RuntimeError(f"{done['counts']['sent']} of {count} were sent")
        took = datetime.fromisoformat(done["completed_at"]).timestamp() - began
        return {"rate": count / took, "us CPU": cpu / count * 1e6}

    def peak_mb(self) -> float:
        """The highest resident memory of the daemon so far."""
        return peak_mb(self.pid)


def python_of(checkout: Path) -> str:
    """The Python of a checkout: that of its own virtual environment, or else this one."""
    for folder in (".venv-test", ".venv"):
        found = checkout / folder / "bin" / "python"
        if checkout != ROOT and found.is_file():
            return str(found)
    return sys.executable


def smtp_provider(
    name: str, port: int, *, connections: int, ca_file: Path | None = None, rate: str | None = None
) -> str:
    """The section of hubd.toml for a server on this machine."""
    lines = [f"[providers.{name}]", 'type = "smtp"', f"port = {port}", f"connections = {connections}"]
    if ca_file is None:
        lines += ['host = "127.0.0.1"', 'security = "none"']
    else:
        lines += ['host = "localhost"', 'security = "tls"', f"ca_file = {json.dumps(str(ca_file))}"]
    if rate is not None:
        lines.append(f"rate = {json.dumps(rate)}")
    return "\n".join([*lines, "", ""])
