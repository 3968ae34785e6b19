"""Amazon SES as a kind of provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.core.model import Channel, InDoubt
from hubd.providers.aws.settings import secrets_of
from hubd.providers.kind import Kind, Opening
from hubd.providers.ses.settings import SesConfig, read_ses

if TYPE_CHECKING:
    from hubd.inbound.source import Source
    from hubd.providers.ses.transport import SesTransport


def _open(config: SesConfig, opening: Opening) -> SesTransport:
    from hubd.providers.aws.opening import open_service
    from hubd.providers.ses.transport import SesTransport

    service = open_service(config, opening, "ses", host="email", endpoint_url=config.endpoint_url)
    return SesTransport(
        opening.name,
        service,
        connections=config.concurrency,
        configuration_set=config.configuration_set,
    )


def _receipts(config: SesConfig, opening: Opening) -> Source | None:
    if not config.events:
        return None
    from hubd.providers.aws.opening import open_service
    from hubd.providers.aws.queue import LONG_POLL, QueueSource, origin_of_queue, region_of
    from hubd.providers.ses.events import items_of

    service = open_service(
        config,
        opening,
        "sqs",
        endpoint_url=config.sqs_endpoint_url or origin_of_queue(config.events),
        region=region_of(config.events, config.region),
        timeout=LONG_POLL + 20.0,
    )
    return QueueSource(opening.name, service, config.events, items_of)


KIND = Kind(
    settings=SesConfig,
    read=read_ses,
    open=_open,
    channels=frozenset({Channel.EMAIL}),
    in_doubt=InDoubt.HOLD,
    connections=lambda config: config.concurrency,
    secrets=secrets_of,
    receipts=_receipts,
)
