"""What a person is told: the cause in plain words, the next step, and nothing of the inside."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio_websocket

from hubd.core import preflight
from hubd.wire.words import RISKS
from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub
from tests.shell.scripted_smtp import Say, serve_script

GOOD = 'name = "{name}"\nchannel = "email"\nlists = ["all"]\nkind = "transactional"\n'
GOOD += 'sender = "a@acme.example"\nsubject = "s"\ntext = "{text}"\n'


def test_a_fault_that_only_the_daemon_sees_applies_no_file_at_all(hub: Hub) -> None:
    one = hub.file("one.toml", GOOD.format(name="one", text="hello"))
    two = hub.file("two.toml", GOOD.format(name="two", text="{{ unclosed"))
    done = hub.run("apply", one, two)
    assert done.returncode == 1
    assert f"{two}:7: text: " in done.stderr
    assert hub.json("list")["campaigns"] == []
    hub.file("two.toml", GOOD.format(name="two", text="hello"))
    assert [each["created"] for each in hub.json("apply", one, two)["applied"]] == [True, True]


def test_a_file_for_a_campaign_that_runs_holds_the_others_back(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("busy", rate="1/minute")
    hub.ok("start", "busy")
    new = hub.file("new.toml", GOOD.format(name="new", text="hello"))
    assert hub.run("apply", new, f"{hub.folder}/busy.toml").returncode == 5
    assert [view["name"] for view in hub.json("list")["campaigns"]] == ["busy"]


@pytest.mark.parametrize("arguments", [("status",), ("--help",), ("list", "--json"), ("events", "--json")])
def test_a_full_disk_under_stdout_is_one_sentence(hub: Hub, arguments: tuple[str, ...]) -> None:
    hub.campaign("spring")
    with (
        open("/dev/full", "w") as full,
        launcher.popen(
            hub.command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=hub.environ
        ) as process,
    ):
        _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "the output cannot be written: no space left on device" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_full_disk_during_an_import_says_how_far_it_came(hub: Hub) -> None:
    rows = 40_000
    text = "email,note\n" + "".join(f"p{n}@example.com,{'x' * 100}\n" for n in range(rows))
    path = hub.file("many.csv", text)
    assert hub.process is not None
    size = sum(each.stat().st_size for each in (hub.folder / "state").glob("hub.db*"))
    # A limit on the size of files stands in for a full disk.
    limit = (size + 2_000_000, resource.RLIM_INFINITY)
    resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, limit)
    done = hub.run("import", path, "--list", "all")
    found = re.search(r"([\d,]+) of the 40,000 rows are imported", done.stderr)
    assert found, done.stderr
    assert "import the same file again when there is space" in done.stderr
    assert "sending continues" not in done.stderr
    assert done.returncode == 9
    resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert {each["name"]: each["contacts"] for each in hub.json("lists")["lists"]} == {
        "all": int(found[1].replace(",", ""))
    }


def test_a_message_of_the_outbox_names_its_file_and_where_its_words_come_from(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    tested = hub.json("test", "spring", "--to", "me@example.com")["delivery_id"]
    life = hub.json("message", str(tested))["delivery"]
    assert Path(life["file"]).read_bytes().startswith(b"From: ")
    shown = hub.ok("message", str(tested))
    assert life["file"] in shown
    assert "a transactional message with the content of spring" in shown
    words = ("--sender", "a@acme.example", "--subject", "Hi", "--text", "Hello")
    sent = hub.ok("send", "--provider", "outbox", "--to", "me@example.com", *words, "--wait").strip()
    assert re.search(r"campaign +a transactional message\n", hub.ok("message", sent))
    hub.ok("start", "spring", "--wait")
    of_it = hub.json("deliveries", "spring")["deliveries"][0]["id"]
    assert re.search(r"campaign +spring\n", hub.ok("message", str(of_it)))


def test_a_key_is_for_one_message(hub: Hub) -> None:
    words = ("send", "--provider", "outbox", "--sender", "a@acme.example", "--subject", "Hi", "--key", "k1")
    first = hub.ok(*words, "--to", "ann@example.com", "--text", "One")
    assert hub.ok(*words, "--to", "ann@example.com", "--text", "One") == first
    for to, text in (("bo@example.com", "One"), ("ann@example.com", "Two")):
        done = hub.run(*words, "--to", to, "--text", text)
        assert done.returncode == 5
        assert "this key was used for another message" in done.stderr
    assert len(list((hub.folder / "state/outbox/~outbox").glob("*.eml"))) <= 1


def test_who_is_no_contact_has_no_contact_id(hub: Hub) -> None:
    hub.contacts(1)
    more = {"unsubscribe": "https://acme.example/u/{{ contact_id }}", "postal_address": "1 Main St"}
    hub.campaign("spring", kind="marketing", subject="Hello", text="Hi", **more)
    send = ("send", "--provider", "outbox", "--template", "spring", "--to")
    done = hub.run(*send, "nobody@example.com")
    assert done.returncode == 1
    assert "import the contact first" in done.stderr
    assert "--field contact_id=" in done.stderr
    assert "default(" not in done.stderr
    hub.ok(*send, "nobody@example.com", "--field", "contact_id=4711")
    hub.ok(*send, "p0@example.com")


def test_only_what_can_be_typed_is_named_as_allowed(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    done = hub.run("pause", "spring")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == "possible now: hubctl start, hubctl start --at TIME"
    hub.ok("start", "spring", "--wait")
    assert hub.run("stop", "spring").stderr.splitlines()[-1] == "possible now: hubctl retry"


def test_what_the_command_line_can_judge_is_exit_code_2(hub: Hub) -> None:
    for arguments in (
        ("start", ""),
        ("status", " "),
        ("rate", "x", ""),
        ("test", "x", "--to", ""),
        ("suppress", "add", "notanaddress"),
        ("suppress", "remove", "notanaddress", "--yes"),
        ("start", "x", "--accept-risk", "bogus"),
    ):
        assert hub.run(*arguments).returncode == 2, arguments
    assert "neither an email address nor a phone number" in hub.run("suppress", "add", "nobody").stderr
    assert (
        "neither an email address"
        in hub.run("send", "--provider", "outbox", "--to", "nobody", "--text", "x").stderr
    )
    told = hub.run("start", "x", "--accept-risk", "bogus").stderr
    assert all(risk in told for risk in RISKS)
    assert set(RISKS) == preflight.RISKS


def test_limits_are_told_in_words(hub: Hub) -> None:
    told = hub.run("status", "x" * 65).stderr
    assert "has more than 64 characters" in told
    hub.campaign("spring")
    told = hub.run("rate", "spring", "fast").stderr
    assert told.startswith("error: rate: not a rate; ")


def test_an_unfit_campaign_says_once_how_to_put_it_right(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring", kind="marketing")
    assert hub.run("start", "spring").stderr.count("fix this") == 1


def test_who_has_no_phone_number_is_told_as_that(hub: Hub) -> None:
    hub.contacts(3)
    spec = 'name = "text"\nchannel = "sms"\nlists = ["all"]\nkind = "transactional"\ntext = "Hi"\n'
    hub.ok("apply", hub.file("text.toml", spec))
    assert "3 without phone number" in hub.ok("check", "text", code=1)
    hub.ok("import", hub.file("p.csv", "phone\n+12025550123\n"), "--list", "all")
    assert "3 have no phone number" in hub.ok("check", "text")


def test_outside_the_sending_window_is_told_as_that(hub: Hub) -> None:
    hub.contacts(3)
    begins = datetime.now(UTC) + timedelta(hours=3)
    window = f"{begins:%H}:00-{begins + timedelta(hours=1):%H}:00"
    spec = GOOD.format(name="night", text="hello") + f'[schedule]\nwindow = "{window}"\n'
    hub.ok("apply", hub.file("night.toml", spec))
    hub.ok("start", "night")
    end = time.monotonic() + TIMEOUT
    seen = hub.json("status", "night")["campaign"]
    while not seen["reason"]:
        assert time.monotonic() < end, seen
        seen = hub.json("status", "night")["campaign"]
    assert seen["reason"] == "outside the sending window of its recipients"
    assert (seen["state"], seen["counts"]["pending"]) == ("running", 3)


def test_a_live_rate_is_shown_with_the_settings(hub: Hub) -> None:
    hub.campaign("spring", rate="5/s")
    hub.ok("rate", "spring", "20/s", "1000/day")
    assert re.search(r"^ +rate +20/s, 1000/day$", hub.ok("show", "spring"), re.MULTILINE)
    hub.ok("rate", "spring", "none")
    assert "5/s" not in hub.ok("show", "spring")


async def test_a_login_that_is_answered_out_of_turn_does_not_work_and_says_why(hub: Hub) -> None:
    script = {
        "ehlo": [Say(b"250-script\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n")] * 9,
        "auth": [Say(b"250 2.0.0 Ok\r\n")],
    }
    async with serve_script(script) as server:
        config = f'[providers.office]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {server.port}\n'
        (hub.folder / "pw").write_text("secret")
        (hub.folder / "pw").chmod(0o600)
        config += 'security = "none"\nusername = "me"\npassword = { file = "pw" }\n'
        hub.file("hubd.toml", config)
        await trio.to_thread.run_sync(hub.ok, "daemon", "reload")
        bad = await trio.to_thread.run_sync(hub.run, "provider", "test", "office")
        good = await trio.to_thread.run_sync(hub.run, "provider", "test", "office")
    assert bad.returncode == 1
    assert bad.stdout.startswith("office does not work: ")
    assert bad.stdout.endswith("It said: 250 2.0.0 Ok\n")
    assert not bad.stdout.startswith("office does not work: It said")
    assert good.stdout == "office works (235)\n"


async def test_it_is_said_why_some_are_skipped_and_when_the_deferred_are_tried_next(hub: Hub) -> None:
    async with serve_script({"rcpt": [Say(b"450 4.2.0 come back later\r\n")] * 2}) as server:
        config = f'[providers.office]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {server.port}\n'
        hub.file("hubd.toml", config + 'security = "none"\n')

        def run() -> tuple[dict[str, str], str, str]:
            hub.ok("daemon", "reload")
            hub.contacts(4)
            hub.ok("suppress", "add", "p3@example.com")
            hub.campaign("spring", provider="office")
            hub.ok("start", "spring")
            end = time.monotonic() + TIMEOUT
            while hub.json("status", "spring")["campaign"]["counts"]["deferred"] != 2:
                assert time.monotonic() < end
            lines = (line.split(None, 1) for line in hub.ok("status", "spring").splitlines())
            listed = hub.json("deliveries", "spring", "--state", "deferred")["deliveries"]
            lives = [hub.json("message", str(each["id"]))["delivery"] for each in listed]
            hub.environ["HUBCTL_FORCE_TTY"] = "80"
            board = hub.ok("status", "--color", "never")
            return dict(lines), min(life["next_at"] for life in lives), board

        told, soonest, board = await trio.to_thread.run_sync(run)
    next_at = soonest[:19].replace("T", " ")
    assert told["skipped"] == "1 (1 suppressed)"
    assert told["deferred"] == f"2 (next try {next_at} UTC)"
    head, row = (line for line in board.splitlines() if line.startswith(("CAMPAIGN", "spring")))
    shown = dict(zip(head.replace("IN DOUBT", "DOUBT").split(), row.split(), strict=False))
    assert (shown["TOTAL"], shown["SENT"], shown["SKIPPED"], shown["DEFERRED"]) == ("4", "1", "1", "2")
    assert all(len(line) <= 80 for line in board.splitlines()[1:])


def test_a_demo_that_cannot_begin_leaves_nothing_behind(place: Path) -> None:
    environ = {**QUIET_ENV, "TMPDIR": str(place)}
    done = launcher.run(
        [sys.executable, "-m", "hubctl", "demo", "--smtp", "127.0.0.1:1"],
        timeout=TIMEOUT,
        cwd=ROOT,
        env=environ,
    )
    assert done.returncode == 1
    assert "does not accept email" in done.stderr
    assert list(place.iterdir()) == []


# -- the way to the daemon ---------------------------------------------------------------------------------

_AS_NOBODY = """
import os, sys
import hubctl.commands.status, hubd.client
from hubctl.app import version
from hubctl.cli import hubctl
version()  # what it needs is loaded while it may be read
if os.getuid() == 0:
    os.setuid(65534)
hubctl.main(sys.argv[1:])
"""


def test_a_socket_that_may_not_be_used_is_exit_code_4(hub: Hub) -> None:
    hub.socket.chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, "--socket", str(hub.socket), "status", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=hub.environ,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit"]) == ("permission_denied", 4)
    assert error["hint"]


async def _newer_daemon(path: Path, *, task_status: trio.TaskStatus[None]) -> None:
    """A daemon that speaks protocol 99 only: the websocket is real, and so is its answer to hub.hello."""
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(os.fspath(path))
        listener.listen()
        task_status.started()
        connection, _ = await listener.accept()
        async with trio.SocketStream(connection) as stream, trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            websocket = await request.accept(subprotocol="hub.jsonrpc.v1")
            hello = json.loads(await websocket.get_message())
            assert (hello["method"], hello["params"]["protocol"]) == ("hub.hello", [1])
            data = {"code": "protocol_unsupported", "protocol": [99], "server_version": "99.0"}
            data["hint"] = "install the same version on both sides"
            error = {"code": -32008, "message": "the daemon is version 99.0 and speaks protocol 99"}
            answer = {"jsonrpc": "2.0", "id": hello["id"], "error": {**error, "data": data}}
            await websocket.send_message(json.dumps(answer))
            with pytest.raises(trio_websocket.ConnectionClosed):
                await websocket.get_message()
            nursery.cancel_scope.cancel()


async def test_a_daemon_of_another_version_is_exit_code_8(place: Path) -> None:
    path = place / "c.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(_newer_daemon, path)
        done = await trio.run_process(
            [sys.executable, "-m", "hubctl", "--socket", str(path), "status", "--json"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env=QUIET_ENV,
        )
    assert done.returncode == 8, done.stderr
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["data"]["protocol"]) == ("protocol_unsupported", [99])


def test_a_daemon_without_a_runtime_directory_is_found_in_the_state_directory(place: Path) -> None:
    environ = {**QUIET_ENV, "XDG_STATE_HOME": str(place / "state")}
    (place / "state").mkdir()
    with (place / "log").open("wb") as log:
        process = launcher.popen([sys.executable, "-m", "hubd"], stderr=log, cwd=ROOT, env=environ)
    try:
        end = time.monotonic() + TIMEOUT
        with socket.socket(socket.AF_UNIX) as probe:
            while probe.connect_ex(str(place / "state/messagehub/control.sock")) != 0:
                assert process.poll() is None, (place / "log").read_text()
                assert time.monotonic() < end, "hubd did not come up"
                time.sleep(0.02)  # another process: there is no event to wait on
        done = launcher.run(
            [sys.executable, "-m", "hubctl", "status"],
            timeout=TIMEOUT,
            cwd=ROOT,
            env={**environ, "XDG_RUNTIME_DIR": str(place / "other")},
        )
        assert done.returncode == 0, done.stderr
    finally:
        process.terminate()
        process.wait(TIMEOUT)
