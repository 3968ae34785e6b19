"""Whom a campaign is for: counted before the start, frozen into the ledger after it.

Freezing goes list by list and within a list in contact order, a page to a unit of work, and takes only
memberships that existed when the campaign first went to `running`: membership ids only grow, so one number
marks that instant. Where freezing stands is in the campaign's row, in the transaction that made the
page's deliveries: after a crash it goes on there. A contact that is on two lists meets the unique index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import islice

from hubd.core.model import Channel, DeliveryState, SkipReason
from hubd.core.records import Audience, MissingPattern
from hubd.errors import BadInput
from hubd.failpoints import reach
from hubd.store import conditions
from hubd.store.conditions import COLUMNS, GIVEN, ON_LISTS
from hubd.store.list_names import list_id, no_such_list
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import Unit

ROW_BYTES = 200  #: bytes of a delivery with its index entries, without what is copied from the contact
MAX_FIELDS = 62  #: one bit each of SQLite's signed 64
_NAMED = 1_000  #: recipients whose fields are looked at to know their names

#: What freezing and counting need to know of a campaign.
FREEZING = """
SELECT channel, lists, trigger_list, single, freeze_to, freeze_list, freeze_after, freeze_in_doubt,
    audience_ready,
    coalesce(sum(n_total), 0) AS n_total, coalesce(sum(n_skipped), 0) AS n_skipped,
    coalesce(sum(n_pending + n_deferred), 0) AS n_remaining,
    coalesce(json_extract(spec, '$.where'), '') AS condition
FROM campaign LEFT JOIN campaign_count ON campaign_id = id WHERE id = ? GROUP BY id"""
#: The last contact of a page of a list, and how many contacts the page has.
PAGE = """
SELECT count(*), max(contact_id) FROM (
    SELECT contact_id FROM membership
    WHERE list_id = :list_id AND contact_id > :after AND id <= :bound ORDER BY contact_id LIMIT :size)"""
#: A contact's address to send to, and the same as it is compared.
_ADDRESSES = {
    Channel.EMAIL: ("contact.email", "contact.email_key"),
    Channel.SMS: ("contact.phone", "contact.phone"),
}


def _why_not(address: str, holds: str = "1") -> str:
    """The SQL of a contact's `SkipReason`, "" for none; `suppression` is joined, `holds` is a `Result`."""
    return f"""
    CASE WHEN {address} IS NULL THEN '{SkipReason.INVALID_ADDRESS}'
         WHEN suppression.reason = '{SkipReason.OPTED_OUT}' THEN '{SkipReason.OPTED_OUT}'
         WHEN suppression.reason IS NOT NULL THEN '{SkipReason.SUPPRESSED}'
         WHEN {holds} <> 1 THEN '{SkipReason.NOT_COMPARABLE}' ELSE '' END"""


#: Where the rows of a page come from, and which; with a condition, those for whom it holds or has no result.
_PAGE_ROWS = ("membership", conditions.PAGE)
_CHOSEN_ROWS = ("chosen", "1")
#: The detail of a contact for whom it has none, before the names of the fields.
_NO_RESULT = "where compares a number with a field that holds none: "
_CHOOSE = """
WITH chosen AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS contact_id, json_extract(value, '$[1]') AS holds
    FROM json_each(:chosen))"""


def _freeze(channel: Channel, address: str, key: str, *, condition: bool) -> str:
    source, which = _CHOSEN_ROWS if condition else _PAGE_ROWS
    why_not = _why_not(address, "chosen.holds" if condition else "1")
    detail = (
        f"CASE {why_not} WHEN '{SkipReason.NOT_COMPARABLE}' THEN '{_NO_RESULT}' || chosen.holds ELSE '' END"
    )
    return f"""{_CHOOSE if condition else ""}
INSERT INTO delivery (campaign_id, recipient, address_key, state, reason, detail, next_at, updated_at, fields)
SELECT :campaign_id, coalesce({address}, ''), coalesce({key}, 'contact:' || contact.id),
    CASE {why_not} WHEN '' THEN :state ELSE 'skipped' END,
    coalesce(nullif({why_not}, ''), :why), {detail if condition else "''"},
    CASE {why_not} WHEN '' THEN :next_at END, :now, {GIVEN}
FROM {source} JOIN contact ON contact.id = {source}.contact_id
LEFT JOIN suppression ON suppression.channel = '{channel}' AND suppression.address_key = {key}
WHERE {which}
ORDER BY {source}.contact_id
ON CONFLICT DO NOTHING"""  # noqa: S608 - no values, only our own words


def _would_reach(channel: Channel, address: str, key: str, *, condition: bool) -> str:
    source = "chosen JOIN contact ON contact.id = chosen.contact_id" if condition else "contact"
    return f"""{_CHOOSE if condition else ""}
SELECT {_why_not(address, "chosen.holds" if condition else "1")} AS reason, count(*) AS n
FROM {source}
LEFT JOIN suppression ON suppression.channel = '{channel}' AND suppression.address_key = {key}
{"" if condition else f"WHERE contact.id IN ({ON_LISTS})"}
GROUP BY 1"""  # noqa: S608 - no values, only our own words


def _size(address: str, key: str) -> str:
    return f"""
SELECT count(*) AS n, coalesce(sum(
    length(CAST(contact.fields AS BLOB)) + 2 * length({address}) + length({key}) * 2), 0) AS bytes
FROM contact WHERE {address} IS NOT NULL AND id IN ({ON_LISTS})"""  # noqa: S608 - no values, only our own words


def _draft_people(channel: Channel, address: str, key: str, *, condition: bool) -> str:
    return f"""
FROM contact WHERE {address} IS NOT NULL
    AND contact.id IN ({"SELECT value FROM json_each(:matched)" if condition else ON_LISTS})
    AND NOT EXISTS (SELECT 1 FROM suppression WHERE channel = '{channel}' AND address_key = {key})"""  # noqa: S608 - no values, only our own words


def _each(write: Callable[..., str]) -> dict[tuple[Channel, bool], str]:
    """A statement for each channel, without and with a condition."""
    return {
        (channel, condition): write(channel, *columns, condition=condition)
        for channel, columns in _ADDRESSES.items()
        for condition in (False, True)
    }


#: The page's contacts become deliveries with a copy of their fields.
FREEZE = _each(_freeze)
#: Whom a draft would reach: each contact of its lists once, with why not, and whether its condition holds.
WOULD_REACH = _each(_would_reach)
#: How many contacts the lists have, and how many bytes freezing copies from them.
SIZE = {channel: _size(*columns) for channel, columns in _ADDRESSES.items()}
#: Recipients of a draft.
DRAFT_PEOPLE = _each(_draft_people)
#: The newest delivery so far: the page's are those after it, because nobody else makes any meanwhile.
NEWEST = "SELECT coalesce(max(id), 0) FROM delivery"
#: The page by state, for the counters.
COUNT_NEW = "SELECT state, count(*) FROM delivery WHERE campaign_id = ? AND id > ? GROUP BY state"
#: Where the next page starts.
ADVANCE = "UPDATE campaign SET freeze_list = ?, freeze_after = ?, audience_ready = ? WHERE id = ?"
#: Whom a started campaign does not reach.
SKIPPED = """
SELECT reason, count(*) AS n FROM delivery WHERE campaign_id = ? AND state = 'skipped' GROUP BY reason"""
#: Recipients of a started campaign that are still to be tried; without the copy of a contact nobody is.
FROZEN_PEOPLE = """
FROM delivery WHERE campaign_id = :campaign_id AND (state = 'pending' OR state = 'deferred')
    AND fields <> '{}'"""
#: One of them, with all fields that it has.
DRAFT_SAMPLE = f"SELECT {GIVEN} AS fields FROM contact WHERE id = ?"  # noqa: S608 - no values, only our own words
FROZEN_SAMPLE = "SELECT fields FROM delivery WHERE id = ?"

#: How a recipient begins; and how after a restore, when this campaign may have been sent to more of them.
WAITING = {"state": DeliveryState.PENDING, "why": ""}
_HELD = {"state": DeliveryState.IN_DOUBT, "why": "restored"}

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def freeze_some(unit: Unit, campaign_id: int, size: int) -> bool:
    """Make the next page of deliveries; whether there may be more. Does nothing before the first start."""
    db = unit.db
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    if at is None or at["audience_ready"] or at["freeze_to"] is None:
        return False
    lists: list[str] = json.loads(at["lists"])
    if at["freeze_list"] >= len(lists) or at["trigger_list"]:  # nobody who was on its list before
        db.execute(ADVANCE, (at["freeze_list"], 0, 1, campaign_id))
        return False
    page = {
        "list_id": list_id(db, lists[at["freeze_list"]]),  # NULL, which no membership has, if it is gone
        "after": at["freeze_after"],
        "bound": at["freeze_to"],
        "size": size,
    }
    n, last = db.execute(PAGE, page).fetchone()
    if n:
        newest: int = db.execute(NEWEST).fetchone()[0]
        page |= {"last": last, "campaign_id": campaign_id, "now": unit.now, "next_at": None}
        page |= _HELD if at["freeze_in_doubt"] else WAITING
        if at["condition"]:
            page["chosen"] = conditions.chosen(conditions.results_of_page(db, at["condition"], page))
        db.execute(FREEZE[Channel(at["channel"]), bool(at["condition"])], page)
        for state, made in db.execute(COUNT_NEW, (campaign_id, newest)).fetchall():
            unit.moved(campaign_id, None, DeliveryState(state), made)
        reach("in_freeze")
    if n == size:
        db.execute(ADVANCE, (at["freeze_list"], last, 0, campaign_id))
        return True
    done = at["freeze_list"] + 1 >= len(lists)
    db.execute(ADVANCE, (at["freeze_list"] + 1, 0, int(done), campaign_id))
    return not done


def size_of(db: Transaction, campaign_id: int) -> int:
    """See `Campaigns.audience_size`."""
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    if at is None or at["audience_ready"] or at["trigger_list"]:
        return 0
    n, copied = map(int, db.execute(SIZE[Channel(at["channel"])], {"lists": at["lists"]}).fetchone())
    left = max(0, n - int(at["n_total"]))
    return left * (ROW_BYTES + copied // n) if n else 0


def audience_of(db: Transaction, campaign_id: int) -> Audience:
    """See `Campaigns.audience`."""
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    if at["audience_ready"]:
        reasons = {row["reason"]: row["n"] for row in db.execute(SKIPPED, (campaign_id,))}
        reached = at["n_total"] - at["n_skipped"]
        return Audience(recipients=reached, remaining=at["n_remaining"], skipped=reasons, matching=None)
    for name in json.loads(at["lists"]):
        if list_id(db, name) is None:
            raise no_such_list(name)
    if at["trigger_list"]:
        return Audience(recipients=0, remaining=0, skipped={}, matching=None)
    results = list(conditions.results(db, at["lists"], at["condition"])) if at["condition"] else []
    chosen = {"chosen": conditions.chosen(results), "lists": at["lists"]}
    statement = WOULD_REACH[Channel(at["channel"]), bool(at["condition"])]
    counts = {row["reason"]: row["n"] for row in db.execute(statement, chosen)}
    reached = counts.pop("", 0)
    return Audience(
        recipients=reached,
        remaining=reached,
        skipped=counts,
        matching=conditions.matching(db, at["lists"], at["condition"], results) if at["condition"] else None,
    )


def _asked(db: Transaction, at: Row, most: int | None = None) -> dict[str, object]:
    """What the statements about a campaign's people are given; see `_asked_of_draft`."""
    return {} if at["audience_ready"] else _asked_of_draft(db, at, most)


def _asked_of_draft(db: Transaction, at: Row, most: int | None = None) -> dict[str, object]:
    """What `DRAFT_PEOPLE` is given; with a condition, about the first `most` for whom it holds."""
    if not at["condition"]:
        return {"lists": at["lists"]}
    results = conditions.results(db, at["lists"], at["condition"])
    matched = (contact for contact, result in results if result == 1)
    return {"matched": json.dumps(list(islice(matched, most)))}


def _people(at: Row) -> str:
    """The SQL of the recipients of a campaign."""
    return (
        FROZEN_PEOPLE if at["audience_ready"] else DRAFT_PEOPLE[Channel(at["channel"]), bool(at["condition"])]
    )


def first_recipient(db: Transaction, campaign_id: int) -> str | None:
    """See `Campaigns.first_recipient`."""
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    people = DRAFT_PEOPLE[Channel(at["channel"]), bool(at["condition"])]
    for most in (_NAMED, None):  # few of them have no address or may get no message
        asked = _asked_of_draft(db, at, most)
        found = db.execute(f"SELECT public_id {people} ORDER BY id LIMIT 1", asked).fetchone()
        if found is not None:
            return str(found[0])
    return None


def missing_patterns(db: Transaction, campaign_id: int, fields: frozenset[str]) -> list[MissingPattern]:
    """See `Campaigns.missing`: each recipient's absent fields as a bit mask, grouped by the mask."""
    names = sorted(fields)
    for name in names:
        if _FIELD.fullmatch(name) is None:
            raise BadInput.at(name, "is not the name of a field")
    if len(names) > MAX_FIELDS:
        raise BadInput.at("", f"a template uses at most {MAX_FIELDS} fields")
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    frozen = bool(at["audience_ready"])
    people = _people(at)
    mask = " + ".join(f"(({_field(name, frozen)} IS NULL) << {bit})" for bit, name in enumerate(names)) or "0"
    # Names are identifiers (checked above); everything else in the text is a constant of this module.
    rows = db.execute(
        f"SELECT mask, count(*) AS n, min(id) AS example FROM (SELECT id, {mask} AS mask {people})"  # noqa: S608 - no values, only our own words
        " GROUP BY mask ORDER BY n DESC, mask",
        {"campaign_id": campaign_id, **_asked(db, at)},
    ).fetchall()
    sample = FROZEN_SAMPLE if frozen else DRAFT_SAMPLE
    return [
        MissingPattern(
            fields=frozenset(name for bit, name in enumerate(names) if row["mask"] >> bit & 1),
            count=row["n"],
            sample=json.loads(db.execute(sample, (row["example"],)).fetchone()["fields"]),
        )
        for row in rows
    ]


def field_names(db: Transaction, campaign_id: int) -> frozenset[str]:
    """See `Campaigns.field_names`."""
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    rows = db.execute(
        f"SELECT DISTINCT key FROM (SELECT fields AS some {_people(at)} LIMIT {_NAMED}), json_each(some)",  # noqa: S608 - no values, only our own words
        {"campaign_id": campaign_id, **_asked(db, at, _NAMED)},
    )
    return frozenset(str(key) for (key,) in rows)


def zones_of(db: Transaction, campaign_id: int) -> dict[str, int]:
    """See `Campaigns.zones`."""
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    people = _people(at)
    rows = db.execute(
        f"SELECT coalesce(json_extract(fields, '$.timezone'), ''), count(*) {people} GROUP BY 1",
        {"campaign_id": campaign_id, **_asked(db, at)},
    )
    return {str(zone): count for zone, count in rows}


def fold_people(
    db: Transaction,
    campaign_id: int,
    fields: frozenset[str],
    fold: Callable[[Mapping[str, str], int], None],
) -> None:
    """See `Campaigns.fold`."""
    names = sorted(fields)
    for name in names:
        if _FIELD.fullmatch(name) is None:
            raise BadInput.at(name, "is not the name of a field")
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    frozen = bool(at["audience_ready"])
    people = _people(at)
    places = ", ".join(str(place) for place in range(2, len(names) + 2))
    columns = "".join(f", {_field(name, frozen)}" for name in names)
    grouped = f"GROUP BY {places}" if names else ""
    # Names are identifiers (checked above); everything else in the text is a constant of this module.
    rows = db.execute(
        f"SELECT count(*){columns} {people} {grouped}",
        {"campaign_id": campaign_id, **_asked(db, at)},
    )
    for count, *values in rows:
        fold({name: value for name, value in zip(names, values, strict=True) if value is not None}, count)


def _field(name: str, frozen: bool) -> str:
    """The SQL of one field's value: a frozen delivery has all of them in its copy."""
    return f"json_extract(fields, '$.{name}')" if frozen or name not in COLUMNS else COLUMNS[name]
