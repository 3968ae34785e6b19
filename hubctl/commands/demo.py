"""`hubctl demo`: a real daemon in a directory of its own, two real campaigns, and what became of them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubctl import layout, render, render_messages
from hubctl.answer import print_result
from hubctl.app import App, Json, version
from hubctl.command import command
from hubctl.exits import Detached, Exit, Refused
from hubctl.installed import find_program
from hubctl.output import for_people
from hubd.errors import HubError, Unreachable
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubctl.import_report import Report
    from hubd.client import Client
    from hubd.wire import campaign_results as r

BOOT_SECONDS = 30.0
END_SECONDS = 60.0
SHOW_SECONDS = 4  #: how long a small demo is stretched to, so that there is something to see
SHOWN_ROWS = 4
_SOCKET_PATH_LIMIT = 103  #: bytes of a unix socket's path that every system takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The demo's directory and what is in it."""

    folder: Path

    @property
    def state(self) -> Path:
        """The daemon's state: its database, its outbox, its socket."""
        return self.folder / "state"

    @property
    def socket(self) -> Path:
        """The daemon's control socket."""
        return self.state / "control.sock"


@command("demo", example="hubctl demo --recipients 1000")
@click.option(
    "--recipients",
    type=click.IntRange(5, 1_000_000),
    default=200,
    metavar="N",
    help="Number of recipients [200].",
)
@click.option(
    "--smtp", metavar="HOST:PORT", help="Send the email through this server (without TLS or login)."
)
@click.option("--clean", is_flag=True, help="Delete the directory at the end.")
def demo(app: App, recipients: int, smtp: str | None, clean: bool) -> int:
    """Try everything on this machine, without any setup.

    Starts a real hubd in a temporary directory, imports sample contacts from a CSV file, sends an email and
    an SMS campaign at the same time to the outbox (which writes each message to a file), and shows who got
    what. The people are invented, and nothing leaves this machine unless you name a server with --smtp.
    """
    server = read_server(smtp) if smtp else None
    place = Place(folder=Path(tempfile.mkdtemp(prefix="messagehub-demo-")))
    if len(os.fsencode(place.socket)) > _SOCKET_PATH_LIMIT:
        shutil.rmtree(place.folder)
        raise Refused(
            f"the temporary directory's path is too long for a socket: {place.folder.parent}",
            hint="set TMPDIR to a shorter one, such as /tmp",
        )
    app.socket = str(place.socket)
    try:
        with _signals_end_it():
            return _play(app, place, recipients, server)
    except _NotBegun as error:
        clean = True
        raise error.why from None
    except HubError:
        if not clean:
            app.note(f"the demo's files are in {place.folder}")
        raise
    except (KeyboardInterrupt, Detached):
        kept = "" if clean else f", its files are in {place.folder}"
        raise Detached(f"interrupted; the demo's hubd has ended{kept}") from None
    finally:
        if clean:
            shutil.rmtree(place.folder, ignore_errors=True)
            app.note(f"{place.folder} is removed")


def read_server(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[v6]:PORT` as a pair; a usage error for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.UsageError(f"--smtp: {text!r} is not HOST:PORT, such as localhost:1025")
    host = host.removeprefix("[").removesuffix("]")
    if not host.isprintable() or any(char in host for char in ' "\\'):
        raise click.UsageError(f"--smtp: {host!r} is not a host name")
    return host, int(port)


def _play(app: App, place: Place, recipients: int, server: tuple[str, int] | None) -> int:
    from hubctl.samples import campaigns

    say = _Narrator(app)
    say.title(server)
    names = [campaigns.WELCOME, campaigns.REMINDER]
    _write_files(place, recipients, server)
    with _daemon(app, place):
        if server:
            app.talk(lambda hub: _check_server(hub, smtp_name(server)))
        say.step(f"started a separate daemon in {place.folder}")
        report = app.talk(lambda hub: _prepare(hub, place))
        result = report.as_json()
        say.step(
            f"contacts.csv became the list {campaigns.LIST!r}: "
            f"{layout.number(int(result['imported']))} imported, "
            f"{layout.plural(int(result['duplicates']), 'duplicate')}, "
            f"{layout.plural(int(result['invalid']), 'row')} refused"
        )
        say.details(report.error_lines("contacts.csv", limit=3))
        say.step("welcome.toml (email) and reminder.toml (SMS) were applied, and both campaigns started")
        say.gap()
        views = _follow(app, names)
        say.gap()
        found = app.talk(lambda hub: _collect(hub, names))
        answer = {"directory": str(place.folder), "import": result, "campaigns": views, **found}
        if not print_result(app, answer, rows="campaigns", columns=render.CAMPAIGN_COLUMNS):
            _tell(app, say, place, views, found)
    return Exit.DONE if all(view["state"] == "completed" for view in views) else Exit.FAILED


class _NotBegun(Exception):
    """The demo could not begin, so there is nothing in its directory to look at; `why` tells why."""

    def __init__(self, why: Refused) -> None:
        super().__init__(str(why))
        self.why = why


class _Narrator:
    """The story on stdout; silent with --json."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._colour = app.coloured()

    def title(self, server: tuple[str, int] | None) -> None:
        where = f"email goes to {smtp_name(server)}" if server else "nothing leaves it"
        self._out(self._paint("MessageHub demo", "1") + f": a real daemon on this machine; {where}\n")

    def step(self, text: str) -> None:
        self._out(f"  {self._paint('✓', '32')} {text}")

    def details(self, lines: list[str]) -> None:
        for line in lines:
            self._out(self._paint(f"      {layout.printable(line)}", "2"))

    def heading(self, text: str) -> None:
        self._out("\n" + self._paint(text, "1"))

    def block(self, text: str, indent: str = "  ") -> None:
        self._out("\n".join(f"{indent}{line}".rstrip() for line in text.split("\n")))

    def gap(self) -> None:
        self._out("")

    def _out(self, text: str) -> None:
        if for_people(self._app):
            self._app.out(text)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


# --- the files and the daemon ------------------------------------------------------------------------------


def _write_files(place: Place, recipients: int, server: tuple[str, int] | None) -> None:
    from hubctl.samples import campaigns, people

    with (place.folder / "contacts.csv").open("w", encoding="utf-8", newline="") as stream:
        people.write(stream, recipients)
    rate = -(-recipients // SHOW_SECONDS) if recipients <= 2_000 else None
    config = (
        campaigns.SMTP_CONFIG.format(host=server[0], port=server[1]) if server else campaigns.OUTBOX_CONFIG
    )
    files = {
        "hubd.toml": config,
        "welcome.toml": campaigns.welcome("mail" if server else "outbox", rate),
        "welcome.txt": campaigns.WELCOME_TEXT,
        "welcome.html": campaigns.WELCOME_HTML,
        "reminder.toml": campaigns.reminder(-(-rate // 2) if rate else None),
    }
    for name, text in files.items():
        (place.folder / name).write_text(text, encoding="utf-8")


@contextmanager
def _daemon(app: App, place: Place) -> Iterator[None]:
    """A hubd of our own, up when the block begins and gone when it has ended."""
    command_line = [sys.executable, "-m", "hubd", "--config", str(place.folder / "hubd.toml")]
    with (place.folder / "hubd.log").open("wb") as log:
        # A session of its own: Ctrl-C reaches only us, and we shut it down in order.
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [*command_line, "--state-dir", str(place.state)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        app.run(lambda: _booted(place, process))
        yield
    except HubError as error:
        if process.poll() is None:
            raise
        raise _ended(place) from error
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _booted(place: Place, process: subprocess.Popen[bytes]) -> None:
    """Wait until the daemon answers. Raises Refused when it does not."""
    import trio

    from hubd.client import open_client

    with trio.move_on_after(BOOT_SECONDS):
        while process.poll() is None:
            try:
                async with open_client(place.socket, client=("hubctl", version())):
                    return
            except Unreachable:
                await trio.sleep(0.05)  # not there yet; there is nothing to wait on
    raise _NotBegun(_ended(place, kept=False))


def _ended(place: Place, *, kept: bool = True) -> Refused:
    log = (place.folder / "hubd.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return Refused(
        "the demo's hubd has ended" if kept else "the demo's hubd did not start",
        code="demo_failed",
        details=log[-5:] if kept else log[-20:],
        hint=f"its log: {place.folder / 'hubd.log'}" if kept else "",
    )


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """A closed terminal or a SIGTERM ends the demo as Ctrl-C does, with its daemon."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    caught = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = [signal.signal(each, interrupt) for each in caught]
    try:
        yield
    finally:
        for each, handler in zip(caught, before, strict=True):
            signal.signal(each, handler)


# --- what it does and shows --------------------------------------------------------------------------------


def smtp_name(server: tuple[str, int]) -> str:
    """The server as people write it."""
    return f"{server[0]}:{server[1]}"


async def _check_server(hub: Client, server: str) -> None:
    """Raises Refused when the server named with --smtp does not answer: a campaign would wait for it."""
    answer = await hub.call(m.PROVIDER_TEST, name="mail")
    if not answer["ok"]:
        why = Refused(
            f"the mail server {server} does not accept email: {answer['detail']} {answer['text']}",
            code="provider_unavailable",
            hint="leave out --smtp to send to the outbox, or start a test server such as smtp-sink",
        )
        raise _NotBegun(why)


async def _prepare(hub: Client, place: Place) -> Report:
    """Import, apply, start: the same calls that the commands make."""
    from hubctl.campaign_file import read_campaign
    from hubctl.commands.campaign import apply_file
    from hubctl.csv_file import survey
    from hubctl.import_report import Report
    from hubctl.importing import import_file
    from hubctl.samples import campaigns

    with (place.folder / "contacts.csv").open("rb") as binary:
        found = survey(binary, "contacts.csv")
        report = Report()
        await import_file(hub, binary, "contacts.csv", found, report, into=campaigns.LIST)
    for file in ("welcome.toml", "reminder.toml"):
        await apply_file(hub, read_campaign(place.folder / file))
    for name in (campaigns.WELCOME, campaigns.REMINDER):
        await hub.call(m.CAMPAIGN_START, name=name)
    return report


def _follow(app: App, names: list[str]) -> list[r.CampaignView]:
    """Live progress until both campaigns are finished or need a person."""
    from hubctl.follow import watch_until
    from hubd.wire.words import FINISHED

    at_rest = FINISHED | {"paused"}
    board = watch_until(
        app,
        names,
        lambda board: (
            len(board.views) == len(names) and all(v["state"] in at_rest for v in board.views.values())
        ),
        stream=sys.stderr,
        shown=not app.quiet and for_people(app),
        steered=False,
        reconnect_seconds=1.0,
    )
    return [board.views[name] for name in names]


async def _collect(hub: Client, names: list[str]) -> Json:
    """The first deliveries of each campaign, and one message with its content."""
    found: dict[str, Any] = {"deliveries": {}, "message": None}
    for name in names:
        page = await hub.call(m.DELIVERY_LIST, campaign=name, state="sent", limit=SHOWN_ROWS)
        found["deliveries"][name] = page["deliveries"]
    first = found["deliveries"][names[0]]
    if first:
        found["message"] = await hub.call(m.DELIVERY_GET, id=first[0]["id"])
    return found


def _tell(app: App, say: _Narrator, place: Place, views: list[r.CampaignView], found: Json) -> None:
    colour, width = app.coloured(), app.width() - 2
    say.block(render.campaigns(views, colour=colour, width=width))
    if skipped := sum(int(view["counts"]["skipped"]) for view in views):
        have = "contact has" if skipped == 1 else "contacts have"
        say.block(f"(skipped: {layout.number(skipped)} {have} no phone number for an SMS)")
    say.heading("Who got it")
    say.block(
        render_messages.deliveries(
            [row for rows in found["deliveries"].values() for row in rows], colour=colour, width=width
        )
    )
    life = found["message"]
    if life and life.get("content"):
        say.heading(f"One message, as {life['delivery']['recipient']} received it")
        say.block(render_messages.body(life["content"], colour=colour, html_hint=False), "  │ ")
        if path := _file_of(place, life["delivery"]):
            say.block(f"the file: {path}")
    say.heading("Your own list in six commands")
    say.block(_next_steps())
    say.gap()
    say.block(f"all files: {place.folder} (its hubd has ended)", "")


def _file_of(place: Place, delivery: Json) -> Path | None:
    """Where the outbox wrote a message; None when it went elsewhere."""
    path = place.state / "outbox" / str(delivery["campaign"]) / f"{delivery['id']}.eml"
    return path if path.exists() else None


def _next_steps() -> str:
    ours = _program("hubctl")
    steps = [
        (f"{_program('hubd')} &", "the daemon; it keeps running when hubctl ends"),
        (f"{ours} import people.csv --list people", "your contacts"),
        (f"{ours} new news", "your campaign: a file to fill in"),
        (f"{ours} apply news.toml", "what it says now"),
        (f"{ours} check news", "who would get it, and what is missing"),
        (f"{ours} start news --follow", "go"),
    ]
    wide = max(len(line) for line, _ in steps)
    return "\n".join(f"{line:<{wide}}  # {why}" for line, why in steps)


def _program(name: str) -> str:
    """How to call one of our programs in a shell: by name when it is on the path, else by its own path."""
    if shutil.which(name):
        return name
    found = find_program(name)
    return shlex.quote(str(found)) if found else f"{shlex.quote(sys.executable)} -m {name}"
