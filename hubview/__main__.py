"""`python -m hubview` and the `hubview` script."""

from __future__ import annotations

import os
import signal
import sys
import threading
import webbrowser
from typing import Any

import click

from hubctl.app import report
from hubctl.contexts import choose
from hubctl.exits import Exit, exit_of
from hubctl.streams import prepare_streams
from hubd import __version__
from hubd.client import Place
from hubd.errors import HubError, Unreachable
from hubview.daemon import NOT_RUNNING, Daemon
from hubview.instance import only_instance
from hubview.notify import notify_in_background
from hubview.requests import PageRequests
from hubview.server import serve_page
from hubview.settings import Settings, settings_path
from hubview.window import file_chooser, load_webview, show_window


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--browser", is_flag=True, help="Show the page in your browser instead of a window.")
@click.option("--socket", metavar="PATH", help="The daemon's socket or endpoint file [$HUBCTL_SOCKET].")
@click.option("--context", metavar="NAME", help="A daemon named in hubctl.toml, or `user` or `system`.")
@click.version_option(__version__, prog_name="hubview", message="%(prog)s %(version)s")
@click.argument("campaign", required=False)
def hubview(browser: bool, socket: str | None, context: str | None, campaign: str | None) -> None:
    """Show campaigns, contacts and providers in a window, and run them from there.

    The campaigns run in hubd, the daemon: closing the window stops nothing. If hubd does not run, the window
    offers to start it. With CAMPAIGN, that campaign is shown first.

    Exit codes are those of hubctl: 0 closed, 1 no window can be shown, 2 usage, 3 no such campaign, 4 not
    authorised, 6 daemon not reachable, 8 version mismatch, 130 interrupted.
    """
    try:
        status = _run(choose(socket, context, None), campaign, browser=browser)
    except HubError as error:
        report(error, as_json=False, colour=False)
        status = int(exit_of(error))
    sys.exit(status)


def _run(place: Place, campaign: str | None, *, browser: bool) -> int:
    kept = settings_path(os.environ)
    daemon = Daemon(place, kept.with_name("hubd.log") if kept is not None else None)
    path = f"/campaigns/{campaign}" if campaign is not None else "/"
    try:
        daemon.find(campaign)
    except Unreachable as error:
        if error.code not in NOT_RUNNING or daemon.start_command() is None:
            raise
    settings = Settings(kept)
    requests = PageRequests(daemon, settings)
    if browser:
        notify_in_background(place)
        with serve_page(requests) as server:
            return _show_browser(server.address(path))
    webview = load_webview()
    with only_instance(place, path, os.environ) as first:
        if first is None:
            return int(Exit.DONE)
        notify_in_background(place)
        with serve_page(requests) as server:

            def serve(window: Any) -> None:
                def show(path: str) -> None:
                    window.load_url(f"{server.origin}/#{path}")  # only the fragment: the page stays
                    window.restore()
                    window.show()

                requests.saving.choose = file_chooser(webview, window)
                first.show = show
                first.listen()

            return show_window(webview, server.address(path), settings, serve)


def _show_browser(address: str) -> int:
    """Open the page in the browser and serve it until a signal ends the program."""
    ended = threading.Event()
    status = int(Exit.DONE)

    def end(number: int, _frame: object) -> None:
        nonlocal status
        status = int(Exit.INTERRUPTED) if number == signal.SIGINT else status
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    click.echo(address)
    opened = webbrowser.open(address)
    click.echo(
        "The page is open in your browser. It works until you press Ctrl-C here, which stops no campaign."
        if opened
        else "No browser could be opened: open this address yourself. It works until you press Ctrl-C here.",
        err=True,
    )
    ended.wait()
    return status


def main() -> None:
    """Run the command line of this process."""
    prepare_streams()
    hubview.main(prog_name="hubview")


if __name__ == "__main__":
    main()
