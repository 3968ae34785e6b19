"""Whether hubd starts when this user logs in: the user's service of systemd, which hubctl installs.

The service is enabled, not started: a daemon that runs already continues, and from the next login the service
takes its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from hubd.client import Place
from hubd.errors import BadInput, HubError
from hubd.wire.places import users_sockets

UNITS = ("hubd.socket", "hubd.service")
SECONDS = 30.0  #: for one command to end


class LoginStart:
    """The service of this user for the daemon at `place`."""

    def __init__(self, place: Place, environ: Mapping[str, str] = os.environ) -> None:
        self._systemctl = shutil.which("systemctl", path=environ.get("PATH")) or ""
        self._is_own = sys.platform == "linux" and place.path in users_sockets(environ)
        self._environ = environ

    def state(self) -> Mapping[str, object]:
        """`possible`: whether it can be switched here; `on`: whether hubd starts at the next login."""
        possible = bool(self._is_own and self._systemctl)
        return {"possible": possible, "on": possible and self._is_enabled()}

    def switch(self, on: object) -> Mapping[str, object]:
        """Switch it, and say how it is then. Raises `HubError`."""
        if not isinstance(on, bool):
            raise BadInput.at("on", "must be true or false")
        if not self.state()["possible"]:
            raise HubError(
                "hubview cannot have this daemon started at login",
                code="not_here",
                hint="hubctl service print",
            )
        if on:
            self._run(
                [sys.executable, "-m", "hubctl", "--no-input", "--yes", "service", "install", "--user"],
                "hubctl service install --user",
            )
        verb = "enable" if on else "disable"
        self._run([self._systemctl, "--user", verb, *UNITS], f"systemctl --user {verb} {' '.join(UNITS)}")
        return self.state()

    def _is_enabled(self) -> bool:
        asked = [self._systemctl, "--user", "is-enabled", "--quiet", UNITS[-1]]
        return self._done(asked).returncode == 0

    def _run(self, command: list[str], by_hand: str) -> None:
        done = self._done(command)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["no reason was given"]
            raise HubError(
                f"this was not changed: {said[0].removeprefix('hubctl: ')}", code="not_switched", hint=by_hand
            )

    def _done(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - a program of ours, or of systemd
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=SECONDS,
                env=dict(self._environ),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HubError(
                f"{os.path.basename(command[0])} could not be run", code="not_run", hint="use a terminal"
            ) from error
