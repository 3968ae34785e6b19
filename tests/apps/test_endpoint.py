"""hubctl over TCP by an endpoint file, with a daemon of another version, and what its variables do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hubctl.app import App, is_terminal
from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, new_hub, short_folder

#: hubctl of a later release: it speaks another protocol over the same websocket.
_NEWER = """
import hubd.wire
hubd.wire.PROTOCOL = 2
from hubctl.__main__ import main
main()
"""


@dataclass
class Listening:
    """A hubd that listens on TCP, too, and says where in a file. hubctl is told of it by the environment."""

    folder: Path
    process: subprocess.Popen[str]

    @property
    def endpoint(self) -> Path:
        return self.folder / "endpoint.json"

    @property
    def token(self) -> str:
        return str(json.loads(self.endpoint.read_text())["token"])

    def copy(self, name: str, **changes: object) -> str:
        """The endpoint file with something else in it."""
        path = self.folder / name
        path.write_text(json.dumps({**json.loads(self.endpoint.read_text()), **changes}))
        path.chmod(0o600)
        return str(path)


@contextmanager
def listening(folder: Path, program: str = "") -> Iterator[Listening]:
    (folder / "hubd.toml").touch()
    options = {"config": "hubd.toml", "state-dir": "state", "endpoint": "endpoint.json"}
    how = ("-c", program) if program else ("-m", "hubd")
    command = [sys.executable, *how, *(f"--{each}={folder / name}" for each, name in options.items())]
    with launcher.popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=QUIET_ENV) as process:
        assert process.stderr is not None
        assert any("ready on" in line for line in process.stderr), "hubd did not come up"
        try:
            yield Listening(folder, process)
        finally:
            process.terminate()
            process.wait(TIMEOUT)


@pytest.fixture(scope="module")
def hub_on_tcp() -> Iterator[Listening]:
    """One for all that do not stop it."""
    with short_folder() as folder, listening(folder) as hub:
        yield hub


def hubctl(*arguments: str, program: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    how = ("-c", program) if program else ("-m", "hubctl")
    return launcher.run(
        [sys.executable, *how, *arguments], stdin="", timeout=TIMEOUT, cwd=ROOT, env={**QUIET_ENV, **environ}
    )


def fault(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Exit code, word and hint of what went wrong."""
    error = json.loads(done.stderr)["error"]
    return done.returncode, error["code"], error["hint"]


# -- an endpoint file --------------------------------------------------------------------------------------


def test_an_endpoint_file_can_be_named_wherever_a_socket_can(hub_on_tcp: Listening) -> None:
    path = str(hub_on_tcp.endpoint)
    toml = hub_on_tcp.folder / "hubctl.toml"
    toml.write_text('[contexts.office]\nendpoint = "endpoint.json"\n')
    for told, done in (
        (f"{path}, --socket", hubctl("--socket", path, "list", "-v")),
        (f"{path}, $HUBCTL_SOCKET", hubctl("list", "-v", HUBCTL_SOCKET=path)),
        ("context office", hubctl("list", "-v", "--context", "office", HUBCTL_CONFIG=str(toml))),
    ):
        assert done.returncode == 0, done.stderr
        assert told in done.stderr
        assert hub_on_tcp.token not in done.stderr


def test_a_command_that_follows_works_over_tcp(hub_on_tcp: Listening) -> None:
    environ = {"HUBCTL_SOCKET": str(hub_on_tcp.endpoint)}
    contacts = hub_on_tcp.folder / "people.csv"
    contacts.write_text("email\nann@example.com\n")
    campaign = hub_on_tcp.folder / "spring.toml"
    campaign.write_text(
        'name = "spring"\nchannel = "email"\nlists = ["all"]\nkind = "transactional"\n'
        'sender = "Acme <news@acme.example>"\nsubject = "Hello"\ntext = "Hi"\n'
    )
    assert hubctl("import", str(contacts), "--list", "all", **environ).returncode == 0
    assert hubctl("apply", str(campaign), **environ).returncode == 0
    done = hubctl("start", "spring", "--follow", "--yes", **environ)
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout


def test_each_way_in_which_an_endpoint_file_fails_is_told_apart(hub_on_tcp: Listening) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets this port meanwhile
        taken.bind(("127.0.0.1", 0))
        stale = hub_on_tcp.copy("stale.json", url=f"ws://127.0.0.1:{taken.getsockname()[1]}/rpc")
        assert fault(hubctl("list", "--json", "--socket", stale))[:2] == (6, "refused")
    exposed = hub_on_tcp.copy("exposed.json")
    Path(exposed).chmod(0o644)
    foreign = hub_on_tcp.copy("foreign.json", url="ws://192.0.2.1:80/rpc")
    wrong = hub_on_tcp.copy("wrong.json", token="s3cr3t")
    for path, expected, words in (
        (str(hub_on_tcp.folder / "none.json"), (6, "socket_missing"), "hubd --endpoint"),
        (exposed, (4, "endpoint_exposed"), "chmod 600"),
        (foreign, (6, "bad_endpoint"), "hubd --endpoint"),
        (wrong, (4, "unauthenticated"), "does not belong to the hubd"),
    ):
        done = hubctl("list", "--json", "--socket", path)
        assert fault(done)[:2] == expected
        assert words in fault(done)[2]
        assert "s3cr3t" not in done.stderr


def test_a_token_comes_from_a_file_and_its_role_decides(hub_on_tcp: Listening) -> None:
    issued = hubctl(
        "rpc", "call", "auth.ticket", '{"role": "viewer", "origin": null}',
        HUBCTL_SOCKET=str(hub_on_tcp.folder / "state/control.sock"),
    )  # fmt: skip
    token = hub_on_tcp.folder / "token"
    token.write_text(json.loads(issued.stdout)["ticket"])
    token.chmod(0o600)
    environ = {"HUBCTL_SOCKET": hub_on_tcp.copy("bare.json", token=None)}
    assert fault(hubctl("list", "--json", **environ))[:2] == (4, "unauthenticated")
    environ["HUBCTL_TOKEN_FILE"] = str(token)
    done = hubctl("daemon", "reload", "--json", **environ)
    assert fault(done)[:2] == (4, "forbidden")
    assert "the token in the endpoint file of hubd is an operator's" in fault(done)[2]
    assert "a ticket works only once" in fault(hubctl("list", "--json", **environ))[2]


def test_status_check_knows_a_file_of_a_daemon_that_has_ended() -> None:
    with short_folder() as folder:
        with listening(folder) as hub:
            environ = {"HUBCTL_SOCKET": hub.copy("kept.json")}
            assert hubctl("status", "--check", **environ).returncode == 0
        assert not hub.endpoint.exists(), "a daemon that ends takes its file away"
        assert hubctl("status", "--check", **environ).returncode == 10


# -- what goes over the wire -------------------------------------------------------------------------------


def test_the_frames_are_shown_without_the_token(hub_on_tcp: Listening) -> None:
    environ = {"HUBCTL_SOCKET": str(hub_on_tcp.endpoint), "HUBCTL_DEBUG": "rpc"}
    done = hubctl("list", "--json", **environ)
    plain = hubctl("list", "--json", HUBCTL_SOCKET=environ["HUBCTL_SOCKET"])
    assert done.stdout == plain.stdout, "it is on stderr only"
    assert plain.stderr == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("rpc -> GET /rpc at 127.0.0.1:")
    assert lines[0].endswith(f"({hub_on_tcp.endpoint}, $HUBCTL_SOCKET), hub.bearer.********")
    assert '"method": "campaign.list"' in done.stderr
    assert all(line.startswith(("rpc -> ", "rpc <- ")) for line in lines)
    assert hub_on_tcp.token not in done.stderr


def test_a_ticket_and_a_field_that_holds_a_secret_are_masked(hub_on_tcp: Listening) -> None:
    environ = {"HUBCTL_SOCKET": str(hub_on_tcp.folder / "state/control.sock"), "HUBCTL_DEBUG": "rpc"}
    done = hubctl("rpc", "call", "auth.ticket", '{"origin": null}', **environ)
    assert json.loads(done.stdout)["ticket"] not in done.stderr
    assert '"ticket": "********"' in done.stderr
    done = hubctl("rpc", "call", "hub.status", '{"auth_token": "hunter2"}', **environ)
    assert done.returncode != 0
    assert "hunter2" not in done.stderr


def test_another_word_than_rpc_is_told() -> None:
    done = hubctl("--socket", "/nonexistent/x", "list", HUBCTL_DEBUG="1")
    assert done.stderr.startswith("warning: HUBCTL_DEBUG knows only: rpc\n")


def test_debugging_does_not_disturb_completion(hub_on_tcp: Listening) -> None:
    environ = {"_HUBCTL_COMPLETE": "bash_complete", "COMP_WORDS": "hubctl show ", "COMP_CWORD": "2"}
    program = "import sys; from hubctl.__main__ import main; sys.argv[0] = 'hubctl'; main()"
    done = hubctl(program=program, HUBCTL_SOCKET=str(hub_on_tcp.endpoint), HUBCTL_DEBUG="rpc", **environ)
    assert done.stderr == ""


# -- another version ---------------------------------------------------------------------------------------


def test_a_newer_hubctl_names_both_versions_and_can_still_end_the_daemon() -> None:
    with new_hub() as hub:
        environ = {"HUBCTL_SOCKET": str(hub.socket)}
        done = hubctl("list", "--json", program=_NEWER, **environ)
        assert fault(done)[:2] == (8, "protocol_unsupported")
        message = json.loads(done.stderr)["error"]["message"]
        assert "speaks protocol 2; the daemon is version" in message
        assert message.endswith("speaks protocol 1")
        assert "hubctl daemon shutdown" in fault(done)[2]
        for other in (("status",), ("doctor",), ("start", "x", "--yes"), ("daemon", "backup", "x")):
            assert hubctl(*other, program=_NEWER, **environ).returncode == 8
        done = hubctl("daemon", "status", "--json", program=_NEWER, **environ)
        assert (done.returncode, json.loads(done.stdout)["pid"]) == (0, hub.process and hub.process.pid)
        assert done.stderr.startswith("warning: hubctl ")
        done = hubctl("daemon", "shutdown", "--yes", program=_NEWER, **environ)
        assert done.returncode == 0, done.stderr
        assert hub.process is not None
        assert hub.process.wait(TIMEOUT) == 0


#: hubd of a later release, in the same two ways.
_NEWER_HUBD = """
import sys, hubd.wire
hubd.wire.{0}
from hubd.__main__ import main
main(sys.argv[1:])
"""


def test_an_older_hubctl_names_both_versions_and_can_still_end_a_newer_daemon() -> None:
    with short_folder() as folder, listening(folder, _NEWER_HUBD.format("PROTOCOL = 2")) as hub:
        environ = {"HUBCTL_SOCKET": str(folder / "state/control.sock")}
        done = hubctl("list", "--json", **environ)
        assert fault(done)[:2] == (8, "protocol_unsupported")
        assert "speaks protocol 1; the daemon is version" in done.stderr
        done = hubctl("daemon", "status", **environ)
        assert done.returncode == 0, done.stderr
        assert f"process {hub.process.pid}" in done.stdout
        assert hubctl("daemon", "shutdown", "--yes", **environ).returncode == 0
        assert hub.process.wait(TIMEOUT) == 0


def test_a_daemon_that_speaks_another_websocket_protocol_is_named() -> None:
    newer = _NEWER_HUBD.format("SUBPROTOCOL = 'hub.jsonrpc.v2'")
    with short_folder() as folder, listening(folder, newer) as hub:
        for path in (folder / "state/control.sock", hub.endpoint):
            done = hubctl("daemon", "status", "--json", HUBCTL_SOCKET=str(path))
            assert fault(done)[:2] == (8, "protocol_unsupported")
            assert "speaks hub.jsonrpc.v1; this daemon speaks hub.jsonrpc.v2" in done.stderr


# -- terminals and colours ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({}, False),
        ({"NO_COLOR": ""}, False),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "0"}, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        ({"HUBCTL_FORCE_TTY": "1"}, True),
        ({"HUBCTL_FORCE_TTY": "0"}, False),
        ({"HUBCTL_FORCE_TTY": "1", "NO_COLOR": "1"}, False),
        ({"HUBCTL_FORCE_TTY": "1", "TERM": "dumb"}, False),
    ],
)
def test_when_a_pipe_gets_colours(hub_on_tcp: Listening, environ: dict[str, str], coloured: bool) -> None:
    done = hubctl("provider", "list", HUBCTL_SOCKET=str(hub_on_tcp.endpoint), **environ)
    assert done.returncode == 0, done.stderr
    assert ("\x1b[" in done.stdout) is coloured
    never = hubctl("provider", "list", "--color", "never", HUBCTL_SOCKET=str(hub_on_tcp.endpoint), **environ)
    assert "\x1b[" not in never.stdout


def test_a_forced_terminal_may_have_a_width_and_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBCTL_FORCE_TTY", "72")
    assert App().width() == 72
    assert is_terminal(sys.stdout)
    assert not App().may_ask(), "stdin is none"
    monkeypatch.setenv("HUBCTL_FORCE_TTY", "1")
    monkeypatch.setenv("COLUMNS", "50")
    assert App().width() == 50
    monkeypatch.delenv("HUBCTL_FORCE_TTY")
    assert App().width() == 10_000


def test_hubctl_no_input_asks_nothing_on_a_terminal(hub_on_tcp: Listening, on_terminal: Any) -> None:
    environ = {**QUIET_ENV, "HUBCTL_SOCKET": str(hub_on_tcp.endpoint), "HUBCTL_NO_INPUT": "1"}
    terminal = on_terminal([sys.executable, "-m", "hubctl", "suppress", "remove", "ann@example.com"], environ)
    assert "pass --yes" in terminal.rest()
    assert terminal.process.returncode == 2
