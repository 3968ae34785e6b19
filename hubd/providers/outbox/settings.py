"""An outbox in hubd.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from hubd.config.rates import email_sender, read_limits, text_sender
from hubd.core.tables import Table
from hubd.providers.settings import ProviderSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig(ProviderSettings):
    """Writes every message to a file under the state directory. There is always one called `outbox`."""

    type: Annotated[Literal["outbox"], Meta(description="Write each message to a file.")] = "outbox"


def read_outbox(table: Table, folder: Path) -> OutboxConfig:
    """What the table says; it can only set rates."""
    outbox = OutboxConfig(**read_limits(table, email_sender, text_sender, domains=True))
    table.close()
    return outbox
