"""Contents that nothing uses any longer, and the files that only they had: removed with what had them."""

from __future__ import annotations

import json
from collections.abc import Collection

import msgspec

from hubd.store.unit import Unit

#: What a campaign has, and had.
CONTENTS_OF = "SELECT content_id FROM content_use WHERE campaign_id = ?"
FORGET_USES = "DELETE FROM content_use WHERE campaign_id = ?"
#: Those of some contents that nobody has.
UNUSED = """
SELECT id, spec FROM content WHERE id IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM content_use WHERE content_id = content.id)
    AND NOT EXISTS (SELECT 1 FROM campaign WHERE content_id = content.id)
    AND NOT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_content WHERE content_id = content.id)"""
REMOVE_CONTENT = "DELETE FROM content WHERE id = ?"
#: Whether any content or any campaign's file names a file by its hash.
NAMED = """
SELECT EXISTS (SELECT 1 FROM content WHERE instr(spec, :sha256))
    OR EXISTS (SELECT 1 FROM campaign WHERE instr(spec, :sha256))"""
#: The file; its parts go by foreign key.
REMOVE_FILE = "DELETE FROM blob WHERE sha256 = ?"


class _File(msgspec.Struct):
    sha256: str


class _Files(msgspec.Struct):
    """The files that a content names."""

    attachments: tuple[_File, ...] = ()
    inline: tuple[_File, ...] = ()


def campaign_removed(unit: Unit, campaign_id: int, spec: str) -> None:
    """A campaign is gone, with its deliveries: so is what only it said. `spec` is its file."""
    contents = [content_id for (content_id,) in unit.db.execute(CONTENTS_OF, (campaign_id,))]
    unit.db.execute(FORGET_USES, (campaign_id,))
    remove_unused(unit, contents)
    _remove_files(unit, spec)


def remove_unused(unit: Unit, content_ids: Collection[int]) -> int:
    """Remove those of these contents that nobody has, and the files that only they had; how many contents."""
    rows = unit.db.execute(UNUSED, (json.dumps(list(content_ids)),)).fetchall()
    for content_id, _ in rows:
        unit.db.execute(REMOVE_CONTENT, (content_id,))
    for _, spec in rows:
        _remove_files(unit, spec)
    return len(rows)


def _remove_files(unit: Unit, spec: str) -> None:
    named = msgspec.json.decode(spec, type=_Files)
    for file in {each.sha256 for each in (*named.attachments, *named.inline)}:
        if not unit.db.execute(NAMED, {"sha256": file}).fetchone()[0]:
            unit.db.execute(REMOVE_FILE, (file,))
