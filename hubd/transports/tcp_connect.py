"""A TCP connection to a provider, before its first byte: the name, then each of its addresses."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator, Sequence

import trio

from hubd.core.model import Answer, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.transports.resolver import NameUnresolved, addresses_of

#: Seconds after which the next address is tried beside one that does not answer.
NEXT = 0.25


class NotConnected(Exception):
    """There is no connection; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


async def connect(
    host: str, port: int, timeout: float, *, but: Collection[str] = (), last: Collection[str] = ()
) -> socket.socket:
    """A connected socket, within `timeout` seconds for lookup and all addresses. Raises `NotConnected`.

    The addresses in `but` are not tried, those in `last` after all others.
    """
    deadline = trio.current_time() + timeout
    try:
        found = [each for each in await addresses_of(host, timeout) if each not in but]
        addresses = sorted(found, key=lambda each: each in last)
        if not addresses:
            raise _failure(Signal.DROPPED, "no other address")
        with trio.fail_at(deadline):
            stream = await _connect_to_any(addresses, port)
    except NameUnresolved as error:
        raise _failure(Signal.DROPPED, f"{error} ({error.why})", detail=str(error)) from None
    except trio.TooSlowError:
        raise _failure(Signal.TIMEOUT, "the server did not answer in time") from None
    except OSError as error:
        raise _failure(Signal.DROPPED, _why(error)) from None
    return socket.socket(fileno=stream.socket.detach())


async def _connect_to_any(addresses: Sequence[str], port: int) -> trio.SocketStream:
    """The first connection that succeeds. Raises the `OSError` of the last address if none does.

    As RFC 8305 says, the next address is tried as soon as one fails, or has not answered for `NEXT` seconds.
    """
    made: list[trio.SocketStream] = []
    errors: list[OSError] = []

    async def attempt(address: str, failed: trio.Event) -> None:
        try:
            made.append(await trio.open_tcp_stream(address, port))
        except OSError as error:
            errors.append(error)
            failed.set()
        else:
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(NEXT):
                    await failed.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        if not made:
            raise errors[-1]
        return made.pop(0)
    finally:
        for stream in made:
            stream.socket.close()


def _failure(signal: Signal, text: str, *, detail: str = "") -> NotConnected:
    return NotConnected(Answer(stage=Stage.CONNECT, signal=signal, text=one_line(text), detail=detail))


def _why(error: OSError) -> str:
    """The system's error text, which Trio hides in a group behind its own error."""
    said = [os.strerror(each.errno) for each in _causes(error) if each.errno]
    return said[-1] if said else error.strerror or type(error).__name__


def _causes(error: BaseException) -> Iterator[OSError]:
    """The failures of single addresses, which Trio groups behind one error."""
    if isinstance(error.__cause__, BaseExceptionGroup):
        for each in error.__cause__.exceptions:
            yield from _causes(each)
    elif isinstance(error, OSError):
        yield error
