"""hubctl run as a program, so that what it does is not written twice."""

from __future__ import annotations

import json
import sys

from hubd.client import Place
from hubd.errors import HubError


def hubctl_command(place: Place, *arguments: str) -> list[str]:
    """The command line that talks to the daemon at `place` and asks nothing."""
    return [sys.executable, "-m", "hubctl", "--no-input", "--socket", str(place.path), *arguments]


def error_of(said: str) -> HubError:
    """What hubctl said on stderr: its JSON, or the error in a line and the next step after it."""
    lines = said.strip().splitlines() or ["hubctl said nothing"]
    for number, line in reversed(list(enumerate(lines))):
        if line.lower().startswith("error: "):
            return HubError(line[len("error: ") :], code="failed", hint=" ".join(lines[number + 1 :]))
        try:
            error = json.loads(line)["error"]
            return HubError(error["message"], code=error["code"], hint=error["hint"] or "")
        except (ValueError, KeyError, TypeError):
            continue
    return HubError(lines[-1], code="failed")
