"""Completion for shells: completion SHELL."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import command

#: What makes a shell use it, in each session from now on.
INSTALL = {
    "bash": "echo 'eval \"$(hubctl completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(hubctl completion zsh)\"' >> ~/.zshrc   (after compinit)",
    "fish": "hubctl completion fish > ~/.config/fish/completions/hubctl.fish",
}


@command("completion", example="hubctl completion fish > ~/.config/fish/completions/hubctl.fish")
@click.argument("shell", type=click.Choice(sorted(INSTALL)))
def completion(app: App, shell: str) -> None:
    """Print a script that completes commands, options and campaign names in your shell.

    \b
    bash  echo 'eval "$(hubctl completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(hubctl completion zsh)"' >> ~/.zshrc   (after compinit)
    fish  hubctl completion fish > ~/.config/fish/completions/hubctl.fish

    Names come from the daemon; without an answer within 300 ms, none are offered. Needs Bash 4.4 or newer.
    """
    from hubctl.cli import hubctl

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells of the table"
    made = kind(hubctl, {}, "hubctl", "_HUBCTL_COMPLETE")
    script = made.source_template % made.source_vars()
    if print_result(app, {"shell": shell, "script": script, "install": INSTALL[shell]}):
        return
    app.data(script)
    if sys.stdout.isatty():
        app.note(f"to install it: {INSTALL[shell]}")
