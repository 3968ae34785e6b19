"""The world goes wrong: real processes against mail servers that misbehave in every way at every stage.

Whatever a server does, the records of the daemon equal the server's own record, and one bad recipient, bad
connection or bad provider hurts only itself. The daemons here live under clocks that go `HURRY` times faster,
so that minutes of retries pass in seconds; the command line does not.
"""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import own_port
from tests.whole.conftest import Hub, reconcile, smtp_sink_command, until
from tests.whole.world import ClockedHub, finish, hostile, how, provider, secret

GONE_WRONG = (
    "drop", "rst", "stall", "garbage", "no code", "endless", "huge", "999 strange", "100 strange",
    "300 strange",
)  # fmt: skip
FOR_NOW = ("450 4.2.0 later", "421 4.3.2 go away")
NEVER = "550 5.7.1 never"
WELL_AFTER_ALL = ("packets", "late 0.8", "twice")
SPREAD = 8  #: one recipient in so many meets a misbehaving server


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one recipient's server does, once, and where the recipient is to end under `hold`."""

    stage: str
    act: str
    end: str


CASES = (
    # Before the body nothing can have been accepted: for all but a plain "no" there is another try.
    *(
        Case(stage=stage, act=act, end="sent")
        for stage in ("mail", "rcpt", "data")
        for act in (*GONE_WRONG, *FOR_NOW, *WELL_AFTER_ALL)
    ),
    *(Case(stage=stage, act=NEVER, end="failed") for stage in ("rcpt", "data", "body", "dot")),
    # A small body travels with its dot: what goes wrong in the middle of it may have gone wrong after it.
    *(Case(stage="body", act=act, end="in_doubt") for act in GONE_WRONG),
    Case(stage="body", act="450 4.3.1 later", end="sent"),
    Case(stage="body", act="late 0.8", end="sent"),
    *(Case(stage="dot", act=keep + act, end="in_doubt") for act in GONE_WRONG for keep in ("", "keep+")),
    *(Case(stage="dot", act=act, end="sent") for act in (*FOR_NOW, *WELL_AFTER_ALL, "251 2.1.5 yes", "250 ")),
)  # fmt: skip


@pytest.fixture
def hurried(hub: Hub) -> ClockedHub:
    """A hub whose daemon has fast clocks; it ends with the fixture `hub`."""
    return ClockedHub(hub.folder, processes=hub.processes)


# -- one recipient after another ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "pipelining"),
    [("hold", True), ("retry", False)],
    ids=["hold with pipelining", "retry without"],
)
def test_whatever_a_server_does_to_some_all_others_get_it_once_and_the_records_are_right(
    hurried: ClockedHub, policy: str, pipelining: bool
) -> None:
    # Without pipelining a server cannot know at MAIL whom the message is for.
    cases = {
        f"p{n * SPREAD}@example.com": case
        for n, case in enumerate(case for case in CASES if pipelining or case.stage != "mail")
    }
    total = (len(cases) + 1) * SPREAD
    with hostile(hurried.folder, "hostile", *([] if pipelining else ["--lockstep"])) as server:
        server.mood(to={recipient: {case.stage: [case.act]} for recipient, case in cases.items()})
        hurried.config = provider("sink", server.port)
        hurried.boot()
        hurried.contacts(total)
        hurried.apply("world", in_doubt=policy)
        hurried.hubctl("start", "world")
        finish(hurried, "world")
        reconcile(hurried, server, "world", total, policy)
        rows = {row["recipient"]: row for row in hurried.deliveries("world")}
        for recipient, row in rows.items():
            case = cases.get(recipient)
            end = case.end if case else "sent"
            if policy == "retry" and end == "in_doubt":
                end = "sent"
            assert row["state"] == end, (case, row)
        accepted = server.accepted()
        for recipient, case in cases.items():
            copies = accepted[recipient]
            if policy == "hold":
                assert copies == (case.end == "sent" or case.act.startswith("keep+")), case
            else:
                assert copies == (case.end != "failed") + case.act.startswith("keep+"), case
        assert {accepted[r] for r in rows if r not in cases} == {1}
        assert hurried.end() == 0


def test_an_early_answer_in_the_middle_of_a_large_body_is_heard(hurried: ClockedHub) -> None:
    acts = {
        "p0": "552 5.3.4 too large",
        "p4": "450 4.3.1 later",
        "p8": "drop",
        "p12": "rst",
        "p16": "garbage",
    }
    with hostile(hurried.folder) as server:
        server.mood(to={f"{name}@example.com": {"body": [act]} for name, act in acts.items()})
        hurried.config = provider("sink", server.port, connections=2)
        hurried.boot()
        hurried.contacts(20)
        hurried.apply("large", in_doubt="hold", text="All work and no play.\n" * 20_000)
        hurried.hubctl("start", "large")
        finish(hurried, "large")
        counts = reconcile(hurried, server, "large", 20)
        rows = {row["recipient"]: row["state"] for row in hurried.deliveries("large")}
        assert rows["p0@example.com"] == "failed"
        assert rows["p4@example.com"] == "sent"
        assert counts["sent"] + counts["in_doubt"] == 19
        assert counts["in_doubt"] <= 3, "only those whose connection broke"


def test_connections_that_go_wrong_before_any_message_cost_nobody_anything(hurried: ClockedHub) -> None:
    banner = ["drop", "stall", "garbage", "endless", "421 4.3.2 go away", "554 5.3.2 no", "late 0.1", "twice"]
    ehlo = ["rst", "huge", "no code", "450 4.3.2 later", "twice", "many"]
    auth = ["drop", "garbage", "454 4.7.0 later", "twice"]
    with hostile(hurried.folder, "hostile", "--login", "anna:s3cret") as server:
        server.mood(always={"banner": "421 4.3.2 go away"})
        hurried.config = provider("sink", server.port, username="anna", password="pass")
        secret(hurried, "s3cret")
        hurried.boot()
        hurried.contacts(100)
        hurried.apply("door", in_doubt="hold")
        hurried.hubctl("start", "door")
        until(lambda: in_trouble(hurried, "sink"), "the trouble to show")
        server.mood(first={"banner": banner, "ehlo": ehlo, "auth": auth})
        finish(hurried, "door")
        assert reconcile(hurried, server, "door", 100)["sent"] == 100
        assert {row["attempts"] for row in hurried.deliveries("door")} == {1}
        assert server.heard()["banner"] > len(banner) + len(ehlo), "it all happened"


# -- a server by other people that breaks off after the dot ------------------------------------------


@pytest.fixture
def dumps() -> Iterator[Path]:
    """A folder that smtp-sink may write to after it has given up root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@dataclass(frozen=True, slots=True)
class Dumps:
    """What smtp-sink wrote down: every message it was given, also those whose client was cut off."""

    folder: Path

    def messages(self) -> list[tuple[str, str]]:
        """Recipient and Message-ID of each that is written to its end."""
        found = []
        for path in self.folder.iterdir():
            head, end, _ = path.read_text().partition("\n\n")
            recipient = re.search(r"^X-Rcpt-Args:.*<(.*)>", head, re.MULTILINE)
            message_id = re.search(r"^Message-ID: (.*)", head, re.MULTILINE)
            if end and recipient and message_id:
                found.append((recipient[1], message_id[1]))
        return found


def sink(port: int, dumps: Path, *flags: str) -> subprocess.Popen[bytes]:
    """A running smtp-sink. Its flags go in front of the address."""
    command = smtp_sink_command(port, dumps)
    process = subprocess.Popen([*command[:-2], *flags, *command[-2:]])
    until(lambda: process.poll() is not None or _listens(port), "smtp-sink")
    assert process.poll() is None
    return process


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    "flags", [("-q", "."), ("-W", ".:2:60")], ids=["hangs up after the dot", "answers the dot late or never"]
)
def test_what_smtp_sink_takes_without_a_word_is_in_doubt_under_hold(
    hurried: ClockedHub, dumps: Path, flags: tuple[str, str]
) -> None:
    port = own_port()
    process = sink(port, dumps, *flags)
    try:
        hurried.config = provider("sink", port, connections=30)
        hurried.boot()
        hurried.contacts(30)
        hurried.apply("doubt", in_doubt="hold")
        hurried.hubctl("start", "doubt")
        finish(hurried, "doubt")
        counts = hurried.campaign("doubt")["counts"]
        assert counts["sent"] + counts["in_doubt"] == 30
        assert counts["in_doubt"] == 30 or flags[0] == "-W"
        until(lambda: len(Dumps(dumps).messages()) >= 30, "smtp-sink to notice that nobody waits")
        assert Counter(to for to, _ in Dumps(dumps).messages()) == Counter(
            f"p{i}@example.com" for i in range(30)
        )
    finally:
        process.kill()
        process.wait()


def test_what_smtp_sink_took_without_a_word_comes_again_with_its_message_id_under_retry(
    hurried: ClockedHub, dumps: Path
) -> None:
    port = own_port()
    process = sink(port, dumps, "-q", ".")
    try:
        hurried.config = provider("sink", port)
        hurried.boot()
        hurried.contacts(10)
        hurried.apply("again", in_doubt="retry")
        hurried.hubctl("start", "again")
        until(lambda: len(set(Dumps(dumps).messages())) == 10, "everybody to be in doubt once")
        process.kill()
        process.wait()
        process = sink(port, dumps)
        finish(hurried, "again")
        assert hurried.campaign("again")["counts"]["sent"] == 10
        messages = Dumps(dumps).messages()
        assert len(messages) >= 20
        assert len(set(messages)) == 10, "every copy carries the same Message-ID"
        assert {row["message_id"] for row in hurried.deliveries("again")} == {
            number for _, number in messages
        }
    finally:
        process.kill()
        process.wait()


# -- a provider in trouble ---------------------------------------------------------------------------

TROUBLE = {
    "auth": "454 4.7.0 Temporary authentication failure",
    "mail": "454 4.3.0 Try again later",
    "rcpt": "454 4.3.0 Try again later",
    "dot": "454 4.3.0 Try again later",
}


def test_a_provider_that_answers_454_for_longer_than_the_retries_last_costs_nobody(
    hurried: ClockedHub,
) -> None:
    with ExitStack() as stack:
        servers = {
            stage: stack.enter_context(hostile(hurried.folder, stage, "--login", "anna:s3cret"))
            for stage in TROUBLE
        }
        for stage, reply in TROUBLE.items():
            servers[stage].mood(always={stage: reply})
        secret(hurried, "s3cret")
        hurried.config = "".join(
            provider(stage, server.port, username="anna", password="pass")
            for stage, server in servers.items()
        )
        hurried.boot()
        hurried.contacts(30)
        for stage in TROUBLE:
            hurried.apply(stage, provider=stage, in_doubt="hold", **{"retry.give_up_after": "5m"})
            hurried.hubctl("start", stage)
        began = hurried.age()
        for stage in TROUBLE:
            until(lambda stage=stage: in_trouble(hurried, stage), f"the trouble at {stage} to show")
        until(lambda: hurried.age() > began + 900, "an outage three times as long as the retries last")
        for stage, server in servers.items():
            campaign = hurried.campaign(stage)
            assert (campaign["state"], campaign["counts"]["failed"]) == ("running", 0), campaign
            assert server.lines() == []
            server.calm()
        finish(hurried, *TROUBLE)
        for stage, server in servers.items():
            counts = reconcile(hurried, server, stage, 30)
            assert (counts["sent"], counts["failed"]) == (30, 0)
            assert set(server.accepted().values()) == {1}
            until(lambda stage=stage: how(hurried, stage)["state"] == "ready", "its speed to come back")


def in_trouble(hub: Hub, name: str) -> bool:
    """Whether `hubctl provider list` shows that a provider does not work, and says why."""
    found = how(hub, name)
    return found["state"] in ("slowed", "resting", "half_open") and bool(found["reason"])


# -- one broken thing hurts only itself --------------------------------------------------------------


def test_a_dead_provider_and_a_capped_campaign_hold_nobody_else_up(hub: Hub) -> None:
    with hostile(hub.folder, "well") as server, hostile(hub.folder, "mute") as mute:
        mute.mood(always={"banner": "stall"})
        hub.config = (
            provider("sink", server.port) + provider("dead", own_port()) + provider("mute", mute.port)
        )
        hub.boot()
        hub.contacts(400)
        hub.apply("on-dead", provider="dead")
        hub.apply("on-mute", provider="mute")
        hub.apply("capped", in_doubt="hold", rate=["3/hour"])
        hub.apply("free", in_doubt="hold")
        for name in ("on-dead", "on-mute", "capped"):
            hub.hubctl("start", name)
        until(lambda: hub.campaign("capped")["counts"]["sent"] == 3, "the capped campaign to use its quota")
        until(lambda: how(hub, "dead")["reason"], "the dead provider to show")
        hub.hubctl("start", "free")
        finish(hub, "free")
        assert hub.campaign("free")["counts"]["sent"] == 400
        assert Counter(server.accepted().values()) == Counter({1: 397, 2: 3})
        for name, pending in (("on-dead", 400), ("on-mute", 400), ("capped", 397)):
            campaign = hub.campaign(name)
            assert campaign["state"] == "running"
            assert campaign["counts"]["pending"] + campaign["counts"]["sending"] == pending, campaign
        for name in ("on-dead", "on-mute", "capped"):
            hub.hubctl("stop", name)
        assert hub.end() == 0
