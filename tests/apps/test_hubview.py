"""hubview as a process: which daemon it finds, what it says, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hubd.client import connect, find_socket
from hubd.errors import HubError
from hubd.wire.places import place_at
from hubview.daemon import Daemon
from hubview.login import LoginStart
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


def test_the_daemon_is_started_at_login_from_now_on_and_then_no_more(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(place))
    monkeypatch.delenv("HUBCTL_SOCKET", raising=False)
    login = LoginStart(find_socket())
    assert login.state() == {"possible": True, "on": False}
    assert login.switch(True) == {"possible": True, "on": True}
    service = place / "systemd" / "user" / "hubd.service"
    assert (service.parent / "default.target.wants" / "hubd.service").resolve() == service
    assert Daemon(find_socket()).start_command() == ["systemctl", "--user", "start", "hubd"]
    assert login.switch(False) == {"possible": True, "on": False}
    with pytest.raises(HubError, match="must be true or false"):
        login.switch("yes")
    (place / "systemd" / "user" / "hubd.service").unlink()
    (place / "systemd" / "user" / "hubd.service").mkdir()
    with pytest.raises(HubError, match=r"not changed: .*cannot be written"):
        login.switch(True)


def test_a_daemon_elsewhere_is_not_started_at_login(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = LoginStart(place_at(place / "control.sock"))
    assert elsewhere.state() == {"possible": False, "on": False}
    with pytest.raises(HubError, match="cannot have this daemon started"):
        elsewhere.switch(True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    monkeypatch.setenv("PATH", str(place))  # no systemctl
    assert not LoginStart(find_socket()).state()["possible"]


def test_a_daemon_that_does_not_run_is_started_and_outlives_the_window(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(place))
    monkeypatch.delenv("HUBCTL_SOCKET", raising=False)
    daemon = Daemon(find_socket(), place / "hubd.log")
    with pytest.raises(HubError, match="not running"):
        daemon.find(None)
    daemon.start()
    daemon.find(None)
    with connect() as hub:
        hub.call("hub.shutdown")


def test_a_daemon_that_cannot_start_says_why(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(place))
    monkeypatch.delenv("HUBCTL_SOCKET", raising=False)
    (place / "messagehub").mkdir(mode=0o700)
    (place / "messagehub" / "hubd.toml").write_text("[hub]\nnonsense = 1\n")
    with pytest.raises(HubError, match=r"hubd did not start: .*nonsense") as caught:
        Daemon(find_socket(), place / "hubd.log").start()
    assert "terminal" in caught.value.hint


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
