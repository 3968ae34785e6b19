"""Desktop notifications: a campaign has ended or something needs a person, while nobody may be watching."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

import trio

from hubd import __version__
from hubd.client import Place, follow
from hubd.errors import HubError

PROGRAM = "notify-send"
RETRY_SECONDS = 5.0  #: between two tries to follow a daemon that does not answer
_ENDED = ("completed", "failed")
#: Kinds of notifications that the events of campaigns report in more detail.
_OF_CAMPAIGNS = ("completed", "failed", "paused", "in_doubt")


def words_for(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a notification says of this event, as title and text; None for one that is not news."""
    name, data = event["campaign"], event["data"]
    if event["type"] == "notification.added":
        told = data["headline"], "hubview says what to do about it, under Notifications."
        return None if data["kind"] in _OF_CAMPAIGNS else told
    if event["type"] == "delivery.resolved" and data["how"] == "hold":
        return f"{name}: a message is in doubt", "Nobody knows whether it arrived. Decide in hubview."
    if event["type"] != "campaign.state":
        return None
    to, reason = data["to"], data.get("reason") or ""
    if to in _ENDED:
        return (
            f"{name} {'is ' if to == 'completed' else 'has '}{to}",
            reason or "Every recipient has a final result.",
        )
    if to == "paused" and reason:
        return f"{name} is paused", reason
    return None


def can_notify() -> bool:
    """Whether the desktop has `notify-send`."""
    return shutil.which(PROGRAM) is not None


def notify_in_background(place: Place) -> None:
    """Notify until the program ends; where the desktop has no `notify-send`, nothing is done."""
    program = shutil.which(PROGRAM)
    if program is not None:
        threading.Thread(target=trio.run, args=(_notify, place, program), daemon=True).start()


async def _notify(place: Place, program: str) -> None:
    doubted: set[str] = set()  # campaigns whose first doubt was reported: thousands are one piece of news
    while True:
        try:
            async with follow(
                ["campaigns", "daemon"], socket=place, client=("hubview", __version__)
            ) as events:
                async for event in events:
                    if event["type"] == "snapshot" or (told := words_for(event)) is None:
                        continue
                    if event["type"] == "delivery.resolved":
                        if event["campaign"] in doubted:
                            continue
                        doubted.add(event["campaign"])
                    else:
                        doubted.discard(event["campaign"])
                    await trio.to_thread.run_sync(_show, program, *told)
        except HubError:
            await trio.sleep(RETRY_SECONDS)  # the page says what is wrong with the connection


def _show(program: str, title: str, text: str) -> None:
    subprocess.run(  # noqa: S603 - a program of the desktop, words of ours behind the end of options
        [program, "--app-name=MessageHub", "--icon=hubview", "--", title, text],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=10,
    )
