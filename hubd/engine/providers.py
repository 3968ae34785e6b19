"""All providers that are configured, by name, and how a new configuration is taken over."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import trio

from hubd.engine.health import Tell, tell_nobody
from hubd.engine.ports import Transport
from hubd.engine.provider import Provider, ProviderSpec, ProviderView
from hubd.engine.worker import IDLE
from hubd.errors import NotFound

log = logging.getLogger(__name__)

#: What a reload changes without reopening the provider.
_LIMITS = ("rate", "warmup", "sender_rates", "domain_rates")


class Providers:
    """All of them, by name."""

    def __init__(
        self,
        specs: Mapping[str, ProviderSpec],
        random: Callable[[], float],
        *,
        tell: Tell = tell_nobody,
        now: Callable[[], float] = time.time,
    ) -> None:
        """The arguments are those of `Provider`."""
        self._random = random
        self._tell = tell
        self._now = now
        self._all = {name: self._make(spec) for name, spec in specs.items()}
        self._changing = trio.Lock()
        #: Reads what came back through a provider, by its name, before something is sent through it. Set by
        #: whoever can; it raises nothing and takes seconds at most.
        self.catch_up: Callable[[str], Awaitable[None]] = _nothing_came_back
        self._gone: list[Provider] = []  # removed, with messages perhaps still on the wire

    def get(self, name: str) -> Provider:
        """One provider. Raises `NotFound`."""
        if name not in self._all:
            raise NotFound(
                f"there is no provider {name}",
                code="provider_not_found",
                hint=f"there are: {', '.join(sorted(self._all))}",
            )
        return self._all[name]

    def views(self) -> list[ProviderView]:
        """How each is."""
        return [self._all[name].view() for name in sorted(self._all)]

    async def reconfigure(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        """Take over a new configuration, all of it or nothing. Returns what changed, in words.

        Campaigns on a provider whose settings changed continue with the new ones from their next message.
        Raises what opening a changed provider raises, and `CredentialMissing` when a secret cannot be read
        any more; nothing has changed then.
        """
        async with self._changing:
            return await self._reconfigure(specs)

    async def _reconfigure(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        for name, spec in specs.items():
            if name in self._all:
                self._all[name].check_secret(spec)
        others = [n for n, s in specs.items() if n in self._all and self._all[n].spec.channels != s.channels]
        changed = {
            name: spec
            for name, spec in specs.items()
            if name in self._all and name not in others and self._differs(name, spec)
        }
        words = [self._what_changed(name, spec) for name, spec in changed.items()]
        prepared: dict[str, Transport | None] = {}
        async with AsyncExitStack() as quiet:
            for name in changed:  # none of them opens in the middle of this
                await quiet.enter_async_context(self._all[name].opening)
            try:
                for name, spec in changed.items():
                    prepared[name] = await self._all[name].prepare_change(spec)
            except BaseException:
                for transport in prepared.values():
                    if transport is not None:
                        await transport.aclose()
                raise
            for name in others:
                self._retire(name)  # another kind of provider under the same name
            for name, transport in prepared.items():
                self._all[name].change(changed[name], transport)
        return words + self._adopt(specs)

    def _make(self, spec: ProviderSpec) -> Provider:
        return Provider(spec, self._random, tell=self._tell, now=self._now)

    def _retire(self, name: str) -> None:
        gone = self._all.pop(name)
        gone.disable("no longer in the configuration")
        self._gone.append(gone)

    def _differs(self, name: str, spec: ProviderSpec) -> bool:
        known = self._all[name]
        return known.spec.settings != spec.settings or known.secret_changed(spec)

    def _what_changed(self, name: str, spec: ProviderSpec) -> str:
        if spec.secret is None or self._all[name].spec.settings != spec.settings:
            return f"providers.{name}"
        return f"providers.{name}.{spec.secret.key} ({spec.secret.place})"

    def _adopt(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        """Rates, new providers, and those that are gone."""
        words = []
        for name, spec in specs.items():
            known = self._all.get(name)
            if known is None:
                self._all[name] = self._make(spec)
                words.append(f"providers.{name}")
            else:
                words += [f"providers.{name}.{key}" for key in _LIMITS if _changed(known.spec, spec, key)]
                known.spec = spec
        for name in [name for name in self._all if name not in specs]:
            self._retire(name)
            words.append(f"providers.{name} (removed)")
        return words

    async def tidy(self) -> None:
        """Close unused connections, and removed providers once nothing is on their wire; until cancelled."""
        while True:
            await trio.sleep(IDLE / 3)
            for provider in (*self._all.values(), *self._gone):
                try:
                    if provider in self._gone and provider.idle:
                        self._gone.remove(provider)
                        await provider.aclose()
                    else:
                        await provider.tidy()
                except Exception:
                    log.exception(
                        "an unused connection of %s did not close",
                        provider.spec.name,
                        extra={"hub_provider": provider.spec.name},
                    )

    async def aclose(self) -> None:
        """Close every connection."""
        for provider in (*self._all.values(), *self._gone):
            await provider.aclose()


async def _nothing_came_back(provider: str) -> None:
    await trio.lowlevel.checkpoint()


def _changed(before: ProviderSpec, after: ProviderSpec, key: str) -> bool:
    return bool(getattr(before, key) != getattr(after, key))
