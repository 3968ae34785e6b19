"""Progress as it happens: a subscription that is kept alive across restarts of the daemon feeds a board.

The caller says when it is done; a `Display` shows the board, and on a terminal keys steer the campaign.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from hubctl import keys, render
from hubctl.answer import print_result
from hubctl.app import App
from hubctl.board import Board
from hubctl.displays import Bars, Display, Lines, Records, Silence
from hubctl.exits import Detached, Exit
from hubctl.output import for_people
from hubctl.staying import stay
from hubd.errors import HubError
from hubd.wire import methods as m
from hubd.wire.words import FINISHED

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import campaign_results as r

RECONNECT_SECONDS = 60.0  #: seconds to wait for a daemon that went away while we watched
PULSE_SECONDS = 5.0  #: between two requests that only check for an answer, and for that answer


class _Watch:
    """What is watched, what is known of it, and where it is shown."""

    def __init__(self, names: Sequence[str], done: Callable[[Board], bool]) -> None:
        self.names = names
        self.board = Board()
        self.display: Display = Silence()
        self._done = done
        self._hub: Client | None = None  #: while there is a connection

    async def listen(self, hub: Client) -> bool:
        """One connection's worth of events. True when done, False when the stream ended."""
        self._hub = hub
        try:
            return await self._listen(hub)
        finally:
            self._hub = None

    def tell(self, why: str) -> None:
        """Show that the daemon does not answer, and why; with "", that it does again."""
        since = (
            f"hubd has been unreachable since {time.strftime('%H:%M:%S')}, and the figures are from then: "
        )
        self.board.lose(since + why if why else "")
        self.display.show(self.board, (), None)

    async def feel_pulse(self) -> None:
        """Notice a daemon that has stopped answering although its connection stands, until cancelled."""
        import trio

        while True:
            await trio.sleep(PULSE_SECONDS)
            if (hub := self._hub) is None:
                continue
            with trio.move_on_after(PULSE_SECONDS) as limit, suppress(HubError):
                await hub.call(m.PROVIDER_LIST)
            if limit.cancelled_caught and hub is self._hub and not self.board.away:
                self.tell("it does not answer")
            elif not limit.cancelled_caught and hub is self._hub and self.board.away:
                self.tell("")

    async def _listen(self, hub: Client) -> bool:
        for name in self.names:  # before subscribing, so that an unknown name is an error, not a long silence
            await self._refresh(hub, name)
        if self.names and self._done(self.board):
            return True
        await self._look_at_providers(hub)
        topics = [*(f"campaign:{name}" for name in self.names), "daemon"]
        if not self.names:
            topics.append("campaigns")
        async for event in hub.subscribe(topics, gauge_hz=8):
            if event["type"] == "snapshot":
                views: list[r.CampaignView] = event.get("campaigns") or []
                for view in views:
                    if (
                        self.names
                        or view["state"] not in FINISHED | {"draft"}
                        or view["name"] in self.board.views
                    ):
                        self._take(view)
            else:
                await self._event(hub, event)
            if self._done(self.board):
                return True
        return False

    def _take(self, view: r.CampaignView) -> None:
        self.display.show(self.board, self.board.update(view), view)

    async def _event(self, hub: Client, event: dict[str, Any]) -> None:
        data: dict[str, Any] = event.get("data") or {}
        if event["type"] == "campaign.progress":
            view = data.get("campaign")
            if isinstance(view, dict) and self._wanted(view["name"]):
                self._take(cast("r.CampaignView", view))
        elif event["type"] == "campaign.state":
            name = str(data.get("name") or event.get("campaign") or "")
            if name and self._wanted(name):
                # The event is about the past; what is shown is the present state, with exact counts.
                await self._refresh(hub, name)
        elif event["type"] == "campaign.deleted" and not self.names:
            self.board.views.pop(str(data.get("name")), None)
        elif event["type"] == "provider.changed":
            await self._look_at_providers(hub)
            self.display.show(self.board, (), None)

    def _wanted(self, name: str) -> bool:
        return not self.names or name in self.names

    async def _refresh(self, hub: Client, name: str) -> None:
        self._take((await hub.call(m.CAMPAIGN_GET, name=name))["campaign"])

    async def _look_at_providers(self, hub: Client) -> None:
        found = (await hub.call(m.PROVIDER_LIST))["providers"]
        used = {view["provider"] for view in self.board.views.values()}
        self.board.troubled = [
            each for each in found if each["state"] != "ready" and (not self.names or each["name"] in used)
        ]


def watch_until(
    app: App,
    names: Sequence[str],
    done: Callable[[Board], bool],
    *,
    stream: TextIO,
    shown: bool = True,
    steered: bool = True,
    reconnect_seconds: float = RECONNECT_SECONDS,
) -> Board:
    """Show progress on `stream` until `done`. Without names: everything that is not finished.

    If `steered`, keys are read on a terminal, too; the one to leave ends hubctl with exit code 0.
    Raises Detached for Ctrl-C. Either way the campaigns go on. A daemon that goes away is waited for, up to
    `reconnect_seconds` seconds. Raises NotFound for a name that does not exist.
    """
    watch = _Watch(names, done)
    app.summary = watch.board.summary
    try:
        with ExitStack() as stack:
            if shown and app.live(stream) and (stream is sys.stderr or for_people(app)):
                _on_terminal(app, watch, stream, stack, reconnect_seconds, steered=steered)
            else:
                if shown:
                    watch.display = _plain(app, stream)
                app.run(partial(stay, app, watch.listen, reconnect_seconds=reconnect_seconds))
    except keys.Left:
        app.note(_detached(names))
        raise click.exceptions.Exit(Exit.DONE) from None
    except (KeyboardInterrupt, Detached):
        raise Detached(_detached(names)) from None
    return watch.board


def _detached(names: Sequence[str]) -> str:
    goes = "the campaigns continue" if len(names) != 1 else "the campaign continues"
    return f"detached; {goes} (to reattach: {' '.join(['hubctl watch', *names])})"


def _plain(app: App, stream: TextIO) -> Display:
    if stream is sys.stdout and not for_people(app):
        return Records(app)
    return Lines(app.out if stream is sys.stdout else app.note)


def _on_terminal(
    app: App, watch: _Watch, stream: TextIO, stack: ExitStack, reconnect_seconds: float, *, steered: bool
) -> None:
    """Bars, and keys when somebody can type them."""
    import trio

    headed = len(watch.names) != 1

    async def follow(*others: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            for other in (watch.feel_pulse, *others):
                nursery.start_soon(other)
            await stay(app, watch.listen, reconnect_seconds=reconnect_seconds, tell=watch.tell)
            nursery.cancel_scope.cancel()

    if not steered or not keys.possible(app):
        watch.display = Bars(app, stream, stack, headed=headed)
        app.run(follow)
        return
    steering = keys.Steering(app, watch.board, "" if headed else watch.names[0])
    fd = stack.enter_context(keys.single_keys())
    bars = watch.display = Bars(app, stream, stack, hint=steering.line, chosen=steering.marked, headed=headed)
    steering.redraw = bars.redraw
    app.run(partial(follow, partial(steering.run, fd)))


def follow_to_the_end(app: App, name: str, *, shown: bool, limited: bool, changed: bool) -> Exit:
    """After `start`: progress on stderr until the campaign ends or needs a person, its result on stdout."""
    view = follow_several(app, [name], shown=shown)[name]
    if not print_result(app, {"name": name, "changed": changed, "campaign": view}, of="campaign"):
        app.out(render.campaign(view, colour=app.coloured(), width=app.width()))
        counts = view["counts"]
        if counts.get("failed") or counts.get("in_doubt"):
            app.note(f"what went wrong: hubctl failures {name}")
    return Exit.DONE if ended_well(view, limited=limited) else Exit.FAILED


def follow_several(app: App, names: Sequence[str], *, shown: bool) -> dict[str, r.CampaignView]:
    """Progress on stderr until each campaign ends or needs a person; returns their views then."""
    shown = shown and not app.quiet
    steered = shown and app.live(sys.stderr) and keys.possible(app)

    def ended(view: r.CampaignView) -> bool:
        by_hand = not view["reason"]  # whoever paused it with a key may resume it with one
        return view["state"] in FINISHED or (view["state"] == "paused" and not (steered and by_hand))

    def all_ended(board: Board) -> bool:
        return all(ended(board.views[name]) for name in names)

    return watch_until(app, names, all_ended, stream=sys.stderr, shown=shown).views


def ended_well(view: r.CampaignView, *, limited: bool) -> bool:
    """Whether it is complete or, if started with a limit, paused because of the limit."""
    return view["state"] == "completed" or (
        limited and view["state"] == "paused" and view["reason"] == "limit"
    )
