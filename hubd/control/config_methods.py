"""`config.*`: the configuration in effect."""

from __future__ import annotations

import trio

from hubd.control.hub import Hub
from hubd.wire import hub_results as r
from hubd.wire.params import Params


async def show(hub: Hub, _: Params) -> r.ConfigResult:
    """The configuration in effect, each key with its source. Secrets are the references to them."""
    await trio.lowlevel.checkpoint()
    return hub.config()
