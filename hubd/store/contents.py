"""What messages say, stored once per distinct content, and the bytes of their attachments."""

from __future__ import annotations

import hashlib
import re

import msgspec

from hubd.core.model import Content
from hubd.errors import BadInput, NotFound
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import Unit

MAX_BLOB = 25 * 1024 * 1024  #: bytes of one attachment; the largest mail most servers take

#: A content, unless it is there.
ADD_CONTENT = "INSERT INTO content (hash, spec, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
#: Its id.
CONTENT_ID = "SELECT id FROM content WHERE hash = ?"
#: A content by id.
CONTENT = "SELECT spec FROM content WHERE id = ?"
#: A content by hash, for what a message said when it was sent.
CONTENT_BY_HASH = "SELECT spec FROM content WHERE hash = ?"
#: The beginning of an attachment.
ADD_BLOB = "INSERT INTO blob (sha256, size, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
#: How much of it is here.
BLOB = "SELECT size, received, complete FROM blob WHERE sha256 = ?"
#: The next part ...
ADD_PART = "INSERT INTO blob_part (sha256, start, data) VALUES (?, ?, ?)"
#: ... counts, if it starts where the last one ended.
RECEIVED = "UPDATE blob SET received = received + ? WHERE sha256 = ? AND received = ?"
#: All of it is here and has the hash that it is named by.
COMPLETE = "UPDATE blob SET complete = 1 WHERE sha256 = ?"
#: Its parts in order.
PARTS = "SELECT data FROM blob_part WHERE sha256 = ? ORDER BY start"
#: Forget it; the parts go by foreign key.
REMOVE_BLOB = "DELETE FROM blob WHERE sha256 = ?"

_SHA256 = re.compile(r"[0-9a-f]{64}")


def add_content(unit: Unit, content: Content, content_hash: str) -> int:
    """The id of this content; contents with the same hash are the same."""
    spec = msgspec.json.encode(content).decode()
    unit.db.execute(ADD_CONTENT, (content_hash, spec, unit.now))
    found: int = unit.db.execute(CONTENT_ID, (content_hash,)).fetchone()[0]
    return found


def content_of(db: Transaction, content_id: int) -> Content:
    """Raises NotFound."""
    return _content(db.execute(CONTENT, (content_id,)).fetchone())


def content_by_hash(db: Transaction, content_hash: str) -> Content:
    """Raises NotFound."""
    return _content(db.execute(CONTENT_BY_HASH, (content_hash,)).fetchone())


def _content(row: Row | None) -> Content:
    if row is None:
        raise NotFound("there is no such content", code="content_not_found")
    return msgspec.json.decode(row["spec"], type=Content)


def put_part(unit: Unit, sha256: str, offset: int, data: bytes, size: int) -> bool | BadInput:
    """Take one part; whether the whole is here. See `Campaigns.put_blob_part`.

    A whole that does not have its hash is removed and the fault returned, because raising would undo that.
    """
    if _SHA256.fullmatch(sha256) is None:
        raise BadInput.at("sha256", "must be 64 hexadecimal digits in lower case")
    if not 0 <= size <= MAX_BLOB:
        raise BadInput.at("size", f"an attachment has at most {MAX_BLOB // 1024 // 1024} MiB")
    unit.db.execute(ADD_BLOB, (sha256, size, unit.now))
    blob = unit.db.execute(BLOB, (sha256,)).fetchone()
    if blob["complete"]:
        return True
    if blob["size"] != size:
        raise BadInput.at("size", "differs from the first part")
    end = offset + len(data)
    if offset > blob["received"] or offset < 0 or end > size:
        raise BadInput.at("offset", f"the next part starts at {blob['received']} of {size}")
    if end > blob["received"] or (size == 0 and not data):
        fresh = data[blob["received"] - offset :]
        unit.db.execute(ADD_PART, (sha256, blob["received"], fresh))
        unit.db.execute(RECEIVED, (len(fresh), sha256, blob["received"]))
    return _finish(unit, sha256) if end == size else False


def _finish(unit: Unit, sha256: str) -> bool | BadInput:
    digest = hashlib.sha256()
    for (data,) in unit.db.execute(PARTS, (sha256,)):
        digest.update(data)
    if digest.hexdigest() == sha256:
        unit.db.execute(COMPLETE, (sha256,))
        return True
    unit.db.execute(REMOVE_BLOB, (sha256,))
    return BadInput.at("sha256", "the content does not have this hash; it was discarded, send it again")


def get_blob(db: Transaction, sha256: str) -> bytes:
    """The whole file. Raises NotFound ("attachment_not_found")."""
    blob = db.execute(BLOB, (sha256,)).fetchone()
    if blob is None or not blob["complete"]:
        raise NotFound("this attachment was not sent to the daemon", code="attachment_not_found")
    return b"".join(data for (data,) in db.execute(PARTS, (sha256,)))
