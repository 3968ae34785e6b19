"""The unit files, judged by systemd's own tools with the hubd of this environment in them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from tests.whole.conftest import ROOT
from tests.whole.test_systemd import run, tool

UNITS = ("hubd.service", "hubd.socket", "hubd-observe.socket")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The system's units with the hubd of this environment, as `hubctl service print` gives them."""
    return printed(tmp_path, UNITS)


def printed(folder: Path, names: tuple[str, ...], *options: str) -> Path:
    hubd = Path(sys.executable).with_name("hubd")
    assert hubd.exists(), "the package is not installed in this environment"
    for name in names:
        done = run(sys.executable, "-m", "hubctl", "service", "print", name, "--hubd", str(hubd), *options)
        assert done.returncode == 0, done.stderr
        (folder / name).write_text(done.stdout)
    return folder


def test_systemd_has_nothing_to_say_against_the_units(units: Path) -> None:
    """Its exit status is 0 for unknown keys, too: only an empty stderr says that all is understood."""
    done = run(tool("systemd-analyze"), "verify", "--man=no", *(str(units / name) for name in UNITS))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_check_of_the_units_would_see_a_key_that_systemd_does_not_know(units: Path) -> None:
    unit = units / "hubd.service"
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHoome="))
    done = run(tool("systemd-analyze"), "verify", "--man=no", *(str(units / name) for name in UNITS))
    assert "ProtectHoome" in done.stderr


def test_systemd_has_nothing_to_say_against_a_users_units(tmp_path: Path) -> None:
    names = ("hubd.service", "hubd.socket")
    folder = printed(tmp_path, names, "--user")
    with tempfile.TemporaryDirectory() as runtime:  # a short path: other units have sockets below it
        done = run(
            tool("systemd-analyze"), "verify", "--user", "--man=no", *(str(folder / name) for name in names),
            XDG_RUNTIME_DIR=runtime,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_told_the_boot_that_its_proc_hides(units: Path) -> None:
    """Without it the time that hubd was off is unknown after each restart (see `hubd.store.steady`)."""
    lines = (units / "hubd.service").read_text().splitlines()
    assert "ProcSubset=pid" in lines
    assert "Environment=HUBD_BOOT_ID=%b" in lines


def test_the_service_is_exposed_to_little(units: Path) -> None:
    """15 is an exposure of 1.5; that 5 is refused shows that the tool judges at all."""
    judge = (tool("systemd-analyze"), "security", "--offline=true", "--no-pager")
    done = run(*judge, "--threshold=15", str(units / "hubd.service"))
    assert done.returncode == 0, done.stdout
    assert run(*judge, "--threshold=5", str(units / "hubd.service")).returncode != 0


def test_systemd_makes_the_user_and_the_groups(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = run(tool("systemd-sysusers"), f"--root={tmp_path}", str(ROOT / "systemd" / "messagehub.sysusers"))
    assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc" / "passwd").read_text().splitlines()
    (ours,) = [line.split(":") for line in users if line.startswith("messagehub:")]
    assert ours[5] == "/var/lib/messagehub"
    assert ours[6].endswith("nologin")
    groups = {line.split(":")[0] for line in (tmp_path / "etc" / "group").read_text().splitlines()}
    assert {"messagehub", "messagehub-operators", "messagehub-viewers"} <= groups


def test_no_socket_is_in_a_folder_that_goes_when_the_service_stops(units: Path) -> None:
    """systemd removes RuntimeDirectory= with the service; the sockets are to stay for those who call."""
    service = settings(units / "hubd.service")
    for name in UNITS[1:]:
        assert not settings(units / name)["ListenStream"].startswith(f"/run/{service['RuntimeDirectory']}/")


def test_each_socket_has_a_group_of_its_own_and_is_not_open_to_all(units: Path) -> None:
    """systemd's default mode is 0666."""
    control, observe = settings(units / "hubd.socket"), settings(units / "hubd-observe.socket")
    assert control["SocketMode"] == observe["SocketMode"] == "0660"
    assert (control["SocketGroup"], observe["SocketGroup"]) == ("messagehub-operators", "messagehub-viewers")
    assert (control["FileDescriptorName"], observe["FileDescriptorName"]) == ("control", "observe")


def settings(unit: Path) -> dict[str, str]:
    lines = (line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {key: value for key, _, value in (line.partition("=") for line in lines)}
