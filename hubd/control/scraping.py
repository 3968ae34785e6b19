"""`GET /metrics`: what `hub.metrics` says, for a monitoring system that speaks plain HTTP."""

from __future__ import annotations

import logging

import trio

from hubd.control.exposition import CONTENT_TYPE
from hubd.control.head import page
from hubd.control.hub import Hub
from hubd.control.metrics import metrics
from hubd.errors import HubError
from hubd.wire.params import Params

log = logging.getLogger(__name__)

SCRAPE_SECONDS = 30.0  #: for the figures, and again for the reader to take them


class Scraping:
    """Answers with the figures, one request at a time: each looks at every campaign."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._one_at_a_time = trio.Lock()

    async def answer(self) -> bytes:
        """The whole HTTP answer; 503 without a body while the database cannot be read."""
        try:
            with trio.fail_after(SCRAPE_SECONDS):
                async with self._one_at_a_time:
                    found = await metrics(self._hub, Params())
        except (HubError, trio.TooSlowError) as error:
            log.warning(
                "metrics could not be collected: %s", error or f"not within {SCRAPE_SECONDS:g} seconds"
            )
            return page(503)
        return page(200, CONTENT_TYPE, found["text"].encode())
