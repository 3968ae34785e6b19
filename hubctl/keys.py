"""Single keys while a campaign is followed on a terminal: pause, resume, stop, detach."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from hubctl.app import App, version
from hubctl.board import FINISHED, Board
from hubctl.exits import Detached
from hubd.errors import HubError

#: What arrows, function keys and Alt send (ECMA-48 5.4; SS3 with one more character): none of our keys.
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.|$)", re.DOTALL)
_LOOK_AGAIN = 0.5  #: seconds between looks while another job has the terminal


def possible(app: App) -> bool:
    """Whether somebody sits at a terminal that is ours to read keys from."""
    return app.may_ask() and sys.platform != "win32" and _foreground(sys.stdin.fileno())


def _foreground(fd: int) -> bool:
    """Whether the terminal belongs to this job; touching it from the background would stop the process."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # not our controlling terminal: there is no job control on it that could stop us
        return True


@contextmanager
def single_keys() -> Iterator[int]:
    """The terminal hands over each key at once and shows none of them, until the end of the block.

    Ctrl-C stays what it is. Gives the descriptor to read from.
    """
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSADRAIN)
        yield fd
    finally:
        if _foreground(fd):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def typed(fd: int) -> AsyncIterator[str]:
    """Keys as they are typed, in small letters; arrows and the like are left out. Ends with the terminal."""
    import trio

    while True:
        await trio.lowlevel.wait_readable(fd)
        if not _foreground(fd):
            await trio.sleep(_LOOK_AGAIN)
            continue
        try:
            data = os.read(fd, 64)
        except OSError:  # the terminal is gone
            return
        if not data:
            return
        for key in _SEQUENCE.sub("", data.decode("utf-8", "ignore")).lower():
            yield key


class Steering:
    """What the keys do. `line` is the hint that goes below the bars.

    Args:
        name: The campaign to steer; None when there are several, which can only be left.
    """

    def __init__(self, app: App, board: Board, name: str | None) -> None:
        self._app = app
        self._board = board
        self._name = name
        self._said = ""
        self._asking = False
        self.redraw: Callable[[], None] = lambda: None

    def line(self) -> str:
        """What can be typed now, or what came of the last key."""
        if self._said:
            return self._said
        keys = []
        if self._state() == "running":
            keys.append("p pause")
        if self._state() == "paused":
            keys.append("r resume")
        if self._state() in ("running", "paused", "scheduled"):
            keys.append("s stop")
        goes = "it goes on" if self._name else "they go on"
        return "   ".join([*keys, f"d or Ctrl-C detach ({goes})"])

    async def run(self, fd: int) -> None:
        """Do what is typed. Raises Detached for d."""
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

        with trio.open_signal_receiver(signal.SIGCONT, signal.SIGTERM) as arrivals:
            async for arrived in arrivals:
                if arrived == signal.SIGTERM:
                    raise Detached("")
                if _foreground(fd):
                    tty.setcbreak(fd)
                self.redraw()

    async def _press(self, key: str) -> None:
        asked, self._asking, self._said = self._asking, False, ""
        if asked:
            if key == "y":
                await self._do("stop", "stopping")
        elif key in "dq":
            raise Detached("")
        elif key == "p" and self._state() == "running":
            await self._do("pause", "pausing")
        elif key == "r" and self._state() == "paused":
            await self._do("resume", "resuming")
        elif key == "s" and self._state() not in ("", "draft", *FINISHED):
            self._asking = True
            self._said = f"stop {self._name}? Nothing more leaves; hubctl start goes on with the rest. [y/N]"

    async def _do(self, verb: str, doing: str) -> None:
        """Ask the daemon on a connection of its own, so that the events go on meanwhile."""
        from hubd.client import open_client

        self._said = f"{doing} ..."
        self.redraw()
        try:
            async with open_client(self._app.place(), client=("hubctl", version())) as hub:
                await hub.call(f"campaign.{verb}", name=self._name)
        except HubError as error:
            self._said = f"not done: {error}"
        else:
            self._said = ""

    def _state(self) -> str:
        view = self._board.views.get(self._name or "")
        return str(view["state"]) if view else ""
