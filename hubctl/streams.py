"""The three standard streams, prepared so that every command can use them even if they are closed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class OutputLost(OSError):
    """Output could not be written."""


class _Output(io.TextIOWrapper):
    """stdout that raises `OutputLost` on a full disk, whether we, click or rich write."""

    def write(self, text: str, /) -> int:
        with _only_output_errors():
            return super().write(text)

    def flush(self) -> None:
        with _only_output_errors():
            super().flush()


@contextmanager
def _only_output_errors() -> Iterator[None]:
    """Turn an error of writing into `OutputLost`, except when the reader has left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(error.errno, error.strerror) from None


def prepare_streams() -> None:
    """Open the standard streams that are closed, and make lost output raise `OutputLost`."""
    if sys.stdin is None:  # closed: there is no input, which is no error
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:  # open for reading, so that each write fails and is reported
        unwritable = open(os.open(os.devnull, os.O_RDONLY), "wb")  # noqa: SIM115 - likewise
        sys.stdout = _Output(unwritable, encoding="utf-8")
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(
            sys.stdout.buffer,
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=sys.stdout.line_buffering,
        )
    if sys.stderr is None:  # messages are discarded
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - likewise
