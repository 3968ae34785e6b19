"""A request by which a provider reports something unasked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hubd.core.inbound import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """One request, as the provider made it."""

    url: str  #: the whole address as the provider knows it
    headers: Mapping[str, str]  #: by names in lower case
    body: bytes
    at: float  #: when it came, seconds since the epoch


#: Reads a request, given the secret that the provider signs with: what it says; None if it did not sign it.
ReadWebhook = Callable[[str, WebhookRequest], Sequence[Item] | None]
