"""hubd is found however MessageHub was installed, and each command line can be pasted as it is."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import hubd
from hubctl import services
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT

START = "import sys; from hubctl.__main__ import main; main()"


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**QUIET_ENV, "PYTHONPATH": str(ROOT), **environ},
        timeout=TIMEOUT,
    )


def script(path: Path, interpreter: str | Path = sys.executable) -> Path:
    """A program as pip writes it, also for an interpreter whose path has spaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = f"#!{interpreter}"
    if " " in first:
        first = f"#!/bin/sh\n'''exec' \"{interpreter}\" \"$0\" \"$@\"\n' '''"
    path.write_text(f"{first}\n{START}\n")
    path.chmod(0o755)
    return path


def exec_start(done: subprocess.CompletedProcess[str]) -> str:
    """The program that systemd would run."""
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ExecStart=")]
    text = line.removeprefix("ExecStart=").replace("%%", "%")
    return shlex.split(text)[0]


PRINT = ("service", "print", "hubd.service", "--user")


@pytest.mark.parametrize("folder", ["bin", "my tools/100%/bin", "it's/bin"])
def test_beside_the_hubctl_that_was_called(tmp_path: Path, folder: str) -> None:
    hubctl, found = (script(tmp_path / folder / name) for name in ("hubctl", "hubd"))
    assert exec_start(run(hubctl, *PRINT)) == str(found)


def test_beside_the_hubctl_that_a_link_leads_to(tmp_path: Path) -> None:
    hubctl, found = (script(tmp_path / "opt" / name) for name in ("hubctl", "hubd"))
    (tmp_path / "hubctl").symlink_to(hubctl)
    assert exec_start(run(tmp_path / "hubctl", *PRINT)) == str(found)


def test_by_the_link_that_pipx_makes_beside_its_hubctl(tmp_path: Path) -> None:
    for name in ("hubctl", "hubd"):
        (tmp_path / name).symlink_to(script(tmp_path / "venvs/messagehubd/bin" / name))
    assert exec_start(run(tmp_path / "hubctl", *PRINT)) == str(tmp_path / "hubd")


@pytest.mark.parametrize("base", [".local", "user base"])
def test_where_the_installer_put_it_when_python_runs_hubctl_as_a_module(tmp_path: Path, base: str) -> None:
    """As `pip install --user` does: the programs are in a folder that need not be on the path."""
    found = script(tmp_path / base / "bin/hubd")
    packages = tmp_path / base / "lib/python3/site-packages"
    record = packages / "messagehubd-0.1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: messagehubd\nVersion: 0.1.0\n")
    (record / "RECORD").write_text("../../../bin/hubd,,\nmessagehubd-0.1.0.dist-info/RECORD,,\n")
    python = tmp_path / "elsewhere/python3"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    done = run(
        python, "-m", "hubctl", *PRINT, PYTHONPATH=os.pathsep.join([str(packages), *sys.path, str(ROOT)])
    )
    assert exec_start(done) == str(found)


def test_a_folder_of_that_name_is_no_program(tmp_path: Path) -> None:
    hubctl = script(tmp_path / "hubctl")
    (tmp_path / "hubd").mkdir()
    assert exec_start(run(hubctl, *PRINT)) != str(tmp_path / "hubd")


def test_what_the_systems_service_could_not_run_is_told() -> None:
    """The files of users are hidden from it, and with `pip install --user` all of hubd is there."""
    done = run(
        sys.executable,
        "-m",
        "hubctl",
        "service",
        "print",
        "hubd.service",
        "--hubd",
        "/home/ada/.local/bin/hubd",
    )
    assert "the service could not run /home/ada/.local/bin/hubd" in done.stderr
    assert "or pass --user" in done.stderr


def test_the_interpreter_of_a_script_is_seen_also_behind_a_shell(tmp_path: Path) -> None:
    wanted = script(tmp_path / "hubd", "/home/ada/my venv/bin/python")
    assert Path("/home/ada/my venv/bin/python") in services.files_needed(wanted)
    assert Path("/opt/x/bin/python") in services.files_needed(script(tmp_path / "hubd", "/opt/x/bin/python"))


def test_the_demo_prints_commands_that_can_be_pasted(tmp_path: Path) -> None:
    hubctl, found = (script(tmp_path / "my tools" / name) for name in ("hubctl", "hubd"))
    done = run(hubctl, "demo", "--recipients", "5", "--clean", PATH="/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    lines = [line.partition("  # ")[0].strip() for line in done.stdout.splitlines() if "  # " in line]
    programs = [shlex.split(line)[0] for line in lines]
    assert programs == [str(found), *[str(hubctl)] * 5]


def test_the_distribution_has_the_name_that_is_ours_and_the_version_of_the_code() -> None:
    assert metadata.version("messagehubd") == hubd.__version__
    scripts = {each.name for each in metadata.distribution("messagehubd").entry_points}
    assert scripts == {"hubd", "hubctl", "hubview"}


@pytest.mark.parametrize(
    "page", ["README.md", *(str(each.relative_to(ROOT)) for each in ROOT.glob("docs/*.md"))]
)
def test_no_page_installs_what_another_project_is_called(page: str) -> None:
    """The name messagehub on the package index is somebody else's."""
    for line in (ROOT / page).read_text().splitlines():
        _, pip, arguments = line.partition("pip install ")
        words = arguments.partition("#")[0].split()
        assert not pip or not {"messagehub", "messagehubd"} & set(words), line
