"""The configuration that hubd uses: config show|reference."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from hubctl import layout, own_hubd
from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import Nouns, command
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.wire import hub_results as r


@click.group("config", cls=Nouns)
def config() -> None:
    """Show the configuration that hubd uses, and every key that it knows.

    Example: hubctl config show --show-source
    """


@command("show", within=config, example="hubctl config show --show-source")
@click.option("--show-source", is_flag=True, help="Also show where each value comes from.")
def show(app: App, show_source: bool) -> None:
    """Show every key in effect. A password is shown as the place where it is stored, never as its value.

    The output is safe to share, except for the names and addresses of accounts.
    """
    found = app.call(m.CONFIG_SHOW)
    if print_result(app, found, rows="settings", columns=("key", "value", "source", "file", "line")):
        return
    main = str(found["file"] or "")
    rows = [
        (each["key"], *([_source(each, main)] if show_source else []), _toml(each["value"]))
        for each in found["settings"]
    ]
    headers = ("KEY", "SOURCE", "VALUE") if show_source else ("KEY", "VALUE")
    app.out(layout.sentences(headers, rows, colour=app.coloured(), width=app.width()))
    if not found["files"]:
        app.note("no file was read" + (f"; hubd would read {layout.printable(main)}" if main else ""))
    for path in found["files"] if show_source else []:
        app.note(f"read: {layout.printable(path)}")
    if found["needs_restart"]:
        app.note(f"takes effect after a restart of hubd: {', '.join(found['needs_restart'])}")


@command("reference", within=config, example="hubctl config reference")
def reference(app: App) -> None:
    """Show every key of hubd.toml with its type, its default and what it does. Needs no running hubd."""
    found = own_hubd.ask("--keys")
    if print_result(app, found, rows="keys", columns=("section", "key", "type", "default", "about")):
        return
    width, colour = app.width(), app.coloured()
    places = [(f'{{ {each["place"]} = "NAME" }}', each["about"]) for each in found["secrets"]]
    blocks = ["Where a secret is:\n" + layout.facts(places, width=width)]
    for section in dict.fromkeys(each["section"] for each in found["keys"]):
        lines = [layout.paint(section, "1" if colour else "")]
        for each in found["keys"]:
            if each["section"] == section:
                default = f", default {each['default']}" if each["default"] else ""
                lines.append(
                    layout.wrapped(f"  {each['key']}: {each['type']}{default}", width, hanging="    ")
                )
                lines.append(layout.wrapped(f"      {each['about']}", width, hanging="      "))
        blocks.append("\n".join(lines))
    app.out("\n\n".join(blocks))


def _toml(value: object) -> str:
    """A value as hubd.toml has it; JSON's strings, numbers and lists are TOML, too."""
    if isinstance(value, Mapping):
        pairs = (f"{_key(str(key))} = {_toml(each)}" for key, each in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name, ensure_ascii=False)


def _source(entry: r.ConfigEntry, main: str) -> str:
    """Where a value comes from; a file by its name beside the `main` one."""
    if entry["file"] is None:
        return str(entry["source"])
    name = str(entry["file"]).removeprefix(os.path.join(os.path.dirname(main), ""))
    place = f"{name}:{entry['line']}" if entry["line"] else name
    return place if entry["source"] == "file" else f"{entry['source']}, {place}"
