"""Bad inputs by their number, seen from outside: clients that vanish or quarrel, wrong files and signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import trio

from hubd.client import Client, open_client
from hubd.errors import Conflict
from tests.apps.conftest import PATIENCE, QUIET_ENV, ROOT, Hub

_TO = re.compile(rb"^To: <?([^>\r\n]+)", re.MULTILINE)


def received(hub: Hub, campaign: str) -> Counter[str]:
    """How many messages each recipient got."""
    folder = hub.folder / "state/outbox" / campaign
    found = (_TO.search(path.read_bytes()) for path in folder.glob("*.eml"))
    return Counter(match[1].decode() for match in found if match)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8])
async def test_30_a_client_that_vanishes_during_start_leaves_all_or_nothing(hub: Hub, after: int) -> None:
    """`after` is how many times the client's task is scheduled before its connection is cut."""
    await trio.to_thread.run_sync(hub.contacts, 20)
    await trio.to_thread.run_sync(hub.campaign, "spring")
    async with open_client(hub.socket) as client, trio.open_nursery() as nursery:

        async def start() -> None:
            await client.call("campaign.start", name="spring", idempotency_key="k")

        nursery.start_soon(start)
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    view = (await trio.to_thread.run_sync(lambda: hub.json("status", "spring")))["campaign"]
    assert view["state"] in {"draft", "running", "completed"}
    await trio.to_thread.run_sync(lambda: hub.run("start", "spring"))  # 5 when it has completed meanwhile
    view = (await trio.to_thread.run_sync(lambda: hub.json("wait", "spring")))["campaign"]
    assert (view["counts"]["total"], view["counts"]["sent"]) == (20, 20)
    assert set(received(hub, "spring").values()) == {1}


async def test_31_clients_that_quarrel_get_a_state_each_and_nobody_gets_two(hub: Hub) -> None:
    await trio.to_thread.run_sync(hub.contacts, 300)
    await trio.to_thread.run_sync(hub.campaign, "spring")
    refused: Counter[str] = Counter()

    async def quarrel(verbs: list[str]) -> None:
        async with open_client(hub.socket) as client:
            for verb in verbs:
                await command(client, verb)

    async def command(client: Client, verb: str) -> None:
        try:
            view = (await client.call(f"campaign.{verb}", name="spring"))["campaign"]
        except Conflict as error:
            refused[verb] += bool(error.hint)
        else:
            assert view["counts"]["total"] == sum(n for key, n in view["counts"].items() if key != "total")

    async with trio.open_nursery() as nursery:
        for verbs in (["start", "pause", "resume"], ["start", "stop", "start"], ["pause", "start", "resume"]):
            nursery.start_soon(quarrel, verbs * 5)
    view = (await trio.to_thread.run_sync(lambda: hub.json("status", "spring")))["campaign"]
    if view["state"] != "completed":
        await trio.to_thread.run_sync(lambda: hub.ok("start", "spring", "--wait"))
    view = (await trio.to_thread.run_sync(lambda: hub.json("status", "spring")))["campaign"]
    assert (view["counts"]["total"], view["counts"]["sent"]) == (300, 300)
    counted = received(hub, "spring")
    assert (len(counted), set(counted.values())) == (300, {1})


def hubd(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A hubd that is expected to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "hubd", "--state-dir", str(place / "state"), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=QUIET_ENV,
        timeout=PATIENCE,
        check=False,
    )


def test_73_a_second_hubd_ends_with_75_and_names_the_first(hub: Hub) -> None:
    assert hub.process is not None
    done = hubd(hub.folder)
    assert done.returncode == 75
    assert str(hub.process.pid) in done.stderr
    assert hub.run("status").returncode == 0


def test_74_what_a_killed_hubd_left_behind_does_not_keep_the_next_one_from_starting(hub: Hub) -> None:
    assert hub.process is not None
    hub.process.kill()
    hub.process.wait(PATIENCE)
    assert hub.socket.exists()
    assert "is left over from one that ended" in hub.run("status").stderr
    hub.boot()
    assert hub.run("status").returncode == 0


def test_77_signals_in_the_middle_of_a_campaign_lose_and_double_nobody(hub: Hub) -> None:
    hub.contacts(200)
    hub.campaign("spring", rate="100/s")
    hub.ok("start", "spring")
    assert hub.process is not None
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGSTOP, signal.SIGCONT):
        hub.process.send_signal(number)
    assert hub.json("status", "spring")["campaign"]["counts"]["total"] == 200
    hub.process.send_signal(signal.SIGINT)
    hub.process.send_signal(signal.SIGINT)
    hub.process.wait(PATIENCE)
    hub.boot()
    assert hub.json("wait", "spring", "--timeout", "60s")["campaign"]["counts"]["sent"] == 200
    counted = received(hub, "spring")
    doubled = sum(n - 1 for n in counted.values())
    told = hub.json("status", "spring")["campaign"]["possible_duplicates"]
    assert len(counted) == 200
    assert doubled <= told, "a second copy is only ever one that was told as possible"


def test_77_hubctl_ends_quietly_when_its_reader_goes_away(hub: Hub) -> None:
    hub.campaign("spring")
    following = subprocess.Popen(
        hub.command("events", "-f"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=hub.environ
    )
    assert following.stdout is not None
    assert following.stderr is not None
    following.stdout.readline()
    following.stdout.close()
    hub.campaign("other")  # what it has to say now reaches nobody
    assert following.wait(PATIENCE) == 0
    assert following.stderr.read() == b""
    following.stderr.close()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[hub]\nlog_levle = 1\n", "log_levle"),
        ('[providers.x]\ntype = "smtp"\nhost = 5\n', "host"),
        ('[providers.x]\ntype = "smtp"\nhost = "mx"\npassword = "hunter2"\n', "password"),
        ("[hub\n", "line 1"),
    ],
)
def test_78_a_bad_config_is_refused_with_its_place_and_without_the_secret(
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


def test_72_a_socket_is_made_only_in_a_place_that_is_ours(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (place / "state").mkdir(mode=0o700)
    target = elsewhere / "real.db"
    (place / "state/hub.db").symlink_to(target)
    done = hubd(place)
    assert done.returncode in (73, 77, 78), done.stderr
    assert "hub.db" in done.stderr
    assert not target.exists()


def test_72_the_state_directory_is_nobody_elses(hub: Hub) -> None:
    assert os.stat(hub.folder / "state").st_mode & 0o077 == 0
    assert os.stat(hub.folder / "state/hub.db").st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as probe:
        assert probe.connect_ex(str(hub.socket)) == 0
    assert os.stat(hub.socket).st_mode & 0o077 == 0
