"""What a service manager hears, read from the socket that a real one would have: order, time, and silence."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hubd import notify
from hubd.errors import BadConfig
from hubd.notify import Manager, service_manager, summary

WATCHDOG = 30.0


class Listener:
    """The manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(address)
        self._sock.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """Every message since the last time, as its lines."""
        found: list[dict[str, str]] = []
        while True:
            try:
                message = self._sock.recv(65536).decode()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in message.split("\n")))

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def manager(tmp_path: Path, listener: Listener) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"), WATCHDOG)
    yield made
    made.close()


# -- who listens -------------------------------------------------------------------------------------------


def test_the_environment_names_the_manager_and_children_do_not_see_it(
    tmp_path: Path, listener: Listener
) -> None:
    environ = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    manager = service_manager(environ)
    manager.ready()
    manager.close()
    assert manager.watchdog == 30.0
    assert environ == {"HOME": "/"}
    assert listener.heard() == [{"READY": "1", "STATUS": "ready"}]


def test_an_abstract_socket_is_heard_too() -> None:
    name = f"hubd-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    manager = service_manager({"NOTIFY_SOCKET": f"@{name}"})
    manager.stopping()
    manager.close()
    assert listener.heard() == [{"STOPPING": "1", "STATUS": "stopping"}]
    listener.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/socket"])
async def test_without_a_manager_nothing_is_said_and_nothing_waits(address: str) -> None:
    manager = service_manager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})

    async def never() -> str:
        raise AssertionError("nobody asked")

    with trio.fail_after(60):
        manager.ready()
        await manager.report(never)
        await manager.watch({"never": never})
        await manager.keep_patient()
        manager.stopping()
    manager.close()


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", "", 30.0),
        ("30000000", "7", 30.0),
        ("30000000", "8", None),  # for another process
        ("0", "7", None),
        ("", "", None),
        ("soon", "7", None),
        ("-1", "7", None),
    ],
)
def test_the_watchdog_counts_when_it_is_for_us(usec: str, pid: str, seconds: float | None) -> None:
    environ = {"NOTIFY_SOCKET": "/nobody", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    manager = service_manager(environ, pid=7)
    assert manager.watchdog == seconds
    manager.close()


def test_a_manager_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "nobody"))
    manager.ready()
    manager.status("fine")
    manager.stopping()
    manager.close()
    manager.status("closed")


def test_a_manager_that_does_not_read_holds_nothing_up(manager: Manager, listener: Listener) -> None:
    """What is said again and again is dropped when its queue is full."""
    for number in range(5_000):
        manager.status(f"{number}")
    assert 0 < len(listener.heard()) < 5_000


# -- what is said ------------------------------------------------------------------------------------------


def test_the_whole_life_in_order(manager: Manager, listener: Listener) -> None:
    manager.ready("ready on a socket")
    with manager.reloading():
        pass
    manager.stopping()
    manager.stopping()
    said = listener.heard()
    assert [next(iter(message)) for message in said] == ["READY", "RELOADING", "READY", "STOPPING"]
    assert int(said[1]["MONOTONIC_USEC"]) > 0


def test_nothing_claims_to_be_ready_after_the_daemon_began_to_stop(
    manager: Manager, listener: Listener
) -> None:
    """SIGTERM in the middle of a migration, or of a reload."""
    manager.stopping()
    manager.ready()
    with manager.reloading():
        pass
    assert [list(message) for message in listener.heard()] == [["STOPPING", "STATUS"]]


def test_a_reload_before_ready_does_not_claim_to_be_ready(manager: Manager, listener: Listener) -> None:
    with manager.reloading():
        pass
    assert listener.heard() == []


def test_two_reloads_at_once_are_one_for_the_manager(manager: Manager, listener: Listener) -> None:
    manager.ready()
    with manager.reloading(), manager.reloading():
        pass
    assert [next(iter(message)) for message in listener.heard()] == ["READY", "RELOADING", "READY"]


def test_a_reload_that_was_refused_stays_in_the_status_until_one_works(
    manager: Manager, listener: Listener
) -> None:
    manager.ready()

    def reload_badly() -> None:
        with manager.reloading():
            raise BadConfig.at("hub.log_levl", "unknown key")

    with pytest.raises(BadConfig):
        reload_badly()
    manager.status("1 running")
    with manager.reloading():
        pass
    manager.status("1 running")
    said = listener.heard()
    assert said[2] == {"READY": "1", "STATUS": "reload ended; not reloaded: hub.log_levl: unknown key"}
    assert said[3] == {"STATUS": "1 running; not reloaded: hub.log_levl: unknown key"}
    assert said[-1] == {"STATUS": "1 running"}


@given(st.text())
def test_no_text_can_pass_for_another_line(text: str) -> None:
    said = notify._one_line(text)
    assert said.isprintable()
    assert len(said.encode()) < 4096
    assert "\n" not in said


def test_a_long_word_with_a_line_break_is_one_short_line(manager: Manager, listener: Listener) -> None:
    manager.status("bad\nREADY=1\n" + "x" * 100_000)
    assert [list(message) for message in listener.heard()] == [["STATUS"]]


@pytest.mark.parametrize(
    ("states", "rate", "trouble", "words"),
    [
        ({}, 0.0, "", "nothing to send"),
        ({"draft": 3, "completed": 9}, 0.0, "", "nothing to send"),
        ({"running": 2, "paused": 1}, 117.6, "", "2 running, 1 paused, 118 msg/s"),
        ({"running": 1}, 0.0, "", "1 running, 0 msg/s"),
        ({"running": 1}, 0.25, "", "1 running, 0.2 msg/s"),
        ({"scheduled": 4}, 0.0, "", "4 scheduled"),
        ({"running": 1}, 0.0, "the disk is full", "1 running, 0 msg/s; the disk is full"),
    ],
)
def test_how_it_goes_in_one_line(states: dict[str, int], rate: float, trouble: str, words: str) -> None:
    assert summary(states, rate, trouble) == words


# -- what is said again and again, on the mock clock ---------------------------------------------------------


async def test_the_status_is_said_every_ten_seconds(
    manager: Manager, listener: Listener, autojump_clock: trio.testing.MockClock
) -> None:
    asked = 0

    async def describe() -> str:
        nonlocal asked
        asked += 1
        return f"{asked} running"

    with trio.move_on_after(35):
        await manager.report(describe)
    assert listener.heard() == [{"STATUS": f"{number} running"} for number in (1, 2, 3, 4)]


async def test_long_work_at_the_start_and_the_end_asks_for_more_time(
    manager: Manager, listener: Listener, autojump_clock: trio.testing.MockClock
) -> None:
    more = {"EXTEND_TIMEOUT_USEC": "30000000"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.keep_patient)
        await trio.sleep(5)
        manager.busy("migrating")
        await trio.sleep(20)
        assert listener.heard() == [
            {"STATUS": "starting", **more},
            {"STATUS": "migrating"},
            {"STATUS": "migrating", **more},
            {"STATUS": "migrating", **more},
        ]
        manager.ready()
        await trio.sleep(100)
        assert listener.heard() == [{"READY": "1", "STATUS": "ready"}], "no more time while it runs"
        manager.stopping()
        await trio.sleep(10)
        assert listener.heard() == [{"STOPPING": "1", "STATUS": "stopping"}, {"STATUS": "stopping", **more}]
        nursery.cancel_scope.cancel()


async def test_the_watchdog_is_told_twice_in_its_time_while_all_is_well(
    manager: Manager, listener: Listener, autojump_clock: trio.testing.MockClock
) -> None:
    asked = []

    async def heartbeat() -> None:
        asked.append(trio.current_time())
        await trio.sleep(10)  # slow, and in time

    with trio.move_on_after(72):
        await manager.watch({"database": heartbeat})
    assert listener.heard() == [{"WATCHDOG": "1"}] * 5
    assert [later - earlier for earlier, later in itertools.pairwise(asked)] == [15.0] * 4


@pytest.mark.parametrize("wedged", ["database", "schedule"])
async def test_the_watchdog_hears_nothing_while_one_heartbeat_hangs(
    manager: Manager, listener: Listener, autojump_clock: trio.testing.MockClock, wedged: str
) -> None:
    asked: list[str] = []
    hang = trio.Event()

    def heartbeat(name: str) -> notify.Heartbeat:
        async def beat() -> None:
            asked.append(name)
            if name == wedged:
                with trio.CancelScope(shield=True):  # as one who waits for the database's thread
                    await hang.wait()

        return beat

    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.watch, {name: heartbeat(name) for name in ("database", "schedule")})
        await trio.sleep(100)
        said = listener.heard()
        assert said
        assert said == [{"STATUS": f"no heartbeat from {wedged}"}] * len(said)
        assert asked.count(wedged) == 1, "one that hangs is not piled upon"
        hang.set()
        await trio.sleep(WATCHDOG)
        assert {"WATCHDOG": "1"} in listener.heard(), "it goes on when the heartbeat comes back"
        nursery.cancel_scope.cancel()


async def test_a_heartbeat_that_fails_is_no_sign_of_life_and_is_asked_again(
    manager: Manager, listener: Listener, autojump_clock: trio.testing.MockClock
) -> None:
    failing = True

    async def beat() -> None:
        if failing:
            raise RuntimeError("stumbled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.watch, {"schedule": beat})
        await trio.sleep(10)
        assert {"WATCHDOG": "1"} not in listener.heard()
        failing = False
        await trio.sleep(2)
        assert {"WATCHDOG": "1"} in listener.heard()
        nursery.cancel_scope.cancel()


async def test_a_loop_that_is_late_is_not_called_alive_until_it_keeps_time_again(
    manager: Manager, listener: Listener, mock_clock: trio.testing.MockClock
) -> None:
    async def beat() -> None:
        pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.watch, {"schedule": beat})
        await trio.testing.wait_all_tasks_blocked()
        assert listener.heard() == [{"WATCHDOG": "1"}]
        mock_clock.jump(17)  # due after 15
        await trio.testing.wait_all_tasks_blocked()
        assert listener.heard() == []
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked()
        assert listener.heard() == [{"WATCHDOG": "1"}]
        nursery.cancel_scope.cancel()
