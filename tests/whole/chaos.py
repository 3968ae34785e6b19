"""What the chaos test runs: a daemon, the providers it sends through, and commands that survive its ends.

`Chaos` starts hubd again each time it ended, if the test itself had arranged that end; any other end fails
the test. It knows what was acknowledged: who belongs to which campaign, what was paused, who was suppressed,
which messages were sent. `chaos_commands` and `chaos_failures` are what is done to it, `chaos_checks` is what
must hold afterwards.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from hubd.client import connect
from hubd.errors import HubError, ShuttingDown, Unreachable
from tests.interposed import Interposed
from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN
from tests.whole.chaos_processes import ChaosHub, Memory, Server
from tests.whole.conftest import TIMEOUT, spawn, until
from tests.whole.invariants import Records, check_crash, read_records
from tests.whole.world import provider

KILLED = -signal.SIGKILL
MAIL = {"first": 6, "second": 6, "lost": 3}  #: the most connections to each mail provider
TEXT = {"text": 4}
CONNECTIONS = sum(MAIL.values()) + sum(TEXT.values())
SLOWLY = (
    "late 0.1"  #: what servers do at the end of a message: a kill finds many between accepted and answered
)
STALE = range(100, 108)  #: places in each list of addresses that do not exist any more
LATER = 7200.0  #: seconds by which the wall clock is ahead in the end: what was deferred is due


@dataclass
class Sent:
    """A campaign that was started: what has been acknowledged about it."""

    name: str
    provider: str
    policy: str
    listed: str
    audience: set[str]
    quiet: list[Quiet] = field(default_factory=list)

    @property
    def channel(self) -> str:
        return "sms" if self.provider in TEXT else "email"


@dataclass
class Quiet:
    """From the acknowledgement of a pause or a stop until somebody asked for it to go on."""

    since: float  #: wall clock
    lines: dict[str, int]  #: how many acceptances each provider had on record
    until: float = float("inf")
    until_lines: dict[str, int] = field(default_factory=dict)


@dataclass
class Deleted:
    """A campaign that was deleted when it had completed."""

    sent: Sent
    deliveries: list[dict[str, Any]]  #: as they were then
    lines: dict[str, int]  #: how many acceptances each provider had on record


class Chaos:
    """The daemon, its providers, and what was acknowledged."""

    def __init__(self, hub: ChaosHub, servers: dict[str, Server], text_port: int, text_record: Path) -> None:
        self.hub = hub
        self.servers = servers
        self.memory = Memory(hub)
        self.launched = 0
        self.grants = self.granted = 0  #: grants of credits that were acknowledged, and what they come to
        self.campaigns: dict[str, Sent] = {}
        self.deleted: list[Deleted] = []
        self.transactional: dict[str, Single] = {}  #: by idempotency key
        self.suppressed: dict[str, float] = {}  #: address -> wall clock of the acknowledgement
        self.imported: dict[str, set[str]] = {}  #: list -> addresses
        self.cut_off: set[object] = set()  #: ids of the attempts that were open when hubd was killed
        self.ends = 0
        self.limits = {**MAIL, **TEXT}  #: connections as they are configured now
        self.rates: dict[str, str] = {}
        self.deaf: list[socket.socket] = []  #: viewers that do not read
        self.arranged: set[int] = set()  #: the exit statuses that hubd may have now
        self._ender: Thread | None = None
        self._text = text_port, text_record
        self._began = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def note(self, text: str) -> None:
        """Write what is done into the journal, which pytest shows when the test fails."""
        print(f"{self.age:8.2f} {text}", flush=True)

    # -- the configuration ---------------------------------------------------------------------------

    def config(self) -> str:
        """hubd.toml as it should be now."""
        parts = []
        for name in MAIL:
            keys: dict[str, object] = {"connections": self.limits[name]}
            if name == "lost":
                keys["host"] = "hang.example"
            if name in self.rates:
                keys["rate"] = [self.rates[name]]
            parts.append(mail(name, self.servers["first" if name == "lost" else name].port, keys))
        port, _ = self._text
        rate = f"rate = {json.dumps([self.rates['text']])}\n" if "text" in self.rates else ""
        parts.append(
            f'[providers.text]\ntype = "twilio"\naccount_sid = "{ACCOUNT}"\n'
            f'auth_token = {{ file = "twilio.token" }}\nfrom = "{SENDER}"\n{rate}'
            f'concurrency = {self.limits["text"]}\nbase_url = "http://127.0.0.1:{port}"\n'
        )
        return "".join(parts)

    # -- what the providers accepted -----------------------------------------------------------------

    def records(self) -> dict[str, list[str]]:
        """What each provider put on record: its lines."""
        records = {name: server.lines() for name, server in self.servers.items()}
        _, path = self._text
        text = path.read_text() if path.exists() else ""
        records["text"] = text[: text.rfind("\n") + 1].splitlines()
        return records

    def recorded(self) -> dict[str, int]:
        return {name: len(lines) for name, lines in self.records().items()}

    def stale(self) -> dict[str, dict[str, str]]:
        """What servers say to the addresses that do not exist any more: eight in a row in each list."""
        told = ("550 No such user here", "550 5.4.1 Recipient address rejected: Access denied")
        return {
            f"p{n}@{sent.name}.example": {"rcpt": told[number % 2]}
            for number, sent in enumerate(self.campaigns.values())
            for n in STALE
        }

    def behave(
        self,
        server: Server,
        *,
        always: dict[str, str] | None = None,
        first: dict[str, list[str]] | None = None,
        to: dict[str, dict[str, list[str]]] | None = None,
        surplus: tuple[int, str] | None = None,
    ) -> None:
        """Let a server behave so (see `hostile_smtp`), take its time, and refuse who does not exist."""
        server.mood(
            always={"dot": SLOWLY, **(always or {})},
            first=first,
            to={**(to or {}), **self.stale()},
            surplus=surplus,
        )

    # -- the daemon starts and ends ------------------------------------------------------------------

    def start(self, fail: str = "") -> None:
        """Start hubd until it answers, over the ends that were arranged for its start."""
        self.hub.config = self.config()
        self.arranged |= {KILLED} if fail or self.armed() else set()
        self.hub.launch(fail=fail)
        until(lambda: self.ended() or self.hub.answers(), "hubd", lambda: self.hub.log()[-3000:])
        if self.ended():
            self.after_the_end()
            self.disarm()
            self.start()

    def ended(self) -> bool:
        assert self.hub.daemon is not None
        return self.hub.daemon.poll() is not None

    def after_the_end(self) -> None:
        """Wait for the end that was arranged and hold the records against it."""
        daemon, ender = self.hub.daemon, self._ender
        assert daemon is not None
        if ender is not None:
            ender.join()
            self._ender = None
        status = daemon.wait(TIMEOUT)
        self.note(f"hubd ended with {status}")
        assert status in self.arranged, f"hubd ended on its own with {status}: {self.hub.log()[-3000:]}"
        self.arranged = set()
        self.ends += 1
        if (self.hub.state / "hub.db").exists():
            self.check_the_end(status, read_records(self.hub.state))

    def check_the_end(self, status: int, records: Records) -> None:
        """I7, I8 and I9; and an orderly end leaves nothing open."""
        check_crash(records, CONNECTIONS if status == KILLED else 0)
        self.cut_off |= {row["id"] for row in records.attempts if row["outcome"] is None}

    @contextmanager
    def ending(self, how: signal.Signals, after: float) -> Iterator[None]:
        """End hubd while the block runs, and start it again at its end at the latest."""
        daemon = self.hub.daemon
        assert daemon is not None
        self.arranged |= {KILLED if how is signal.SIGKILL else 0}

        def end() -> None:
            time.sleep(after)  # the moment of the end
            daemon.send_signal(how)

        self._ender = Thread(target=end, name="ender")
        self._ender.start()
        yield
        if self._ender is not None:  # no command of the block had to notice
            self.again()

    def again(self) -> None:
        """Start hubd again after the end that was arranged."""
        self.after_the_end()
        self.start()

    def armed(self) -> bool:
        """Whether the next checkpoint may kill hubd."""
        return self.hub.failures.checkpoint.exists()

    def arm(self, writes: int) -> None:
        """Kill hubd in a checkpoint (see `interposed`)."""
        self.arranged |= {KILLED}
        self.hub.failures.checkpoint.write_text(str(writes))

    def disarm(self) -> None:
        """Kill no more. What is dying stays allowed to."""
        self.hub.failures.checkpoint.unlink(missing_ok=True)

    # -- commands ------------------------------------------------------------------------------------

    def ask(self, method: str, **params: object) -> dict[str, Any] | HubError | None:
        """Call a method once. None: the outcome is unknown."""
        try:
            with connect(self.hub.state / "control.sock") as hub:
                return hub.call(method, wait=TIMEOUT, **params)
        except HubError as error:
            refused = error
        self.note(f"  {method}: {refused.code}")
        assert refused.code not in ("timeout", "internal_error"), f"{method}: {self.hub.log()[-3000:]}"
        return None if isinstance(refused, Unreachable | ShuttingDown) else refused

    def settle(self, method: str, **params: object) -> dict[str, Any] | HubError:
        """Repeat a command until its outcome is known, over every end of the daemon."""
        end = time.monotonic() + TIMEOUT
        while (answer := self.ask(method, **params)) is None:
            assert time.monotonic() < end, f"{method} is never answered; {self.hub.log()[-3000:]}"
            if self._ender is not None or self.ended():
                self.again()
        return answer

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """The same for a command that cannot be refused."""
        answer = self.settle(method, **params)
        assert not isinstance(answer, HubError), (method, answer)
        return answer

    def hubctl(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> int:
        """Run hubctl until it had an answer; its exit code."""
        unreachable = 6
        while (done := self.hub.ask(*arguments)).returncode == unreachable:
            self.note(f"  hubctl: {done.stderr.strip()[:100]}")
            if self._ender is not None or self.ended():
                self.again()
        assert done.returncode in codes, (arguments, done.returncode, done.stdout, done.stderr)
        return done.returncode

    # -- what is acknowledged ------------------------------------------------------------------------

    def quieten(self, sent: Sent, answer: dict[str, Any] | HubError) -> None:
        """A pause or a stop has answered."""
        if not isinstance(answer, HubError) and not any(each.until == float("inf") for each in sent.quiet):
            sent.quiet.append(Quiet(time.time(), self.recorded()))

    def wake(self, sent: Sent) -> None:
        """Somebody is about to ask for it to go on."""
        for quiet in sent.quiet:
            if quiet.until == float("inf"):
                quiet.until, quiet.until_lines = time.time(), self.recorded()


@dataclass
class Single:
    """A transactional message."""

    recipient: str
    provider: str
    delivery: int


def mail(name: str, port: int, keys: dict[str, object]) -> str:
    """The configuration of a mail provider, whose host may be another one."""
    host = keys.pop("host", "127.0.0.1")
    return provider(name, port, **keys).replace('host = "127.0.0.1"', f'host = "{host}"')


@contextmanager
def open_chaos(folder: Path) -> Iterator[Chaos]:
    """A daemon that runs, and its providers, for the length of the block."""
    hub = ChaosHub(folder, failures=Interposed.controlled_in(folder))
    token = folder / "twilio.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    record = folder / "text.accepted"
    with ExitStack() as stack:
        text, port = spawn([sys.executable, "-m", "tests.whole.slow_twilio", str(record), "0.05", "1"])
        assert text.stdout is not None
        stack.callback(text.stdout.close)
        stack.callback(text.wait)
        stack.callback(text.kill)
        servers = {}
        for name in ("first", "second"):
            server = servers[name] = Server(0, folder / f"{name}.accepted", folder / f"{name}.mood")
            server.begin()
            stack.callback(server.end)
        chaos = Chaos(hub, servers, port, record)
        for server in servers.values():
            chaos.behave(server)
        try:
            with chaos.memory.watch():
                chaos.start()
                yield chaos
        finally:
            for process in hub.processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
