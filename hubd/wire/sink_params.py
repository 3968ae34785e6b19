"""What the methods about sinks take."""

from __future__ import annotations

from hubd.wire.params import Key, Name, Params


class SinkChange(Params, frozen=True):
    """One sink of hubd.toml."""

    name: Name
    idempotency_key: Key = None
    dry_run: bool = False
