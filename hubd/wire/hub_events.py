"""The data of events about the daemon: its configuration, providers, sinks and sockets."""

from __future__ import annotations

from typing import NotRequired, TypedDict

ProviderChanged = TypedDict(
    "ProviderChanged",
    {"provider": str, "from": str, "to": str, "reason": str, "until": float | None},
)


class NameReused(TypedDict):
    """A provider gave a message the id of another one, so what it accepted is unknown."""

    campaign: NotRequired[str]
    delivery_id: int
    provider: str
    provider_id: str


class NotificationAdded(TypedDict):
    """There is news for people: `about` is a campaign, an account, a mailbox or a sink."""

    id: int
    kind: str
    about: str
    headline: str


class ConfigReloaded(TypedDict):
    """hubd.toml was applied: the keys that changed, and those that need a restart."""

    applied: list[str]
    needs_restart: list[str]


class ConfigFault(TypedDict):
    """An invalid key of hubd.toml; "" is the file itself. Never quotes a value."""

    path: str
    problem: str
    line: int | None
    file: str


class ConfigReloadFailed(TypedDict):
    """hubd.toml was invalid; nothing changed."""

    problem: str
    errors: list[ConfigFault]


class SinkBroken(TypedDict):
    """A sink is not tried any more until it is resumed."""

    sink: str
    reason: str


class SinkResumed(TypedDict):
    sink: str


class HubRestored(TypedDict):
    """The database is an older copy: what was committed after it is missing."""

    why: str


class SocketRemoved(TypedDict):
    """The file of a socket is gone, so nobody can connect to it; what to do is in `remedy`."""

    path: str
    remedy: str


class SocketRestored(TypedDict):
    """The file of a socket is there again."""

    path: str
