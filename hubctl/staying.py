"""Staying with a daemon that may be restarted meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from hubctl.app import App, version
from hubd.errors import HubError, NotFound

if TYPE_CHECKING:
    from hubd.client import Client

_LOST = frozenset({"disconnected", "shutting_down", "closed", "fell_behind"})
AWAY = _LOST | {"socket_missing", "refused", "timeout", "busy"}  #: what a restart looks like from here
_AGAIN = 0.3  #: seconds between tries to reach it


async def stay(
    app: App,
    work: Callable[[Client], Awaitable[bool]],
    *,
    reconnect_seconds: float = float("inf"),
    tell: Callable[[str], None] | None = None,
) -> None:
    """Run `work` on one connection after another until it answers True.

    A daemon that goes away is waited for, up to `reconnect_seconds` seconds; `tell` is called with why it is
    away, and with "" when it is back; without `tell`, a note is printed. Raises what else `work` raises, and
    what keeps the first connection from being made.
    """
    import trio

    from hubd.client import open_client

    place = app.place()
    seen = False
    lost: float | None = None
    while True:
        try:
            async with open_client(place, client=("hubctl", version())) as hub:
                if lost is not None:
                    (tell or app.note)("" if tell else "hubd is back")
                app.greet(hub)
                seen, lost = True, None
                try:
                    if await work(hub):
                        return
                except NotFound as error:
                    raise await app.nearest(hub, error) from None
        except HubError as error:
            if not seen or error.code not in AWAY:
                raise
            if lost is None:
                lost = trio.current_time()
                (tell or app.note)(str(error) if tell else f"{error}; waiting for it to come back")
            if trio.current_time() - lost > reconnect_seconds:
                raise
        await trio.sleep(_AGAIN)
