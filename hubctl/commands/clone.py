"""A campaign copied into a new draft, with some of its keys changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App, Json
from hubctl.command import command
from hubctl.exits import Refused
from hubctl.names import campaign_names
from hubd.errors import BadInput
from hubd.toml_text import TomlFault, read_toml
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubctl.campaign_file import CampaignFile, Enclosure
    from hubd.client import Client
    from hubd.wire import campaign_results as r

_LISTS = ("lists", "labels", "attachments", "inline")  #: keys whose single value may stand without brackets


@command("clone", example="hubctl clone spring-sale summer-sale --set subject='Summer is here'", changes=True)
@click.argument("name", shell_complete=campaign_names)
@click.argument("new", metavar="NEW")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another value for a key, such as schedule.at; an empty one removes the key (repeatable).",
)
@click.option(
    "--toml",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with only the keys of a campaign file to change.",
)
def clone(app: App, name: str, new: str, pairs: tuple[str, ...], path: Path | None, dry_run: bool) -> None:
    """Create a draft NEW with the content, the lists and the current settings of NAME.

    --set and --toml change keys of the copy. A file that --set names is read from the current directory, one
    that FILE names from beside it.
    """
    from hubctl.campaign_file import read_campaign, zone_for

    file = None if path is None else read_campaign(path)
    given, enclosures = _given(pairs)
    changes = _merged({} if file is None else file.spec, given)
    asked = {"changes": changes, **zone_for(changes)} if changes else {}

    async def work(hub: Client) -> r.ChangeResult:
        from hubctl.commands.campaign import upload

        for enclosure in () if dry_run else (*(file.enclosures if file else ()), *enclosures):
            await upload(hub, enclosure)
        return await hub.call(m.CAMPAIGN_CLONE, name=name, new=new, **asked, **dry(dry_run))

    try:
        found = app.talk(work)
    except BadInput as error:
        raise _told(error, file, given) from error
    if dry_run:
        copied = f"would copy {name} into the draft {new}"
        sentence = copied if found["would"]["change"] else f"{new} is already this copy of {name}"
        show_dry_run(app, {"name": name, "new": new, **found}, sentence)
        return
    if print_result(app, {"name": name, "new": new, **found}, of="campaign"):
        return
    what = f"the content of {name}, changed" if changes else f"the content of {name}"
    app.out(f"{new} is a draft with {what}" + ("" if found["changed"] else " already"))
    app.note(f"next: hubctl check {new}")


def _given(pairs: Sequence[str]) -> tuple[Json, Sequence[Enclosure]]:
    """The keys of `--set` as a table, and the files that they name."""
    from hubctl.campaign_file import read_in

    table: Json = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not all(key.split(".")):
            raise click.UsageError(f"--set: {pair!r} is not KEY=VALUE")
        *path, last = key.split(".", 1)
        inside = table.setdefault(path[0], {}) if path else table
        if not isinstance(inside, dict):
            raise click.UsageError(f"--set: {path[0]} is both a value and a table")
        inside[last] = _value(key, value)
    faults: list[tuple[str, str]] = []
    plain, enclosures, _ = read_in(table, Path(), faults)
    if faults:
        raise Refused("; ".join(f"--set {key}: {problem}" for key, problem in faults))
    return plain, enclosures


def _value(key: str, text: str) -> Any:
    """A list or a table as TOML has it; everything else is text as it stands."""
    if text[:1] in ("[", "{"):
        try:
            return read_toml(f"value = {text}")["value"]
        except TomlFault:
            if key in _LISTS:
                raise click.UsageError(f'--set: {key} is a list such as ["one", "two"]') from None
    return ([text] if text else []) if key in _LISTS else text


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _told(error: BadInput, file: CampaignFile | None, given: Json) -> BaseException:
    """The error at the line of FILE, for a key that stands there."""
    from hubctl.campaign_file import line_of, located

    listed = error.data.get("errors")
    if file is None or not isinstance(listed, list):
        return error
    faults = [(str(each["path"]), str(each["problem"])) for each in listed]
    inside = [(key, problem) for key, problem in faults if line_of(file.source, key.partition(" ")[0])]
    inside = [(key, problem) for key, problem in inside if key.partition(".")[0] not in given]
    return located(file.path, file.source, inside, hint=error.hint, texts=file.texts) if inside else error
