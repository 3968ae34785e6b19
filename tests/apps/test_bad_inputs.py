"""Bad inputs by their number, seen from outside: clients that vanish or quarrel, wrong files and signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from hubd.client import Client, open_client
from hubd.errors import Conflict
from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub

_TO = re.compile(rb"^To: <?([^>\r\n]+)", re.MULTILINE)


def received(hub: Hub, campaign: str) -> Counter[str]:
    """How many messages each recipient got."""
    folder = hub.folder / "state/outbox" / campaign
    found = (_TO.search(path.read_bytes()) for path in folder.glob("*.eml"))
    return Counter(match[1].decode() for match in found if match)


async def test_bad_input_30_a_client_that_vanishes_during_start_leaves_all_or_nothing(hub: Hub) -> None:
    """`after` is how many times the client's task is scheduled before its connection is cut."""
    await trio.to_thread.run_sync(hub.contacts, 20)
    for after in (0, 1, 2, 3, 5, 8):
        name = f"spring-{after}"
        await trio.to_thread.run_sync(hub.campaign, name)
        async with open_client(hub.socket) as client, trio.open_nursery() as nursery:
            start = partial(client.call, "campaign.start", name=name, idempotency_key=name)
            nursery.start_soon(start)
            for _ in range(after):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        async with open_client(hub.socket) as client:
            view = (await client.call("campaign.get", name=name))["campaign"]
            assert view["state"] in {"draft", "running", "completed"}
            again = await client.call("campaign.start", name=name, idempotency_key=name)
            assert again["changed"], "this time, or the answer of the first"
        view = (await trio.to_thread.run_sync(hub.json, "wait", name))["campaign"]
        assert (view["counts"]["total"], view["counts"]["sent"]) == (20, 20)
        counted = received(hub, name)
        assert (len(counted), set(counted.values())) == (20, {1})


async def test_bad_input_31_clients_that_quarrel_get_a_state_each_and_nobody_gets_two(hub: Hub) -> None:
    await trio.to_thread.run_sync(hub.contacts, 300)
    await trio.to_thread.run_sync(hub.campaign, "spring")
    hints: list[tuple[str, str]] = []

    async def quarrel(verbs: list[str]) -> None:
        async with open_client(hub.socket) as client:
            for verb in verbs:
                await command(client, verb)

    async def command(client: Client, verb: str) -> None:
        try:
            view = (await client.call(f"campaign.{verb}", name="spring"))["campaign"]
        except Conflict as error:
            hints.append((verb, error.hint))
        else:
            assert view["counts"]["total"] == sum(n for key, n in view["counts"].items() if key != "total")

    async with trio.open_nursery() as nursery:
        for verbs in (["start", "pause", "resume"], ["start", "stop", "start"], ["pause", "start", "resume"]):
            nursery.start_soon(quarrel, verbs * 5)
    assert all(hint for _, hint in hints), hints
    view = (await trio.to_thread.run_sync(lambda: hub.json("status", "spring")))["campaign"]
    if view["state"] in ("paused", "stopped"):  # a running one may be completed at any moment
        await trio.to_thread.run_sync(lambda: hub.ok("start", "spring"))
    view = (await trio.to_thread.run_sync(lambda: hub.json("wait", "spring")))["campaign"]
    assert (view["counts"]["total"], view["counts"]["sent"]) == (300, 300)
    counted = received(hub, "spring")
    assert (len(counted), set(counted.values())) == (300, {1})


def hubd(
    place: Path, *arguments: str, program: tuple[str, ...] = ("-m", "hubd")
) -> subprocess.CompletedProcess[str]:
    """A hubd that is expected to refuse."""
    return launcher.run(
        [sys.executable, *program, "--state-dir", str(place / "state"), *arguments],
        timeout=TIMEOUT,
        cwd=ROOT,
        env=QUIET_ENV,
    )


def test_bad_input_73_a_second_hubd_ends_with_75_and_names_the_first(hub: Hub) -> None:
    assert hub.process is not None
    done = hubd(hub.folder)
    assert done.returncode == 75
    assert str(hub.process.pid) in done.stderr
    assert hub.run("status").returncode == 0


def test_bad_input_74_what_a_killed_hubd_left_behind_keeps_no_other_from_starting(hub: Hub) -> None:
    assert hub.process is not None
    hub.process.kill()
    hub.process.wait(TIMEOUT)
    assert hub.socket.exists()
    assert "is left over from an earlier one" in hub.run("status").stderr
    hub.boot()
    assert hub.run("status").returncode == 0


def test_bad_input_77_signals_in_the_middle_of_a_campaign_lose_and_double_nobody(hub: Hub) -> None:
    hub.contacts(200)
    hub.campaign("spring", rate="5/s")
    hub.ok("start", "spring")
    deadline = time.monotonic() + TIMEOUT
    while hub.json("status", "spring")["campaign"]["counts"]["total"] < 200:
        assert time.monotonic() < deadline, "its audience is not fixed"
    for ends in ((signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)):
        assert hub.process is not None
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGSTOP, signal.SIGCONT):
            hub.process.send_signal(number)
        view = hub.json("status", "spring")["campaign"]
        assert (view["state"], view["counts"]["total"]) == ("running", 200)
        for number in ends:
            hub.process.send_signal(number)
        assert hub.process.wait(TIMEOUT) == 0
        hub.boot()
    hub.ok("rate", "spring", "none")
    assert hub.json("wait", "spring", "--timeout", "60s")["campaign"]["counts"]["sent"] == 200
    counted = received(hub, "spring")
    doubled = sum(n - 1 for n in counted.values())
    told = hub.json("status", "spring")["campaign"]["possible_duplicates"]
    assert len(counted) == 200
    assert doubled <= told, "a second copy is only ever one that was told as possible"


def test_bad_input_77_hubctl_ends_quietly_when_its_reader_goes_away(hub: Hub) -> None:
    hub.campaign("spring")
    following = launcher.popen(
        hub.command("events", "-f"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=hub.environ
    )
    assert following.stdout is not None
    assert following.stderr is not None
    following.stdout.readline()
    following.stdout.close()
    hub.campaign("other")  # what it has to say now reaches nobody
    assert following.wait(TIMEOUT) == 0
    assert following.stderr.read() == b""
    following.stderr.close()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        pytest.param("[hub]\nlog_levle = 1\n", "log_levle", id="unknown key"),
        pytest.param('[providers.x]\ntype = "smtp"\nhost = 5\n', "host", id="wrong type"),
        pytest.param(
            '[providers.x]\ntype = "smtp"\nhost = "mx"\npassword = "hunter2"\n', "password", id="a secret"
        ),
        pytest.param("[hub\n", "line 1", id="no TOML"),
    ],
)
def test_bad_input_78_a_bad_config_is_refused_with_its_place_and_without_the_secret(
    hub: Hub, text: str, where: str
) -> None:
    path = hub.file("hubd.toml", text)
    done = hub.run("daemon", "reload")
    assert done.returncode == 1
    assert where in done.stderr
    assert "hunter2" not in done.stderr
    assert hub.run("status").returncode == 0, "the old one is kept"
    hub.end()
    refused = hubd(hub.folder, "--config", path)
    assert refused.returncode == 78
    assert path in refused.stderr
    assert "hunter2" not in refused.stderr


#: hubd for which every file is another user's.
STRANGER = """
import os, sys
from hubd.__main__ import main
mine = os.geteuid()
os.geteuid = lambda: mine + 1
main(sys.argv[1:])
"""


def linked(state: Path) -> None:
    (state / "hub.db").rename(state.parent / "real.db")
    (state / "hub.db").symlink_to(state.parent / "real.db")


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "symlink": (linked, "not a regular file"),
    "owned by another": (Path.exists, "another user"),
    "mode 0666": (lambda state: (state / "hub.db").chmod(0o666), "hub.db"),
    "directory open to all": (lambda state: state.chmod(0o777), "everybody"),
}


@pytest.mark.parametrize("case", PLACES)
def test_bad_input_72_a_database_that_others_could_change_is_refused(hub: Hub, case: str) -> None:
    hub.contacts(1)
    hub.end()
    spoil, words = PLACES[case]
    state = hub.folder / "state"
    spoil(state)
    before = (state / "hub.db").read_bytes()
    done = hubd(hub.folder, program=("-c", STRANGER) if case == "owned by another" else ("-m", "hubd"))
    assert done.returncode == 77, done.stderr
    assert words in done.stderr
    assert str(state) in done.stderr
    assert "Traceback" not in done.stderr
    assert (state / "hub.db").read_bytes() == before


def test_bad_input_72_a_link_to_where_nothing_is_is_not_followed(place: Path) -> None:
    (place / "state").mkdir(mode=0o700)
    target = place / "real.db"
    (place / "state/hub.db").symlink_to(target)
    assert hubd(place).returncode == 77
    assert not target.exists()


def test_bad_input_72_the_state_directory_is_nobody_elses(hub: Hub) -> None:
    assert os.stat(hub.folder / "state").st_mode & 0o077 == 0
    assert os.stat(hub.folder / "state/hub.db").st_mode & 0o077 == 0
    assert os.stat(hub.socket).st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as probe:
        assert probe.connect_ex(str(hub.socket)) == 0
