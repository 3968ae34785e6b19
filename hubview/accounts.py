"""Adding and removing the accounts that messages are sent with: by hubctl, which knows how.

hubd.toml belongs to the user, and `hubctl provider add` is what writes it: it checks all it is given, keeps
the password in the keyring or in a private file, and undoes everything when hubd does not take the new file.
Run as a program it gets the password on standard input, so that no list of processes shows it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hubd.client import Place
from hubd.errors import BadInput, HubError

SECONDS = 60.0  #: for hubctl to end
#: What the page may say of an account, and the option that says it.
OPTIONS = {
    "type": "--type",
    "preset": "--preset",
    "host": "--host",
    "port": "--port",
    "security": "--security",
    "username": "--username",
    "account_sid": "--account-sid",
    "from": "--from",
    "messaging_service_sid": "--messaging-service-sid",
    "rate": "--rate",
}


def add_account(place: Place, account: object) -> Mapping[str, Any]:
    """Add a provider as the form of the page describes it. Raises `HubError`: what hubctl found."""
    if not isinstance(account, dict) or not all(isinstance(value, str) for value in account.values()):
        raise BadInput.at("account", "must be texts by name")
    given = {key: value.strip() for key, value in account.items() if key != "secret" and value.strip()}
    name, secret = given.pop("name", ""), account.get("secret", "")
    if unknown := given.keys() - OPTIONS.keys():
        raise BadInput.at("account", f"has no {min(unknown)}")
    options = [f"{OPTIONS[key]}={value}" for key, value in given.items()]
    if not name:
        raise BadInput.at("name", "give it a name")
    if secret:
        options.append("--password-stdin")
    return _hubctl(place, ["add", *options, "--no-test", "--", name], secret)


def remove_account(place: Place, name: object) -> Mapping[str, Any]:
    """Take a provider out of hubd.toml. Raises `HubError`: what hubctl found."""
    if not isinstance(name, str):
        raise BadInput.at("name", "must be a text")
    return _hubctl(place, ["remove", "--yes", "--", name], "")


def _hubctl(place: Place, arguments: Sequence[str], stdin: str) -> Mapping[str, Any]:
    command = [
        sys.executable,
        "-m",
        "hubctl",
        "--json",
        "--no-input",
        "--socket",
        str(place.path),
        "provider",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - a program of ours; each value is part of its own option
            [*command, *arguments], input=stdin + "\n", capture_output=True, encoding="utf-8", timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        raise HubError("hubctl could not be run", code="not_run", hint="hubctl provider add") from None
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    raise _error(done.stderr)


def _error(said: str) -> HubError:
    """What hubctl said went wrong: its JSON, or the last line of a usage error."""
    for line in reversed(said.strip().splitlines()):
        try:
            error = json.loads(line)["error"]
            return HubError(error["message"], code=error["code"], hint=error["hint"] or "")
        except (ValueError, KeyError, TypeError):
            continue
    last = said.strip().splitlines()[-1:] or ["hubctl said nothing"]
    return HubError(last[0].removeprefix("Error: "), code="bad_input")
