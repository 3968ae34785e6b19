"""The kinds of providers, by their `type` in hubd.toml. A new kind is a folder and a line here.

Importing this imports no kind, so hubctl and hubd start fast; and a kind may need a missing library.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubd.providers.kind import Kind
    from hubd.providers.questions import Questions

#: The folder of each kind, in the order in which people see them.
KINDS: dict[str, str] = {
    "smtp": "hubd.providers.smtp",
    "twilio": "hubd.providers.twilio",
    "sendgrid": "hubd.providers.sendgrid",
    "ses": "hubd.providers.ses",
    "sns": "hubd.providers.sns",
    "outbox": "hubd.providers.outbox",
}
#: The kind and name of the provider that always exists.
BUILT_IN = "outbox"


def kind_of(type_: str) -> Kind[Any]:
    """The kind of this name. Raises `KeyError`."""
    found: Kind[Any] = import_module(f"{KINDS[type_]}.kind").KIND
    return found


def questions_of(type_: str) -> Questions:
    """What to ask somebody who adds a provider of this kind. Raises `KeyError`."""
    found: Questions = import_module(f"{KINDS[type_]}.questions").QUESTIONS
    return found


def all_questions() -> Iterator[Questions]:
    """The questions of every kind."""
    return map(questions_of, KINDS)


def in_words() -> str:
    """The names of the kinds, for people: "outbox, smtp or twilio"."""
    *others, last = sorted(KINDS)
    return f"{', '.join(others)} or {last}"
