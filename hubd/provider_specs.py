"""The providers of a configuration, as the engine wants them: what each can do, and how it is opened.

Secrets are read in threads, because a keyring or a network file system may take its time: once for each
login, and here, so that a reload can tell whether one was replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from hubd.bridge import Bridge
from hubd.config.file import (
    HubConfig,
    OutboxConfig,
    ProviderConfig,
    SecretRef,
    SmtpConfig,
    TwilioConfig,
    secrets_of,
)
from hubd.core.model import Channel, InDoubt
from hubd.engine.ports import Transport
from hubd.engine.provider import ProviderSpec, SecretState
from hubd.errors import CredentialMissing
from hubd.secrets import Place, Secret
from hubd.transports.outbox import OutboxTransport, open_outbox

#: Readings of one secret at the same time, in threads that nothing else uses: a file system that hangs keeps
#: only the provider waiting whose secret is on it.
READERS = 2
#: Seconds that a reading may take; the keyring has a shorter limit of its own.
READ_SECONDS = 10.0


async def provider_specs(
    config: HubConfig, state_dir: Path, bridge: Bridge, *, ask_keyring: bool = True
) -> dict[str, ProviderSpec]:
    """Each provider of the configuration by name, with the fingerprint of its secret. Nothing is opened yet.

    Without `ask_keyring` secrets in the keyring are left for later: it may want to ask a person.
    """
    specs: dict[str, ProviderSpec] = {}

    async def add(name: str, settings: ProviderConfig) -> None:
        secrets = [_SecretKey(name, *named, config) for named in secrets_of(settings).items()]
        secret = secrets[0] if secrets else None
        state = None
        if secret is not None:
            asked = ask_keyring or secret.reference.place is not Place.KEYRING
            state = await secret.state() if asked else SecretState(key=secret.key, place=secret.place)
        specs[name] = _spec(name, settings, state_dir / "outbox", bridge, secrets, state)

    async with trio.open_nursery() as nursery:
        for name, settings in config.providers.items():
            nursery.start_soon(add, name, settings)
    return {name: specs[name] for name in config.providers}


class _SecretKey:
    """The key of hubd.toml that refers to a provider's secret."""

    def __init__(self, name: str, key: str, reference: SecretRef, config: HubConfig) -> None:
        self.key = key
        self.place = f"{reference.place} {reference.name}"
        self.reference = reference
        self._path = f"providers.{name}.{key}"
        self._config = config
        self._readers = trio.CapacityLimiter(READERS)

    async def read(self) -> str:
        """The secret as it is now. Raises `CredentialMissing`, which names the key."""
        return (await self._read()).reveal()

    async def state(self) -> SecretState:
        """The secret's state now. Raises nothing."""
        try:
            secret = await self._read()
        except CredentialMissing as problem:
            return SecretState(key=self.key, place=self.place, problem=problem)
        return SecretState(key=self.key, place=self.place, fingerprint=secret.fingerprint)

    async def _read(self) -> Secret:
        with trio.move_on_after(READ_SECONDS):
            return await trio.to_thread.run_sync(self._resolve, abandon_on_cancel=True, limiter=self._readers)
        slow = f"{self.place}: could not be read within {READ_SECONDS:g} s"
        raise self._missing(CredentialMissing(slow, hint="check its file system"))

    def _resolve(self) -> Secret:
        try:
            return self.reference.resolve(self._config.folder)
        except CredentialMissing as problem:
            raise self._missing(problem) from None

    def _missing(self, problem: CredentialMissing) -> CredentialMissing:
        """The problem with its place in the configuration."""
        origin = self._config.layers.origin(self._path)
        fault = {
            "path": self._path,
            "problem": str(problem),
            "file": str(origin.file) if origin else "",
            "line": (origin.line or None) if origin else None,
        }
        return CredentialMissing(f"{self._path}: {problem}", hint=problem.hint, data={"errors": [fault]})


def _spec(
    name: str,
    config: ProviderConfig,
    outbox: Path,
    bridge: Bridge,
    secrets: list[_SecretKey],
    state: SecretState | None,
) -> ProviderSpec:
    opener: Callable[[], Transport]
    sender = ""
    match config:
        case OutboxConfig():
            channels, connections, in_doubt = frozenset(Channel), OutboxTransport.connections, InDoubt.RETRY
            opener = partial(open_outbox, outbox)
        case SmtpConfig():
            channels, connections, in_doubt = frozenset({Channel.EMAIL}), config.connections, InDoubt.RETRY
            opener = partial(_open_smtp, name, config, secrets, bridge)
        case TwilioConfig():
            channels, connections, in_doubt = frozenset({Channel.SMS}), config.concurrency, InDoubt.HOLD
            opener = partial(_open_twilio, name, config, secrets[0])
            sender = config.messaging_service_sid or config.from_
    return ProviderSpec(
        name=name,
        kind=config.type,
        channels=channels,
        connections=connections,
        in_doubt=in_doubt,
        can_reconcile=isinstance(config, TwilioConfig),
        sender=sender,
        rate=config.rate,
        warmup=config.warmup,
        sender_rates=config.sender_rates,
        domain_rates=config.domain_rates,
        open=partial(_open, secrets, opener),
        settings=replace(config, rate=(), warmup=None, sender_rates={}, domain_rates={}),
        secret=state,
    )


async def _open(secrets: list[_SecretKey], opener: Callable[[], Transport]) -> Transport:
    """Open a provider whose secrets can be read. Raises `CredentialMissing`, and what the opener raises."""
    for secret in secrets:
        await secret.read()
    return await trio.to_thread.run_sync(opener)  # Twilio's library takes long to import


def _open_smtp(name: str, config: SmtpConfig, secrets: list[_SecretKey], bridge: Bridge) -> Transport:
    from hubd.transports.oauth2 import OAuth2Settings, TokenSource
    from hubd.transports.smtp import SmtpSettings, open_smtp

    readers = [secret.read for secret in secrets]
    tokens = None
    if config.oauth2 is not None:
        oauth2 = OAuth2Settings(token_url=config.oauth2.token_url, client_id=config.oauth2.client_id)
        tokens = TokenSource(oauth2, *readers)
    return open_smtp(
        name,
        SmtpSettings(
            host=config.host,
            port=config.port,
            security=config.security,
            username=config.username,
            connections=config.connections,
            ca_file=config.ca_file,
            ehlo_name=config.ehlo_name,
            pipelining=config.pipelining,
            bounce_address=config.bounce_address,
        ),
        bridge,
        readers[0] if readers and tokens is None else None,
        tokens,
    )


def _open_twilio(name: str, config: TwilioConfig, secret: _SecretKey) -> Transport:
    from hubd.transports.twilio import TwilioSettings, open_twilio

    return open_twilio(
        name,
        TwilioSettings(
            account_sid=config.account_sid,
            auth_token="",
            from_=config.from_,
            messaging_service_sid=config.messaging_service_sid,
            concurrency=config.concurrency,
            base_url=config.base_url,
        ),
        secret.read,
    )
