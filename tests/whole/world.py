"""A world that goes wrong, for tests with real processes: a hostile mail server, and other clocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import launcher
from tests.whole.conftest import ROOT, Hub, Witness, spawn, until

#: How many times faster the clocks of a `hurried` daemon go. Its 600 s for the last answer are 5 s then.
HURRY = 120
UNREACHABLE = 6  #: the exit status of hubctl


def faketime_library() -> str:
    """libfaketime, which gives a process other clocks. Debian's package is `faketime`."""
    for folder in Path("/usr/lib").glob("*/faketime"):
        return str(folder / "libfaketimeMT.so.1")
    raise AssertionError("libfaketime is missing: tests/run installs the package faketime")


def hurried(factor: int) -> dict[str, str]:
    """What a process needs in its environment so that its clocks and timeouts go so many times faster.

    The clocks of those that are forked have begun together, and go on: a machine whose clock is wrong, too,
    and more so the longer it runs.
    """
    variables = {"LD_PRELOAD": faketime_library(), "FAKETIME": f"+0 x{factor}", "NO_FAKE_STAT": "1"}
    return launcher.preloaded(**variables) if factor == HURRY else variables


@dataclass
class ClockedHub(Hub):
    """A hub whose daemon lives under other clocks; the command line keeps the true ones.

    All of the daemon's clocks and timeouts go `hurry` times faster. `shift` sets its wall clock alone.
    """

    hurry: int = HURRY
    shifted: float = 0.0  #: seconds that the daemon's wall clock is ahead

    def shift(self, seconds: float) -> None:
        """Set the daemon's wall clock so far ahead of what it was at first (below zero: behind)."""
        self.shifted = seconds
        new = self.folder / "clock.new"
        new.write_text(str(seconds))
        new.replace(self.folder / "clock")

    def launch(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd under its clocks and do not wait."""
        assert not fail
        self.shift(self.shifted)
        (self.folder / "hubd.toml").write_text(self.config)
        with (self.folder / "hubd.log").open("ab") as log:
            self.daemon = launcher.popen(
                [
                    sys.executable, "-m", "tests.whole.clocked_hubd", str(self.folder / "clock"),
                    "--config", str(self.folder / "hubd.toml"), "--state-dir", str(self.state), *options,
                ],
                stderr=log, cwd=ROOT, env={**os.environ, **hurried(self.hurry)},
            )  # fmt: skip
        self.processes.append(self.daemon)
        return self.daemon

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command; again when it was turned away by a daemon whose deadlines are that much shorter."""
        done = super().ask(*arguments)
        while done.returncode == UNREACHABLE and self.answers():
            done = super().ask(*arguments)
        return done

    def age(self) -> float:
        """Seconds since the start, as the daemon sees it."""
        return float(self.told("hub.status", "daemon", "status")["uptime"])


class UnprivilegedHub(Hub):
    """A hub whose daemon may not override permissions, even when the tests run as root."""

    def launch(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd without root's privileges over files and do not wait."""
        assert not fail
        without = ",".join(f"-{name}" for name in ("dac_override", "dac_read_search", "fowner"))
        drop = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}"] if os.getuid() == 0 else []
        (self.folder / "hubd.toml").write_text(self.config)
        with (self.folder / "hubd.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [
                    *drop, sys.executable, "-m", "hubd",
                    "--config", str(self.folder / "hubd.toml"), "--state-dir", str(self.state), *options,
                ],
                stderr=log, cwd=ROOT,
            )  # fmt: skip
        self.processes.append(self.daemon)
        return self.daemon


@dataclass
class Hostile(Witness):
    """A running hostile server: its record, what it heard, and its mood."""

    _mood: Path = field(default=Path())

    def mood(
        self,
        *,
        always: dict[str, str] | None = None,
        first: dict[str, list[str]] | None = None,
        to: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        surplus: tuple[int, str] | None = None,
    ) -> None:
        """Behave so from now on (see `hostile_smtp`)."""
        told: dict[str, object] = {"always": always or {}, "first": first or {}, "to": to or {}}
        if surplus is not None:
            told["surplus"] = surplus
        new = self._mood.with_suffix(".new")
        new.write_text(json.dumps(told))
        new.replace(self._mood)

    def calm(self) -> None:
        """Behave well from now on."""
        self._mood.unlink(missing_ok=True)

    def heard(self) -> Counter[str]:
        """How often each stage was reached."""
        path = self.record.with_name(f"{self.record.name}.heard")
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()


@contextmanager
def hostile(folder: Path, name: str = "hostile", *options: str) -> Iterator[Hostile]:
    """A hostile server for the length of the block; `options` are those of the program."""
    record, mood = folder / f"{name}.accepted", folder / f"{name}.mood"
    process, port = spawn(
        [sys.executable, "-m", "tests.whole.hostile_smtp", str(record), str(mood), *options]
    )
    try:
        yield Hostile(port, record, mood)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def provider(name: str, port: int, **keys: object) -> str:
    """The configuration of an SMTP provider on this machine; `keys` as they are in hubd.toml."""
    settings: dict[str, object] = {"security": "none", "connections": 8, **keys}
    lines = [f"[providers.{name}]", 'type = "smtp"', 'host = "127.0.0.1"', f"port = {port}"]
    for key, value in settings.items():
        text = "{ file = " + json.dumps(value) + " }" if key == "password" else json.dumps(value)
        lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n\n"


def secret(hub: Hub, password: str) -> None:
    """Write the password file that a provider with `password="pass"` refers to."""
    path = hub.folder / "pass"
    path.write_text(password)
    path.chmod(0o600)


def providers(hub: Hub) -> list[dict[str, Any]]:
    """What `hubctl provider list` says."""
    found: list[dict[str, Any]] = hub.told("provider.list", "provider", "list")["providers"]
    return found


def how(hub: Hub, name: str) -> dict[str, Any]:
    """What `hubctl provider list` says about one provider."""
    return next(each for each in providers(hub) if each["name"] == name)


def replace_file(path: Path, text: str) -> None:
    """Write a file as an editor does: who reads it meanwhile sees all of the old text or all of the new."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def finish(hub: Hub, *names: str) -> None:
    """Wait until the campaigns are completed."""
    for name in names:
        until(lambda name=name: hub.campaign(name)["state"] != "running", f"{name} to end", hub.log)
        campaign = hub.campaign(name)
        assert campaign["state"] == "completed", campaign
