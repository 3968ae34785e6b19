"""Names for the shell's completion, asked of the daemon: quickly, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from hubctl.layout import plural
from hubd.wire import methods as m

A = TypeVar("A")
R = TypeVar("R", bound=Mapping[str, Any])

SECONDS = 0.3  #: a shell that waits for completion is a shell that hangs

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(
    method: m.Method[A], listed: Callable[[A], Sequence[R]], said: Callable[[R], str], **asked: bool
) -> Completer:
    """Complete with the names of what `method` lists, each with a word about it."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = ctx.params.get(param.name or "")
        taken = set(given) if isinstance(given, tuple) else set()
        answer = _ask(ctx, method, asked)
        return [
            CompletionItem(each["name"], help=said(each))
            for each in (listed(answer) if answer is not None else ())
            if each["name"].startswith(incomplete) and each["name"] not in taken
        ]

    return complete


def _ask(ctx: click.Context, method: m.Method[A], asked: Mapping[str, bool]) -> A | None:
    """The daemon's answer; None when there is none in time, whatever the reason."""
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
        return app.call(method, **asked)
    except Exception:  # a completion that fails must not be seen: it would be typed into the command line
        return None


campaign_names = _completer(
    m.CAMPAIGN_LIST, lambda found: found["campaigns"], lambda view: view["state"], all=True
)
list_names = _completer(
    m.CONTACTS_LISTS, lambda found: found["lists"], lambda each: f"{each['contacts']} contacts"
)
template_names = _completer(
    m.TEMPLATE_LIST, lambda found: found["templates"], lambda each: f"version {each['version']}"
)
account_names = _completer(
    m.CREDITS_LIST, lambda found: found["accounts"], lambda each: f"{each['available']} available"
)


def label_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete with the labels that campaigns have, each with how many have it."""
    answer = _ask(ctx, m.CAMPAIGN_LIST, {"all": True})
    labels = Counter(label for view in (answer["campaigns"] if answer else ()) for label in view["labels"])
    return [
        CompletionItem(label, help=plural(n, "campaign"))
        for label, n in sorted(labels.items())
        if label.startswith(incomplete)
    ]


def content_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete with the names of what a message may take its content from."""
    return [*template_names(ctx, param, incomplete), *campaign_names(ctx, param, incomplete)]


provider_names = _completer(m.PROVIDER_LIST, lambda found: found["providers"], lambda view: view["state"])
