"""The ways out: provider list|test|enable|disable."""

from __future__ import annotations

import click

from hubctl import layout, render
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit


@click.group("provider", cls=Nouns)
def provider() -> None:
    """The ways out: list, test, enable, disable. They are configured in hubd.toml.

    Example: hubctl provider test office
    """


@command("list", within=provider, example="hubctl provider list")
def list_(app: App) -> None:
    """All providers and how they are."""
    found = app.call("provider.list")
    if app.as_json:
        app.record(found)
    else:
        app.out(render.providers(found["providers"], colour=app.coloured(), width=app.width()))


@command("test", within=provider, example="hubctl provider test office")
@click.argument("name")
def test(app: App, name: str) -> int:
    """Connect and log in, as a campaign would, and send nothing."""
    found = app.call("provider.test", name=name)
    if app.as_json:
        app.record({"name": name, **found})
    else:
        said = " ".join(str(part) for part in (found.get("code"), found.get("text")) if part)
        if found["ok"]:
            app.out(f"{name} works" + (f" ({found['code']})" if found.get("code") else ""))
        else:
            why = " ".join(part for part in (found.get("detail"), said and f"It said: {said}") if part)
            app.out(f"{name} does not work: {layout.one_line(why)}")
    return Exit.DONE if found["ok"] else Exit.FAILED


def _switch(app: App, name: str, method: str) -> None:
    found = app.call(method, name=name)
    if app.as_json:
        app.record({"name": name, **found})
    else:
        state = (found.get("provider") or {}).get("state", "changed")
        app.out(f"{name} is {state}" + ("" if found.get("changed", True) else " already"))


@command("enable", within=provider, example="hubctl provider enable office")
@click.argument("name")
def enable(app: App, name: str) -> None:
    """Let campaigns send through it again."""
    _switch(app, name, "provider.enable")


@command("disable", within=provider, example="hubctl provider disable office")
@click.argument("name")
def disable(app: App, name: str) -> None:
    """Send nothing through it until it is enabled again; its campaigns wait."""
    _switch(app, name, "provider.disable")
