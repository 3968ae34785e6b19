"""The client: `async with open_client(path) as hub: await hub.call("campaign.get", name="x")`.

There is no nursery and no background task in here, so errors arrive plain and nothing runs when nobody
waits. Whoever waits for something reads the socket for all: a task that finds the socket taken sleeps until
the reader has moved on, then looks again. Calls and subscriptions of several tasks share one connection
that way. What arrives for a subscription while nobody iterates over it is kept, up to a bound.

Reconnecting is the caller's business: open a new client and subscribe with `after` = `subscription.cursor`.
"""

from __future__ import annotations

from hubd.client.connection import Client, open_client
from hubd.client.subscription import KEPT_EVENTS, Subscription
from hubd.wire.places import SYSTEM_SOCKET, Place, find_socket

__all__ = ["KEPT_EVENTS", "SYSTEM_SOCKET", "Client", "Place", "Subscription", "find_socket", "open_client"]
