"""Whom a campaign's condition holds for.

Contacts are read in pages, each as one value: SQLite gives the interpreter's lock away at each of its steps,
and takes it back. A function that it called for each contact would wait for that lock each time, in a freeze
even inside the transaction that every other write waits for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hubd.core.condition import Matching, compile_condition, evaluate
from hubd.store.transaction import Transaction

#: The fields that a message to a contact is given. json_patch leaves out what is null.
GIVEN = """json_patch(contact.fields, json_object(
    'email', contact.email, 'phone', contact.phone, 'contact_id', contact.public_id))"""
#: Fields that a contact has as columns.
COLUMNS = {"email": "contact.email", "phone": "contact.phone", "contact_id": "contact.public_id"}
#: The contacts of the campaign's lists, among those whose ids are on one of `id_pages`.
ON_LISTS = """
    SELECT contact_id FROM membership
    WHERE list_id IN (SELECT id FROM list WHERE name IN (SELECT value FROM json_each(:lists)))
        AND contact_id > :after AND contact_id <= :last"""
#: The newest contact.
NEWEST = "SELECT coalesce(max(id), 0) FROM contact"
#: Which rows are the page that is frozen.
PAGE = """membership.list_id = :list_id AND membership.contact_id > :after AND membership.contact_id <= :last
    AND membership.id <= :bound"""
#: The contacts of that page, with some of their fields.
FIELDS_OF_PAGE = """
SELECT json_group_array(json_array(contact.id, {fields}))
FROM membership JOIN contact ON contact.id = membership.contact_id WHERE {page}"""
#: Some contacts, with some of their fields.
FIELDS_OF = """
SELECT json_group_array(json_array(contact.id, {fields}))
FROM contact WHERE id IN (SELECT value FROM json_each(:contacts))"""
#: A page of the contacts on the lists, each once, with some of their fields.
FIELDS_ON_LISTS = """
SELECT json_group_array(json(given)) FROM (
    SELECT json_array(contact.id, {fields}) AS given FROM contact
    WHERE contact.id > :after AND contact.id <= :last
        AND EXISTS ({on_lists} AND contact_id = contact.id)
    ORDER BY contact.id LIMIT :size)"""
#: Whether a contact of the lists has a field.
HAS_FIELD = (
    f"SELECT EXISTS (SELECT 1 FROM contact WHERE id IN ({ON_LISTS}) AND json_extract({GIVEN}, :path) <> '')"  # noqa: S608 - no values, only our own words
)
#: The names of the fields that the first of them have.
KNOWN_FIELDS = f"""
SELECT DISTINCT key
FROM (SELECT {GIVEN} AS given FROM contact WHERE id IN ({ON_LISTS}) LIMIT 1000), json_each(given)
ORDER BY 1"""  # noqa: S608 - no values, only our own words

Result = tuple[int, int | str]  #: a contact's id, and what `evaluate` says of it
PAGE_IDS = 100_000  #: ids of a page that SQLite counts or groups,
PAGE_JUDGED = 5_000  #: and contacts of a page that a condition is evaluated for


def id_pages(first: int, last: int) -> Iterator[dict[str, int]]:
    """The ids from `first` to `last` in pages, as a statement's `after` and `last`.

    What SQLite sorts or groups it keeps in memory: of a page, never of a million people.
    """
    for after in range(first - 1, last, PAGE_IDS):
        yield {"after": after, "last": min(after + PAGE_IDS, last)}


def contact_pages(db: Transaction) -> Iterator[dict[str, int]]:
    """The ids of all contacts in pages."""
    return id_pages(1, db.execute(NEWEST).fetchone()[0])


def results_of_page(db: Transaction, condition: str, page: Mapping[str, object]) -> Iterator[Result]:
    """Judge the contacts of the page that is frozen."""
    names = sorted(compile_condition(condition).fields)
    statement = FIELDS_OF_PAGE.format(fields=_fields(names), page=PAGE)
    yield from _judged(condition, names, json.loads(db.execute(statement, page).fetchone()[0]))


def results_of(db: Transaction, condition: str, contacts: Sequence[int]) -> Iterator[Result]:
    """Judge these contacts."""
    names = sorted(compile_condition(condition).fields)
    statement = FIELDS_OF.format(fields=_fields(names))
    found = db.execute(statement, {"contacts": json.dumps(contacts)}).fetchone()[0]
    yield from _judged(condition, names, json.loads(found))


def results(db: Transaction, lists: str, condition: str) -> Iterator[list[Result]]:
    """Judge the contacts of the lists, page by page, each once and in order; `lists` are names as a JSON
    array.
    """
    names = sorted(compile_condition(condition).fields)
    statement = FIELDS_ON_LISTS.format(fields=_fields(names), on_lists=ON_LISTS)
    newest: int = db.execute(NEWEST).fetchone()[0]
    at = {"lists": lists, "after": 0, "last": newest, "size": PAGE_JUDGED}
    while page := json.loads(db.execute(statement, at).fetchone()[0]):
        yield list(_judged(condition, names, page))
        at["after"] = page[-1][0]


def _fields(names: Sequence[str]) -> str:
    """The SQL of a contact's fields; their names are identifiers, as all that a condition can name."""
    return ", ".join(COLUMNS.get(name) or f"json_extract(contact.fields, '$.\"{name}\"')" for name in names)


def _judged(condition: str, names: Sequence[str], page: Iterable[Sequence[Any]]) -> Iterator[Result]:
    for contact, *values in page:
        given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        yield contact, evaluate(condition, given)


def chosen(found: Iterable[Result]) -> str:
    """As JSON, those for whom the condition holds or has no result."""
    return json.dumps([each for each in found if each[1] != 0])


def matching(db: Transaction, lists: str, condition: str, counts: Counter[int | str]) -> Matching:
    """What there is to say about a condition before the campaign is started; `counts` are of its results."""
    absent = tuple(
        name
        for name in sorted(compile_condition(condition).fields)
        if not any(
            db.execute(HAS_FIELD, {"lists": lists, "path": f'$."{name}"', **page}).fetchone()[0]
            for page in contact_pages(db)
        )
    )
    return Matching(
        contacts=counts.total(),
        matched=counts[1],
        not_comparable={names: n for names, n in counts.items() if isinstance(names, str)},
        absent=absent,
        known=tuple(_known_fields(db, lists)) if absent else (),
    )


def _known_fields(db: Transaction, lists: str) -> list[str]:
    everybody = {"after": 0, "last": db.execute(NEWEST).fetchone()[0]}
    return [row[0] for row in db.execute(KNOWN_FIELDS, {"lists": lists, **everybody})]
