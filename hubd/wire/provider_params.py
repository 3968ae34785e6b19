"""What the methods about providers take."""

from __future__ import annotations

from hubd.wire.params import Key, Name, Params


class ProviderChange(Params, frozen=True):
    """A change to a provider."""

    name: Name
    idempotency_key: Key = None
    dry_run: bool = False
