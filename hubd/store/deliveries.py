"""Reading the ledger: pages of deliveries, one message's whole life, what went wrong, and the recount."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from hubd.core.model import Channel, Content, Counts, DeliveryState
from hubd.core.provider_reply import grouped_by
from hubd.core.reasons import class_of
from hubd.errors import NotFound
from hubd.store.contents import content_by_hash, content_of
from hubd.store.transaction import Row, Transaction

#: What the provider said last.
_REPLY = """(SELECT attempt.provider_reply FROM attempt WHERE attempt.delivery_id = delivery.id
    ORDER BY attempt.n DESC LIMIT 1) AS provider_reply"""
_COLUMNS = f"""id, recipient, state, reason, detail, code, attempts, doubts, next_at, updated_at,
    provider_id, message_id, {_REPLY}"""
#: A page of a campaign's deliveries.
ALL_DELIVERIES = f"SELECT {_COLUMNS} FROM delivery WHERE campaign_id = ? AND id > ? ORDER BY id LIMIT ?"  # noqa: S608 - no values, only our own words
#: A page of those in one state; the state is part of the text so that a partial index can serve.
IN_STATE = {
    state: f"""
SELECT {_COLUMNS} FROM delivery WHERE campaign_id = ? AND id > ? AND state = '{state.value}'
ORDER BY id LIMIT ?"""  # noqa: S608 - no values, only our own words
    for state in DeliveryState
}
#: A page of waiting recipients whose refusals paused the campaign.
WAITING_REFUSED = f"""
SELECT {_COLUMNS} FROM delivery INDEXED BY delivery_refused
WHERE campaign_id = ? AND id > ? AND refused <> '' AND state IN ('pending', 'deferred')
ORDER BY id LIMIT ?"""  # noqa: S608 - no values, only our own words
#: The transactional queues, of one provider or of all.
QUEUES = (
    "SELECT id FROM campaign WHERE single = 1 AND (:provider IS NULL OR provider = :provider) ORDER BY id"
)
#: The newest messages of a queue before one of them.
OF_QUEUE = """
SELECT * FROM (SELECT id, state FROM delivery WHERE campaign_id = ? AND id < ? ORDER BY id DESC LIMIT ?)"""
#: Some of them, with what is shown; of a content, which may be large, only the subject.
TRANSACTIONAL = f"""
SELECT delivery.*, {_REPLY}, campaign.provider AS provider, campaign.channel AS channel,
    coalesce(json_extract(content.spec, '$.subject'), '') AS subject
FROM delivery JOIN campaign ON campaign.id = delivery.campaign_id
JOIN content ON content.id = coalesce(delivery.content_id, campaign.content_id)
WHERE delivery.id IN (SELECT value FROM json_each(?))
ORDER BY delivery.id DESC"""  # noqa: S608 - no values, only our own words
#: One delivery with what is needed from its campaign.
ONE_DELIVERY = f"""
SELECT delivery.*, {_REPLY}, campaign.name AS campaign, campaign.channel AS channel,
    campaign.provider AS provider, campaign.content_id AS campaign_content
FROM delivery JOIN campaign ON campaign.id = delivery.campaign_id WHERE delivery.id = ?"""  # noqa: S608 - no values, only our own words
#: Its attempts, first to last.
ATTEMPTS = "SELECT * FROM attempt WHERE delivery_id = ? ORDER BY n"
#: What went wrong, and what the provider said about it, with how many got exactly that.
FAILURES = f"""
SELECT state, reason, code, provider_reply, count(*) AS n, min(id) AS example, detail
FROM (SELECT id, state, reason, code, detail, {_REPLY} FROM delivery INDEXED BY delivery_trouble
    WHERE campaign_id = ? AND state IN ('failed', 'undelivered', 'in_doubt')
        AND (state = 'failed' OR state = 'in_doubt' OR state = 'undelivered' OR state = 'skipped'))
GROUP BY state, reason, code, provider_reply ORDER BY example"""  # noqa: S608 - no values, only our own words
#: So many groups of a state, a reason and a code are told apart by what the provider said. If it says more
#: different things than that, the others are one group without its words.
MOST_WORDINGS = 20
#: The deliveries by state.
RECOUNT = "SELECT state, count(*) FROM delivery WHERE campaign_id = ? GROUP BY state"


LOOKED_THROUGH = 5_000  #: one-off messages, at most, to find those in one state
_AFTER_ALL = 2**63 - 1


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient's line in a list of deliveries."""

    id: int
    recipient: str
    state: DeliveryState
    reason: str
    detail: str
    code: int
    attempts: int
    doubts: int  #: how often it was sent again although it may have been accepted
    next_at: float | None
    updated_at: float
    provider_id: str
    message_id: str
    provider_reply: str  #: to its last attempt; see `core.provider_reply`


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionalRow:
    """A one-off message. `subject` is a template for `fields`; of a removed contact there are none."""

    delivery: DeliveryRow
    provider: str
    channel: Channel
    subject: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One try. `outcome` is None while it is open, "withdrawn" when it did not happen after all."""

    n: int
    epoch: int
    provider: str
    message_id: str
    content_hash: str
    opened_at: float
    closed_at: float | None
    outcome: str | None
    stage: str
    reason: str
    detail: str
    code: int
    enhanced: str
    vendor: int
    provider_id: str
    provider_reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLife:
    """All that is known of one delivery. `content` is what it said, or will say if it was not tried yet."""

    delivery: DeliveryRow
    campaign_id: int
    campaign: str
    channel: Channel
    provider: str
    transactional: bool
    fields: Mapping[str, str]
    content: Content
    attempts: tuple[AttemptRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """So many deliveries went wrong in the same way. `kind` is "transient", "permanent" or "in_doubt".

    `provider_reply` is what the provider said to `example_id`, and in essence to all of them.
    """

    state: DeliveryState
    reason: str
    code: int
    count: int
    detail: str
    example_id: int
    kind: str
    provider_reply: str


def page_of(
    db: Transaction,
    campaign_id: int,
    state: DeliveryState | None,
    after_id: int,
    limit: int,
    *,
    refused: bool = False,
) -> list[DeliveryRow]:
    """See `Ledger.deliveries`."""
    statement = ALL_DELIVERIES if state is None else IN_STATE[state]
    if refused:
        statement = WAITING_REFUSED
    return [_delivery(row) for row in db.execute(statement, (campaign_id, after_id, limit))]


def transactional_of(
    db: Transaction, provider: str | None, state: DeliveryState | None, before: int | None, limit: int
) -> tuple[list[TransactionalRow], int | None]:
    """See `Ledger.transactional`."""
    queues = [queue for (queue,) in db.execute(QUEUES, {"provider": provider})]
    looked = limit if state is None else max(limit, LOOKED_THROUGH)
    before = _AFTER_ALL if before is None else before
    found: list[tuple[int, str]] = [
        (row["id"], row["state"]) for queue in queues for row in db.execute(OF_QUEUE, (queue, before, looked))
    ]
    newest = sorted(found, reverse=True)[:looked]
    chosen = [id_ for id_, its in newest if state is None or its == state][:limit]
    rows = [
        TransactionalRow(
            delivery=_delivery(row),
            provider=row["provider"],
            channel=Channel(row["channel"]),
            subject=row["subject"],
            fields=json.loads(row["fields"]),
        )
        for row in db.execute(TRANSACTIONAL, (json.dumps(chosen),))
    ]
    last = chosen[-1] if len(chosen) == limit else newest[-1][0] if len(newest) == looked else None
    return rows, last


def life_of(db: Transaction, delivery_id: int) -> MessageLife:
    """See `Ledger.message`."""
    row = db.execute(ONE_DELIVERY, (delivery_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such delivery", code="delivery_not_found")
    attempts = tuple(_attempt(tried) for tried in db.execute(ATTEMPTS, (delivery_id,)))
    return MessageLife(
        delivery=_delivery(row),
        campaign_id=row["campaign_id"],
        campaign=row["campaign"],
        channel=Channel(row["channel"]),
        provider=row["provider"],
        transactional=bool(row["single"]),
        fields=json.loads(row["fields"]),
        content=_said(db, row, attempts),
        attempts=attempts,
    )


def failure_groups(db: Transaction, campaign_id: int) -> list[FailureGroup]:
    """See `Ledger.failures`."""
    groups: dict[tuple[str, str, int], dict[str, FailureGroup]] = {}
    for row in db.execute(FAILURES, (campaign_id,)):
        alike = groups.setdefault((row["state"], row["reason"], row["code"]), {})
        wording = grouped_by(row["provider_reply"] or "")
        said = row["provider_reply"]
        if wording not in alike and len(alike) >= MOST_WORDINGS:
            wording = said = ""
        found = alike.get(wording) or _group(row, said or "")
        alike[wording] = replace(found, count=found.count + row["n"])
    found_all = [group for alike in groups.values() for group in alike.values()]
    return sorted(found_all, key=lambda group: (-group.count, group.reason, group.code, group.example_id))


def _group(row: Row, provider_reply: str) -> FailureGroup:
    """A group that nobody is counted in yet."""
    return FailureGroup(
        state=DeliveryState(row["state"]),
        reason=row["reason"],
        code=row["code"],
        count=0,
        detail=row["detail"],
        example_id=row["example"],
        kind=class_of(DeliveryState(row["state"]), row["reason"]),
        provider_reply=provider_reply,
    )


def count_again(db: Transaction, campaign_id: int) -> Counts:
    """See `Ledger.recount`."""
    counted = {DeliveryState(state).value: n for state, n in db.execute(RECOUNT, (campaign_id,))}
    return Counts(total=sum(counted.values()), **counted)


def _said(db: Transaction, row: Row, attempts: tuple[AttemptRow, ...]) -> Content:
    """The content of the last try that had one recorded, or else the one it would have now."""
    for tried in reversed(attempts):
        if tried.content_hash:
            try:
                return content_by_hash(db, tried.content_hash)
            except NotFound:
                break
    own = row["content_id"]
    return content_of(db, row["campaign_content"] if own is None else own)


def _delivery(row: Row) -> DeliveryRow:
    return DeliveryRow(
        id=row["id"],
        recipient=row["recipient"],
        state=DeliveryState(row["state"]),
        reason=row["reason"],
        detail=row["detail"],
        code=row["code"],
        attempts=row["attempts"],
        doubts=row["doubts"],
        next_at=row["next_at"],
        updated_at=row["updated_at"],
        provider_id=row["provider_id"],
        message_id=row["message_id"],
        provider_reply=row["provider_reply"] or "",
    )


def _attempt(row: Row) -> AttemptRow:
    return AttemptRow(
        n=row["n"],
        epoch=row["epoch"],
        provider=row["provider"],
        message_id=row["message_id"],
        content_hash=row["content_hash"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        outcome=row["outcome"],
        stage=row["stage"],
        reason=row["reason"],
        detail=row["detail"],
        code=row["code"],
        enhanced=row["enhanced"],
        vendor=row["vendor"],
        provider_id=row["provider_id"],
        provider_reply=row["provider_reply"],
    )
