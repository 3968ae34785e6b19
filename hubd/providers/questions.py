"""What `hubctl provider add` asks, declared by each kind of provider.

hubctl imports this module and the `questions` of each kind, so they import nothing but the standard library
and each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol

Check = Callable[[str], str]  #: what is wrong with an answer, "" for nothing


class Found(NamedTuple):
    """The answers: a section of hubd.toml without its secrets, and the secrets by the keys that refer to
    them, such as "password" or "oauth2.refresh_token".
    """

    settings: dict[str, Any]
    secrets: dict[str, str]


class Answers(Protocol):
    """The person who is asked. What was given as an option is not asked for."""

    @property
    def secret_on_stdin(self) -> bool:
        """Whether the secret comes from standard input."""
        ...

    def given(self, key: str) -> Any:
        """The value of an option by its key; None if it was not given."""
        ...

    def text(
        self,
        key: str,
        question: str,
        *,
        check: Check,
        default: str | None = None,
        proposal: str | None = None,
    ) -> str:
        """A text. `default` replaces an empty answer or a missing person, `proposal` only the former."""
        ...

    def secret(self, question: str) -> str:
        """A secret, from standard input or typed without echo."""
        ...

    def two_secrets(self, question: str, further: str) -> tuple[str, str]:
        """A secret and a second one that may be empty; standard input has a line for each."""
        ...

    def say(self, advice: str) -> None:
        """Tell the person something; does nothing if nobody is asked."""
        ...

    def refuse(self, problem: str, *, hint: str = "") -> NoReturn:
        """End the questions: the options contradict each other."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of `hubctl provider add` that belongs to some kinds only."""

    flag: str  #: "--account-sid"
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    between: tuple[int, int] | None = None  #: the range of a whole number
    key: str = ""  #: its name for `Answers`; by default that of the flag, "account_sid"
    elsewhere: str = ""  #: a hint if it is given for another kind
    writes: str = ""  #: the key of the provider's section that it sets, with dots; by default `name`
    label: str = ""  #: what a form calls it; by default `help` without its end
    only_with: tuple[str, str] | None = None  #: it only makes sense if this option has this value

    @property
    def name(self) -> str:
        """Its name for `Answers`."""
        return self.key or self.flag.removeprefix("--").replace("-", "_")


def _as_it_is(secret: str) -> str:
    return secret


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretQuestion:
    """A secret that a kind needs."""

    key: str  #: of the provider's section, with dots: "oauth2.refresh_token"
    label: str
    optional: bool = False
    only_with: tuple[str, str] | None = None  #: as for `Option`


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of the menu."""

    word: str
    line: str
    name: str = ""  #: proposed name of the provider; "": the word
    rate: str = ""  #: the question about a rate limit, where the account is known to have one
    tidy: Callable[[str], str] = _as_it_is  #: turns what was typed into the actual secret
    advice: str = ""  #: where to find what is asked for
    left_out: tuple[str, ...] = ()  #: the names of options that this choice answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked about one kind. Its folder's module `questions` defines them as `QUESTIONS`."""

    type: str
    ask: Callable[[Answers, str], Found]  #: the second is the word of the choice; the type if there is none
    choices: tuple[Choice, ...] = ()
    options: tuple[Option, ...] = ()
    secrets: tuple[SecretQuestion, ...] = ()  #: in the order in which standard input has them
    chosen_by: str = ""  #: the key of the option whose value is the word of a choice
    implied_by: tuple[str, ...] = ()  #: keys of options that imply this kind
    has_secret: bool = True

    def choice(self, word: str) -> Choice:
        """The line of the menu with this word, or an empty one."""
        return next((each for each in self.choices if each.word == word), Choice(word=word, line=""))


def anything(text: str) -> str:
    """Checks that an answer can be shown."""
    return "" if text.isprintable() else "it contains characters that are not allowed"


def something(text: str) -> str:
    """Checks that there is an answer."""
    return anything(text) if text else "it is empty"
