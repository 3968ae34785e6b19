"""Twilio as a kind of provider."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hubd.core.model import Channel, InDoubt
from hubd.providers.kind import Kind, Opening
from hubd.providers.twilio.settings import TwilioConfig, read_twilio
from hubd.providers.twilio.webhook import read_webhook

if TYPE_CHECKING:
    from hubd.inbound.source import Source
    from hubd.providers.twilio.transport import TwilioTransport


def _open(config: TwilioConfig, opening: Opening) -> TwilioTransport:
    from hubd.providers.twilio.transport import TwilioSettings, open_twilio

    return open_twilio(
        opening.name,
        TwilioSettings(
            account_sid=config.account_sid,
            auth_token="",
            from_=config.from_,
            messaging_service_sid=config.messaging_service_sid,
            concurrency=config.concurrency,
            base_url=config.base_url,
        ),
        opening.secrets["auth_token"],
    )


def _receipts(config: TwilioConfig, opening: Opening) -> Source:
    from hubd.providers.twilio.listed import ListSource
    from hubd.transports.http_wire import Endpoint

    return ListSource(
        opening.name,
        Endpoint(config.base_url, connect_timeout=10.0, timeout=60.0),
        config.account_sid,
        opening.secrets["auth_token"],
        ours=(config.from_, config.messaging_service_sid),
        now=time.time,
    )


KIND = Kind(
    settings=TwilioConfig,
    read=read_twilio,
    open=_open,
    channels=frozenset({Channel.SMS}),
    in_doubt=InDoubt.HOLD,
    connections=lambda config: config.concurrency,
    secrets=lambda config: {"auth_token": config.auth_token},
    sender=lambda config: config.messaging_service_sid or config.from_,
    can_reconcile=True,
    receipts=_receipts,
    webhook=read_webhook,
    webhook_key="auth_token",
)
