"""The listener of a configuration, with what it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from hubd.config.file import HubConfig, secrets_of
from hubd.core.tokens import Purpose, Tokens
from hubd.inbound.listener import Listener, Webhook
from hubd.providers.registry import kind_of
from hubd.secret_keys import SecretKey


def unsubscribe_links(config: HubConfig) -> str:
    """What unsubscribe links begin with, before a token; "" where hubd serves no such links."""
    listener = config.listener
    return f"{listener.public_url}/u/" if listener is not None and listener.unsubscribe else ""


def webhook_urls(config: HubConfig, tokens: Tokens) -> dict[str, str]:
    """The address to give to each provider that tells things by itself, by the provider's name."""
    if config.listener is None:
        return {}
    return {
        name: f"{config.listener.public_url}/w/{name}/{_webhook_token(tokens, name)}"
        for name, settings in config.providers.items()
        if kind_of(settings.type).webhook is not None
    }


def listener_of(config: HubConfig, tokens: Tokens, now: Callable[[], float]) -> Listener | None:
    """The listener, which does not listen yet; None if there is to be none.

    `now` tells the time, in seconds since the epoch.
    """
    if config.listener is None:
        return None
    webhooks = {}
    for name, settings in config.providers.items():
        kind = kind_of(settings.type)
        read = _key_reader(config, name)
        if kind.webhook is not None and read is not None:
            webhooks[name] = Webhook(token=_webhook_token(tokens, name), secret=read, read=kind.webhook)

    def is_ours(token: str) -> bool:
        return tokens.read(Purpose.UNSUBSCRIBE, token) is not None

    return Listener(
        config.listener.address,
        config.listener.public_url,
        is_ours=is_ours if config.listener.unsubscribe else None,
        webhooks=webhooks,
        now=now,
    )


def _key_reader(config: HubConfig, name: str) -> Callable[[], Awaitable[str]] | None:
    """Reads what a provider's webhook is checked with: the secret, or a public key; None if there is none."""
    settings = config.providers[name]
    kind = kind_of(settings.type)
    reference = secrets_of(settings).get(kind.webhook_key)
    if reference is not None:
        return SecretKey(f"providers.{name}", kind.webhook_key, reference, config).read
    public_key = kind.webhook_public_key(settings)

    async def read() -> str:
        await trio.lowlevel.checkpoint()
        return public_key

    return read if public_key else None


def _webhook_token(tokens: Tokens, provider: str) -> str:
    return tokens.of_name("webhook", provider)
