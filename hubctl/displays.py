"""What shows a board: bars on a terminal, plain lines elsewhere, JSON lines for programs, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from hubctl import layout, render, spans
from hubctl.app import App
from hubctl.board import Board, progress_line
from hubctl.listing import Stream

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from hubd.wire import campaign_results as r


class Display(Protocol):
    """What shows the board."""

    def show(self, board: Board, lines: Sequence[str], changed: r.CampaignView | None) -> None:
        """Show what is new: `lines` are worth printing, `changed` is the view that changed."""


class Silence:
    """Shows nothing."""

    def show(self, board: Board, lines: Sequence[str], changed: r.CampaignView | None) -> None:
        """Nothing."""


class Lines:
    """Plain lines to a stream."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def show(self, board: Board, lines: Sequence[str], changed: r.CampaignView | None) -> None:
        """Each line as it comes."""
        for line in lines:
            self._write(line)


class Records:
    """The newest view of a campaign, a line each, as `--output` and `--fields` ask."""

    def __init__(self, app: App) -> None:
        self._stream = Stream(app, render.CAMPAIGN_COLUMNS, progress_line)

    def show(self, board: Board, lines: Sequence[str], changed: r.CampaignView | None) -> None:
        """One line for each change."""
        if changed is not None:
            self._stream.show(changed, within="campaign")


class Bars:
    """A bar for each campaign, redrawn in place on a terminal, and below them what can be typed.

    Args:
        hint: The line at the bottom as it is now, "" for none.
        chosen: The campaign that keys are for, "" if none has to be marked.
        headed: Whether a line above sums them up.
    """

    def __init__(
        self,
        app: App,
        stream: TextIO,
        stack: ExitStack,
        *,
        hint: Callable[[], str] = lambda: "",
        chosen: Callable[[], str] = lambda: "",
        headed: bool = False,
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(
            file=stream,
            force_terminal=True,  # checked before; with $HUBCTL_FORCE_TTY it may be a pipe
            no_color=not app.coloured(stream),
            highlight=False,
        )
        self._hint = hint
        self._chosen = chosen
        self._headed = headed
        self._board = Board()
        self._widest = 0  #: most columns that the figures have taken so far; bars only ever get shorter
        self._live = stack.enter_context(Live(console=self._console, auto_refresh=False))
        stack.callback(self._last)

    def show(self, board: Board, lines: Sequence[str], changed: r.CampaignView | None) -> None:
        """Redraw."""
        self._board = board
        self.redraw()

    def redraw(self) -> None:
        """Draw what is known, with the hint as it is now."""
        self._live.update(self._drawn(self._hint(), self._chosen()), refresh=True)

    def _last(self) -> None:
        """What stays on the screen: no keys, because they do nothing any more."""
        self._live.update(self._drawn("", ""), refresh=True)

    def _drawn(self, hint: str, chosen: str) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        views = self._board.sorted() if self._headed else list(self._board.views.values())
        size = self._console.size
        troubled = "\n".join(layout.one_line(render.troubled(view)) for view in self._board.troubled)
        below = [
            (line, style)
            for text, style in ((troubled, "yellow"), (layout.one_line(self._board.away), "bold red"))
            for line in layout.wrapped(text, size.width - 1, hanging="  ").split("\n")
            if line
        ]
        fits = max(1, size.height - 3 - len(below))
        at = next((n for n, view in enumerate(views) if view["name"] == chosen), 0)
        seen = views[max(0, at - fits + 1) :][:fits]
        figures = [", ".join(text for _, text in figures_of(view)) for view in seen]
        self._widest = max([self._widest, *map(len, figures)])
        shape = measure(seen, size.width - 1, self._widest, indent=2 if self._headed else 0)
        parts: list[RenderableType] = []
        if self._headed and views:
            parts.append(Text(self._board.heading(), style="bold"))
        parts.append(bars(seen, shape, chosen=chosen, reasons=self._headed))
        if not self._headed:
            parts += [Text(f"  {why}", style="yellow") for why in map(_why, seen) if why]
        if len(views) > fits:
            parts.append(Text(f"and {len(views) - fits} more: hubctl list", style="dim"))
        parts += [Text(line, style=style) for line, style in below]
        if hint:
            parts.append(Text(layout.one_line(hint), style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)


_BAR_STYLES = {"completed": "green", "paused": "yellow", "failed": "red", "stopped": "bright_black"}
_LONGEST_BAR, _SHORTEST_BAR = 28, 5
_STATE = 9  #: columns of the longest state, so that nothing moves when a campaign changes state
_PERCENT = 5  #: columns of "100 %"
_GAP = 2
_FIGURES = 27  #: columns that the figures have at least; if there are fewer, there is no bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many columns each part takes, the same on every line."""

    indent: int  #: where the chosen campaign is marked
    name: int
    bar: int  #: 0 for no bar
    figures: int


def measure(views: Sequence[r.CampaignView], width: int, figures: int, *, indent: int = 0) -> Shape:
    """Share out `width` columns: the bar gets shorter so that `figures` columns fit beside it."""
    name = min(max((layout.columns(view["name"]) for view in views), default=0), max(12, width // 4))
    rest = width - indent - name - _STATE - _PERCENT - 4 * _GAP
    if rest < _SHORTEST_BAR + _FIGURES:
        return Shape(indent=indent, name=name, bar=0, figures=max(1, rest + _GAP))
    bar = max(_SHORTEST_BAR, min(_LONGEST_BAR, rest - figures))
    return Shape(indent=indent, name=name, bar=bar, figures=rest - bar)


def bars(views: Sequence[r.CampaignView], shape: Shape, *, chosen: str = "", reasons: bool = False) -> Table:
    """Campaigns as something rich can draw, a line each; with `reasons`, the reasons are included."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, _GAP, 0, 0))
    for width in (shape.indent + shape.name, _STATE, shape.bar, _PERCENT, shape.figures):
        if width:
            grid.add_column(width=width, no_wrap=True)
    for view in views:
        counts = view["counts"]
        style = _BAR_STYLES.get(view["state"], "cyan")
        bar = ProgressBar(
            total=max(int(counts["total"]), 1),
            completed=render.done(counts),
            width=shape.bar,
            complete_style=style,
            finished_style=style,
        )
        mark = ">" if view["name"] == chosen else ""
        grid.add_row(
            Text(mark.ljust(shape.indent) + layout.clip(view["name"], shape.name), style="bold"),
            Text(view["state"], style=style),
            *([bar] if shape.bar else []),
            Text(f"{render.percent(counts)} %", justify="right"),
            Text(fitting(view, shape.figures, reasons=reasons)),
        )
    return grid


def figures_of(view: r.CampaignView) -> list[tuple[int, str]]:
    """The figures of a campaign in the order they are shown, each with its rank for when there is no room
    for all: the highest is left out first.
    """
    counts = view["counts"]
    ranks = {"failed": 1, "in_doubt": 2, "skipped": 3, "undelivered": 5, "deferred": 7}
    figures = [(0, f"{layout.number(render.accepted(counts))} sent")]
    figures += [
        (rank, f"{layout.number(n)} {key.replace('_', ' ')}")
        for key, rank in ranks.items()
        if (n := render.count(counts, key))
    ]
    if speed := render.rate(view):
        figures.append((6, speed))
    if view["eta"] and view["state"] == "running":
        figures.append((4, f"{spans.spoken(view['eta'])} left"))
    return figures


def fitting(view: r.CampaignView, width: int, *, reasons: bool) -> str:
    """What fits in `width` columns about a campaign: whole figures only, the least important left out."""
    figures = figures_of(view)
    why = [found] if reasons and (found := _why(view)) else []

    def told() -> str:
        return ", ".join([*(text for _, text in figures), *why])

    while len(figures) > 1 and layout.columns(told()) > width:
        figures.remove(max(figures))
    return layout.clip(told(), width)


def _why(view: r.CampaignView) -> str:
    return layout.one_line(view.get("reason"))
