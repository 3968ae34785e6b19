"""The processes of the chaos test: hubd with failures injected, mail servers that crash, and its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import psutil

from tests import launcher
from tests.interposed import Interposed
from tests.whole.conftest import ROOT, Hub, spawn
from tests.whole.world import Hostile


@dataclass
class Server(Hostile):
    """A mail server that can be killed and started again on its port; its record goes on."""

    process: subprocess.Popen[str] = field(init=False)

    def begin(self) -> None:
        """Listen: on the port it had, if it had one."""
        command = ["-m", "tests.whole.hostile_smtp", str(self.record), str(self._mood)]
        self.process, self.port = spawn([sys.executable, *command, "--port", str(self.port)])

    def end(self) -> None:
        """Kill it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class ChaosHub(Hub):
    """A hub whose daemon has failures of the system injected."""

    failures: Interposed = field(kw_only=True)
    later: float = 0.0  #: seconds that its wall clock is ahead

    @property
    def observe(self) -> Path:
        """The socket for viewers."""
        return self.folder / "observe.sock"

    def launch(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd and do not wait. `fail` is as in `crashing_hubd`."""
        self.write_config(self.config)
        clock = self.folder / "clock"
        clock.write_text(str(self.later))
        program = ["tests.whole.crashing_hubd"] if fail else ["tests.whole.clocked_hubd", str(clock)]
        with (self.folder / "hubd.log").open("ab") as log:
            self.daemon = launcher.popen(
                [
                    sys.executable, "-m", *program, "--config", str(self.folder / "hubd.toml"),
                    "--state-dir", str(self.state), "--observe", str(self.observe), *options,
                ],
                stderr=log, cwd=ROOT,
                env={**os.environ, **self.failures.environment, "HUBD_FAIL": fail},
            )  # fmt: skip
        self.processes.append(self.daemon)
        return self.daemon

    def write_config(self, text: str) -> None:
        """Write hubd.toml without a moment at which it is half there."""
        new = self.folder / "hubd.toml.new"
        new.write_text(text)
        new.replace(self.folder / "hubd.toml")


class Memory:
    """The most memory that a daemon had. Looks ten times a second, in a thread."""

    def __init__(self, hub: Hub) -> None:
        self.peak = 0
        self._hub = hub
        self._over = Event()
        self._thread = Thread(target=self._look, name="memory")

    def now(self) -> int:
        """Bytes; 0 when it has ended."""
        daemon = self._hub.daemon
        with suppress(psutil.Error):
            return psutil.Process(daemon.pid).memory_info().rss if daemon is not None else 0
        return 0

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, self.now())

    @contextmanager
    def watch(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
