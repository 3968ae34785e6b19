"""Is everything well? doctor."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from hubctl import layout, render
from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Exit, exit_of
from hubd.errors import HubError, StoreUnavailable
from hubd.wire import methods as m
from hubd.wire.places import SYSTEM_SOCKET, Place

if TYPE_CHECKING:
    from hubd.wire import hub_results as r

_COLUMNS = ("check", "ok", "found", "advice")


@command("doctor", example="hubctl doctor")
def doctor(app: App) -> int:
    """Check the installation: recount every campaign, read the whole database, and say what to do.

    Changes nothing. Exit code 0: all checks passed; 1: a check failed; 6: hubd cannot be reached.
    """
    place = app.place()
    try:
        found, status = app.call(m.HUB_CHECK), _status(app)
    except HubError as error:
        if exit_of(error) in (Exit.UNREACHABLE, Exit.FORBIDDEN):
            _without_daemon(app, error)
        raise
    where = {"socket": str(place.path), "reached": app.answered, "chosen": _chosen(place)}
    answer = {"reachable": True, **where, **found}
    if not print_result(app, answer, rows="checks", columns=_COLUMNS):
        width = app.width()
        if status is not None:
            app.out(layout.wrapped(render.daemon(status), width, hanging="  "))
        app.out(layout.facts([("socket", app.answered), ("chosen", _chosen(place))], width=width))
        app.out("\n" + _table(app, found["checks"]))
        for each in found["checks"]:
            if not each["ok"]:
                app.out("\n" + layout.wrapped(f"{each['check']}: {layout.printable(each['advice'])}", width))
    return Exit.DONE if found["ok"] else Exit.FAILED


def _status(app: App) -> r.StatusResult | None:
    """The daemon in a line; None while its database cannot be read, which the checks report."""
    try:
        return app.call(m.HUB_STATUS)
    except StoreUnavailable:
        return None


def _table(app: App, checks: list[r.CheckView]) -> str:
    rows = [("ok" if each["ok"] else "WRONG", each["check"], each["found"]) for each in checks]
    return layout.sentences(("", "CHECK", "FOUND"), rows, colour=app.coloured(), width=app.width())


def _chosen(place: Place) -> str:
    """Why this daemon and no other, in a sentence."""
    if place.chosen:
        return f"by {place.chosen}"
    named = "no daemon is chosen by --socket, $HUBCTL_SOCKET or a context"
    systems = place.tried[-1] if place.endpoint else SYSTEM_SOCKET
    if place.path == systems:
        return f"{named} and you have no hubd of your own: this is the system's"
    return f"{named}: this is your own"


def _without_daemon(app: App, error: HubError) -> None:
    """What can be seen from here when nobody answers; the error itself follows on stderr."""
    place = app.place()
    looked = [{"path": str(path), "found": _what_is_at(str(path))} for path in place.tried or (place.path,)]
    unreached = {
        "reachable": False,
        "socket": str(place.path),
        "ok": False,
        "checks": [],
        "looked_at": looked,
        "reason": str(error),
    }
    if print_result(app, unreached, rows="checks", columns=_COLUMNS):
        return
    app.out(f"hubd cannot be reached, so nothing was checked. Seen as uid {os.getuid()}:")
    rows = [(each["path"], each["found"]) for each in looked]
    app.out(layout.sentences(("SOCKET", "FOUND"), rows, colour=app.coloured(), width=app.width()))


def _what_is_at(path: str) -> str:
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if path.endswith(".json") and stat.S_ISREG(about.st_mode):
        return f"an endpoint file of uid {about.st_uid}, mode {stat.S_IMODE(about.st_mode):04o}"
    if not stat.S_ISSOCK(about.st_mode):
        return "a file that is not a socket"
    usable = "" if os.access(path, os.R_OK | os.W_OK) else ", which you may not use"
    return f"a socket of uid {about.st_uid}{usable}"
