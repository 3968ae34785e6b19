"""`delivery.*`: who got it, who did not, and all attempts of one message."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from math import inf

import trio

from hubd.control.event_methods import named_instead
from hubd.control.hub import Hub
from hubd.control.inbox_methods import item_view
from hubd.control.rendering import part_of, view_rendered, write
from hubd.control.table import reads
from hubd.control.views import attempt_view, delivery_view, failure_view, time_text
from hubd.core.model import DeliveryState, RenderedMessage
from hubd.core.records import DeliveryRow, MessageLife
from hubd.errors import BadInput, NotFound
from hubd.wire import Encoded, encoded
from hubd.wire import message_params as p
from hubd.wire import message_results as r
from hubd.wire.params import MAX_PART


async def page(hub: Hub, params: p.DeliveryList) -> Encoded:
    """A page of a campaign's deliveries: all, those in one state, or those waiting after a refusal."""
    campaign = await hub.campaigns.get(params.campaign)
    state = DeliveryState(params.state) if params.state else None
    if params.refused and state is not None:
        raise BadInput.at(
            "refused", "cannot be combined with state: refused recipients wait to be tried again"
        )
    rows = await hub.ledger.deliveries(
        campaign.id,
        state,
        params.after,
        params.limit,
        skip=params.skip,
        refused=params.refused,
        search=params.search.strip(),
    )
    return await trio.to_thread.run_sync(_page, rows, params.limit)


def _page(rows: Sequence[DeliveryRow], limit: int) -> Encoded:
    shown: r.DeliveriesResult = {
        "deliveries": [delivery_view(row) for row in rows],
        "next": rows[-1].id if len(rows) == limit else None,
    }
    return encoded(shown)


async def get(hub: Hub, params: p.DeliveryId) -> r.DeliveryResult:
    """Everything that is known about one message, with its content."""
    life = await hub.ledger.message(params.id)
    row = life.delivery
    return {
        "delivery": {
            **delivery_view(row),
            "campaign": life.campaign,
            "channel": life.channel.value,
            "next_at": time_text(row.next_at),
            "detail": row.detail,
            "possible_duplicates": row.doubts,
            "single": life.transactional,
            "content_of": await _content_of(hub, life),
            "file": _file(hub, life),
        },
        "attempts": [attempt_view(attempt) for attempt in life.attempts],
        "came_back": [item_view(each, shorten=True) for each in await hub.inbox.about(row.id)],
        "content": await _content(hub, life),
    }


def _file(hub: Hub, life: MessageLife) -> str | None:
    """The file that the provider wrote, if it writes files: its name for the message is the path."""
    name = life.delivery.provider_id
    try:
        provider = life.attempts[-1].provider if life.attempts else life.provider
        folder = hub.supervisor.providers.get(provider).spec.folder
    except NotFound:
        return None
    if not name or folder is None:
        return None
    return str((folder / name).absolute())


async def _content_of(hub: Hub, life: MessageLife) -> str:
    """The newest campaign whose content is that of this transactional message; "" when there is none.

    One that was made after the message was first tried, such as a copy, is not where it came from.
    """
    if not life.transactional:
        return ""
    tried = life.attempts[0].opened_at if life.attempts else inf
    for campaign in reversed(await hub.campaigns.list(archived=True)):
        if campaign.content_id == life.content_id and campaign.created_at <= tried:
            return campaign.name
    return ""


async def source(hub: Hub, params: p.DeliverySource) -> r.SourcePart:
    """A part of the whole email, attachments included: a client need not hold a large one in memory."""
    life = await hub.ledger.message(params.id)
    rendered = await _rendered(hub, life)
    size = 0 if rendered is None else rendered.size
    data = b"" if rendered is None else part_of(rendered, params.offset, MAX_PART)
    end = params.offset + len(data)
    return {
        "data": b64encode(data).decode("ascii"),
        "size": size,
        "attempts": life.delivery.attempts,
        "next": end if end < size else None,
    }


async def _content(hub: Hub, life: MessageLife) -> r.ContentView | None:
    rendered = await _rendered(hub, life)
    return None if rendered is None else await trio.to_thread.run_sync(view_rendered, rendered)


async def _rendered(hub: Hub, life: MessageLife) -> RenderedMessage | None:
    """The message as it was (or will be) written; None when it cannot be: its reason says why."""
    row = life.delivery
    if not life.fields:
        return None  # erased with the contact
    at = life.attempts[-1].opened_at if life.attempts else hub.now()
    try:
        plan = await hub.supervisor.plans.of(life.content)
        return write(plan, row.recipient, life.fields, now=at, delivery_id=row.id)
    except (BadInput, NotFound):
        return None


async def failures(hub: Hub, params: p.DeliveryFailures) -> r.FailuresResult:
    """What went wrong in a campaign, by reason."""
    campaign = await hub.campaigns.get(params.campaign)
    return {"groups": [failure_view(group) for group in await hub.ledger.failures(campaign.id)]}


METHODS = (
    reads("delivery.list", "A page of deliveries.", p.DeliveryList, r.DeliveriesResult, page, private=True),
    reads("delivery.get", "All attempts of one message.", p.DeliveryId, r.DeliveryResult, get, private=True),
    reads(
        "delivery.source",
        "A part of an email as it is sent.",
        p.DeliverySource,
        r.SourcePart,
        source,
        private=True,
    ),
    reads(
        "delivery.failures",
        "What went wrong, by reason.",
        p.DeliveryFailures,
        r.FailuresResult,
        failures,
        instead=lambda asked: named_instead(asked.campaign),
    ),
)
