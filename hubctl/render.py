"""Results of the daemon as text for people. Pure: values in, text out; nothing is written or asked here."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from hubctl import render_series, start_times
from hubctl.layout import (
    STATE_COLOURS,
    facts,
    fitting_columns,
    number,
    one_line,
    paint,
    plural,
    printable,
    sentences,
    shown_columns,
    table,
    table_width,
    wrapped,
)
from hubctl.spans import spoken
from hubd.wire.words import DELIVERY_STATES

if TYPE_CHECKING:
    from hubd.wire import campaign_results as r
    from hubd.wire.hub_results import RestoredView, StatusResult
    from hubd.wire.provider_results import ProviderStatus

View = Mapping[str, Any]

#: Size in bytes from which `check` says how much is uploaded.
LARGE = 256 * 1024

#: Counts that few campaigns have, in the order of the table's columns.
_SELDOM = ("undelivered", "failed", "skipped", "in_doubt", "pending", "deferred", "sending")

#: Deliveries for which nothing more is done without a person, and that did not end well.
ENDED_OTHERWISE = ("undelivered", "failed", "skipped", "in_doubt")

#: What a campaign has that `--fields` can pick; counts.sent and the like go deeper.
CAMPAIGN_COLUMNS = (
    *(
        "name",
        "state",
        "reason",
        "channel",
        "provider",
        "kind",
        "lists",
        "labels",
        "template",
        "counts",
        "rate",
        "eta",
        "rates",
    ),
    *("limit", "scheduled_at", "started_at", "completed_at", "created_at", "last_error", "revision"),
    *("in_doubt", "possible_duplicates", "freezing", "refused", "repeats", "next_at", "series", "trigger"),
    *("bounced", "complaints", "replies", "opt_outs", "delivery_rate", "opt_out_rate"),
)
#: What a provider has.
PROVIDER_COLUMNS = (
    *("name", "type", "channels", "state", "reason", "since", "until", "lanes", "lanes_allowed", "rate"),
)


# --- campaigns ---------------------------------------------------------------------------------------------


def count(counts: r.CountsView, *states: str) -> int:
    """Deliveries in any of these states."""
    known = cast("Mapping[str, int]", counts)
    return sum(known.get(state, 0) for state in states)


def finished(counts: r.CountsView) -> int:
    """Deliveries for which nothing more is done without a person."""
    return count(counts, "sent", "delivered", "undelivered", "failed", "skipped", "in_doubt")


def accepted(counts: r.CountsView) -> int:
    """Deliveries that a provider accepted, whatever a receipt said afterwards."""
    return count(counts, "sent", "delivered", "undelivered")


def done(counts: r.CountsView) -> int:
    """Deliveries that ended well: what failed, was skipped or is in doubt is shown beside them."""
    return count(counts, "sent", "delivered")


def percent(counts: r.CountsView, n: int | None = None) -> int:
    """How much of a campaign ended well, or which share `n` is; 100 only when it is all."""
    total = counts["total"]
    return (done(counts) if n is None else n) * 100 // total if total else 0


def waiting(counts: r.CountsView) -> int:
    """Deliveries still to be done."""
    return count(counts, "pending", "deferred", "sending")


def rate(view: r.CampaignView) -> str:
    """Messages a second now, "" when nothing moves."""
    speed = float(view.get("rate") or 0.0)
    if view["state"] != "running" or speed <= 0:
        return ""
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"


def campaigns(
    views: Sequence[r.CampaignView],
    *,
    colour: bool = False,
    width: int = 10_000,
    archived: Container[str] = (),
) -> str:
    """The table of `status` and `list`.

    Where there is no room for a column for each count, the rare ones stand in words below the row.
    """
    reasons = ["(archived)" if view["name"] in archived else view.get("reason") or "" for view in views]
    rows = [_campaign_row(view, _SELDOM) for view in views]
    rare = ("STARTS", "RATE", "ETA", *(name.upper().replace("_", " ") for name in _SELDOM))
    headers, cells = shown_columns(list(rows[0]) if rows else (), [list(row.values()) for row in rows], rare)
    if table_width(headers, cells) > width:
        rows = [_campaign_row(view, ()) for view in views]
        headers, cells = shown_columns(list(rows[0]), [list(row.values()) for row in rows], rare)
        reasons = [
            "; ".join(filter(None, (counted(view["counts"], _SELDOM), why)))
            for view, why in zip(views, reasons, strict=True)
        ]
    headers, cells = fitting_columns(headers, cells, ("PROVIDER",), width)
    if not any(reasons):
        return table(headers, cells, colour=colour, width=width)
    told = [[*row, why] for row, why in zip(cells, reasons, strict=True)]
    return sentences([*headers, "REASON"], told, colour=colour, width=width)


def _campaign_row(view: r.CampaignView, counted: Sequence[str]) -> dict[str, object]:
    """The columns of a campaign by their heads, with these of its counts."""
    counts = view["counts"]
    return {
        "CAMPAIGN": view["name"],
        "STATE": view["state"],
        "PROVIDER": view["provider"],
        "STARTS": clock(view["scheduled_at"]) if view["state"] == "scheduled" else "",
        "TOTAL": int(counts["total"]),
        "SENT": accepted(counts),
        **{name.upper().replace("_", " "): count(counts, name) for name in counted},
        "DONE": f"{percent(counts)} %" if counts["total"] else "",
        "RATE": rate(view),
        "ETA": spoken(view.get("eta")) if view["state"] == "running" else "",
    }


def counted(counts: r.CountsView, names: Sequence[str]) -> str:
    """ "3 failed, 12 in doubt"."""
    return ", ".join(f"{number(n)} {name.replace('_', ' ')}" for name in names if (n := count(counts, name)))


def campaign(
    view: r.CampaignView,
    *,
    colour: bool = False,
    width: int = 10_000,
    about: Mapping[str, str] | None = None,
    credits: str = "",
) -> str:
    """One campaign in full. `about` says more about the deliveries in a state, `credits` about who pays."""
    state = paint(view["state"], STATE_COLOURS.get(view["state"], "") if colour else "")
    counts = view["counts"]
    reason = f": {printable(view['reason'])}" if view.get("reason") else ""
    pairs: list[tuple[str, object]] = [
        ("channel", f"{view['channel']}, {view.get('kind', 'marketing')}"),
        ("provider", view["provider"]),
        ("lists", ", ".join(view.get("lists") or ())),
        ("labels", ", ".join(view.get("labels") or ())),
        ("template", view.get("template")),
        ("credits", credits),
        *render_series.facts_of(view),
        ("recipients", int(counts["total"]) if counts["total"] else None),
    ]
    for name in DELIVERY_STATES:
        if n := count(counts, name):
            more = (about or {}).get(name, "")
            pairs.append((f"  {name.replace('_', ' ')}", number(n) + (f" ({more})" if more else "")))
    pairs += [
        ("came back", came_back(view)),
        ("possible duplicates", int(view.get("possible_duplicates") or 0) or None),
        ("rate", rate(view)),
        ("left", f"about {spoken(view['eta'])}" if view.get("eta") and view["state"] == "running" else ""),
        ("scheduled", start_times.shown(view.get("scheduled_at"))),
        ("started", moment(view.get("started_at"))),
        ("completed", moment(view.get("completed_at"))),
        ("last error", _last_error(view)),
    ]
    told = f"{view['name']}  {state}{reason}\n{facts(pairs, width=width)}"
    return "\n".join([told, *(wrapped(f"  {line}", width, hanging="    ") for line in refusals(view))])


def came_back(view: r.CampaignView) -> str:
    """ "12 bounced, 1 complaint; 98.2 % delivered", as far as it is known."""
    known = cast("Mapping[str, int]", view)
    words = (
        *(("bounced", "bounced", "bounced"), ("complaints", "complaint", "complaints")),
        *(("replies", "reply", "replies"), ("opt_outs", "opt-out", "opt-outs")),
    )
    counted_ = [plural(n, one, many) for key, one, many in words if (n := int(known.get(key) or 0))]
    shares = ((view.get("delivery_rate"), "delivered"), (view.get("opt_out_rate"), "opted out"))
    told = [f"{share * 100:.1f} % {word}" for share, word in shares if share is not None]
    return "; ".join(filter(None, (", ".join(counted_), ", ".join(told))))


def _last_error(view: r.CampaignView) -> str:
    """Why a message did not go out, as the provider said it last; "" if that is over or said already."""
    left = [name for name in DELIVERY_STATES if name not in ("sent", "delivered", "skipped")]
    said = str(view.get("last_error") or "")
    over = not count(view["counts"], *left)
    return "" if over or said in str(view.get("reason") or "") else said


def refusals(view: r.CampaignView) -> list[str]:
    """How many recipients were refused when a campaign paused, and what to do next; empty if none were."""
    refused, name = int(view.get("refused") or 0), view["name"]
    if not refused:
        return []
    them = "them" if refused > 1 else "it"
    return [
        f"{plural(refused, 'recipient')} got the refusal that paused the campaign: "
        f"hubctl deliveries {name} --refused",
        f"To fail {them} and continue: hubctl resume {name} --fail-refused",
        f"To try {them} again, once the account or the sender is fixed: hubctl resume {name}",
    ]


def summary(view: r.CampaignView) -> str:
    """How a campaign stands, in one sentence."""
    counts = view["counts"]
    parts = counted(counts, DELIVERY_STATES)
    reason = f" ({printable(view['reason'])})" if view.get("reason") else ""
    done = f": {parts} of {number(int(counts['total']))}" if parts else ""
    return f"{view['name']} is {view['state']}{reason}{done}"


def moment(text: str | None) -> str:
    """An RFC 3339 time to the second, in the zone of this computer, with the name of the zone."""
    at = _local(text)
    return text or "" if at is None else f"{_clock(at)} {_zone(at)}"


def clock(text: str | None) -> str:
    """The same for a column of a table, without the zone."""
    at = _local(text)
    return text or "" if at is None else _clock(at)


def _local(text: str | None) -> datetime | None:
    """None if it is not a time."""
    try:
        return datetime.fromisoformat(text or "").astimezone()
    except (ValueError, OverflowError, OSError):  # a time that the system's clock cannot show
        return None


def _clock(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat(" ", "seconds")


def _zone(at: datetime) -> str:
    """A short name such as "CET"; where the system has none, the offset."""
    name = at.tzname() or ""
    return name if name.isalpha() and len(name) <= 5 else f"{at:%z}"


def problems(listed: Sequence[r.ProblemView], *, ways: bool = True) -> list[str]:
    """Preflight problems, each with the way past it unless that is said elsewhere."""
    lines = []
    for each in listed:
        risk = each.get("risk", "")
        way = f"  (fix this, or pass --accept-risk {risk})" if risk and ways else ""
        lines.append(f"- {printable(str(each.get('problem', '')))}{way}")
    return lines


def estimate(found: r.EstimateView | None) -> str:
    """How long a campaign will take, as far as that is known."""
    if not found or not found.get("messages"):
        return ""
    speed = found.get("rate")
    pace = f" at {speed:,.0f}/s" if isinstance(speed, int | float) and speed >= 1 else ""
    span, limit = found.get("seconds"), printable(found.get("limited_by") or "")
    if not span:
        return ""
    if span < 1:
        return "less than a second"
    return f"about {spoken(float(span))}{pace}" + (f", limited by {limit}" if limit else "")


def _unlimited(found: r.EstimateView | None) -> str:
    """What a campaign without any limit waits for."""
    limit = printable(found.get("limited_by") or "") if found else ""
    return f"no rate limits it: it takes as long as {limit} need" if limit else ""


def skips(skipped: Mapping[str, int], channel: str) -> str:
    """ "12 suppressed, 3 have no phone number"."""
    return ", ".join(_skip(why, int(n), channel) for why, n in skipped.items() if n)


def _skip(why: str, n: int, channel: str) -> str:
    if why == "invalid_address":
        kind = "phone number" if channel == "sms" else "email address"
        return f"{number(n)} {'has' if n == 1 else 'have'} no {kind}"
    if why == "not_comparable":
        return f"{number(n)} for whom where has no result"
    return f"{number(n)} {why.replace('_', ' ')}"


def reached(found: r.CheckResult | r.WouldDo) -> str:
    """ "48,212 recipients", or when it was begun already: "200 of 293 are left"."""
    recipients = int(found.get("recipients", 0))
    left = int(found.get("remaining", recipients))
    if left == recipients:
        return plural(recipients, "recipient")
    return f"{number(left)} of {number(recipients)} {'is' if left == 1 else 'are'} left"


def matched(matching: r.MatchingView | None) -> str:
    """ "1,204 of 5,000 contacts match"; "" without a condition."""
    if not matching:
        return ""
    return f"{number(int(matching['matched']))} of {plural(int(matching['contacts']), 'contact')} match"


def check(found: r.CheckResult, credits: str = "") -> str:
    """The answer of `check`; `credits` says what it costs."""
    segments = found.get("segments")
    begun = found.get("remaining", found["recipients"]) != found["recipients"]
    pairs: list[tuple[str, object]] = [
        ("recipients", reached(found) if begun else int(found["recipients"])),
        ("where", matched(found.get("matching"))),
        ("skipped", skips(found.get("skipped") or {}, found["channel"])),
        ("via", f"{found['provider']} ({found['channel']})"),
        ("segments", segments_line(segments) if segments else ""),
        ("credits", credits),
        ("takes", estimate(found.get("estimate")) or _unlimited(found.get("estimate"))),
        ("volume", volume(found.get("load"))),
        ("next", "; ".join(start_times.shown(each) for each in found.get("upcoming") or ())),
    ]
    lines = [facts(pairs)]
    lines += [f"  warning: {printable(str(each))}" for each in found.get("warnings") or ()]
    return "\n".join(lines)


def volume(load: r.LoadView | None) -> str:
    """ "340 MiB in total, 34 MiB each", for large messages."""
    if not load or int(load["message"]) < LARGE:
        return ""
    memory = f"the daemon needs about {mebibytes(int(load['memory']))} of memory"
    return f"{mebibytes(int(load['upload']))} in total, {mebibytes(int(load['message']))} each; {memory}"


def mebibytes(size: int) -> str:
    """ "34.2 MiB"."""
    return f"{size / 1024**2:,.1f} MiB"


def segments_line(segments: r.SegmentsView) -> str:
    """ "2 segments (ucs2, 71 characters)"; of many messages "1 to 2 segments, 7 in all"."""
    least, most, total = segments["least"], segments["most"], segments["total"]
    in_all = f", {number(total)} in all" if total > most else ""
    if least != most:
        return f"{number(least)} to {plural(most, 'segment')}{in_all}"
    return cost(segments["segments"], segments["encoding"], segments["units"]) + in_all


def cost(segments: int, encoding: str, units: int = 0) -> str:
    """ "2 segments (ucs2, 71 characters)"."""
    return f"{plural(segments, 'segment')} ({encoding}{f', {number(units)} characters' if units else ''})"


# --- the daemon --------------------------------------------------------------------------------------------


def providers(views: Sequence[ProviderStatus], *, colour: bool = False, width: int = 10_000) -> str:
    """The configured providers and, for those that are not ready, until when they rest."""
    headers = ("PROVIDER", "TYPE", "CHANNELS", "STATE", "UNTIL", "CONNECTIONS", "RATE", "REASON")
    rows = [
        (
            view["name"],
            view["type"],
            "+".join(view.get("channels") or ()),
            view["state"].replace("_", " "),
            _until(view),
            connections(view),
            rates(view.get("rate")),
            view["reason"] if view.get("reason") != view["state"] else "",
        )
        for view in views
    ]
    shown, cells = shown_columns(headers, rows, ("UNTIL", "RATE", "REASON"))
    return (sentences if shown[-1] == "REASON" else table)(shown, cells, colour=colour, width=width)


def _until(view: ProviderStatus) -> str:
    """When it is tried again; without the day, if it began to rest on the same day."""
    until, since = clock(view.get("until")), clock(view.get("since"))
    return until.partition(" ")[2] if until[:10] == since[:10] else until


def connections(view: ProviderStatus) -> object:
    """How many connections a provider may use: "8", or "2 of 8" while it is used more slowly."""
    allowed, configured = view.get("lanes_allowed"), view.get("lanes")
    return configured if allowed in (None, configured) else f"{allowed} of {configured}"


def rates(value: object) -> str:
    """A rate as the daemon gives it: nothing, one word or several."""
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return str(value or "")


def troubled(provider: ProviderStatus) -> str:
    """ "provider office is resting until 12:00:05 UTC: the server does not answer"."""
    until = moment(provider.get("until"))
    when = f" until {until.partition(' ')[2]}" if until else ""
    why = f": {one_line(provider['reason'])}" if provider.get("reason") else ""
    return f"provider {provider['name']} is {provider['state'].replace('_', ' ')}{when}{why}"


def daemon(found: StatusResult) -> str:
    """The daemon in one line."""
    up = spoken(float(found.get("uptime") or 0))
    trouble = f"\n  TROUBLE: {printable(found['trouble'])}" if found.get("trouble") else ""
    trouble += "".join(f"\n  WARNING: {printable(each)}" for each in found.get("warnings") or ())
    return (
        f"hubd {found['version']}, up {up}, process {found['pid']}, state in {found['state_dir']}{trouble}"
        + restored(found.get("restored"))
    )


def restored(found: RestoredView | None) -> str:
    """What a restore of the database left to decide, on lines of its own; "" for nothing."""
    if not found:
        return ""
    listed = [f"{printable(name)} ({number(int(n))})" for name, n in found["in_doubt"].items()]
    return (
        f"\n  RESTORED {moment(found['at'])}: {printable(found['why'])}; "
        "deliveries that may have been sent after the copy was made are in doubt"
        f"\n  decide: hubctl retry NAME --in-doubt resend|sent|failed for {', '.join(listed)}"
    )


def settings(spec: View) -> str:
    """A campaign's settings as applied; the texts come last, in full."""
    bodies = [key for key in ("text", "html") if spec.get(key)]
    pairs: list[tuple[str, object]] = []
    for key, value in spec.items():
        if key in bodies or key == "name":
            continue
        if isinstance(value, Mapping):
            pairs += [(f"{key}.{inner}", each) for inner, each in value.items()]
        elif key in ("attachments", "inline") and isinstance(value, list | tuple):
            pairs.append(
                (key, ", ".join(f"{each['name']} ({number(int(each['size']))} bytes)" for each in value))
            )
        else:
            pairs.append((key, rates(value) if isinstance(value, list | tuple) else value))
    blocks = [facts(pairs)]
    for key in bodies:
        text = printable(str(spec[key]).rstrip("\n"))
        blocks.append(f"  {key}:\n" + "\n".join(f"    {line}".rstrip() for line in text.split("\n")))
    return "\n\n".join(blocks)
