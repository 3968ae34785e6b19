"""How a provider is, in the engine's words and in those that people see; who is told of a change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

log = logging.getLogger(__name__)


class Health(StrEnum):
    """How a provider is."""

    UNPROVEN = "unproven"  #: nothing is known: one lane at a time
    READY = "ready"
    RESTING = "resting"  #: in trouble; tried again at `rest_until`
    HALF_OPEN = "half_open"  #: the rest is over: one lane tries whether it works again
    STOPPED = "stopped"  #: needs a person
    DISABLED = "disabled"  #: switched off by a person


#: Nothing is handed out until a person acts.
OFF = frozenset({Health.STOPPED, Health.DISABLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a provider is, in the words that people and programs see."""

    state: str = "ready"  #: ready, slowed, resting, half_open, stopped, disabled
    reason: str = ""
    #: Epoch seconds: nothing begins before. None when it takes no time, or a person.
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """A provider's state is another one now. `before` and `after` are states of `Standing`."""

    provider: str
    before: str
    after: str
    reason: str
    until: float | None


Tell = Callable[[HealthChange], None]


def tell_nobody(change: HealthChange) -> None:
    """Where changes go that nobody wants to know."""


class Herald:
    """Tells of a provider when its state is another one than was told last."""

    def __init__(self, provider: str, tell: Tell) -> None:
        self._provider = provider
        self._tell = tell
        self._told = Standing().state

    def report(self, standing: Standing) -> bool:
        """Tell how it is now, if that is news; whether it was. A listener that fails hurts nobody."""
        if standing.state == self._told:
            return False
        change = HealthChange(
            provider=self._provider,
            before=self._told,
            after=standing.state,
            reason=standing.reason,
            until=standing.until,
        )
        self._told = standing.state
        try:
            self._tell(change)
        except Exception:
            log.exception(
                "a change of the provider %s could not be told",
                self._provider,
                extra={"hub_provider": self._provider},
            )
        return True
