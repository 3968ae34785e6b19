"""What Amazon SES says about an account: its quota, its rate, and whether it may send at all. Pure.

Source: Amazon SES API v2 Reference, GetAccount.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from hubd.core.account import Account
from hubd.providers.aws.answers import Unreadable


def account_of(said: Mapping[str, object]) -> Account:
    """The account that GetAccount describes. Raises `Unreadable`."""
    quota = said.get("SendQuota")
    enabled = said.get("SendingEnabled")
    if not isinstance(quota, dict) or not isinstance(enabled, bool):
        raise Unreadable("it does not describe an account")
    a_day, used = _number(quota, "Max24HourSend"), _number(quota, "SentLast24Hours")
    a_second = _number(quota, "MaxSendRate")
    limited = a_day >= 0  # -1 is an unlimited quota
    status = str(said.get("EnforcementStatus", ""))
    sandbox = said.get("ProductionAccessEnabled") is not True
    return Account(
        sending=enabled and status != "SHUTDOWN",
        sandbox=sandbox,
        rate=tuple(_rates(a_second, int(a_day) if limited else 0)),
        quota=int(a_day) if limited else None,
        used=int(used),
        lines=tuple(_lines(status, sandbox, enabled, int(a_day) if limited else None, int(used), a_second)),
    )


def _rates(a_second: float, a_day: int) -> Iterator[str]:
    """The rates as written in hubd.toml; 0 stands for none."""
    if a_second >= 1:
        yield f"{math.floor(a_second)}/s"
    elif a_second > 0:
        yield f"1/{math.ceil(1 / a_second)}s"
    if a_day > 0:
        yield f"{a_day}/day"


def _lines(
    status: str, sandbox: bool, enabled: bool, a_day: int | None, used: int, a_second: float
) -> Iterator[str]:
    if not enabled or status == "SHUTDOWN":
        yield "AWS or you have switched off sending for this account; see the SES console."
    elif status == "PROBATION":
        yield "AWS has put this account under review because of bounces or complaints; see the SES console."
    if sandbox:
        yield (
            "The account is in the sandbox: it may only send to verified addresses. "
            "Ask AWS for production access in the SES console."
        )
    most = "any number of messages" if a_day is None else f"{a_day:,} messages"
    yield f"It may send {most} in 24 hours, {a_second:g} a second; {used:,} were sent in the last 24 hours."


def _number(quota: Mapping[str, object], key: str) -> float:
    found = quota.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or not -1 <= found <= 1e12:
        raise Unreadable("a quota is not a number")
    return float(found)
