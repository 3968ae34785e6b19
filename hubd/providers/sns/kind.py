"""Amazon SNS as a kind of provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.core.model import Channel, InDoubt
from hubd.providers.aws.settings import secrets_of
from hubd.providers.kind import Kind, Opening
from hubd.providers.sns.settings import SnsConfig, read_sns

if TYPE_CHECKING:
    from hubd.inbound.source import Source
    from hubd.providers.sns.transport import SnsTransport


def _open(config: SnsConfig, opening: Opening) -> SnsTransport:
    from hubd.providers.aws.opening import open_service
    from hubd.providers.sns.transport import Sending, SnsTransport

    sending = Sending(
        sms_type=config.sms_type or "",
        sender_id=config.sender_id,
        origination_number=config.origination_number,
        max_price=config.max_price,
    )
    service = open_service(config, opening, "sns", endpoint_url=config.endpoint_url)
    return SnsTransport(opening.name, service, connections=config.concurrency, sending=sending)


def _receipts(config: SnsConfig, opening: Opening) -> Source | None:
    from hubd.providers.aws.opening import open_service
    from hubd.providers.sns.opted_out import OptedOutSource

    service = open_service(config, opening, "sns", endpoint_url=config.endpoint_url)
    return OptedOutSource(opening.name, service, service.now)


KIND = Kind(
    settings=SnsConfig,
    read=read_sns,
    open=_open,
    channels=frozenset({Channel.SMS}),
    in_doubt=InDoubt.HOLD,
    connections=lambda config: config.concurrency,
    secrets=secrets_of,
    sender=lambda config: config.origination_number or config.sender_id,
    receipts=_receipts,
)
