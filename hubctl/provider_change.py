"""Another value for some keys of a provider in the user's own hubd.toml; the rest of the file stays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hubctl import provider_checks, provider_secret
from hubctl.answer import show_dry_run
from hubctl.app import App
from hubctl.exits import Exit, Refused
from hubctl.provider_addition import SUFFIXES, take_over
from hubctl.provider_questions import Given, flag_of, read_secrets
from hubd.providers.questions import Questions
from hubd.providers.registry import KINDS, questions_of

if TYPE_CHECKING:
    from hubctl.provider_file import ConfigFile
    from hubctl.provider_secret import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to change. Keys are dotted paths in the provider's section; None removes a key."""

    name: str
    settings: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  #: by the keys that refer to them


def read_change(name: str, section: Mapping[str, Any], given: Given) -> Change:
    """What the options ask for. Raises Refused for one that does not belong, and if none is given."""
    kind = str(section.get("type", "smtp" if "preset" in section else ""))
    if kind not in KINDS:
        raise Refused(f"hubctl does not know the type of {name}", hint="use an editor")
    questions = questions_of(kind)
    written = {option.name: option.writes or option.name for option in questions.options}
    if alien := [key for key in given.own() if key not in written]:
        flags = ", ".join(map(flag_of, alien))
        raise Refused(f"{flags} does not apply to {name}, which is {kind}", status=Exit.USAGE)
    settings = {written[key]: _value(key, given.of(key)) for key in given.own()}
    if given.rate:
        settings["rate"] = _rates(given.rate)
    secrets = _secrets(name, section, questions, given)
    if not settings and not secrets:
        raise Refused(
            "nothing to change was given",
            status=Exit.USAGE,
            hint=f"for instance: hubctl provider set {name} --rate 20/minute",
        )
    return Change(name=name, settings=settings, secrets=secrets)


def _value(key: str, value: Any) -> Any:
    if key == "ca_file" and value:
        return os.path.abspath(value)  # hubd would look beside hubd.toml
    return None if value == "" else value


def _rates(rates: tuple[str, ...]) -> list[str] | None:
    """The limits; None for a single empty text, which removes them."""
    if rates == ("",):
        return None
    for rate in rates:
        if problem := provider_checks.rate(rate):
            raise Refused(f"--rate: {problem}", status=Exit.USAGE)
    return list(rates)


def _secrets(name: str, section: Mapping[str, Any], questions: Questions, given: Given) -> dict[str, str]:
    if not given.password_stdin:
        return {}
    auth = given.of("auth") or section.get("auth") or "password"
    keys = [secret.key for secret in questions.secrets if secret.only_with in (None, ("auth", auth))]
    if not keys:
        raise Refused(f"{name} needs no password", status=Exit.USAGE)
    choice = questions.choice(str(section.get(questions.chosen_by, "")))
    found = read_secrets(len(keys))
    return {key: choice.tidy(secret) for key, secret in zip(keys, found, strict=False) if secret}


def carry_out(
    app: App, file: ConfigFile, change: Change, secret_in: Any
) -> tuple[list[str], dict[str, Kept]]:
    """Keep the new secrets, write the keys, let hubd read them. Returns what changed and the new secrets.

    Raises Refused; then everything is as it was.
    """
    from hubctl.provider_file import with_keys

    with_keys(file.text, change.name, change.settings)  # before anything is written: can it be?
    kept: dict[str, Kept] = {}
    try:
        for key, secret in change.secrets.items():
            stem = change.name + SUFFIXES.get(key, "")
            kept[key] = provider_secret.keep(secret, stem, file.path.parent, kind=secret_in)
        references = {key: each.reference for key, each in kept.items()}
        text = with_keys(file.text, change.name, {**change.settings, **references})
        applied, _ = take_over(app, file, text, then_has=change.name)
    except BaseException:
        for each in kept.values():
            each.forget()
        raise
    return applied, kept


def show_plan(app: App, file: ConfigFile, change: Change) -> None:
    """What would be written, without a secret. Raises as `carry_out` does when it cannot be written."""
    from hubctl.provider_file import with_keys

    keys = {**change.settings, **{key: {"file": "..."} for key in change.secrets}}
    with_keys(file.text, change.name, keys)
    names = ", ".join(keys)
    values = {"name": change.name, "file": str(file.path), "would": {"keys": list(keys)}}
    show_dry_run(app, values, f"would change {names} of {change.name}")
