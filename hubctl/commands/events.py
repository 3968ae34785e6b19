"""What happened, in order: log, events."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from hubctl import render_events
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Detached
from hubctl.listing import Stream
from hubctl.names import campaign_names
from hubctl.output import for_people
from hubctl.staying import stay
from hubd.errors import ResumeGap
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client

PAGE = 500
COLUMNS = ("epoch", "seq", "ts", "type", "campaign", "data")


@command("log", example="hubctl log spring-sale -f")
@click.argument("name", shell_complete=campaign_names, required=False)
@click.option("-f", "--follow", is_flag=True, help="Keep following new events.")
def log(app: App, name: str | None, follow: bool) -> None:
    """Show what happened to a campaign, or to all of them, line by line.

    With --follow, hubctl waits for a daemon that restarts; nothing is missed or repeated.
    """
    _print_events(app, name, since=0, follow=follow)


@command("events", example="hubctl events --since 120 --follow --json")
@click.argument("name", shell_complete=campaign_names, required=False)
@click.option(
    "--since", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only events after this one."
)
@click.option("-f", "--follow", is_flag=True, help="Keep following new events.")
def events(app: App, name: str | None, since: int, follow: bool) -> None:
    """Print the durable events, for programs: with --json, one object per line, each with its `seq`.

    Pass the last `seq` you have seen as --since, and nothing is missed or repeated. With --follow, hubctl
    waits for a daemon that restarts. A line of the type `gap` stands for events that have been pruned.
    """
    _print_events(app, name, since=since, follow=follow)


def _print_events(app: App, name: str | None, *, since: int, follow: bool) -> None:
    tail = _Tail(app, name, since, follow=follow)
    try:
        if follow:
            app.run(partial(stay, app, tail.read))
        else:
            app.talk(tail.read)
            tail.stream.end()
    except KeyboardInterrupt:
        raise Detached("detached; the campaigns continue") from None


class _Tail:
    """Events after a cursor, across restarts of the daemon. What is missing is reported, not passed over."""

    def __init__(self, app: App, name: str | None, since: int, *, follow: bool) -> None:
        self._app = app
        self.stream = Stream(app, COLUMNS, render_events.event)
        self._name = name
        self._seen = since
        self._epoch = 0  #: the boot that sent the last event; 0 before the first page
        self._follow = follow

    async def read(self, hub: Client) -> bool:
        """One connection's worth. True when there is no more to come."""
        if not self._epoch:
            if self._name is not None:
                await hub.call(m.CAMPAIGN_GET, name=self._name)  # an unknown name is not an empty log
            await self._history(hub)
        if not self._follow:
            return True
        while True:
            self._epoch = self._epoch or int(hub.hello["epoch"])
            try:
                await self._live(hub)
            except ResumeGap as gap:
                if gap.code != "resume_gap":
                    raise
                self._gap(int(gap.data["oldest_seq"]), int(gap.data["head_seq"]))  # type: ignore[call-overload]  # the daemon's numbers
                self._epoch = int(hub.hello["epoch"])
            else:
                return False

    async def _history(self, hub: Client) -> None:
        """What happened until now, page by page."""
        wanted = {"campaign": self._name} if self._name else {}
        while True:
            page = await hub.call(m.EVENTS_LIST, after=self._seen, limit=PAGE, **wanted)
            if 0 < self._seen < page["oldest"] - 1:
                self._gap(int(page["oldest"]), self._seen)
            for event in page["events"]:
                self._show(event)
            if page["next"] is None or not page["events"]:
                break
        self._epoch = int(hub.hello["epoch"])

    async def _live(self, hub: Client) -> None:
        """What happens from now on, until the connection ends."""
        topics = [f"campaign:{self._name}" if self._name else "*"]
        after = {"epoch": self._epoch, "seq": self._seen}
        async for event in hub.subscribe(topics, after=after, snapshot=False, gauge_hz=0):
            if event["type"] not in {"snapshot", "campaign.progress"} and int(event["seq"]) > self._seen:
                self._show({key: value for key, value in event.items() if key != "subscription"})
                self._epoch = int(event["epoch"])

    def _show(self, event: Mapping[str, Any]) -> None:
        self._seen = int(event["seq"])
        self.stream.show(event)

    def _gap(self, oldest: int, head: int) -> None:
        """Say which events are missing, and continue after them."""
        if self._seen + 1 < oldest:
            words = f"the events {self._seen + 1} to {oldest - 1} have been pruned"
            go_on = oldest - 1
        else:  # nothing was pruned: the numbers are those of another copy of the database
            words = f"the daemon's database is an older copy; its events continue after {head}"
            go_on = head
        self._app.complain(words)
        if not for_people(self._app):
            self.stream.show({"type": "gap", "after": self._seen, "next": go_on + 1})
        self._seen = go_on
