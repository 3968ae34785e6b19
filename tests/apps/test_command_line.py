"""The command line by itself: help for every command, usage errors, sockets that are not there."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hubctl.cli import COMMANDS, hubctl
from hubctl.command import Command

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*arguments: str, **environ: str) -> Result:
    clean = {"HUBCTL_SOCKET": "", "XDG_RUNTIME_DIR": "/nonexistent", **environ}
    return CliRunner().invoke(hubctl, list(arguments), env=clean)


def all_commands() -> Iterator[tuple[str, Command]]:
    context = click.Context(hubctl)
    for name in hubctl.list_commands(context):
        found = hubctl.get_command(context, name)
        if isinstance(found, click.Group):
            if isinstance(found, Command):
                yield name, found
            for inner in found.list_commands(context):
                command = found.get_command(context, inner)
                assert isinstance(command, Command)
                yield f"{name} {inner}", command
        else:
            assert isinstance(found, Command)
            yield name, found


ALL = dict(all_commands())


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_an_example_and_the_common_options(name: str) -> None:
    shown = run(*name.split(), "--help")
    assert shown.exit_code == 0
    assert f"hubctl {name}" in shown.output
    assert "Example:" in shown.output
    assert "--json" in shown.output
    command = ALL[name]
    assert command.help
    assert command.example.startswith(f"hubctl {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_and_the_commands_agree(name: str) -> None:
    found = hubctl.get_command(click.Context(hubctl), name)
    assert found is not None
    assert found.name == name
    assert COMMANDS[name][2] in run("--help").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("strat", "x"),
        ("start",),
        ("start", "x", "--limit", "0"),
        ("start", "x", "--limit", "many"),
        ("start", "x", "--timezone", "Europe/Berlin"),
        ("start", "x", "--at", "2026-12-01T09:00:00Z", "--timezone", "Europe/Berlin"),
        ("--timeout", "soon", "status"),
        ("wait", "x", "--for", "done"),
        ("deliveries", "x", "--state", "lost"),
        ("message", "0"),
        ("message", "x"),
        ("import", "f.csv"),
        ("send", "--provider", "outbox", "--to", "a@example.com"),
        ("send", "--provider", "outbox", "--to", "a@example.com", "--text", "x", "--field", "novalue"),
        ("send", "--provider", "outbox", "--to", "a@example.com", "--template", "t", "--text", "x"),
        ("demo", "--smtp", "nowhere"),
        ("demo", "--recipients", "0"),
        ("retry", "x", "--class", "odd"),
        ("contacts", "lst"),
        ("--nonsense",),
    ],
)
def test_a_usage_error_is_exit_code_2_with_the_way_to_help(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    told = run(*arguments, "--json")
    assert told.exit_code == 2
    assert json.loads(told.stderr)["error"]["code"] == "usage"
    assert json.loads(told.stderr)["schema"] == "hubctl.error/1"


@pytest.mark.parametrize("arguments", [("message", "x"), ("start", "x", "--limit", "1.5")])
def test_a_text_in_place_of_a_number_is_told_in_plain_words(arguments: tuple[str, ...]) -> None:
    assert "is not a whole number" in run(*arguments).stderr


def test_a_mistyped_command_gets_the_nearest_one() -> None:
    assert "Did you mean start?" in run("strat").stderr
    assert "Did you mean list?" in run("contacts", "lst").stderr


def test_without_a_daemon_every_path_that_was_tried_is_named(place: Path) -> None:
    done = run("status", XDG_RUNTIME_DIR=str(place))
    assert done.exit_code == 6
    assert f"{place}/messagehub/control.sock" in done.stderr
    assert "/run/messagehub/control.sock" in done.stderr
    assert re.search("start it with: (hubd|systemctl (--user )?start hubd)", done.stderr), (
        "if it is installed"
    )
    home = run("status", XDG_RUNTIME_DIR="", XDG_STATE_HOME="", HOME=str(place))
    assert f"{place}/.local/state/messagehub/control.sock" in home.stderr


def test_a_daemon_with_a_unit_of_the_user_is_started_by_it(place: Path) -> None:
    unit = place / ".config/systemd/user/hubd.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    environ = {"XDG_RUNTIME_DIR": str(place / "run"), "XDG_CONFIG_HOME": "", "HOME": str(place)}
    assert "start it with: systemctl --user start hubd" in run("status", **environ).stderr
    named = run("status", "--socket", str(place / "x"), **environ)
    assert f"start it with: hubd --socket {place}/x" in named.stderr


def test_a_named_socket_that_is_missing_is_named_with_who_named_it(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    assert f"{path} (--socket)" in run("--socket", path, "status").stderr
    assert f"{path} (--socket)" in run("status", "--socket", path).stderr
    assert f"{path} ($HUBCTL_SOCKET)" in run("status", HUBCTL_SOCKET=path).stderr


def test_the_status_check_says_not_running_by_exit_code_10(tmp_path: Path) -> None:
    done = run("status", "--check", "--socket", str(tmp_path / "x.sock"))
    assert (done.exit_code, done.output) == (10, "")


def test_a_socket_left_behind_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    done = run("status", "--socket", str(path), "--json")
    assert done.exit_code == 6
    assert json.loads(done.stderr)["error"]["code"] == "refused"


def test_the_command_line_starts_without_heavy_imports() -> None:
    program = (
        "import sys\nfrom hubctl.cli import hubctl\nimport hubctl.commands.status, hubctl.commands.run\n"
        "heavy = {'trio', 'rich', 'tomlkit', 'wsproto', 'msgspec', 'jinja2', 'keyring'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_a_file_that_cannot_be_read_is_exit_code_1_before_any_daemon_is_asked(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("name = \n")
    done = run("apply", str(bad))
    assert done.exit_code == 1
    assert f"{bad}:1: this is not TOML" in done.stderr
    for path, reason in ((tmp_path, "is a directory"), (tmp_path / "none.csv", "cannot be read")):
        done = run("import", str(path), "--list", "x")
        assert done.exit_code == 1
        assert reason in done.stderr
    damaged = tmp_path / "damaged.csv"
    damaged.write_text('email\n"a@example.com\n')
    done = run("import", str(damaged), "--list", "x", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stderr)["error"]["message"].startswith(f"{damaged}:2: a quote is opened")


def test_a_map_to_a_column_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("mail,Vorname\na@example.com,Ann\n")
    done = run("import", str(path), "--list", "x", "--map", "Vornam=first_name")
    assert done.exit_code == 2
    assert "did you mean 'Vorname'?" in done.stderr


def test_the_version_is_told() -> None:
    assert run("--version").output.startswith("hubctl ")
