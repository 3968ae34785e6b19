"""Reading the ledger: pages of deliveries, one message's whole life, what went wrong, and the recount."""

from __future__ import annotations

import json

from msgspec.structs import replace

from hubd.core.model import Channel, Content, Counts, DeliveryState
from hubd.core.provider_reply import grouped_by
from hubd.core.reasons import class_of
from hubd.core.records import AttemptRow, DeliveryRow, FailureGroup, MessageLife, TransactionalRow
from hubd.errors import NotFound
from hubd.store.contents import content_by_hash, content_of
from hubd.store.transaction import Row, Transaction, record

#: What the provider said last, or the server that the message came back from.
_REPLY = """coalesce(CASE WHEN delivery.state = 'undelivered' THEN (SELECT nullif(inbox.words, '') FROM inbox
    WHERE inbox.delivery_id = delivery.id AND inbox.kind = 'bounce' LIMIT 1) END,
    (SELECT attempt.provider_reply FROM attempt WHERE attempt.delivery_id = delivery.id
    ORDER BY attempt.n DESC LIMIT 1), '') AS provider_reply"""
_COLUMNS = f"""id, recipient, state, reason, detail, code, attempts, doubts, next_at, updated_at,
    provider_id, message_id, {_REPLY}"""
_SOME = """
FROM delivery WHERE campaign_id = :campaign_id AND id > :after
    AND (:search = '' OR instr(lower(recipient), lower(:search)) > 0)"""
_IN_ORDER = "ORDER BY id LIMIT :limit OFFSET :skip"
#: A page of a campaign's deliveries.
ALL_DELIVERIES = f"SELECT {_COLUMNS} {_SOME} {_IN_ORDER}"
#: A page of waiting recipients whose refusals paused the campaign.
WAITING_REFUSED = f"""
SELECT {_COLUMNS} {_SOME} AND refused <> '' AND state IN ('pending', 'deferred') {_IN_ORDER}"""


def _in_state(state: DeliveryState) -> str:
    """A page of those in one state.

    The state is part of the text so that a partial index can serve. What is still to be sent is in one of
    two: `delivery_fresh`, or `delivery_due` once it had to wait.
    """
    found = f"{_SOME} AND state = '{state.value}'"
    if state not in (DeliveryState.PENDING, DeliveryState.DEFERRED):
        return f"SELECT {_COLUMNS} {found} {_IN_ORDER}"
    both = f"SELECT id {found} AND next_at IS NULL UNION ALL SELECT id {found} AND next_at IS NOT NULL"
    return f"""
SELECT {_COLUMNS} FROM delivery WHERE id IN ({both} {_IN_ORDER}) ORDER BY id"""  # noqa: S608 - only our own words


IN_STATE = {state: _in_state(state) for state in DeliveryState}
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
SELECT state, reason, code, provider_reply, count(*) AS n, min(id) AS example_id, detail
FROM (SELECT id, state, reason, code, detail, {_REPLY} FROM delivery INDEXED BY delivery_trouble
    WHERE campaign_id = ? AND state IN ('failed', 'undelivered', 'in_doubt')
        AND (state = 'failed' OR state = 'in_doubt' OR state = 'undelivered' OR state = 'skipped'))
GROUP BY state, reason, code, provider_reply ORDER BY example_id"""  # noqa: S608 - no values, only our own words
#: So many groups of a state, a reason and a code are told apart by what the provider said. If it says more
#: different things than that, the others are one group without its words.
MOST_WORDINGS = 20
#: The deliveries by state.
RECOUNT = "SELECT state, count(*) FROM delivery WHERE campaign_id = ? GROUP BY state"


LOOKED_THROUGH = 5_000  #: one-off messages, at most, to find those in one state
_AFTER_ALL = 2**63 - 1


def page_of(
    db: Transaction,
    campaign_id: int,
    state: DeliveryState | None,
    after_id: int,
    limit: int,
    *,
    skip: int = 0,
    refused: bool = False,
    search: str = "",
) -> list[DeliveryRow]:
    """See `Ledger.deliveries`."""
    statement = ALL_DELIVERIES if state is None else IN_STATE[state]
    if refused:
        statement = WAITING_REFUSED
    page = {"after": after_id, "limit": limit, "skip": skip}
    asked = {"campaign_id": campaign_id, "search": search, **page}
    return [record(DeliveryRow, row) for row in db.execute(statement, asked)]


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
        record(TransactionalRow, row, delivery=record(DeliveryRow, row), fields=json.loads(row["fields"]))
        for row in db.execute(TRANSACTIONAL, (json.dumps(chosen),))
    ]
    last = chosen[-1] if len(chosen) == limit else newest[-1][0] if len(newest) == looked else None
    return rows, last


def life_of(db: Transaction, delivery_id: int) -> MessageLife:
    """See `Ledger.message`."""
    row = db.execute(ONE_DELIVERY, (delivery_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such delivery", code="delivery_not_found")
    attempts = tuple(record(AttemptRow, tried) for tried in db.execute(ATTEMPTS, (delivery_id,)))
    content_id = row["campaign_content"] if row["content_id"] is None else row["content_id"]
    return MessageLife(
        delivery=record(DeliveryRow, row),
        campaign_id=row["campaign_id"],
        campaign=row["campaign"],
        channel=Channel(row["channel"]),
        provider=row["provider"],
        transactional=bool(row["single"]),
        fields=json.loads(row["fields"]),
        content=_said(db, content_id, attempts),
        content_id=content_id,
        attempts=attempts,
    )


def failure_groups(db: Transaction, campaign_id: int) -> list[FailureGroup]:
    """See `Ledger.failures`."""
    groups: dict[tuple[str, str, int], dict[str, FailureGroup]] = {}
    for row in db.execute(FAILURES, (campaign_id,)):
        alike = groups.setdefault((row["state"], row["reason"], row["code"]), {})
        wording = grouped_by(row["provider_reply"])
        said = row["provider_reply"]
        if wording not in alike and len(alike) >= MOST_WORDINGS:
            wording = said = ""
        found = alike.get(wording) or _group(row, said)
        alike[wording] = replace(found, count=found.count + row["n"])
    found_all = [group for alike in groups.values() for group in alike.values()]
    return sorted(found_all, key=lambda group: (-group.count, group.reason, group.code, group.example_id))


def _group(row: Row, provider_reply: str) -> FailureGroup:
    """A group that nobody is counted in yet."""
    kind = class_of(DeliveryState(row["state"]), row["reason"])
    return record(FailureGroup, row, count=0, kind=kind, provider_reply=provider_reply)


def count_again(db: Transaction, campaign_id: int) -> Counts:
    """See `Ledger.recount`."""
    counted = {DeliveryState(state).value: n for state, n in db.execute(RECOUNT, (campaign_id,))}
    return Counts(total=sum(counted.values()), **counted)


def _said(db: Transaction, content_id: int, attempts: tuple[AttemptRow, ...]) -> Content:
    """The content of the last try that had one recorded, or else the one it would have now."""
    for tried in reversed(attempts):
        if tried.content_hash:
            try:
                return content_by_hash(db, tried.content_hash)
            except NotFound:
                break
    return content_of(db, content_id)
