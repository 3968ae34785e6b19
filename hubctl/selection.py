"""Several campaigns in one command: by names, by patterns such as 'spring-*', or by a label.

One name gets the usual answer. Otherwise each campaign has a row with its own exit code, and one that refuses
does not keep the others from being done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from hubctl import layout
from hubctl.answer import print_result
from hubctl.app import App, Json
from hubctl.exits import Exit, exit_of, way_out
from hubctl.names import campaign_names, label_names
from hubd.errors import HubError, NotFound, did_you_mean
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import campaign_results as r

AT_ONCE = 8  #: campaigns: a pause may take as long as its messages on the wire
#: The fields of a row that every command has.
COLUMNS = ("name", "state", "changed", "exit", "error")
_WILD = frozenset("*?[")


def of_campaigns(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take several campaigns: its function gets `names` and `label`, see `choose`."""
    for declare in (
        click.option(
            "--label",
            metavar="LABEL",
            shell_complete=label_names,
            help="All campaigns that have this label, instead of names.",
        ),
        click.argument("names", nargs=-1, metavar="NAME...", shell_complete=campaign_names),
    ):
        function = declare(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which campaigns a command is about, as they were typed."""

    names: tuple[str, ...] = ()  #: or patterns
    label: str = ""

    @property
    def one(self) -> str:
        """The name, if exactly one campaign is named; else ""."""
        name = self.names[0] if len(self.names) == 1 else ""
        return "" if _WILD & set(name) else name

    @property
    def words(self) -> str:
        """How a message speaks of it."""
        return f"the label {self.label}" if self.label else " ".join(self.names)


def choose(names: Sequence[str], label: str | None) -> Choice:
    """What was typed. Raises a usage error for neither names nor a label, and for both."""
    if label is not None and names:
        raise click.UsageError("give names or --label, not both")
    if label is not None and not label.strip():
        raise click.UsageError("--label: it is empty")
    if label is None and not names:
        raise click.UsageError("Missing argument 'NAME'.")
    return Choice(names=tuple(dict.fromkeys(names)), label=label or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command did to one campaign."""

    answer: Json  #: as `--json` has it for one campaign, without its name
    text: str  #: the same for people
    exit: Exit = Exit.DONE


Act = Callable[["Client", str], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The campaigns that were meant."""

    names: Sequence[str]  #: of which some may not exist
    views: dict[str, r.CampaignView]  #: those that exist
    known: Sequence[str]  #: all there are
    missing: Sequence[str] = ()  #: patterns that no campaign matches

    @property
    def brief(self) -> str:
        """ "3 campaigns (spring-a, spring-b, spring-c)"."""
        few = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        return f"{layout.plural(len(self.names), 'campaign')} ({few})"


def find(app: App, choice: Choice, *, archived: bool = False) -> Chosen:
    """The campaigns of a choice. Patterns and labels choose among those that are (not) `archived`.

    Raises NotFound when there is none.
    """
    listed = app.call(m.CAMPAIGN_LIST, all=True, archived=True)
    views = {view["name"]: view for view in listed["campaigns"]}
    away = set(listed["archived"])
    eligible = [name for name in views if (name in away) is archived]
    names: list[str] = []
    missing: list[str] = []
    if choice.label:
        names = [name for name in eligible if choice.label in views[name]["labels"]]
    for typed in choice.names:
        if not _WILD & set(typed):
            names.append(typed)
        elif found := [name for name in eligible if fnmatchcase(name, typed)]:
            names += found
        else:
            missing.append(typed)
    if not names:
        what = "has" if choice.label else "matches"
        raise NotFound(
            f"no campaign {what} {choice.words}",
            code="campaign_not_found",
            hint="to list all campaigns with their labels: hubctl list --fields name,labels",
        )
    names = list(dict.fromkeys(names))
    return Chosen(names=names, views=views, known=list(views), missing=missing)


def for_each(app: App, chosen: Chosen, act: Act, *, dry_run: bool = False) -> list[Json]:
    """Do it to each of them, some at a time; a row for each, in order, and for patterns without a match."""
    rows: dict[str, Json] = {}

    async def work(hub: Client) -> None:
        import trio

        turns = trio.CapacityLimiter(AT_ONCE)

        async def one(name: str) -> None:
            async with turns:
                rows[name] = await _row(hub, chosen, name, act)

        async with trio.open_nursery() as nursery:
            for name in chosen.names:
                nursery.start_soon(one, name)

    app.talk(work)
    ordered = [rows[name] for name in chosen.names]
    ordered += [_refusal(name, NotFound("no campaign matches this pattern")) for name in chosen.missing]
    return [{**row, **({"dry_run": True} if dry_run else {})} for row in ordered]


def print_rows(app: App, rows: Sequence[Json], *, dry_run: bool = False) -> Exit:
    """Print a row for each campaign; the exit code for all of them together."""
    public = [{key: value for key, value in row.items() if key != "text"} for row in rows]
    if not print_result(app, {"results": public}, rows="results", columns=COLUMNS):
        cells = [(row["name"], row["state"] or "", row["text"]) for row in rows]
        heads = ("CAMPAIGN", "STATE", "RESULT")
        app.out(layout.sentences(heads, cells, colour=app.coloured(), width=app.width()))
        if dry_run:
            app.note("nothing was changed")
    return together([Exit(row["exit"]) for row in rows])


def together(exits: Sequence[Exit]) -> Exit:
    """One exit code for several: the one that all have; 9 when some were done; else 1."""
    if len(set(exits)) == 1:
        return exits[0]
    return Exit.PARTLY if Exit.DONE in exits else Exit.FAILED


async def _row(hub: Client, chosen: Chosen, name: str, act: Act) -> Json:
    try:
        outcome = await act(hub, name)
    except HubError as error:
        if error.code == "campaign_not_found":
            near = did_you_mean(name, chosen.known)
            error = NotFound(f"there is no campaign {name}{near}", code=error.code)
        state = chosen.views[name]["state"] if name in chosen.views else None
        return _refusal(name, error, state)
    view = outcome.answer.get("campaign") or {}
    head = {"name": name, "state": view.get("state"), "changed": bool(outcome.answer.get("changed"))}
    return {**head, "exit": int(outcome.exit), "error": None, **outcome.answer, "text": outcome.text}


def _refusal(name: str, error: HubError, state: str | None = None) -> Json:
    hint = way_out(error)
    details = getattr(error, "details", None) or []
    said = {"code": error.code, "message": str(error), "hint": hint, "data": dict(error.data)}
    text = "; ".join([str(error), *(each.strip() for each in details), *([hint] if hint else [])])
    row = {"name": name, "state": state, "changed": False, "exit": int(exit_of(error)), "error": said}
    return {**row, "text": text}
