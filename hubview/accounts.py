"""Adding, changing and removing the accounts that messages are sent with: by hubctl, which knows how.

hubd.toml belongs to the user, and `hubctl provider add` is what writes it: it checks all it is given, keeps
the password in the keyring or in a private file, and undoes everything when hubd does not take the new file.
Run as a program it gets the password on standard input, so that no list of processes shows it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from hubd.client import Place
from hubd.errors import BadInput, HubError
from hubd.providers.questions import Option
from hubd.providers.registry import all_questions
from hubview.hubctl_process import error_of, hubctl_command

SECONDS = 60.0  #: for hubctl to end


def kinds() -> Mapping[str, object]:
    """What the form asks about each line of the menu: what its kind of provider declares."""
    return {
        "kinds": [
            {
                "word": choice.word,
                "type": questions.type,
                "chosen_by": questions.chosen_by if choice.word != questions.type else "",
                "title": choice.line,
                "advice": choice.advice,
                "name": choice.name or choice.word,
                "options": [
                    _described(option)
                    for option in questions.options
                    if option.name not in (questions.chosen_by, *choice.left_out)
                ],
                "secrets": [
                    {
                        "key": each.key,
                        "label": each.label,
                        "optional": each.optional,
                        "only_with": each.only_with,
                    }
                    for each in questions.secrets
                ],
            }
            for questions in all_questions()
            for choice in questions.choices
        ]
    }


def _described(option: Option) -> Mapping[str, object]:
    words, _, default = option.help.partition(" [")
    return {
        "key": option.name,
        "writes": option.writes or option.name,
        "label": option.label or words.rstrip("."),
        "placeholder": default.rstrip("].") if not option.choices else "",
        "choices": option.choices,
        "only_with": option.only_with,
    }


def add_account(place: Place, account: object) -> Mapping[str, Any]:
    """Add a provider as the form of the page describes it. Raises `HubError`: what hubctl found."""
    name, options, secrets = _read(account)
    return _hubctl(place, ["add", *options, "--no-test", "--", name], secrets)


def change_account(place: Place, account: object) -> Mapping[str, Any]:
    """Change what the form of the page says of a provider. Raises `HubError`: what hubctl found."""
    name, options, secrets = _read(account)
    return _hubctl(place, ["set", *options, "--", name], secrets)


def _read(account: object) -> tuple[str, list[str], str]:
    """The name, the options and the lines of standard input for what the form says."""
    if not isinstance(account, dict) or not all(isinstance(value, str) for value in account.values()):
        raise BadInput.at("account", "must be texts by name")
    given = {key: value.strip() for key, value in account.items() if key != "secret"}
    name, secrets = given.pop("name", ""), str(account.get("secret", ""))
    flags = {option.name: option.flag for each in all_questions() for option in each.options}
    flags |= {"type": "--type", "rate": "--rate"}
    if unknown := given.keys() - flags.keys():
        raise BadInput.at("account", f"has no {min(unknown)}")
    if not name:
        raise BadInput.at("name", "give it a name")
    options = [f"{flags[key]}={value}" for key, value in given.items() if key != "rate"]
    options += [f"--rate={each.strip()}" for each in given.get("rate", "").split(",") if "rate" in given]
    if secrets:
        options.append("--password-stdin")
    return name, options, secrets


def remove_account(place: Place, name: object) -> Mapping[str, Any]:
    """Take a provider out of hubd.toml. Raises `HubError`: what hubctl found."""
    if not isinstance(name, str):
        raise BadInput.at("name", "must be a text")
    return _hubctl(place, ["remove", "--yes", "--", name], "")


def _hubctl(place: Place, arguments: Sequence[str], stdin: str) -> Mapping[str, Any]:
    command = hubctl_command(place, "--json", "provider")
    try:
        done = subprocess.run(  # noqa: S603 - a program of ours; each value is part of its own option
            [*command, *arguments], input=stdin + "\n", capture_output=True, encoding="utf-8", timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        raise HubError("hubctl could not be run", code="not_run", hint="hubctl provider add") from None
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    raise error_of(done.stderr)
