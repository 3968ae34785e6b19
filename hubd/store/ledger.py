"""The attempt ledger: who is to be tried, what is being tried, and what came of it.

`record` is the hot path: it writes a worker's entries, in order, in one unit of work. An attempt that is open
is one whose outcome is not known; an index allows one per delivery, so that a double send would have to break
a constraint first. How an entry is written is in `entries`, what happens to attempts that were cut off in
`recovery`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter

import msgspec

from hubd.core.decide import Decided, Move, Pages, RefusedFailed, Retried
from hubd.core.decide import retry as decide_retry
from hubd.core.ledger import Entry, Rejection
from hubd.core.model import Campaign, Channel, Content, Counts, DeliveryState, DueDelivery, Figures
from hubd.core.records import DeliveryRow, FailureGroup, MessageLife, NotRequeued, TransactionalRow
from hubd.store.after_restore import say_anew
from hubd.store.campaign_plans import deciding
from hubd.store.campaign_rows import campaign_by_id, counts_by_id
from hubd.store.contents import add_content
from hubd.store.credit_holds import add_hold
from hubd.store.credits import cost_of
from hubd.store.database import Database
from hubd.store.deliveries import (
    count_again,
    failure_groups,
    life_of,
    page_of,
    transactional_of,
)
from hubd.store.doubts import POLICY, possible_duplicates
from hubd.store.entries import enter_all
from hubd.store.figures import figures_of, next_due_at
from hubd.store.forgetting import suppress_again
from hubd.store.recovery import ABANDONED, CRASHED, INTERRUPTED, ORPHANS, Recovered, lose
from hubd.store.requeue import (
    Class,
    Settlement,
    count_refused,
    failing_refused,
    find_elsewhere,
    hold_elsewhere,
    not_requeued,
    resolve_page,
    retrying,
)
from hubd.store.transaction import Transaction
from hubd.store.unit import NODE, SharedWork, Unit, Work
from hubd.store.waiting import cap_waits

__all__ = ["Ledger", "Recovered"]

log = logging.getLogger(__name__)

#: Whether a campaign has rows to try at once, and how many, or more than so many, that waited and are due.
WAITING = """
SELECT EXISTS (
    SELECT 1 FROM delivery INDEXED BY delivery_fresh
    WHERE campaign_id = :campaign_id AND next_at IS NULL AND (state = 'pending' OR state = 'deferred')
) AS fresh, (SELECT count(*) FROM (
    SELECT 1 FROM delivery INDEXED BY delivery_later
    WHERE campaign_id = :campaign_id AND (state = 'pending' OR state = 'deferred')
        AND next_at <= :now LIMIT :limit + 1)) AS later"""
_ROWS = """
SELECT id, recipient, attempts, fields, content_id, first_attempt_at, next_at, refused
FROM delivery INDEXED BY {index}
WHERE campaign_id = :campaign_id AND id > :after AND (state = 'pending' OR state = 'deferred')"""
_FRESH = f"{_ROWS.format(index='delivery_fresh')} AND next_at IS NULL"
_IN_ORDER = "ORDER BY id LIMIT :limit"
#: What never had to wait, in id order.
DUE_FRESH = f"{_FRESH} {_IN_ORDER}"
#: Everything that may be tried now, in id order: when much that waited is due.
DUE = f"{_FRESH} UNION ALL {_ROWS.format(index='delivery_due')} AND next_at <= :now {_IN_ORDER}"
#: What waited and is due, when it is little: found by its time, not among all that is not due yet.
DUE_LATER = f"{_ROWS.format(index='delivery_later')} AND next_at <= :now {_IN_ORDER}"
#: Such rows as one value, because each row would be a step of the statement (see `multirow`). The content is
#: the campaign's, unless a delivery has one of its own.
AS_ONE = """
SELECT json_group_array(json_array(id, recipient, attempts, json(fields),
    coalesce(content_id, (SELECT content_id FROM campaign WHERE id = :campaign_id)),
    first_attempt_at, next_at, refused))
FROM ({rows})"""
#: A one-off message.
ADD_TRANSACTIONAL = """
INSERT INTO delivery (campaign_id, single, recipient, address_key, updated_at, content_id, fields)
VALUES (?, 1, ?, ?, ?, ?, ?) RETURNING id"""
#: What came of a request that was made before.
REQUEST = "SELECT delivery_id, fingerprint FROM request WHERE key = ?"
#: Remember what came of it.
ADD_REQUEST = "INSERT INTO request (key, delivery_id, created_at, fingerprint) VALUES (?, ?, ?, ?)"

_decoder = msgspec.json.Decoder(list[DueDelivery])

MOST_DOUBTS = 3  #: how often a policy may send again what may have been accepted
PAGE = 2_000  #: deliveries changed in one unit by `requeue` and its like


#: Entries as they were written, and for each why it was not, or None.
Written = Callable[[Sequence[Entry], Sequence[Rejection | None]], None]


class Ledger:
    """Deliveries and attempts. All methods are async; each write is one unit of work or says otherwise."""

    def __init__(self, db: Database, written: Written | None = None) -> None:
        """`written` is called with the entries of each `record` once they are durable; it never raises."""
        self._db = db
        self._written = written
        self._enter_all = partial(enter_all, epoch=db.epoch, low_disk_space=lambda: db.low_disk_space_known)

    async def due(
        self, campaign_id: int, now: float, limit: int, exclude_after: int = 0
    ) -> list[DueDelivery]:
        """Up to `limit` deliveries that may be tried now, in id order, with ids above `exclude_after`.

        Nothing is reserved: what is not opened meanwhile comes again when the cursor goes back to 0.
        """

        def work(db: Transaction) -> list[DueDelivery]:
            at = {"campaign_id": campaign_id, "now": now, "limit": limit, "after": exclude_after}
            waiting = db.execute(WAITING, at).fetchone()
            if not (waiting["fresh"] or waiting["later"]):
                return []
            if waiting["later"] > limit:
                return _due(db, DUE, at)
            rows = _due(db, DUE_FRESH, at) if waiting["fresh"] else []
            rows += _due(db, DUE_LATER, at) if waiting["later"] else []
            return sorted(rows, key=attrgetter("id"))[:limit]

        return await self._db.read(work)

    async def next_due_at(self, campaign_id: int) -> float | None:
        """When the next untried or deferred delivery may be tried, 0 for at once; None when none is left."""
        return await self._db.read(lambda db: next_due_at(db, campaign_id))

    async def counts(self, campaign_ids: Sequence[int]) -> dict[int, Counts]:
        """The counters of these campaigns, all as of one moment."""
        return await self._db.read(lambda db: counts_by_id(db, campaign_ids))

    async def record(self, entries: Sequence[Entry]) -> list[Rejection | None]:
        """Write these entries in order, all in one unit: durable when this returns.

        One result for each: None when it is done, a Rejection for what must not be (see `Open`, `Close`).
        No message is started while disk space is known to be low: what `trouble` has reported is true.
        Raises, with nothing written, InvalidTransition, Conflict ("attempt_not_open") for a `Close` that has
        nothing to close, NotFound ("delivery_not_found"), StoreUnavailable. An acceptance under a name that
        an earlier message has is written as in doubt, whatever the entry says, and is an event.
        """
        refusals, made = await self._db.write_shared(SharedWork(entries, self._enter_all))
        for entry, trusted in zip(entries, made, strict=True):
            if trusted is not entry:
                number = entry.delivery_id
                log.error(
                    "delivery %d was answered with the name of an earlier message: in doubt",
                    number,
                    extra={"hub_message": number},
                )
        if self._written is not None:
            self._written(made, refusals)
        return refusals

    async def recover(self) -> Recovered:
        """Attempts that an earlier run left open become `in_doubt`; call it once, before anything is sent."""
        return await self._db.write(lambda unit: lose(unit, ORPHANS, (NODE, self._db.epoch), INTERRUPTED))

    async def abandon(self, campaign_id: int) -> int:
        """A campaign's task crashed: its attempts that are still open become `in_doubt`. How many."""
        return await self._db.write(lambda unit: lose(unit, ABANDONED, (campaign_id,), CRASHED).total)

    async def cap_wait(self, latest: float, *, windows: bool) -> int:
        """Nobody waits beyond `latest` (epoch seconds), with `windows` not even for a sending window.

        How many did: the clock was set back.
        """
        return await self._db.write(lambda unit: cap_waits(unit, latest, windows))

    async def transactional(
        self,
        provider: str | None = None,
        state: DeliveryState | None = None,
        before: int | None = None,
        limit: int = 500,
    ) -> tuple[list[TransactionalRow], int | None]:
        """One-off messages, newest first, and before which id the next page begins; None after the last.

        With `state` it looks through so many messages at most, and may find none on a page.
        """
        return await self._db.read(lambda db: transactional_of(db, provider, state, before, limit))

    async def release_doubts(
        self, campaign_id: int, again_at: float | None = None, *, provider: str | None = None
    ) -> int:
        """What is `in_doubt` is to be tried again, as a possible duplicate (policy `retry`); how many.

        At once, or not before `again_at`; with `provider` only what was last handed to that one.
        A delivery that was in doubt three times stays so, and one that no attempt has put in doubt (it came
        from an older copy of the database): somebody has to look at it.
        """
        changed, after = 0, 0
        while True:
            page = partial(
                resolve_page,
                campaign_id=campaign_id,
                how="resend",
                limit=PAGE,
                actor=POLICY,
                after=after,
                most_doubts=MOST_DOUBTS,
                again_at=again_at,
                provider=provider,
            )
            done, last = await self._db.write(page)
            changed += done
            if last is None:
                return changed
            after = last

    async def hold_elsewhere(self, campaign_id: int, provider: str) -> None:
        """What waits to be sent again but may have been accepted by another provider is `in_doubt` again."""
        find = partial(find_elsewhere, campaign_id=campaign_id, provider=provider, after=0, limit=1)
        after: int | None = 0 if await self._db.read(find) else None
        while after is not None:
            page = partial(
                hold_elsewhere, campaign_id=campaign_id, provider=provider, after=after, limit=PAGE
            )
            after = await self._db.write(page)

    def retrying(self, campaign_id: int, which: Class | None, how: Settlement | None) -> Pages[Retried]:
        """Decide what is `in_doubt` ("resend" it, or it was "sent" or "failed"), and queue failures again.

        `which` failures: "transient", "permanent" or "all"; undelivered ones count as permanent. Their time
        to give up starts anew. Who has been suppressed since stays failed: another try would only be skipped.
        """
        return retrying(campaign_id, which, how, PAGE)

    async def refused(self, campaign_id: int) -> int:
        """How many waiting recipients had the refusals that paused the campaign."""
        return await self._db.read(partial(count_refused, campaign_id=campaign_id))

    def ending_retry(self, campaign_id: int, done: Retried) -> Work[tuple[Decided[Move], NotRequeued]]:
        """The unit of work that ends a retry: it runs the campaign if there is something to send."""

        def work(unit: Unit) -> tuple[Decided[Move], NotRequeued]:
            campaign = campaign_by_id(unit.db, campaign_id)
            cost = cost_of(unit.db, campaign, most_texts=PAGE) if campaign.credits else None
            decide = deciding(campaign_id, partial(decide_retry, queued=done.queued > 0, cost=cost))
            decided = replace(decide(unit), campaign=say_anew(unit, campaign_id))
            return decided, not_requeued(unit.db, campaign_id)

        return work

    def failing_refused(self, campaign_id: int) -> Pages[RefusedFailed]:
        """Fail waiting recipients whose refusals paused the campaign, as an operator decided."""
        return failing_refused(campaign_id, PAGE)

    async def not_requeued(self, campaign_id: int) -> NotRequeued:
        """The failures that a campaign still has."""
        return await self._db.read(partial(not_requeued, campaign_id=campaign_id))

    def adding_one_off(
        self,
        campaign_id: int,
        recipient: str,
        key: str,
        fields: Mapping[str, str],
        content: int | tuple[Content, str],
        *,
        idempotency_key: str,
        fingerprint: bytes,
        credits: tuple[str, int] | None = None,
    ) -> Work[int]:
        """See `adding_one_off`."""
        return adding_one_off(
            campaign_id,
            recipient,
            key,
            fields,
            content,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            credits=credits,
        )

    async def requested(self, idempotency_key: str) -> tuple[int, bytes] | None:
        """The one-off message that was queued with a key, and the fingerprint of that request."""

        def work(db: Transaction) -> tuple[int, bytes] | None:
            row = db.execute(REQUEST, (idempotency_key,)).fetchone()
            return None if row is None else (row["delivery_id"], row["fingerprint"])

        return await self._db.read(work)

    async def deliveries(
        self,
        campaign_id: int,
        state: DeliveryState | None = None,
        after_id: int = 0,
        limit: int = 500,
        *,
        skip: int = 0,
        refused: bool = False,
        search: str = "",
    ) -> list[DeliveryRow]:
        """A page of a campaign's deliveries in id order: all, or those in one state.

        The first `skip` of them are left out. With `refused`, only waiting recipients whose refusals paused
        the campaign. With `search`, only those whose address contains it.
        """
        return await self._db.read(
            lambda db: page_of(
                db, campaign_id, state, after_id, limit, skip=skip, refused=refused, search=search
            )
        )

    async def message(self, delivery_id: int) -> MessageLife:
        """Everything that is known of one delivery. Raises NotFound ("delivery_not_found")."""
        return await self._db.read(lambda db: life_of(db, delivery_id))

    async def failures(self, campaign_id: int) -> list[FailureGroup]:
        """What failed or is in doubt, grouped by reason and code, most frequent first."""
        return await self._db.read(lambda db: failure_groups(db, campaign_id))

    async def possible_duplicates(self, campaign_id: int) -> int:
        """How often a message of the campaign was queued again although it may have been accepted before."""
        return await self._db.read(lambda db: possible_duplicates(db, campaign_id))

    async def figures(self, campaigns: Sequence[Campaign]) -> dict[int, Figures]:
        """By campaign id; one look at the database for all of them."""
        return await self._db.read(lambda db: {each.id: figures_of(db, each) for each in campaigns})

    async def recount(self, campaign_id: int) -> Counts:
        """The counters counted anew from the deliveries; they must equal `Campaign.counts`."""
        return await self._db.read(lambda db: count_again(db, campaign_id))


def adding_one_off(
    campaign_id: int,
    recipient: str,
    key: str,
    fields: Mapping[str, str],
    content: int | tuple[Content, str],
    *,
    idempotency_key: str,
    fingerprint: bytes,
    credits: tuple[str, int] | None = None,
) -> Work[int]:
    """The unit of work that queues a one-off message in a transactional queue; its delivery id.

    `content` is the id of one that is stored, or one with its hash; `credits` is the account that pays,
    and how many it costs. Raises `CreditsShort`.
    A second one with the same `idempotency_key` queues nothing and returns the first one's id; what was
    asked for the first time is kept as `fingerprint`.
    """

    def work(unit: Unit) -> int:
        if idempotency_key:
            made = unit.db.execute(REQUEST, (idempotency_key,)).fetchone()
            if made is not None:
                return int(made["delivery_id"])
        suppress_again(unit, [(channel, key) for channel in Channel])
        text = json.dumps(dict(fields), ensure_ascii=False)
        content_id = content if isinstance(content, int) else add_content(unit, *content)
        values = (campaign_id, recipient, key, unit.now, content_id, text)
        delivery_id: int = unit.db.execute(ADD_TRANSACTIONAL, values).fetchone()[0]
        unit.moved(campaign_id, None, DeliveryState.PENDING)
        if credits is not None:
            account, cost = credits
            hold_id = add_hold(unit, account, campaign_id, "", delivery_id)
            unit.credits.reserve(hold_id, cost, "the message", logged=False)
        if idempotency_key:
            unit.db.execute(ADD_REQUEST, (idempotency_key, delivery_id, unit.steady, fingerprint))
        return delivery_id

    return work


def _due(db: Transaction, statement: str, values: Mapping[str, object]) -> list[DueDelivery]:
    (found,) = db.execute(AS_ONE.format(rows=statement), values).fetchone()
    return _decoder.decode(found)
