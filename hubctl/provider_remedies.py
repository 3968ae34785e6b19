"""What can be tried when a new mail server does not work as it was described: it has no encryption, or a
certificate of its own. Asked on a terminal; elsewhere printed, with the options for another try.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

import click

from hubctl.app import App
from hubctl.provider_questions import yes

#: How hubd's sentence about a failed login can be told from others, and the option that may help.
_NO_ENCRYPTION = "does not offer encryption"
_CERTIFICATE = "certificate cannot be trusted"

Settings = Mapping[str, Any]


def otherwise(app: App, settings: Settings, trouble: str) -> dict[str, Any] | None:
    """Other settings for a server with this trouble, if somebody wants them; None to leave it as it is."""
    if not app.may_ask() or app.yes or settings.get("type") != "smtp":
        return None
    if _NO_ENCRYPTION in trouble and _may_go_plain(settings):
        plain = yes(app, "Use it without encryption (only for your own server)", default=False)
        return {**settings, "security": "none"} if plain else None
    if _CERTIFICATE in trouble:
        question = "File with the certificate to trust if it is self-signed (leave empty to skip)"
        file = click.prompt(question, default="", show_default=False, value_proc=_readable, err=True)
        return {**settings, "ca_file": file} if file else None
    return None


def advice(name: str, settings: Settings, trouble: str) -> list[str]:
    """What to do about a provider that was added and does not work, as lines."""
    lines = [f"It stays in the file; to remove it: hubctl provider remove {name}"]
    changed = dict(settings)
    if _NO_ENCRYPTION in trouble and _may_go_plain(settings):
        lines.append("If it is your own server without encryption, add it with --security none:")
        changed["security"] = "none"
    elif _CERTIFICATE in trouble:
        lines.append("If the certificate is self-signed, add it with --ca-file FILE:")
        changed["ca_file"] = "FILE"
    else:
        lines.append("To change something, remove it and add it again:")
    return [*lines, f"  hubctl provider add {name} {_options(changed)}".rstrip()]


def _may_go_plain(settings: Settings) -> bool:
    """hubd takes a password without encryption to this machine only."""
    host = str(settings.get("host") or "")
    return not settings.get("username") or host in ("localhost", "::1", "[::1]") or host.startswith("127.")


def _readable(name: str) -> str:
    """The absolute path of a file that can be read; hubd would look beside hubd.toml."""
    path = os.path.abspath(os.path.expanduser(name.strip())) if name.strip() else ""
    if path and not os.access(path, os.R_OK):
        raise click.BadParameter("the file does not exist or you cannot read it")
    return path


def _options(settings: Settings) -> str:
    """The settings as options of `provider add`."""
    words: list[str] = []
    inner = settings.get("oauth2", {})
    for key, value in {**settings, **inner}.items():
        if key == "oauth2":
            continue
        if key == "type" and ("host" in settings or "preset" in settings):
            continue
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{key.replace('_', '-')}", str(each)]
    return shlex.join(words)
