"""Rendering alone: the CPU time of writing a message for one recipient, which is not sent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import mail
from tests.bench.hub import python_of
from tests.bench.measure import Point, Role, Sample, Way
from tests.bench.processes import ROOT, run_sender
from tests.bench.settings import Settings

TITLE = "rendering, CPU per message"
ROUNDS = 5

RENDERER = ROOT / "tests" / "bench" / "senders" / "renderer.py"
FOOTER = {
    "kind": "marketing",
    "unsubscribe": "https://example.org/u/{{ city }}",
    "postal_address": "1 Main St\nSpringfield",
}
LOGIC = "\n{% if city == 'Springfield' %}See you in {{ city | upper }}.\n{% else %}Visit us.\n{% endif %}\n"
#: Mostly not ASCII, so that the bodies travel in base64.
CYRILLIC = "Хорошие новости из мастерской: начался новый сезон, и вышел новый каталог. "


def contents() -> dict[str, dict[str, str]]:
    """What is written, by the name of the point."""
    plain = _content(*mail.texts(2))
    text, html = mail.texts(2)
    logic = _content(text + LOGIC, html.replace("</body>", f"{LOGIC}</body>"))
    return {
        "2 kB": plain,
        "2 kB, footers": {**plain, **FOOTER},
        "2 kB, conditions and filters": logic,
        "2 kB, base64": _content(*mail.texts(2, CYRILLIC)),
        "2 kB, HTML in one line": {**plain, "html": html.replace("\n", " ")},
        "50 kB": _content(*mail.texts(50)),
    }


def points(settings: Settings) -> list[Point]:
    wanted = settings.messages or (5_000 if settings.quick else 50_000)
    found = []
    for number, (name, content) in enumerate(contents().items()):
        path = settings.folder / f"content-{number}.json"
        path.write_text(json.dumps(content))
        count = max(20, wanted * 2_000 // max(2_000, len(content["html"])))
        ways = [
            Way(
                "hubd" if role is Role.SUBJECT else f"hubd of {checkout.name}",
                role,
                _hubd(checkout, path, count),
            )
            for role, checkout in settings.checkouts()
        ]
        ways.append(Way("Jinja2 and EmailMessage", Role.ALTERNATIVE, _email(settings.folder, path, count)))
        found.append(Point(name=name, figure="us CPU", unit="us", higher_is_better=False, ways=ways))
    return found


def _content(text: str, html: str) -> dict[str, str]:
    sender = f"Bench <{mail.SENDER}>"
    return {"kind": "transactional", "sender": sender, "subject": mail.SUBJECT, "text": text, "html": html}


def _hubd(checkout: Path, content: Path, count: int) -> Callable[[], Sample]:
    command: list[str | Path] = [python_of(checkout), RENDERER, "hubd", str(count), content]
    environment = {"PYTHONPATH": str(checkout)}
    return lambda: run_sender(command, folder=content.parent, environment=environment)


def _email(folder: Path, content: Path, count: int) -> Callable[[], Sample]:
    command: list[str | Path] = [sys.executable, RENDERER, "email", str(max(count // 20, 20)), content]
    return lambda: run_sender(command, folder=folder)
