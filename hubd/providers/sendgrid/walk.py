"""How SendGrid's lists of addresses and its logs are read, in turn, one request a look. Pure.

A round reads each list in the window of time since the round before, with some overlap, 500 entries a page;
then the logs. Those return at most 1,000 messages and have no pages, so a window that has more is halved.
They also allow few requests a minute, so a walk through them may take several rounds: each continues where
the one before had to stop. Most walks look at the newest messages; every `DEEP_EVERY` seconds one covers
three days, because SendGrid may try a server that long.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from hubd.providers.sendgrid.items import LISTS

PAGE = 500  #: entries of a list; SendGrid gives no more
LOG_PAGE = 1000  #: messages in an answer from the logs
MOST_PAGES = 200  #: of one list in one round
SHORTEST = 1.0  #: seconds of a window of the logs that is not halved any more
OVERLAP = 900.0  #: seconds: entries may appear late
DEEP_EVERY = 900.0
CHANGING = 3 * 86_400.0  #: seconds for which the status of a message may change
FURTHEST = 30 * 86_400.0  #: the most seconds that a round looks back, after a long time without one
#: Seconds between two rounds, at first and at most; the logs allow few requests a minute.
EVERY = 60.0
LONGEST = 900.0

_STATUSES = "'delivered', 'bounced', 'blocked', 'dropped'"
STEPS = (*LISTS, "logs")


class Cursor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far everything was read. Times are seconds since the epoch."""

    until: float = 0.0  #: when the last round began; 0: there was none
    deep: float = 0.0  #: when the last completed walk through three days of the logs began
    logged: float = 0.0  #: when the last completed walk through the logs began
    asked: float = 0.0  #: when the one under way began; 0: there is none
    deeply: bool = False  #: whether that one covers three days
    rest: tuple[tuple[float, float], ...] = ()  #: its windows that are left for the next round
    newest: float = 0.0  #: when the newest message in the logs was created
    began: float = 0.0  #: when the round under way began; 0: there is none
    step: int = 0  #: of `STEPS`
    offset: int = 0  #: entries of the list that were read
    windows: tuple[tuple[float, float], ...] = ()  #: of the logs, still to be read; the next is last

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The beginning for "", and for anything that is not our cursor."""
        try:
            return _cursor.decode(text)
        except msgspec.DecodeError:
            return cls()

    def __str__(self) -> str:
        return _encode(self).decode()

    @property
    def what(self) -> str:
        """What is read now: one of `STEPS`."""
        return STEPS[self.step]

    @property
    def since(self) -> float:
        """The time from which this round reads lists."""
        since = self.until - OVERLAP if self.until else self.began - CHANGING
        return max(since, self.began - FURTHEST)

    @property
    def goes_deep(self) -> bool:
        """Whether a walk through the logs that begins in this round covers three days."""
        return self.began - self.deep >= DEEP_EVERY and (not self.deep or self.began - self.newest < CHANGING)

    def begin(self, now: float) -> Cursor:
        """The cursor with a round under way."""
        step = min(max(self.step, 0), len(STEPS) - 1)
        return (
            msgspec.structs.replace(self, step=step)
            if self.began
            else msgspec.structs.replace(self, began=now, step=0, offset=0, windows=())
        )

    def back_to(self, at: float) -> Cursor:
        """The cursor before a round that reads the lists from `at` on, or earlier."""
        return msgspec.structs.replace(self, until=min(self.until, at))

    def skip(self) -> Cursor:
        """The cursor without this step in this round."""
        if self.what == "logs":
            return self._ended(logged=self.logged, deep=self.deep)
        following = msgspec.structs.replace(self, step=self.step + 1, offset=0)
        return following if following.what != "logs" else following._at_logs()

    def _at_logs(self) -> Cursor:
        """The cursor with a walk through the logs that continues or begins."""
        if self.rest:
            return msgspec.structs.replace(self, windows=self.rest, rest=())
        since = self.logged - OVERLAP if self.logged else self.since
        if self.goes_deep:
            since = min(since, self.began - CHANGING)
        windows = ((max(since, self.began - FURTHEST), self.began),)
        return msgspec.structs.replace(self, asked=self.began, deeply=self.goes_deep, windows=windows)

    def later(self) -> Cursor:
        """The cursor with the rest of the logs left for the next round, which reads the lists first."""
        ended = self._ended(logged=self.logged, deep=self.deep)
        return msgspec.structs.replace(ended, asked=self.asked, deeply=self.deeply, rest=self.windows)

    def after_list(self, count: int) -> Cursor:
        """The cursor after a page of a list with `count` entries."""
        if count < PAGE or self.offset + PAGE >= MOST_PAGES * PAGE:
            return self.skip()
        return msgspec.structs.replace(self, offset=self.offset + PAGE)

    def after_logs(self, made: Sequence[float]) -> Cursor:
        """The cursor after an answer from the logs, with the times at which its messages were created.

        `halves` says whether that answer is ignored.
        """
        begins, ends = self.windows[-1]
        rest = self.windows[:-1]
        if self.halves(len(made)):
            middle = (begins + ends) / 2
            return msgspec.structs.replace(self, windows=(*rest, (begins, middle), (middle, ends)))
        read = msgspec.structs.replace(self, windows=rest, newest=max([self.newest, *made]))
        if rest:
            return read
        return read._ended(logged=self.asked, deep=self.asked if self.deeply else self.deep)

    def halves(self, count: int) -> bool:
        """Whether `count` messages may not be all in the window, which must then be halved."""
        begins, ends = self.windows[-1]
        return count >= LOG_PAGE and ends - begins > SHORTEST

    def _ended(self, *, logged: float, deep: float) -> Cursor:
        return Cursor(until=self.began, logged=logged, deep=deep, newest=self.newest)

    def wait(self, now: float) -> float:
        """Seconds until the next request."""
        if self.began:
            return 0.0
        if self.rest:
            return EVERY
        return min(max(EVERY, now - self.newest), LONGEST) if self.newest else LONGEST

    def target(self) -> str:
        """The path of a list's next page."""
        query = {"start_time": int(self.since), "end_time": int(self.began) + 1, "limit": PAGE}
        return f"/v3/suppression/{self.what}?{urlencode({**query, 'offset': self.offset})}"

    def query(self) -> bytes:
        """The query for the logs' next window."""
        begins, ends = self.windows[-1]
        condition = (
            f'sg_message_id_created_at >= TIMESTAMP "{_stamp(begins)}" '
            f'AND sg_message_id_created_at <= TIMESTAMP "{_stamp(ends + 1)}" AND status IN ({_STATUSES})'
        )
        return json.dumps({"query": condition, "limit": LOG_PAGE}).encode()


_cursor = msgspec.json.Decoder(Cursor)
_encode = msgspec.json.Encoder().encode


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(max(0.0, at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_stamp(text: object) -> float:
    """The time at which a message in the logs was created; 0 if it does not say."""
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
