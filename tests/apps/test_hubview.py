"""hubview as a process: which daemon it finds, what it says, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hubview", *arguments]


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return launcher.run(
        command(*arguments), stdin="", timeout=TIMEOUT, cwd=ROOT, env={**QUIET_ENV, **environ}
    )


def test_each_way_of_not_reaching_the_daemon_has_the_exit_code_of_hubctl(tmp_path: Path, hub: Hub) -> None:
    missing = run("--socket", str(tmp_path / "no.sock"))
    assert missing.returncode == 6
    assert "hubd is not running" in missing.stderr
    assert "start it with: hubd --socket" in missing.stderr
    assert run("--context", "nope").returncode == 2
    assert run("--nonsense").returncode == 2
    unknown = run("--socket", str(hub.socket), "nope")
    assert unknown.returncode == 3
    assert "nope" in unknown.stderr
    no_display = run("--socket", str(hub.socket))
    assert no_display.returncode == 1
    assert "hubview --browser" in no_display.stderr
    for each in (missing, unknown, no_display):
        assert each.stdout == ""
        assert "Traceback" not in each.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_in_a_browser_it_serves_until_a_signal_ends_it(hub: Hub, number: signal.Signals, status: int) -> None:
    hub.contacts(1)
    hub.campaign("spring-sale")
    environ = {**QUIET_ENV, "BROWSER": "true", "HOME": str(hub.folder)}
    process = launcher.popen(
        command("--browser", "--socket", str(hub.socket), "spring-sale"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environ,
    )
    assert process.stdout is not None
    address = process.stdout.readline().decode().strip()
    assert address.startswith("http://127.0.0.1:")
    assert "/#key=" in address
    assert address.endswith("&at=/campaigns/spring-sale")
    process.send_signal(number)
    _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status
    assert b"Traceback" not in said
