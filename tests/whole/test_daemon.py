"""The daemon as a process: its options, its exit statuses, its signals, and how it keeps to itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import launcher
from tests.whole.conftest import ROOT, Hub, Witness, sink_config, until


def hubd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return launcher.run([sys.executable, "-m", "hubd", *arguments], timeout=60, cwd=ROOT)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[hub]\nlog_levl = 'info'\n", "log_level"),
        ("[providers.a]\ntype = 'smtp'\nhost = 'h'\npassword = 'hunter2'\n", "password"),
        ("[providers.a]\ntype = 'smtp'\nhost = 'h'\nport = 'hunter2'\n", "port"),
        ("[providers.a]\ntype = 'pigeon'\n", "providers.a.type"),
        ("[hub\n", "line 1"),
    ],
    ids=["unknown key", "literal password", "wrong type", "unknown provider", "not TOML"],
)
def test_a_bad_config_is_refused_with_its_place_and_without_its_secrets(
    tmp_path: Path, config: str, says: str
) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(config)
    for arguments in (("--check",), ("--state-dir", str(tmp_path / "state"))):
        done = hubd("--config", str(path), *arguments)
        assert done.returncode == 78
        assert str(path) in done.stderr
        assert says in done.stderr
        assert "hunter2" not in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


def test_every_fault_of_a_config_is_shown_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text("[hub]\nlog_levl = 'info'\n[providers.a]\ntype = 'smtp'\nhost = 'h'\nport = 99999\n")
    done = hubd("--config", str(path), "--check")
    assert f"{path}, line 2: hub.log_levl" in done.stderr
    assert f"{path}, line 6: providers.a.port" in done.stderr


@pytest.mark.parametrize("how", ["readable by others", "missing"])
def test_check_looks_at_the_secrets_too(tmp_path: Path, how: str) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text("[providers.a]\ntype='smtp'\nhost='h'\nusername='u'\npassword={file='a.pass'}\n")
    secret = tmp_path / "a.pass"
    if how != "missing":
        secret.write_text("hunter2")
        secret.chmod(0o644)
    done = hubd("--config", str(path), "--check")
    assert done.returncode == 78
    assert str(secret) in done.stderr
    assert "hunter2" not in done.stderr
    secret.write_text("hunter2")
    secret.chmod(0o600)
    assert hubd("--config", str(path), "--check").returncode == 0


def test_a_config_that_is_a_fifo_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hubd.toml")
    done = hubd("--config", str(tmp_path / "hubd.toml"), "--check")
    assert done.returncode == 78
    assert "not a regular file" in done.stderr


def test_a_socket_in_a_directory_that_is_not_there_makes_no_tree(tmp_path: Path) -> None:
    path = tmp_path / "typo" / "deeper" / "control.sock"
    done = hubd("--state-dir", str(tmp_path / "state"), "--socket", str(path))
    assert done.returncode == 73
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "typo").exists()


def test_a_config_written_after_the_start_is_found_by_a_reload(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    hub.daemon = launcher.popen(
        [sys.executable, "-m", "hubd", "--state-dir", str(hub.state)], env=environment, cwd=ROOT
    )
    try:
        until(hub.answers, "hubd")
        hub.hubctl("daemon", "reload", code=1)
        folder = tmp_path / "config" / "messagehub"
        folder.mkdir(parents=True)
        (folder / "hubd.toml").write_text("[providers.late]\ntype = 'outbox'\n")
        hub.hubctl("daemon", "reload")
        assert "late" in hub.hubctl("provider", "list")
        assert hub.end() == 0
    finally:
        hub.daemon.kill()
        hub.daemon.wait()


def test_an_unknown_option_is_a_usage_error() -> None:
    done = hubd("--verbose-please")
    assert done.returncode == 64
    assert "usage" in done.stderr


def test_a_config_that_was_named_must_exist(tmp_path: Path) -> None:
    done = hubd("--config", str(tmp_path / "none.toml"))
    assert done.returncode == 78
    assert "none.toml" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_ends_at_once_with_status_0(hub: Hub, how: signal.Signals) -> None:
    hub.boot()
    assert hub.end(how) == 0
    assert not (hub.state / "control.sock").exists()


@pytest.mark.parametrize("witness", [("--delay", "1000")], indirect=True)
def test_a_second_signal_does_not_wait_for_a_stuck_server_and_the_rest_is_in_doubt(
    hub: Hub, witness: Witness
) -> None:
    hub.config = sink_config(witness.port, 3)
    hub.boot()
    hub.contacts(20)
    hub.apply("stuck", in_doubt="hold")
    hub.hubctl("start", "stuck")
    until(lambda: hub.campaign("stuck")["counts"]["sending"] == 3, "three messages on the wire")
    assert hub.daemon is not None
    hub.daemon.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in hub.log(), "the first signal to be heard")
    assert hub.end(signal.SIGTERM) == 0
    hub.boot()
    counts = hub.campaign("stuck")["counts"]
    assert counts["in_doubt"] == 3
    assert counts["pending"] + counts["sending"] == 17


def test_a_hangup_reloads_and_a_bad_config_keeps_the_old_one(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port)
    daemon = hub.boot()
    path = hub.folder / "hubd.toml"
    path.write_text(sink_config(witness.port) + "[providers.second]\ntype = 'outbox'\n")
    daemon.send_signal(signal.SIGHUP)
    until(lambda: "second" in str(hub.told("provider.list", "provider", "list")), "the new provider")
    path.write_text("[nonsense]\n")
    daemon.send_signal(signal.SIGHUP)
    until(lambda: "not reloaded" in hub.log(), "the refusal")
    assert "second" in hub.hubctl("provider", "list")
    hub.hubctl("daemon", "reload", code=1)
    assert hub.end() == 0


def test_a_hangup_while_the_database_is_still_being_opened_reloads_later(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port)
    daemon = hub.launch(fail="in_migration:1:stop")
    until(
        lambda: b"State:\tT" in Path(f"/proc/{daemon.pid}/status").read_bytes(), "the daemon to stop itself"
    )
    (hub.folder / "hubd.toml").write_text(hub.config + "[providers.second]\ntype = 'outbox'\n")
    daemon.send_signal(signal.SIGHUP)
    daemon.send_signal(signal.SIGCONT)
    until(hub.answers, "hubd")
    until(lambda: "second" in str(hub.told("provider.list", "provider", "list")), "the new provider")
    assert hub.end() == 0


def test_no_address_and_no_content_gets_into_the_log(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port)
    hub.boot("--log-level", "debug")
    hub.contacts(30)
    hub.apply("quiet")
    hub.hubctl("start", "quiet", "--wait")
    assert hub.end() == 0
    assert "p7@example.com" not in hub.log()
    assert "Zoë" not in hub.log()
