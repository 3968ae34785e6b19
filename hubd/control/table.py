"""One row of the table that dispatches and that describes itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hubd.control.needs import Hub
from hubd.control.roles import Role
from hubd.wire import Encoded
from hubd.wire.params import Params

P = TypeVar("P", bound=Params)
R = TypeVar("R")

READ_SECONDS = 60.0  #: for a request that changes nothing; then it is dropped


def _nothing(_: object) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method: what it takes, who does it, what it answers."""

    name: str
    summary: str
    params: type[Params]
    result: type  #: a TypedDict of `hubd.wire.results`
    mutates: bool
    #: None for what belongs to the connection itself; see `session`.
    handler: Callable[[Hub, Any], Awaitable[object]] | None
    private: bool = False  #: it hands out addresses, or what was written to them
    #: What a viewer asks for instead, when these parameters are not for viewers; else "".
    instead: Callable[[Any], str] = _nothing
    seconds: float = READ_SECONDS  #: how long it may take, unless it changes something: then it is finished

    @property
    def role(self) -> Role:
        """Who may call it: viewers what changes nothing and names nobody, operators everything."""
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
    """A method that changes nothing."""
    return Method(
        name=name,
        summary=summary,
        params=params,
        result=result,
        mutates=False,
        handler=handler,
        private=private,
        instead=instead,
        seconds=seconds,
    )


def changes(
    name: str, summary: str, params: type[P], result: type[R], handler: Callable[[Hub, P], Awaitable[R]]
) -> Method:
    """A method that changes something."""
    return Method(name=name, summary=summary, params=params, result=result, mutates=True, handler=handler)


def of_session(
    name: str, summary: str, params: type[P], result: type, *, instead: Callable[[P], str] = _nothing
) -> Method:
    """A method of the connection itself."""
    return Method(
        name=name,
        summary=summary,
        params=params,
        result=result,
        mutates=False,
        handler=None,
        instead=instead,
    )
