"""The rows of notifications, written at the end of the transaction of the event that they tell of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hubd.core.model import Counts, DeliveryState
from hubd.core.notices import OCCURRENCE, OTHERS, OWN_KEYS, Notice, NoticeKind, headline, kinds_of
from hubd.store.transaction import Row, Transaction

_COUNTED = ("total", *(state.value for state in DeliveryState))
_SUMS = ", ".join(f"coalesce(sum(n_{name}), 0) AS {name}" for name in _COUNTED)

#: The campaign that an event is about, with its figures.
CAMPAIGN = f"""
SELECT name, provider, runs, {_SUMS} FROM campaign
LEFT JOIN campaign_count ON campaign_count.campaign_id = campaign.id WHERE id = ? GROUP BY id"""  # noqa: S608 - only our own words
#: A notification, unless it is there.
ADD_NOTICE = """
INSERT INTO notification (at, kind, key, about, provider, reason, figures) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING RETURNING id"""

AddEvent = Callable[[str, int | None, Mapping[str, object]], int]


class Happened(NamedTuple):
    """An event that people may be told of."""

    seq: int
    type: str
    campaign_id: int | None
    data: Mapping[str, object]


def write_notices(db: Transaction, now: float, happened: Happened, event: AddEvent) -> None:
    """Write what people are told because of an event; the counters are those of its transaction."""
    if happened.type in OTHERS:
        _write_other(db, now, happened, event)
        return
    row = db.execute(CAMPAIGN, (happened.campaign_id,)).fetchone()
    if row is None:
        return
    if happened.type == OCCURRENCE:
        _write_occurrence(db, now, happened, row, event)
        return
    figures = {name: int(row[name]) for name in _COUNTED}
    run = f"{happened.campaign_id}:{row['runs']}"
    if happened.data.get("to") == "stopped":  # it did not run: that may happen again before it does
        run += f":{happened.seq}"
    for kind in kinds_of(happened.type, happened.data, Counts(**figures)):
        key = f"{OWN_KEYS}{run}:{kind}"
        reason = "" if kind is NoticeKind.IN_DOUBT else str(happened.data.get("reason") or "")
        shown = {name: n for name, n in figures.items() if n}
        _write(db, now, kind, key, (row["name"], row["provider"], reason), shown, event)


def _write_occurrence(db: Transaction, now: float, happened: Happened, series: Row, event: AddEvent) -> None:
    data = happened.data
    for kind in kinds_of(happened.type, data, Counts()):
        key = f"{OWN_KEYS}{happened.campaign_id}:{int(float(str(data['at'])))}:{kind}"
        figures = {"missed": n} if type(n := data.get("missed")) is int and n else {}
        _write(db, now, kind, key, (series["name"], "", str(data.get("detail") or "")), figures, event)


def _write_other(db: Transaction, now: float, happened: Happened, event: AddEvent) -> None:
    kind, named = OTHERS[happened.type]
    about = str(happened.data.get(named) or "")
    figures = {name: n for name, n in happened.data.items() if type(n) is int}
    key = f"{OWN_KEYS}{named}/{about}:{happened.seq}:{kind}"
    reason = str(happened.data.get("reason") or "")
    _write(db, now, kind, key, (about, "", reason), figures, event)


def _write(
    db: Transaction,
    now: float,
    kind: NoticeKind,
    key: str,
    words: tuple[str, str, str],
    figures: Mapping[str, int],
    event: AddEvent,
) -> None:
    values = (now, kind.value, key, *words, json.dumps(figures))
    made = db.execute(ADD_NOTICE, values).fetchone()
    if made is not None:
        about, provider, reason = words
        notice = Notice(
            id=made[0],
            at=now,
            kind=kind,
            key=key,
            about=about,
            provider=provider,
            reason=reason,
            figures=figures,
        )
        told = {"id": notice.id, "kind": kind.value, "about": about, "headline": headline(notice)}
        event("notification.added", None, told)


def notice_from(row: Row) -> Notice:
    """A row of `notification`."""
    return Notice(
        id=row["id"],
        at=row["at"],
        kind=NoticeKind(row["kind"]),
        key=row["key"],
        about=row["about"],
        provider=row["provider"],
        reason=row["reason"],
        figures=json.loads(row["figures"]),
        read=row["read_at"] is not None,
    )
