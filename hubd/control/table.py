"""One row of the dispatch table, which also describes itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.roles import Role
from hubd.wire import Encoded
from hubd.wire.params import Params

P = TypeVar("P", bound=Params)
R = TypeVar("R")

READ_SECONDS = 60.0  #: after which a request that changes nothing is dropped
CHECK_SECONDS = 1_800.0  #: to recount a database of many millions of messages, or to write as many texts


def _nothing(_: object) -> str:
    return ""


class Disk(Enum):
    """What a full disk does to a method that changes something."""

    NEEDS_SPACE = "needs space"  #: it adds data, and is refused while disk space is low
    RESERVE = "reserve"  #: it may use the reserve file's space, as pause and stop must
    NOT_NEEDED = "not needed"  #: it takes effect anyway, as shutdown must, but is not in the audit trail


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what it takes, who does it, what it answers."""

    name: str
    summary: str
    params: type[Params]
    result: type  #: a TypedDict of `hubd.wire.*_results`
    #: None for methods of the connection itself; see `session`. One that mutates gets a `Command`, too.
    handler: Callable[..., Awaitable[object]] | None
    mutates: bool = False
    private: bool = False  #: it hands out addresses, or what was written to them
    #: What a viewer can ask for instead, when these parameters are not for viewers; else "".
    instead: Callable[[Any], str] = _nothing
    seconds: float = READ_SECONDS  #: after which it is dropped, unless it changes something: that is finished
    disk: Disk = Disk.RESERVE
    #: Whether the answer is kept under the key. Methods that queue a message keep the key with the message: a
    #: repetition is answered with the current state of the message.
    keeps_answer: bool = True

    @property
    def role(self) -> Role:
        """Who may call it: viewers only what changes nothing and shows no recipient, operators everything."""
        return Role.OPERATOR if self.mutates or self.private else Role.VIEWER


def reads(
    name: str,
    summary: str,
    params: type[P],
    result: type[R],
    handler: Callable[[Hub, P], Awaitable[R | Encoded]],
    *,
    private: bool = False,
    instead: Callable[[P], str] = _nothing,
    seconds: float = READ_SECONDS,
) -> Method:
    """Describe a method that changes nothing."""
    return Method(name, summary, params, result, handler, private=private, instead=instead, seconds=seconds)


def changes(
    name: str,
    summary: str,
    params: type[P],
    result: type[R],
    handler: Callable[[Hub, P, Command], Awaitable[R]],
    *,
    disk: Disk = Disk.RESERVE,
    keeps_answer: bool = True,
) -> Method:
    """Describe a method that changes something."""
    return Method(name, summary, params, result, handler, mutates=True, disk=disk, keeps_answer=keeps_answer)


def of_session(
    name: str, summary: str, params: type[P], result: type, *, instead: Callable[[P], str] = _nothing
) -> Method:
    """Describe a method of the connection itself."""
    return Method(name, summary, params, result, None, instead=instead)
