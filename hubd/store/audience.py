"""Whom a campaign is for: counted before the start, frozen into the ledger after it.

Freezing goes list by list and within a list in contact order, a page to a unit of work, and takes only
memberships that existed when the campaign first went to `running`: membership ids only grow, so one number
marks that instant. Where freezing stands is in the campaign's row, in the transaction that made the
page's deliveries: after a crash it continues there. A contact that is on two lists meets the unique index.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from hubd.core.model import Channel, DeliveryState, SkipReason
from hubd.core.records import Audience, MissingPattern
from hubd.errors import BadInput
from hubd.failpoints import reach
from hubd.store import conditions
from hubd.store.conditions import COLUMNS, GIVEN, ON_LISTS, contact_pages
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
#: Whom a draft would reach on a page: each contact of its lists once, with why not.
WOULD_REACH = _each(_would_reach)
#: How many contacts of a page the lists have, and how many bytes freezing copies from them.
SIZE = {channel: _size(*columns) for channel, columns in _ADDRESSES.items()}
#: Recipients of a draft, on a page.
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
#: Recipients of a started campaign, on a page, that are still to be tried; without the copy of a contact
#: nobody is.
FROZEN_PEOPLE = """
FROM delivery WHERE campaign_id = :campaign_id AND id > :after AND id <= :last
    AND (state = 'pending' OR state = 'deferred') AND fields <> '{}'"""
#: The first and the last of its recipients.
FROZEN_IDS = "SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM delivery WHERE campaign_id = ?"
#: One of them, with all fields that it has.
DRAFT_SAMPLE = f"SELECT {GIVEN} AS fields FROM contact WHERE id = ?"  # noqa: S608 - no values, only our own words
FROZEN_SAMPLE = "SELECT fields FROM delivery WHERE id = ?"

#: How a recipient begins; and how after a restore, when this campaign may have been sent to more of them.
WAITING = {"state": DeliveryState.PENDING, "why": ""}
_HELD = {"state": DeliveryState.IN_DOUBT, "why": "restored"}

_Pages = Iterator[dict[str, object]]  #: what a statement about people is given, page by page

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
    n = copied = 0
    for page in contact_pages(db):
        found = db.execute(SIZE[Channel(at["channel"])], {"lists": at["lists"], **page}).fetchone()
        n, copied = n + found["n"], copied + int(found["bytes"])
    left = max(0, n - int(at["n_total"]))
    return left * (ROW_BYTES + copied // n) if n else 0


def audience_of(db: Transaction, campaign_id: int) -> Audience:
    """See `Campaigns.audience`."""
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    if at["audience_ready"]:
        skipped = {row["reason"]: row["n"] for row in db.execute(SKIPPED, (campaign_id,))}
        reached = at["n_total"] - at["n_skipped"]
        return Audience(recipients=reached, remaining=at["n_remaining"], skipped=skipped, matching=None)
    for name in json.loads(at["lists"]):
        if list_id(db, name) is None:
            raise no_such_list(name)
    if at["trigger_list"]:
        return Audience(recipients=0, remaining=0, skipped={}, matching=None)
    would_reach = WOULD_REACH[Channel(at["channel"]), bool(at["condition"])]
    reasons: Counter[str] = Counter()
    results: Counter[int | str] = Counter()
    asked: _Pages = ({"lists": at["lists"], **page} for page in contact_pages(db))
    if at["condition"]:
        asked = _chosen_pages(conditions.results(db, at["lists"], at["condition"]), results)
    for page in asked:
        for row in db.execute(would_reach, page):
            reasons[row["reason"]] += row["n"]
    reached = reasons.pop("", 0)
    return Audience(
        recipients=reached,
        remaining=reached,
        skipped=dict(reasons),
        matching=conditions.matching(db, at["lists"], at["condition"], results) if at["condition"] else None,
    )


def _chosen_pages(pages: Iterable[list[conditions.Result]], results: Counter[int | str]) -> _Pages:
    """What `WOULD_REACH` is given with a condition, whose results are counted."""
    for page in pages:
        results.update(result for _, result in page)
        yield {"chosen": conditions.chosen(page)}


def _people(db: Transaction, campaign_id: int) -> tuple[str, bool, _Pages]:
    """The SQL of a campaign's recipients, whether its audience is fixed, and what that SQL is given, page by
    page.
    """
    at = db.execute(FREEZING, (campaign_id,)).fetchone()
    if not at["audience_ready"]:
        people, pages = _draft_people_of(db, at)
        return people, False, pages
    ids = conditions.id_pages(*db.execute(FROZEN_IDS, (campaign_id,)).fetchone())
    return FROZEN_PEOPLE, True, ({"campaign_id": campaign_id, **page} for page in ids)


def _draft_people_of(db: Transaction, at: Row) -> tuple[str, _Pages]:
    """The same for whom it would reach if it started now."""
    lists, condition = at["lists"], at["condition"]
    people = DRAFT_PEOPLE[Channel(at["channel"]), bool(condition)]
    if not condition:
        return people, ({"lists": lists, **page} for page in contact_pages(db))
    results = conditions.results(db, lists, condition)
    return people, ({"matched": json.dumps([id for id, holds in page if holds == 1])} for page in results)


def first_recipient(db: Transaction, campaign_id: int) -> str | None:
    """See `Campaigns.first_recipient`."""
    people, pages = _draft_people_of(db, db.execute(FREEZING, (campaign_id,)).fetchone())
    for page in pages:
        found = db.execute(f"SELECT public_id {people} ORDER BY id LIMIT 1", page).fetchone()
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
    people, frozen, pages = _people(db, campaign_id)
    mask = " + ".join(f"(({_field(name, frozen)} IS NULL) << {bit})" for bit, name in enumerate(names)) or "0"
    # Names are identifiers (checked above); everything else in the text is a constant of this module.
    statement = (
        f"SELECT mask, count(*) AS n, min(id) AS example FROM (SELECT id, {mask} AS mask {people})"  # noqa: S608 - no values, only our own words
        " GROUP BY mask"
    )
    counts: Counter[int] = Counter()
    examples: dict[int, int] = {}
    for page in pages:
        for row in db.execute(statement, page):
            counts[row["mask"]] += row["n"]
            examples.setdefault(row["mask"], row["example"])
    sample = FROZEN_SAMPLE if frozen else DRAFT_SAMPLE
    return [
        MissingPattern(
            fields=frozenset(name for bit, name in enumerate(names) if mask >> bit & 1),
            count=count,
            sample=json.loads(db.execute(sample, (examples[mask],)).fetchone()["fields"]),
        )
        for mask, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def field_names(db: Transaction, campaign_id: int) -> frozenset[str]:
    """See `Campaigns.field_names`."""
    people, _, pages = _people(db, campaign_id)
    names: set[str] = set()
    left = _NAMED
    for page in pages:
        found = db.execute(f"SELECT fields {people} LIMIT :left", {**page, "left": left}).fetchall()
        names.update(*(json.loads(fields) for (fields,) in found))
        left -= len(found)
        if left == 0:
            break
    return frozenset(names)


def zones_of(db: Transaction, campaign_id: int) -> dict[str, int]:
    """See `Campaigns.zones`."""
    people, _, pages = _people(db, campaign_id)
    counts: Counter[str] = Counter()
    for page in pages:
        for zone, count in db.execute(
            f"SELECT coalesce(json_extract(fields, '$.timezone'), ''), count(*) {people} GROUP BY 1", page
        ):
            counts[str(zone)] += count
    return dict(counts)


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
    people, frozen, pages = _people(db, campaign_id)
    places = ", ".join(str(place) for place in range(2, len(names) + 2))
    columns = "".join(f", {_field(name, frozen)}" for name in names)
    grouped = f"GROUP BY {places}" if names else ""
    # Names are identifiers (checked above); everything else in the text is a constant of this module.
    statement = f"SELECT count(*){columns} {people} {grouped}"
    for page in pages:
        for count, *values in db.execute(statement, page):
            fold({name: value for name, value in zip(names, values, strict=True) if value is not None}, count)


def _field(name: str, frozen: bool) -> str:
    """The SQL of one field's value: a frozen delivery has all of them in its copy."""
    return f"json_extract(fields, '$.{name}')" if frozen or name not in COLUMNS else COLUMNS[name]
