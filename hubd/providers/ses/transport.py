"""Email through Amazon SES, with version 2 of its API.

A message is one request, which hands over the finished MIME message as it is; SES gives it its own
Message-ID. The request's first byte is irrevocable, as with every HTTP provider, and SES has no way to make
the request idempotent. What became of a message is reported later, by an event with our tag (see `events`).
"""

from __future__ import annotations

import base64
import hashlib
import json

import trio

from hubd.core.account import AccountAnswer
from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Stage
from hubd.providers.aws.answers import Unreadable, read_json
from hubd.providers.aws.connection import MessageConnection, Service, ServiceConnection, hung_up, unreadable
from hubd.providers.ses.account import account_of
from hubd.providers.ses.events import TAG
from hubd.providers.ses.verdicts import NOT_ASCII, VERDICTS
from hubd.transports.http_protocol import Request

#: Bytes of a message, with its attachments as they are encoded. Source: "Service quotas in Amazon SES".
LARGEST = 40 * 1024 * 1024
_JSON = (("Content-Type", "application/json"),)
_TARGET = "/v2/email/outbound-emails"


class SesTransport:
    """One account, in one region."""

    kind = "ses"
    channels = frozenset({Channel.EMAIL})
    in_doubt = InDoubt.HOLD  # SES cannot be asked what it accepted
    verdicts = VERDICTS
    talks_first = False
    tells_rate = True
    largest_message = LARGEST

    def __init__(self, name: str, service: Service, *, connections: int, configuration_set: str = "") -> None:
        self.name = name
        self.connections = connections
        whose = f"ses {service.region} {service.endpoint.authority}"
        self.account = hashlib.sha256(whose.encode()).hexdigest()[:16]
        self._service = service
        self._configuration_set = configuration_set

    def connection(self) -> SesConnection:
        """A new connection, for one request at a time."""
        return SesConnection(self._service.connection(), self._configuration_set)

    async def probe(self) -> Answer:
        """Log in and check the account. Code 200 when it may send; sends nothing."""
        return (await self.ask_account()).answer

    async def ask_account(self) -> AccountAnswer:
        """What SES says about the account (GetAccount); sends nothing."""
        connection = self._service.connection()
        try:
            response = await connection.ask(Request(method="GET", target="/v2/email/account"))
        finally:
            connection.close()
        if isinstance(response, Answer):
            return AccountAnswer(response)
        try:
            account = account_of(read_json(response.body))
        except Unreadable:
            return AccountAnswer(unreadable(response.status, "the response does not describe the account"))
        if not account.sending:
            text = "sending is switched off for this account"
            off = Answer(stage=Stage.REQUEST, code=400, vendor="SendingPausedException", text=text)
            return AccountAnswer(off, account)
        ready = Answer(stage=Stage.REQUEST, code=200, text="account ready", provider_id=self._service.region)
        return AccountAnswer(ready, account)

    async def aclose(self) -> None:
        """Cut all connections."""
        await hung_up(self._service)


class SesConnection(MessageConnection):
    """One connection."""

    def __init__(self, service: ServiceConnection, configuration_set: str) -> None:
        super().__init__(service)
        named = {"ConfigurationSetName": configuration_set} if configuration_set else {}
        self._more = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in named.items())

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Get the keys and resolve the host's name: what follows cannot be cancelled."""
        await trio.lowlevel.checkpoint()
        if not rendered.recipient.rpartition("@")[0].isascii():
            return Answer(stage=Stage.REQUEST, code=400, vendor=NOT_ASCII, own=True)
        return await self._service.ready()

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Hand the message to SES. `following` is not used.

        Code 200 with `provider_id`: SES has it. A cancelled call closes its connection, and the message may
        have been accepted.
        """
        response = await self._service.ask(self._request(rendered))
        if isinstance(response, Answer):
            return response
        try:
            name = read_json(response.body).get("MessageId")
        except Unreadable:
            name = None
        if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isascii():
            return unreadable(response.status, "the response does not contain the message id")
        return Answer(stage=Stage.REQUEST, code=response.status, provider_id=name)

    def _request(self, rendered: RenderedMessage) -> Request:
        """The request, built by hand: base64 needs no escapes, and the message is large."""
        message = base64.b64encode(b"".join((rendered.payload, *rendered.shared.chunks)))
        to = json.dumps(rendered.recipient)
        tag = f',"EmailTags":[{{"Name":"{TAG}","Value":"{rendered.delivery_id}"}}]'
        body = b"".join(
            (
                f'{{"Destination":{{"ToAddresses":[{to}]}}{tag}{self._more},'.encode(),
                b'"Content":{"Raw":{"Data":"',
                message,
                b'"}}}',
            )
        )
        return Request(method="POST", target=_TARGET, headers=_JSON, body=body)
