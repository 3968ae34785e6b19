"""SendGrid as a kind of provider."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hubd.core.model import Channel, Content, InDoubt
from hubd.providers.kind import Kind, Opening
from hubd.providers.sendgrid.settings import SendGridConfig, read_sendgrid
from hubd.providers.sendgrid.webhook import read_webhook

if TYPE_CHECKING:
    from hubd.inbound.source import Source
    from hubd.providers.sendgrid.transport import SendGridTransport


def _open(config: SendGridConfig, opening: Opening) -> SendGridTransport:
    from hubd.providers.sendgrid.message import Tracking
    from hubd.providers.sendgrid.transport import SendGridTransport
    from hubd.transports.http_wire import Endpoint

    return SendGridTransport(
        opening.name,
        Endpoint(config.base_url, connect_timeout=10.0, timeout=60.0),
        opening.secrets["api_key"],
        connections=config.concurrency,
        tracking=Tracking(clicks=config.click_tracking, opens=config.open_tracking),
    )


def _receipts(config: SendGridConfig, opening: Opening) -> Source:
    from hubd.providers.sendgrid.lists import ListsSource

    return ListsSource(opening.name, _open(config, opening), time.time)


def _problems(content: Content) -> Iterator[str]:
    for name, _ in content.headers:
        if name.lower().startswith("x-sg-"):
            yield f"SendGrid writes headers that begin with X-SG- itself; remove {name}"
    if content.return_path:
        yield "SendGrid chooses the return path itself; remove return_path"


KIND = Kind(
    settings=SendGridConfig,
    read=read_sendgrid,
    open=_open,
    channels=frozenset({Channel.EMAIL}),
    in_doubt=InDoubt.RECONCILE,
    connections=lambda config: config.concurrency,
    secrets=lambda config: {"api_key": config.api_key},
    can_reconcile=True,
    problems=_problems,
    receipts=_receipts,
    webhook=read_webhook,
    webhook_public_key=lambda config: config.verification_key,
)
