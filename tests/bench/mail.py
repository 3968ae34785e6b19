"""What is sent: one message of about 2 kB and one of about 50 kB, in text and HTML, with a name in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

SENDER = "bench@example.org"
SUBJECT = "Hello {{ first_name }}"
_PARAGRAPH = "Good news from the workshop: the new season is here, and so is the catalogue. "


def texts(kilobytes: int, sentence: str = _PARAGRAPH) -> tuple[str, str]:
    """The text and the HTML part, together about this many kB."""
    repeats = max(1, kilobytes * 1000 // 2 // len(sentence.encode()) - 2)
    paragraph = "\n".join([sentence.strip()] * repeats)
    text = f"Hello {{{{ first_name }}}},\n\n{paragraph}\n\nYours, {{{{ city }}}} branch\n"
    greeting = "<p>Hello <b>{{ first_name }}</b>,</p>"
    html = f"<html><body>{greeting}\n<p>{paragraph}</p>\n{{{{ city }}}}</body></html>"
    return text, html


def campaign(name: str, *, provider: str, contacts: str, kilobytes: int) -> dict[str, object]:
    """An email campaign, as `campaign.apply` takes it."""
    text, html = texts(kilobytes)
    return {
        "name": name,
        "channel": "email",
        "provider": provider,
        "lists": [contacts],
        "kind": "transactional",
        "sender": f"Bench <{SENDER}>",
        "subject": SUBJECT,
        "text": text,
        "html": html,
    }


def write_content(folder: Path, kilobytes: int) -> Path:
    """The same message for the other senders: a JSON file."""
    text, html = texts(kilobytes)
    path = folder / f"content-{kilobytes}.json"
    path.write_text(json.dumps({"sender": SENDER, "subject": SUBJECT, "text": text, "html": html}))
    return path


def people(count: int, *, prefix: str = "person") -> Iterator[dict[str, str]]:
    """Contacts."""
    for i in range(count):
        yield {
            "email": f"{prefix}{i}@example.com",
            "phone": f"+1202555{i:04}" if i < 10_000 else f"+1415{i + 2_000_000:07}",
            "first_name": f"Zoë {i}",
            "city": "Springfield",
        }
