"""One command for several campaigns: names, patterns and labels; a row and an exit code for each."""

from __future__ import annotations

import json
from typing import Any

from tests.apps.conftest import Hub
from tests.apps.test_command_line import run
from tests.apps.test_completion import offered


def rows(hub: Hub, *command: str, code: int) -> dict[str, tuple[int, str | None]]:
    """Each campaign's exit code and state in the answer of a command."""
    done = run(*command, "--json", HUBCTL_SOCKET=str(hub.socket))
    assert done.exit_code == code, (command, done.stdout, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["schema"] == f"hubctl.{command[0]}/1"
    return {row["name"]: (row["exit"], row["state"]) for row in answer["results"]}


def test_several_campaigns_in_one_command(hub: Hub) -> None:
    hub.contacts(2)
    for name, labels in (("news-a", ["portfolio"]), ("news-b", ["portfolio", "de"]), ("other", [])):
        hub.campaign(name, labels=labels, rate="1/minute")
    assert offered(hub, "start", "--label", "p") == ["portfolio"]
    assert offered(hub, "start", "news-a", "n") == ["news-b"]
    starts = ("start", "--label", "portfolio", "--at", "2999-01-01T09:00:00Z")
    foretold = {"news-a": (0, "draft"), "news-b": (0, "draft")}
    assert rows(hub, *starts, "--dry-run", code=0) == foretold
    assert rows(hub, *starts, code=0) == {"news-a": (0, "scheduled"), "news-b": (0, "scheduled")}
    # One that cannot be done keeps no other from being done, and one that is so already is done.
    found = rows(hub, "start", "news-a", "nobody", "other", "x-*", "--at", "now", code=9)
    assert found == {"news-a": (0, "running"), "nobody": (3, None), "other": (0, "running"), "x-*": (3, None)}
    assert rows(hub, "pause", "news-*", code=9) == {"news-a": (0, "paused"), "news-b": (5, "scheduled")}
    assert rows(hub, "pause", "news-a", "other", code=0) == {"news-a": (0, "paused"), "other": (0, "paused")}
    assert rows(hub, "resume", "*e*", code=9).keys() == {"news-a", "news-b", "other"}
    assert rows(hub, "retry", "news-a", "other", code=0).keys() == {"news-a", "other"}
    assert rows(hub, "stop", "*", "--dry-run", code=0).keys() == {"news-a", "news-b", "other"}
    assert {state for _, state in rows(hub, "stop", "*", code=0).values()} == {"stopped"}
    assert rows(hub, "archive", "news-*", code=0).keys() == {"news-a", "news-b"}
    # What is archived is out of sight of patterns, and --undo sees nothing else.
    assert rows(hub, "stop", "*", "news-b", code=0).keys() == {"other", "news-b"}
    assert rows(hub, "archive", "*", "--undo", code=0).keys() == {"news-a", "news-b"}
    unasked = run("delete", "--label", "portfolio", HUBCTL_SOCKET=str(hub.socket))
    assert (unasked.exit_code, unasked.stdout) == (2, "")
    assert "delete 2 campaigns (news-a, news-b)" in unasked.stderr
    assert rows(hub, "delete", "--label", "portfolio", "--yes", code=0).keys() == {"news-a", "news-b"}
    assert [each["name"] for each in hub.json("list")["campaigns"]] == ["other"]


def test_waiting_for_several(hub: Hub) -> None:
    hub.contacts(2)
    hub.campaign("a")
    hub.campaign("b", text="{{ first_name }} {{ nickname }}")
    hub.campaign("c")
    assert rows(hub, "start", "a", "c", "--wait", code=0) == {"a": (0, "completed"), "c": (0, "completed")}
    told = hub.run("start", "a", "b")
    assert told.returncode == 1
    head, *lines = told.stdout.splitlines()
    assert head.split() == ["CAMPAIGN", "STATE", "RESULT"]
    assert "completed" in lines[0]
    assert "b is not ready to start" in told.stdout
    assert "nickname" in told.stdout


def test_what_is_no_choice_is_refused(hub: Hub) -> None:
    for wrong in (("pause",), ("pause", "a", "--label", "b"), ("pause", ""), ("pause", "a", "--label", " ")):
        done = run(*wrong, HUBCTL_SOCKET=str(hub.socket))
        assert (done.exit_code, done.stdout) == (2, ""), wrong
    for nothing in (("pause", "x-*"), ("pause", "--label", "x")):
        done = run(*nothing, HUBCTL_SOCKET=str(hub.socket))
        assert (done.exit_code, done.stdout) == (3, ""), nothing
    one = run("pause", "nobody", HUBCTL_SOCKET=str(hub.socket))
    assert one.exit_code == 3
    assert "there is no campaign nobody" in one.stderr
