"""Copying a campaign, and putting away those that have ended. Units of work; nothing here sends anything."""

from __future__ import annotations

import sqlite3

import msgspec

from hubd.core.model import ENDED, Campaign, CampaignState
from hubd.core.spec import spec_from_json, spec_json
from hubd.errors import Conflict, NotFound
from hubd.store.campaign_rows import campaign_by_name, settings_of
from hubd.store.unit import Unit

#: A draft that says what another campaign says, to the same lists.
CLONE = """
INSERT INTO campaign (name, channel, provider, state, spec, lists, content_id, doubt_policy, reconcile, rate,
    give_up_after, send_window, created_at, updated_at)
SELECT :name, channel, provider, 'draft', :spec, lists, content_id, doubt_policy, reconcile, rate,
    give_up_after, send_window, :now, :now
FROM campaign WHERE id = :id"""
#: Out of the listings, or back in.
ARCHIVE = "UPDATE campaign SET archived_at = ? WHERE id = ? AND (archived_at IS NULL) = ?"
#: Those that are out of the listings.
ARCHIVED = "SELECT id FROM campaign WHERE archived_at IS NOT NULL"


def clone(unit: Unit, name: str, new: str) -> tuple[bool, Campaign]:
    """A new draft `new` with the content, lists and settings that `name` has now.

    Whether anything changed: a draft `new` that is this copy already is left as it is. Raises NotFound for
    `name`, and Conflict ("name_taken") when `new` is another campaign.
    """
    source = campaign_by_name(unit.db, name)
    if source.single:
        raise NotFound("there is no such campaign", hint="hubctl list shows those there are")
    spec = spec_json(msgspec.structs.replace(spec_from_json(source.spec), name=new, rate=source.rate))
    try:
        there = campaign_by_name(unit.db, new)
    except NotFound:
        values = {"name": new, "spec": spec, "id": source.id, "now": unit.now}
        unit.db.execute(CLONE, values)
        made = campaign_by_name(unit.db, new)
        told = {"created": True, "changed": [], "clone_of": name, **settings_of(made)}
        unit.event("campaign.applied", made.id, told)
        return True, made
    if there.id != source.id and there.state is CampaignState.DRAFT and there.spec == spec:
        return False, there
    raise Conflict(
        f"there is a campaign {new} already",
        code="name_taken",
        hint="choose another name, or look at it with: hubctl show " + new,
    )


def put_away(unit: Unit, name: str, *, archived: bool) -> tuple[bool, Campaign]:
    """Leave a campaign that has ended out of listings, or bring it back; whether anything changed.

    Raises NotFound, and Conflict with its state when it has not ended.
    """
    found = campaign_by_name(unit.db, name)
    if archived and (found.state not in ENDED or found.single):
        away = "delete it instead" if found.state is CampaignState.DRAFT else "stop it first"
        raise Conflict(
            f"the campaign {name} is {found.state.value}; only one that has ended can be archived",
            code=found.state.value,
            hint=away,
        )
    at = unit.now if archived else None
    changed = unit.db.execute(ARCHIVE, (at, found.id, archived)).rowcount == 1
    if changed:
        unit.event("campaign.archived", found.id, {"archived": archived})
    return changed, found


def archived_ids(db: sqlite3.Connection) -> frozenset[int]:
    """The campaigns that are left out of listings."""
    return frozenset(campaign_id for (campaign_id,) in db.execute(ARCHIVED))
