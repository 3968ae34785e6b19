"""Keys while a campaign is followed on a terminal, and the board of all campaigns."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.apps.conftest import Hub

LEFT, UP, DOWN = "\x1b[D", "\x1b[A", "\x1bOB"


def followed(hub: Hub, on_terminal: Any, *, rate: str = "2/s") -> Any:
    hub.contacts(200)
    hub.campaign("spring", rate=rate)
    terminal = on_terminal(hub.command("start", "spring", "--follow", "--yes"), hub.environ)
    terminal.until("p pause   s stop   q or d leave (it continues)")
    return terminal


def state(hub: Hub) -> str:
    return str(hub.json("status", "spring")["campaign"]["state"])


def test_p_pauses_r_resumes_s_asks_and_stops(hub: Hub, on_terminal: Any) -> None:
    terminal = followed(hub, on_terminal)
    terminal.type("p")
    terminal.after("r resume   s stop")
    assert state(hub) == "paused"
    terminal.type("r")
    terminal.after("p pause   s stop")
    assert state(hub) == "running"
    terminal.type("s")
    terminal.after("stop spring? Nothing more is sent; hubctl start continues with the rest. [y/N]")
    assert state(hub) == "running"
    terminal.type("n")
    terminal.after("p pause   s stop")
    assert state(hub) == "running"
    terminal.type("s")
    terminal.after("[y/N]")
    terminal.type("y")
    seen = terminal.rest()
    assert terminal.process.returncode == 1, "it ended otherwise than by being completed"
    assert "stopped" in seen
    assert state(hub) == "stopped"
    assert terminal.echoes


@pytest.mark.parametrize("key", ["q", "d"])
def test_a_key_leaves_the_campaign_goes_on_and_that_is_no_failure(
    hub: Hub, on_terminal: Any, key: str
) -> None:
    terminal = followed(hub, on_terminal)
    assert not terminal.echoes, "a key must not be shown"
    terminal.type(key)
    seen = terminal.rest()
    assert terminal.process.returncode == 0
    assert "detached; the campaign continues (to reattach: hubctl watch spring)" in seen
    assert "Traceback" not in seen
    assert terminal.echoes
    assert state(hub) == "running"


def test_ctrl_c_typed_at_the_keys_detaches_and_gives_the_terminal_back(hub: Hub, on_terminal: Any) -> None:
    terminal = followed(hub, on_terminal)
    terminal.type("\x03")
    seen = terminal.rest()
    assert terminal.process.returncode == 130
    assert "detached; the campaign continues" in seen
    assert terminal.echoes
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_it_gives_the_terminal_back(
    number: signal.Signals, hub: Hub, on_terminal: Any
) -> None:
    terminal = followed(hub, on_terminal)
    terminal.process.send_signal(number)
    seen = terminal.rest()
    assert terminal.process.returncode == 130
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert terminal.echoes
    assert state(hub) == "running"


def test_arrows_and_other_keys_do_nothing(hub: Hub, on_terminal: Any) -> None:
    terminal = followed(hub, on_terminal)
    terminal.type(LEFT)
    terminal.type("xyr")  # r: there is nothing to resume
    terminal.type("p")
    terminal.after("r resume   s stop")
    assert state(hub) == "paused"


def test_a_campaign_that_completes_needs_no_key(hub: Hub, on_terminal: Any) -> None:
    terminal = followed(hub, on_terminal, rate="60/s")
    seen = terminal.rest()
    assert terminal.process.returncode == 0
    assert "100 %" in seen
    assert terminal.echoes


def test_a_pause_with_a_reason_ends_following_as_it_does_in_a_script(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(200)
    hub.campaign("spring", rate="60/s")
    command = hub.command("start", "spring", "--follow", "--yes", "--limit", "20")
    terminal = on_terminal(command, hub.environ)
    terminal.rest()
    assert terminal.process.returncode == 0
    assert state(hub) == "paused"


def test_no_input_reads_no_keys(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(100)
    hub.campaign("spring", rate="50/s")
    terminal = on_terminal(hub.command("start", "spring", "--follow", "--no-input"), hub.environ)
    terminal.until("spring")
    assert terminal.echoes
    assert "q or d leave" not in terminal.rest()


def test_a_stop_signal_and_its_end_leave_the_keys_working(hub: Hub, on_terminal: Any) -> None:
    terminal = followed(hub, on_terminal)
    terminal.process.send_signal(signal.SIGSTOP)
    terminal.process.send_signal(signal.SIGCONT)
    terminal.type("p")
    terminal.after("r resume   s stop")


def test_the_board_shows_all_campaigns_also_one_that_starts_meanwhile(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(200)
    for name in ("spring", "summer"):
        hub.campaign(name, rate="2/s")
    hub.ok("start", "spring")
    terminal = on_terminal(hub.command("watch"), hub.environ)
    terminal.until("1 campaign: 1 running")
    terminal.until("q or d leave (they continue)")
    hub.ok("start", "summer")
    terminal.until("2 campaigns: 2 running")
    hub.ok("pause", "spring")
    terminal.until("2 campaigns: 1 running, 1 paused")
    hub.ok("provider", "disable", "outbox")
    terminal.until("provider outbox is disabled")
    terminal.type("p")  # nobody chose one
    terminal.type("q")
    assert "detached; the campaigns continue" in terminal.rest()
    assert terminal.process.returncode == 0
    assert state(hub) == "paused"


def test_up_and_down_choose_the_campaign_of_a_board_that_the_keys_are_for(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(200)
    for name in ("spring", "summer"):
        hub.campaign(name, rate="2/s")
        hub.ok("start", name)
    terminal = on_terminal(hub.command("watch", "spring", "summer"), hub.environ)
    terminal.until("up/down choose   q or d leave (they continue)")
    terminal.type(DOWN)
    terminal.after("> spring")
    terminal.type(DOWN)
    terminal.after("> summer")
    terminal.type(DOWN)  # it is the last one
    terminal.type("p")
    terminal.after("up/down choose   r resume   s stop   q or d leave")
    assert hub.json("status", "summer")["campaign"]["state"] == "paused"
    assert state(hub) == "running"
    terminal.type(UP)
    terminal.after("up/down choose   p pause   s stop")
    terminal.type("s")
    terminal.after("stop spring? ")
    terminal.type("y")
    terminal.after("up/down choose   q or d leave")
    assert state(hub) == "stopped"
    assert hub.json("status", "summer")["campaign"]["state"] == "paused"


def test_more_campaigns_than_the_terminal_has_lines_are_counted(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(3)
    for n in range(12):
        hub.campaign(f"c{n}", rate="1/minute")
        hub.ok("start", f"c{n}")
    terminal = on_terminal(hub.command("watch"), {**hub.environ, "LINES": "12", "COLUMNS": "100"})
    terminal.until("12 campaigns: 12 running")
    terminal.until("and 3 more: hubctl list")
    terminal.type("d")
    terminal.rest()


def test_watching_one_campaign_steers_it(hub: Hub, on_terminal: Any) -> None:
    hub.contacts(200)
    hub.campaign("spring", rate="2/s")
    hub.ok("start", "spring")
    terminal = on_terminal(hub.command("watch", "spring"), hub.environ)
    terminal.until("p pause   s stop")
    terminal.type("P")
    terminal.after("r resume   s stop")
    assert state(hub) == "paused"
