"""The outbox as a kind of provider."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from hubd.core.model import Channel, InDoubt
from hubd.providers.kind import Kind, Opening
from hubd.providers.outbox.settings import OutboxConfig, read_outbox

if TYPE_CHECKING:
    from hubd.providers.outbox.transport import OutboxTransport

FOLDER = "outbox"
CONNECTIONS = 4


def _open(config: OutboxConfig, opening: Opening) -> OutboxTransport:
    from hubd.providers.outbox.transport import open_outbox

    return open_outbox(opening.state_dir / FOLDER, opening.name)


def _erase(directory: Path, campaign: str, ranges: Collection[tuple[int, int]]) -> None:
    from hubd.providers.outbox.erasing import erase_messages

    erase_messages(directory, campaign, ranges)


KIND = Kind(
    settings=OutboxConfig,
    read=read_outbox,
    open=_open,
    channels=frozenset(Channel),
    in_doubt=InDoubt.RETRY,
    connections=lambda config: CONNECTIONS,
    folder=FOLDER,
    erase=_erase,
)
