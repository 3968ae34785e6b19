"""`hubctl service`: the files that systemd needs, where they go, and that nothing is written unasked."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubctl import services
from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT

HUBD = "/opt/messagehub/bin/hubd"


def hubctl(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return launcher.run(
        [sys.executable, "-m", "hubctl", "service", *arguments],
        stdin="",
        timeout=TIMEOUT,
        cwd=ROOT,
        env={**QUIET_ENV, **environ},
    )


def ok(*arguments: str, **environ: str) -> str:
    done = hubctl(*arguments, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def record(*arguments: str, **environ: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ok(*arguments, "--json", **environ))
    return answer


# -- print -------------------------------------------------------------------------------------------------


def test_print_shows_every_file_with_the_place_where_it_goes() -> None:
    shown = ok("print", "--hubd", HUBD)
    for path in (
        "/etc/systemd/system/hubd.service",
        "/etc/systemd/system/hubd.socket",
        "/etc/systemd/system/hubd-observe.socket",
        "/etc/sysusers.d/messagehub.conf",
    ):
        assert f"# {path}\n" in shown
    assert f"ExecStart={HUBD}\n" in shown


def test_print_of_one_unit_is_that_file_and_nothing_else() -> None:
    shown = ok("print", "hubd.service", "--hubd", services.STOCK_HUBD)
    assert shown == (ROOT / "systemd" / "hubd.service").read_text(encoding="utf-8")


def test_print_of_a_unit_that_is_not_there_names_those_that_are() -> None:
    done = hubctl("print", "hubd.timer", "--hubd", HUBD)
    assert done.returncode == 3
    assert "hubd-observe.socket" in done.stderr


def test_print_as_json_has_a_path_and_a_text_for_each_file() -> None:
    found = record("print", "--hubd", HUBD)
    assert found["schema"] == "hubctl.service.print/1"
    assert {Path(file["path"]).name for file in found["files"]} == {
        "hubd.service",
        "hubd.socket",
        "hubd-observe.socket",
        "messagehub.conf",
    }


def test_a_users_files_go_into_the_users_own_folder(tmp_path: Path) -> None:
    found = record("print", "--user", "--hubd", HUBD, XDG_CONFIG_HOME=str(tmp_path))
    assert [file["path"] for file in found["files"]] == [
        str(tmp_path / "systemd" / "user" / "hubd.service"),
        str(tmp_path / "systemd" / "user" / "hubd.socket"),
    ]
    found = record("print", "--user", "--hubd", HUBD, HOME=str(tmp_path), XDG_CONFIG_HOME="relative")
    assert found["files"][0]["path"] == str(tmp_path / ".config/systemd/user/hubd.service")


def test_the_hubd_of_this_installation_is_found() -> None:
    text = ok("print", "hubd.service")
    assert f"ExecStart={Path(sys.executable).with_name('hubd')}\n" in text


def test_each_credential_is_one_line() -> None:
    lines = ok("print", "hubd.service", "--hubd", HUBD, "--credential", "office", "--credential", "text-1")
    assert (
        "LoadCredential=office:/etc/credstore/messagehub.office\n"
        "LoadCredential=text-1:/etc/credstore/messagehub.text-1\n"
    ) in lines.replace("#LoadCredential=office:/etc/credstore/messagehub.office\n", "")


@pytest.mark.parametrize("name", ["a b", "a\nExecStart=/bin/sh", "../passwd", "", "..", "a:b", "%h"])
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    done = hubctl("print", "hubd.service", "--hubd", HUBD, "--credential", name)
    assert done.returncode == 2
    assert "ExecStart" not in done.stdout


@pytest.mark.parametrize("path", ["hubd", "./hubd", "/opt/a\nb/hubd", ""])
def test_a_program_that_no_unit_can_name_is_refused(path: str) -> None:
    done = hubctl("print", "hubd.service", "--hubd", path or "\n")
    assert done.returncode == 2


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=40))
def test_any_path_is_quoted_so_that_systemd_reads_that_path(tail: str) -> None:
    """systemd's quoting is the shell's, with backslashes, and % must be doubled."""
    quoted = services.quoted(f"/{tail}")
    assert "\n" not in quoted
    text = quoted.replace("%%", "%")
    assert (shlex.split(text) if '"' in text or "\\" in text else [text]) == [f"/{tail}"]


def test_for_windows_there_is_a_script_that_gives_the_daemon_time_to_stop() -> None:
    script = ok("print", "--windows", "--hubd", r"D:\hub\Scripts\hubd.exe")
    assert "shawl add --name hubd" in script
    assert "--stop-timeout 90000" in script
    assert '"D:\\hub\\Scripts\\hubd.exe"' in script
    assert "Nobody has run them on Windows yet" in script
    assert record("print", "--windows")["script"].startswith("rem ")
    assert hubctl("print", "--windows", "--user").returncode == 2


# -- install -----------------------------------------------------------------------------------------------


def test_install_writes_the_files_and_says_what_to_run(tmp_path: Path) -> None:
    said = ok("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    unit = tmp_path / "etc/systemd/system/hubd.service"
    assert f"ExecStart={HUBD}\n" in unit.read_text()
    assert unit.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "etc/sysusers.d/messagehub.conf").exists()
    assert f"written: {unit}" in said
    assert "systemctl daemon-reload" in said
    assert "systemctl enable --now hubd.socket hubd-observe.socket hubd.service" in said


def test_install_again_changes_nothing_and_needs_no_answer(tmp_path: Path) -> None:
    assert record("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")["changed"] is True
    again = record("install", "--root", str(tmp_path), "--hubd", HUBD)
    assert again["changed"] is False
    assert not any(file["changed"] for file in again["files"])


def test_install_asks_first_and_without_a_terminal_writes_nothing(tmp_path: Path) -> None:
    done = hubctl("install", "--root", str(tmp_path), "--hubd", HUBD)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not list(tmp_path.iterdir())


def test_install_replaces_only_what_differs(tmp_path: Path) -> None:
    ok("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    changed = tmp_path / "etc/systemd/system/hubd.socket"
    changed.write_text("[Socket]\n")
    found = record("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    assert [file["path"] for file in found["files"] if file["changed"]] == [str(changed)]
    assert "FileDescriptorName=control" in changed.read_text()


def test_install_for_a_user_needs_no_root(tmp_path: Path) -> None:
    said = ok("install", "--user", "--hubd", HUBD, "--yes", XDG_CONFIG_HOME=str(tmp_path))
    assert (tmp_path / "systemd/user/hubd.socket").exists()
    assert "systemctl --user enable --now" in said


@pytest.mark.parametrize("folder", ["/home/ada/venv/bin", "/root/venv/bin", "/tmp/venv/bin"])
def test_a_program_that_the_service_could_not_see_is_not_installed(tmp_path: Path, folder: str) -> None:
    """ProtectHome= and PrivateTmp= hide it: the service would fail with 203/EXEC."""
    done = hubctl("install", "--root", str(tmp_path), "--hubd", f"{folder}/hubd", "--yes")
    assert done.returncode == 1
    assert "cannot see home directories" in done.stderr
    assert "/opt/messagehub" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_program_that_the_service_could_not_see_is_printed_with_a_warning() -> None:
    done = hubctl("print", "--hubd", "/home/ada/venv/bin/hubd")
    assert done.returncode == 0
    assert "ExecStart=/home/ada/venv/bin/hubd" in done.stdout
    assert done.stderr.startswith("warning: the service could not run /home/ada/venv/bin/hubd: ")
    assert "/opt/messagehub" in done.stderr
    for more in (("--user",), ("--quiet",), ("--windows",)):
        assert hubctl("print", "--hubd", "/home/ada/venv/bin/hubd", *more).stderr == ""


def test_the_interpreter_that_a_script_names_counts_too(tmp_path: Path) -> None:
    script = tmp_path / "hubd"
    script.write_text("#!/home/ada/venv/bin/python3\n")
    needed = services.files_needed(script)
    assert Path("/home/ada/venv/bin/python3") in needed
    visible = [path for path in needed if not path.is_relative_to(tmp_path)]
    assert services.hidden_from_service(visible) == Path("/home/ada/venv/bin/python3")
    assert services.hidden_from_service([Path(HUBD), Path("/usr/bin/python3")]) is None


def test_a_folder_that_may_not_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    """A file in the way of the folder stands in for one of root's: these tests may be run by root."""
    (tmp_path / "etc").touch()
    done = hubctl("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_text_in_another_encoding_is_replaced(tmp_path: Path) -> None:
    ok("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    unit = tmp_path / "etc/systemd/system/hubd.service"
    unit.write_bytes(b"\xff\xfe")
    ok("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    assert "ExecStart=" in unit.read_text()
    assert not [name for name in os.listdir(unit.parent) if name.startswith(".")]


def test_root_is_for_the_systems_service_only() -> None:
    assert hubctl("install", "--user", "--root", "/x", "--yes").returncode == 2
    assert hubctl("install", "--user", "--credential", "x", "--hubd", HUBD, "--yes").returncode == 2
    assert hubctl("uninstall", "--user", "--root", "/x", "--yes").returncode == 2


# -- uninstall ---------------------------------------------------------------------------------------------


def enable(folder: Path) -> list[Path]:
    """Make the links that `systemctl enable` makes for what is installed in `folder`."""
    links = [
        folder / f"{target}.wants" / unit.name
        for unit in (*folder.glob("hubd*.service"), *folder.glob("hubd*.socket"))
        for target in ("sockets.target" if unit.suffix == ".socket" else "multi-user.target",)
    ]
    for link in links:
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(f"/etc/systemd/system/{link.name}")
    return links


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_uninstall_undoes_what_install_and_enable_did_and_leaves_what_is_yours(tmp_path: Path) -> None:
    yours = ["var/lib/messagehub/hub.db", "etc/messagehub/hubd.toml", "etc/credstore/messagehub.office"]
    yours += ["etc/systemd/system/hubd.service.d/override.conf", "etc/systemd/system/other.service"]
    for name in yours:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("yours")
    ok("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes", "--credential", "office")
    assert len(enable(tmp_path / "etc/systemd/system")) == 3
    before = tree(tmp_path)
    planned = ok("uninstall", "--root", str(tmp_path), "--dry-run")
    assert tree(tmp_path) == before
    assert f"would be removed: {tmp_path}/etc/systemd/system/hubd.service" in planned
    refused = hubctl("uninstall", "--root", str(tmp_path))
    assert (refused.returncode, tree(tmp_path)) == (2, before)
    said = ok("uninstall", "--root", str(tmp_path), "--yes")
    assert tree(tmp_path) == set(yours)
    assert f"removed: {tmp_path}/etc/systemd/system/multi-user.target.wants/hubd.service" in said
    assert f"left: {tmp_path}/var/lib/messagehub (the database and the outbox)" in said
    assert f"left: {tmp_path}/etc/systemd/system/hubd.service.d (your own settings of a unit)" in said
    assert "systemctl stop hubd.socket hubd-observe.socket hubd.service" in said
    assert "other.service" not in said
    again = record("uninstall", "--root", str(tmp_path))
    assert (again["changed"], again["next"]) == (False, [])
    assert tree(tmp_path) == set(yours)


def test_uninstall_for_a_user_takes_that_users_files_alone(tmp_path: Path) -> None:
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}
    (tmp_path / "state/messagehub").mkdir(parents=True)
    ok("install", "--user", "--hubd", HUBD, "--yes", **own)
    units = tmp_path / "config/systemd/user"
    for unit, target in (("hubd.service", "default"), ("hubd.socket", "sockets")):
        (units / f"{target}.target.wants").mkdir()
        (units / f"{target}.target.wants" / unit).symlink_to(units / unit)
    found = record("uninstall", "--user", "--yes", **own)
    assert not tree(tmp_path)
    assert found["left"] == [
        {"path": str(tmp_path / "state/messagehub"), "what": "the database and the outbox"}
    ]
    assert found["next"][0] == "systemctl --user stop hubd.socket hubd.service"


def test_a_unit_that_hubctl_did_not_write_stays_with_its_link(tmp_path: Path) -> None:
    ok("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    missing = tmp_path / "etc/sysusers.d/messagehub.conf"
    missing.unlink()
    folder = tmp_path / "etc/systemd/system"
    (folder / "hubd.service").write_text("[Service]\nExecStart=/usr/bin/another-hubd\n")
    enable(folder)
    said = ok("uninstall", "--root", str(tmp_path), "--yes")
    assert f"not there: {missing}\n" in said
    assert f"left: {folder}/hubd.service (not written by hubctl)" in said
    assert (folder / "hubd.service").exists()
    assert (folder / "multi-user.target.wants/hubd.service").is_symlink()
    assert not (folder / "hubd.socket").exists()


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    """A directory in its place stands in for a file of root's: these tests may be run by root."""
    ok("install", "--root", str(tmp_path), "--hubd", HUBD, "--yes")
    unit = tmp_path / "etc/sysusers.d/messagehub.conf"
    unit.unlink()
    unit.mkdir()
    done = hubctl("uninstall", "--root", str(tmp_path), "--yes")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{unit} cannot be removed: is a directory" in done.stderr
