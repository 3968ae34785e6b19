"""What a command would do: `--dry-run`. Everything is read, nothing is changed.

What would be refused is refused here in the same words and with the same exit code, as far as it can be known
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hubctl import layout
from hubctl.answer import told
from hubctl.app import App, Json
from hubctl.board import FINISHED
from hubctl.render import rates, waiting
from hubd.errors import BadInput, Conflict, InvalidTransition, NotFound

if TYPE_CHECKING:
    from hubd.client import Client

#: What can be asked of a campaign in each state, and where it leads: the daemon's own table, without what
#: happens to a campaign by itself.
LEADS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "draft": {"start": "running", "schedule": "scheduled", "unschedule": "draft"},
        "scheduled": {
            "start": "running",
            "schedule": "scheduled",
            "unschedule": "draft",
            "stop": "stopped",
        },
        "running": {
            "start": "running",
            "resume": "running",
            "pause": "paused",
            "stop": "stopped",
            "retry": "running",
        },
        "paused": {
            "start": "running",
            "resume": "running",
            "pause": "paused",
            "stop": "stopped",
            "retry": "paused",
        },
        "stopped": {"start": "running", "stop": "stopped", "retry": "running"},
        "failed": {"start": "running", "retry": "running"},
        "completed": {"retry": "running"},
    }
)


def rehearsed(app: App, values: Mapping[str, Any], sentence: str, *, change: bool = True) -> None:
    """Say what would happen: to a program with `dry_run` and `would`, to a person as `sentence`."""
    would = {"change": change, **values.get("would", {})}
    if not told(app, {**values, "dry_run": True, "changed": False, "would": would}):
        app.out(sentence)
        app.note("nothing was changed")


# --- campaigns ---------------------------------------------------------------------------------------------


def leads_to(view: Json, event: str) -> str:
    """The state that `event` brings a campaign to. Raises InvalidTransition as the daemon would."""
    row = LEADS[view["state"]]
    if event not in row:
        raise InvalidTransition(
            f"a campaign that is {view['state']} cannot {event}",
            data={"from": view["state"], "requested": event, "allowed": sorted(row)},
        )
    return row[event]


def move(app: App, name: str, event: str, *, fail_refused: bool = False) -> None:
    """`pause`, `resume` (with `fail_refused`: without the refused recipients) or `stop`."""
    view = app.call("campaign.get", name=name)["campaign"]
    state = leads_to(view, event)
    failed = int(view.get("refused") or 0) if fail_refused else 0
    left = waiting(view["counts"]) - failed
    people = f": {layout.plural(left, 'recipient')} {'is' if left == 1 else 'are'} left" if left else ""
    first = (
        f"would fail {layout.plural(failed, 'refused recipient')} and {event}" if failed else f"would {event}"
    )
    sentence = f"{first} {name}{people}" if state != view["state"] else f"{name} is {state} already"
    would = {"state": state, **({"failed": failed} if fail_refused else {})}
    values = {"name": name, "campaign": view, "would": would}
    rehearsed(app, values, sentence, change=state != view["state"])


def rate(app: App, name: str, wanted: Sequence[str] | None) -> None:
    """Another limit for a campaign."""

    given = wanted[0] if wanted and len(wanted) == 1 else list(wanted or ())

    async def work(hub: Client) -> Json:
        await _check_spec(hub, {"name": name, "rate": given}, "rate")
        found: Json = (await hub.call("campaign.get", name=name))["campaign"]
        return found

    view = app.talk(work)
    now, then = (rates(each) or "no limit of its own" for each in (view["rates"], list(wanted or ())))
    change = view["rates"] != list(wanted or ())
    sentence = f"{name} would have {then} instead of {now}" if change else f"{name} has {now} already"
    rehearsed(app, {"name": name, "rate": wanted, "campaign": view}, sentence, change=change)


async def _check_spec(hub: Client, spec: Json, key: str, *, told_as: str = "") -> None:
    """Whether the daemon takes the value of `key` in a campaign file. Raises BadInput."""
    try:
        await hub.call("campaign.apply", spec=spec, dry_run=True)
    except BadInput as error:
        listed = error.data.get("errors")
        faults = [
            (told_as or path.removeprefix("spec."), str(each["problem"]))
            for each in (listed if isinstance(listed, list) else [])
            if (path := str(each["path"])).removeprefix("spec.").startswith(key)
        ]
        if faults:
            raise BadInput.of(faults) from None
    except Conflict:  # it is not about this
        return


def retry(app: App, name: str, kind: str | None, in_doubt: str | None) -> None:
    """Failures queued again, or doubts decided."""

    async def work(hub: Client) -> tuple[Json, int, int]:
        view = (await hub.call("campaign.get", name=name))["campaign"]
        groups = (await hub.call("delivery.failures", campaign=name))["groups"]
        wanted = [each for each in groups if _is(each, kind)]
        count = sum(int(each["count"]) for each in wanted)
        return view, count, await _suppressed_failures(hub, view, wanted) if count else 0

    view, count, alone = app.talk(work)
    state = leads_to(view, "retry")
    again = count - alone
    doubts = int(view["counts"]["in_doubt"]) if in_doubt else 0
    parts = [f"queue {layout.plural(again, 'recipient')} again"] if again else []
    if doubts:
        whom = layout.plural(doubts, "recipient")
        resent = f"send to {whom} again who may have got it already"
        parts.append(resent if in_doubt == "resend" else f"count {whom} in doubt as {in_doubt}")
    change = bool(again or doubts)
    queued = again or (doubts and in_doubt == "resend")
    sentence = f"would {' and '.join(parts)}" if change else "nothing to retry"
    sentence += f"; {left_alone(alone)}" if alone else ""
    would = {"retried": again, "decided": doubts, "state": state if queued else view["state"]}
    rehearsed(app, {"name": name, "campaign": view, "would": would}, f"{name}: {sentence}", change=change)


def left_alone(count: int) -> str:
    """ "2 are on the suppression list and left alone"."""
    return f"{layout.number(count)} {'is' if count == 1 else 'are'} on the suppression list and left alone"


async def _suppressed_failures(hub: Client, view: Json, groups: Sequence[Json]) -> int:
    """How many of these failures stay as they are, because the address is suppressed by now."""
    kinds = {(each["state"], each["reason"]) for each in groups}
    found: list[tuple[str, str]] = []
    for state in {state for state, _ in kinds}:
        after: int | None = 0
        while after is not None:
            page = await hub.call(
                "delivery.list", campaign=view["name"], state=state, after=after, limit=PAGE
            )
            found += [
                (view["channel"], row["recipient"])
                for row in page["deliveries"]
                if (state, row["reason"]) in kinds
            ]
            after = page["next"]
    there = await suppressed(hub, set(found))
    return sum(each in there for each in found)


def _is(group: Json, kind: str | None) -> bool:
    return kind is not None and (
        group["class"] == kind or (kind == "all" and group["class"] in ("transient", "permanent"))
    )


def clone(app: App, name: str, new: str) -> None:
    """A draft like another campaign."""

    async def work(hub: Client) -> tuple[Json, Json | None]:
        source = await hub.call("campaign.get", name=name)
        await _check_spec(hub, {"name": new}, "name", told_as="new")
        try:
            return source, await hub.call("campaign.get", name=new)
        except NotFound:
            return source, None

    source, there = app.talk(work)
    if there is not None:
        same = {**source["spec"], "name": new, "rate": source["campaign"]["rates"]}
        is_copy = there["campaign"]["state"] == "draft" and there["spec"] == same
        if new == name or not is_copy:
            raise Conflict(
                f"there is a campaign {new} already",
                code="name_taken",
                hint=f"choose another name, or look at it with: hubctl show {new}",
            )
    sentence = f"would make the draft {new} like {name}"
    already = f"{new} is a draft like {name} already"
    values = {"name": name, "new": new, "campaign": source["campaign"]}
    rehearsed(app, values, already if there else sentence, change=there is None)


def archive(app: App, name: str, *, archived: bool) -> None:
    """A campaign out of the lists, or back."""
    found = app.call("campaign.get", name=name)
    view = found["campaign"]
    if archived and view["state"] not in FINISHED:
        raise Conflict(
            f"the campaign {name} is {view['state']}; only one that has ended can be archived",
            code=view["state"],
            hint="delete it instead" if view["state"] == "draft" else "stop it first",
        )
    change = found["archived"] is not archived
    sentence = f"would {'archive' if archived else 'bring back'} {name}"
    already = f"{name} is {'archived' if archived else 'in the lists'} already"
    values = {"name": name, "archived": archived, "campaign": view}
    rehearsed(app, values, sentence if change else already, change=change)


def delete(app: App, name: str) -> None:
    """A campaign and its history."""
    view = app.call("campaign.get", name=name)["campaign"]
    if view["state"] not in FINISHED | {"draft"} or view["counts"]["sending"]:
        raise Conflict(
            f"the campaign {name} is {view['state']} and cannot be deleted",
            code="running",
            hint="stop it first",
        )
    rehearsed(app, {"name": name, "campaign": view}, f"would {deletion(view)}")


def deletion(view: Json) -> str:
    """ "delete spring-sale and its history of 48,212 deliveries"."""
    total = int(view["counts"]["total"])
    history = f" and its history of {layout.plural(total, 'delivery', 'deliveries')}" if total else ""
    return f"delete {view['name']}{history}"


# --- people ------------------------------------------------------------------------------------------------

PAGE = 500


async def check_address(hub: Client, channel: str, address: str) -> None:
    """Whether an address can be one. Raises BadInput with what is wrong."""
    if problem := (await refused(hub, channel, [(1, address)])).get(1):
        raise BadInput.at("address", problem)


async def refused(hub: Client, channel: str, addresses: Sequence[tuple[int, str]]) -> dict[int, str]:
    """What is wrong with each of up to 500 (number, address); a trial import knows that."""
    column = "email" if channel == "email" else "phone"
    rows = [{"line": line, "values": {column: address}} for line, address in addresses]
    answer = await hub.call("contacts.import", list="x", rows=rows, import_id="trial", dry_run=True)
    return {int(each["line"]): str(each["problem"]) for each in answer["errors"]}


async def suppressed(hub: Client, wanted: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these (channel, address) are suppressed. The daemon knows when two addresses are the same."""
    found = set()
    for channel, address in wanted:
        there = await hub.call("suppression.list", channel=channel, address=address)
        if there["suppressions"]:
            found.add((channel, address))
    return found


def folded(channel: str, address: str) -> str:
    """An address without what hardly ever makes a difference: case in email, all but digits in a number."""
    if channel == "email":
        return address.strip().casefold()
    return "".join(char for char in address if char.isdigit())


# --- providers and the daemon ------------------------------------------------------------------------------


def switch(app: App, name: str, *, on: bool) -> None:
    """A provider enabled or disabled."""
    view, users = provider(app, name), users_of(app, name, states=("running",))
    change = (view["state"] == "disabled") is on
    verb, state = ("enable", "enabled") if on else ("disable", "disabled")
    wait = "" if on or not users else f"; {used_by(users, 'would pause')}"
    values = {"name": name, "provider": view, "would": {"campaigns": users}}
    sentence = f"would {verb} {name}{wait}" if change else f"{name} is {state} already"
    rehearsed(app, values, sentence, change=change)


def provider(app: App, name: str) -> Json:
    """How a provider is. Raises NotFound."""
    found: list[Json] = app.call("provider.list")["providers"]
    for each in found:
        if each["name"] == name:
            return each
    names = ", ".join(each["name"] for each in found)
    raise NotFound(f"there is no provider {name}", code="provider_not_found", hint=f"there are: {names}")


def users_of(app: App, name: str, *, states: Sequence[str] = ("running", "scheduled", "paused")) -> list[str]:
    """The campaigns that have begun, or will by themselves, and need this provider."""
    views = app.call("campaign.list")["campaigns"]
    return [each["name"] for each in views if each["provider"] == name and each["state"] in states]


def used_by(users: Sequence[str], what: str) -> str:
    """ "3 campaigns would pause (spring, summer, autumn)"."""
    shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
    return f"{layout.plural(len(users), 'campaign')} {what} ({shown})"
