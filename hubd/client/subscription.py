"""Events as they happen: what a subscription keeps for a reader that is busy."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hubd.errors import ResumeGap, ShuttingDown, Unreachable

if TYPE_CHECKING:
    from hubd.client.connection import Client

KEPT_EVENTS = 10_000  #: events kept for a subscription that nobody reads


class Subscription:
    """An asynchronous iterator over events. `aclose` ends it; so does the end of the connection."""

    def __init__(self, client: Client, params: dict[str, object]) -> None:
        self.id = ""
        self.cursor: dict[str, int] = {}  #: epoch and seq of the last durable event that was handed out
        self._client = client
        self._params = params
        self._kept: deque[dict[str, Any]] = deque()
        self._overrun = False

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if not self.id:
            return await self._open()
        await self._client.until(lambda: bool(self._kept) or self._overrun)
        if not self._kept:
            raise ResumeGap(
                "too many events arrived without being read",
                code="fell_behind",
                hint="subscribe again after the cursor",
                data={"after": self.cursor},
            )
        event = self._kept.popleft()
        self.cursor = {"epoch": event["epoch"], "seq": event["seq"]}
        return event

    async def _open(self) -> dict[str, Any]:
        result = await self._client.ask("events.subscribe", self._params, self)
        self.id = result["subscription"]
        self.cursor = {"epoch": result["epoch"], "seq": result["seq"]}
        snapshot = result.get("snapshot") or {}
        return {"type": "snapshot", "epoch": result["epoch"], "seq": result["seq"], **snapshot}

    async def aclose(self) -> None:
        """Ask for no more events. Safe on a connection that has ended."""
        if self.id:
            subscription, self.id = self.id, ""
            self._client.forget(subscription)
            with suppress(Unreachable, ShuttingDown):
                await self._client.call("events.unsubscribe", subscription=subscription)

    def put(self, event: dict[str, Any]) -> None:
        """Keep an event for the reader. A newer figure of a campaign replaces the waiting one."""
        if event.get("type") == "campaign.progress" and self._kept:
            last = self._kept[-1]
            if last.get("type") == "campaign.progress" and _subject(last) == _subject(event):
                self._kept[-1] = event
                return
        if len(self._kept) >= KEPT_EVENTS:
            self._overrun = True
        if not self._overrun:
            self._kept.append(event)


def _subject(event: dict[str, Any]) -> object:
    data = event.get("data")
    campaign = data.get("campaign") if isinstance(data, dict) else None
    return campaign.get("name") if isinstance(campaign, dict) else campaign
