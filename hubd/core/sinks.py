"""What sinks are told, and what their answers mean. Pure.

A sink only reads: it can hold no campaign up. What it could not be told is told later.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hubd.core.measures import Measure
from hubd.core.reports import Line, Sums, last_run, rates, stretch_of
from hubd.errors import BadInput

Cell = str | int | float | None
Row = Mapping[str, Cell]

#: The fields of a record of `campaigns`; records are found by the first.
CAMPAIGN_FIELDS = (
    "Campaign",
    "Total Sent",
    "Total Delivered",
    "Total Failed",
    "Total Replies",
    "Total Opt Outs",
    "Delivery Rate",
    "Opt Out Rate",
    "Last Run At",
    "Last Run Result",
    "Completed At",
)
#: The fields of a record of `kpis`.
KPI_FIELDS = (
    "Key",
    "Campaign",
    "Day",
    "Sent",
    "Delivered",
    "Undelivered",
    "Failed",
    "Bounced",
    "Complaints",
    "Replies",
    "Opt Outs",
    "Cost",
    "Delivery Rate",
    "Opt Out Rate",
)
ALL_CAMPAIGNS = "All campaigns"

FIRST_DELAY = 5.0  #: seconds before the second try; the delay doubles
LONGEST_DELAY = 3_600.0
GIVE_UP = 3 * 86_400.0  #: seconds of nothing but failures after which a sink is paused
TOO_MANY_REQUESTS = 30.0  #: seconds that Airtable wants after a 429

BATCH = 10  #: records in one request to Airtable
PER_SECOND = 5  #: requests to one base of Airtable

_UNKNOWN_FIELD = re.compile(r'Unknown field name: \\?"([^"\\]{1,200})\\?"')
_LEAST_SECRET, _LONGEST_SECRET = 24, 64  #: bytes, as Standard Webhooks says


# --- what is told -------------------------------------------------------------------------------


def campaign_rows(lines: Iterable[Line]) -> list[Row]:
    """A record for each campaign that was ever started."""
    found: list[Row] = []
    for line in lines:
        delivery_rate, opt_out_rate = rates(line.sums)
        values = (
            line.campaign.name,
            line.sums.get(Measure.SENT, 0),
            line.sums.get(Measure.DELIVERED, 0),
            line.sums.get(Measure.FAILED, 0),
            line.sums.get(Measure.REPLIES, 0),
            line.sums.get(Measure.OPT_OUTS, 0),
            delivery_rate,
            opt_out_rate,
            _time(line.campaign.started_at),
            last_run(line.campaign),
            _time(line.campaign.completed_at),
        )
        found.append(dict(zip(CAMPAIGN_FIELDS, values, strict=True)))
    return found


def kpi_rows(
    names: Mapping[int, str], hours: Iterable[tuple[int, int, Measure, int]], there: dt.tzinfo
) -> list[Row]:
    """A record for each campaign and day on which something happened, and one of all campaigns for each day.

    `hours` are a campaign's id, when the hour began, what, how often.
    """
    days: dict[tuple[int, int], Counter[Measure]] = {}
    for campaign_id, at, measure, n in hours:
        if campaign_id in names:
            days.setdefault((stretch_of(at, "day", there), campaign_id), Counter())[measure] += n
    together: dict[int, Counter[Measure]] = {}
    for (day, _), sums in days.items():
        together.setdefault(day, Counter()).update(sums)
    found = [
        _kpi(names[campaign_id], day, days[day, campaign_id], there) for day, campaign_id in sorted(days)
    ]
    return found + [_kpi(ALL_CAMPAIGNS, day, together[day], there) for day in sorted(together)]


def _kpi(name: str, day: int, sums: Sums, there: dt.tzinfo) -> Row:
    date = dt.datetime.fromtimestamp(day, there).date().isoformat()
    delivery_rate, opt_out_rate = rates(sums)
    counted = (
        *(Measure.SENT, Measure.DELIVERED, Measure.UNDELIVERED, Measure.FAILED, Measure.BOUNCED),
        *(Measure.COMPLAINTS, Measure.REPLIES, Measure.OPT_OUTS, Measure.COST),
    )
    values = (
        *(f"{name} {date}", name, date),
        *(sums.get(measure, 0) for measure in counted),
        *(delivery_rate, opt_out_rate),
    )
    return dict(zip(KPI_FIELDS, values, strict=True))


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def digest(row: Row) -> bytes:
    """The same for rows that say the same."""
    return hashlib.blake2b(json.dumps(row).encode(), digest_size=16).digest()


def batches(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    """So many rows at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def wanted(type_: str, patterns: Sequence[str]) -> bool:
    """Whether a webhook wants events of this type. How sinks are is told to none: it would never end."""
    if type_.startswith("sink."):
        return False
    return not patterns or any(
        type_ == each or (each.endswith(".*") and type_.startswith(each[:-1])) for each in patterns
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkView:
    """How a sink is."""

    name: str
    type: str
    content: str  #: "campaigns", "kpis" or "events"
    paused: bool
    reason: str  #: why it is paused, or why the last try failed
    failures: int  #: in a row
    told_at: float | None  #: when it was told something last
    behind: int  #: events that happened since then


# --- what is answered ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a try came to."""

    outcome: Literal["ok", "retry", "pause"]
    reason: str = ""  #: in words, without a secret
    after: float | None = None  #: seconds to wait at least


OK = Told(outcome="ok")


def airtable_answer(status: int, body: bytes) -> Told:
    """What an answer of Airtable means (https://airtable.com/developers/web/api/errors)."""
    if 200 <= status < 300:
        return OK
    said = body[:4_000].decode("utf-8", "replace")
    match status:
        case 429:
            return Told(outcome="retry", reason="Airtable limits the requests", after=TOO_MANY_REQUESTS)
        case 401:
            return Told(outcome="pause", reason="Airtable refuses the token; check `token`")
        case 403:
            return Told(
                outcome="pause",
                reason="the token may not write to this table; it needs data.records:read and :write",
            )
        case 404:
            return Told(outcome="pause", reason="there is no such base or table; check `base` and `table`")
        case 422:
            found = _UNKNOWN_FIELD.search(said)
            if found is not None and found[1].isprintable():
                reason = f"the table has no field {found[1]!r}; add it, or give its name in `fields`"
                return Told(outcome="pause", reason=reason)
            return Told(
                outcome="pause", reason="Airtable does not accept these values; check the types of the fields"
            )
        case 400 | 413:
            return Told(outcome="pause", reason=f"Airtable refuses the request ({status})")
    return Told(outcome="retry", reason=f"Airtable answered {status}")


def webhook_answer(status: int, retry_after: str) -> Told:
    """What an answer of a webhook's server means. Any 2xx is one; a redirect is not followed."""
    if 200 <= status < 300:
        return OK
    if status == 410:
        return Told(outcome="pause", reason="the server answered 410: it does not want any more events")
    if 300 <= status < 400:
        return Told(outcome="retry", reason=f"the server answered {status}; redirects are not followed")
    wait = float(retry_after) if re.fullmatch(r"[0-9]{1,6}", retry_after) else None
    return Told(
        outcome="retry",
        reason=f"the server answered {status}",
        after=None if wait is None else min(wait, LONGEST_DELAY),
    )


def delay(failures: int, after: float | None) -> float:
    """Seconds before the next try after so many failures in a row: 5 s, doubled up to an hour."""
    doubled: float = FIRST_DELAY * 2.0 ** min(failures - 1, 20)
    return max(min(doubled, LONGEST_DELAY), after or 0.0)


# --- Standard Webhooks --------------------------------------------------------------------------


def signing_key(secret: str) -> bytes:
    """The key in "whsec_..." (https://www.standardwebhooks.com). Raises BadInput, which does not quote it."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith("whsec_") or not _LEAST_SECRET <= len(key) <= _LONGEST_SECRET:
        raise BadInput(
            "the secret is not whsec_ and 24 to 64 bytes in base64",
            hint='make one: printf "whsec_%s" "$(openssl rand -base64 32)"',
        )
    return key


def signed(key: bytes, number: str, timestamp: int, body: bytes) -> list[tuple[str, str]]:
    """The headers of a request that only who knows the key can have written."""
    mac = hmac.digest(key, f"{number}.{timestamp}.".encode() + body, "sha256")
    return [
        ("webhook-id", number),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", f"v1,{base64.b64encode(mac).decode()}"),
    ]
