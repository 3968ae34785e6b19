"""The health of a provider, for the engine and for people, and who is notified of a change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

log = logging.getLogger(__name__)


class Health(StrEnum):
    """The health of a provider, for the engine."""

    UNPROVEN = "unproven"  #: nothing is known: one connection at a time
    READY = "ready"
    RESTING = "resting"  #: in trouble; tried again at `rest_until`
    HALF_OPEN = "half_open"  #: the rest is over: one connection tries whether it works again
    STOPPED = "stopped"  #: needs a person
    DISABLED = "disabled"  #: switched off by a person


#: Nothing is handed out until a person acts.
OFF = frozenset({Health.STOPPED, Health.DISABLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHealth:
    """The health of a provider, as people and programs see it."""

    state: str = "ready"  #: ready, slowed, resting, half_open, stopped, disabled
    reason: str = ""
    #: Epoch seconds: nothing begins before. None when it takes no time, or a person.
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """The state of a provider changed. `before` and `after` are states of `ProviderHealth`."""

    provider: str
    before: str
    after: str
    reason: str
    until: float | None


Tell = Callable[[HealthChange], None]


def tell_nobody(change: HealthChange) -> None:
    """Ignore a change."""


class HealthReporter:
    """Reports the state of a provider when it differs from the last reported one."""

    def __init__(self, provider: str, tell: Tell) -> None:
        self._provider = provider
        self._tell = tell
        self._told = ProviderHealth().state

    def report(self, provider_health: ProviderHealth) -> bool:
        """Report the present state if it is new; returns whether it was. A failing listener does no harm."""
        if provider_health.state == self._told:
            return False
        change = HealthChange(
            provider=self._provider,
            before=self._told,
            after=provider_health.state,
            reason=provider_health.reason,
            until=provider_health.until,
        )
        self._told = provider_health.state
        try:
            self._tell(change)
        except Exception:
            log.exception(
                "a change of the provider %s could not be reported",
                self._provider,
                extra={"hub_provider": self._provider},
            )
        return True
