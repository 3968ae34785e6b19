"""What follows when committed history is missing: nothing that may have been sent since is sent again in
silence.

The file is a backup, an older copy, or has lost its write-ahead log (see `watermark`). What it calls pending
may have been sent after it was made. So everything that is not settled in any campaign that was ever started
is held `in_doubt` for a person, running campaigns pause, scheduled ones are drafts again, and a draft needs a
person's word at its start. `watermark.notice` marks the file in the transaction of the boot; `finish` holds,
page by page, and continues after a crash where it was.
"""

from __future__ import annotations

from hubd.core.lifecycle import CampaignEvent, DeliveryEvent, advance_campaign, advance_delivery
from hubd.core.model import Campaign, CampaignState, DeliveryState
from hubd.core.records import Restored
from hubd.failpoints import reach
from hubd.store.campaign_rows import campaign_by_id
from hubd.store.database import Database
from hubd.store.multirow import exactly_one
from hubd.store.recovery import ABANDONED, lose
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import Unit
from hubd.store.watermark import HUB

RESTORED = "restored"  #: why a delivery is held; no policy sends such a one again
PAGE = 2_000  #: deliveries held in one unit
HELD = "The database was restored: this may have been sent after the copy was made."
_RESTORED = "restored from a backup: "

#: One campaign.
CAMPAIGN = "SELECT * FROM campaign WHERE id = ?"
#: The next campaign of which something may have been sent.
NEXT_CAMPAIGN = """
SELECT campaign.* FROM campaign
WHERE id > ? AND doomed = 0 AND (started_at IS NOT NULL OR freeze_to IS NOT NULL OR state = 'scheduled')
ORDER BY id LIMIT 1"""
#: A page of what a campaign would still send ...
OUTSTANDING = """
SELECT id, state FROM delivery INDEXED BY delivery_fresh
WHERE campaign_id = :campaign_id AND next_at IS NULL AND (state = 'pending' OR state = 'deferred')
UNION ALL
SELECT id, state FROM delivery INDEXED BY delivery_due
WHERE campaign_id = :campaign_id AND next_at IS NOT NULL AND (state = 'pending' OR state = 'deferred')
LIMIT :limit"""
#: ... held.
HOLD = """
UPDATE delivery SET state = 'in_doubt', reason = 'restored', detail = ?, next_at = NULL, updated_at = ?
WHERE id = ? AND state = ?"""
#: What was in doubt already may have been decided since: no policy may send it again either.
HOLD_DOUBTS = """
UPDATE delivery SET reason = 'restored', detail = ?, updated_at = ? WHERE id IN (
    SELECT id FROM delivery INDEXED BY delivery_trouble
    WHERE campaign_id = ? AND state = 'in_doubt' AND reason <> 'restored'
        AND (state = 'failed' OR state = 'in_doubt' OR state = 'undelivered' OR state = 'skipped') LIMIT ?)"""
#: How many of a campaign are held.
COUNT_HELD = """
SELECT count(*) FROM delivery INDEXED BY delivery_trouble
WHERE campaign_id = ? AND state = 'in_doubt' AND reason = 'restored'
    AND (state = 'failed' OR state = 'in_doubt' OR state = 'undelivered' OR state = 'skipped')"""
#: A campaign when all its rows are held. Recipients that are frozen later come in doubt, too.
CONCLUDE = """
UPDATE campaign SET state = :to, reason = :reason, updated_at = :now,
    freeze_in_doubt = (freeze_to IS NOT NULL AND NOT audience_ready)
WHERE id = :id AND state = :from"""
#: What is left to decide about a campaign is less by now.
SAY_ANEW = "UPDATE campaign SET reason = ?, updated_at = ? WHERE id = ?"
#: Where the holding stands.
ADVANCE = "UPDATE hub SET restoring = ?"
#: Whether it continues.
RESTORING = "SELECT restoring FROM hub"
#: What waits for somebody's decision.
UNDECIDED = """
SELECT name, sum(n_in_doubt) FROM campaign JOIN campaign_count ON campaign_id = id
WHERE doomed = 0 GROUP BY id, name HAVING sum(n_in_doubt) > 0 ORDER BY id"""


class Restores:
    """What a restore of the database left to decide. Get one from `open_restores`."""

    def __init__(self, db: Database, found: Restored | None) -> None:
        self.found = found  #: the last restore of this database, None when there was none
        self._db = db

    async def finish(self) -> bool:
        """Hold what a restored database cannot know; whether there was anything to do.

        Call it once, before anything is sent. Raises `StoreUnavailable`; what was held stays held.
        """
        if await self._db.read(lambda db: db.execute(RESTORING).fetchone()[0]) is None:
            return False
        while await self._db.write(hold_some):
            pass
        return True

    async def undecided(self) -> dict[str, int]:
        """How many deliveries are in doubt, by campaign; those of one-off messages ("~office") as well."""

        def work(db: Transaction) -> dict[str, int]:
            return dict(db.execute(UNDECIDED).fetchall())

        return await self._db.read(work)


async def open_restores(db: Database) -> Restores:
    """With what is known of the last restore of this database."""

    def work(reader: Transaction) -> Restored | None:
        hub = reader.execute(HUB).fetchone()
        if hub["restored_at"] is None:
            return None
        return Restored(at=hub["restored_at"], why=hub["restored_why"], epoch=hub["restored_epoch"])

    return Restores(db, await db.read(work))


def hold_some(unit: Unit, size: int = PAGE) -> bool:
    """Hold the next page of deliveries, or conclude a campaign; whether there is more to do.

    Where it stands is in the file, so that it can be called again after a crash, and after its end.
    """
    done = unit.db.execute(RESTORING).fetchone()[0]
    if done is None:
        return False
    campaign = unit.db.execute(NEXT_CAMPAIGN, (done,)).fetchone()
    if campaign is None:
        unit.db.execute(ADVANCE, (None,))
        return False
    lose(unit, ABANDONED, (campaign["id"],), HELD, reason=RESTORED)
    held = _hold_page(unit, campaign["id"], size)
    if held < size:
        _conclude(unit, campaign)
        unit.db.execute(ADVANCE, (campaign["id"],))
    reach("in_restore")
    return True


def _hold_page(unit: Unit, campaign_id: int, size: int) -> int:
    rows = unit.db.execute(OUTSTANDING, {"campaign_id": campaign_id, "limit": size}).fetchall()
    for delivery_id, state in rows:
        source = DeliveryState(state)
        target = advance_delivery(source, DeliveryEvent.HOLD)
        exactly_one(unit.db.execute(HOLD, (HELD, unit.now, delivery_id, source)))
        unit.moved(campaign_id, source, target)
    room = size - len(rows)
    return len(rows) + unit.db.execute(HOLD_DOUBTS, (HELD, unit.now, campaign_id, room)).rowcount


def _conclude(unit: Unit, campaign: Row) -> None:
    """Nothing of this campaign may be sent automatically: pause it, say why, and write down who did it."""
    before = CampaignState(campaign["state"])
    to = before if campaign["single"] else _after(before)
    held: int = unit.db.execute(COUNT_HELD, (campaign["id"],)).fetchone()[0]
    unfrozen = campaign["freeze_to"] is not None and not campaign["audience_ready"]
    if to is before and not held and not unfrozen:
        return
    said = _reason(campaign["name"], to, held, unfrozen=unfrozen)
    keeps = campaign["single"] or before in (CampaignState.FAILED, CampaignState.COMPLETED)
    reason = campaign["reason"] if keeps else said
    values = {"id": campaign["id"], "from": before, "to": to, "reason": reason, "now": unit.now}
    exactly_one(unit.db.execute(CONCLUDE, values))
    if to is not before:
        data = {"name": campaign["name"], "from": before.value, "to": to.value, "reason": reason}
        unit.event("campaign.state", campaign["id"], {**data, "event": _EVENTS[before].value})
    unit.event("campaign.restored", campaign["id"], {"held": held, "state": to.value})
    data = {"held": held, "from": before.value, "to": to.value}
    unit.audit("restore", "restore.held", campaign_id=campaign["id"], data=data)


def say_anew(unit: Unit, campaign_id: int) -> Campaign:
    """After somebody decided about deliveries that were held: say what is left to decide; the campaign."""
    row = unit.db.execute(CAMPAIGN, (campaign_id,)).fetchone()
    if row["reason"].startswith(_RESTORED) and row["state"] != CampaignState.DRAFT:
        held: int = unit.db.execute(COUNT_HELD, (campaign_id,)).fetchone()[0]
        unfrozen = row["freeze_to"] is not None and not row["audience_ready"]
        reason = _reason(row["name"], CampaignState(row["state"]), held, unfrozen=unfrozen)
        if reason != row["reason"]:
            unit.db.execute(SAY_ANEW, (reason, unit.now, campaign_id))
            told = {"reason": reason, "limit": row["send_limit"], "scheduled_at": row["scheduled_at"]}
            unit.event("campaign.changed", campaign_id, told)
    return campaign_by_id(unit.db, campaign_id)


#: What stops a campaign from continuing automatically.
_EVENTS = {CampaignState.RUNNING: CampaignEvent.PAUSE, CampaignState.SCHEDULED: CampaignEvent.UNSCHEDULE}


def _after(state: CampaignState) -> CampaignState:
    return advance_campaign(state, _EVENTS[state]) if state in _EVENTS else state


def _reason(name: str, to: CampaignState, held: int, *, unfrozen: bool) -> str:
    if to is CampaignState.DRAFT:
        return (
            f"{_RESTORED}it may have been sent since; "
            f"if it was not: hubctl start {name} --accept-risk restored"
        )
    if not held and not unfrozen:
        resume = "resume" if to is CampaignState.PAUSED else "start"
        return f"{_RESTORED}to continue, hubctl {resume} {name}"
    who = "1 message" if held == 1 else f"{held} messages"
    who = ("recipients that are not listed yet" if not held else f"{who} and more") if unfrozen else who
    return (
        f"{_RESTORED}{who} may have been sent since; "
        f"decide: hubctl retry {name} --in-doubt resend|sent|failed"
    )
