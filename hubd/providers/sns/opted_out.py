"""The numbers that opted out, as Amazon SNS lists them: whoever answered STOP to one of its texts.

Publish does not report that a number has opted out; it just sends no text. So the list is read, a hundred
numbers a page, when the daemon starts, before a campaign starts, and each hour. Source: Amazon SNS API
Reference, ListPhoneNumbersOptedOut. The list has no times.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import trio

from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.model import Answer, Channel
from hubd.inbound.source import Fetched
from hubd.providers.aws.answers import values_at
from hubd.providers.aws.connection import Service
from hubd.providers.sns.transport import ask
from hubd.providers.sns.verdicts import VERDICTS
from hubd.transports.unavailable import unavailable

#: Seconds between two readings of the whole list, and their minimum, however often it is asked for: it is
#: long, and AWS allows few such requests a second.
EVERY = 3600.0
AT_LEAST = 300.0

_RESULT = "ListPhoneNumbersOptedOutResult"


class OptedOutSource:
    """The list of one account. Used by one task at a time."""

    read_first = True

    def __init__(self, name: str, service: Service, now: Callable[[], float]) -> None:
        """`name` is the provider's; `now` gives seconds since the epoch."""
        self.name = f"provider {name}"
        self._service = service
        self._now = now
        self._connection = service.connection()
        self._read_at = -math.inf  # the end of the list, on Trio's clock

    async def fetch(self, cursor: str) -> Fetched:
        """Read one page; the cursor is where the next one begins. Raises `SourceUnavailable`.

        If SNS does not know a place in the list any more, the list is read from the beginning.
        """
        if not cursor and trio.current_time() < self._read_at + AT_LEAST:
            return Fetched(items=(), cursor="", wait=self._read_at + EVERY - trio.current_time())
        parameters = {"nextToken": cursor} if cursor else {}
        texts = await ask(self._connection, "ListPhoneNumbersOptedOut", parameters)
        if isinstance(texts, Answer) and cursor and texts.vendor.startswith("InvalidParameter"):
            texts = await ask(self._connection, "ListPhoneNumbersOptedOut")
        if isinstance(texts, Answer):
            raise unavailable(self.name, "its list of numbers that opted out", texts, VERDICTS)
        after = next(values_at(texts, f"{_RESULT}/nextToken"), "")
        numbers = values_at(texts, f"{_RESULT}/phoneNumbers/member")
        items = [self._item(number) for number in numbers]
        if not after:
            self._read_at = trio.current_time()
        return Fetched(items=items, cursor=after, wait=0.0 if after else EVERY)

    async def aclose(self) -> None:
        """Cut the connection."""
        self._service.endpoint.close()

    def _item(self, number: str) -> Item:
        return Item(
            key=f"opted-out/{hashlib.sha256(number.encode()).hexdigest()[:32]}",
            kind=ItemKind.OPT_OUT,
            at=self._now(),
            about=Reference(channel=Channel.SMS, address=number),
            of_list=True,
            vendor="OptedOut",
            sender=number,
        )
