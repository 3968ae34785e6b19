"""Resolves names in threads that nobody has to wait for.

`getaddrinfo` cannot be interrupted, and while the name servers are silent it takes as long as it likes. So
each lookup has a thread that is left behind when its caller is cancelled. These are daemon threads, which do
not keep the process from ending. They belong to no limiter: a slow name takes no thread from the database or
from another name. Callers that ask for the same name share a lookup, and a second thread for that name starts
only after the first has taken long: a name has `MOST_THREADS` threads at most.

All of Trio goes through it, httpx included: the first `watch_lookups` installs it for the whole run.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import trio

T = TypeVar("T")

#: Seconds after which a lookup is tried in a second thread. The wait doubles with each thread for one name.
SLOW = 5.0
MOST_THREADS = 8
#: Seconds that the name of this machine may take.
OWN_NAME = 5.0


@dataclass(slots=True)
class Lookups:
    """What a block of `watch_lookups` asked for."""

    unresolved: str = ""  #: a name whose lookup failed, or was still going on when the caller was cancelled

    @property
    def problem(self) -> str:
        """What to tell people; "" when every name was resolved."""
        return f"the name {self.unresolved} does not resolve" if self.unresolved else ""


_watching: ContextVar[Lookups | None] = ContextVar("watching", default=None)
_installed: trio.lowlevel.RunVar[Resolver] = trio.lowlevel.RunVar("resolver")


@contextmanager
def watch_lookups() -> Iterator[Lookups]:
    """Learn which name kept the block from connecting."""
    _resolver()
    lookups = Lookups()
    token = _watching.set(lookups)
    try:
        yield lookups
    finally:
        _watching.reset(token)


async def own_name() -> str:
    """The full name of this machine, or whatever it has for one; "" when that cannot be told in time."""
    with trio.move_on_after(OWN_NAME):
        return await _resolver().look_up("", socket.getfqdn)
    return ""


def _resolver() -> Resolver:
    """The resolver of this run."""
    try:
        return _installed.get()
    except LookupError:
        resolver = Resolver()
        trio.socket.set_custom_hostname_resolver(resolver)
        _installed.set(resolver)
        return resolver


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


class Resolver(trio.abc.HostnameResolver):
    """Trio calls it for every name that is not an address."""

    def __init__(self) -> None:
        self._lookups: dict[object, _Lookup] = {}

    async def getaddrinfo(  # type: ignore[no-untyped-def]  # its types are Trio's, which spells them out
        self,
        host,
        port,
        family=0,
        type=0,
        proto=0,
        flags=0,
    ):
        """As `socket.getaddrinfo`."""
        name = host.decode("ascii", "replace") if host else ""
        watched = _watching.get()
        if watched is not None:
            watched.unresolved = name
        query = (host, port, family, type, proto, flags)
        found = await self.look_up(query, partial(socket.getaddrinfo, *query))
        if watched is not None:
            watched.unresolved = ""
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As `socket.getnameinfo`."""
        return await self.look_up((sockaddr, flags), partial(socket.getnameinfo, sockaddr, flags))

    async def look_up(self, key: object, ask: Callable[[], T]) -> T:
        """What `ask` says in a thread. Who asks with the same key at the same time shares the answer."""
        lookup = self._lookups.setdefault(key, _Lookup())
        threads = len(lookup.started)
        patience = SLOW * 2 ** (threads - 1)
        if not threads or (threads < MOST_THREADS and trio.current_time() >= lookup.started[-1] + patience):
            self._start(key, lookup, ask)
        answer = lookup.answer
        await answer.ready.wait()
        if answer.error is not None:  # a new one for each caller: they add to its traceback
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
            except Exception as error:  # a name that no encoding takes, for instance
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

        trio.lowlevel.start_thread_soon(look_up, deliver, "resolver")
