"""What SendGrid's answers say, as values. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from hubd.core.account import Account
from hubd.transports.http_protocol import Response

_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}")
#: What the logs append to the name in the answer to a request.
_OF_LOGS = re.compile(r"\.(filter|recvd)")
_MOST = 3  #: errors of one answer that are shown


def provider_id(headers: Mapping[str, str]) -> str:
    """SendGrid's name for an accepted message; "" if there is none."""
    name = headers.get("x-message-id", "")
    return name if _ID.fullmatch(name) else ""


def id_of_logs(name: str) -> str:
    """The same name, from the message's name in the logs."""
    return _OF_LOGS.split(name, maxsplit=1)[0]


def error_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """The field that the first error is about ("" for none), and what the errors say."""
    errors = body.get("errors")
    listed = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    texts = [each["message"] for each in listed if isinstance(each.get("message"), str)]
    field = listed[0].get("field") if listed else None
    word = field if isinstance(field, str) and field != "null" and _WORD.fullmatch(field) else ""
    return word, "; ".join(texts[:_MOST])


def retry_after(response: Response, now: float) -> float | None:
    """Seconds until requests are accepted again: until `X-RateLimit-Reset`, which is an epoch second by
    SendGrid's clock, else as `Retry-After` says. None if there is neither.
    """
    if response.status != 429:
        return None
    reset = _number(response.headers.get("x-ratelimit-reset", ""))
    if reset is not None:
        return max(0.0, reset - (_date(response.headers.get("date", "")) or now))
    return _number(response.headers.get("retry-after", ""))


def account_of(credit: Mapping[str, Any]) -> Account:
    """The state of the account, from its remaining credits."""
    used, total, remain = (credit.get(key) for key in ("used", "total", "remain"))
    if not (isinstance(used, int) and isinstance(total, int) and isinstance(remain, int)) or total <= 0:
        return Account(sending=True)
    daily = credit.get("reset_frequency") == "daily"
    renewed = credit.get("next_reset")
    until = f" until {renewed}" if isinstance(renewed, str) and re.fullmatch(r"[0-9-]{10}", renewed) else ""
    return Account(
        sending=remain > 0,
        quota=total if daily else None,
        used=used if daily else None,
        lines=(f"{remain:,} of {total:,} messages are left{until}.",),
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
