"""What came back, as text for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubctl.layout import facts, fitting_columns, number, one_line, printable, sentences, shown_columns, table
from hubctl.render import clock, moment

if TYPE_CHECKING:
    from hubd.wire import inbox_results as r

ITEM_COLUMNS = (
    *("id", "kind", "at", "from", "campaign", "delivery_id", "subject", "text", "decision"),
    *("original_kind", "channel", "mailbox", "matched_by", "reason", "code", "provider_reply", "answer_id"),
)
MAILBOX_COLUMNS = (
    *("name", "state", "reason", "person", "since", "read_at", "next_at", "items", "unmatched", "unreadable"),
)
_DECISIONS = {
    "waiting": "waits for your decision",
    "opt_out": "decided: opted out",
    "continue": "decided: continue",
}


def items(rows: Sequence[r.InboxItem], *, colour: bool = False, width: int = 10_000) -> str:
    """Items of the inbox as a table."""
    shown = [
        (str(row["id"]), _kind(row), clock(row["at"]), row["from"], row["campaign"] or "", _said(row))
        for row in rows
    ]
    headers = ("ID", "KIND", "AT", "FROM", "CAMPAIGN", "SAID")
    kept = fitting_columns(*shown_columns(headers, shown, ("CAMPAIGN",)), ("CAMPAIGN", "AT"), width)
    return table(*kept, colour=colour, width=width)


def _kind(row: r.InboxItem) -> str:
    kind = row["kind"].replace("_", " ")
    return f"{kind} (!)" if row["decision"] == "waiting" else kind


def _said(row: r.InboxItem) -> str:
    said = row["text"] or row["provider_reply"] or row["reason"].replace("_", " ")
    return one_line(": ".join(filter(None, (row["subject"], said))))[:200]


def item(found: r.InboxLetter, *, width: int = 10_000) -> str:
    """One item in full."""
    kind = found["original_kind"].replace("_", " ")
    about = found["campaign"] or ""
    pairs: list[tuple[str, object]] = [
        ("from", one_line(found["from"])),
        ("at", moment(found["at"])),
        ("campaign", about),
        ("message", found["delivery_id"]),
        ("known by", found["matched_by"].replace("_", " ")),
        ("read from", found["mailbox"]),
        ("reason", found["reason"].replace("_", " ")),
        ("code", " ".join(filter(None, (str(found["code"] or ""), found["enhanced"], found["vendor"])))),
        ("server said", found["provider_reply"]),
        ("subject", found["subject"]),
        ("decision", _DECISIONS.get(found["decision"], found["decision"])),
        ("answered by", found["answer_id"]),
    ]
    unmatched = "" if found["delivery_id"] is not None else ", not about a message of yours"
    if unmatched and found["matched_by"]:
        unmatched = ", about a deleted message of yours"
    blocks = [f"item {found['id']}  {kind}{unmatched}\n{facts(pairs, width=width)}"]
    if found["text"]:
        blocks.append(printable(found["text"].replace("\r\n", "\n").rstrip("\n")))
    return "\n\n".join(blocks)


def mailboxes(rows: Sequence[r.MailboxStatus], *, colour: bool = False, width: int = 10_000) -> str:
    """What is read, as a table, with the reason why something is not."""
    cells = [
        (
            row["name"],
            row["state"],
            clock(row["read_at"]),
            number(sum(row["items"].values())),
            row["reason"],
        )
        for row in rows
    ]
    headers = ("MAILBOX", "STATE", "LAST READ", "ITEMS")
    if not any(row[-1] for row in cells):
        return table(headers, [row[:-1] for row in cells], colour=colour, width=width)
    return sentences((*headers, "REASON"), cells, colour=colour, width=width)
