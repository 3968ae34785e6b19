"""The daemon as the program of the page uses it: greet it, get tickets from it, start it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import trio

from hubd import __version__
from hubd.client import Client, Place, open_client
from hubd.client.starting import start_command
from hubd.errors import HubError, NotFound, Unreachable
from hubd.wire import methods as m

T = TypeVar("T")
START_SECONDS = 20.0  #: until a daemon that was started has to answer
LOOK_SECONDS = 0.1  #: between two checks whether it does
NOT_RUNNING = ("socket_missing", "refused")  #: the error codes of a daemon that does not run


class Daemon:
    """The daemon at `place`. If it is started here, what it logs goes to `log`, else nowhere."""

    def __init__(self, place: Place, log: Path | None = None) -> None:
        self.place = place
        self._log = log

    def find(self, campaign: str | None) -> None:
        """Check that it answers and has the campaign. Raises `HubError`."""

        async def work(hub: Client) -> None:
            if campaign is not None:
                try:
                    await hub.call(m.CAMPAIGN_GET, name=campaign)
                except NotFound as error:
                    raise NotFound(
                        f"there is no campaign {campaign}", code=error.code, hint=error.hint
                    ) from None

        self._talk(work)

    def ticket(self, origin: str) -> dict[str, Any]:
        """A ticket for a page of this Origin, with all the rights that we have. Raises `HubError`."""

        async def work(hub: Client) -> dict[str, Any]:
            role = hub.hello["role"]
            issued = await hub.call(m.AUTH_TICKET, role=role, origin=origin, listen=role == "operator")
            url = issued["url"].replace(
                "[::1]", "localhost"
            )  # a policy of a page cannot name an IPv6 address
            return {**issued, "url": url, "where": hub.reached.describe()}

        return self._talk(work)

    def start(self) -> None:
        """Start it as the user would, and wait until it answers. It outlives this program.

        Raises `HubError`: no_start (it is not ours to start), not_started, or why it does not answer.
        """
        command = self.start_command()
        if command is None:
            raise HubError(
                f"hubview cannot start the daemon at {self.place.path}",
                code="no_start",
                hint=f"start it with: {start_command(self.place)}",
            )
        log = self._log
        try:
            if log is not None:
                log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A pipe would fill up one day, or break when this program ends, and then hubd could not log.
            with open(log or os.devnull, "wb", opener=_private) as written:
                process = subprocess.Popen(  # noqa: S603 - a command of ours
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=written,
                    start_new_session=True,
                )
        except OSError as exc:
            raise HubError(
                f"hubd could not be started: {exc.strerror}", code="not_started", hint="run it in a terminal"
            ) from None
        threading.Thread(target=process.wait, name="hubd", daemon=True).start()  # it may end before we do
        trio.run(self._await_start, process)

    def start_command(self) -> list[str] | None:
        """The command that starts it; None when that takes another user or options that we do not know."""
        words = start_command(self.place)
        if words == "hubd":
            return [sys.executable, "-m", "hubd"]
        return words.split() if words == "systemctl --user start hubd" else None

    async def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        with trio.move_on_after(START_SECONDS):
            while True:
                try:
                    async with open_client(self.place, client=_CLIENT):
                        return
                except Unreachable as error:
                    if error.code not in (*NOT_RUNNING, "timeout"):
                        raise
                if process.poll():
                    break
                await trio.sleep(LOOK_SECONDS)
        raise HubError(
            f"hubd did not start{self._last_words()}",
            code="not_started",
            hint="run hubd in a terminal to see why",
        )

    def _last_words(self) -> str:
        """What a daemon that ended said last, to be added to a sentence."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n") if self._log else []
        except OSError:
            return ""
        said = [line.strip().removeprefix("hubd: ") for line in lines if line.strip()]
        return f": {' '.join(said[-2:])}" if said else ""

    def _talk(self, work: Callable[[Client], Awaitable[T]]) -> T:
        async def session() -> T:
            async with open_client(self.place, client=_CLIENT) as hub:
                return await work(hub)

        return trio.run(session)


_CLIENT = ("hubview", __version__)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
