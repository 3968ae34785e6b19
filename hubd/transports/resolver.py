"""Resolves names in threads that callers can abandon.

`getaddrinfo` cannot be interrupted, and while the name servers are silent it may take minutes. So each
lookup has a thread that is abandoned when its caller is cancelled. These are daemon threads, which do not
keep the process from ending. They belong to no limiter: a slow name takes no thread from the database or
from another name. Callers that ask for the same name share a lookup, and a second thread for that name
starts only after the first has taken long: a name has `MOST_THREADS` threads at most.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import trio

T = TypeVar("T")

#: Seconds after which a lookup is tried in a second thread. The wait doubles with each thread for one name.
SLOW = 5.0
MOST_THREADS = 8
#: Seconds that finding this machine's name may take.
OWN_NAME = 5.0


class NameUnresolved(Exception):
    """A name has no address, or its name servers do not answer. `str()` is for people; `why` says more."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the name {name} does not resolve")
        self.why = why


async def addresses_of(host: str, timeout: float) -> list[str]:
    """The IP addresses of a host, best first, in `timeout` seconds. Raises `NameUnresolved`."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    query = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    try:
        with trio.fail_after(timeout):
            found = await _resolver().look_up(host, query)
    except trio.TooSlowError:
        raise NameUnresolved(host, "the name servers did not answer in time") from None
    except OSError as error:
        raise NameUnresolved(host, error.strerror or type(error).__name__) from None
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


async def own_name() -> str:
    """The full name of this machine, if it has one; "" if the lookup fails or takes too long."""
    with suppress(OSError), trio.move_on_after(OWN_NAME):
        return await _resolver().look_up("", socket.getfqdn)
    return ""


@dataclass(slots=True, eq=False)
class _Lookup:
    """The threads that resolve one name, and the answer that the first of them will give."""

    started: list[float] = field(default_factory=list)  #: when each began, on Trio's clock
    answer: _Answer = field(default_factory=lambda: _Answer())


@dataclass(slots=True, eq=False)
class _Answer:
    ready: trio.Event = field(default_factory=trio.Event)
    value: Any = None
    error: OSError | None = None


class _Resolver:
    """The lookups of one run of Trio."""

    def __init__(self) -> None:
        self._lookups: dict[object, _Lookup] = {}

    async def look_up(self, key: object, ask: Callable[[], T]) -> T:
        """Run `ask` in a thread. Callers with the same key at the same time share the answer."""
        lookup = self._lookups.setdefault(key, _Lookup())
        threads = len(lookup.started)
        wait = SLOW * 2 ** (threads - 1)
        if not threads or (threads < MOST_THREADS and trio.current_time() >= lookup.started[-1] + wait):
            self._start(key, lookup, ask)
        answer = lookup.answer
        await answer.ready.wait()
        if answer.error is not None:  # a new error for each caller, because raising adds to its traceback
            raise type(answer.error)(answer.error.errno, answer.error.strerror)
        found: T = answer.value
        return found

    def _start(self, key: object, lookup: _Lookup, ask: Callable[[], object]) -> None:
        token = trio.lowlevel.current_trio_token()
        began = trio.current_time()
        lookup.started.append(began)

        def look_up() -> tuple[object, OSError | None]:
            try:
                return ask(), None
            except OSError as error:
                return None, error
            except Exception as error:  # a name that cannot be encoded, for instance
                return None, socket.gaierror(socket.EAI_NONAME, type(error).__name__)

        def finished(value: object, error: OSError | None) -> None:
            lookup.started.remove(began)
            answer, lookup.answer = lookup.answer, _Answer()
            answer.value, answer.error = value, error
            answer.ready.set()
            if not lookup.started:
                self._lookups.pop(key, None)

        def deliver(result: Any) -> None:
            with suppress(trio.RunFinishedError):  # the program has ended meanwhile
                token.run_sync_soon(finished, *result.unwrap())

        try:
            trio.lowlevel.start_thread_soon(look_up, deliver, "resolver")
        except RuntimeError:
            lookup.started.remove(began)
            if not lookup.started:  # otherwise an earlier thread may still answer
                self._lookups.pop(key, None)
                raise OSError(errno.EAGAIN, "no thread can be started") from None


_run: trio.lowlevel.RunVar[_Resolver] = trio.lowlevel.RunVar("resolver")


def _resolver() -> _Resolver:
    try:
        return _run.get()
    except LookupError:
        _run.set(_Resolver())
        return _run.get()
