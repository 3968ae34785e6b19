"""Twilio's list of messages as a source of inbound items: see `walk` for how it is read.

It needs no public address. If a webhook reports the same, nothing is counted twice: both name a message by
its SID. A status that fits none of our messages may belong to one whose SID is not stored yet, or to somebody
else; it is tried again for a while, and never listed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence

import msgspec

from hubd.core.inbound import Item
from hubd.core.inbox import Booked
from hubd.core.model import Answer, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.errors import CredentialMissing, SourceUnavailable
from hubd.inbound.source import Fetched
from hubd.providers.twilio.verdicts import VERDICTS
from hubd.providers.twilio.walk import Cursor, Page, read_page, target
from hubd.transports.http_protocol import Request, Response
from hubd.transports.http_wire import Endpoint, NoAnswer
from hubd.transports.secret_reader import SecretReader, unreadable_secret
from hubd.transports.unavailable import unavailable

#: Bytes of a page: 1,000 texts of 1,600 characters, each written as an escape.
LARGEST = 16 * 1024 * 1024
#: Items known to be booked, so that they are not handed over again in each walk.
REMEMBERED = 200_000


class _Refusal(msgspec.Struct, frozen=True):
    """What an error says."""

    code: int = 0
    message: str = ""


class ListSource:
    """The list of one account. Used by one task at a time."""

    read_first = True  #: a STOP that came while hubd did not run is seen before anything is sent

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        account_sid: str,
        read_token: SecretReader,
        *,
        ours: Sequence[str],
        now: Callable[[], float],
    ) -> None:
        """`name` is the provider's. `ours` are the numbers and messaging services that only hubd uses: what
        people send to another number of the account is ours if it answers one of our messages. `now` gives
        seconds since the epoch.
        """
        self.name = f"provider {name}"
        self._endpoint = endpoint
        self._wire = endpoint.connection()
        self._account_sid = account_sid
        self._read_token = read_token
        self._token = ""
        self._path = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._ours = tuple(filter(None, ours))
        self._now = now
        self._booked: dict[str, None] = {}

    async def fetch(self, cursor: str) -> Fetched:
        """Read one page. Raises `SourceUnavailable`."""
        at = Cursor.parse(cursor).begin(self._now())
        answer = await self._ask(target(at, self._path))
        unknown = isinstance(answer, Answer) and 400 <= answer.code < 500 and answer.code != 401
        if unknown and at.page and not at.peeks:
            at = at.again()
            answer = await self._ask(target(at, self._path))
        if isinstance(answer, Answer):
            raise unavailable(self.name, "its list of messages", answer, VERDICTS)
        page = self._page(answer)
        items = [item for item in page.items(self._ours, at) if item.key not in self._booked]
        after = at.after(page, self._now())

        async def acknowledge(booked: Booked) -> None:
            self._remember(items, booked.left)

        return Fetched(items=items, cursor=str(after), wait=after.wait(self._now()), acknowledge=acknowledge)

    async def aclose(self) -> None:
        """Cut the connection."""
        self._endpoint.close()

    def _page(self, answer: Response) -> Page:
        try:
            return read_page(answer.body, self._path)
        except ValueError as problem:
            why = f"{self.name}: its list of messages cannot be read: {one_line(str(problem))}"
            raise SourceUnavailable(why, data={"person": False}) from None

    def _remember(self, items: Sequence[Item], left: Collection[str]) -> None:
        self._booked.update((item.key, None) for item in items if item.key not in left)
        for key in list(self._booked)[: max(0, len(self._booked) - REMEMBERED)]:
            del self._booked[key]

    # -- asking --------------------------------------------------------------------------------------

    async def _ask(self, path: str) -> Response | Answer:
        """A good answer, or what was wrong. Asks again if the refused token has been replaced meanwhile."""
        try:
            if not self._token:
                self._token = await self._read_token()
            answer = await self._once(path, self._token)
            if not (isinstance(answer, Answer) and answer.code == 401):
                return answer
            before, self._token = self._token, await self._read_token()
        except CredentialMissing as problem:
            self._token = ""
            return unreadable_secret(problem, Stage.REQUEST, 401)
        return answer if self._token == before else await self._once(path, self._token)

    async def _once(self, path: str, token: str) -> Response | Answer:
        login = base64.b64encode(f"{self._account_sid}:{token}".encode()).decode()
        headers = (("Accept", "application/json"), ("Authorization", f"Basic {login}"))
        try:
            answer = await self._wire.request(
                Request(method="GET", target=path, headers=headers), largest=LARGEST
            )
        except NoAnswer as failure:
            text = one_line(failure.answer.text, (token, login))
            return msgspec.structs.replace(failure.answer, text=text)
        except ValueError:
            return Answer(stage=Stage.REQUEST, signal=Signal.GARBAGE, text="the token cannot be one")
        if answer.status == 200:
            return answer
        try:
            said = msgspec.json.decode(answer.body, type=_Refusal)
        except msgspec.DecodeError:
            said = _Refusal()
        return Answer(
            stage=Stage.REQUEST,
            code=answer.status,
            vendor=str(said.code) if said.code else "",
            text=one_line(said.message, (token, login)),
            verbatim=bool(said.message),
        )
