"""Errors that no caller waits for any more: each is one line in the log, and the program continues.

A library raises them in a callback, in a future that was cancelled, in a thread of its own or in a
finalizer. The line has the kind of the error and where it was raised. It never has the error's own text: a
server may have written it, and it may quote a password or an address.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import PurePath
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)


def watch_for_late_errors() -> None:
    """Log what a thread or a finalizer raises. Python itself would print the whole message."""
    threading.excepthook = _raised_in_thread
    sys.unraisablehook = _raised_in_finalizer


def log_from_loop(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """The exception handler of an asyncio loop."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        log_late_error(error, "asyncio")
    else:  # asyncio's own message, such as for a destroyed task: what follows the colon may be data
        log.error("asyncio: %s", str(context.get("message") or "an error").partition(":")[0][:80])


def log_late_error(error: BaseException, where: str) -> None:
    """Log one line about an error that no caller waits for. Never raises."""
    log.error("late error in %s: %s%s", where, type(error).__name__, _raised_at(error.__traceback__))


def _raised_at(traceback: TracebackType | None) -> str:
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return f", raised in {code.co_name} ({PurePath(code.co_filename).name}, line {traceback.tb_lineno})"


def _raised_in_thread(raised: threading.ExceptHookArgs) -> None:
    if raised.exc_value is not None and not isinstance(raised.exc_value, SystemExit):
        log_late_error(
            raised.exc_value, f"the thread {raised.thread.name if raised.thread else 'that ended'}"
        )


def _raised_in_finalizer(raised: sys.UnraisableHookArgs) -> None:
    if raised.exc_value is not None:
        log_late_error(raised.exc_value, "a finalizer")
