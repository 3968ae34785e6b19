"""What shows a board: bars on a terminal, plain lines elsewhere, JSON lines for programs, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, TextIO

from hubctl import layout, render, spans
from hubctl.app import App, Json
from hubctl.board import Board, progress_line
from hubctl.listing import Stream

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


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


class Records:
    """The newest view of a campaign, a line each, as `--output` and `--fields` ask."""

    def __init__(self, app: App) -> None:
        self._stream = Stream(app, render.CAMPAIGN_COLUMNS, progress_line)

    def show(self, board: Board, lines: Sequence[str], changed: Json | None) -> None:
        """One line for each change."""
        if changed is not None:
            self._stream.show(changed, within="campaign")


class Bars:
    """A bar for each campaign, redrawn in place on a terminal, and below them what can be typed.

    Args:
        hint: The line at the bottom as it is now, "" for none.
        headed: Whether a line above sums them up.
    """

    def __init__(
        self,
        app: App,
        stream: TextIO,
        stack: ExitStack,
        *,
        hint: Callable[[], str] = lambda: "",
        headed: bool = False,
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(
            file=stream,
            force_terminal=True,  # asked before this was made; $HUBCTL_FORCE_TTY may say so of a pipe
            no_color=not app.coloured(stream),
            highlight=False,
        )
        self._hint = hint
        self._headed = headed
        self._board = Board()
        self._live = stack.enter_context(Live(console=self._console, auto_refresh=False))
        stack.callback(self._last)

    def show(self, board: Board, lines: Sequence[str], changed: Json | None) -> None:
        """Redraw."""
        self._board = board
        self.redraw()

    def redraw(self) -> None:
        """Draw what is known, with the hint as it is now."""
        self._live.update(self._drawn(self._hint()), refresh=True)

    def _last(self) -> None:
        """What stays on the screen: no keys, because they do nothing any more."""
        self._live.update(self._drawn(""), refresh=True)

    def _drawn(self, hint: str) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        views = self._board.sorted() if self._headed else list(self._board.views.values())
        fits = max(1, self._console.size.height - 3 - len(self._board.troubled))
        parts: list[RenderableType] = []
        if self._headed and views:
            parts.append(Text(self._board.heading(), style="bold"))
        width = min(28, max(10, self._console.size.width - 64))
        parts.append(bars(views[:fits], one_line=self._headed, width=width))
        if len(views) > fits:
            parts.append(Text(f"and {len(views) - fits} more: hubctl list", style="dim"))
        parts += [Text(render.troubled(view), style="yellow") for view in self._board.troubled]
        if hint:
            parts.append(Text(hint, style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)


_BAR_STYLES = {"completed": "green", "paused": "yellow", "failed": "red", "stopped": "bright_black"}


def bars(views: Sequence[Json], *, one_line: bool, width: int) -> Table:
    """Campaigns as something rich can draw; `one_line` cuts what does not fit."""
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
            width=width,
            complete_style=style,
            finished_style=style,
        )
        grid.add_row(
            Text(view["name"], style="bold"),
            Text(view["state"], style=style),
            bar,
            Text(f"{render.percent(counts)} %", justify="right"),
            Text(_told(view), no_wrap=one_line, overflow="ellipsis" if one_line else "fold"),
        )
    return grid


def _told(view: Json) -> str:
    counts = view["counts"]
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
    return ", ".join(told)
