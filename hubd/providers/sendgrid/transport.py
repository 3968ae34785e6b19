"""Email through SendGrid, over our own HTTP wire.

A message is one HTTP request, and its first byte is irrevocable. A message that fails before it was certainly
not sent; after it only a whole answer counts, and of the successes only 202. Nothing is sent twice from here:
a request is repeated once, only if SendGrid refuses a key that was replaced after it was read.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import trio

from hubd.core.account import Account, AccountAnswer
from hubd.core.email_parts import Files
from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.core.reconcile import Finding
from hubd.errors import CredentialMissing
from hubd.providers.sendgrid import logs
from hubd.providers.sendgrid.answers import account_of, error_of, provider_id, retry_after
from hubd.providers.sendgrid.message import Tracking, body_of, files_of
from hubd.providers.sendgrid.verdicts import VERDICTS
from hubd.transports.http_protocol import Request, Response
from hubd.transports.http_wire import Endpoint, NoAnswer
from hubd.transports.secret_reader import SecretReader, unreadable_secret

#: Bytes of an answer.
LARGEST = 256 * 1024
#: Bytes of a message with all its files.
LARGEST_MESSAGE = 30 * 1024 * 1024
#: The permission without which a key sends nothing.
MAY_SEND = "mail.send"


class SendGridTransport:
    """One SendGrid account."""

    kind = "sendgrid"
    channels = frozenset({Channel.EMAIL})
    in_doubt = InDoubt.RECONCILE
    verdicts = VERDICTS
    talks_first = False
    largest_message = LARGEST_MESSAGE
    can_reconcile = True
    tells_rate = False

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        read_key: SecretReader,
        *,
        connections: int = 10,
        tracking: Tracking = Tracking(),  # noqa: B008 - a value that cannot be changed
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.connections, self.tracking = name, connections, tracking
        # Keys are replaced from time to time: the server is all that identifies the account.
        self.account = hashlib.sha256(endpoint.authority.encode()).hexdigest()[:16]
        self.endpoint = endpoint
        self.read_key = read_key
        self.wall_clock = wall_clock
        self._files: WeakKeyDictionary[Files, tuple[bytes, ...]] = WeakKeyDictionary()

    def connection(self) -> SendGridConnection:
        """A new connection, for one request at a time."""
        return SendGridConnection(self)

    async def probe(self) -> Answer:
        """Log in and check whether the key may send. Code 200 when it may; sends nothing."""
        return (await self.ask_account()).answer

    async def ask_account(self) -> AccountAnswer:
        """The same, with what the account says about its credits."""
        connection = self.connection()
        try:
            return await connection.look_at_account()
        finally:
            connection.drop()

    async def reconcile(self, rendered: RenderedMessage, opened_at: float) -> Finding:
        """Whether SendGrid has a message whose attempt began at `opened_at`, epoch seconds. Never raises."""
        connection = self.connection()
        try:
            return await logs.look_for(connection.ask, rendered, opened_at)
        finally:
            connection.drop()

    async def aclose(self) -> None:
        """Cut all connections."""
        self.endpoint.close()
        await trio.lowlevel.checkpoint()

    def files(self, files: Files) -> tuple[bytes, ...]:
        """The end of a request with these files: encoded once, and shared by all messages that have them."""
        found = self._files.get(files)
        if found is None:
            found = self._files[files] = files_of(files)
        return found


class SendGridConnection:
    """One connection to an account, opened when first needed. Used by one task at a time."""

    def __init__(self, transport: SendGridTransport) -> None:
        self._transport = transport
        self._wire = transport.endpoint.connection()
        self._key = ""  # as it was last read
        self._resolved = False  # a request was handed over, so the name has an address
        self._ready: tuple[RenderedMessage, Request] | None = None

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Ready once the request is written, the key is read and the host's name resolves."""
        await trio.lowlevel.checkpoint()
        self._ready = (rendered, self._request(rendered))
        if not self._key and (unreadable := await self._log_in()):
            return unreadable
        return None if self._resolved else await self._transport.endpoint.resolved()

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Hand the message to SendGrid. `following` is not used.

        Code 202: SendGrid has it. A cancelled call closes its connection, and the message may have been
        accepted.
        """
        ready, self._ready = self._ready, None
        request = ready[1] if ready is not None and ready[0] is rendered else self._request(rendered)
        response = await self.ask(request)
        return response if isinstance(response, Answer) else self._answer(response)

    async def look_at_account(self) -> AccountAnswer:
        """Whether the key may send, and what the account says about its credits, if the key may read that."""
        response = await self.ask(Request(method="GET", target="/v3/scopes"))
        if isinstance(response, Answer):
            return AccountAnswer(response)
        if response.status != 200:
            return AccountAnswer(self._answer(response))
        scopes = _decoded(response).get("scopes")
        if not isinstance(scopes, list):
            text = "the answer does not list the permissions of the key"
            garbage = Answer(stage=Stage.REQUEST, signal=Signal.GARBAGE, code=response.status, text=text)
            return AccountAnswer(garbage)
        if MAY_SEND not in scopes:
            detail = (
                "The API key lacks the permission Mail Send; give it that permission, or create another key."
            )
            refusal = Answer(stage=Stage.REQUEST, code=403, text=f"no scope {MAY_SEND}", detail=detail)
            return AccountAnswer(refusal, Account(sending=False, lines=(detail,)))
        credit: dict[str, Any] = {}
        if "user.credits.read" in scopes:
            found = await self.ask(Request(method="GET", target="/v3/user/credits"))
            credit = _decoded(found) if isinstance(found, Response) and found.status == 200 else {}
        said = Answer(stage=Stage.REQUEST, code=200, text="the key may send email")
        return AccountAnswer(said, account_of(credit))

    async def ask(self, request: Request, largest: int = LARGEST) -> Response | Answer:
        """Carry out one request; repeat it if a key is refused that was replaced after it was read."""
        if not self._key and (unreadable := await self._log_in()):
            return unreadable
        key = self._key
        response = await self._once(request, largest)
        refused = isinstance(response, Response) and response.status == 401
        if refused and await self._log_in() is None and self._key != key:
            response = await self._once(request, largest)
        return response

    @property
    def connected(self) -> bool:
        """Never: a refused connection while others are open does not mean a limit on connections."""
        return False

    def waits(self, rendered: RenderedMessage) -> bool:
        """Whether the key must be read or the host's name resolved first."""
        return not (self._key and self._resolved)

    def drop(self) -> None:
        """Cut the connection at once."""
        self._ready = None
        self._wire.close()

    async def aclose(self) -> None:
        """The same: HTTP has no goodbye."""
        self.drop()
        await trio.lowlevel.checkpoint()

    def _request(self, rendered: RenderedMessage) -> Request:
        assert rendered.parts is not None, "an email"
        parts = rendered.parts()
        body = body_of(parts, rendered.delivery_id, self._transport.tracking)
        return Request(
            method="POST",
            target="/v3/mail/send",
            headers=(("Content-Type", "application/json"),),
            body=body.removesuffix(b"}"),
            shared=self._transport.files(parts.files),
        )

    async def _once(self, request: Request, largest: int) -> Response | Answer:
        authorized = (("Authorization", f"Bearer {self._key}"), *request.headers)
        request = Request(
            method=request.method,
            target=request.target,
            headers=authorized,
            body=request.body,
            shared=request.shared,
        )
        try:
            return await self._wire.request(request, largest=largest)
        except NoAnswer as failure:
            return msgspec.structs.replace(failure.answer, text=self._line(failure.answer.text))
        finally:
            self._resolved = self._resolved or self._wire.handed_over

    async def _log_in(self) -> Answer | None:
        """Read the key and use it from now on. Returns an answer if it cannot be read."""
        try:
            self._key = await self._transport.read_key()
        except CredentialMissing as problem:
            return unreadable_secret(problem, Stage.REQUEST, 401)
        return None

    def _answer(self, response: Response) -> Answer:
        """The answer to a message."""
        if response.status == 202:
            name = provider_id(response.headers)
            return Answer(stage=Stage.REQUEST, code=202, text="accepted", provider_id=name)
        word, text = error_of(_decoded(response))
        return Answer(
            stage=Stage.REQUEST,
            code=response.status,
            vendor=self._line(word),
            text=self._line(text),
            verbatim=bool(text),
            retry_after=retry_after(response, self._transport.wall_clock()),
        )

    def _line(self, text: str) -> str:
        return one_line(text, [self._key] if self._key else [])


def _decoded(response: Response) -> dict[str, Any]:
    """The object in an answer; empty if there is none."""
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
