"""What `provider add` wants to know: from the options, and the rest by asking in words that need no manual.

Without a terminal nothing is asked; what is missing is named, all of it at once.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import click

from hubctl import provider_checks as checks
from hubctl.app import App
from hubctl.exits import Exit, Refused
from hubctl.hidden_input import ask_hidden
from hubd.files import decoded
from hubd.providers.questions import Check, Choice, Option, Questions
from hubd.providers.registry import all_questions, questions_of

#: The options that every kind has.
_SHARED = ("name", "type", "rate", "password_stdin")


class Given:
    """The options of the command line, by their keys; None for what was not given."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self.name: str | None = options.get("name")
        self.type: str | None = options.get("type")
        self.rate: tuple[str, ...] = options.get("rate") or ()
        self.password_stdin = bool(options.get("password_stdin"))

    def of(self, key: str) -> Any:
        """The value of an option."""
        return self._options.get(key)

    def own(self) -> list[str]:
        """The given options that belong to single kinds."""
        return [key for key, value in self._options.items() if key not in _SHARED and value is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A provider as it is to be written down."""

    name: str
    settings: dict[str, Any]  #: without the secrets
    #: The secrets by the keys that refer to them, such as "password" or "oauth2.refresh_token".
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


def ask(app: App, given: Given, taken: Collection[str]) -> Wanted:
    """Everything about the new provider. `taken` are the names that are there. Raises Refused."""
    if given.name is not None:
        if problem := checks.name(given.name):
            raise Refused(f"{given.name!r}: {problem}", status=Exit.USAGE)
        if given.name in taken:
            raise already(given.name)
    questions, word = _kind(app, given)
    choice = questions.choice(word)
    _refuse_what_does_not_belong(given, questions, word)
    answers = _Answers(app, given)
    found = questions.ask(answers, word)
    settings = {"type": questions.type, **found.settings, "rate": _rates(answers, given, choice)}
    name = given.name or answers.text(
        "name",
        "A name for it, to use in campaign files",
        proposal=_free(choice.name or choice.word, taken),
        check=lambda text: (
            checks.name(text) or ("another provider already has this name" if text in taken else "")
        ),
    )
    answers.complete()
    return Wanted(
        name=name,
        settings={key: value for key, value in settings.items() if value not in ("", None, [])},
        secrets=found.secrets,
    )


def ask_again(app: App, settings: Mapping[str, Any]) -> str:
    """Another secret for a provider whose first one was refused; "" when nobody wants to give one."""
    if not app.may_ask() or app.yes:
        return ""
    if not yes(app, "Enter the password once more"):
        return ""
    questions = questions_of(str(settings["type"]))
    choice = questions.choice(str(settings.get(questions.chosen_by, "")))
    return choice.tidy(_hidden("Password"))


def yes(app: App, question: str, *, default: bool = True) -> bool:
    """Whether the answer is yes; an empty answer means the default, and --yes answers yes."""
    if app.yes:
        return True
    shown, empty = ("[Y/n]", "y") if default else ("[y/N]", "n")
    answer = click.prompt(
        f"{question}? {shown}", default=empty, show_default=False, prompt_suffix=" ", err=True
    )
    return str(answer).strip().lower() in ("y", "yes")


def already(name: str) -> Refused:
    """The error that there is a provider of that name already."""
    return Refused(
        f"the provider {name} already exists",
        code="provider_exists",
        status=Exit.CONFLICT,
        hint=f"choose another name, or remove it first: hubctl provider remove {name}",
    )


class _Answers:
    """Asks for what was not given; without a terminal it notes what is missing (see `Answers`)."""

    def __init__(self, app: App, given: Given) -> None:
        self._app = app
        self._given = given
        self._asking = app.may_ask()
        self._missing: list[str] = []

    @property
    def secret_on_stdin(self) -> bool:
        """Whether the secret comes from standard input."""
        return self._given.password_stdin

    def given(self, key: str) -> Any:
        """The value of an option by its key; None if it was not given."""
        return self._given.of(key)

    def text(
        self,
        key: str,
        question: str,
        *,
        check: Check,
        default: str | None = None,
        proposal: str | None = None,
    ) -> str:
        """A text. `default` is for an empty answer or when nobody can be asked, `proposal` for the former."""
        value, option = self._given.of(key), "NAME" if key == "name" else flag_of(key)
        if value is not None and value != ():
            if problem := check(str(value)):
                raise Refused(f"{option}: {problem}", status=Exit.USAGE)
            return str(value)
        if not self._asking:
            if default is None:
                self._missing.append(option)
            return default or ""

        def checked(answer: str) -> str:
            if problem := check(answer.strip()):
                raise click.BadParameter(problem)
            return answer.strip()

        empty = proposal if default is None else default
        return str(
            click.prompt(question, default=empty, show_default=bool(empty), value_proc=checked, err=True)
        )

    def secret(self, question: str) -> str:
        """A secret, from standard input or typed without an echo."""
        if self._given.password_stdin:
            return _from_stdin()
        if not self._asking:
            self._missing.append("--password-stdin")
            return ""
        return _hidden(question)

    def two_secrets(self, question: str, further: str) -> tuple[str, str]:
        """A secret and a second one that may be empty; standard input has a line for each."""
        if self._given.password_stdin:
            first, _, second = _from_stdin(lines=2).partition("\n")
            return first, second
        first = self.secret(question)
        return first, _hidden(further, empty=True) if self._asking else ""

    def say(self, advice: str) -> None:
        """Tell something to whoever is asked; does nothing if nobody is."""
        if self._asking:
            click.echo(advice, err=True)

    def refuse(self, problem: str, *, hint: str = "") -> NoReturn:
        """End the questions: the options contradict each other."""
        raise Refused(problem, status=Exit.USAGE, hint=hint)

    def complete(self) -> None:
        """Raises Refused when something is missing and there was nobody to ask."""
        if self._missing:
            raise Refused(
                f"not given: {', '.join(self._missing)}, and there is no terminal to ask on",
                code="prompt_needed",
                status=Exit.USAGE,
                hint="pass them as options; pass the password on stdin, never on the command line",
            )


def _kind(app: App, given: Given) -> tuple[Questions, str]:
    """The kind that the options mean, else the one that is chosen, and the word of the choice."""
    if given.type:
        return _chosen(questions_of(given.type), given)
    for questions in all_questions():
        if questions.chosen_by and given.of(questions.chosen_by):
            return _chosen(questions, given)
    for questions in all_questions():
        if any(given.of(key) for key in questions.implied_by):
            return _chosen(questions, given)
    if not app.may_ask():
        raise Refused(
            "not given: --type or --preset, and there is no terminal to ask on",
            code="prompt_needed",
            status=Exit.USAGE,
            hint="for instance: hubctl provider add gmail --preset gmail --username YOU@gmail.com "
            "--password-stdin",
        )
    menu = [(questions, choice) for questions in all_questions() for choice in questions.choices]
    lines = [f"  {number}  {choice.line}" for number, (_, choice) in enumerate(menu, start=1)]
    click.echo("\n".join(["What do you send with?", *lines]), err=True)
    number = click.prompt("Number", type=click.IntRange(1, len(menu)), default=1, err=True)
    questions, choice = menu[int(number) - 1]
    return questions, choice.word


def _chosen(questions: Questions, given: Given) -> tuple[Questions, str]:
    return questions, str(given.of(questions.chosen_by) or questions.type)


def _refuse_what_does_not_belong(given: Given, questions: Questions, word: str) -> None:
    """An option that would be forgotten is a mistake."""
    own = {option.name for option in questions.options}
    alien = [key for key in given.own() if key not in own]
    if given.password_stdin and not questions.has_secret:
        alien.append("password_stdin")
    if alien:
        hints = [option.elsewhere for option in all_options() if option.name in alien and option.elsewhere]
        flags = ", ".join(map(flag_of, alien))
        raise Refused(f"{flags} does not apply to {word}", status=Exit.USAGE, hint=hints[0] if hints else "")


def all_options() -> list[Option]:
    """The options of single kinds, each once."""
    found: dict[str, Option] = {}
    for questions in all_questions():
        for option in questions.options:
            found.setdefault(option.flag, option)
    return list(found.values())


def flag_of(key: str) -> str:
    """An option as it is written, by its key."""
    own = next((option.flag for option in all_options() if option.name == key), "")
    return own or f"--{key.replace('_', '-')}"


def _rates(answers: _Answers, given: Given, choice: Choice) -> list[str]:
    if given.rate or not choice.rate:
        return list(given.rate)
    limit = answers.text("rate", choice.rate, default="", check=checks.rate)
    return [limit] if limit else []


def read_secrets(lines: int) -> list[str]:
    """The secrets on standard input, one a line, at most so many. Raises Refused."""
    return _from_stdin(lines=lines).split("\n")


def _from_stdin(*, lines: int = 1) -> str:
    if sys.stdin.isatty():
        raise Refused(
            "--password-stdin needs a pipe or a file",
            status=Exit.USAGE,
            hint="leave it out to be asked for the password",
        )
    data = sys.stdin.buffer.read(checks.MOST_SECRET + 1)
    try:
        secret = decoded(data).replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError:
        raise Refused("the password on stdin is not UTF-8 text", status=Exit.USAGE) from None
    parts = secret.split("\n") if lines > 1 else [secret]
    if len(parts) > lines:
        raise Refused(f"stdin has more than {lines} lines", status=Exit.USAGE)
    for part in parts:
        if problem := checks.secret(part):
            raise Refused(f"the password on stdin {problem}", status=Exit.USAGE)
    return secret


def _hidden(question: str, *, empty: bool = False) -> str:
    def problem_of(answer: str) -> str:
        return f"it {problem}" if (answer or not empty) and (problem := checks.secret(answer)) else ""

    none = "; leave empty if it has none" if empty else ""
    return ask_hidden(f"{question} (not shown while you type{none})", problem_of, empty=empty)


def _free(stem: str, taken: Collection[str]) -> str:
    return next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 10_000))) if name not in taken)
