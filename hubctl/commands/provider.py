"""The accounts you send with: provider list|test|enable|disable|add|remove."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubctl import layout, render
from hubctl.answer import print_result, show_dry_run
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit, Refused
from hubctl.names import provider_names
from hubctl.output import for_people
from hubctl.provider_addition import (
    CALLED,
    SUFFIXES,
    Addition,
    another_file,
    provider_names_of,
    take_over,
    tested,
)
from hubd.errors import HubError, NotFound
from hubd.providers.registry import BUILT_IN, KINDS
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubctl.provider_file import ConfigFile
    from hubd.client import Client
    from hubd.wire import provider_results as r
    from hubd.wire.campaign_results import CampaignView
    from hubd.wire.hub_results import ConfigResult


#: Where a secret can be, as hubd.toml says it.
_PLACES = ("file", "credential", "keyring", "env")


@click.group("provider", cls=Nouns)
def provider() -> None:
    """Manage the accounts you send with: list, test, enable, disable, add, remove.

    Example: hubctl provider test office
    """


@command("list", within=provider, example="hubctl provider list")
def list_(app: App) -> None:
    """List all providers and their states."""
    found = app.call(m.PROVIDER_LIST)
    if not print_result(app, found, rows="providers", columns=render.PROVIDER_COLUMNS):
        app.out(render.providers(found["providers"], colour=app.coloured(), width=app.width()))


@command("test", within=provider, example="hubctl provider test office")
@click.argument("name", shell_complete=provider_names)
def test(app: App, name: str) -> int:
    """Connect and log in as a campaign would, but send nothing."""
    found = app.call(m.PROVIDER_TEST, name=name)
    if not print_result(app, {"name": name, **found}):
        app.out(tested(name, found))
    return Exit.DONE if found["ok"] else Exit.FAILED


def _switch(app: App, name: str, *, on: bool, dry_run: bool) -> None:
    method = m.PROVIDER_ENABLE if on else m.PROVIDER_DISABLE
    if dry_run:
        found = app.call(method, name=name, dry_run=True)
        _show_switch_plan(app, name, found, on=on)
        return

    async def work(hub: Client) -> tuple[r.ProviderResult, list[str]]:
        pausing = [] if on else (await hub.call(method, name=name, dry_run=True))["would"]["campaigns"]
        done = await hub.call(method, name=name)
        views = (await hub.call(m.CAMPAIGN_LIST))["campaigns"]
        held = [each["name"] for each in views if each["provider"] == name and _is_held(each)]
        return done, [*pausing, *(each for each in held if each not in pausing)]

    found, held = app.talk(work)
    if print_result(app, {"name": name, **found, "held": held}, of="provider"):
        return
    state = found["provider"]["state"].replace("_", " ")
    app.out(f"{name} is {state}" + ("" if found.get("changed", True) else " already"))
    for each in held:
        if on:
            app.out(f"{each} is still paused: hubctl resume {each}")
        else:
            app.out(f"{each} pauses; when {name} is enabled again: hubctl resume {each}")


def _show_switch_plan(app: App, name: str, found: r.ProviderResult, *, on: bool) -> None:
    would = found["would"]
    verb, state = ("enable", "enabled") if on else ("disable", "disabled")
    wait = f"; {_used_by(would['campaigns'], 'would pause')}" if would["campaigns"] and not on else ""
    sentence = f"would {verb} {name}{wait}" if would["change"] else f"{name} is {state} already"
    show_dry_run(app, {"name": name, "provider": found["provider"], "would": would}, sentence)


def _used_by(users: list[str], what: str) -> str:
    """ "3 campaigns would pause (spring, summer, autumn)"."""
    shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
    return f"{layout.plural(len(users), 'campaign')} {what} ({shown})"


def _is_held(view: CampaignView) -> bool:
    """Whether the provider is why a campaign waits, and not a person or the campaign's own limit."""
    return view["state"] == "paused" and str(view["reason"]).startswith(
        f"the provider {view['provider']} is "
    )


@command("enable", within=provider, example="hubctl provider enable office", changes=True)
@click.argument("name", shell_complete=provider_names)
def enable(app: App, name: str, dry_run: bool) -> None:
    """Let campaigns send through it again. Resume those it paused with `hubctl resume`."""
    _switch(app, name, on=True, dry_run=dry_run)


@command("disable", within=provider, example="hubctl provider disable office", changes=True)
@click.argument("name", shell_complete=provider_names)
def disable(app: App, name: str, dry_run: bool) -> None:
    """Send nothing through it until it is enabled again.

    Its campaigns continue through their next provider, or pause if they have none.
    """
    _switch(app, name, on=False, dry_run=dry_run)


def _options_of_kinds(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that single kinds of providers declare."""
    from hubctl.provider_questions import all_options

    for option in reversed(all_options()):
        kind: click.Choice[str] | click.IntRange | None = None
        if option.choices:
            kind = click.Choice(list(option.choices))
        elif option.between:
            kind = click.IntRange(*option.between)
        declare = click.option(
            option.flag, option.name, type=kind, metavar=option.metavar or None, help=option.help
        )
        function = declare(function)
    return function


@command("add", within=provider, example="hubctl provider add", changes=True)
@click.argument("name", required=False)
@click.option("--type", type=click.Choice(list(KINDS)), help="The type of account.")
@_options_of_kinds
@click.option(
    "--rate", multiple=True, metavar="RATE", help="A rate limit such as 30/minute or 500/day (repeatable)."
)
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password or token from standard input; with --auth xoauth2 the refresh token, and on a "
    "second line the application's secret, if it has one.",
)
@click.option(
    "--secret-in",
    type=click.Choice(["keyring", "file"]),
    help="Where to store the password [keyring if there is one].",
)
@click.option(
    "--test/--no-test", "prove", default=None, help="Test the login afterwards (asked if not given)."
)
def add(app: App, name: str | None, secret_in: Any, prove: bool | None, dry_run: bool, **options: Any) -> int:
    """Add a provider to your own hubd.toml; hubd uses it right away.

    hubctl asks for everything you do not pass as an option. The password goes into the desktop's keyring or
    into a file that only you can read, never into hubd.toml and never on the command line.
    """
    from hubctl import provider_questions

    config, file = _own_file(app)
    taken = {*provider_names_of(config), *file.providers}
    wanted = provider_questions.ask(app, provider_questions.Given({"name": name, **options}), taken)
    added = Addition(app, file, wanted)
    if dry_run:
        added.show_plan()
        return Exit.DONE
    applied = added.make(secret_in)
    if for_people(app):
        app.out(f"{wanted.name} added to {layout.printable(str(file.path))}")
        for key, kept in added.kept.items():
            app.note(f"The {CALLED.get(key, 'password')} is stored {kept.where}.")
    found: r.ProbeResult | None = None
    if prove or (
        prove is None and app.may_ask() and provider_questions.yes(app, "Test the login now? Nothing is sent")
    ):
        found = added.prove()
    reference = next((kept.reference for kept in added.kept.values()), None)
    answer = {"name": wanted.name, "changed": True, "file": str(file.path), "secret": reference}
    if print_result(app, {**answer, "applied": applied, "test": found}):
        return Exit.DONE if found is None or found["ok"] else Exit.FAILED
    if found is not None and not found["ok"]:
        from hubctl.provider_remedies import advice

        for line in advice(wanted.name, added.wanted.settings, str(found.get("detail"))):
            app.note(line)
        return Exit.FAILED
    if found is None:
        app.note(f"To test the login without sending anything: hubctl provider test {wanted.name}")
    app.note(f'Campaigns use it with: provider = "{wanted.name}"')
    return Exit.DONE


@command("set", within=provider, example="hubctl provider set office --rate 20/minute", changes=True)
@click.argument("name", shell_complete=provider_names)
@_options_of_kinds
@click.option(
    "--rate",
    multiple=True,
    metavar="RATE",
    help="A rate limit such as 30/minute (repeatable); replaces all others; an empty one removes them.",
)
@click.option("--password-stdin", is_flag=True, help="Read another password or token from standard input.")
@click.option("--secret-in", type=click.Choice(["keyring", "file"]), help="Where to store the password.")
def set_(app: App, name: str, secret_in: Any, dry_run: bool, **options: Any) -> None:
    """Change a provider in your own hubd.toml; hubd uses it right away.

    Only what you pass changes; an empty text removes a key. If hubd refuses the new values, the file is as it
    was. The new password is stored as `provider add` stores one, and the old one is forgotten.
    """
    from hubctl import provider_change
    from hubctl.provider_questions import Given

    config, file = _own_file(app)
    section = file.providers.get(name)
    if section is None:
        raise _not_in_the_file(config, file, name)
    change = provider_change.read_change(name, section, Given(options))
    if dry_run:
        provider_change.show_plan(app, file, change)
        return
    applied, kept = provider_change.carry_out(app, file, change, secret_in)
    replaced = {key: each for key, each in _references(section).items() if key in kept}
    _forget(app, file, name, replaced)
    answer = {"name": name, "changed": True, "file": str(file.path), "applied": applied}
    if not print_result(app, answer):
        app.out(f"{name} changed in {layout.printable(str(file.path))}")


@command("remove", within=provider, example="hubctl provider remove office", changes=True)
@click.argument("name", shell_complete=provider_names)
def remove(app: App, name: str, dry_run: bool) -> None:
    """Remove a provider from your own hubd.toml, and the password that `add` stored for it.

    Campaigns that use it pause.
    """
    from hubctl.provider_file import without_provider

    config, file = _own_file(app)
    section = file.providers.get(name)
    if name == BUILT_IN:
        raise Refused(
            f"the provider {name} is built in and cannot be removed", code="conflict", status=Exit.CONFLICT
        )
    if section is None:
        raise _not_in_the_file(config, file, name)
    text = without_provider(file.text, name)
    if dry_run:
        show_dry_run(app, {"name": name, "file": str(file.path)}, f"would {_removal(app, name)}")
        return
    app.confirm(_removal(app, name), needed=True)
    applied, _ = take_over(app, file, text)
    forgotten = _forget(app, file, name, section)
    answer = {"name": name, "changed": True, "file": str(file.path), "secret_removed": forgotten}
    if not print_result(app, {**answer, "applied": applied}):
        app.out(f"{name} removed from {layout.printable(str(file.path))}")


def _own_file(app: App) -> tuple[ConfigResult, ConfigFile]:
    """The configuration that hubd uses, and its file, if that is ours to change. Raises Refused."""
    from hubctl.provider_file import open_own

    config = app.call(m.CONFIG_SHOW)
    path = Path(config["file"])
    if os.name != "nt" and config["uid"] != os.geteuid():
        raise Refused(
            f"this hubd runs as another user (uid {config['uid']}), so you cannot change {path}",
            code="not_your_file",
            status=Exit.FORBIDDEN,
            hint="the person who runs hubd has to edit that file, then: hubctl daemon reload",
        )
    if config["file"] in config["files"] and not path.exists():
        raise another_file(f"hubd reads {path}, which you cannot see")
    return config, open_own(path)


def _not_in_the_file(config: ConfigResult, file: ConfigFile, name: str) -> HubError:
    elsewhere = [each["file"] for each in config["settings"] if each["key"] == f"providers.{name}.type"]
    if elsewhere and elsewhere[0]:
        return Refused(
            f"{name} is defined in {elsewhere[0]}, not in {file.path}",
            code="another_file",
            status=Exit.CONFLICT,
            hint="remove it there, then: hubctl daemon reload",
        )
    return NotFound(f"there is no provider {name}", code="provider_not_found", hint="hubctl provider list")


def _removal(app: App, name: str) -> str:
    """The question whether to remove it, with the campaigns that this stops."""
    views = app.call(m.CAMPAIGN_LIST)["campaigns"]  # without those that have ended
    users = [each["name"] for each in views if each["provider"] == name and each["state"] != "draft"]
    cannot = f"; {_used_by(users, 'could then not continue')}" if users else ""
    return f"remove the provider {name}{cannot}"


def _forget(app: App, file: ConfigFile, name: str, section: Any) -> bool:
    """Remove the secrets when `add` made them and no other provider refers to them."""
    from hubctl.provider_secret import ours

    others = [each for other, each in file.providers.items() if other != name]
    shared = [reference for each in others for reference in _references(each).values()]
    forgotten = []
    for key, reference in _references(section).items():
        kept = ours(reference, name + SUFFIXES.get(key, ""), file.path.parent)
        forgotten.append(kept is not None and reference not in shared and kept.forget())
        if not forgotten[-1]:
            app.note(f"Its password was left in place: {layout.printable(_spelled(reference))}")
    return bool(forgotten) and all(forgotten)


def _references(section: object) -> dict[str, object]:
    """The references to secrets in a provider's section, by key."""
    if not isinstance(section, Mapping):
        return {}
    found: dict[str, object] = {}
    for key, value in section.items():
        if isinstance(value, Mapping) and len(value) == 1 and not value.keys().isdisjoint(_PLACES):
            found[key] = value
        else:
            found |= {f"{key}.{inner}": each for inner, each in _references(value).items()}
    return found


def _spelled(reference: object) -> str:
    listed = reference.items() if isinstance(reference, Mapping) else ()
    return ", ".join(f"{kind} {where}" for kind, where in listed)
