"""The machine runs short, and others behave badly: no file descriptors, hung clients, storms of signals.

The daemon goes on or waits, it loses nobody, and it is its old self when the cause is gone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import trio
import wsproto
from wsproto.events import Request, TextMessage

from hubd.client import Client, open_client
from hubd.errors import ProviderUnavailable
from hubd.wire import HOST, PATH, PROTOCOL, SUBPROTOCOL
from tests import launcher
from tests.whole.conftest import ROOT, TIMEOUT, Hub, Witness, reconcile, sink_config, until
from tests.whole.world import UnprivilegedHub, finish, how, replace_file

slowly = pytest.mark.parametrize("witness", [("--delay", "0.01")], indirect=True)


def process(hub: Hub) -> int:
    """The id of the daemon's process."""
    assert hub.daemon is not None
    return hub.daemon.pid


def descriptors(hub: Hub) -> list[int]:
    """The file descriptors that the daemon has open."""
    return [int(name) for name in os.listdir(f"/proc/{process(hub)}/fd")]


@contextmanager
def short_of_descriptors(hub: Hub, left: int) -> Iterator[None]:
    """For the length of the block the daemon may open no descriptor beyond those it has, and `left` more."""
    pid = process(hub)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # The kernel gives the lowest free number, so gaps below the highest one count as left over, too.
    used, limit = set(descriptors(hub)), 0
    while limit <= max(used) or limit - len(used) < left:
        limit += 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def stranger(hub: Hub) -> socket.socket:
    """A client that connects and never says a word."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(hub.state / "control.sock"))
    return client


def command(hub: Hub, *arguments: str) -> subprocess.Popen[bytes]:
    """A command that goes on beside the test."""
    return launcher.popen(
        [sys.executable, "-m", "hubctl", "--socket", str(hub.state / "control.sock"), *arguments],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


# -- no file descriptors -----------------------------------------------------------------------------


@slowly
def test_clients_that_use_up_the_descriptors_do_not_touch_a_running_campaign(
    hub: Hub, witness: Witness
) -> None:
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    hub.contacts(1500)
    hub.apply("crowd", in_doubt="hold")
    hub.hubctl("start", "crowd")
    until(lambda: len(witness.lines()) > 500, "messages on all connections")
    usual = len(descriptors(hub))
    with short_of_descriptors(hub, left=10), ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(closing(stranger(hub)))
        until(lambda: "no connection can be accepted" in hub.log(), "the daemon to run out of descriptors")
        goal = min(len(witness.lines()) + 200, 1500)
        until(lambda: len(witness.lines()) >= goal, "messages in spite of that")
    finish(hub, "crowd")
    assert reconcile(hub, witness, "crowd", 1500)["sent"] == 1500
    assert set(witness.accepted().values()) == {1}
    until(lambda: len(descriptors(hub)) <= usual, "what the clients held to be let go")
    assert hub.end() == 0
    assert "Traceback" not in hub.log()


async def test_a_campaign_that_gets_no_connection_for_want_of_descriptors_waits_and_goes_on(
    hub: Hub, witness: Witness
) -> None:
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    hub.contacts(100)
    hub.apply("want", in_doubt="hold")
    with trio.fail_after(TIMEOUT):
        async with open_client(hub.state / "control.sock") as client:
            await client.call("provider.test", name="sink")  # it was in use before
            with short_of_descriptors(hub, left=0):
                await client.call("campaign.start", name="want")
                found = await trouble_of(client)
                assert found["reason"]
                campaign = (await client.call("campaign.get", name="want"))["campaign"]
                assert (campaign["state"], campaign["counts"]["pending"]) == ("running", 100)
    finish(hub, "want")
    assert reconcile(hub, witness, "want", 100)["sent"] == 100
    assert set(witness.accepted().values()) == {1}
    assert "Traceback" not in hub.log()


async def test_a_start_that_gets_no_descriptors_is_refused_with_the_reason_and_changes_nothing(
    hub: Hub, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "PROGRAMS", ())  # the descriptor that it lacks is that of an import
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    hub.contacts(10)
    hub.apply("want", in_doubt="hold")
    with trio.fail_after(TIMEOUT):
        async with open_client(hub.state / "control.sock") as client:
            with short_of_descriptors(hub, left=0), pytest.raises(ProviderUnavailable, match="open files"):
                await client.call("campaign.start", name="want")
    assert hub.campaign("want")["state"] == "draft"
    hub.hubctl("start", "want")
    finish(hub, "want")
    assert reconcile(hub, witness, "want", 10)["sent"] == 10
    assert "Traceback" not in hub.log()


async def trouble_of(client: Client) -> dict[str, object]:
    """What `provider.list` says of the provider `sink` once it does not say that it is ready."""
    while True:
        for found in (await client.call("provider.list"))["providers"]:
            if found["name"] == "sink" and found["state"] != "ready":
                return dict(found)
        await trio.sleep(0.01)


# -- clients -----------------------------------------------------------------------------------------


def greedy(hub: Hub) -> socket.socket:
    """A client that asks for much, again and again, and reads none of it."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(hub.state / "control.sock"))
    protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    client.sendall(protocol.send(Request(host=HOST, target=PATH, subprotocols=[SUBPROTOCOL])))
    protocol.receive_data(client.recv(65536))
    calls: list[tuple[str, object]] = [
        ("hub.hello", {"client": {"name": "greedy", "version": ""}, "protocol": [PROTOCOL]})
    ]
    calls += [("contacts.list", {"limit": 500})] * 200
    client.setblocking(False)
    try:
        for number, (method, params) in enumerate(calls):
            call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            client.sendall(protocol.send(TextMessage(data=json.dumps(call))))
    except BlockingIOError:
        pass  # the daemon takes no more: that is its good right
    return client


@slowly
def test_hung_greedy_and_dying_clients_hold_up_neither_the_campaign_nor_the_end(
    hub: Hub, witness: Witness
) -> None:
    hub.config = sink_config(witness.port, 4)
    daemon = hub.boot()
    hub.contacts(1000)
    hub.apply("clients", in_doubt="hold")
    with ExitStack() as stack:
        followers = [command(hub, "start", "clients", "--follow") for _ in range(4)]
        for follower in followers:
            stack.callback(follower.wait)
            stack.callback(follower.kill)
        until(lambda: len(witness.lines()) > 50, "messages")
        for follower in followers[:2]:
            follower.send_signal(signal.SIGSTOP)
        for follower in followers[2:]:
            follower.kill()
        for _ in range(3):
            stack.enter_context(closing(greedy(hub)))
            stranger(hub).close()
        daemon.send_signal(signal.SIGPIPE)
        finish(hub, "clients")
        assert reconcile(hub, witness, "clients", 1000)["sent"] == 1000
        assert set(witness.accepted().values()) == {1}
        assert hub.end() == 0, "it does not wait for those who hang"
    assert "Traceback" not in hub.log()


# -- signals -----------------------------------------------------------------------------------------


@slowly
def test_two_terminations_at_once_in_the_middle_leave_the_ledger_exact(hub: Hub, witness: Witness) -> None:
    connections = 4
    hub.config = sink_config(witness.port, connections)
    daemon = hub.boot()
    hub.contacts(600)
    hub.apply("twice", in_doubt="hold")
    hub.hubctl("start", "twice")
    for goal in (100, 250):
        until(lambda goal=goal: len(witness.lines()) >= goal, "messages")
        daemon.send_signal(signal.SIGTERM)
        daemon.send_signal(signal.SIGINT)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(TIMEOUT) == 0
        daemon = hub.boot()
    finish(hub, "twice")
    counts = reconcile(hub, witness, "twice", 600)
    assert counts["sent"] + counts["in_doubt"] == 600
    assert counts["in_doubt"] <= 2 * connections
    assert set(witness.accepted().values()) == {1}


@slowly
def test_a_storm_of_hangups_with_good_and_bad_files_loses_and_doubles_nobody(
    hub: Hub, witness: Witness
) -> None:
    hub.config = sink_config(witness.port, 4)
    daemon = hub.boot()
    hub.contacts(800)
    hub.apply("storm", in_doubt="hold")
    hub.hubctl("start", "storm")
    files = (sink_config(witness.port, 7), "[nonsense\n", sink_config(witness.port, 3), "")
    path = hub.folder / "hubd.toml"
    for n in range(200):
        replace_file(path, files[n % len(files)] or hub.config)
        daemon.send_signal(signal.SIGHUP)
        time.sleep(0)
    replace_file(path, hub.config)
    hub.hubctl("daemon", "reload")
    finish(hub, "storm")
    assert reconcile(hub, witness, "storm", 800)["sent"] == 800
    assert set(witness.accepted().values()) == {1}
    assert how(hub, "sink")["state"] == "ready"
    assert hub.end() == 0
    assert "Traceback" not in hub.log()


# -- what may not be written -------------------------------------------------------------------------


@pytest.fixture
def plain(hub: Hub) -> UnprivilegedHub:
    """A hub whose daemon is bound by permissions, also when the tests run as root."""
    return UnprivilegedHub(hub.folder, processes=hub.processes)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """For the length of the block nothing can be made in a directory, or a file cannot be written."""
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        path.chmod(mode)


@pytest.mark.parametrize("what", ["", "hub.db", "hubd.lock"], ids=["directory", "database", "lock"])
def test_what_cannot_be_written_at_the_start_is_one_clear_sentence_and_nothing_is_touched(
    plain: UnprivilegedHub, what: str
) -> None:
    plain.boot()
    plain.contacts(10)
    assert plain.end() == 0
    before = len(plain.log())
    with read_only(plain.state / what):
        plain.launch()
        assert plain.daemon is not None
        assert plain.daemon.wait(TIMEOUT) in (73, 77, 78)
    said = plain.log()[before:]
    assert "Traceback" not in said
    assert str(plain.state) in said
    plain.boot()
    assert plain.json("lists")["lists"] == [{"name": "all", "contacts": 10}]


def test_a_state_directory_that_becomes_read_only_stops_nothing_that_runs(
    plain: UnprivilegedHub, witness: Witness
) -> None:
    plain.config = sink_config(witness.port)
    plain.boot()
    plain.contacts(200)
    plain.apply("closed", in_doubt="hold")
    with read_only(plain.state):
        plain.hubctl("start", "closed")
        finish(plain, "closed")
    assert reconcile(plain, witness, "closed", 200)["sent"] == 200
    assert plain.end() == 0
    plain.boot()
    assert plain.campaign("closed")["counts"]["sent"] == 200


def test_an_outbox_that_cannot_be_written_rests_and_goes_on_when_it_can(plain: UnprivilegedHub) -> None:
    plain.boot()
    plain.contacts(200)
    plain.apply("files", provider="outbox", in_doubt="hold", rate=["50/s"])
    plain.hubctl("start", "files")
    folder = plain.state / "outbox" / "files"
    until(lambda: list(folder.glob("*.eml")), "messages")
    with read_only(folder):
        until(lambda: how(plain, "outbox")["state"] != "ready", "the trouble to show")
        assert "outbox" in how(plain, "outbox")["reason"]
        campaign = plain.campaign("files")
        assert (campaign["state"], campaign["counts"]["failed"]) == ("running", 0)
        assert campaign["counts"]["sent"] == len(list(folder.glob("*.eml"))) < 200
    finish(plain, "files")
    assert plain.campaign("files")["counts"]["sent"] == 200
    assert len(list(folder.glob("*.eml"))) == 200
