"""Real processes for the command line's tests: a hubd of one's own, and hubctl with or without a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import launcher
from tests.shell.made_database import make_database

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 180.0  #: seconds; for what hangs: a machine with much else to do takes long, too
QUIET_ENV = {
    "LANG": "C.UTF-8",
    "PATH": os.environ.get("PATH", ""),
    "HOME": "/nonexistent",
    "TERM": "xterm-256color",
}


@dataclass
class Hub:
    """A running hubd, and hubctl to talk to it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    environ: dict[str, str] = field(default_factory=lambda: dict(QUIET_ENV))
    observed: bool = False  #: whether it has a second socket, for viewers

    @property
    def observe(self) -> Path:
        return self.folder / "state" / "observe.sock"

    @property
    def socket(self) -> Path:
        return self.folder / "state" / "control.sock"

    def boot(self) -> None:
        """Start the daemon and wait until its socket takes connections."""
        (self.folder / "hubd.toml").touch()
        with (self.folder / "hubd.log").open("ab") as log:
            self.process = launcher.popen(
                [
                    *(sys.executable, "-m", "hubd", "--config", str(self.folder / "hubd.toml")),
                    *("--state-dir", str(self.folder / "state")),
                    *(("--observe", str(self.observe)) if self.observed else ()),
                ],
                stderr=log,
                cwd=ROOT,
                env=self.environ,
            )
        end = time.monotonic() + TIMEOUT
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "hubd.log").read_text()
            assert time.monotonic() < end, "hubd did not come up"
            time.sleep(0.02)  # another process: there is no event to wait on

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "hubctl", "--socket", str(self.socket), *arguments]

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """hubctl without a terminal."""
        return launcher.run(
            self.command(*arguments), stdin=stdin or "", timeout=TIMEOUT, cwd=ROOT, env=self.environ
        )

    def ok(self, *arguments: str, code: int | None = 0) -> str:
        done = self.run(*arguments)
        assert code in (None, done.returncode), (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def json(self, *arguments: str, code: int | None = 0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ok(*arguments, "--json", code=code))
        return answer

    def file(self, name: str, text: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def contacts(self, count: int, *, into: str = "all") -> None:
        rows = "".join(f"p{n}@example.com,Zoë {n}\n" for n in range(count))
        self.ok("import", self.file(f"{into}.csv", "email,first_name\n" + rows), "--list", into)

    def campaign(self, name: str, **keys: object) -> None:
        """Apply a transactional email campaign on the outbox."""
        spec: dict[str, object] = {
            "name": name,
            "channel": "email",
            "lists": ["all"],
            "kind": "transactional",
            "sender": "Acme <news@acme.example>",
            "subject": "Hello {{ first_name }}",
            "text": "Hi {{ first_name }}",
            **keys,
        }
        toml = "".join(f"{key} = {json.dumps(value)}\n" for key, value in spec.items())
        self.ok("apply", self.file(f"{name}.toml", toml))


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a socket, however deep pytest's own are."""
    folder = Path(tempfile.mkdtemp(prefix="hub-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_hub(*, observed: bool = False) -> Iterator[Hub]:
    """A hubd that runs."""
    with short_folder() as folder:
        hub = Hub(folder, observed=observed)
        try:
            make_database(folder / "state" / "hub.db")
            hub.boot()
            yield hub
        finally:
            hub.end()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of one's own."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hubd of one's own."""
    with new_hub() as hub:
        yield hub


@dataclass
class Terminal:
    """A process on a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    master: int
    seen: str = ""

    def until(self, text: str) -> str:
        """Read until `text` was printed; everything so far."""
        end = time.monotonic() + TIMEOUT
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            came = bool(ready) and self._read()
            assert came, f"{text!r} never came: {self.seen[-1000:]!r}"
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def after(self, text: str) -> str:
        """Forget what was seen, then read until `text` was printed: what is new."""
        self.seen = ""
        return self.until(text)

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed and hands over whole lines, as a shell leaves it."""
        modes: int = termios.tcgetattr(self.master)[3]
        return bool(modes & termios.ECHO) and bool(modes & termios.ICANON)

    def rest(self) -> str:
        """Everything until the process ends."""
        while self._read():
            pass
        self.process.wait(TIMEOUT)
        return self.seen

    def _read(self) -> bool:
        try:
            chunk = os.read(self.master, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.seen += chunk.decode("utf-8", "replace")
        return bool(chunk)


@pytest.fixture
def on_terminal() -> Iterator[Any]:
    """Start a command on a pseudo-terminal: `on_terminal(command, env) -> Terminal`."""
    started: list[Terminal] = []

    def start(command: list[str], environ: dict[str, str]) -> Terminal:
        master, slave = pty.openpty()
        process = launcher.popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env=environ,
            start_new_session=True,
            preexec_fn=launcher.take_terminal,
        )
        os.close(slave)
        started.append(Terminal(process, master))
        return started[-1]

    yield start
    for terminal in started:
        if terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGKILL)
            terminal.process.wait()
        os.close(terminal.master)
