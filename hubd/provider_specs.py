"""The providers of a configuration, as the engine wants them: what each can do, and how it is opened.

Secrets are read once for each login, and here, so that a reload can tell whether one was replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from hubd.bridge import Bridge
from hubd.config.file import HubConfig, ProviderSettings, secrets_of
from hubd.engine.ports import Transport
from hubd.engine.provider import ProviderSpec, SecretState
from hubd.errors import CredentialMissing
from hubd.inbound.source import Source
from hubd.providers.kind import Opening
from hubd.providers.registry import kind_of
from hubd.secret_keys import SecretKey
from hubd.secrets import Place

log = logging.getLogger(__name__)


async def provider_specs(
    config: HubConfig,
    state_dir: Path,
    bridge: Bridge,
    *,
    bounce_token: Callable[[int], str] | None = None,
    ask_keyring: bool = True,
) -> dict[str, ProviderSpec]:
    """Each provider of the configuration by name, with the fingerprint of its secret. Nothing is opened yet.

    `bounce_token` gives the token of a delivery, by its id. Without `ask_keyring` secrets in the keyring are
    left for later: it may want to ask a person.
    """
    specs: dict[str, ProviderSpec] = {}

    async def add(name: str, settings: ProviderSettings) -> None:
        secrets = [SecretKey(f"providers.{name}", *named, config) for named in secrets_of(settings).items()]
        secret = secrets[0] if secrets else None
        state = None
        if secret is not None:
            asked = ask_keyring or secret.reference.place is not Place.KEYRING
            state = await _state(secret) if asked else SecretState(key=secret.key, place=secret.place)
        opening = replace(_opening(name, state_dir, bridge, secrets), bounce_token=bounce_token)
        specs[name] = _spec(settings, opening, secrets, state)

    async with trio.open_nursery() as nursery:
        for name, settings in config.providers.items():
            nursery.start_soon(add, name, settings)
    return {name: specs[name] for name in config.providers}


def provider_advice(config: HubConfig) -> dict[str, list[str]]:
    """What of each provider's settings cannot work as meant, in sentences; by the provider's name."""
    found = {
        name: list(kind_of(settings.type).advice(settings, bool(config.mailboxes)))
        for name, settings in config.providers.items()
    }
    return {name: sentences for name, sentences in found.items() if sentences}


def log_advice(config: HubConfig) -> None:
    """Tell it to whoever reads the log."""
    for name, sentences in provider_advice(config).items():
        for sentence in sentences:
            log.warning("provider %s: %s", name, sentence)


async def receipt_sources(config: HubConfig, state_dir: Path, bridge: Bridge) -> dict[str, Source]:
    """What reads what comes back about messages, by provider; of those that have such a place.

    Raises what opening one raises. Its secrets are read when it connects.
    """
    found: dict[str, Source] = {}
    for name, settings in config.providers.items():
        secrets = [SecretKey(f"providers.{name}", *named, config) for named in secrets_of(settings).items()]
        opening = _opening(name, state_dir, bridge, secrets)
        source = await trio.to_thread.run_sync(kind_of(settings.type).receipts, settings, opening)
        if source is not None:
            found[name] = source
    return found


async def _state(secret: SecretKey) -> SecretState:
    """The secret's state now. Raises nothing."""
    try:
        found = await secret.secret()
    except CredentialMissing as problem:
        return SecretState(key=secret.key, place=secret.place, problem=problem)
    return SecretState(key=secret.key, place=secret.place, fingerprint=found.fingerprint)


def _spec(
    settings: ProviderSettings, opening: Opening, secrets: list[SecretKey], state: SecretState | None
) -> ProviderSpec:
    kind = kind_of(settings.type)
    return ProviderSpec(
        name=opening.name,
        kind=settings.type,
        channels=kind.channels,
        connections=kind.connections(settings),
        in_doubt=kind.in_doubt,
        can_reconcile=kind.can_reconcile,
        problems=kind.problems,
        folder=opening.state_dir / kind.folder if kind.folder else None,
        sender=kind.sender(settings),
        rate=settings.rate,
        warmup=settings.warmup,
        sender_rates=settings.sender_rates,
        domain_rates=settings.domain_rates,
        open=partial(_open, secrets, partial(kind.open, settings, opening)),
        settings=replace(settings, rate=(), warmup=None, sender_rates={}, domain_rates={}),
        secret=state,
    )


def _opening(name: str, state_dir: Path, bridge: Bridge, secrets: list[SecretKey]) -> Opening:
    readers = {secret.key: secret.read for secret in secrets}
    return Opening(name=name, bridge=bridge, state_dir=state_dir, secrets=readers)


async def _open(secrets: list[SecretKey], opener: Callable[[], Transport]) -> Transport:
    """Open a provider whose secrets can be read. Raises `CredentialMissing`, and what the opener raises."""
    for secret in secrets:
        await secret.read()
    return await trio.to_thread.run_sync(opener)  # a vendor's library may take long to import
