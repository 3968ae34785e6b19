"""The providers of a configuration, as the engine wants them: what each can do, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from hubd.bridge import Bridge
from hubd.config.file import HubConfig, OutboxConfig, ProviderConfig, SmtpConfig, TwilioConfig
from hubd.core.model import Channel, InDoubt
from hubd.engine.ports import Transport
from hubd.engine.providers import ProviderSpec
from hubd.transports.outbox import OutboxTransport, open_outbox


def provider_specs(config: HubConfig, state_dir: Path, bridge: Bridge) -> dict[str, ProviderSpec]:
    """Each provider of the configuration by name. Nothing is opened or read before it is needed."""
    return {
        name: _spec(name, settings, config.folder, state_dir / "outbox", bridge)
        for name, settings in config.providers.items()
    }


def _spec(name: str, config: ProviderConfig, folder: Path, outbox: Path, bridge: Bridge) -> ProviderSpec:
    opener: Callable[[], Transport]
    sender = ""
    match config:
        case OutboxConfig():
            channels, lanes, in_doubt = frozenset(Channel), OutboxTransport.lanes, InDoubt.RETRY
            opener = partial(open_outbox, outbox)
        case SmtpConfig():
            channels, lanes, in_doubt = frozenset({Channel.EMAIL}), config.connections, InDoubt.RETRY
            opener = partial(_open_smtp, name, config, folder, bridge)
        case TwilioConfig():
            channels, lanes, in_doubt = frozenset({Channel.SMS}), config.concurrency, InDoubt.HOLD
            opener = partial(_open_twilio, name, config, folder)
            sender = config.messaging_service_sid or config.from_
    return ProviderSpec(
        name=name,
        kind=config.type,
        channels=channels,
        lanes=lanes,
        in_doubt=in_doubt,
        inquires=isinstance(config, TwilioConfig),
        sender=sender,
        rate=config.rate,
        warmup=config.warmup,
        sender_rates=config.sender_rates,
        domain_rates=config.domain_rates,
        # In a thread: a keyring may take its time, and Twilio's library takes long to import.
        open=partial(trio.to_thread.run_sync, opener),
        settings=replace(config, rate=(), warmup=None, sender_rates={}, domain_rates={}),
    )


def _open_smtp(name: str, config: SmtpConfig, folder: Path, bridge: Bridge) -> Transport:
    from hubd.transports.smtp import SmtpSettings, open_smtp

    return open_smtp(
        name,
        SmtpSettings(
            host=config.host,
            port=config.port,
            security=config.security,
            username=config.username,
            password=config.password.resolve(folder).reveal() if config.password else "",
            connections=config.connections,
            ca_file=config.ca_file,
        ),
        bridge,
    )


def _open_twilio(name: str, config: TwilioConfig, folder: Path) -> Transport:
    from hubd.transports.twilio import TwilioSettings, open_twilio

    return open_twilio(
        name,
        TwilioSettings(
            account_sid=config.account_sid,
            auth_token=config.auth_token.resolve(folder).reveal(),
            from_=config.from_,
            messaging_service_sid=config.messaging_service_sid,
            concurrency=config.concurrency,
            base_url=config.base_url,
        ),
    )
