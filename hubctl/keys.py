"""Single keys while campaigns are followed on a terminal: choose one, pause, resume, stop it, or leave."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from hubctl.app import App, version
from hubctl.board import Board
from hubctl.exits import Detached
from hubd.errors import HubError
from hubd.wire.words import FINISHED

#: What arrows, function keys and Alt send (ECMA-48 5.4; SS3 with one more character), or a key by itself.
_KEY = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.|$)|(.)", re.DOTALL)
_ARROWS = {"[A": "up", "OA": "up", "[B": "down", "OB": "down"}
_LOOK_AGAIN = 0.5  #: seconds between looks while another job has the terminal


def possible(app: App) -> bool:
    """Whether somebody sits at a terminal that is ours to read keys from."""
    return app.may_ask() and sys.platform != "win32" and is_foreground(sys.stdin.fileno())


def is_foreground(fd: int) -> bool:
    """Whether the terminal belongs to this job; touching it from the background would stop the process."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # not our controlling terminal: there is no job control on it that could stop us
        return True


@contextmanager
def single_keys() -> Iterator[int]:
    """The terminal hands over each key at once and shows none of them, until the end of the block.

    Ctrl-C works as usual. Yields the descriptor to read from.
    """
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSADRAIN)
        yield fd
    finally:
        if is_foreground(fd):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def typed(fd: int) -> AsyncIterator[str]:
    """Keys as they are typed, in lower case, and "up" and "down". Ends with the terminal."""
    import trio

    while True:
        await trio.lowlevel.wait_readable(fd)
        if not is_foreground(fd):
            await trio.sleep(_LOOK_AGAIN)
            continue
        try:
            data = os.read(fd, 4096)  # all that is there: no sequence comes in two parts
        except OSError:  # the terminal is gone
            return
        if not data:
            return
        for found in _KEY.finditer(data.decode("utf-8", "ignore")):
            key = found[2] or _ARROWS.get(found[1], "")
            if key:
                yield key.lower()


class Left(Detached):
    """Somebody pressed a key to leave; that is no interruption."""


class Steering:
    """What the keys do. `line` is the hint that goes below the bars.

    Args:
        name: The campaign to steer; "" when there are several, of which one has to be chosen.
    """

    def __init__(self, app: App, board: Board, name: str) -> None:
        self._app = app
        self._board = board
        self._name = name
        self._picked = ""
        self._said = ""
        self._asking = ""  #: the campaign to stop once a y confirms it
        self.redraw: Callable[[], None] = lambda: None

    def line(self) -> str:
        """What can be typed now, or what came of the last key."""
        if self._said:
            return self._said
        goes = "it continues" if self._name else "they continue"
        if self._board.away:
            return f"q or d leave ({goes})"
        keys = ["up/down choose"] if not self._name and len(self._board.views) > 1 else []
        if self._state() == "running":
            keys.append("p pause")
        if self._state() == "paused":
            keys.append("r resume")
        if self._state() in ("running", "paused", "scheduled"):
            keys.append("s stop")
        return "   ".join([*keys, f"q or d leave ({goes})"])

    def marked(self) -> str:
        """The campaign that was chosen among several; "" when there is no choice."""
        return self._picked if self._picked in self._board.views else ""

    def _target(self) -> str:
        """The campaign that the keys are for, "" for none."""
        only = next(iter(self._board.views)) if len(self._board.views) == 1 else ""
        return self._name or self.marked() or only

    def _pick(self, step: int) -> None:
        """The next one down or up, in the order in which they are shown."""
        names = [str(view["name"]) for view in self._board.sorted()]
        if self._name or not names:
            return
        at = names.index(self._picked) + step if self._picked in names else 0 if step > 0 else len(names)
        self._picked = names[max(0, min(at, len(names) - 1))]

    async def run(self, fd: int) -> None:
        """Do what is typed. Raises Left for q and d."""
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._signals, fd)
            async for key in typed(fd):
                await self._press(key)
                self.redraw()

    async def _signals(self, fd: int) -> None:
        """The shell has its own terminal settings: after Ctrl-Z and `fg` ours are needed again, and whoever
        ends us gets the terminal back as it was.
        """
        import tty

        import trio

        ending = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
        with trio.open_signal_receiver(signal.SIGCONT, *ending) as arrivals:
            async for received in arrivals:
                if received != signal.SIGCONT:
                    raise Detached("")
                if is_foreground(fd):
                    tty.setcbreak(fd)
                self.redraw()

    async def _press(self, key: str) -> None:
        asked, self._asking, self._said = self._asking, "", ""
        name, state = self._target(), self._state()
        if asked:
            if key == "y":
                await self._do("stop", "stopping", asked)
        elif key in ("q", "d"):
            raise Left("")
        elif key in ("up", "down"):
            self._pick(1 if key == "down" else -1)
        elif key == "p" and state == "running":
            await self._do("pause", "pausing", name)
        elif key == "r" and state == "paused":
            await self._do("resume", "resuming", name)
        elif key == "s" and state not in ("", "draft", *FINISHED):
            self._asking = name
            self._said = f"stop {name}? Nothing more is sent; hubctl start continues with the rest. [y/N]"

    async def _do(self, verb: str, doing: str, name: str) -> None:
        """Ask the daemon on a connection of its own, so that the events go on meanwhile."""
        from hubd.client import open_client

        self._said = f"{doing} {name} ... (Ctrl-C stops waiting)"
        self.redraw()
        try:
            async with open_client(self._app.place(), client=("hubctl", version())) as hub:
                await hub.call(f"campaign.{verb}", name=name)
        except HubError as error:
            self._said = f"failed: {error}" + (f"; {error.hint}" if error.hint else "")
        else:
            self._said = ""

    def _state(self) -> str:
        view = self._board.views.get(self._target())
        return str(view["state"]) if view else ""
