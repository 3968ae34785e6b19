"""Email: how many messages a second, beside what else there is to send them with.

hubd sends personalised text and HTML, and each attempt is durable before it is made. What the others do is
in their files in senders/. One point varies one condition; the options of the command line choose others.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.packages import postfix_program
from tests.bench.processes import Command, run_program, run_sender
from tests.bench.settings import Settings
from tests.bench.sinks import delayed, smtp_sink, tls_sink

TITLE = "email, messages per second"
ROUNDS = 3

SENDERS = Path(__file__).resolve().parent.parent / "senders"
SECONDS_DELAYED = 3.0  #: how long a measurement with a delay should take
ROUND_TRIPS = 4  #: per message, for a sender without PIPELINING


@dataclass(frozen=True, slots=True)
class Condition:
    """Under which a point is measured."""

    connections: int
    security: str
    kilobytes: int
    round_trip: int

    def __str__(self) -> str:
        count = f"{self.connections} connection{'s' if self.connections > 1 else ''}"
        delay = f", {self.round_trip} ms per round trip" if self.round_trip else ""
        return f"{count}, {self.security}, {self.kilobytes} kB{delay}"

    @property
    def provider(self) -> str:
        return f"c{self.connections}-{self.security}-{self.round_trip}"

    def messages(self, wanted: int, *, round_trips: int = 1) -> int:
        """`wanted`, or as many as SECONDS_DELAYED allow a sender with so many round trips per message."""
        if self.round_trip == 0:
            return wanted
        possible = self.connections * SECONDS_DELAYED / (self.round_trip / 1000 * round_trips)
        return max(self.connections * 4, min(wanted, int(possible)))


def conditions(settings: Settings) -> list[Condition]:
    """All combinations of what was asked for; otherwise one condition varied at a time."""
    if settings.connections or settings.security or settings.kilobytes or settings.round_trips:
        every = product(
            settings.connections or [16],
            settings.security or ["plain"],
            settings.kilobytes or [2],
            settings.round_trips or [0],
        )
        return [Condition(*each) for each in every]
    if settings.quick:
        varied = [(1, "plain", 2, 0), (16, "plain", 2, 0), (64, "plain", 2, 0)]
        varied += [(16, "tls", 2, 0), (16, "plain", 50, 0), (16, "plain", 2, 20)]
    else:
        varied = [(count, "plain", 2, 0) for count in (1, 4, 16, 64)]
        varied += [(16, "tls", 2, 0), (64, "tls", 2, 0), (16, "plain", 50, 0)]
        varied += [(count, "plain", 2, delay) for delay in (20, 100) for count in (16, 64)]
    return [Condition(*each) for each in varied]


def points(settings: Settings) -> list[Point]:
    wanted = settings.messages or (2_000 if settings.quick else 10_000)
    chosen = conditions(settings)
    servers = _Servers(settings)
    for condition in chosen:
        servers.open(condition)
    hubs = settings.hubs(servers.config)
    return [
        Point(
            name=str(condition),
            figure="rate",
            unit="messages/s",
            higher_is_better=True,
            ways=[
                *(Way(hub.name, role, _hubd(hub, condition, wanted)) for role, hub in hubs),
                *_others(settings, condition, servers, wanted),
            ],
        )
        for condition in chosen
    ]


class _Servers:
    """One server for each kind of condition, and the providers of hubd for them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._at: dict[tuple[str, int], tuple[int, Path | None]] = {}
        self._sections: dict[str, str] = {}

    @property
    def config(self) -> str:
        return "".join(self._sections.values())

    def open(self, condition: Condition) -> None:
        port, ca_file = self.at(condition)
        self._sections[condition.provider] = smtp_provider(
            condition.provider, port, connections=condition.connections, ca_file=ca_file
        )

    def at(self, condition: Condition) -> tuple[int, Path | None]:
        """The port for a condition, and the file of the certificate's authority."""
        key = (condition.security, condition.round_trip)
        if key not in self._at:
            enter = self._settings.stack.enter_context
            if condition.round_trip:
                port, ca_file = self.at(
                    Condition(condition.connections, condition.security, condition.kilobytes, 0)
                )
                self._at[key] = enter(delayed(port, condition.round_trip)), ca_file
            elif condition.security == "tls":
                self._at[key] = enter(tls_sink(self._settings.folder))
            else:
                self._at[key] = enter(smtp_sink()), None
        return self._at[key]


def _hubd(hub: Hub, condition: Condition, wanted: int) -> Callable[[], Sample]:
    count = condition.messages(wanted)
    contacts = hub.ensure_list(count)
    spec = mail.campaign(
        condition.provider, provider=condition.provider, contacts=contacts, kilobytes=condition.kilobytes
    )
    return lambda: hub.run_campaign(spec, count)


def _others(settings: Settings, condition: Condition, servers: _Servers, wanted: int) -> list[Way]:
    port, ca_file = servers.at(condition)
    server = [str(port), str(ca_file or "-")]
    content = str(mail.write_content(settings.folder, condition.kilobytes))
    connections = str(condition.connections)
    packages = settings.packages

    def count(share: int = 1) -> str:  # fewer for a sender that is known to be slow
        return str(condition.messages(max(wanted // share, 20), round_trips=ROUND_TRIPS))

    def aiosmtplib() -> Sample:
        script = SENDERS / "aiosmtplib_sender.py"
        command: Command = [packages.python, script, *server, connections, count(), content]
        return run_sender(command, folder=settings.folder)

    def nodemailer() -> Sample:
        script = SENDERS / "nodemailer_sender.cjs"
        command: Command = ["node", script, *server, connections, count(2), content]
        environment = {"BENCH_NODE_MODULES": str(packages.node_modules)}
        return run_sender(command, folder=settings.folder, environment=environment)

    def post_office() -> Sample:
        database = settings.folder / "post-office.db"
        script = SENDERS / "post_office_sender.py"
        command: Command = [packages.python, script, *server, connections, count(10), content, database]
        return run_sender(command, folder=settings.folder)

    def smtplib() -> Sample:
        script = SENDERS / "smtplib_sender.py"
        alone = Condition(1, condition.security, condition.kilobytes, condition.round_trip)
        messages = str(alone.messages(max(wanted // 10, 20), round_trips=ROUND_TRIPS))
        command: Command = [
            sys.executable,
            script,
            *server,
            messages,
            content,
            settings.folder / "smtplib.db",
        ]
        return run_sender(command, folder=settings.folder)

    ways = [
        Way("aiosmtplib, asyncio: one fixed message, not recorded", Role.ALTERNATIVE, aiosmtplib),
        Way("nodemailer, pool: not recorded", Role.ALTERNATIVE, nodemailer),
        Way("django-post_office: queue in SQLite", Role.ALTERNATIVE, post_office),
        Way("smtplib in a loop: one connection, recorded", Role.ALTERNATIVE, smtplib),
    ]
    if condition.security == "plain":
        ceiling = _smtp_source(settings.folder, port, condition, int(count()))
        ways.append(Way("smtp-source: C, one fixed message, not recorded", Role.CEILING, ceiling))
    if condition.round_trip:
        one_each = {"rate": condition.connections * 1000 / condition.round_trip}
        name = "one message per round trip and connection (computed)"
        ways.append(Way(name, Role.CEILING, lambda: one_each))
    return ways


def _smtp_source(folder: Path, port: int, condition: Condition, count: int) -> Callable[[], Sample]:
    # -d keeps the connection for the next message.
    options = ["-d", "-s", str(condition.connections), "-m", str(count)]
    options += ["-l", str(condition.kilobytes * 1000), "-f", mail.SENDER, "-t", "person@example.com"]

    def measure() -> Sample:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        run_program([postfix_program("smtp-source"), *options, f"127.0.0.1:{port}"], folder=folder)
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"rate": count / took, "us CPU": cpu / count * 1e6}

    return measure
