"""Notifications: who has read them, and which of them an email tells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from hubd.core.compose import content_hash
from hubd.core.model import Channel, Content, Kind
from hubd.core.notices import WINDOW, Mail, Notice
from hubd.failpoints import reach
from hubd.store.database import Database
from hubd.store.ledger import adding_one_off
from hubd.store.notice_rows import notice_from
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit, Work

#: Notifications, newest first.
PAGE = """
SELECT * FROM notification WHERE (? = 0 OR id < ?) AND (? = 0 OR read_at IS NULL) ORDER BY id DESC LIMIT ?"""
#: How many nobody has read.
UNREAD = "SELECT count(*) FROM notification WHERE read_at IS NULL"
#: Somebody has read them, up to one.
READ = "UPDATE notification SET read_at = ? WHERE read_at IS NULL AND id <= ?"
#: Those about which nobody has decided whether an email tells them, the oldest first.
WAITING = "SELECT * FROM notification WHERE mailed_at IS NULL ORDER BY id LIMIT 1000"
#: When emails were sent.
MAILED = "SELECT DISTINCT mailed_at FROM notification WHERE mail <> '' AND mailed_at > ?"
#: An email tells some of them; with the key '' none does.
SETTLE = """
UPDATE notification SET mailed_at = ?, mail = ?
WHERE mailed_at IS NULL AND id IN (SELECT value FROM json_each(?))"""


class Notices:
    """Notifications. All methods are async, but for what makes units of work."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, *, unread: bool, before: int, limit: int) -> tuple[Sequence[Notice], int]:
        """A page, newest first, with ids below `before` (0: all); how many are unread in all."""

        def work(db: Transaction) -> tuple[Sequence[Notice], int]:
            rows = db.execute(PAGE, (before, before, int(unread), limit))
            return [notice_from(row) for row in rows], db.execute(UNREAD).fetchone()[0]

        return await self._db.read(work)

    def reading(self, through: int) -> Work[int]:
        """The unit of work that marks those up to an id as read; how many were not."""
        return lambda unit: unit.db.execute(READ, (unit.now, through)).rowcount

    async def waiting(self, now: float) -> tuple[Sequence[Notice], Sequence[float]]:
        """Those of which nobody has decided whether to mail them, and when the last emails were sent."""

        def work(db: Transaction) -> tuple[Sequence[Notice], Sequence[float]]:
            mailed = [at for (at,) in db.execute(MAILED, (now - WINDOW,))]
            return [notice_from(row) for row in db.execute(WAITING)], mailed

        return await self._db.read(work)

    async def settle(self, ids: Sequence[int]) -> None:
        """No email tells these."""
        await self._db.write(lambda unit: unit.db.execute(SETTLE, (unit.now, "", json.dumps(list(ids)))))

    async def send(self, mail: Mail, queue: int, sender: str, addresses: Mapping[str, str]) -> None:
        """Queue an email to each of these addresses, given with what they are compared by, once.

        It is an ordinary transactional message of this queue.
        """
        content = content_from(sender)
        name = content_hash(content)

        def work(unit: Unit) -> None:
            for n, (address, key) in enumerate(addresses.items(), 1):
                adding_one_off(
                    queue,
                    address,
                    key,
                    {"email": address, "headline": mail.subject, "body": mail.text},
                    (content, name),
                    idempotency_key=mail.key if n == 1 else f"{mail.key}:{n}",
                    fingerprint=b"",
                )(unit)
            unit.db.execute(SETTLE, (unit.now, mail.key, json.dumps(list(mail.notices))))
            reach("in_notice")

        await self._db.write(work)


def content_from(sender: str) -> Content:
    """The content of all these emails: the words are fields, so nothing in them is a template."""
    return Content(
        channel=Channel.EMAIL,
        kind=Kind.TRANSACTIONAL,
        sender=sender,
        subject="{{ headline }}",
        text="{{ body }}\n",
        headers=(("Auto-Submitted", "auto-generated"),),
    )
