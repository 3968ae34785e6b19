"""Notifies the service manager: ready, stopping, status, and the watchdog (sd_notify(3)).

The protocol is one datagram of `NAME=value` lines to the socket that $NOTIFY_SOCKET names. Without that
variable nobody is told anything, and every method here does nothing. The order is kept here, so that callers
need not think of it: nothing claims to be ready once the daemon has begun to stop.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager

import trio

log = logging.getLogger(__name__)

Heartbeat = Callable[[], Awaitable[object]]

STATUS_EVERY = 10.0  #: seconds between two words about how it goes
EXTEND_EVERY = 10.0  #: seconds between two requests for more time ...
EXTENSION = 30.0  #: ... each for so many seconds from then on
LAG = 1.0  #: seconds by which the loop may be late and still count as alive
AGAIN = 1.0  #: seconds until the next look after one that went wrong
ONCE_SECONDS = 1.0  #: seconds for a manager that does not read, for what is said only once
_LONGEST = 500  #: characters of a status


class Manager:
    """The service manager that started us. Get one from `service_manager`."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self.watchdog = watchdog  #: seconds after which a silent daemon is killed; None: nobody watches
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._ready = self._stopping = False
        self._reloads = 0
        self._remark = ""
        self._doing = "starting"
        self._sock: socket.socket | None = None
        if address and sys.platform != "win32":
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    # -- what is said once -------------------------------------------------------------------------

    def ready(self, status: str = "ready") -> None:
        """Report READY: clients are served and campaigns run. Does nothing while stopping."""
        if not self._stopping:
            self._ready = True
            self._say(READY=1, STATUS=status, once=True)

    def stopping(self) -> None:
        """The daemon was asked to stop. The first word about it; asking again says nothing."""
        if not self._stopping:
            self._stopping = True
            self._doing = "stopping"
            self._say(STOPPING=1, STATUS="stopping", once=True)

    def failed(self, why: str) -> None:
        """Why the daemon ends, or does not start, in a sentence; the exit status says the rest."""
        self._say(STATUS=why, once=True)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """A block in which the configuration is read again. What it raises becomes part of the status."""
        self._reloads += 1
        if self._reloads == 1 and self._ready and not self._stopping:
            # CLOCK_MONOTONIC, so that the manager can tell this reload from an earlier one.
            self._say(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000, once=True)
        try:
            yield
        except Exception as error:
            self._remark = f"; not reloaded: {error}"
            raise
        else:
            self._remark = ""
        finally:
            self._reloads -= 1
            if not self._reloads and self._ready and not self._stopping:
                self._say(READY=1, STATUS=f"reload ended{self._remark}", once=True)

    # -- what is said again and again --------------------------------------------------------------

    def status(self, text: str) -> None:
        """How it goes, in words; what went wrong with the last reload is added."""
        self._say(STATUS=text + self._remark)

    async def report(self, describe: Callable[[], Awaitable[str]]) -> None:
        """Say what `describe` says, every ten seconds, until cancelled. It must not raise."""
        while self._sock is not None:
            self.status(await describe())
            await trio.sleep(STATUS_EVERY)

    def busy(self, doing: str) -> None:
        """What is being done while the daemon opens or closes, which may take long."""
        self._doing = doing
        self._say(STATUS=doing)

    async def keep_patient(self) -> None:
        """Ask for more time, every ten seconds, while the daemon opens or closes, until cancelled.

        A large migration, or the last messages on the wire, may take longer than the manager would wait.
        """
        while self._sock is not None:
            if not self._ready or self._stopping:
                self._say(STATUS=self._doing, EXTEND_TIMEOUT_USEC=int(EXTENSION * 1e6))
            await trio.sleep(EXTEND_EVERY)

    async def watch(self, heartbeats: Mapping[str, Heartbeat]) -> None:
        """Send WATCHDOG while every heartbeat returns, until cancelled.

        They are asked together, every half of the time after which the manager kills us, and have that long
        to answer. While one does not, or the loop is late, nothing is said but which one it is.
        """
        if self._sock is None or self.watchdog is None:
            return
        every = self.watchdog / 2
        due = trio.current_time()
        async with trio.open_nursery() as nursery:
            pulse = _Pulse(heartbeats, nursery)
            while True:
                began = trio.current_time()
                late = began - due > LAG
                silent = await pulse.feel(every)
                if silent:
                    log.error("no heartbeat from %s: the service manager gets no watchdog message", silent)
                    self.status(f"no heartbeat from {silent}")
                elif not late:
                    self._say(WATCHDOG=1)
                due = (trio.current_time() + AGAIN) if silent or late else began + every
                await trio.sleep_until(due)

    # -- the wire ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket; sends nothing more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _say(self, *, once: bool = False, **variables: object) -> None:
        """Send one datagram. Being heard is not worth failing for: the manager may be gone."""
        if self._sock is None:
            return
        text = "\n".join(f"{name}={_one_line(str(value))}" for name, value in variables.items())
        self._sock.settimeout(ONCE_SECONDS if once else 0.0)
        try:
            self._sock.sendto(text.encode(), self._address)
        except OSError as error:
            log.debug("the service manager did not accept a message: %s", error.strerror)


def service_manager(environ: MutableMapping[str, str], pid: int | None = None) -> Manager:
    """The manager that the environment names, if any; its variables are taken out of `environ`.

    So no child can speak in our name. The watchdog counts only when it is meant for this process.
    """
    address, usec, watched = (
        environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    )
    if not address.startswith(("/", "@")):
        return Manager()
    ours = watched in ("", str(os.getpid() if pid is None else pid))
    meant = usec.isascii() and usec.isdecimal() and len(usec) <= 20  # of 64 bits
    seconds = int(usec) / 1e6 if ours and meant else 0.0
    return Manager(address, seconds or None)


def summary(states: Mapping[str, int], rate: float, trouble: str = "") -> str:
    """How it goes: "2 running, 1 paused, 118 msg/s". `states` is how many campaigns are in each."""
    words = [f"{states[state]} {state}" for state in ("running", "paused", "scheduled") if states.get(state)]
    if not words:
        words = ["nothing to send"]
    if states.get("running"):
        words.append(f"{math.floor(rate + 0.5)} msg/s" if rate >= 1 or not rate else f"{rate:.1f} msg/s")
    return ", ".join(words) + (f"; {trouble}" if trouble else "")


class _Pulse:
    """Asks the heartbeats, each one again only after it has returned: one that hangs is not piled upon."""

    def __init__(self, heartbeats: Mapping[str, Heartbeat], nursery: trio.Nursery) -> None:
        self._heartbeats = heartbeats
        self._nursery = nursery
        self._asked: set[str] = set()
        self._well: set[str] = set()
        self._changed = trio.Event()

    async def feel(self, seconds: float) -> str:
        """The names of those that did not return in this many seconds, or raised; "" if all did."""
        self._well.clear()
        for name, heartbeat in self._heartbeats.items():
            if name not in self._asked:
                self._asked.add(name)
                self._nursery.start_soon(self._ask, name, heartbeat)
        with trio.move_on_after(seconds):
            while self._asked:
                await self._changed.wait()
        return ", ".join(name for name in self._heartbeats if name not in self._well)

    async def _ask(self, name: str, heartbeat: Heartbeat) -> None:
        try:
            await heartbeat()
            self._well.add(name)
        except Exception:
            log.exception("the heartbeat of %s failed", name)
        finally:
            self._asked.discard(name)
            self._changed.set()
            self._changed = trio.Event()


def _one_line(text: str) -> str:
    """A value that cannot be read as another line of the message."""
    return "".join(char if char.isprintable() else " " for char in text)[:_LONGEST]
