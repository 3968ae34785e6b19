"""Stored templates, and the campaigns that take their content from them.

A campaign that has not begun always has the content of the version that it would start with: what changes a
template changes these campaigns in the same transaction. So nothing has to be looked up when one starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from hubd.core.compose import content_hash
from hubd.core.inheritance import Flat
from hubd.core.model import Content
from hubd.core.spec import spec_from_json
from hubd.core.spec_reading import parse_reference
from hubd.core.template_spec import (
    Load,
    Stored,
    TemplateSpec,
    TemplateUsers,
    bases,
    content_with,
    joined,
    still_fits,
    within,
)
from hubd.core.uses import AppliedTemplate, AppliedTemplates, TemplateUses, free_template
from hubd.errors import BadInput, NotFound
from hubd.store.campaign_rows import campaign_by_id, settings_of
from hubd.store.contents import add_content
from hubd.store.database import Database
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import Unit, Work

T = TypeVar("T")

#: The newest version, also of a template that was deleted.
NEWEST = "SELECT version, deleted FROM template WHERE name = ?"
#: One version.
VERSION = "SELECT spec, version, created_at FROM template_version WHERE name = ? AND version = ?"
#: The newest version of each.
ALL = """
SELECT spec, version, created_at FROM template_version JOIN template USING (name, version)
WHERE NOT deleted ORDER BY name"""
#: Every version of each.
EVERY_VERSION = "SELECT spec, version, created_at FROM template_version ORDER BY name, version"
#: Those of one, newest first.
HISTORY = "SELECT spec, version, created_at FROM template_version WHERE name = ? ORDER BY version DESC"
#: A version becomes the newest one.
ADD = """
INSERT INTO template (name, version) VALUES (:name, 1)
ON CONFLICT (name) DO UPDATE SET version = version + 1, deleted = 0 RETURNING version"""
ADD_VERSION = "INSERT INTO template_version (name, version, spec, created_at) VALUES (?, ?, ?, ?)"
#: No version is left, and the number of the last one is kept.
REMOVE_VERSIONS = "DELETE FROM template_version WHERE name = ?"
MARK_DELETED = "UPDATE template SET deleted = 1 WHERE name = ?"
#: Campaigns that take their content from a template: those that have not begun ...
NOT_BEGUN = """
SELECT id, name, spec, content_id, template FROM campaign
WHERE doomed = 0 AND template <> '' AND started_at IS NULL ORDER BY name"""
#: ... and all of them.
USERS = "SELECT name, template FROM campaign WHERE doomed = 0 AND template <> '' ORDER BY name"
#: Another content, for a campaign whose file is the same.
CHANGE_CONTENT = """
UPDATE campaign SET content_id = ?, template = ?, revision = revision + 1, updated_at = ? WHERE id = ?"""


class Templates:
    """Stored templates. What changes them is a unit of work."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def applying(self, specs: Sequence[TemplateSpec]) -> Work[AppliedTemplates]:
        """Keep these as new versions, as far as they differ from the newest ones.

        Raises BadInput and NotFound when one of them does not fit what it extends, and Conflict
        ("template_in_use") when another template or a campaign would no longer be valid.
        """

        def work(unit: Unit) -> AppliedTemplates:
            applied = [_apply(unit, spec) for spec in specs]
            load = loader(unit.db)
            found = {spec.name: _joined(spec, load, f"specs[{at}]") for at, spec in enumerate(specs)}
            for stored in map(_stored, unit.db.execute(ALL).fetchall()):
                if stored.spec.name not in found and bases(stored.spec):
                    user = f"the template {stored.spec.name}"
                    found[stored.spec.name] = still_fits(user, partial(joined, stored.spec, load))
            campaigns = dict(_bring_up_to_date(unit, load))
            return AppliedTemplates(templates=applied, campaigns=campaigns, joined=found)

        return work

    def deleting(self, name: str) -> Work[None]:
        """Delete all versions of a template. Raises NotFound, and Conflict as `free_template`."""

        def work(unit: Unit) -> None:
            loader(unit.db)(name)
            free_template(name, _uses(unit.db, name))
            unit.db.execute(REMOVE_VERSIONS, (name,))
            unit.db.execute(MARK_DELETED, (name,))
            unit.event("template.deleted", None, {"template": name})

        return work

    async def get(self, reference: str) -> TemplateUsers:
        """A version of a template. Raises NotFound ("template_not_found")."""

        def work(db: Transaction) -> TemplateUsers:
            stored = loader(db)(reference)
            return TemplateUsers(stored=stored, campaigns=_users(db).get(stored.reference, ()))

        return await self._db.read(work)

    async def all(self) -> list[TemplateUsers]:
        """The newest versions, in the order of their names, with the campaigns that use any version."""

        def work(db: Transaction) -> list[TemplateUsers]:
            users: dict[str, list[str]] = {}
            for reference, names in _users(db).items():
                users.setdefault(parse_reference(reference)[0], []).extend(names)
            found = map(_stored, db.execute(ALL).fetchall())
            return [
                TemplateUsers(stored=each, campaigns=sorted(users.get(each.spec.name, ()))) for each in found
            ]

        return await self._db.read(work)

    async def history(self, name: str) -> list[TemplateUsers]:
        """All versions, newest first. Raises NotFound."""

        def work(db: Transaction) -> list[TemplateUsers]:
            loader(db)(name)
            users = _users(db)
            found = map(_stored, db.execute(HISTORY, (name,)).fetchall())
            return [TemplateUsers(stored=each, campaigns=users.get(each.reference, ())) for each in found]

        return await self._db.read(work)

    async def loaded(self, use: Callable[[Load], T]) -> T:
        """What `use` makes of the templates, in the thread that reads."""
        return await self._db.read(lambda db: use(loader(db)))


def loader(db: Transaction) -> Load:
    """Gives templates as this connection sees them. Raises NotFound ("template_not_found")."""

    def load(reference: str) -> Stored:
        name, version = parse_reference(reference)
        newest = db.execute(NEWEST, (name,)).fetchone()
        if newest is not None and not newest["deleted"]:
            row = db.execute(VERSION, (name, version or newest["version"])).fetchone()
            if row is not None:
                return _stored(row)
            problem = (
                f"there is no version {version} of the template {name}; the newest is {newest['version']}"
            )
            hint = f"to list its versions: hubctl template history {name}"
            raise NotFound(problem, code="template_not_found", hint=hint)
        hint = "to list all templates: hubctl template list"
        raise NotFound(f"there is no template {name}", code="template_not_found", hint=hint)

    return load


def _stored(row: Row) -> Stored:
    spec = msgspec.json.decode(row["spec"], type=TemplateSpec)
    return Stored(spec=spec, version=row["version"], created_at=row["created_at"])


def _apply(unit: Unit, spec: TemplateSpec) -> AppliedTemplate:
    newest = unit.db.execute(NEWEST, (spec.name,)).fetchone()
    if newest is not None and not newest["deleted"]:
        row = unit.db.execute(VERSION, (spec.name, newest["version"])).fetchone()
        if _stored(row).spec == spec:
            return AppliedTemplate(name=spec.name, version=newest["version"], changed=False)
    version: int = unit.db.execute(ADD, {"name": spec.name}).fetchone()[0]
    unit.db.execute(ADD_VERSION, (spec.name, version, msgspec.json.encode(spec).decode(), unit.now))
    unit.event("template.applied", None, {"template": spec.name, "version": version})
    return AppliedTemplate(name=spec.name, version=version, changed=True)


def _bring_up_to_date(unit: Unit, load: Load) -> Iterator[tuple[str, Content]]:
    """Give campaigns that have not begun the content that they would start with; those that changed."""
    for row in unit.db.execute(NOT_BEGUN).fetchall():
        spec = spec_from_json(row["spec"])
        content, reference = still_fits(f"the campaign {row['name']}", partial(content_with, spec, load))
        content_id = add_content(unit, content, content_hash(content))
        if (content_id, reference) != (row["content_id"], row["template"]):
            unit.db.execute(CHANGE_CONTENT, (content_id, reference, unit.now, row["id"]))
            data = {
                "created": False,
                "changed": ["template"],
                **settings_of(campaign_by_id(unit.db, row["id"])),
            }
            unit.event("campaign.applied", row["id"], data)
            yield row["name"], content


def _joined(spec: TemplateSpec, load: Load, place: str) -> Mapping[str, Flat]:
    try:
        return joined(spec, load)
    except BadInput as error:
        raise within(error, place) from None


def _uses(db: Transaction, name: str) -> TemplateUses:
    campaigns = [row["name"] for row in db.execute(NOT_BEGUN) if parse_reference(row["template"])[0] == name]
    every = map(_stored, db.execute(EVERY_VERSION))
    others = [each.reference for each in every if each.spec.name != name and name in bases(each.spec)]
    return TemplateUses(campaigns=campaigns, templates=others)


def _users(db: Transaction) -> dict[str, list[str]]:
    """The campaigns by the version that they have their content from."""
    users: dict[str, list[str]] = {}
    for row in db.execute(USERS):
        users.setdefault(row["template"], []).append(row["name"])
    return users
