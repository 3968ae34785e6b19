"""The pages that show commands one after the other: each command in its order, as a reader would type it.

A block of TOML whose first line is a comment with a file's name is that file. A command that is shown with an
exit code ends with it, all others with 0.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.apps.conftest import Hub
from tests.apps.test_command_line import run

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
CSV = "email,first_name\n" + "".join(f"p{n}@example.com,P{n}\n" for n in range(5))


def played(hub: Hub, page: str) -> dict[str, str]:
    """What each command of a page said."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    hub.file("customers.csv", CSV)
    for file, body in re.findall(r"^```toml\n# (\S+\.toml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        hub.file(file, body)
    said: dict[str, str] = {}
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            command, _, code = line.partition("  # exit code ")
            _, *arguments = shlex.split(command)
            arguments = [
                f"{hub.folder}/{each}" if (hub.folder / each).is_file() else each for each in arguments
            ]
            done = run(*arguments, "--yes", HUBCTL_SOCKET=str(hub.socket))
            assert done.exit_code == int(code or 0), (line, done.stdout, done.stderr)
            said[command] = said.get(command, "") + done.stdout + done.stderr
    return said


def test_the_page_on_credits(hub: Hub) -> None:
    said = played(hub, "credits")
    assert "1 too few in team" in said["hubctl check news"]
    assert "team: 5 spent, 0 held" in said["hubctl status news"]
    history = said["hubctl credits history team"]
    assert re.search(r"team +0 +0 +6 +6\n", history)
    assert re.search(r"one-off messages +0 +1\n", history)
    assert re.search(r"taken back +1 +One too many\n", history)
    assert "match a recount" in run("doctor", HUBCTL_SOCKET=str(hub.socket)).stdout


def test_the_page_on_schedules(hub: Hub) -> None:
    hub.contacts(3, into="customers")
    said = played(hub, "schedules")
    assert said["hubctl start weekly"].startswith(
        "weekly repeats monday 9:00 (Europe/Berlin); next on Monday"
    )
    assert "next:\n  Monday" in said["hubctl status weekly"]
    assert "weekly" in said["hubctl start --label news"]


def test_the_page_on_triggers(hub: Hub) -> None:
    hub.contacts(2, into="customers")  # they were there before, and two of the file's five
    said = played(hub, "triggers")
    assert "to who is added to customers while it runs" in said["hubctl check welcome"]
    assert "1 recipient more, added to customers" in said["hubctl log welcome"]
    assert "stopped" in said["hubctl stop welcome"]
