"""Asking Twilio for a message whose answer was lost: it lists what it accepted, by recipient and day.

It reads two lists, because neither is complete: by the day a message went out, which leaves out those that
are still queued or scheduled; and the newest ones without a day, which includes those. `hubd.core.reconcile`
compares them. A list that is not complete and readable proves nothing.

The next page is only requested from where the first one came: the request carries the login.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hubd.core.model import Answer, Signal
from hubd.core.reconcile import PAST, SKEW, Finding, Found, Listed, Sought, search

if TYPE_CHECKING:
    from twilio.rest import Client

PAGE = 100  #: messages in a page; Twilio returns at most 1000
DATED_PAGES = 10  #: of messages to one number in a few days; there are never that many
NEWEST_PAGES = 2
LARGEST_PAGE = 4 * 1024 * 1024  #: bytes; a hundred texts of 1600 characters, each written as an escape

#: What a trial account puts in front of each text.
_TRIAL = "Sent from your Twilio trial account - "
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list, and the address of the next; "" when it was the last."""

    messages: tuple[Listed, ...]
    next_url: str


#: Carries out one request; an `Answer` instead of the page when something was wrong with it.
Ask = Callable[[Callable[[], Awaitable[Page]]], Awaitable[Page | Answer]]


async def reconcile(ask: Ask, client: Client, sought: Sought, base_url: str) -> Finding:
    """Whether Twilio has the message. Never raises because of Twilio or the network."""
    day = datetime.fromtimestamp(max(0.0, sought.opened_at - max(PAST, SKEW)), UTC).date().isoformat()
    dated: dict[str, object] = {"to": sought.recipient, "date_sent_after": day}
    if _NUMBER.fullmatch(sought.sender):
        dated["from_"] = sought.sender
    listed: list[Listed] = []
    complete = True
    for filters, pages, needed in (
        (dated, DATED_PAGES, True),
        ({"to": sought.recipient}, NEWEST_PAGES, False),
    ):
        found = await _read(ask, client, filters, pages, base_url)
        if isinstance(found, Finding):
            return found
        messages, whole = found
        listed += messages
        complete = complete and (whole or (not needed and _reaches_back(messages, sought)))
    return search(listed, sought, complete=complete)


async def _read(
    ask: Ask, client: Client, filters: Mapping[str, object], pages: int, base_url: str
) -> tuple[list[Listed], bool] | Finding:
    """The messages in up to `pages` pages, and whether those were all."""
    listed: list[Listed] = []
    url = ""
    for _ in range(pages):

        async def fetch(url: str = url) -> Page:
            if url:
                return _page(await client.messages.get_page_async(url))
            return _page(await client.messages.page_async(page_size=PAGE, **filters))

        page = await ask(fetch)
        if isinstance(page, Answer):
            return _no_list(page)
        listed += page.messages
        if not page.next_url:
            return listed, True
        if not _same_place(page.next_url, base_url):
            return _unknown("The provider's list continues at another address, which was not followed.")
        url = page.next_url
    return listed, False


def _reaches_back(messages: list[Listed], sought: Sought) -> bool:
    """Whether the newest messages include everything since before the attempt."""
    times = [message.created_at for message in messages if message.created_at is not None]
    return bool(times) and min(times) < sought.opened_at - SKEW


def _page(page: Any) -> Page:
    """The library's page as one of ours. Raises whatever an unreadable one makes the library raise."""
    messages = tuple(_listed(message) for message in page)
    return Page(messages=messages, next_url=str(page.next_page_url or ""))


def _listed(message: Any) -> Listed:
    made = message.date_created
    if not isinstance(message.sid, str) or not isinstance(message.to, str):
        raise ValueError("a listed message has no name or no recipient")
    return Listed(
        provider_id=message.sid,
        recipient=message.to,
        text=str(message.body or "").removeprefix(_TRIAL),
        sender=str(message.from_ or ""),
        service=str(message.messaging_service_sid or ""),
        created_at=made.timestamp() if isinstance(made, datetime) else None,
    )


def _same_place(url: str, base_url: str) -> bool:
    there, here = urlsplit(url), urlsplit(base_url)
    try:
        return (there.scheme, there.hostname, there.port) == (here.scheme, here.hostname, here.port)
    except ValueError:  # not a valid port
        return False


def _no_list(answer: Answer) -> Finding:
    """Why there is no list, without quoting the answer."""
    if answer.signal is Signal.REPLY and answer.code >= 300:
        why = f"The provider answered {answer.code} when it was asked about the message."
    elif answer.code or answer.signal is Signal.GARBAGE:
        why = "The provider's list cannot be read."
    else:
        why = "The provider could not be reached to ask about the message."
    return _unknown(why, answer.retry_after)


def _unknown(why: str, retry_after: float | None = None) -> Finding:
    return Finding(kind=Found.UNKNOWN, complete=False, detail=why, retry_after=retry_after)
