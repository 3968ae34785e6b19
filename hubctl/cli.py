"""The command line: every command by name, none of them imported before it is used."""

from __future__ import annotations

from typing import Any

import click

from hubctl.app import App
from hubctl.command import Root, common_options

_BEGIN, _RUN, _SEE = "Begin", "Run a campaign", "See what happened"
_PEOPLE, _HUB = "People", "The daemon"
_AT = "hubctl.commands"

COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": (f"{_AT}.demo:demo", _BEGIN, "See the whole thing on this machine, with nothing to set up."),
    "import": (f"{_AT}.contacts:import_", _BEGIN, "Bring contacts in from a CSV file."),
    "apply": (f"{_AT}.campaign:apply", _BEGIN, "Create or update campaigns from their files."),
    "check": (f"{_AT}.campaign:check", _BEGIN, "Is a campaign fit to start? Who would get it?"),
    "preview": (f"{_AT}.campaign:preview", _BEGIN, "Show one message as a contact would get it."),
    "test": (f"{_AT}.campaign:test", _BEGIN, "Send one message of a campaign to an address of yours."),
    "start": (f"{_AT}.run:start", _RUN, "Start a campaign, or go on with it."),
    "pause": (f"{_AT}.run:pause", _RUN, "Pause it; when this answers, nothing more leaves."),
    "resume": (f"{_AT}.run:resume", _RUN, "Go on with a paused campaign."),
    "stop": (f"{_AT}.run:stop", _RUN, "Stop it; when this answers, nothing more leaves."),
    "rate": (f"{_AT}.run:rate", _RUN, "Change how fast a campaign may send, at once."),
    "retry": (f"{_AT}.run:retry", _RUN, "Queue failed or doubtful recipients again."),
    "clone": (f"{_AT}.campaign:clone", _RUN, "Make a draft that says the same under another name."),
    "archive": (f"{_AT}.campaign:archive", _RUN, "Leave an ended campaign out of the lists; remove nothing."),
    "delete": (f"{_AT}.campaign:delete", _RUN, "Forget a campaign and its history."),
    "send": (f"{_AT}.message:send", _RUN, "Send one message at once, ahead of all campaigns."),
    "status": (f"{_AT}.status:status", _SEE, "How everything stands, or one campaign."),
    "list": (f"{_AT}.status:list_", _SEE, "All campaigns."),
    "show": (f"{_AT}.status:show", _SEE, "One campaign with all its settings."),
    "watch": (f"{_AT}.watch:watch", _SEE, "Live progress until all is finished."),
    "wait": (f"{_AT}.watch:wait", _SEE, "Wait until a campaign reaches a state."),
    "deliveries": (f"{_AT}.message:deliveries", _SEE, "Who got it and who did not."),
    "message": (f"{_AT}.message:message", _SEE, "One message's whole life, with its content."),
    "failures": (f"{_AT}.message:failures", _SEE, "What went wrong, by reason, and what to do."),
    "log": (f"{_AT}.events:log", _SEE, "The life of a campaign, line by line."),
    "events": (f"{_AT}.events:events", _SEE, "The stream of events, for programs."),
    "metrics": (f"{_AT}.metrics:metrics", _SEE, "Figures for a monitoring system, as OpenMetrics text."),
    "contacts": (f"{_AT}.contacts:contacts", _PEOPLE, "List, show, export and remove contacts."),
    "lists": (f"{_AT}.contacts:lists", _PEOPLE, "The lists and how many contacts each has."),
    "suppress": (f"{_AT}.suppress:suppress", _PEOPLE, "Addresses that never get anything."),
    "provider": (f"{_AT}.provider:provider", _HUB, "The ways out: list, test, enable, disable, add, remove."),
    "config": (f"{_AT}.config:config", _HUB, "The configuration that hubd goes by, key by key."),
    "daemon": (f"{_AT}.daemon:daemon", _HUB, "The daemon itself: status, reload, shutdown, backup."),
    "service": (f"{_AT}.service:service", _HUB, "hubd as a service of systemd or Windows: print, install."),
    "doctor": (f"{_AT}.doctor:doctor", _HUB, "Is everything well? Recounts, compares, says what to do."),
    "rpc": (f"{_AT}.rpc:rpc", _HUB, "The protocol by hand: call a method, list what can be called."),
    "completion": (f"{_AT}.completion:completion", _HUB, "Completion for bash, zsh and fish."),
    "help": (f"{_AT}.help:help_", _HUB, "Exit codes, environment, formats of output; or a command's help."),
}


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from hubctl.app import version

        click.echo(f"hubctl {version()}")
        ctx.exit()


@click.group(
    cls=Root,
    lazy=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Without a command: the status of everything. Exit codes: 0 done, 1 failed, 2 usage, "
    "3 no such thing, 4 not authorised, 5 conflict, 6 daemon not reachable, 7 timed out, 8 version mismatch, "
    "9 partly done, "
    "10 not running (status --check), 130 interrupted. Variables: HUBCTL_SOCKET, HUBCTL_CONTEXT, "
    "HUBCTL_CONFIG, HUBCTL_TOKEN_FILE, HUBCTL_NO_INPUT, HUBCTL_FORCE_TTY, HUBCTL_DEBUG=rpc, NO_COLOR, "
    "CLICOLOR_FORCE.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="The version."
)
@click.pass_context
def hubctl(ctx: click.Context, /, **options: Any) -> None:
    """Send email and SMS campaigns that never lose track of a recipient.

    hubctl talks to hubd, the daemon that does the sending. A campaign goes on when hubctl ends.
    """
    app = ctx.ensure_object(App)
    app.merge(options)
    if ctx.invoked_subcommand is None:
        from hubctl.commands.status import show_everything

        app.name = "status"
        show_everything(app)


hubctl.params += common_options()
