"""The daemon itself: daemon status|reload|shutdown|backup|restore."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import click

from hubctl import layout, own_hubd, render
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App, Json
from hubctl.command import Nouns, command
from hubctl.exits import Refused
from hubd.errors import BadInput
from hubd.wire import methods as m


@click.group("daemon", cls=Nouns)
def daemon() -> None:
    """Manage the daemon: status, reload, shutdown, backup, restore.

    Example: hubctl daemon status
    """


@command("status", within=daemon, example="hubctl daemon status")
def status(app: App) -> None:
    """Show whether hubd is running, since when, and where its state directory is."""
    found = app.call(m.HUB_STATUS)
    if print_result(app, {key: value for key, value in found.items() if key != "campaigns"}):
        return
    app.out(render.daemon(found))
    app.out(layout.facts([("socket", app.answered), ("started", render.moment(found.get("started_at")))]))
    app.out("\n" + render.providers(found.get("providers") or [], colour=app.coloured(), width=app.width()))


@command("reload", within=daemon, example="hubctl daemon reload", changes=True)
def reload(app: App, dry_run: bool) -> None:
    """Reload hubd.toml. An invalid file changes nothing; the error names its line."""
    found = app.call(m.HUB_RELOAD, **dry(dry_run))
    if dry_run:
        keys = found["would"]["keys"]
        sentence = f"would change: {', '.join(keys)}" if keys else "nothing would change"
        show_dry_run(app, {"would": found["would"]}, sentence)
        return
    if print_result(app, found):
        return
    app.out("applied: " + (", ".join(found["applied"]) or "nothing changed"))
    if found.get("needs_restart"):
        app.out(f"needs a restart: {', '.join(found['needs_restart'])}")


@command("shutdown", within=daemon, example="hubctl daemon shutdown --yes", changes=True)
def shutdown(app: App, dry_run: bool) -> None:
    """Shut hubd down. Messages on the wire finish first; running campaigns continue when it starts again."""
    if dry_run:
        would = app.call(m.HUB_SHUTDOWN, dry_run=True)["would"]
        show_dry_run(app, {"would": would}, f"would {_ending(int(would['running']))}")
        return
    if not app.yes:
        running = int(app.call(m.HUB_STATUS)["states"].get("running", 0)) if app.may_ask() else 0
        app.confirm(_ending(running), needed=True)
    found = app.call(m.HUB_SHUTDOWN)
    if not print_result(app, found):
        app.out("hubd is shutting down")


def _ending(running: int) -> str:
    """ "shut hubd down: 2 campaigns are running and continue when it starts again"."""
    goes = "is running and continues" if running == 1 else "are running and continue"
    wait = f": {layout.plural(running, 'campaign')} {goes} when it starts again" if running else ""
    return f"shut hubd down{wait}"


@command("backup", within=daemon, example="hubctl daemon backup /var/backups/hub-monday.db", changes=True)
@click.argument("file", metavar="FILE")
def backup(app: App, file: str, dry_run: bool) -> None:
    """Back up the whole database to FILE while messages are being sent. FILE must not exist yet.

    hubd writes the file, so its user needs write access there. To restore it: hubctl daemon restore.
    """
    path = os.path.abspath(file)
    try:
        found = app.call(m.HUB_BACKUP, path=path, **dry(dry_run))
    except BadInput as error:  # the method says "path", a word that whoever typed FILE never saw
        raise Refused(
            str(error).removeprefix("path: "), code=error.code, hint=error.hint, data=error.data
        ) from None
    if dry_run:
        values = {"path": path, "would": found["would"]}
        show_dry_run(app, values, f"would copy the database to {layout.printable(path)}")
        return
    if not print_result(app, found):
        app.out(
            f"backed up to {layout.printable(found['path'])}: {layout.number(found['size'])} bytes, checked"
        )
    if not os.path.lexists(path):
        app.note("hubd wrote it, but you cannot see it here: hubd may have a private /tmp")


@command("restore", within=daemon, example="hubctl daemon restore /var/backups/hub-monday.db", changes=True)
@click.argument("file", metavar="FILE")
@click.option("--state-dir", metavar="DIR", help="The state directory of hubd [your own].")
def restore(app: App, file: str, state_dir: str | None, dry_run: bool) -> None:
    """Put a backup in the place of the database, while hubd does not run.

    Run it as the user of hubd. The backup is checked before anything is changed, and the old database is kept
    in a folder beside it. Nothing is sent again unasked: when hubd starts, whatever may have been sent since
    the backup is in doubt, and `hubctl status` says what to decide.
    """
    options = ["--restore", os.path.abspath(file), *(["--state-dir", state_dir] if state_dir else [])]
    plan = own_hubd.ask(*options, "--check")
    database = layout.printable(plan["database"])
    of = f" of {at}" if (at := _taken(plan)) else ""
    what = f"replace {database} by the backup{of}" if plan["moved_to"] else f"create {database}"
    if dry_run:
        show_dry_run(app, _restored(plan, changed=False), f"would {what}")
        return
    app.confirm(what, needed=True)
    found = own_hubd.ask(*options)
    if print_result(app, _restored(found, changed=True)):
        return
    app.out(f"restored {database}: {layout.number(found['size'])} bytes, checked")
    if found["moved_to"]:
        app.out(f"the old database is in {layout.printable(found['moved_to'])}; delete it once you are sure")
    app.note("start hubd; then `hubctl status` names the campaigns to decide about (docs/backup.md)")


def _restored(found: Json, *, changed: bool) -> Json:
    """The answer of `daemon restore`."""
    at = found["taken_at"]
    taken_at = None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return {
        "changed": changed,
        "database": found["database"],
        "size": found["size"],
        "taken_at": taken_at and taken_at.replace("+00:00", "Z"),
        "moved_to": found["moved_to"],
    }


def _taken(found: Json) -> str:
    """When the backup was taken, for people; "" when it does not say."""
    return render.moment(_restored(found, changed=False)["taken_at"])
