"""Events as text for people: a line each, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from hubctl.layout import number, one_line, plural, printable
from hubctl.render import View, moment, rates

#: Keys of the data that an event does not show again.
_KNOWN = frozenset({"name", "campaign", "campaign_id"})


def event(row: View) -> str:
    """An event on one line: when, its number, its type, whom it is about, what it says."""
    if row["type"] == "gap":  # reported in words already
        return f"... {row['after']} to {row['next'] - 1} are missing"
    data = row.get("data") or {}
    about = row.get("campaign") or data.get("name") or data.get("campaign") or ""
    if isinstance(about, Mapping):
        about = about.get("name", "")
    at = moment(row.get("at") or row.get("ts"))
    parts = [at, f"{row.get('seq', '')!s:>6}", f"{row['type']:<20}", str(about), what(row["type"], data)]
    return printable("  ".join(part for part in parts if part).rstrip())


def what(kind: str, data: View) -> str:
    """What an event says, in words; an unknown one with its data as it is."""
    match kind.partition(".")[0]:
        case "campaign":
            found = _campaign(kind, data)
        case "delivery" | "provider":
            found = _delivery(kind, data) or _provider(kind, data) or _came_back(kind, data)
        case _:
            found = _came_back(kind, data) or _hub(kind, data)
    if found is not None:
        return one_line(found)
    shown = {key: value for key, value in data.items() if key not in _KNOWN}
    return " ".join(f"{key}={one_line(value)}" for key, value in shown.items() if not isinstance(value, dict))


def _campaign(kind: str, data: View) -> str | None:
    match kind:
        case "campaign.state":
            at = _time(data.get("scheduled_at")) if data.get("to") == "scheduled" else ""
            return f"{data.get('from') or '?'} -> {data.get('to')}{_why(data)}" + (f", at {at}" if at else "")
        case "campaign.changed":
            limit, at = data.get("limit"), _time(data.get("scheduled_at"))
            said = [
                str(data.get("reason") or ""),
                f"pauses after {number(int(limit))}" if limit else "",
                f"starts at {at}" if at else "",
            ]
            return ", ".join(filter(None, said)) or "continues: nothing prevents it any longer"
        case "campaign.applied" if data.get("clone_of"):
            return f"made from {data['clone_of']}"
        case "campaign.applied":
            changed = ", ".join(map(str, data.get("changed") or ()))
            return "created" if data.get("created") else f"changed {changed}".rstrip()
        case "campaign.joined":
            people = plural(int(data.get("recipients") or 0), "recipient")
            return f"{people} more, added to {data.get('list')}"
        case "campaign.occurrence":
            return _occurrence(data)
        case "campaign.rate":
            return rates(data.get("rate")) or "no limit of its own"
        case "campaign.archived":
            return "archived" if data.get("archived") else "listed again"
        case "campaign.deleted":
            return "was deleted"
        case "campaign.restored":
            held = plural(int(data.get("held") or 0), "recipient")
            return f"{held} held after a restore, because they may have got the message since"
    return None


def _occurrence(data: View) -> str:
    at, why = _time(data.get("at")), f": {data['detail']}" if data.get("detail") else ""
    match data.get("outcome"):
        case "started":
            return f"{data.get('occurrence')} begins, planned for {at}"
        case "missed":
            times = plural(int(data.get("missed") or 0), "occurrence")
            return f"{times} missed, from {at}"
        case "overlap":
            return f"skipped the occurrence of {at}{why}"
        case _:
            return f"the occurrence of {at} could not begin{why}"


def _delivery(kind: str, data: View) -> str | None:
    of = _message(data)
    match kind:
        case "delivery.failed":
            return f"{of} failed{_reason(data)}"
        case "delivery.in_doubt":
            return f"{of} may or may not have been accepted{_reason(data)}"
        case "delivery.resolved":
            done = {
                "resend": "will be resent",
                "sent": "was marked as sent",
                "failed": "was marked as failed",
                "hold": "waits for your decision",
            }
            how = str(data.get("how"))
            return f"{of} {done.get(how, how)}, says {data.get('by') or 'nobody'}"
        case "delivery.requeued":
            count = int(data.get("count") or 0)
            go = "goes" if count == 1 else "go"
            return f"{plural(count, 'recipient')} {go} back into the queue ({data.get('class')} failures)"
        case "delivery.cancelled":
            why = "contact removed" if data.get("reason") == "cancelled" else _word(data.get("reason"))
            return f"{plural(int(data.get('count') or 0), 'message')} will not be sent: {why}"
    return None


def _came_back(kind: str, data: View) -> str | None:
    item, of = f"(hubctl inbox show {data.get('item')})", _message(data)
    match kind:
        case "delivery.bounced":
            return f"{of} came back{_why(data)}"
        case "delivery.complained":
            return f"the recipient of {of} reported it as spam"
        case "reply.received":
            held = "; nothing more is sent to them until you decide" if data.get("held") else ""
            return f"somebody replied{held} {item}"
        case "reply.opted_out":
            return f"somebody wants no more messages {item}"
        case "reply.opted_in":
            return f"somebody withdraws an opt-out {item}"
        case "reply.decided":
            return f"reply {data.get('item')} was decided: {_word(data.get('decision'))}"
        case "mailbox.broken" if data.get("source") == "listener":
            return f"the listener cannot accept connections{_why(data)}"
        case "mailbox.working" if data.get("source") == "listener":
            return "the listener accepts connections again"
        case "mailbox.broken":
            return f"{data.get('source')} cannot be read{_why(data)}"
        case "mailbox.refused":
            return f"{data.get('source')} can be read, but not changed{_why(data)}"
        case "mailbox.working":
            return f"{data.get('source')} can be read again"
    return None


def _provider(kind: str, data: View) -> str | None:
    match kind:
        case "provider.changed":
            until = _time(data.get("until"))
            moved = f"{data.get('provider')}: {_word(data.get('from'))} -> {_word(data.get('to'))}"
            why = _why(data) if data.get("reason") != data.get("to") else ""
            return moved + (f" until {until}" if until else "") + why
        case "provider.sid_reused":
            return f"{data.get('provider')} gave {_message(data)} the id of another message"
    return None


def _hub(kind: str, data: View) -> str | None:
    match kind:
        case "contacts.imported":
            imported, updated = (number(int(data.get(key) or 0)) for key in ("imported", "updated"))
            return f"list {data.get('list')}: {imported} imported, {updated} updated"
        case "template.applied":
            return f"template {data.get('template')} is now at version {data.get('version')}"
        case "template.deleted":
            return f"template {data.get('template')} was deleted"
        case "list.left":
            return f"{plural(int(data.get('contacts') or 0), 'contact')} taken off list {data.get('list')}"
        case "list.renamed":
            return f"list {data.get('list')} is now called {data.get('to')}"
        case "list.deleted":
            return f"list {data.get('list')} was deleted"
        case "contact.removed":
            return f"contact {data.get('contact_id')} was deleted"
        case "credits.granted":
            credits = int(data.get("credits") or 0)
            done = "granted to" if credits > 0 else "taken back from"
            left = number(int(data.get("available") or 0))
            return f"{plural(abs(credits), 'credit')} {done} {data.get('account')}, {left} available"
        case "credits.low":
            left = plural(int(data.get("available") or 0), "credit")
            return f"{data.get('account')} has {left} left"
        case "sink.broken":
            return f"the sink {data.get('sink')} no longer accepts anything{_why(data)}"
        case "sink.resumed":
            return f"the sink {data.get('sink')} will be tried again"
        case "notification.added":
            return f"notification {data.get('id')}: {data.get('headline')}"
        case "config.reloaded":
            applied = "; ".join(map(str, data.get("applied") or ())) or "nothing changed"
            waits = ", ".join(map(str, data.get("needs_restart") or ()))
            return f"read again: {applied}" + (f"; {waits} after the next start of hubd" if waits else "")
        case "config.reload_failed":
            more = len(data.get("errors") or ()) - 1
            others = f" (and {plural(more, 'more error')})" if more > 0 and "more)" not in str(data) else ""
            return f"not applied; the old configuration remains in effect: {data.get('problem')}{others}"
        case "hub.restored":
            return f"the database is an older copy: {data.get('why')}"
        case "hub.socket_removed":
            return f"the socket {data.get('path')} was removed; {data.get('remedy')}"
        case "hub.socket_restored":
            return f"the socket {data.get('path')} is back"
    return None


def _message(data: View) -> str:
    return f"message {data.get('delivery_id', '?')}"


def _why(data: View) -> str:
    return f" ({data['reason']})" if data.get("reason") else ""


def _reason(data: View) -> str:
    said = str(data.get("reason") or "").replace("_", " ")
    if data.get("provider_reply"):
        return (f": {said}" if said else "") + f". The provider said: {data['provider_reply']}"
    code = f" ({data['code']})" if data.get("code") else ""
    return (f": {said}" if said else "") + code


def _word(value: object) -> str:
    return str(value or "?").replace("_", " ")


def _time(seconds: object) -> str:
    """Seconds since 1970 as people read a time; "" for none."""
    if not isinstance(seconds, int | float):
        return ""
    try:
        return moment(datetime.fromtimestamp(seconds, UTC).isoformat())
    except (OverflowError, ValueError, OSError):
        return ""
