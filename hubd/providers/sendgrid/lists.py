"""SendGrid's logs and lists as a source of inbound items: see `walk` for how they are read.

The logs say what became of each message; the lists say which addresses bounced, complained or unsubscribed,
whichever message that was about. A webhook may say the same sooner; a message has the same name everywhere,
so nothing counts twice. A part that the API key may not read is left out, with one line in the log, and tried
again each hour.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import trio

from hubd.core.inbound import Item
from hubd.core.inbox import Booked
from hubd.core.model import Answer, Stage
from hubd.errors import SourceUnavailable
from hubd.inbound.source import Fetched
from hubd.providers.sendgrid.answers import error_of, retry_after
from hubd.providers.sendgrid.items import list_item, log_item
from hubd.providers.sendgrid.transport import SendGridTransport
from hubd.providers.sendgrid.verdicts import VERDICTS
from hubd.providers.sendgrid.walk import EVERY, STEPS, Cursor, read_stamp
from hubd.transports.http_protocol import Request, Response
from hubd.transports.unavailable import unavailable

log = logging.getLogger(__name__)

LARGEST = 4 * 1024 * 1024  #: bytes of an answer; 1,000 messages take some 400 KB
#: Requests to the logs in one round. Few are allowed, and lost answers are looked up there, too.
MOST_ASKED = 3
ASK_AGAIN = 3_600.0  #: seconds until a part that the key may not read is tried again
#: Items known to be booked, so that they are not handed over again in each round.
REMEMBERED = 200_000


class ListsSource:
    """The lists and logs of one account. Used by one task at a time."""

    read_first = True  #: so that unsubscribes at SendGrid are known before anything is sent

    def __init__(self, name: str, transport: SendGridTransport, now: Callable[[], float]) -> None:
        """`name` is the provider's. The transport belongs to this source. `now` gives seconds since the
        epoch.
        """
        self.name = f"provider {name}"
        self._transport = transport
        self._connection = transport.connection()
        self._now = now
        self._booked: dict[str, None] = {}
        self._forbidden: set[str] = set()
        self._told: set[str] = set()  #: what has ever been forbidden
        self._ask_again = math.inf  # on Trio's clock: when to try what is forbidden
        self._missing_from = math.inf  #: up to when forbidden parts were read
        self._asked = 0  #: requests to the logs in this round
        self._not_before = -math.inf  # on Trio's clock: the next round

    async def fetch(self, cursor: str) -> Fetched:
        """Make one request of a round, or more while they are refused. Raises `SourceUnavailable`."""
        at = Cursor.parse(cursor)
        if not at.began and (pause := self._not_before - trio.current_time()) > 0:
            await trio.lowlevel.checkpoint()
            return Fetched(items=(), cursor=cursor, wait=pause)
        at = (at if at.began else self._anew(at)).begin(self._now())
        while True:
            if at.what == "logs" and self._asked >= MOST_ASKED:
                return self._fetched(at.later(), [])
            answer = await self._ask(at)
            if isinstance(answer, Response):
                break
            at = self._refused(at, answer)
            if not at.began:
                return self._fetched(at, [], pause=answer.retry_after or 0.0)
        rows = self._rows(at, answer)
        if at.what == "logs":
            made = [read_stamp(row.get("sg_message_id_created_at")) for row in rows]
            halved = at.halves(len(rows))
            found = [log_item(row, when) for row, when in zip(rows, made, strict=True) if not halved]
            return self._fetched(at.after_logs(made), found)
        return self._fetched(at.after_list(len(rows)), (list_item(at.what, row) for row in rows))

    async def aclose(self) -> None:
        """Cut the connection."""
        await self._transport.aclose()

    def _anew(self, at: Cursor) -> Cursor:
        """The cursor for a new round, which tries again what has been forbidden long enough."""
        self._asked = 0
        if not self._forbidden:
            self._missing_from = math.inf
        elif trio.current_time() >= self._ask_again:
            self._forbidden.clear()
            return at.back_to(self._missing_from)
        return at

    async def _ask(self, at: Cursor) -> Response | Answer:
        """A successful answer, or what was wrong."""
        if at.what in self._forbidden:
            return Answer(stage=Stage.REQUEST, code=403)
        if at.what == "logs":
            self._asked += 1
            headers = (("Content-Type", "application/json"),)
            request = Request(method="POST", target="/v3/logs", headers=headers, body=at.query())
        else:
            request = Request(method="GET", target=at.target())
        answer = await self._connection.ask(request, LARGEST)
        if isinstance(answer, Answer) or answer.status == 200:
            return answer
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = {}
        word, text = error_of(said if isinstance(said, dict) else {})
        return Answer(
            stage=Stage.REQUEST,
            code=answer.status,
            vendor=word,
            text=text[:300],
            retry_after=retry_after(answer, self._now()),
        )

    def _refused(self, at: Cursor, answer: Answer) -> Cursor:
        """Continue without a part that the key may not read; at the logs' limit, continue next round.

        Raises `SourceUnavailable` for anything else, and when nothing is left.
        """
        what = "its logs" if at.what == "logs" else f"its list of {at.what.replace('_', ' ')}"
        if answer.code == 429 and at.what == "logs":
            return at.later()
        if answer.code != 403:
            raise unavailable(self.name, what, answer, VERDICTS)
        if at.what not in self._forbidden:
            self._forbidden.add(at.what)
            self._ask_again = trio.current_time() + ASK_AGAIN
            self._missing_from = min(self._missing_from, at.until)
        if at.what not in self._told:
            self._told.add(at.what)
            log.warning("%s: the API key may not read %s; that part is left out", self.name, what)
        if self._forbidden.issuperset(STEPS):
            self._forbidden.clear()
            raise SourceUnavailable(
                f"{self.name}: the API key may read neither suppressions nor email logs; give it read access "
                "to Suppressions and Email Activity",
                data={"person": True},
            )
        return at.skip()

    def _rows(self, at: Cursor, answer: Response) -> list[dict[str, Any]]:
        try:
            found = json.loads(answer.body)
            rows = found["messages"] if at.what == "logs" else found
            if isinstance(rows, list):
                return [row for row in rows if isinstance(row, dict)]
        except (ValueError, RecursionError, KeyError, TypeError):
            pass
        raise SourceUnavailable(
            f"{self.name}: what it answers about {at.what.replace('_', ' ')} cannot be read",
            data={"person": False},
        )

    def _fetched(self, after: Cursor, found: Iterable[Item | None], pause: float = 0.0) -> Fetched:
        items = [item for item in found if item is not None and item.key not in self._booked]
        wait = max(after.wait(self._now()), pause)
        if not after.began:
            self._not_before = trio.current_time() + max(EVERY, pause)

        async def acknowledge(booked: Booked) -> None:
            await trio.lowlevel.checkpoint()
            self._remember(items, booked.left)

        return Fetched(items=items, cursor=str(after), wait=wait, acknowledge=acknowledge)

    def _remember(self, items: Sequence[Item], left: Collection[str]) -> None:
        self._booked.update((item.key, None) for item in items if item.key not in left)
        for key in list(self._booked)[: max(0, len(self._booked) - REMEMBERED)]:
            del self._booked[key]
