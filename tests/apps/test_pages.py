"""The pages that show commands one after the other: each command in its order, as a reader would type it.

A block of TOML whose first line is a comment with a file's name is that file from there on. A command that is
shown with an exit code ends with it, all others with 0.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.apps.conftest import Hub
from tests.apps.test_command_line import run

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
CSV = "email,first_name\n" + "".join(f"p{n}@example.com,P{n}\n" for n in range(5))

#: A file of a page with what is in it, or commands.
BLOCK = re.compile(r"^```(?:toml\n# (\S+\.toml)\n(.*?)|sh\n(.*?))^```", re.DOTALL | re.MULTILINE)


def played(hub: Hub, page: str) -> dict[str, str]:
    """What each command of a page said."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    hub.file("customers.csv", CSV)
    said: dict[str, str] = {}
    for file, body, block in BLOCK.findall(text):
        if file:
            hub.file(file, body)
        for line in block.splitlines():
            command, _, code = line.partition("  # exit code ")
            _, *arguments = shlex.split(command, comments=True)
            arguments = [
                f"{hub.folder}/{each}" if (hub.folder / each).is_file() else each for each in arguments
            ]
            done = run(*arguments, "--yes", HUBCTL_SOCKET=str(hub.socket))
            assert done.exit_code == int(code or 0), (line, done.stdout, done.stderr)
            said[command] = said.get(command, "") + done.stdout + done.stderr
    return said


def test_the_page_on_credits(hub: Hub) -> None:
    said = played(hub, "credits")
    assert "1 more than team has" in said["hubctl check news"]
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
    assert "to contacts that are added to customers while it runs" in said["hubctl check welcome"]
    assert "1 recipient more, added to customers" in said["hubctl log welcome"]
    assert "stopped" in said["hubctl stop welcome"]


def test_the_page_on_notifications(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    said = played(hub, "notifications")
    assert "spring is completed" in said["hubctl notifications --unread --mark-read"]
    assert hub.json("notifications", "--unread")["notifications"] == []
    assert "notify" in said["hubctl daemon reload"]


def test_the_page_on_trying_a_campaign(hub: Hub) -> None:
    said = played(hub, "trying")
    assert "5" in said["hubctl import customers.csv --list customers --dry-run"]
    assert "5 recipients" in said["hubctl start spring --dry-run"]
    assert "Spring, P1" in said["hubctl preview spring --to p1@example.com"]
    first = said["hubctl deliveries spring"]
    assert (first.count("sent"), first.count("pending")) == (2, 3)
    assert "completed: 5 sent" in said["hubctl report spring"]
    assert len(list((hub.folder / "state" / "outbox" / "spring").glob("*.eml"))) == 5


def test_the_page_on_templates(hub: Hub) -> None:
    hub.file("welcome.html", "<p>Good to have you.</p>")
    hub.file(
        "hubd.toml",
        '[providers.office]\ntype = "smtp"\nhost = "127.0.0.1"\nport = 1\nsecurity = "none"\n',
    )
    hub.ok("daemon", "reload")
    said = played(hub, "templates")
    assert "welcome@1" in said["hubctl template apply welcome.toml"]
    assert "welcome@2" in said["hubctl template apply layout.toml welcome.toml"]
    assert "welcome" in said["hubctl template list"]
    (shown,) = (text for line, text in said.items() if line.startswith("hubctl template show welcome@1"))
    assert "Good to have you." in shown
