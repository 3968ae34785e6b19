"""What `hubctl provider add` asks about a mail server."""

from __future__ import annotations

import os
import re
from typing import Any

from hubd.providers.questions import (
    Answers,
    Check,
    Choice,
    Found,
    Option,
    Questions,
    SecretQuestion,
    anything,
    something,
)

_ADVICE = {
    "gmail": "Google wants an app password here, not the password that you sign in with.\n"
    "Create one at https://myaccount.google.com/apppasswords (2-Step Verification must be on),\n"
    "name it MessageHub, and copy the 16 letters. You can revoke it there at any time.",
    "outlook": "Microsoft accepts a password here only for a work or school account, and only if the\n"
    "administrator has enabled Authenticated SMTP for its mailbox.\n"
    "It no longer works with outlook.com, hotmail.com and live.com.",
}
#: Where the access tokens of these are issued.
_TOKEN_URLS = {
    "gmail": "https://oauth2.googleapis.com/token",
    "outlook": "https://login.microsoftonline.com/common/oauth2/v2.0/token",
}
_SECURITIES = ("starttls", "tls", "none")
_BY_TOKEN = ("auth", "xoauth2")
_TOKENS_ONLY = ("token_url", "client_id")


def address(text: str) -> str:
    """Checks an email address."""
    return "" if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) else "that is not an email address"


def host(text: str) -> str:
    """Checks the name of a server."""
    if ":" in text and not text.startswith("[") and "/" not in text and text.count(":") == 1:
        return "give only the name; the port is asked for next"
    if not text or "/" in text or "@" in text or not text.isprintable() or " " in text:
        return "that is not the name of a server such as smtp.acme.example"
    return ""


def port(text: str) -> str:
    """Checks a port."""
    return "" if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= 65535 else "from 1 to 65535"


def without_spaces(secret: str) -> str:
    """Google shows an app password as four groups of four letters; the spaces are not part of it."""
    bare = secret.replace(" ", "").replace("\u00a0", "")
    return bare if re.fullmatch(r"[A-Za-z]{16}", bare) else secret


def _ask(answers: Answers, word: str) -> Found:
    by_token = answers.given("auth") == "xoauth2"
    if not by_token and (alien := [key for key in _TOKENS_ONLY if answers.given(key) is not None]):
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in alien)
        hint = "access tokens are for mail servers, with --auth xoauth2"
        answers.refuse(f"{flags} does not apply to {word}", hint=hint)
    settings = _server(answers, word)
    if by_token:
        settings |= _oauth2(answers, word)
        token, client_secret = answers.two_secrets("Refresh token", "The application's secret")
        secrets = {"oauth2.refresh_token": token}
        return Found(settings, secrets | ({"oauth2.client_secret": client_secret} if client_secret else {}))
    if answers.secret_on_stdin and not settings["username"] and word == "smtp":
        answers.refuse("--password-stdin needs --username")
    if not settings["username"] and word == "smtp":
        return Found(settings, {})
    if advice := QUESTIONS.choice(word).advice:
        answers.say(advice)
    secret = answers.secret("App password" if word == "gmail" else "Password")
    return Found(settings, {"password": QUESTIONS.choice(word).tidy(secret)})


def _server(answers: Answers, word: str) -> dict[str, Any]:
    if word == "smtp":
        name = answers.text("host", "Name of the mail server, such as smtp.acme.example", check=host)
        number = answers.text("port", "Its port", default="587", check=port)
        implied = "tls" if number == "465" else "starttls"  # the defaults of hubd
        security = answers.text(
            "security",
            "Encryption: starttls, tls, or none (only for your own server without TLS)",
            default=implied,
            check=lambda text: "" if text in _SECURITIES else f"one of {', '.join(_SECURITIES)}",
        )
        given = answers.given("security")
        place: dict[str, Any] = {"host": name, "port": int(number)} if number else {"host": name}
        place["security"] = given or (None if security == implied else security)
        question, default = "User name, usually your email address (leave empty if none)", ""
        check: Check = anything
    else:
        keys = ("host", "port", "security")
        place = {"preset": word, **{key: answers.given(key) for key in keys}}
        question, default = "Your Gmail address" if word == "gmail" else "Your email address there", None
        check = address
    ca_file = answers.given("ca_file")
    return {
        **place,
        "username": answers.text("username", question, default=default, check=check),
        "ca_file": os.path.abspath(ca_file) if ca_file else None,  # hubd would look beside hubd.toml
    }


def _oauth2(answers: Answers, word: str) -> dict[str, Any]:
    token_url = answers.text(
        "token_url",
        "Address that issues access tokens",
        check=something,
        default=_TOKEN_URLS.get(word),
    )
    client_id = answers.text("client_id", "Client ID of the application", check=something)
    return {"auth": "xoauth2", "oauth2": {"token_url": token_url, "client_id": client_id}}


QUESTIONS = Questions(
    type="smtp",
    ask=_ask,
    choices=(
        Choice(
            word="gmail",
            line="Gmail or Google Workspace",
            rate="Rate limit? Google allows about 500/day, with Workspace 2000/day (leave empty for none)",
            tidy=without_spaces,
            advice=_ADVICE["gmail"],
            left_out=("host", "port", "security", "ca_file"),
        ),
        Choice(
            word="outlook",
            line="Microsoft 365 (Outlook)",
            advice=_ADVICE["outlook"],
            left_out=("host", "port", "security", "ca_file"),
        ),
        Choice(word="smtp", line="email through another mail server", name="office"),
    ),
    options=(
        Option(flag="--preset", choices=("gmail", "outlook"), help="A well-known mail service."),
        Option(flag="--host", metavar="NAME", help="The mail server.", label="Mail server"),
        Option(
            flag="--port",
            between=(1, 65535),
            metavar="PORT",
            help="The port of the mail server [587].",
            label="Port",
        ),
        Option(
            flag="--security",
            choices=_SECURITIES,
            help="How the connection is encrypted [starttls].",
            label="Encryption",
        ),
        Option(
            flag="--username",
            metavar="NAME",
            help="The user name, usually an email address.",
            label="User name",
        ),
        Option(
            flag="--auth",
            choices=("password", "xoauth2"),
            help="How to log in: xoauth2 is for Microsoft and Google [password].",
            label="Log in with",
        ),
        Option(
            flag="--token-url",
            metavar="URL",
            help="With --auth xoauth2: the address that issues access tokens.",
            label="Address that issues access tokens",
            writes="oauth2.token_url",
            only_with=_BY_TOKEN,
            elsewhere="access tokens are for mail servers, with --auth xoauth2",
        ),
        Option(
            flag="--client-id",
            metavar="ID",
            help="With --auth xoauth2: the ID of the application there.",
            label="Client ID of the application",
            writes="oauth2.client_id",
            only_with=_BY_TOKEN,
            elsewhere="access tokens are for mail servers, with --auth xoauth2",
        ),
        Option(
            flag="--ca-file",
            metavar="FILE",
            help="Trust the certificate authorities in this file instead.",
            label="File with certificate authorities",
        ),
    ),
    secrets=(
        SecretQuestion(key="password", label="Password", optional=True, only_with=("auth", "password")),
        SecretQuestion(key="oauth2.refresh_token", label="Refresh token", only_with=_BY_TOKEN),
        SecretQuestion(
            key="oauth2.client_secret", label="The application's secret", optional=True, only_with=_BY_TOKEN
        ),
    ),
    chosen_by="preset",
    implied_by=("host",),
)
