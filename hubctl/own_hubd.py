"""Running the hubd of this installation for what it does without being a daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from hubctl.exits import Exit, Refused

#: What the exit statuses of hubd (sysexits.h) are here.
_EXITS = {64: Exit.USAGE, 66: Exit.MISSING, 75: Exit.CONFLICT, 77: Exit.FORBIDDEN}


def ask(*options: str) -> dict[str, Any]:
    """The JSON object that hubd prints. Raises Refused with what hubd says instead."""
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "hubd", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    said = [line.removeprefix("hubd: ") for line in done.stderr.splitlines()]
    raise Refused(
        said[0] if said else f"hubd ended with status {done.returncode}",
        code="hubd_refused",
        status=_EXITS.get(done.returncode, Exit.FAILED),
        hint="; ".join(said[1:]),
    )
