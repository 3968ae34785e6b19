"""Figures by campaign and over time: report."""

from __future__ import annotations

import click

from hubctl import render_report
from hubctl.answer import print_result
from hubctl.app import App, Json
from hubctl.command import command
from hubctl.names import campaign_names, label_names
from hubctl.start_times import local_zone
from hubd.wire import methods as m


@command("report", example="hubctl report --label portfolio --since 2026-12-01 --by day")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=campaign_names)
@click.option(
    "--label", metavar="LABEL", shell_complete=label_names, help="Only campaigns that have this label."
)
@click.option("--provider", metavar="NAME", help="Only campaigns that send through this provider.")
@click.option(
    "--since",
    metavar="T",
    help='From this time on: "2026-12-01", "today", "2026-12-01 09:00", or how long ago, such as "7 days".',
)
@click.option("--until", metavar="T", help="Up to this time; a date includes that day.")
@click.option(
    "--by",
    type=click.Choice(["hour", "day", "week", "month"]),
    help="Also show the figures over time, one line per period.",
)
def report(
    app: App,
    names: tuple[str, ...],
    label: str | None,
    provider: str | None,
    since: str | None,
    until: str | None,
    by: str | None,
) -> None:
    """Show what was sent and what came back, by campaign and all together.

    Without names: of all campaigns that were ever started, also archived ones. Figures are kept by the hour,
    and by the day after 90 days. A rate is "-" where nothing can be known: no receipts came, for example.

    --output csv, tsv and ndjson print the campaigns, or with --by the lines over time.
    """
    asked: Json = {"label": label, "provider": provider, "since": since, "until": until, "by": by}
    if names:
        asked["names"] = list(names)
    asked = {key: value for key, value in asked.items() if value is not None}
    found = app.call(m.REPORT_GET, **asked, timezone=local_zone())
    if found["uncounted"]:
        app.note(
            f"the figures of {found['uncounted']} campaigns from before the upgrade are still being counted"
        )
    rows = "campaigns" if by is None else "series"
    first = "name" if by is None else "at"
    if print_result(app, found, rows=rows, columns=(first, *render_report.FIGURES)):
        return
    if not found["campaigns"]:
        app.note("no campaign has been started yet: nothing to report")
        return
    app.out(render_report.report(found, by, colour=app.coloured(), width=app.width()))
