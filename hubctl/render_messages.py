"""Single messages as text for people: who got one, what happened to it, what it says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from hubctl.layout import (
    STATE_COLOURS,
    facts,
    fitting_columns,
    one_line,
    paint,
    plural,
    printable,
    sentences,
    shown_columns,
    table,
    wrapped,
)
from hubctl.render import clock, count, moment
from hubctl.spans import spoken

if TYPE_CHECKING:
    from hubd.wire import message_results as r
    from hubd.wire.campaign_results import CampaignView, TestSendResult

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
    "provider_reply",
)
#: Columns that are left out first where there is little room; `hubctl message ID` shows them.
_LESS_WANTED = ("PROVIDER SAID", "PROVIDER ID", "TRIES", "UPDATED", "CODE")
#: What a provider says about these needs no attention.
_ACCEPTED = ("sent", "delivered")
SENDS_COLUMNS = (
    *("id", "recipient", "subject", "state", "reason", "attempts", "code", "provider_reply"),
    *("provider", "channel"),
    *("provider_id", "message_id", "updated_at"),
)
FAILURE_COLUMNS = ("reason", "code", "state", "count", "detail", "provider_reply", "example_id", "class")


def deliveries(rows: Sequence[r.DeliveryView], *, colour: bool = False, width: int = 10_000) -> str:
    """Deliveries as a table."""
    shown = [
        (
            str(row["id"]),
            row["recipient"],
            row["state"],
            (row.get("reason") or "").replace("_", " "),
            row["attempts"],
            str(row.get("code") or ""),
            clock(row.get("updated_at")),
            row.get("provider_id") or "",
            "" if row["state"] in _ACCEPTED else row.get("provider_reply") or "",
        )
        for row in rows
    ]
    headers = (
        "ID",
        "RECIPIENT",
        "STATE",
        "REASON",
        "TRIES",
        "CODE",
        "UPDATED",
        "PROVIDER ID",
        "PROVIDER SAID",
    )
    rare = ("REASON", "CODE", "PROVIDER ID", "PROVIDER SAID")
    kept = fitting_columns(*shown_columns(headers, shown, rare), _LESS_WANTED, width)
    return table(*kept, colour=colour, width=width, whole=("RECIPIENT",))


def sends(rows: Sequence[r.MessageView], *, colour: bool = False, width: int = 10_000) -> str:
    """One-off messages as a table."""
    shown = [
        (
            str(row["id"]),
            row["recipient"],
            one_line(row.get("subject") or ""),
            row["state"],
            (row.get("reason") or "").replace("_", " "),
            clock(row.get("updated_at")),
            row["provider"],
        )
        for row in rows
    ]
    headers = ("ID", "RECIPIENT", "SUBJECT", "STATE", "REASON", "UPDATED", "PROVIDER")
    kept = fitting_columns(
        *shown_columns(headers, shown, ("SUBJECT", "REASON")), ("PROVIDER", "UPDATED"), width
    )
    return table(*kept, colour=colour, width=width, whole=("RECIPIENT",))


def message(found: r.DeliveryResult, *, colour: bool = False, width: int = 10_000) -> str:
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
                ("provider id", "" if delivery.get("file") else delivery.get("provider_id")),
                ("file", delivery.get("file")),
                ("what happened", delivery.get("detail")),
                ("provider said", delivery.get("provider_reply")),
                ("sent again", _again(delivery)),
                ("next try", moment(delivery.get("next_at"))),
                ("updated", moment(delivery.get("updated_at"))),
            ],
            width=width,
        )
    ]
    attempts = found.get("attempts") or ()
    if attempts:
        rows = [
            (
                str(each["n"]),
                clock(each.get("opened_at")),
                _took(each),
                each.get("provider"),
                each.get("outcome") or "open",
                each.get("stage"),
                " ".join(str(part) for part in (each.get("code"), each.get("enhanced")) if part),
                _told(each) if each.get("outcome") != "sent" else each.get("detail"),
            )
            for each in attempts
        ]
        headers = ("TRY", "BEGUN", "TOOK", "PROVIDER", "OUTCOME", "STAGE", "CODE", "WHAT HAPPENED")
        if any(row[-1] for row in rows):
            blocks.append(sentences(headers, rows, colour=colour, width=width))
        else:
            blocks.append(table(headers[:-1], [row[:-1] for row in rows], colour=colour, width=width))
    if content := found["content"]:
        blocks.append(body(content, colour=colour))
    return "\n\n".join(blocks)


def ending(delivery: r.DeliveryLife | TestSendResult) -> str:
    """What came of one message, in a sentence; what an outbox wrote has reached nobody."""
    file = delivery.get("file")
    if file and delivery["state"] == "sent":
        return f"written to the outbox; nothing left this machine: {printable(str(file))}"
    why = f": {delivery['reason'].replace('_', ' ')}" if delivery.get("reason") else ""
    if delivery.get("provider_reply") and delivery["state"] not in _ACCEPTED:
        return f"{delivery['state']}{why}. The provider said: {printable(delivery['provider_reply'])}"
    code = f" ({delivery['code']})" if delivery.get("code") else ""
    return f"{delivery['state']}{why}{code}"


def _told(row: r.AttemptView | r.FailureGroup) -> str:
    """What happened, and what the provider said about it."""
    said = f"The provider said: {row['provider_reply']}" if row.get("provider_reply") else ""
    return " ".join(filter(None, (row.get("detail"), said)))


def _took(attempt: r.AttemptView) -> str:
    """How long an attempt took; "" while it is under way."""
    opened, closed = attempt.get("opened_at"), attempt.get("closed_at")
    if not opened or not closed:
        return ""
    return spoken((datetime.fromisoformat(closed) - datetime.fromisoformat(opened)).total_seconds())


def _again(delivery: r.DeliveryLife) -> str:
    """Whether it may have been delivered more than once."""
    times = int(delivery.get("possible_duplicates") or 0)
    return f"{plural(times, 'time')} although it may have been accepted" if times else ""


def _origin(delivery: r.DeliveryLife) -> str:
    """Where a message comes from: a campaign, or a transactional one with a campaign's content or its own."""
    if not delivery.get("single"):
        return str(delivery.get("campaign") or "")
    of = delivery.get("content_of")
    return f"a transactional message with the content of {of}" if of else "a transactional message"


def body(content: r.ContentView, *, colour: bool = False, html_hint: bool = True) -> str:
    """A rendered message: its subject and the text part, or the HTML source when there is no text."""
    lines = []
    if content.get("subject"):
        lines.append(paint(f"Subject: {one_line(content['subject'])}", "1" if colour else ""))
        lines.append("")
    text = content.get("text") or content.get("html") or ""
    lines.append(printable(str(text).replace("\r\n", "\n").rstrip("\n")))
    if html_hint and content.get("text") and content.get("html"):
        lines.append(paint("(there is an HTML part as well; show it with --html)", "2" if colour else ""))
    return "\n".join(lines)


def preview(found: r.PreviewResult, *, colour: bool = False) -> str:
    """A message that is not sent yet: what its reader sees of its headers, its text, and its files."""
    headers = [(name, value) for name, value in found.get("headers", ()) if name.lower() not in _UNSEEN]
    headers = headers or [("To", found["recipient"])]
    if found.get("subject") and not any(name == "Subject" for name, _ in headers):
        headers.append(("Subject", found["subject"]))
    lines = [
        paint(f"{one_line(name)}: {one_line(value)}", "1" if colour and name == "Subject" else "")
        for name, value in headers
    ]
    lines += ["", body({"text": found["text"], "html": found.get("html", "")}, html_hint=False)]
    files = [
        f"{one_line(file['name'])} ({file_size(int(file['size']))}"
        + (", in the HTML)" if file["inline"] else ")")
        for file in found["attachments"]
    ]
    lines += ["", paint(f"files: {', '.join(files)}", "2" if colour else "")] if files else []
    return "\n".join(lines)


#: Headers that differ for every message, or are the same for everybody.
_UNSEEN = frozenset({"date", "message-id", "list-unsubscribe-post"})


def file_size(size: int) -> str:
    """ "812 bytes", "34.2 KiB", "3.1 MiB"."""
    if size < 1024:
        return plural(size, "byte")
    return f"{size / 1024:,.1f} KiB" if size < 1024**2 else f"{size / 1024**2:,.1f} MiB"


_ADVICE = {
    "transient": "hubctl retry {name} --class transient",
    "permanent": "correct the address or the message, then hubctl retry {name} --class permanent; an address "
    "that does not exist is now on the suppression list: first run hubctl suppress remove ADDRESS",
    "in_doubt": "look at the provider's log, then hubctl retry {name} --in-doubt resend|sent|failed",
}


def halted(view: CampaignView) -> list[str]:
    """Why a campaign does not go on although nobody asked for that, and what to do; empty if it does."""
    name, state, why = view["name"], view["state"], printable(view.get("reason") or "")
    if not why or state not in _HALTED:
        return []
    if state == "paused" and why == "limit":
        sent = plural(int(view.get("limit") or 0), "message")
        return [f"{name} paused at its limit ({sent} in all). To send the rest: hubctl resume {name}"]
    said, go_on = _HALTED[state]
    lines = [f"{name} {said}: {why}"]
    return lines if "hubctl " in why else [*lines, go_on.format(name=name)]


def set_aside(view: CampaignView) -> list[str]:
    """Recipients who got nothing so far although nothing failed, and how to list them."""
    lines = []
    for state, what in (("deferred", "refused for now, and tried again"), ("skipped", "skipped")):
        if n := count(view["counts"], state):
            were = "was" if n == 1 else "were"
            shown = f"hubctl deliveries {view['name']} --state {state}"
            lines.append(f"{plural(n, 'recipient')} {were} {what}: {shown}")
    return lines


_HALTED = {
    "paused": ("paused automatically", "Once the cause is gone: hubctl resume {name}"),
    "failed": ("ended early", "To continue with the remaining recipients: hubctl start {name}"),
    "stopped": ("was stopped", "To continue with the remaining recipients: hubctl start {name}"),
    "running": ("is running", "It continues by itself once that is over"),
}


def failures(
    name: str, groups: Sequence[r.FailureGroup], *, colour: bool = False, width: int = 10_000
) -> str:
    """What went wrong, by reason, with what to do about each kind."""
    rows = [
        (
            int(group["count"]),
            group["state"],
            (group.get("reason") or "").replace("_", " "),
            str(group.get("code") or ""),
            str(group.get("example_id") or ""),
            _told(group),
        )
        for group in groups
    ]
    headers = ("COUNT", "STATE", "REASON", "CODE", "EXAMPLE", "WHAT HAPPENED")
    shown = sentences(headers, rows, colour=colour, width=width)
    kinds = [kind for kind in _ADVICE if any(group.get("class") == kind for group in groups)]
    advice = [
        wrapped(f"  {kind.replace('_', ' ')}: {_ADVICE[kind].format(name=name)}", width, hanging="    ")
        for kind in kinds
    ]
    return "\n".join([shown, "", "what to do:", *advice]) if advice else shown
