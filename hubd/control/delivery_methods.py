"""`delivery.*`: who got it, who did not, and one message's whole life."""

from __future__ import annotations

import trio

from hubd.control.needs import Hub, MessageLife
from hubd.control.rendering import plan_of, view_parcel, write
from hubd.control.views import attempt_view, delivery_view, failure_view, time_text
from hubd.core.model import DeliveryState
from hubd.errors import BadInput, NotFound
from hubd.wire import params as p
from hubd.wire import results as r


async def page(hub: Hub, params: p.DeliveryList) -> r.DeliveriesResult:
    """A page of a campaign's deliveries, all or those in one state."""
    campaign = await hub.campaigns.get(params.campaign)
    state = DeliveryState(params.state) if params.state else None
    rows = await hub.ledger.deliveries(campaign.id, state, params.after, params.limit)
    return {
        "deliveries": [delivery_view(row) for row in rows],
        "next": rows[-1].id if len(rows) == params.limit else None,
    }


async def get(hub: Hub, params: p.DeliveryId) -> r.DeliveryResult:
    """Everything that is known of one message, with its content."""
    life = await hub.ledger.message(params.id)
    row = life.delivery
    return {
        "delivery": {
            **delivery_view(row),
            "campaign": life.campaign,
            "channel": life.channel.value,
            "next_at": time_text(row.next_at),
            "detail": row.detail,
        },
        "attempts": [attempt_view(attempt) for attempt in life.attempts],
        "content": await _content(hub, life),
    }


async def _content(hub: Hub, life: MessageLife) -> r.ContentView | None:
    """The message as it was (or will be) written; None when it cannot be, which its reason tells."""
    row = life.delivery
    at = life.attempts[-1].opened_at if life.attempts else hub.now()
    try:
        plan = await plan_of(hub, life.content)
        parcel = write(plan, row.recipient, life.fields, now=at, delivery_id=row.id)
    except (BadInput, NotFound):
        return None
    return await trio.to_thread.run_sync(view_parcel, parcel)


async def failures(hub: Hub, params: p.DeliveryFailures) -> r.FailuresResult:
    """What went wrong in a campaign, by reason."""
    campaign = await hub.campaigns.get(params.campaign)
    return {"groups": [failure_view(group) for group in await hub.ledger.failures(campaign.id)]}
