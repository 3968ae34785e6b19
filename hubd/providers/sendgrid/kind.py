"""SendGrid as a kind of provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hubd.core.model import Channel, Content, InDoubt
from hubd.providers.kind import Kind, Opening
from hubd.providers.sendgrid.settings import SendGridConfig, read_sendgrid

if TYPE_CHECKING:
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
)
