"""A campaign file to begin with: new."""

from __future__ import annotations

from pathlib import Path

import click

from hubctl.answer import print_result, show_dry_run
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Exit, Refused
from hubctl.names import template_names


@command("new", example="hubctl new spring-sale", changes=True)
@click.argument("name")
@click.option("--channel", type=click.Choice(["email", "sms"]), default="email", help="What is sent [email].")
@click.option(
    "--template", metavar="NAME", default="", help="Take its texts from this stored template.",
    shell_complete=template_names,
)  # fmt: skip
def new(app: App, name: str, channel: str, template: str, dry_run: bool) -> None:
    """Write NAME.toml, a campaign file that explains itself.

    NAME can have a folder before it. Needs no running hubd, and never overwrites a file.
    """
    from hubctl.new_file import NAME, TEMPLATE, name_from, new_campaign

    folder, name = Path(name).parent, Path(name).name.removesuffix(".toml")
    if template and not TEMPLATE.fullmatch(template):
        raise Refused(f"{template!r} is not the name of a template, such as welcome or welcome@3")
    if not NAME.fullmatch(name):
        near = name_from(name)
        raise Refused(
            f"{name!r} cannot be a campaign's name: use a-z, 0-9 and . _ -, and begin with a-z or 0-9",
            hint=f"try: hubctl new {near}" if near else "",
        )
    path = folder / f"{name}.toml"
    exists = Refused(
        f"{path} exists already; it was not changed",
        code="exists",
        status=Exit.CONFLICT,
        hint=f"choose another name, or use it: hubctl apply {path}",
    )
    if path.exists() or path.is_symlink():
        raise exists
    answer = {"name": name, "file": str(path), "channel": channel}
    if dry_run:
        show_dry_run(app, answer, f"would write {path}")
        return
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(new_campaign(name, channel, template))
    except FileExistsError:
        raise exists from None
    except OSError as error:
        raise Refused(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
    if not print_result(app, {**answer, "changed": True}):
        app.out(f"written: {path}")
        app.note(f"next: fill in its empty quotes, then: hubctl apply {path}")
