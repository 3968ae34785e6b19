"""Campaigns: what they say, to whom, and in which state they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from hubd.core.changes import changed_keys, check_applicable
from hubd.core.credits import Cost
from hubd.core.decide import Applied, Clone, Decide, Decided, Occurred, P
from hubd.core.lifecycle import CampaignEvent
from hubd.core.model import (
    TRANSACTIONAL_PREFIX,
    Campaign,
    CampaignState,
    Channel,
    Content,
    DeliveryState,
    InDoubt,
    Kind,
)
from hubd.core.records import Audience, MissingPattern, OccurrenceRow
from hubd.core.recurrence import recurrence_from_json
from hubd.core.spec import GIVE_UP_AFTER, CampaignSpec, spec_from_json
from hubd.errors import BadInput, InvalidTransition
from hubd.store.audience import (
    audience_of,
    field_names,
    first_recipient,
    fold_people,
    freeze_some,
    missing_patterns,
    size_of,
    zones_of,
)
from hubd.store.campaign_files import ADD_CAMPAIGN, columns, content_columns, content_for
from hubd.store.campaign_plans import cloning, deciding, write_move
from hubd.store.campaign_rows import (
    all_campaigns,
    campaign_by_id,
    campaign_by_name,
    campaign_if_there,
    policy_columns,
    settings_of,
)
from hubd.store.contents import add_content, content_of, get_blob, put_part
from hubd.store.credit_holds import clear_uses
from hubd.store.credits import LOOKED, TOPPED_UP, cost_of
from hubd.store.database import Database
from hubd.store.erased_recipients import keep_hashes
from hubd.store.figures import figures_of
from hubd.store.series import occurrences_of, occurring
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import Unit, Work
from hubd.store.unused import campaign_removed

#: A campaign file was applied again with something changed.
CHANGE_CAMPAIGN = """
UPDATE campaign SET channel = :channel, provider = :provider, spec = :spec, lists = :lists,
    content_id = :content_id, template = :template, doubt_policy = :doubt_policy, reconcile = :reconcile,
    rate = :rate, give_up_after = :give_up_after, send_window = :send_window, send_zone = :send_zone,
    recurrence = :recurrence, trigger_list = :trigger_list, trigger_delay = :trigger_delay,
    credits = :credits, revision = revision + 1, updated_at = :now
WHERE id = :id AND state = :state AND revision = :revision"""
#: A provider's transactional queue: it runs from the start and has no audience.
ADD_QUEUE = """
INSERT INTO campaign (name, channel, provider, state, spec, content_id, doubt_policy, reconcile,
    give_up_after, single, audience_ready, started_at, created_at, updated_at)
VALUES (:name, :channel, :provider, 'running', '{}', :content_id, :doubt_policy, :reconcile,
    :give_up_after, 1, 1, :now, :now, :now)"""
#: Campaigns whose removal has begun.
DOOMED = "SELECT id FROM campaign WHERE doomed = 1"
#: A page of a campaign's deliveries: the last of the first so many.
PAGE_END = """
SELECT max(id) FROM (SELECT id FROM delivery WHERE campaign_id = ? ORDER BY id LIMIT ?)"""
#: Whether somebody pays for the campaign, and the deliveries of that page.
PAYS = "SELECT 1 FROM campaign WHERE id = ? AND credits <> ''"
PAGE_IDS = "SELECT id FROM delivery WHERE campaign_id = ? AND id <= ?"
#: The attempts of that page ...
REMOVE_ATTEMPTS = """
DELETE FROM attempt WHERE delivery_id IN (SELECT id FROM delivery WHERE campaign_id = ? AND id <= ?)"""
#: ... its deliveries by state, for the counters ...
COUNT_PAGE = "SELECT state, count(*) FROM delivery WHERE campaign_id = ? AND id <= ? GROUP BY state"
#: ... and the deliveries.
REMOVE_DELIVERIES = "DELETE FROM delivery WHERE campaign_id = ? AND id <= ?"
#: What is left when no delivery is.
SPEC = "SELECT spec FROM campaign WHERE id = ?"
REMOVE_CAMPAIGN = "DELETE FROM campaign WHERE id = ?"

#: A transactional queue always runs.
REVIVE_QUEUE = "UPDATE campaign SET state = 'running', reason = '' WHERE name = ? AND state <> 'running'"
#: Columns by which a campaign differs from its file although no key of the file does.
_FIXED = {
    *("content_id", "template", "doubt_policy", "reconcile", "rate", "give_up_after", "provider"),
    *("send_window", "send_zone", "recurrence", "trigger_list", "trigger_delay", "credits"),
}
DELETE_PAGE = 2_000  #: deliveries removed in one unit


class Campaigns:
    """Campaigns with their content and audience. All methods are async; each write is one unit of work."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def applying(
        self,
        spec: CampaignSpec,
        spec_json: str,
        content: Content,
        content_hash: str,
        *,
        in_doubt: InDoubt | None = None,
        now: float | None = None,
    ) -> Work[Applied]:
        """The unit of work that creates a draft or brings a campaign up to its file.

        `in_doubt` is the provider's default policy, for files that do not say; `now` is what a new schedule
        of a campaign that repeats counts from, by default the time of the transaction. A template in the
        file has its own content, see `content_for`. A campaign that runs keeps its
        content (Conflict "running"); one whose audience is fixed keeps its channel and lists (Conflict).
        """

        def work(unit: Unit) -> Applied:
            old = unit.db.execute("SELECT * FROM campaign WHERE name = ?", (spec.name,)).fetchone()
            values = columns(spec, in_doubt) | {"spec": spec_json, "now": unit.now}
            if spec.template:
                before = campaign_if_there(unit.db, spec.name)
                values |= content_columns(unit, *content_for(unit.db, spec, before))
            else:
                values |= content_columns(unit, content, "", content_hash)
            if old is not None:
                campaign, changed = _change(unit, old, spec, values, unit.now if now is None else now)
            else:
                unit.db.execute(ADD_CAMPAIGN, values)
                campaign, changed = campaign_by_name(unit.db, spec.name), changed_keys(None, spec)
                data = {"created": True, "changed": [], **settings_of(campaign)}
                unit.event("campaign.applied", campaign.id, data)
            figures = figures_of(unit.db, campaign)
            return Applied(campaign=campaign, changed=changed, created=old is None, figures=figures)

        return work

    async def get(self, name: str) -> Campaign:
        """Raises NotFound ("campaign_not_found")."""
        return await self._db.read(lambda db: campaign_by_name(db, name))

    async def by_id(self, campaign_id: int) -> Campaign:
        """Raises NotFound ("campaign_not_found")."""
        return await self._db.read(lambda db: campaign_by_id(db, campaign_id))

    async def move(
        self,
        campaign_id: int,
        from_states: Iterable[CampaignState],
        to_state: CampaignState,
        *,
        reason: str = "",
        event: str,
        **columns: float | str | None,
    ) -> Campaign:
        """Change the state if it is one of `from_states` now; the campaign after it.

        `event` is the lifecycle's word for why. `columns` may set limit, scheduled_at, started_at,
        completed_at, last_error. started_at and completed_at are also kept by themselves. Raises
        InvalidTransition (with the state found) and NotFound; Conflict ("not_settled") when it is to be
        completed and has something left to do. A state that really changed is an event "campaign.state".
        """
        sources = tuple(from_states)

        def work(unit: Unit) -> Campaign:
            before = campaign_by_id(unit.db, campaign_id)
            if before.state not in sources:
                raise _illegal(before, event, sources)
            return write_move(unit, before, to_state, event, columns, reason)

        return await self._db.write(work)

    def deciding(self, name: str | int, decide: Decide[P]) -> Work[Decided[P]]:
        """The unit of work that decides about the campaign with this name or id, and does it."""
        return deciding(name, decide)

    async def carry_out(self, name: str | int, decide: Decide[P]) -> Decided[P]:
        """Decide about a campaign, and do it. Raises NotFound, and what `decide` raises."""
        return await self._db.write(deciding(name, decide))

    async def occur(self, campaign_id: int, now: float) -> Occurred:
        """Decide about the occurrences of a series until `now`, see `series.occurring`. Raises NotFound."""
        return await self._db.write(occurring(campaign_id, now))

    async def occurrences(self, campaign: Campaign, limit: int = 10) -> Sequence[OccurrenceRow]:
        """The last occurrences of a series, newest first."""
        return await self._db.read(lambda db: occurrences_of(db, campaign.id, limit))

    async def content_for(self, spec: CampaignSpec) -> Content:
        """What the campaign with this file says, see `campaign_files.content_for`."""

        def work(db: Transaction) -> Content:
            return content_for(db, spec, campaign_if_there(db, spec.name))[0]

        return await self._db.read(work)

    def cloning(
        self, name: str, copy: Callable[[Campaign], CampaignSpec], *, in_doubt: InDoubt | None = None
    ) -> Work[Decided[Clone]]:
        """The unit of work that makes a draft like `name`, see `campaign_plans.cloning`."""
        return cloning(name, copy, in_doubt)

    async def clean_up(self) -> None:
        """Finish removals that a stop of the daemon interrupted. Call it once after the start."""
        for (doomed,) in await self._db.read(lambda db: db.execute(DOOMED).fetchall()):
            while await self._db.write(partial(_remove_page, campaign_id=doomed)):
                pass

    async def audience(self, campaign: Campaign) -> Audience:
        """Whom it would reach if it started now; or, once its audience is fixed, whom it is for.

        Raises NotFound ("list_not_found") for a draft that names an unknown list.
        """
        return await self._db.read(lambda db: audience_of(db, campaign.id))

    async def first_recipient(self, campaign: Campaign) -> str | None:
        """The id of the contact whom it would reach first if it started now."""
        return await self._db.read(lambda db: first_recipient(db, campaign.id))

    async def audience_size(self, campaign_id: int) -> int:
        """How many bytes, about, it takes to freeze what is not frozen yet of the audience."""
        return await self._db.read(lambda db: size_of(db, campaign_id))

    async def cost(self, campaign: Campaign) -> Cost:
        """What the messages that a campaign has still to send cost, in credits; see `credits.cost_of`."""
        return await self._db.read(lambda db: cost_of(db, campaign))

    async def topped_up(self) -> dict[str, int]:
        """How many grants accounts had since somebody checked what can resume because of them."""
        return await self._db.read(lambda db: dict(db.execute(TOPPED_UP).fetchall()))

    async def looked_at(self, account: str, grants: int) -> None:
        """Somebody has checked what can resume because of these grants."""
        await self._db.write(lambda unit: unit.db.execute(LOOKED, (account, grants)))

    async def zones(self, campaign: Campaign) -> dict[str, int]:
        """How many recipients have which time zone, "" for none."""
        return await self._db.read(lambda db: zones_of(db, campaign.id))

    async def fold(
        self, campaign: Campaign, fields: frozenset[str], fold: Callable[[Mapping[str, str], int], None]
    ) -> None:
        """Call `fold`, in the thread that reads, with the values of these fields and how many recipients have
        them: once for each combination on a page of them, so for at most as many texts as there are.
        """
        await self._db.read(lambda db: fold_people(db, campaign.id, fields, fold))

    async def missing(self, campaign: Campaign, fields: frozenset[str]) -> list[MissingPattern]:
        """Recipients, grouped by which of these fields they lack; one pass, most frequent first."""
        return await self._db.read(lambda db: missing_patterns(db, campaign.id, fields))

    async def field_names(self, campaign: Campaign) -> frozenset[str]:
        """The names of the fields that the first recipients have besides their addresses."""
        return await self._db.read(lambda db: field_names(db, campaign.id))

    async def freeze_page(self, campaign_id: int, size: int = 5_000) -> bool:
        """Write the next recipients into the ledger; whether there may be more.

        The audience is who was on the lists when the campaign first went to `running`. Safe to call again
        after a crash, and when nothing is left to do. Raises StoreUnavailable, also while the disk is nearly
        full: that space is for outcomes of messages.
        """
        return await self._db.write(lambda unit: freeze_some(unit, campaign_id, size), bulk=True)

    async def content(self, content_id: int) -> Content:
        """Raises NotFound."""
        return await self._db.read(lambda db: content_of(db, content_id))

    def putting_blob_part(self, sha256: str, offset: int, data: bytes, size: int) -> Work[bool | BadInput]:
        """The unit of work that takes the part of a file that starts at `offset`: whether all of it is here.

        Parts come in order; one that was taken before is taken again without effect. Raises BadInput for a
        gap and too much data; returns it for content that does not have the hash, which is forgotten.
        """
        return lambda unit: put_part(unit, sha256, offset, data, size)

    async def blob(self, sha256: str) -> bytes:
        """A whole file by its hash. Raises NotFound ("attachment_not_found")."""
        return await self._db.read(lambda db: get_blob(db, sha256))

    async def transactional_queue(
        self, provider: str, channel: Channel, *, in_doubt: InDoubt = InDoubt.HOLD
    ) -> Campaign:
        """The transactional queue of a provider, made when first asked for."""
        name = f"{TRANSACTIONAL_PREFIX}{provider}" + ("" if channel is Channel.EMAIL else f".{channel.value}")

        def work(unit: Unit) -> Campaign:
            if unit.db.execute("SELECT 1 FROM campaign WHERE name = ?", (name,)).fetchone() is None:
                nothing = add_content(unit, Content(channel=channel), f"none:{channel.value}")
                values = {"name": name, "channel": channel.value, "provider": provider, "now": unit.now}
                values |= {"content_id": nothing, "give_up_after": GIVE_UP_AFTER[Kind.TRANSACTIONAL]}
                unit.db.execute(ADD_QUEUE, {**values, **policy_columns(in_doubt)})
            unit.db.execute(REVIVE_QUEUE, (name,))
            return campaign_by_name(unit.db, name)

        return await self._db.write(work)

    async def list(self, *, queues: bool = False, archived: bool = False) -> list[Campaign]:
        """Campaigns, oldest first; transactional queues, and archived ones, only if wanted.

        Defined last: inside the class body the name hides the built-in type from the annotations above.
        """

        def work(db: Transaction) -> list[Campaign]:
            return [each for each in all_campaigns(db, queues=queues) if archived or not each.archived]

        return await self._db.read(work)


def _change(
    unit: Unit, old: Row, spec: CampaignSpec, values: dict[str, object], now: float
) -> tuple[Campaign, list[str]]:
    before = campaign_by_id(unit.db, old["id"])
    was = spec_from_json(before.spec)
    check_applicable(before, was, spec)
    changed = changed_keys(was, spec)
    compared = values.keys() & _FIXED
    if not changed and all(old[key] == values[key] for key in compared):
        return before, []
    guard = {"id": before.id, "state": before.state.value, "revision": before.revision}
    done = unit.db.execute(CHANGE_CAMPAIGN, {**values, **guard}).rowcount
    assert done == 1, "state and revision were read in the same transaction"
    after = campaign_by_id(unit.db, before.id)
    unit.event("campaign.applied", before.id, {"created": False, "changed": changed, **settings_of(after)})
    if after.recurrence != before.recurrence and after.state is CampaignState.SCHEDULED:
        after = _scheduled_anew(unit, after, now)
    return after, changed


def _scheduled_anew(unit: Unit, series: Campaign, now: float) -> Campaign:
    """A series that waits for its next occurrence, whose file gives other times now."""
    recurrence = recurrence_from_json(series.recurrence)
    assert recurrence is not None, "what is scheduled to repeat keeps repeating, see `check_applicable`"
    at = recurrence.next(now)
    if at is None:
        raise BadInput.at("schedule.until", "it has no more occurrences")
    return write_move(unit, series, series.state, CampaignEvent.SCHEDULE, {"scheduled_at": at})


def _illegal(campaign: Campaign, event: str, sources: tuple[CampaignState, ...]) -> InvalidTransition:
    requested = str(CampaignEvent(event)) if event in set(CampaignEvent) else event
    return InvalidTransition(
        f"{campaign.name} is {campaign.state.value}: it cannot {requested.replace('_', ' ')}",
        hint=f"possible when it is {' or '.join(sorted(state.value for state in sources))}",
        data={"from": campaign.state.value, "requested": requested, "allowed": sorted(sources)},
    )


def _leave(unit: Unit, campaign_id: int, end: int) -> None:
    """What others know of the deliveries up to one that are about to be removed."""
    ids = [delivery_id for (delivery_id,) in unit.db.execute(PAGE_IDS, (campaign_id, end))]
    keep_hashes(unit, ids)
    if unit.db.execute(PAYS, (campaign_id,)).fetchone() is not None:
        clear_uses(unit, ids)


def _remove_page(unit: Unit, campaign_id: int) -> bool:
    end = unit.db.execute(PAGE_END, (campaign_id, DELETE_PAGE)).fetchone()[0]
    if end is None:
        row = unit.db.execute(SPEC, (campaign_id,)).fetchone()
        if row is not None:  # two commands may clean up at the same time
            unit.db.execute(REMOVE_CAMPAIGN, (campaign_id,))
            campaign_removed(unit, campaign_id, row[0])
        return False
    _leave(unit, campaign_id, end)
    unit.db.execute(REMOVE_ATTEMPTS, (campaign_id, end))
    for state, n in unit.db.execute(COUNT_PAGE, (campaign_id, end)).fetchall():
        unit.moved(campaign_id, DeliveryState(state), None, n)
    unit.db.execute(REMOVE_DELIVERIES, (campaign_id, end))
    return True
