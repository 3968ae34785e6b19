"""Names for the shell's completion, asked of the daemon: quickly, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

SECONDS = 0.3  #: a shell that waits for completion is a shell that hangs

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(method: str, entries: str, said: Callable[[dict[str, Any]], str]) -> Completer:
    """Complete with the names of what `method` lists, each with a word about it."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = ctx.params.get(param.name or "")
        taken = set(given) if isinstance(given, tuple) else set()
        return [
            CompletionItem(each["name"], help=said(each))
            for each in _ask(ctx, method).get(entries, ())
            if each["name"].startswith(incomplete) and each["name"] not in taken
        ]

    return complete


def _ask(ctx: click.Context, method: str) -> dict[str, Any]:
    """The daemon's answer; nothing when there is none in time, whatever the reason."""
    from hubctl.app import App

    app = App(quiet=True)
    above: click.Context | None = ctx
    while above is not None:
        for name in ("socket", "context", "config"):
            if getattr(app, name) is None:
                setattr(app, name, above.params.get(name))
        above = above.parent
    app.timeout = SECONDS
    try:
        found: dict[str, Any] = app.call(method, **({"all": True} if method == "campaign.list" else {}))
    except Exception:  # a completion that fails must not be seen: it would be typed into the command line
        return {}
    return found


campaign_names = _completer("campaign.list", "campaigns", lambda view: str(view["state"]))
list_names = _completer("contacts.lists", "lists", lambda each: f"{each['contacts']} contacts")
template_names = _completer("template.list", "templates", lambda each: f"version {each['version']}")


def content_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete with the names of what a message may have its content from."""
    return [*template_names(ctx, param, incomplete), *campaign_names(ctx, param, incomplete)]


provider_names = _completer("provider.list", "providers", lambda view: str(view["state"]))
