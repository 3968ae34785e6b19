"""What `provider add` wants to know: from the options, and the rest by asking in words that need no manual.

Without a terminal nothing is asked; what is missing is named, all of it at once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import click

from hubctl import provider_checks as checks
from hubctl.app import App
from hubctl.exits import Exit, Refused
from hubctl.hidden_input import ask_hidden
from hubd.files import decoded

#: What there is to choose from: its word, its line in the menu.
_KINDS = (
    ("gmail", "Gmail or Google Workspace"),
    ("outlook", "Microsoft 365 (Outlook)"),
    ("smtp", "email through another mail server"),
    ("twilio", "text messages through Twilio"),
)
_ADVICE = {
    "gmail": "Google wants an app password here, not the password that you sign in with.\n"
    "Create one at https://myaccount.google.com/apppasswords (2-Step Verification must be on),\n"
    "name it MessageHub, and copy the 16 letters. You can revoke it there at any time.",
    "outlook": "Microsoft accepts a password here only for a work or school account, and only if the\n"
    "administrator has enabled Authenticated SMTP for its mailbox.\n"
    "It no longer works with outlook.com, hotmail.com and live.com.",
    "twilio": "Both are on the first page of https://console.twilio.com, under Account Info.",
}
#: Where the access tokens of these are issued.
_TOKEN_URLS = {
    "gmail": "https://oauth2.googleapis.com/token",
    "outlook": "https://login.microsoftonline.com/common/oauth2/v2.0/token",
}
SECURITIES = ("starttls", "tls", "none")

Check = Callable[[str], str]  #: what is wrong with an answer, "" for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The options of the command line."""

    name: str | None = None
    type: str | None = None
    preset: str | None = None
    host: str | None = None
    port: int | None = None
    security: str | None = None
    username: str | None = None
    ca_file: str | None = None
    account_sid: str | None = None
    sender: str | None = None
    messaging_service_sid: str | None = None
    base_url: str | None = None
    auth: str | None = None
    token_url: str | None = None
    client_id: str | None = None
    rate: tuple[str, ...] = ()
    password_stdin: bool = False


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
    answers = _Answers(app)
    kind = _kind(app, given)
    _refuse_what_does_not_belong(given, kind)
    settings: dict[str, Any] = {"type": "smtp" if kind in ("gmail", "outlook") else kind}
    secrets: dict[str, str] = {}
    if kind == "twilio":
        _advise(app, kind)
        settings |= _twilio(answers, given)
        secrets = {"auth_token": answers.secret(given, "Auth token")}
    elif given.auth == "xoauth2":
        settings |= _smtp(answers, given, kind) | _oauth2(answers, given, kind)
        secrets = answers.tokens(given)
    elif kind != "outbox":
        settings |= _smtp(answers, given, kind)
        if given.password_stdin and not settings["username"] and kind == "smtp":
            raise Refused("--password-stdin needs --username", status=Exit.USAGE)
        if settings["username"] or kind != "smtp":
            _advise(app, kind)
            secret = answers.secret(given, "App password" if kind == "gmail" else "Password")
            secrets = {"password": _without_spaces(secret) if kind == "gmail" else secret}
    settings |= _rates(answers, given, kind)
    name = given.name or answers.text(
        None,
        "NAME",
        "A name for it, to use in campaign files",
        proposal=_free(kind, taken),
        check=lambda text: checks.name(text) or ("a provider has this name already" if text in taken else ""),
    )
    answers.complete()
    return Wanted(
        name=name,
        settings={key: value for key, value in settings.items() if value not in ("", None, [])},
        secrets=secrets,
    )


def ask_again(app: App, preset: str) -> str:
    """Another secret for a provider whose first one was refused; "" when nobody wants to give one."""
    if not app.may_ask() or app.yes:
        return ""
    if not yes(app, "Enter the password once more"):
        return ""
    secret = _hidden("Password")
    return _without_spaces(secret) if preset == "gmail" else secret


def yes(app: App, question: str, *, default: bool = True) -> bool:
    """Whether somebody says yes; an empty answer is the default, and --yes says so."""
    if app.yes:
        return True
    shown, empty = ("[Y/n]", "y") if default else ("[y/N]", "n")
    answer = click.prompt(
        f"{question}? {shown}", default=empty, show_default=False, prompt_suffix=" ", err=True
    )
    return str(answer).strip().lower() in ("y", "yes")


def already(name: str) -> Refused:
    """There is a provider of that name."""
    return Refused(
        f"the provider {name} already exists",
        code="provider_exists",
        status=Exit.CONFLICT,
        hint=f"choose another name, or remove it first: hubctl provider remove {name}",
    )


class _Answers:
    """Asks for what was not given; without a terminal it notes what is missing."""

    def __init__(self, app: App) -> None:
        self._asking = app.may_ask()
        self._missing: list[str] = []

    def text(
        self,
        given: str | None,
        option: str,
        question: str,
        *,
        check: Check,
        default: str | None = None,
        proposal: str | None = None,
    ) -> str:
        """A text. `default` stands for an empty answer and for nobody to ask, `proposal` for the former."""
        if given is not None:
            if problem := check(given):
                raise Refused(f"{option}: {problem}", status=Exit.USAGE)
            return given
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

    def secret(self, given: Given, question: str) -> str:
        """A secret, from stdin or typed without an echo."""
        if given.password_stdin:
            return _from_stdin()
        if not self._asking:
            self._missing.append("--password-stdin")
            return ""
        return _hidden(question)

    def tokens(self, given: Given) -> dict[str, str]:
        """The refresh token and the application's secret, if it has one; stdin has a line for each."""
        if given.password_stdin:
            token, _, client_secret = _from_stdin(lines=2).partition("\n")
        else:
            token = self.secret(given, "Refresh token")
            client_secret = _hidden("The application's secret", empty=True) if self._asking else ""
        found = {"oauth2.refresh_token": token, "oauth2.client_secret": client_secret}
        return {key: value for key, value in found.items() if value or key == "oauth2.refresh_token"}

    def complete(self) -> None:
        """Raises Refused when something is missing and there was nobody to ask."""
        if self._missing:
            raise Refused(
                f"not given: {', '.join(self._missing)}, and there is no terminal to ask on",
                code="prompt_needed",
                status=Exit.USAGE,
                hint="pass them as options; pass the password on stdin, never on the command line",
            )


def _advise(app: App, kind: str) -> None:
    if app.may_ask() and kind in _ADVICE:
        click.echo(_ADVICE[kind], err=True)


def _kind(app: App, given: Given) -> str:
    if given.type in ("twilio", "outbox"):
        return given.type
    if given.preset:
        return given.preset
    if given.type or given.host:
        return "smtp"
    if given.account_sid or given.messaging_service_sid:
        return "twilio"
    if not app.may_ask():
        raise Refused(
            "not given: --type or --preset, and there is no terminal to ask on",
            code="prompt_needed",
            status=Exit.USAGE,
            hint="for instance: hubctl provider add gmail --preset gmail --username YOU@gmail.com "
            "--password-stdin",
        )
    lines = [f"  {number}  {line}" for number, (_, line) in enumerate(_KINDS, start=1)]
    click.echo("\n".join(["What do you send with?", *lines]), err=True)
    choice = click.prompt("Number", type=click.IntRange(1, len(_KINDS)), default=1, err=True)
    return _KINDS[int(choice) - 1][0]


def _refuse_what_does_not_belong(given: Given, kind: str) -> None:
    """An option that would be forgotten is a mistake."""
    email = ("preset", "host", "port", "security", "username", "ca_file", "auth", "token_url", "client_id")
    texts = ("account_sid", "sender", "messaging_service_sid", "base_url")
    alien = {"twilio": email, "outbox": (*email, *texts, "password_stdin")}.get(kind, texts)
    if kind not in ("twilio", "outbox") and given.auth != "xoauth2":
        alien = (*alien, "token_url", "client_id")
    wrong = [name for name in alien if getattr(given, name) not in (None, False)]
    if wrong:
        flags = ", ".join("--from" if name == "sender" else f"--{name.replace('_', '-')}" for name in wrong)
        hint = "the sender of an email is in the campaign's file" if "sender" in wrong else ""
        if "token_url" in wrong or "client_id" in wrong:
            hint = "access tokens are for mail servers, with --auth xoauth2"
        raise Refused(f"{flags} does not apply to {kind}", status=Exit.USAGE, hint=hint)


def _smtp(answers: _Answers, given: Given, kind: str) -> dict[str, Any]:
    if kind == "smtp":
        host = answers.text(
            given.host, "--host", "Name of the mail server, such as smtp.acme.example", check=checks.host
        )
        port = answers.text(
            None if given.port is None else str(given.port),
            "--port",
            "Its port",
            default="587",
            check=checks.port,
        )
        implied = "tls" if port == "465" else "starttls"  # as hubd has it when nothing is said
        security = answers.text(
            given.security,
            "--security",
            "Encryption: starttls, tls, or none (only for your own server without TLS)",
            default=implied,
            check=lambda text: "" if text in SECURITIES else f"one of {', '.join(SECURITIES)}",
        )
        place: dict[str, Any] = {"host": host, "port": int(port)}
        place["security"] = given.security or (None if security == implied else security)
        question, default = "User name, usually your email address (leave empty if none)", ""
        check: Check = checks.anything
    else:
        place = {"preset": kind, "host": given.host, "port": given.port, "security": given.security}
        question, default = "Your Gmail address" if kind == "gmail" else "Your email address there", None
        check = checks.address
    ca_file = os.path.abspath(given.ca_file) if given.ca_file else None  # hubd would look beside hubd.toml
    username = answers.text(given.username, "--username", question, default=default, check=check)
    return {**place, "username": username, "ca_file": ca_file}


def _oauth2(answers: _Answers, given: Given, kind: str) -> dict[str, Any]:
    proposal = _TOKEN_URLS.get(kind)
    token_url = answers.text(
        given.token_url,
        "--token-url",
        "Address that issues access tokens",
        check=checks.something,
        default=proposal,
    )
    client_id = answers.text(
        given.client_id, "--client-id", "Client ID of the application", check=checks.something
    )
    return {"auth": "xoauth2", "oauth2": {"token_url": token_url, "client_id": client_id}}


def _twilio(answers: _Answers, given: Given) -> dict[str, Any]:
    account = answers.text(given.account_sid, "--account-sid", "Account SID (AC...)", check=checks.account)
    sender = given.sender
    if sender is None and given.messaging_service_sid is None:
        sender = answers.text(
            None, "--from", "Phone number to send from, such as +15005550006", check=checks.something
        )
    return {
        "account_sid": account,
        "from": sender,
        "messaging_service_sid": given.messaging_service_sid,
        "base_url": given.base_url,
    }


def _rates(answers: _Answers, given: Given, kind: str) -> dict[str, Any]:
    if given.rate or kind != "gmail":
        return {"rate": list(given.rate)}
    limit = answers.text(
        None,
        "--rate",
        "Rate limit? Google allows about 500/day, with Workspace 2000/day (leave empty for none)",
        default="",
        check=checks.rate,
    )
    return {"rate": [limit] if limit else []}


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


def _free(kind: str, taken: Collection[str]) -> str:
    stem = {"smtp": "office"}.get(kind, kind)
    return next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 10_000))) if name not in taken)


def _without_spaces(secret: str) -> str:
    """Google shows an app password as four groups of four letters; the spaces are not part of it."""
    bare = secret.replace(" ", "").replace("\u00a0", "")
    return bare if re.fullmatch(r"[A-Za-z]{16}", bare) else secret
