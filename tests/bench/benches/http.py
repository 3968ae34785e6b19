"""HTTP: requests a second of the client that providers with an API are talked to with, beside httpx.

Both send the same request of 8 kB to a server on this machine that answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.processes import Command, run_sender, server
from tests.bench.settings import Settings

TITLE = "HTTP requests of 8 kB, requests per second"
ROUNDS = 3

SENDERS = Path(__file__).resolve().parent.parent / "senders"
BYTES = 8 * 1024


def points(settings: Settings) -> list[Point]:
    count = settings.messages or (2_000 if settings.quick else 10_000)
    base_url = f"http://127.0.0.1:{settings.stack.enter_context(server('http_sink'))}"
    found = []
    for connections in settings.connections or [16]:
        arguments = [base_url, str(connections), str(count), str(BYTES)]
        ways = [
            Way("hubd" if role is Role.SUBJECT else f"hubd of {checkout.name}", role,
                _client(settings, Path(sys.executable), "wire_requests.py", arguments, checkout))
            for role, checkout in settings.checkouts()
        ]  # fmt: skip
        ways.append(Way("httpx, asyncio", Role.ALTERNATIVE, _httpx(settings, arguments)))
        name = f"{connections} connection{'s' if connections > 1 else ''}"
        found.append(Point(name=name, figure="rate", unit="requests/s", higher_is_better=True, ways=ways))
    return found


def _client(
    settings: Settings, python: Path, program: str, arguments: list[str], checkout: Path
) -> Callable[[], Sample]:
    environment = {"PYTHONPATH": str(checkout)}
    command: Command = [python, SENDERS / program, *arguments]
    return lambda: run_sender(command, folder=settings.folder, environment=environment)


def _httpx(settings: Settings, arguments: list[str]) -> Callable[[], Sample]:
    def measure() -> Sample:
        command: Command = [settings.packages.python, SENDERS / "httpx_requests.py", *arguments]
        return run_sender(command, folder=settings.folder)

    return measure
