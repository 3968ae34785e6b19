"""The sources of what comes back that a configuration names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hubd.bridge import Bridge
from hubd.config.file import HubConfig
from hubd.inbound.reader import Configured
from hubd.mailboxes import mailboxes
from hubd.provider_specs import receipt_sources


async def inbound_sources(
    config: HubConfig, state_dir: Path, bridge: Bridge, now: Callable[[], float]
) -> list[Configured]:
    """Each of them, not connected yet. `now` tells the time, in seconds since the epoch.

    Raises what opening one raises.
    """
    receipts = await receipt_sources(config, state_dir, bridge)
    boxes = await mailboxes(config, now)
    return [
        *(Configured(source=box, settings=config.mailboxes[name]) for name, box in boxes.items()),
        *(Configured(source=each, settings=config.providers[name]) for name, each in receipts.items()),
    ]
