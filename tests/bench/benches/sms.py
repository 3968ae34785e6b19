"""SMS: how many messages a second through a local server that answers like Twilio at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.bench.hub import Hub
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.processes import Command, run_sender, server
from tests.bench.settings import Settings
from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN

TITLE = "SMS, messages per second"
ROUNDS = 3

SENDER_PROGRAM = Path(__file__).resolve().parent.parent / "senders" / "httpx_sender.py"
BODY = "Hello {{ first_name }}, good news."


def points(settings: Settings) -> list[Point]:
    count = settings.messages or (600 if settings.quick else 3_000)
    connections = settings.connections or ([10] if settings.quick else [1, 10])
    base_url = f"http://127.0.0.1:{settings.stack.enter_context(server('twilio_sink'))}"
    token = settings.folder / "twilio.token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    config = "".join(
        f'[providers.text{number}]\ntype = "twilio"\naccount_sid = "{ACCOUNT}"\n'
        f'auth_token = {{ file = "{token}" }}\nfrom = "{SENDER}"\n'
        f'concurrency = {number}\nbase_url = "{base_url}"\n\n'
        for number in connections
    )
    hubs = settings.hubs(config)
    found = []
    for number in connections:
        ways = [Way(hub.name, role, _hubd(hub, f"text{number}", count)) for role, hub in hubs]
        ways.append(
            Way("httpx, asyncio: not recorded", Role.ALTERNATIVE, _httpx(settings, base_url, number, count))
        )
        name = f"{number} connection{'s' if number > 1 else ''}"
        found.append(Point(name=name, figure="rate", unit="messages/s", higher_is_better=True, ways=ways))
    return found


def _hubd(hub: Hub, provider: str, count: int) -> Callable[[], Sample]:
    spec = {
        "name": provider,
        "channel": "sms",
        "provider": provider,
        "lists": [hub.ensure_list(count)],
        "kind": "transactional",
        "text": BODY,
    }
    return lambda: hub.run_campaign(spec, count)


def _httpx(settings: Settings, base_url: str, connections: int, count: int) -> Callable[[], Sample]:
    def measure() -> Sample:
        arguments = [base_url, ACCOUNT, TOKEN, SENDER, str(connections), str(count)]
        command: Command = [settings.packages.python, SENDER_PROGRAM, *arguments]
        return run_sender(command, folder=settings.folder)

    return measure
