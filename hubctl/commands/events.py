"""What happened, in order: log, events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubctl import render
from hubctl.app import App, Json, encode
from hubctl.command import command
from hubctl.exits import Detached

if TYPE_CHECKING:
    from hubd.client import Client

PAGE = 500


@command("log", example="hubctl log spring-sale -f")
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
def log(app: App, name: str | None, follow: bool) -> None:
    """The life of a campaign, or of everything, line by line."""
    _print_events(app, name, since=0, follow=follow)


@command("events", example="hubctl events --since 120 --follow --json")
@click.argument("name", required=False)
@click.option(
    "--since", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only those after this one."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
def events(app: App, name: str | None, since: int, follow: bool) -> None:
    """The stream of durable events, for programs: with --json one object a line, each with its `seq`.

    Give the last `seq` you have seen as --since, and nothing is missed or repeated, also over a restart.
    """
    _print_events(app, name, since=since, follow=follow)


def _print_events(app: App, name: str | None, *, since: int, follow: bool) -> None:
    def show(event: Json) -> None:
        if app.as_json:
            app.out(encode({"schema": f"hubctl.{app.name}/1", **event}))
        else:
            app.out(render.event(event))

    async def work(hub: Client) -> None:
        if name is not None:
            await hub.call("campaign.get", name=name)  # an unknown name is an error, not an empty log
        seen = since
        while True:
            page = await hub.call(
                "events.list", after=seen, limit=PAGE, **({"campaign": name} if name else {})
            )
            for event in page["events"]:
                show(event)
                seen = int(event["seq"])
            if page["next"] is None or not page["events"]:
                break
        if follow:
            await _follow(hub, name, seen)

    async def _follow(hub: Client, name: str | None, seen: int) -> None:
        topics = [f"campaign:{name}" if name else "*"]
        after = {"epoch": int(hub.hello["epoch"]), "seq": seen}
        async for event in hub.subscribe(topics, after=after, snapshot=False):
            if event["type"] in {"snapshot", "campaign.progress"} or int(event["seq"]) <= seen:
                continue  # figures are `watch`'s business
            seen = int(event["seq"])
            show({key: value for key, value in event.items() if key != "subscription"})

    try:
        app.talk(work)
    except KeyboardInterrupt:
        raise Detached("detached; the campaigns go on") from None
