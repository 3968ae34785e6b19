"""The three standard streams, made such that every command may use them, also when they are closed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class OutputLost(OSError):
    """What was to be printed could not be."""


class _Output(io.TextIOWrapper):
    """stdout, on which a full disk is an `OutputLost` whoever writes: we, click or rich."""

    def write(self, text: str, /) -> int:
        with _told_apart():
            return super().write(text)

    def flush(self) -> None:
        with _told_apart():
            super().flush()


@contextmanager
def _told_apart() -> Iterator[None]:
    """Make of what keeps output from being written an error of its own kind, but for a reader that left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(error.errno, error.strerror) from None


def prepare_streams() -> None:
    """Open those of the standard streams that are closed, and see that lost output is an `OutputLost`."""
    if sys.stdin is None:  # nobody types, which is not a fault of ours
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:  # data that is lost is told, so this is open for reading: each write fails
        sys.stdout = _Output(open(os.open(os.devnull, os.O_RDONLY), "wb"), encoding="utf-8")  # noqa: SIM115
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(
            sys.stdout.buffer,
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=sys.stdout.line_buffering,
        )
    if sys.stderr is None:  # nobody listens
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - likewise
