"""`events.list`: past events, a page at a time. Subscriptions belong to their connection.

All events together, including those of transactional messages, are for operators; viewers follow campaigns
and the daemon.
"""

from __future__ import annotations

from hubd.control.hub import Hub
from hubd.control.table import of_session, reads
from hubd.control.views import event_view
from hubd.core.model import TRANSACTIONAL_PREFIX
from hubd.wire import event_params as p
from hubd.wire import event_results as r
from hubd.wire.results import Done


def subscribe_instead(params: p.EventsSubscribe) -> str:
    """What a viewer can follow instead of these topics; "" when it may follow them."""
    hidden = any(
        topic == "*" or topic.startswith(f"campaign:{TRANSACTIONAL_PREFIX}") for topic in params.topics
    )
    return 'follow "campaigns" and "daemon"' if hidden else ""


def list_instead(params: p.EventsList) -> str:
    """What a viewer can ask for instead; "" when it may have these events."""
    return named_instead(params.campaign or TRANSACTIONAL_PREFIX)


def named_instead(name: str) -> str:
    """Names that begin with ~ are queues of transactional messages of other programs."""
    return "name a campaign" if name.startswith(TRANSACTIONAL_PREFIX) else ""


async def page(hub: Hub, params: p.EventsList) -> r.EventsResult:
    """Events after a number, of all campaigns and the daemon, or of one campaign."""
    ids = None
    if params.campaign is not None:
        ids = [(await hub.campaigns.get(params.campaign)).id]
    rows = await hub.events.page(params.after, params.limit, ids)
    return {
        "events": [event_view(row, hub.database.epoch) for row in rows],
        "next": rows[-1].seq if len(rows) == params.limit else None,
        "oldest": await hub.events.oldest_seq(),
    }


METHODS = (
    of_session(
        "events.subscribe",
        "Subscribe to events.",
        p.EventsSubscribe,
        r.SubscribeResult,
        instead=subscribe_instead,
    ),
    of_session("events.unsubscribe", "End a subscription.", p.EventsUnsubscribe, Done),
    reads("events.list", "A page of events.", p.EventsList, r.EventsResult, page, instead=list_instead),
)
