"""Exit codes, and which error ends with which.

0 done, or already so          5 transition not allowed, or a conflict
1 ran and failed               6 daemon not reachable
2 usage, or a prompt was       7 timed out; the work goes on
  needed without a terminal    8 protocol or version mismatch
3 no such thing                9 partly done
4 not authorised              10 `status --check`: not running
                             130 interrupted
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from hubd.errors import (
    Conflict,
    HubError,
    InvalidTransition,
    NotFound,
    ShuttingDown,
    Unreachable,
    VersionSkew,
)


class Exit(IntEnum):
    """The exit codes. Scripts rely on them: they never change their meaning."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    MISSING = 3
    FORBIDDEN = 4
    CONFLICT = 5
    UNREACHABLE = 6
    TIMED_OUT = 7
    VERSION = 8
    PARTLY = 9
    NOT_RUNNING = 10
    INTERRUPTED = 130


class Refused(HubError):
    """An error found on this side of the socket, with the exit code it ends in."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "bad_input",
        status: Exit = Exit.FAILED,
        hint: str = "",
        details: list[str] | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint, data=data)
        self.status = status
        self.details = details or []  #: further lines for people, already complete


class TimedOut(Refused):
    """Waiting ended; the work goes on."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, code="timed_out", status=Exit.TIMED_OUT, hint=hint)


class Detached(Exception):
    """Ctrl-C while something was only being watched; `note` says what goes on without us."""

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


_BY_CODE = {
    "unauthenticated": Exit.FORBIDDEN,
    "forbidden": Exit.FORBIDDEN,
    "permission_denied": Exit.FORBIDDEN,
    "endpoint_exposed": Exit.FORBIDDEN,
    "deadline_exceeded": Exit.TIMED_OUT,
    "shutting_down": Exit.UNREACHABLE,
    "protocol_unsupported": Exit.VERSION,
}


#: By event of the lifecycle: the command for it, and the state that it leads to.
_COMMANDS = {
    "start": ("hubctl start", "running"),
    "schedule": ("hubctl start --at TIME", ""),
    "pause": ("hubctl pause", "paused"),
    "resume": ("hubctl resume", "running"),
    "stop": ("hubctl stop", "stopped"),
    "retry": ("hubctl retry", ""),
}


def way_out(error: HubError) -> str:
    """The hint of an error; for a transition that is not allowed, the commands that are."""
    allowed = error.data.get("allowed")
    if not isinstance(error, InvalidTransition) or not isinstance(allowed, list):
        return error.hint
    at = error.data.get("from")
    now = [typed for event, (typed, leads_to) in _COMMANDS.items() if event in allowed and leads_to != at]
    return f"possible now: {', '.join(now)}" if now else error.hint


def exit_of(error: HubError) -> Exit:
    """The exit code for an error, from this side or from the daemon."""
    if isinstance(error, Refused):
        return error.status
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if isinstance(error, NotFound):
        return Exit.MISSING
    if isinstance(error, Conflict):
        return Exit.CONFLICT
    if isinstance(error, Unreachable | ShuttingDown):
        return Exit.UNREACHABLE
    if isinstance(error, VersionSkew):
        return Exit.VERSION
    return Exit.FAILED
