"""What the methods about providers answer."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.results import WouldChange


class ProviderStatus(TypedDict):
    name: str
    type: str
    channels: list[str]
    state: str  #: ready, slowed, resting, half_open, stopped, disabled
    reason: str
    since: str | None  #: when it entered this state
    until: str | None  #: when it is tried again, or may send again
    lanes: int
    lanes_allowed: int  #: how many of them may be used now
    rate: list[str]


class ProvidersResult(TypedDict):
    providers: list[ProviderStatus]


class AccountView(TypedDict):
    """What a provider says of the account; null or empty where it says nothing."""

    sending: bool | None  #: whether it may send
    sandbox: bool | None  #: whether it may only send to recipients that were confirmed before
    rate: list[str]  #: how fast it may send; holds unless hubd.toml has a rate
    quota: int | None  #: messages that it may send in 24 hours
    used: int | None  #: of these, those of the last 24 hours
    lines: list[str]  #: sentences for people


class ProbeResult(TypedDict):
    ok: bool
    code: int
    text: str  #: what the provider said
    detail: str  #: what that means if it is not ok, or if only a further connection was refused
    account: AccountView | None  #: null for providers that do not describe it
    webhook: NotRequired[str]  #: the address to give to the provider, if the listener serves one for it
    would: NotRequired[WouldChange]  #: in the answer to a dry run, which asks nobody


class ProviderResult(TypedDict):
    changed: bool
    provider: ProviderStatus
    would: NotRequired[WouldChange]  #: in the answer to a dry run
