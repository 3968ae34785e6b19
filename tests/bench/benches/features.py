"""What features cost a campaign that uses them: the same campaign with and without, in turn.

Credits pay for each message; a token in the bounce address names each message (VERP); three sinks are told of
what happens, of which one takes connections and never answers.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable

from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.processes import server
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

TITLE = "features, messages per second with and without"
ROUNDS = 5

CONNECTIONS = 16
ENOUGH = 1_000_000_000  #: credits


def points(settings: Settings) -> list[Point]:
    count = settings.messages or (2_000 if settings.quick else 10_000)
    port = settings.stack.enter_context(smtp_sink())
    config = smtp_provider("sink", port, connections=CONNECTIONS)
    verp = smtp_provider("verp", port, connections=CONNECTIONS).rstrip() + (
        '\nbounce_address = "bounces+{token}@example.org"\n\n'
    )
    plain = settings.stack.enter_context(Hub(settings.folder / "plain", config + verp))
    watched = settings.stack.enter_context(Hub(settings.folder / "watched", config + _sinks(settings)))
    plain.hub.call("credits.grant", account="bench", credits=ENOUGH)
    without = _sending(plain, count, "sink")
    return [
        _point("credits", _sending(plain, count, "sink", credits="bench"), without),
        _point("a token in the bounce address", _sending(plain, count, "verp"), without),
        _point("three sinks, one of which hangs", _sending(watched, count, "sink"), without),
    ]


def _point(name: str, used: Callable[[], Sample], without: Callable[[], Sample]) -> Point:
    ways = [Way("hubd", Role.SUBJECT, used), Way("hubd without", Role.REFERENCE, without)]
    return Point(name=name, figure="rate", unit="messages/s", higher_is_better=True, ways=ways)


def _sending(hub: Hub, count: int, provider: str, **keys: str) -> Callable[[], Sample]:
    contacts = hub.ensure_list(count)
    spec = {**mail.campaign("features", provider=provider, contacts=contacts, kilobytes=2), **keys}
    return lambda: hub.run_campaign(spec, count)


def _sinks(settings: Settings) -> str:
    """The sections of hubd.toml: a server that answers, one that never does, and files."""
    secret = settings.folder / "webhook.secret"
    secret.touch(mode=0o600)
    secret.write_text("whsec_" + base64.b64encode(b"0" * 32).decode())
    answering = settings.stack.enter_context(server("http_sink"))
    silent = settings.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    hooks = "".join(
        f'[sinks.{name}]\ntype = "webhook"\nurl = "http://127.0.0.1:{port}/"\n'
        f'secret = {{ file = "{secret}" }}\n\n'
        for name, port in (("answers", answering), ("hangs", silent.getsockname()[1]))
    )
    return f'{hooks}[sinks.files]\ntype = "csv"\ndirectory = "figures"\nevery = "1s"\n\n'
