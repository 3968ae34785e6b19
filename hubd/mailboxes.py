"""The mailboxes of a configuration, as sources of what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import trio

from hubd.config.file import HubConfig
from hubd.config.mailboxes import MailboxConfig
from hubd.errors import NotFound, SourceUnavailable
from hubd.inbound.imap_session import MailboxSettings
from hubd.inbound.mailbox import Mailbox, Probe
from hubd.secret_keys import SecretKey
from hubd.transports.oauth2 import OAuth2Settings, TokenRefused, TokenSource
from hubd.transports.tls import client_context


async def mailboxes(config: HubConfig, now: Callable[[], float]) -> dict[str, Mailbox]:
    """Each mailbox of the configuration, by name; none is connected yet. Its secrets are read at each login.

    `now` tells the time, in seconds since the epoch. Raises `BadConfig` for a `ca_file` that cannot be used.
    """
    found: dict[str, Mailbox] = {}
    for name, settings in config.mailboxes.items():
        context = None
        if settings.security != "none":
            context = await trio.to_thread.run_sync(client_context, settings.ca_file)
        keys = settings.secrets.items()
        readers = [SecretKey(f"mailboxes.{name}", *named, config).read for named in keys]
        found[name] = Mailbox(
            name,
            MailboxSettings(
                host=settings.host,
                port=settings.port,
                security=settings.security,
                username=settings.username,
                folder=settings.folder,
                processed_folder=settings.processed_folder,
                context=context,
            ),
            now,
            None if settings.oauth2 is not None else readers[0],
            _access_token(name, settings, readers),
        )
    return found


async def probe(config: HubConfig, now: Callable[[], float], name: str) -> Probe:
    """Log in to one mailbox on a connection of its own, and change nothing.

    Raises `NotFound`, `BadConfig` and `SourceUnavailable`.
    """
    if name not in config.mailboxes:
        raise NotFound(
            f"there is no mailbox {name}", code="mailbox_not_found", hint="to list them: hubctl mailbox list"
        )
    one = replace(config, mailboxes={name: config.mailboxes[name]})
    return await (await mailboxes(one, now))[name].probe()


def _access_token(
    name: str, settings: MailboxConfig, readers: Sequence[Callable[[], Awaitable[str]]]
) -> Callable[[str], Awaitable[str]] | None:
    if settings.oauth2 is None:
        return None
    oauth2 = OAuth2Settings(token_url=settings.oauth2.token_url, client_id=settings.oauth2.client_id)
    tokens = TokenSource(oauth2, *readers)

    async def access_token(refused: str) -> str:
        try:
            return await tokens.token(refused=refused)
        except TokenRefused as problem:
            person = problem.answer.code == 535
            text = f"mailbox {name}: no access token: {problem.answer.detail or problem.answer.text}"
            raise SourceUnavailable(text, data={"person": person}) from None

    return access_token
