"""A TCP connection to a mail server, before the first byte of SMTP: the name, then each of its addresses."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator

import trio

from hubd.core.model import Answer, Signal, Stage
from hubd.transports.replies import one_line
from hubd.transports.resolver import own_name, watch_lookups

_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class NotConnected(Exception):
    """There is no connection; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


async def connect(host: str, port: int, timeout: float) -> socket.socket:
    """A connected socket, within `timeout` seconds for the lookup and all addresses. Raises `NotConnected`.

    The addresses are tried as RFC 8305 says: the next one as soon as one fails, or has not answered for a
    quarter of a second.
    """
    with watch_lookups() as lookups:
        try:
            with trio.fail_after(timeout):
                stream = await trio.open_tcp_stream(host, port)
        except trio.TooSlowError:
            raise _failure(Signal.TIMEOUT, "the server did not answer in time", lookups.problem) from None
        except OSError as error:
            raise _failure(Signal.DROPPED, _why(error), lookups.problem) from None
    return socket.socket(fileno=stream.socket.detach())


async def ehlo_name() -> str:
    """What this machine calls itself in EHLO: its name if it has a full one, and that can be told in time."""
    name = await own_name()
    return name if _HOST_NAME.fullmatch(name) else "localhost"


def _failure(signal: Signal, why: str, name_problem: str) -> NotConnected:
    text = one_line(f"{name_problem} ({why})" if name_problem else why)
    return NotConnected(Answer(stage=Stage.CONNECT, signal=signal, text=text, detail=name_problem))


def _why(error: OSError) -> str:
    """What the system said, at the last address when there were several."""
    said = [os.strerror(each.errno) for each in _causes(error) if each.errno]
    if isinstance(error, socket.gaierror):
        return error.strerror or "no such name"
    return said[-1] if said else error.strerror or type(error).__name__


def _causes(error: BaseException) -> Iterator[OSError]:
    """The failures of single addresses, which Trio has in a group behind one error."""
    if isinstance(error.__cause__, BaseExceptionGroup):
        for each in error.__cause__.exceptions:
            yield from _causes(each)
    elif isinstance(error, OSError):
        yield error
