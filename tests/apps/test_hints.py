"""What spares somebody a look at the manual: the nearest name, trouble where one looks, clear words."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket

from hubctl import render, render_events
from tests.apps.conftest import QUIET_ENV, ROOT, Hub
from tests.apps.test_command_line import run
from tests.whole.world import hostile, provider


def test_a_mistyped_campaign_gets_the_nearest_one(hub: Hub) -> None:
    hub.campaign("spring-sale")
    for command in ("status", "start", "show", "pause", "failures", "log", "deliveries", "wait"):
        done = hub.run(command, "sprnig-sale")
        assert done.returncode == 3
        assert "there is no campaign sprnig-sale; did you mean spring-sale?" in done.stderr
    assert "did you mean" not in hub.run("status", "xyz").stderr


def test_a_provider_in_trouble_is_seen_in_status(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    assert "provider outbox is" not in hub.ok("status", "spring")
    hub.ok("provider", "disable", "outbox")
    assert "provider outbox is disabled" in hub.ok("status", "spring")
    assert "disabled" in hub.ok()
    hub.ok("provider", "enable", "outbox")
    assert "disabled" not in hub.ok()


def test_a_provider_that_is_switched_says_which_campaigns_it_holds(hub: Hub) -> None:
    hub.contacts(50)
    for name in ("june", "july", "by-hand"):
        hub.campaign(name, rate="10/minute")
        hub.ok("start", name)
    hub.ok("pause", "by-hand")
    told = hub.ok("provider", "disable", "outbox").splitlines()
    back = [f"{name} pauses; when outbox is enabled again: hubctl resume {name}" for name in ("june", "july")]
    assert told == ["outbox is disabled", *back]
    for name in ("june", "july"):
        hub.ok("wait", name, "--for", "paused", "--timeout", "30s")
    assert set(hub.json("provider", "disable", "outbox")["held"]) == {"june", "july"}
    told = hub.ok("provider", "enable", "outbox").splitlines()
    assert told[1:] == [f"{name} is still paused: hubctl resume {name}" for name in ("june", "july")]
    hub.ok("resume", "june")
    assert hub.json("provider", "enable", "outbox")["held"] == ["july"]


def test_waiting_that_is_given_up_tells_how_it_stands(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring", rate="1/minute")
    hub.ok("start", "spring", "--limit", "1", "--wait")
    done = hub.run("wait", "spring", "--timeout", "500ms")
    assert done.returncode == 7
    assert "; spring is paused (limit): 1 sent, 2 pending of 3\n" in done.stderr
    assert "the work continues" not in done.stderr


def test_a_limit_for_a_campaign_that_runs_without_one_is_refused(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring", rate="1/minute")
    hub.ok("start", "spring")
    for more in ((), ("--dry-run",), ("--follow",)):
        done = hub.run("start", "spring", "--limit", "2", *more)
        assert done.returncode == 5, done.stdout
        assert "already running without a limit: --limit 2 was not set" in done.stderr
        assert "hubctl pause spring" in done.stderr
    hub.ok("pause", "spring")
    hub.ok("start", "spring", "--limit", "2")
    assert "already" in hub.ok("start", "spring", "--limit", "2"), "asked twice it is the same"


def test_a_test_that_lacks_a_field_says_what_a_test_can_do(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring", text="Hello {{ nickname }}")
    done = hub.run("test", "spring", "--to", "me@acme.example")
    assert done.returncode == 1
    assert "choose a contact that has it with --as CONTACT" in done.stderr
    assert "--field" not in done.stderr


def test_what_an_outbox_took_is_told_as_that(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    assert "outbox only writes files; nothing leaves this machine" in hub.ok("check", "spring")
    told = hub.ok("test", "spring", "--to", "me@acme.example")
    assert told.startswith(f"written to the outbox; nothing left this machine: {hub.folder}/state/outbox/")
    assert Path(told.strip().rpartition(": ")[2]).is_file()
    words = ("--to", "me@acme.example", "--sender", "a@acme.example", "--subject", "s", "--text", "x")
    done = hub.run("send", "--provider", "outbox", *words, "--wait")
    assert "written to the outbox; nothing left this machine: " in done.stderr


def test_who_was_refused_for_good_is_suppressed_and_each_step_says_so(hub: Hub) -> None:
    with hostile(hub.folder) as server:
        server.mood(to={"p1@example.com": {"rcpt": ["550 5.1.1 no such user"] * 9}})
        hub.file("hubd.toml", provider("plain", server.port))
        hub.ok("daemon", "reload")
        hub.contacts(3)
        hub.campaign("june", provider="plain")
        hub.ok("start", "june", "--wait")
        assert "first run hubctl suppress remove ADDRESS" in hub.ok("failures", "june")
        shown = hub.ok("suppress", "list")
        assert "mailbox unknown" in shown
        assert "campaign june" in shown
        alone = "1 is on the suppression list and unchanged"
        for kind in ("transient", "permanent"):
            done = hub.run("retry", "june", "--class", kind)
            assert done.stdout == "june: nothing to retry\n"
            assert f"{alone}: hubctl suppress remove ADDRESS" in done.stderr
        foretold = hub.ok("retry", "june", "--class", "permanent", "--dry-run")
        assert foretold == f"june: nothing to retry; {alone}\n"
        hub.ok("suppress", "remove", "p1@example.com", "--yes")
        assert "1 failed for good: hubctl retry june --class permanent" in hub.run("retry", "june").stderr
        foretold = hub.ok("retry", "june", "--class", "permanent", "--dry-run")
        assert foretold == "june: would queue 1 recipient again\n"
        server.mood()
        assert "1 recipient queued again" in hub.ok("retry", "june", "--class", "permanent")
        hub.ok("wait", "june", "--timeout", "30s")
        server.mood(to={"one@example.com": {"rcpt": ["550 5.1.1 no such user"]}})
        words = ("--sender", "a@acme.example", "--subject", "s", "--text", "x", "--wait")
        hub.ok("send", "--provider", "plain", "--to", "one@example.com", *words, code=1)
        assert "a transactional message via plain" in hub.ok("suppress", "list")


def test_a_campaign_that_is_resumed_can_be_followed_to_its_end(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring")
    hub.ok("start", "spring", "--limit", "1", "--wait")
    done = hub.run("resume", "spring", "--follow")
    assert done.returncode == 0
    assert "spring  completed" in done.stdout
    assert "spring is completed" in done.stderr
    assert hub.run("resume", "spring", "--wait").returncode == 5


def test_providers_are_troubled_in_words() -> None:
    view: Any = {"name": "office", "state": "half_open", "reason": "no answer\x1b[2J", "until": None}
    assert render.troubled(view) == "provider office is half open: no answer\\x1b[2J"
    view = {"name": "office", "state": "resting", "reason": "", "until": "2026-12-01T08:00:05.000Z"}
    assert render.troubled(view) == "provider office is resting until 08:00:05 UTC"


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("campaign.state", {"from": "draft", "to": "running", "reason": ""}, "draft -> running"),
        (
            "campaign.state",
            {"from": "running", "to": "paused", "reason": "limit"},
            "running -> paused (limit)",
        ),
        ("campaign.applied", {"created": True, "changed": []}, "created"),
        ("campaign.applied", {"created": False, "changed": ["text", "rate"]}, "changed text, rate"),
        ("campaign.applied", {"created": True, "clone_of": "old"}, "made from old"),
        ("campaign.rate", {"rate": ["20/s"]}, "20/s"),
        ("campaign.rate", {"rate": []}, "no limit of its own"),
        ("campaign.archived", {"archived": True}, "archived"),
        (
            "provider.changed",
            {"provider": "x", "from": "ready", "to": "resting", "reason": "no answer"},
            "x: ready -> resting (no answer)",
        ),
        ("something.new", {"n": 1, "deep": {}}, "n=1"),
    ],
)
def test_events_are_told_in_words(kind: str, data: dict[str, Any], words: str) -> None:
    row = {"seq": 7, "type": kind, "ts": "2026-12-01T08:00:05.000Z", "data": data}
    assert render_events.event(row).endswith(f"  {words}")


def test_the_help_begins_with_the_commands_and_names_arguments_once() -> None:
    told = run("--help").output
    assert told.index("Begin:") < told.index("Options:")
    told = run("start", "--help").output
    assert told.index("Example:") < told.index("common options: hubctl help options")
    assert told.count("NAME") == 1, "in the usage"
    assert "--context" not in told


async def _older_daemon(path: Path, *, task_status: trio.TaskStatus[None]) -> None:
    """A daemon that greets and knows no other method."""
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(os.fspath(path))
        listener.listen()
        task_status.started()
        connection, _ = await listener.accept()
        async with trio.SocketStream(connection) as stream, trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            websocket = await request.accept(subprotocol="hub.jsonrpc.v1")
            hello = json.loads(await websocket.get_message())
            await websocket.send_message(
                json.dumps({"jsonrpc": "2.0", "id": hello["id"], "result": {"epoch": 1}})
            )
            asked = json.loads(await websocket.get_message())
            error = {
                "code": -32601,
                "message": "there is no such method",
                "data": {"code": "method_not_found"},
            }
            await websocket.send_message(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}))
            with pytest.raises(trio_websocket.ConnectionClosed):
                await websocket.get_message()
            nursery.cancel_scope.cancel()


async def test_a_daemon_that_is_older_than_a_command_is_told_as_that(place: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_older_daemon, place / "s")
        done = await trio.run_process(
            [sys.executable, "-m", "hubctl", "--socket", str(place / "s"), "archive", "x", "--json"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env=QUIET_ENV,
        )
    assert done.returncode == 8, done.stderr
    error = json.loads(done.stderr)["error"]
    assert "does not support this command" in error["message"]
    assert "the same version on both sides" in error["hint"]
