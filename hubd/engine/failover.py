"""Which of a campaign's providers sends now, and when another one takes over.

A campaign may name several. The first that works sends; while it does not, the next one does, and it gives
way when an earlier one works again. What is handed to another provider was certainly not accepted before: a
message on the wire is settled first, and one in doubt stays with the provider that may have it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from hubd.core.verdict import is_ready
from hubd.engine.provider import Provider
from hubd.engine.providers import Providers
from hubd.errors import HubError, NotFound

log = logging.getLogger(__name__)

#: Seconds for which a provider is in trouble before the next one takes over. Stopped ones are not waited for.
FAIL_OVER_AFTER = 30.0
#: Seconds between two looks at how the providers are.
LOOK_EVERY = 1.0
#: Seconds between two tries whether an earlier provider works again.
TRY_EVERY = 300.0

_WORKS = ("ready", "slowed")
_OFF = ("stopped", "disabled")


class Failover:
    """The providers of one campaign, in order of preference."""

    def __init__(self, names: Sequence[str], providers: Providers) -> None:
        self.names = tuple(names)
        self._providers = providers

    def choose(self) -> str:
        """The first that works; if none does, the first that may be tried; then the first that needs no
        person; else the first.
        """
        states = {name: self._state(name) for name in self.names}
        working = [name for name in self.names if self._works(name)]
        ready = [name for name in self.names if states[name] in _WORKS]
        usable = [name for name in self.names if states[name] not in _OFF]
        return (working or ready or usable or list(self.names))[0]

    def successor(self, current: str) -> str:
        """The one that takes over from a provider that can no longer send; "" for none."""
        other = self.choose()
        return other if other != current and self._state(other) not in _OFF else ""

    async def until_another(self, current: str) -> str:
        """Wait until another provider than `current` should send; its name."""
        async with trio.open_nursery() as nursery:
            chosen = await self._watch(current, nursery)
            nursery.cancel_scope.cancel()
        return chosen

    async def _watch(self, current: str, nursery: trio.Nursery) -> str:
        troubled_since: float | None = None
        tried_at = trio.current_time()
        trying: set[str] = set()
        while True:
            await trio.sleep(LOOK_EVERY)
            now = trio.current_time()
            if now - tried_at >= TRY_EVERY:
                tried_at = now
                for name in self._to_be_tried(current):
                    if name not in trying:
                        nursery.start_soon(self._try, name, trying)
            chosen, state, works = self.choose(), self._state(current), self._works(current)
            troubled_since = None if works else (now if troubled_since is None else troubled_since)
            waited = troubled_since is not None and now - troubled_since >= FAIL_OVER_AFTER
            if chosen != current and (works or state in _OFF or waited) and self._state(chosen) not in _OFF:
                return chosen

    def _to_be_tried(self, current: str) -> list[str]:
        """The providers before this one that were in trouble: nobody else uses them now."""
        earlier = self.names[: self.names.index(current)]
        return [name for name in earlier if self._state(name) not in _OFF and not self._works(name)]

    async def _try(self, name: str, trying: set[str]) -> None:
        """Log in at a provider. A server that does not answer takes its time, which nobody waits for."""
        trying.add(name)
        try:
            answer = await self._providers.get(name).probe()
            log.info("tested whether %s works again: %s", name, "yes" if is_ready(answer) else "no")
        except (HubError, OSError):
            pass  # the provider's health says why
        finally:
            trying.discard(name)

    def _works(self, name: str) -> bool:
        """Whether it is ready, and not only because the rest after its trouble is over."""
        return self._state(name) in _WORKS and self._providers.get(name).recovered

    def _state(self, name: str) -> str:
        """How a provider is; "stopped" if it is not configured."""
        try:
            provider: Provider = self._providers.get(name)
        except NotFound:
            return "stopped"
        return provider.provider_health().state
