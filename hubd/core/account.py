"""What a provider says of the account that messages go out through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hubd.core.model import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as its provider describes it. What a provider does not say stays empty."""

    sending: bool | None = None  #: whether it may send
    sandbox: bool | None = None  #: whether it may only send to recipients that were confirmed before
    rate: tuple[str, ...] = ()  #: how fast it may send, as rates of hubd.toml: ("14/s", "50000/day")
    quota: int | None = None  #: messages that it may send in 24 hours
    used: int | None = None  #: of these, those of the last 24 hours
    lines: tuple[str, ...] = ()  #: sentences for people, the most important first


class AccountAnswer(NamedTuple):
    """The answer to a question about the account, and what it says; None if it says nothing."""

    answer: Answer
    account: Account | None = None
