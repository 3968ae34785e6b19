"""Asking SendGrid's logs whether it has a message: `POST /v3/logs`, then `GET /v3/logs/ID`.

Source: https://www.twilio.com/docs/sendgrid/api-reference/email-logs. A query returns at most 1,000 messages
and there are no further pages, so a window of time that has more is halved. The list does not say which
delivery a message belongs to; its details do, in `custom_args`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hubd.core.model import Answer, RenderedMessage, Signal
from hubd.core.reconcile import SKEW, WINDOW, Finding, Found
from hubd.providers.sendgrid.answers import id_of_logs
from hubd.transports.http_protocol import Request, Response

Ask = Callable[..., Awaitable[Response | Answer]]

LIMIT = 1000  #: messages in one answer
LARGEST_LIST = 4 * 1024 * 1024  #: bytes; 1,000 messages take some 400 KB
#: Queries for lists, and for single messages, about one message in doubt.
MOST_LISTS = 24
MOST_DETAILS = 25
SHORTEST = 1.0  #: seconds of a window that is not halved any more
#: Seconds between two answers that count as absent: what was accepted appears in the logs after a while.
APART = 300.0


class _NoAnswerToIt(Exception):
    """The logs cannot be read; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


async def look_for(ask: Ask, rendered: RenderedMessage, opened_at: float) -> Finding:
    """What the logs say about a message that may have been accepted. Never raises for what they answer."""
    try:
        listed, complete = dict[str, None](), True
        for spelling in {rendered.recipient, rendered.recipient.lower()}:
            names, whole = await _list(ask, spelling, opened_at - SKEW, opened_at + WINDOW)
            listed |= dict.fromkeys(names)
            complete = complete and whole
        for number, name in enumerate(listed):
            if number >= MOST_DETAILS:
                complete = False
                break
            if await _is(ask, name, rendered):
                return Finding(kind=Found.FOUND, provider_id=id_of_logs(name))
    except _NoAnswerToIt as problem:
        return problem.finding
    if not complete:
        return _unknown("The provider's list is too long to read completely.")
    return Finding(kind=Found.ABSENT, apart=APART)


async def _list(ask: Ask, recipient: str, since: float, until: float) -> tuple[list[str], bool]:
    """The names of the messages to a recipient in a window of time, and whether those are all."""
    windows, found, complete = [(since, until)], dict[str, None](), True
    for _ in range(MOST_LISTS):
        if not windows:
            return list(found), complete
        begins, ends = windows.pop()
        body = json.dumps({"query": _query(recipient, begins, ends), "limit": LIMIT}).encode()
        headers = (("Content-Type", "application/json"),)
        request = Request(method="POST", target="/v3/logs", headers=headers, body=body)
        messages = _object(await ask(request, LARGEST_LIST)).get("messages")
        if not isinstance(messages, list):
            raise _NoAnswerToIt(_unknown("The provider's list cannot be read."))
        if len(messages) >= LIMIT and ends - begins > SHORTEST:
            middle = (begins + ends) / 2
            windows += [(begins, middle), (middle, ends)]
            continue
        complete = complete and len(messages) < LIMIT
        for each in messages:
            name = each.get("sg_message_id") if isinstance(each, dict) else None
            if not isinstance(name, str) or not name:
                raise _NoAnswerToIt(_unknown("The provider's list cannot be read."))
            to = each.get("to_email")
            if not isinstance(to, str) or to.lower() == recipient.lower():
                found[name] = None
    return list(found), complete and not windows


async def _is(ask: Ask, name: str, rendered: RenderedMessage) -> bool:
    """Whether this message in the logs is ours. Raises `_NoAnswerToIt` when they do not say."""
    details = _object(await ask(Request(method="GET", target=f"/v3/logs/{quote(name, safe='')}")))
    arguments = details.get("custom_args")
    if isinstance(arguments, dict):
        return bool(arguments.get("hub_message") == rendered.message_id.strip("<>"))
    parts = rendered.parts() if rendered.parts is not None else None
    if parts is None or details.get("subject") in (None, parts.subject):
        raise _NoAnswerToIt(
            _unknown("The provider has a message that may be this one, but that is not certain.")
        )
    return False


def _query(recipient: str, since: float, until: float) -> str:
    """A condition in SendGrid's syntax. An address with a quotation mark is left out: then all are read."""
    window = (
        f'sg_message_id_created_at >= TIMESTAMP "{_time(since)}" '
        f'AND sg_message_id_created_at <= TIMESTAMP "{_time(until)}"'
    )
    if any(mark in recipient for mark in "'\"\\"):
        return window
    return f"to_email = '{recipient}' AND {window}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _object(response: Response | Answer) -> dict[str, Any]:
    """The object in a successful answer. Raises `_NoAnswerToIt`."""
    if isinstance(response, Response) and response.status == 200:
        try:
            found = json.loads(response.body)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
    if isinstance(response, Answer):
        said = response.signal is Signal.REPLY and response.detail
        why = response.detail if said else "The provider could not be reached to ask about the message."
        raise _NoAnswerToIt(_unknown(why, response.retry_after))
    if response.status != 200:
        why = f"The provider answered {response.status} when it was asked about the message."
        raise _NoAnswerToIt(_unknown(why))
    raise _NoAnswerToIt(_unknown("The provider's list cannot be read."))


def _unknown(why: str, retry_after: float | None = None) -> Finding:
    return Finding(kind=Found.UNKNOWN, complete=False, detail=why, retry_after=retry_after)
