"""Which daemon hubctl talks to, in the order that is promised, and what is wrong with a hubctl.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubctl.contexts import choose
from hubctl.exits import Exit, Refused
from hubd.wire.places import SYSTEM_SOCKET
from tests.apps.conftest import Hub
from tests.apps.test_command_line import run

FILE = '[contexts.shop]\nsocket = "/srv/shop.sock"\n[contexts.lab]\nsocket = "lab.sock"\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config/messagehub").mkdir(parents=True)
    return tmp_path


def config(home: Path) -> Path:
    return home / ".config/messagehub/hubctl.toml"


def test_the_order_is_socket_variable_context_user_system(home: Path) -> None:
    environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    own = home / "run/messagehub/control.sock"
    assert choose(None, None, None, environ).path == own
    config(home).write_text(f'context = "lab"\n{FILE}')
    assert choose(None, None, None, environ).path == config(home).parent / "lab.sock"
    environ["HUBCTL_CONTEXT"] = "shop"
    assert choose(None, None, None, environ).path == Path("/srv/shop.sock")
    assert choose(None, "lab", None, environ).path == config(home).parent / "lab.sock"
    environ["HUBCTL_SOCKET"] = "/by/variable.sock"
    assert choose(None, "lab", None, environ).path == Path("/by/variable.sock")
    assert choose("/by/option.sock", "lab", None, environ).path == Path("/by/option.sock")


def test_user_and_system_are_contexts_without_any_file(home: Path) -> None:
    environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    assert choose(None, "system", None, environ).path == SYSTEM_SOCKET
    assert choose(None, "user", None, environ).path == home / "run/messagehub/control.sock"
    assert choose(None, "user", None, environ).chosen == "context user"


def test_a_socket_in_the_home_folder_and_one_beside_the_file(home: Path) -> None:
    config(home).write_text('[contexts.a]\nsocket = "~/x.sock"\n')
    assert choose(None, "a", None, {"HOME": str(home)}).path == home / "x.sock"
    other = home / "other.toml"
    other.write_text('[contexts.a]\nsocket = "y.sock"\n')
    for environ, named in (({"HUBCTL_CONFIG": str(other)}, None), ({}, str(other))):
        assert choose(None, "a", named, {"HOME": str(home), **environ}).path == home / "y.sock"


def test_a_context_may_name_an_endpoint_file_and_a_file_with_its_token(home: Path) -> None:
    config(home).write_text(
        '[contexts.a]\nendpoint = "~/e"\ntoken_file = "t"\n[contexts.b]\nsocket = "e.json"\n'
    )
    found = choose(None, "a", None, {"HOME": str(home)})
    assert (found.path, found.endpoint) == (home / "e", True)
    assert found.token_file == config(home).parent / "t"
    by_variable = choose(None, "a", None, {"HOME": str(home), "HUBCTL_TOKEN_FILE": "/run/token"})
    assert by_variable.token_file == Path("/run/token")
    assert choose(None, "b", None, {"HOME": str(home)}).endpoint, "as for --socket"


def test_a_context_may_name_a_socket_for_viewers(home: Path) -> None:
    config(home).write_text('[contexts.a]\nsocket = "/s/control.sock"\nobserve = "/s/observe.sock"\n')
    found = choose(None, "a", None, {"HOME": str(home)})
    assert found.tried == (Path("/s/control.sock"), Path("/s/observe.sock"))
    assert found.viewers == Path("/s/observe.sock")
    assert choose(None, "system", None, {}).viewers == SYSTEM_SOCKET.with_name("observe.sock")
    assert choose(None, "user", None, {"HOME": str(home)}).viewers is None


def test_on_windows_the_contexts_that_are_always_there_are_endpoint_files(home: Path) -> None:
    environ = {"LOCALAPPDATA": str(home / "own"), "ProgramData": str(home / "all"), "HOME": str(home)}
    for context, folder in (("user", "own"), ("system", "all"), (None, "own")):
        found = choose(None, context, None, environ, platform="win32")
        assert (found.path, found.endpoint) == (home / folder / "MessageHub/endpoint.json", True)


def test_an_unknown_context_names_the_known_ones(home: Path) -> None:
    config(home).write_text(FILE)
    with pytest.raises(Refused) as caught:
        choose(None, "shpo", None, {"HOME": str(home)})
    assert caught.value.status is Exit.USAGE
    assert "did you mean shop?" in str(caught.value)
    assert "lab, shop, system, user" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("context = \n", "this is not TOML"),
        ("contxt = 1\n", "contxt: unknown key; did you mean context?"),
        ("context = 1\n", "context: must be the name"),
        ("contexts = 1\n", "contexts: must be tables"),
        ("[contexts]\na = 1\n", "contexts.a: must be a table"),
        ("[contexts.a]\n", "contexts.a.socket: is missing"),
        ('[contexts.a]\nsocket = ""\n', "contexts.a.socket: must be a path"),
        ("[contexts.a]\nendpoint = 5\n", "contexts.a.endpoint: must be a path"),
        ('[contexts.a]\nsocket = "x"\nendpoint = "y"\n', "contexts.a: has both a socket and an endpoint"),
        ('[contexts.a]\nobserve = "x"\n', "contexts.a.socket: is missing"),
        (
            '[contexts.a]\nsocket = "x"\ntoken_file = "y"\n',
            "contexts.a.token_file: applies only together with endpoint",
        ),
        (
            '[contexts.a]\nendpoint = "x"\nobserve = "y"\n',
            "contexts.a.observe: applies only together with socket",
        ),
        ('[contexts.a]\nsocket = "x"\ntoken = "hunter2"\n', "contexts.a.token: unknown key"),
    ],
)
def test_a_bad_file_is_told_with_its_key_and_never_a_value(home: Path, text: str, problem: str) -> None:
    config(home).write_text(text)
    done = run("status", HOME=str(home), XDG_CONFIG_HOME="")
    assert done.exit_code == 1
    assert f"{config(home)}: {problem}" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_bad_file_does_not_matter_to_who_names_a_socket(home: Path) -> None:
    config(home).write_text("context = \n")
    assert run("status", "--socket", "/nonexistent", HOME=str(home), XDG_CONFIG_HOME="").exit_code == 6


def test_a_bad_file_is_told_with_how_a_context_is_written(home: Path) -> None:
    config(home).write_text("[contexts.shop]\nsockt = 1\n")
    hint = run("status", HOME=str(home), XDG_CONFIG_HOME="").stderr.splitlines()[-1]
    assert '[contexts.NAME], and on the next line socket = "PATH"' in hint


def test_a_file_that_was_named_must_be_there_and_text(home: Path) -> None:
    assert "cannot be read" in run("status", "--config", str(home / "none.toml")).stderr
    assert "cannot be read" in run("status", "--config", str(home)).stderr
    (home / "latin").write_bytes(b"context = '\xe9'")
    assert "it is not UTF-8" in run("status", "--config", str(home / "latin")).stderr


def test_a_context_is_used_and_named_when_nobody_answers(hub: Hub) -> None:
    file = hub.file("hubctl.toml", '[contexts.here]\nsocket = "state/control.sock"\n')
    environ = {"HUBCTL_CONFIG": file, "HOME": str(hub.folder)}
    told = run("daemon", "status", "--context", "here", "-v", **environ)
    assert told.exit_code == 0, told.stderr
    assert f"(context here of {file})" in told.stderr
    hub.end()
    done = run("status", "--context", "here", **environ)
    assert done.exit_code == 6
    assert "context here" in done.stderr


def test_an_option_that_loses_to_a_variable_says_so() -> None:
    done = run("status", "--context", "system", HUBCTL_SOCKET="/nonexistent/x")
    assert "warning: $HUBCTL_SOCKET is set, so --context system is not used" in done.stderr
    assert "/nonexistent/x ($HUBCTL_SOCKET)" in done.stderr
