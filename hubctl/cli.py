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
    "demo": (f"{_AT}.demo:demo", _BEGIN, "Try everything on this machine, without any setup."),
    "import": (f"{_AT}.contacts:import_", _BEGIN, "Import contacts from a CSV file."),
    "new": (f"{_AT}.new:new", _BEGIN, "Write a campaign file that explains itself."),
    "apply": (f"{_AT}.campaign:apply", _BEGIN, "Create or update campaigns from their files."),
    "template": (f"{_AT}.template:template", _BEGIN, "Manage stored templates: apply, list, show, history."),
    "check": (f"{_AT}.campaign:check", _BEGIN, "Check whether a campaign is ready, and who would get it."),
    "preview": (f"{_AT}.campaign:preview", _BEGIN, "Show one message as a contact would receive it."),
    "test": (f"{_AT}.campaign:test", _BEGIN, "Send one message of a campaign to your own address."),
    "start": (f"{_AT}.start:start", _RUN, "Start or resume a campaign."),
    "pause": (f"{_AT}.run:pause", _RUN, "Pause a campaign; on return nothing more is sent."),
    "resume": (f"{_AT}.run:resume", _RUN, "Resume a paused campaign."),
    "stop": (f"{_AT}.run:stop", _RUN, "Stop a campaign; on return nothing more is sent."),
    "rate": (f"{_AT}.run:rate", _RUN, "Change how fast a campaign may send."),
    "retry": (f"{_AT}.run:retry", _RUN, "Queue failed or in-doubt recipients again."),
    "clone": (f"{_AT}.clone:clone", _RUN, "Copy a campaign into a new draft."),
    "archive": (f"{_AT}.campaign:archive", _RUN, "Hide an ended campaign from lists; delete nothing."),
    "delete": (f"{_AT}.campaign:delete", _RUN, "Delete a campaign and its history."),
    "send": (f"{_AT}.message:send", _RUN, "Send one message now, ahead of all campaigns."),
    "status": (f"{_AT}.status:status", _SEE, "Show the status of everything, or of one campaign."),
    "list": (f"{_AT}.status:list_", _SEE, "List all campaigns."),
    "show": (f"{_AT}.status:show", _SEE, "Show one campaign with all its settings."),
    "watch": (f"{_AT}.watch:watch", _SEE, "Show live progress until everything is finished."),
    "wait": (f"{_AT}.watch:wait", _SEE, "Wait until a campaign reaches a state."),
    "sends": (f"{_AT}.message:sends", _SEE, "List one-off messages, newest first."),
    "deliveries": (f"{_AT}.message:deliveries", _SEE, "Show who got a campaign and who did not."),
    "message": (f"{_AT}.message:message", _SEE, "Show all attempts of one message, and its content."),
    "failures": (f"{_AT}.message:failures", _SEE, "Show what went wrong, by reason, and what to do."),
    "inbox": (f"{_AT}.inbox:inbox", _SEE, "Show what came back: replies, bounces, opt-outs."),
    "log": (f"{_AT}.events:log", _SEE, "Show what happened to a campaign, line by line."),
    "report": (f"{_AT}.report:report", _SEE, "Show figures by campaign, label, provider and over time."),
    "events": (f"{_AT}.events:events", _SEE, "Print the durable events, for programs."),
    "notifications": (f"{_AT}.notifications:notifications", _SEE, "Show what somebody should know."),
    "metrics": (f"{_AT}.metrics:metrics", _SEE, "Print metrics for monitoring, as OpenMetrics text."),
    "contacts": (f"{_AT}.contacts:contacts", _PEOPLE, "List, show, export, add and remove contacts."),
    "lists": (f"{_AT}.lists:lists", _PEOPLE, "Show, rename and delete lists."),
    "suppress": (f"{_AT}.suppress:suppress", _PEOPLE, "Manage addresses that never get a message."),
    "credits": (f"{_AT}.credits:credits", _HUB, "Show, grant and take back credits that pay for messages."),
    "provider": (f"{_AT}.provider:provider", _HUB, "Manage the accounts you send with."),
    "sink": (f"{_AT}.sink:sink", _HUB, "Manage what figures and events are copied to."),
    "mailbox": (f"{_AT}.mailbox:mailbox", _HUB, "Manage the mailboxes that replies are read from."),
    "config": (f"{_AT}.config:config", _HUB, "Show the configuration of hubd, and every key."),
    "daemon": (f"{_AT}.daemon:daemon", _HUB, "Manage the daemon: status, reload, backup, restore."),
    "service": (f"{_AT}.service:service", _HUB, "Print, install or uninstall hubd as a service."),
    "doctor": (f"{_AT}.doctor:doctor", _HUB, "Check the installation and say what to do."),
    "rpc": (f"{_AT}.rpc:rpc", _HUB, "Call a method of the protocol, or list the methods."),
    "completion": (f"{_AT}.completion:completion", _HUB, "Print completion for bash, zsh or fish."),
    "help": (f"{_AT}.help:help_", _HUB, "Show help for a topic or a command."),
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
    epilog="Without a command: show the status of everything. Exit codes: 0 done, 1 failed, 2 usage, "
    "3 no such thing, 4 not authorised, 5 conflict, 6 daemon not reachable, 7 timed out, 8 version mismatch, "
    "9 partly done, "
    "10 not running (status --check), 130 interrupted. Variables: HUBCTL_SOCKET, HUBCTL_CONTEXT, "
    "HUBCTL_CONFIG, HUBCTL_TOKEN_FILE, HUBCTL_NO_INPUT, HUBCTL_FORCE_TTY, HUBCTL_DEBUG=rpc, NO_COLOR, "
    "CLICOLOR_FORCE.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.pass_context
def hubctl(ctx: click.Context, /, **options: Any) -> None:
    """Send email and SMS campaigns that never lose track of a recipient.

    hubctl talks to hubd, the daemon that sends. A campaign continues when hubctl ends.
    """
    app = ctx.ensure_object(App)
    app.merge(options)
    if ctx.invoked_subcommand is None:
        from hubctl.commands.status import show_everything

        app.name = "status"
        show_everything(app)


hubctl.params += common_options()
