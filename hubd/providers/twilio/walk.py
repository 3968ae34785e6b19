"""How Twilio's list of messages is walked: from the newest back to where an earlier walk began. Pure.

The list is all that a computer without a public address learns: what became of our messages, and the texts
that people sent. Twilio filters it by day and gives the newest first, 1,000 a page
(https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources). Messages that
have not gone out have no day, so a walk begins with a page of the newest without one.

Most walks go back `OVERLAP` before the last one. A deep one, every `DEEP_EVERY` seconds until three days
after our last message, goes back those three days: statuses of messages may come that late. A long walk looks
at the newest page once a minute, so that no STOP has to wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlencode, urlsplit

import msgspec

from hubd.core.inbound import Item
from hubd.providers.twilio.items import status_item, text_item

PAGE = 1000  #: messages; Twilio returns no more
#: A deep walk is due again after this many times the duration of the last one, if that is longer: during a
#: walk only one page of newer messages is seen, and a large account has pages for minutes. Half a day at
#: most, or changes would be missed.
DEEP_REST = 10.0
LONGEST_REST = 43_200.0
#: Seconds between two walks: at first, and at most. In between, the wait is the age of the last message, so
#: that the waits double.
SHORTEST = 15.0
LONGEST = 900.0
#: Seconds that a walk goes back before the beginning of the last one: Twilio may list a message late, and
#: most receipts come within minutes.
OVERLAP = 900.0
DEEP_EVERY = 900.0
#: Seconds between two looks at the newest page during a walk.
PEEK_EVERY = 60.0
#: Seconds for which the status of a message may change.
CHANGING = 3 * 86_400.0
#: Seconds for which a status that fits no message is tried again: longer than a lost answer is asked about,
#: which gives a message its name.
LOOK_AGAIN = 7_200.0
#: Seconds that a walk goes back at most, after a long time without one.
FURTHEST = 30 * 86_400.0


class Cursor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the list was read. Times are seconds since the epoch."""

    until: float = 0.0  #: when the last whole walk began; 0: there was none
    deep: float = 0.0  #: when the last whole walk that went back three days began
    took: float = 0.0  #: seconds that one took
    newest: float = 0.0  #: when the newest message that went out from the account was created
    began: float = 0.0  #: when the walk under way began; 0: there is none
    back_to: float = 0.0  #: how far it goes back
    dated: bool = False  #: whether it has reached the list by day
    page: str = ""  #: the path of its next page; "" for the first one of a list
    peeked: float = 0.0  #: when it last read the newest page
    peeks: bool = False  #: whether it reads that page again before it continues

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The beginning for "", and for anything that is not our cursor."""
        try:
            return _cursor.decode(text)
        except msgspec.DecodeError:  # such as "", the beginning
            return cls()

    def __str__(self) -> str:
        return _encode(self).decode()

    @property
    def goes_deep(self) -> bool:
        """Whether the walk under way goes back as far as statuses change."""
        return self.back_to <= self.began - CHANGING

    def begin(self, now: float) -> Cursor:
        """The cursor with a walk under way, and what it reads at `now`."""
        if self.began:
            return msgspec.structs.replace(self, peeks=self.dated and now - self.peeked >= PEEK_EVERY)
        back_to = self.until - OVERLAP if self.until else now - CHANGING
        rest = max(DEEP_EVERY, min(DEEP_REST * self.took, LONGEST_REST))
        if now - self.deep >= rest and now - self.newest < CHANGING:
            back_to = min(back_to, now - CHANGING)
        back_to = max(back_to, now - FURTHEST)
        return msgspec.structs.replace(self, began=now, back_to=back_to, dated=False, page="")

    def again(self) -> Cursor:
        """The same walk from its beginning: Twilio does not know the page any more."""
        return msgspec.structs.replace(self, dated=False, page="", peeks=False)

    def after(self, page: Page, now: float) -> Cursor:
        """The cursor once a page was read at `now`; `began` is 0 after the last page of the walk."""
        newest = max([self.newest, *(each.made for each in page.messages if each.outbound)])
        read = msgspec.structs.replace(self, newest=newest)
        if self.peeks:
            return msgspec.structs.replace(read, peeked=now, peeks=False)
        reached = bool(page.messages) and page.messages[-1].listed < self.back_to
        if not self.dated:
            if not page.next or (reached and not self.goes_deep):
                return read._ended(now)
            return msgspec.structs.replace(read, dated=True, page="", peeked=now)
        if not page.next or reached:
            return read._ended(now)
        return msgspec.structs.replace(read, page=page.next)

    def _ended(self, now: float) -> Cursor:
        if not self.goes_deep:
            return Cursor(until=self.began, deep=self.deep, took=self.took, newest=self.newest)
        return Cursor(until=self.began, deep=self.began, took=now - self.began, newest=self.newest)

    def wait(self, now: float) -> float:
        """Seconds until the next request."""
        if self.began:
            return 0.0
        return min(max(SHORTEST, now - self.newest), LONGEST) if self.newest else LONGEST


_cursor = msgspec.json.Decoder(Cursor)
_encode = msgspec.json.Encoder().encode


class Message(msgspec.Struct, frozen=True):
    """What the list says about a message, as far as it matters here."""

    sid: str
    direction: str
    status: str
    to: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    body: str | None = None
    error_code: int | str | None = None
    error_message: str | None = None
    messaging_service_sid: str | None = None
    date_created: str | None = None
    date_sent: str | None = None
    date_updated: str | None = None

    @property
    def outbound(self) -> bool:
        """Whether it went out from the account, in whatever way."""
        return self.direction.startswith("outbound")

    @property
    def made(self) -> float:
        """When it was created, which never changes; seconds since the epoch."""
        return _time(self.date_created) or _time(self.date_sent)

    @property
    def listed(self) -> float:
        """The time that determines its place in the list."""
        return max(self.made, _time(self.date_sent))

    def item(self, ours: Sequence[str]) -> Item | None:
        """Its item; None if there is none yet. `ours` are the numbers and services that only we use."""
        if self.outbound:
            at = _time(self.date_updated) or _time(self.date_sent) or self.made
            error = "" if self.error_code is None else str(self.error_code)
            item = status_item(self.sid, self.status, self.to or "", error, self.error_message or "", at)
            return None if item is None else replace(item, only_ours=True, look_again=LOOK_AGAIN)
        if self.direction != "inbound" or not self.from_:
            return None
        item = text_item(self.sid, self.from_, self.body or "", self.made)
        to_us = {self.to, self.messaging_service_sid}.intersection(ours)
        return replace(item, only_ours=not to_us)


class Page(msgspec.Struct, frozen=True):
    """One page of the list."""

    messages: list[Message]
    next_page_uri: str | None = None

    @property
    def next(self) -> str:
        """The path of the next page; "" when it was the last."""
        return self.next_page_uri or ""

    def items(self, ours: Sequence[str], walk: Cursor) -> Iterator[Item]:
        """The items of its messages, oldest first; none for messages older than the walk goes back."""
        changing = min(walk.back_to, walk.began - CHANGING)
        for message in reversed(self.messages):
            old = message.listed < (changing if message.outbound else walk.back_to)
            item = None if old else message.item(ours)
            if item is not None:
                yield item


_page = msgspec.json.Decoder(Page)


def read_page(body: bytes, path: str) -> Page:
    """A page. Raises `ValueError` if it is not one, or continues anywhere but at `path`."""
    page = _page.decode(body)
    if page.next and (urlsplit(page.next).path != path or not page.next.startswith(path)):
        raise ValueError("the list continues at another address")
    return page


def target(cursor: Cursor, path: str) -> str:
    """What to ask for next."""
    if cursor.page and not cursor.peeks:
        return cursor.page
    query = {"PageSize": PAGE}
    if cursor.dated and not cursor.peeks:
        day = datetime.fromtimestamp(max(0.0, cursor.back_to), UTC).date().isoformat()
        return f"{path}?{urlencode({'DateSent>': day, **query})}"
    return f"{path}?{urlencode(query)}"


@lru_cache(maxsize=4096)  # many have the same second, and parsing one takes 20 us
def _time(text: str | None) -> float:
    """ "Mon, 30 Nov 2026 17:10:00 +0000" as seconds since the epoch; 0 for none."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else 0.0
    except (TypeError, ValueError, OverflowError):
        return 0.0
