"""Progress as it happens: live bars on a terminal, plain lines elsewhere, JSON lines for programs.

`Board` is pure: events in, lines out. `attend` keeps a subscription alive over restarts of the daemon. What
draws is a `Display`; whoever follows says when it is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from hubctl import layout, render, spans
from hubctl.app import App, Json, encode, version
from hubctl.exits import Detached, Exit, Refused
from hubd.errors import HubError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hubd.client import Client

FINISHED = frozenset({"completed", "stopped", "failed"})
STATES = frozenset({"draft", "scheduled", "running", "paused", *FINISHED})
PATIENCE = 60.0  #: seconds to wait for a daemon that went away while we watched
_LOST = frozenset({"disconnected", "shutting_down", "closed", "fell_behind"})
_AWAY = _LOST | {"socket_missing", "refused", "timeout", "busy"}


class Board:
    """The campaigns being watched, as last told, and what is worth a line."""

    def __init__(self) -> None:
        self.views: dict[str, Json] = {}
        self._tenths: dict[str, int] = {}

    def update(self, view: Json) -> list[str]:
        """Take a campaign's newest view; returns lines for a change of state and for each tenth passed."""
        name = str(view["name"])
        before = self.views.get(name)
        self.views[name] = view
        tenth = render.percent(view["counts"]) // 10
        passed = tenth > self._tenths.get(name, 0)
        self._tenths[name] = tenth
        if before is None or before["state"] != view["state"]:
            return [render.summary(view)]
        return [progress_line(view)] if passed else []

    def unfinished(self) -> list[Json]:
        """Campaigns that go on by themselves or wait for a person."""
        return [view for view in self.views.values() if view["state"] not in FINISHED]


def progress_line(view: Json) -> str:
    """ "spring-sale 40 %: 19,284 of 48,212, 118/s, 4 m left"."""
    counts = view["counts"]
    parts = [f"{layout.number(render.settled(counts))} of {layout.number(int(counts['total']))}"]
    if speed := render.rate(view):
        parts.append(speed)
    if view.get("eta"):
        parts.append(f"{spans.spoken(float(view['eta']))} left")
    if counts.get("failed"):
        parts.append(f"{layout.number(int(counts['failed']))} failed")
    return f"{view['name']} {render.percent(counts)} %: {', '.join(parts)}"


class Display(Protocol):
    """What shows the board."""

    def show(self, board: Board, lines: Sequence[str], changed: Json | None) -> None:
        """Something was learned: `lines` are worth saying, `changed` is the view that is new."""


class Silence:
    """Shows nothing."""

    def show(self, board: Board, lines: Sequence[str], changed: Json | None) -> None:
        """Nothing."""


class Lines:
    """Plain lines to a stream."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def show(self, board: Board, lines: Sequence[str], changed: Json | None) -> None:
        """Each line as it comes."""
        for line in lines:
            self._write(line)


class JsonLines:
    """The newest view of a campaign as one JSON object a line."""

    def __init__(self, app: App) -> None:
        self._app = app

    def show(self, board: Board, lines: Sequence[str], changed: Json | None) -> None:
        """One object for each change."""
        if changed is not None:
            self._app.out(encode({"schema": f"hubctl.{self._app.name}/1", "campaign": changed}))


class Bars:
    """A bar for each campaign, redrawn in place on a terminal."""

    def __init__(self, app: App, stream: TextIO, stack: ExitStack) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=stream, no_color=not app.coloured(stream), highlight=False)
        self._live = stack.enter_context(Live(console=console, auto_refresh=False))

    def show(self, board: Board, lines: Sequence[str], changed: Json | None) -> None:
        """Redraw."""
        self._live.update(bars(board.views.values()), refresh=True)


_BAR_STYLES = {"completed": "green", "paused": "yellow", "failed": "red", "stopped": "bright_black"}


def bars(views: Iterable[Json]) -> RenderableType:
    """The board as something rich can draw."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for view in views:
        counts = view["counts"]
        style = _BAR_STYLES.get(view["state"], "cyan")
        total = int(counts["total"])
        bar = ProgressBar(
            total=max(total, 1),
            completed=render.settled(counts),
            width=28,
            complete_style=style,
            finished_style=style,
        )
        told = [f"{layout.number(render.accepted(counts))} sent"]
        told += [
            f"{layout.number(int(counts[key]))} {key.replace('_', ' ')}"
            for key in ("failed", "deferred", "in_doubt", "skipped")
            if counts.get(key)
        ]
        if speed := render.rate(view):
            told.append(speed)
        if view.get("eta") and view["state"] == "running":
            told.append(f"{spans.spoken(float(view['eta']))} left")
        if view.get("reason"):
            told.append(layout.one_line(view["reason"]))
        grid.add_row(
            Text(view["name"], style="bold"),
            Text(view["state"], style=style),
            bar,
            Text(f"{render.percent(counts)} %", justify="right"),
            Text(", ".join(told)),
        )
    return grid


# --- keeping watch -----------------------------------------------------------------------------------------


async def attend(
    app: App,
    names: Sequence[str],
    board: Board,
    display: Display,
    done: Callable[[Board], bool],
    *,
    patience: float = PATIENCE,
) -> None:
    """Keep the board up to date until `done(board)`. Without names: everything that is not finished.

    A daemon that goes away is waited for, up to `patience` seconds; the campaigns go on when it is back.
    Raises NotFound for a name that does not exist.
    """
    import trio

    from hubd.client import open_client

    topics = [f"campaign:{name}" for name in names] or ["*"]
    place = app.place()
    seen = False
    lost: float | None = None
    while True:
        try:
            async with open_client(place, client=("hubctl", version())) as hub:
                if lost is not None:
                    app.note("hubd is back")
                seen, lost = True, None
                if await _listen(hub, topics, names, board, display, done):
                    return
        except HubError as error:
            if not seen or error.code not in _AWAY:
                raise
            if lost is None:
                lost = trio.current_time()
                app.note(f"{error}; waiting for it to come back")
            if trio.current_time() - lost > patience:
                raise
        await trio.sleep(0.3)


async def _listen(
    hub: Client,
    topics: list[str],
    names: Sequence[str],
    board: Board,
    display: Display,
    done: Callable[[Board], bool],
) -> bool:
    """One connection's worth of events. True when done, False when the stream ended."""
    for name in names:  # before subscribing, so that an unknown name is an error and not a long silence
        await _refresh(hub, name, board, display)
    if names and done(board):
        return True
    async for event in hub.subscribe(topics, gauge_hz=8):
        if event["type"] == "snapshot":
            views: list[Json] = event.get("campaigns") or []
            for view in views:
                if names or view["state"] not in FINISHED | {"draft"} or view["name"] in board.views:
                    display.show(board, board.update(view), view)
        else:
            await _take(hub, event, names, board, display)
        if done(board):
            return True
    return False


async def _take(hub: Client, event: Json, names: Sequence[str], board: Board, display: Display) -> None:
    data: Json = event.get("data") or {}
    if event["type"] == "campaign.progress":
        view = data.get("campaign")
        if isinstance(view, dict) and (not names or view["name"] in names):
            display.show(board, board.update(view), view)
    elif event["type"] == "campaign.state":
        name = str(data.get("name") or event.get("campaign") or "")
        if name and (not names or name in names):
            # The event tells of the past; what is shown is how it stands now, with exact counts.
            await _refresh(hub, name, board, display)


async def _refresh(hub: Client, name: str, board: Board, display: Display) -> None:
    view: Json = (await hub.call("campaign.get", name=name))["campaign"]
    display.show(board, board.update(view), view)


def watch_until(
    app: App,
    names: Sequence[str],
    done: Callable[[Board], bool],
    *,
    stream: TextIO,
    shown: bool = True,
    patience: float = PATIENCE,
) -> Board:
    """Show progress on `stream` until `done`. Ctrl-C detaches: raises Detached, the campaigns go on."""
    board = Board()
    try:
        with ExitStack() as stack:
            display = _display(app, stream, stack) if shown else Silence()
            app.run(lambda: attend(app, names, board, display, done, patience=patience))
    except KeyboardInterrupt:
        goes = "the campaigns go" if len(names) != 1 else "the campaign goes"
        back = " ".join(["hubctl watch", *names])
        raise Detached(f"detached; {goes} on (back with: {back})") from None
    return board


def _display(app: App, stream: TextIO, stack: ExitStack) -> Display:
    if app.as_json and stream is sys.stdout:
        return JsonLines(app)
    if app.live(stream):
        return Bars(app, stream, stack)
    return Lines(app.out if stream is sys.stdout else app.note)


def follow_to_the_end(app: App, name: str, *, shown: bool, limited: bool, changed: bool) -> Exit:
    """After `start`: progress on stderr until the campaign ends or needs a person, its result on stdout."""
    settled = FINISHED | {"paused"}
    board = watch_until(
        app,
        [name],
        lambda board: board.views[name]["state"] in settled,
        stream=sys.stderr,
        shown=shown and not app.quiet,
    )
    view = board.views[name]
    if app.as_json:
        app.record({"name": name, "changed": changed, "campaign": view})
    else:
        app.out(render.campaign(view, colour=app.coloured()))
        counts = view["counts"]
        if counts.get("failed") or counts.get("in_doubt"):
            app.note(f"what went wrong: hubctl failures {name}")
    good = view["state"] == "completed" or (
        limited and view["state"] == "paused" and view["reason"] == "limit"
    )
    return Exit.DONE if good else Exit.FAILED


def outcome(view: dict[str, Any], wanted: frozenset[str]) -> Exit | None:
    """How waiting for `wanted` stands: reached, not to be reached any more, or None to go on waiting."""
    if view["state"] in wanted:
        return Exit.DONE
    return Exit.FAILED if view["state"] in FINISHED else None


def read_states(text: str) -> frozenset[str]:
    """ "completed,failed" as states. Raises Refused for a word that is none."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in STATES]
    if wrong or not words:
        raise Refused(
            f"--for: {wrong[0] if wrong else text!r} is not a state of a campaign",
            code="usage",
            status=Exit.USAGE,
            hint=f"the states are {', '.join(sorted(STATES))}",
        )
    return frozenset(words)
