"""The client, for programs that use the daemon. docs/client.md shows how.

    opening        `async with open_client() as hub: await hub.call("campaign.get", name="x")`
    subscription   `async for event in hub.subscribe(["campaign:x"])`: for as long as the connection lasts
    following      `async with follow(["campaign:x"]) as events`: the same across restarts of the daemon
    blocking       `with connect() as hub: hub.call(...)`, for programs that are not asynchronous

There is no nursery and no background task in the asynchronous part, so errors arrive plain and nothing runs
when nobody waits. Whoever waits for something reads the socket for all: a task that finds the socket taken
sleeps until the reader has moved on, then looks again. Calls and subscriptions of several tasks share one
connection that way. What arrives for a subscription while nobody iterates over it is kept, up to a bound.
"""

from __future__ import annotations

from hubd.client.blocking import Connection, Events, connect
from hubd.client.connection import Client
from hubd.client.following import Following, follow
from hubd.client.opening import open_client
from hubd.client.subscription import KEPT_EVENTS, Subscription
from hubd.wire.places import SYSTEM_SOCKET, Place, find_socket

__all__ = [
    "KEPT_EVENTS",
    "SYSTEM_SOCKET",
    "Client",
    "Connection",
    "Events",
    "Following",
    "Place",
    "Subscription",
    "connect",
    "find_socket",
    "follow",
    "open_client",
]
