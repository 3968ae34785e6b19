"""Results of the daemon as text for people. Pure: values in, text out; nothing is written or asked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubctl.layout import (
    STATE_COLOURS,
    facts,
    number,
    one_line,
    paint,
    plural,
    printable,
    table,
)
from hubctl.spans import spoken

View = Mapping[str, Any]

#: The order in which the states of a delivery are told.
STATES = (
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "in_doubt",
    "deferred",
    "sending",
    "pending",
    "skipped",
)


# --- campaigns ---------------------------------------------------------------------------------------------


def settled(counts: View) -> int:
    """Deliveries on which nothing more is done without a person."""
    names = ("sent", "delivered", "undelivered", "failed", "skipped", "in_doubt")
    return sum(int(counts.get(name, 0)) for name in names)


def accepted(counts: View) -> int:
    """Deliveries that a provider took, whatever a receipt said afterwards."""
    return sum(int(counts.get(name, 0)) for name in ("sent", "delivered", "undelivered"))


def percent(counts: View) -> int:
    """How much of a campaign is settled; 100 only when all of it is."""
    total = int(counts.get("total", 0))
    return settled(counts) * 100 // total if total else 0


def waiting(counts: View) -> int:
    """Deliveries still to be done."""
    return sum(int(counts.get(name, 0)) for name in ("pending", "deferred", "sending"))


def rate(view: View) -> str:
    """Messages a second now, "" when nothing moves."""
    speed = float(view.get("rate") or 0.0)
    if view["state"] != "running" or speed <= 0:
        return ""
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"


def campaigns(views: Sequence[View], *, colour: bool = False, width: int = 10_000) -> str:
    """The table of `status` and `list`."""
    rows = [
        (
            view["name"],
            view["state"],
            view["provider"],
            int(view["counts"]["total"]),
            accepted(view["counts"]),
            int(view["counts"]["failed"]),
            int(view["counts"]["skipped"]),
            int(view["counts"]["in_doubt"]),
            f"{percent(view['counts'])} %" if view["counts"]["total"] else "",
            rate(view),
            spoken(view.get("eta")) if view["state"] == "running" else "",
            view.get("reason") or view.get("last_error") or "",
        )
        for view in views
    ]
    headers = (
        "CAMPAIGN",
        "STATE",
        "PROVIDER",
        "TOTAL",
        "SENT",
        "FAILED",
        "SKIPPED",
        "IN DOUBT",
        "DONE",
        "RATE",
        "ETA",
        "REASON",
    )
    if not any(row[-1] for row in rows):
        headers, rows = headers[:-1], [row[:-1] for row in rows]  # type: ignore[assignment, misc]  # one column less
    return table(headers, rows, colour=colour, width=width)


def campaign(view: View, *, colour: bool = False) -> str:
    """One campaign in full."""
    state = paint(view["state"], STATE_COLOURS.get(view["state"], "") if colour else "")
    counts = view["counts"]
    reason = f": {printable(view['reason'])}" if view.get("reason") else ""
    pairs: list[tuple[str, object]] = [
        ("channel", f"{view['channel']}, {view.get('kind', 'marketing')}"),
        ("provider", view["provider"]),
        ("lists", ", ".join(view.get("lists") or ())),
        ("recipients", int(counts["total"]) if counts["total"] else None),
    ]
    pairs += [(f"  {name.replace('_', ' ')}", int(counts[name])) for name in STATES if counts.get(name)]
    pairs += [
        ("possible duplicates", int(view.get("possible_duplicates") or 0) or None),
        ("rate", rate(view)),
        ("left", f"about {spoken(view['eta'])}" if view.get("eta") and view["state"] == "running" else ""),
        ("scheduled", moment(view.get("scheduled_at"))),
        ("started", moment(view.get("started_at"))),
        ("completed", moment(view.get("completed_at"))),
        ("last error", view.get("last_error")),
    ]
    return f"{view['name']}  {state}{reason}\n{facts(pairs)}"


def summary(view: View) -> str:
    """How a campaign stands, in one sentence."""
    counts = view["counts"]
    parts = [f"{number(int(counts[name]))} {name.replace('_', ' ')}" for name in STATES if counts.get(name)]
    reason = f" ({printable(view['reason'])})" if view.get("reason") else ""
    done = f": {', '.join(parts)} of {number(int(counts['total']))}" if parts else ""
    return f"{view['name']} is {view['state']}{reason}{done}"


def moment(text: str | None) -> str:
    """An RFC 3339 time, shortened to the second."""
    if not text:
        return ""
    day, _, clock = text.partition("T")
    return f"{day} {clock[:8]} UTC" if clock else text


def problems(listed: Sequence[View], *, ways: bool = True) -> list[str]:
    """Preflight problems, each with the way past it unless that is said elsewhere."""
    lines = []
    for each in listed:
        risk = each.get("risk", "")
        way = f"  (put it right, or pass --accept-risk {risk})" if risk and ways else ""
        lines.append(f"- {printable(str(each.get('problem', '')))}{way}")
    return lines


def estimate(found: View | None) -> str:
    """How long a campaign will take, as far as that is known."""
    if not found or not found.get("messages"):
        return ""
    speed = found.get("rate")
    pace = f" at {speed:,.0f}/s" if isinstance(speed, int | float) and speed >= 1 else ""
    span = found.get("seconds")
    return f"about {spoken(float(span))}{pace}" if span else ""


def skips(skipped: View, channel: str) -> str:
    """ "12 suppressed, 3 have no phone number"."""
    return ", ".join(_skip(why, int(n), channel) for why, n in skipped.items() if n)


def _skip(why: str, count: int, channel: str) -> str:
    if why == "invalid_address":
        kind = "phone number" if channel == "sms" else "email address"
        return f"{number(count)} {'has' if count == 1 else 'have'} no {kind}"
    return f"{number(count)} {why.replace('_', ' ')}"


def check(found: View) -> str:
    """The answer of `check`."""
    segments = found.get("segments")
    pairs: list[tuple[str, object]] = [
        ("recipients", int(found["recipients"])),
        ("skipped", skips(found.get("skipped") or {}, found["channel"])),
        ("via", f"{found['provider']} ({found['channel']})"),
        ("segments", segments_line(segments) if segments else ""),
        ("takes", estimate(found.get("estimate"))),
    ]
    lines = [facts(pairs)]
    lines += [f"  warning: {printable(str(each))}" for each in found.get("warnings") or ()]
    return "\n".join(lines)


def segments_line(segments: View) -> str:
    """ "2 segments (ucs2, 71 units)"."""
    units = f", {number(int(segments['units']))} units" if segments.get("units") else ""
    return f"{plural(int(segments['segments']), 'segment')} ({segments['encoding']}{units})"


# --- deliveries --------------------------------------------------------------------------------------------

DELIVERY_COLUMNS = (
    "id",
    "recipient",
    "state",
    "reason",
    "attempts",
    "code",
    "provider_id",
    "message_id",
    "updated_at",
)


def deliveries(rows: Sequence[View], *, colour: bool = False, width: int = 10_000) -> str:
    """Deliveries as a table."""
    shown = [
        (
            str(row["id"]),
            row["recipient"],
            row["state"],
            (row.get("reason") or "").replace("_", " "),
            row["attempts"],
            str(row.get("code") or ""),
            moment(row.get("updated_at")),
            row.get("provider_id") or "",
        )
        for row in rows
    ]
    headers = ("ID", "RECIPIENT", "STATE", "REASON", "TRIES", "CODE", "UPDATED", "PROVIDER'S ID")
    return table(headers, shown, colour=colour, width=width)


def message(found: View, *, colour: bool = False, width: int = 10_000, content: bool = True) -> str:
    """One message's whole life: where it stands, every attempt, what it says."""
    delivery = found["delivery"]
    state = paint(delivery["state"], STATE_COLOURS.get(delivery["state"], "") if colour else "")
    reason = f": {printable(delivery['reason'].replace('_', ' '))}" if delivery.get("reason") else ""
    blocks = [
        f"message {delivery['id']}  {state}{reason}\n"
        + facts(
            [
                ("to", delivery["recipient"]),
                ("campaign", _origin(delivery)),
                ("channel", delivery.get("channel")),
                ("Message-ID", delivery.get("message_id")),
                ("provider's id", "" if delivery.get("file") else delivery.get("provider_id")),
                ("file", delivery.get("file")),
                ("what happened", delivery.get("detail")),
                ("sent again", _again(delivery)),
                ("next try", moment(delivery.get("next_at"))),
                ("updated", moment(delivery.get("updated_at"))),
            ]
        )
    ]
    attempts = found.get("attempts") or ()
    if attempts:
        rows = [
            (
                str(each["n"]),
                moment(each.get("opened_at")),
                moment(each.get("closed_at")),
                each.get("provider"),
                each.get("outcome") or "open",
                each.get("stage"),
                " ".join(str(part) for part in (each.get("code"), each.get("enhanced")) if part),
                each.get("detail"),
            )
            for each in attempts
        ]
        headers = ("TRY", "OPENED", "CLOSED", "PROVIDER", "OUTCOME", "STAGE", "CODE", "ANSWER")
        blocks.append(table(headers, rows, colour=colour, width=width))
    if content and found.get("content"):
        blocks.append(body(found["content"], colour=colour))
    return "\n\n".join(blocks)


def _again(delivery: View) -> str:
    """Whether it may have been delivered more than once."""
    times = int(delivery.get("possible_duplicates") or 0)
    return f"{plural(times, 'time')} although it may have been accepted" if times else ""


def _origin(delivery: View) -> str:
    """Where a message comes from: a campaign, or a single one with a campaign's content or its own."""
    if not delivery.get("single"):
        return str(delivery.get("campaign") or "")
    of = delivery.get("content_of")
    return f"a single message with the content of {of}" if of else "a single message"


def body(content: View, *, colour: bool = False, html_hint: bool = True) -> str:
    """A rendered message: its subject and the text part, or the HTML source when there is no text."""
    lines = []
    if content.get("subject"):
        lines.append(paint(f"Subject: {one_line(content['subject'])}", "1" if colour else ""))
        lines.append("")
    text = content.get("text") or content.get("html") or ""
    lines.append(printable(str(text).replace("\r\n", "\n").rstrip("\n")))
    if html_hint and content.get("text") and content.get("html"):
        lines.append(paint("(an HTML part goes with it: --html shows it)", "2" if colour else ""))
    return "\n".join(lines)


_ADVICE = {
    "transient": "hubctl retry {name} --class transient",
    "permanent": "correct the address or the message, then hubctl retry {name} --class permanent",
    "in_doubt": "look at the provider's log, then hubctl retry {name} --in-doubt resend|sent|failed",
}


def failures(name: str, groups: Sequence[View], *, colour: bool = False, width: int = 10_000) -> str:
    """What went wrong, by reason, with what to do about each kind."""
    rows = [
        (
            int(group["count"]),
            group["state"],
            (group.get("reason") or "").replace("_", " "),
            str(group.get("code") or ""),
            str(group.get("example_id") or ""),
            group.get("detail"),
        )
        for group in groups
    ]
    shown = table(("COUNT", "STATE", "REASON", "CODE", "EXAMPLE", "DETAIL"), rows, colour=colour, width=width)
    kinds = [kind for kind in _ADVICE if any(group.get("class") == kind for group in groups)]
    advice = [f"  {kind.replace('_', ' ')}: {_ADVICE[kind].format(name=name)}" for kind in kinds]
    return "\n".join([shown, "", "what to do:", *advice]) if advice else shown


# --- the daemon --------------------------------------------------------------------------------------------


def providers(views: Sequence[View], *, colour: bool = False, width: int = 10_000) -> str:
    """The providers that are configured."""
    rows = [
        (
            view["name"],
            view["type"],
            "+".join(view.get("channels") or ()),
            view["state"],
            view.get("lanes"),
            rates(view.get("rate")),
            view.get("reason"),
        )
        for view in views
    ]
    return table(
        ("PROVIDER", "TYPE", "CHANNELS", "STATE", "LANES", "RATE", "REASON"), rows, colour=colour, width=width
    )


def rates(value: object) -> str:
    """A rate as the daemon tells it: nothing, one word or several."""
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return str(value or "")


def daemon(found: View) -> str:
    """The daemon in one line."""
    up = spoken(float(found.get("uptime") or 0))
    trouble = f"\n  TROUBLE: {printable(found['trouble'])}" if found.get("trouble") else ""
    return (
        f"hubd {found['version']}, up {up}, process {found['pid']}, state in {found['state_dir']}{trouble}"
        + restored(found.get("restored"))
    )


def restored(found: View | None) -> str:
    """What a restore of the database left to decide, on lines of its own; "" for nothing."""
    if not found:
        return ""
    listed = [f"{printable(name)} ({number(int(n))})" for name, n in found["in_doubt"].items()]
    return (
        f"\n  RESTORED {moment(found['at'])}: {printable(found['why'])}; "
        "what may have been sent after the copy was made is in doubt"
        f"\n  decide: hubctl retry NAME --in-doubt resend|sent|failed for {', '.join(listed)}"
    )


def event(row: View) -> str:
    """An event on one line."""
    data = row.get("data") or {}
    campaign_name = row.get("campaign") or data.get("name") or data.get("campaign") or ""
    if isinstance(campaign_name, Mapping):
        campaign_name = campaign_name.get("name", "")
    if row["type"] == "campaign.state":
        why = f" ({data['reason']})" if data.get("reason") else ""
        words = f"{data.get('from') or '?'} -> {data.get('to')}{why}"
    else:
        shown = {key: value for key, value in data.items() if key not in {"name", "campaign", "campaign_id"}}
        words = " ".join(
            f"{key}={one_line(value)}" for key, value in shown.items() if not isinstance(value, dict)
        )
    at = moment(row.get("at") or row.get("ts"))
    return printable(f"{at}  {row.get('seq', '')!s:>6}  {row['type']:<20} {campaign_name}  {words}".rstrip())


def settings(spec: View) -> str:
    """A campaign's settings as applied; the texts come last, in full."""
    bodies = [key for key in ("text", "html") if spec.get(key)]
    pairs: list[tuple[str, object]] = []
    for key, value in spec.items():
        if key in bodies or key == "name":
            continue
        if isinstance(value, Mapping):
            pairs += [(f"{key}.{inner}", each) for inner, each in value.items()]
        elif key == "attachments" and isinstance(value, list | tuple):
            pairs.append(
                (key, ", ".join(f"{each['name']} ({number(int(each['size']))} octets)" for each in value))
            )
        else:
            pairs.append((key, rates(value) if isinstance(value, list | tuple) else value))
    blocks = [facts(pairs)]
    for key in bodies:
        text = printable(str(spec[key]).rstrip("\n"))
        blocks.append(f"  {key}:\n" + "\n".join(f"    {line}".rstrip() for line in text.split("\n")))
    return "\n\n".join(blocks)
