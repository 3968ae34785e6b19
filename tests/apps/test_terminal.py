"""hubctl on a terminal: it asks, it draws, and it says who would get a message."""

from __future__ import annotations

import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tests.apps.conftest import QUIET_ENV, TIMEOUT, Hub


def test_start_asks_first_and_no_means_no(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(3)
    hub.campaign("spring")
    terminal = on_terminal(hub.command("start", "spring"), hub.environ)
    terminal.until("start spring: 3 recipients via outbox")
    terminal.until("[y/N]")
    terminal.type("n\n")
    assert "nothing was done" in terminal.rest()
    assert terminal.process.returncode == 1
    assert hub.json("status", "spring")["campaign"]["state"] == "draft"


def test_following_draws_bars_and_ends_with_the_result(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(30)
    hub.campaign("spring", rate="30/s")
    terminal = on_terminal(hub.command("start", "spring", "--follow"), hub.environ)
    terminal.until("[y/N]")
    terminal.type("y\n")
    seen = terminal.rest()
    assert terminal.process.returncode == 0, seen
    assert "━" in seen
    assert "100 %" in seen
    assert "\x1b[32mcompleted" in seen


def test_what_is_followed_stays_on_lines_that_fit_the_terminal(hub: Hub, on_terminal: Any) -> None:
    """A line that is too long takes two of the terminal, and the next picture is drawn at the wrong place."""
    hub.contacts(40)
    hub.ok("suppress", "add", "p7@example.com")
    hub.campaign("spring-sale", rate="40/s")
    follow = hub.command("start", "spring-sale", "--follow", "--yes")
    terminal = on_terminal(follow, {**hub.environ, "COLUMNS": "60"})
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.rest())
    assert terminal.process.returncode == 0, seen
    drawn = [line for line in re.split(r"[\r\n]+", seen) if "sent" in line and "%" in line]
    assert drawn
    assert all(len(line) <= 60 for line in drawn)


def test_no_input_and_yes_ask_nothing_and_no_color_colours_nothing(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    terminal = on_terminal(
        hub.command("start", "spring", "--yes", "--wait"), {**hub.environ, "NO_COLOR": "1"}
    )
    seen = terminal.rest()
    assert terminal.process.returncode == 0, seen
    assert "[y/N]" not in seen
    assert "\x1b[" not in seen
    terminal = on_terminal(hub.command("delete", "spring", "--no-input"), hub.environ)
    assert "pass --yes" in terminal.rest()
    assert terminal.process.returncode == 2


def test_ctrl_c_on_a_terminal_detaches_and_leaves_the_cursor_visible(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(100)
    hub.campaign("slow", rate="1/s")
    hub.ok("start", "slow")
    terminal = on_terminal(hub.command("watch"), hub.environ)
    terminal.until("slow")
    terminal.process.send_signal(signal.SIGINT)
    seen = terminal.rest()
    assert terminal.process.returncode == 130
    assert "detached; the campaigns continue" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


def test_while_the_daemon_is_away_the_live_board_says_so(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(100)
    hub.campaign("slow", rate="1/s")
    hub.ok("start", "slow")
    terminal = on_terminal(hub.command("watch"), {**hub.environ, "COLUMNS": "80"})
    terminal.until("/s")
    assert hub.process is not None
    hub.process.kill()
    hub.process.wait(TIMEOUT)
    terminal.after("hubd has been unreachable since")
    hub.boot()
    terminal.after("p pause")  # which can be typed again
    terminal.type("q")
    assert "detached" in terminal.rest()
    assert terminal.process.returncode == 0


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hubctl", "demo", *arguments]


def test_the_demo_shows_the_whole_thing_and_cleans_up(place: Path, on_terminal: Any) -> None:
    terminal = on_terminal(demo("--recipients", "40"), {**QUIET_ENV, "TMPDIR": str(place)})
    seen = terminal.rest()
    assert terminal.process.returncode == 0, seen
    for part in ("40 imported, 1 duplicate, 3 rows refused", "━", "Who got it", "Subject:", "six commands"):
        assert part in seen, part
    folder = next(place.iterdir())
    assert list((folder / "state/outbox/welcome").glob("*.eml"))
    assert (folder / "welcome.toml").exists()
    assert not (folder / "state/control.sock").exists()


def test_the_demo_ends_its_daemon_on_ctrl_c_and_removes_its_folder_when_asked(
    place: Path, on_terminal: Any
) -> None:
    terminal = on_terminal(demo("--clean", "--recipients", "2000"), {**QUIET_ENV, "TMPDIR": str(place)})
    terminal.until("welcome.toml (email)")
    terminal.process.send_signal(signal.SIGINT)
    seen = terminal.rest()
    assert terminal.process.wait(TIMEOUT) == 130, seen
    assert "interrupted; the demo's hubd has ended" in seen
    assert "Traceback" not in seen
    assert list(place.iterdir()) == []


def test_the_demo_refuses_a_mail_server_that_does_not_answer(place: Path, on_terminal: Any) -> None:
    with socket.socket() as taken:  # bound and not listening: nothing can answer there
        taken.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{taken.getsockname()[1]}"
        terminal = on_terminal(demo("--clean", "--smtp", server), {**QUIET_ENV, "TMPDIR": str(place)})
        seen = terminal.rest()
    assert terminal.process.returncode == 1, seen
    assert f"the mail server {server} does not accept email" in seen
    assert list(place.iterdir()) == []


def test_with_very_many_recipients_a_y_is_not_enough(hub: Hub, on_terminal: Any) -> None:
    rows = "".join(f"p{n}@example.com\n" for n in range(10_001))
    hub.ok("import", hub.file("many.csv", "email\n" + rows), "--list", "all")
    hub.campaign("spring", subject="Hi", text="Hi", rate="1/s")
    terminal = on_terminal(hub.command("start", "spring"), hub.environ)
    terminal.until("start spring: 10,001 recipients via outbox, about ")
    terminal.until("Type spring to continue:")
    terminal.type("y\n")
    assert "nothing was done" in terminal.rest()
    assert hub.json("status", "spring")["campaign"]["state"] == "draft"
    small = on_terminal(hub.command("start", "spring", "--limit", "5"), hub.environ)
    small.until("5 of them now? [y/N]")
    small.type("n\n")
    small.rest()
    terminal = on_terminal(hub.command("start", "spring"), hub.environ)
    terminal.until("Type spring to continue:")
    terminal.type("spring\n")
    terminal.rest()
    assert terminal.process.returncode == 0
    assert hub.json("status", "spring")["campaign"]["state"] == "running"


def test_a_question_says_what_it_touches(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(3)
    hub.campaign("spring", rate="1/minute")
    hub.ok("start", "spring")
    for command, question in (
        (("contacts", "remove", "p0@example.com"), "remove p0@example.com, which is in the list all?"),
        (
            ("daemon", "shutdown"),
            "shut hubd down: 1 campaign is running and continues when it starts again?",
        ),
    ):
        terminal = on_terminal(hub.command(*command), hub.environ)
        terminal.until(f"{question} [y/N]")
        terminal.type("n\n")
        assert "nothing was done" in terminal.rest()
        assert terminal.process.returncode == 1
        refused = hub.run(*command)
        assert refused.returncode == 2
        assert "pass --yes" in refused.stderr


def test_a_risk_that_is_named_needs_no_answer(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    done = hub.run("retry", "spring", "--in-doubt", "resend", "--accept-risk", "resend")
    assert (done.returncode, done.stdout) == (0, "spring: nobody is in doubt\n")
    assert hub.run("retry", "spring", "--accept-risk", "all").returncode == 2
