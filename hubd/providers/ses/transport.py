"""Email through Amazon SES, by version 2 of its API.

A message is one request, which hands over the finished MIME message as it is; SES gives it a Message-ID of
its own. The request is the irrevocable byte, as with every provider that speaks HTTP, and SES has no way to
make it idempotent. What became of a message comes later, as an event that has our tag (see `events`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import trio

from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Stage
from hubd.providers.aws.answers import Unreadable, read_json
from hubd.providers.aws.connection import Service, ServiceConnection, hung_up, unreadable
from hubd.providers.ses.events import TAG
from hubd.providers.ses.verdicts import NOT_ASCII, VERDICTS
from hubd.transports.http_protocol import Request

#: Bytes of a message, with its attachments as they are encoded. Source: "Service quotas in Amazon SES".
LARGEST = 40 * 1024 * 1024
_JSON = (("Content-Type", "application/json"),)
_TARGET = "/v2/email/outbound-emails"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What SES says about an account in one region."""

    sending: bool  #: whether it may send at all
    production: bool  #: else it is in the sandbox, and sends to verified recipients only
    enforcement: str  #: "HEALTHY", "PROBATION" or "SHUTDOWN"
    a_day: float  #: messages in 24 hours; infinite for no limit
    a_second: float
    sent: float  #: in the last 24 hours


class SesTransport:
    """One account, in one region."""

    kind = "ses"
    channels = frozenset({Channel.EMAIL})
    in_doubt = InDoubt.HOLD  # SES cannot be asked what it accepted
    verdicts = VERDICTS
    talks_first = False
    largest_message = LARGEST

    def __init__(self, name: str, service: Service, *, connections: int, configuration_set: str = "") -> None:
        self.name = name
        self.connections = connections
        whose = f"ses {service.region} {service.endpoint.authority}"
        self.account = hashlib.sha256(whose.encode()).hexdigest()[:16]
        self._service = service
        self._configuration_set = configuration_set

    def connection(self) -> SesConnection:
        """One request at a time, over a connection of its own."""
        return SesConnection(self._service.connection(), self._configuration_set)

    async def look_at_account(self) -> Account | Answer:
        """What SES says about the account; sends nothing."""
        connection = self._service.connection()
        try:
            response = await connection.ask(Request(method="GET", target="/v2/email/account"))
        finally:
            connection.close()
        if isinstance(response, Answer):
            return response
        try:
            return _account(read_json(response.body))
        except Unreadable:
            return unreadable(response.status, "the response does not describe the account")

    async def probe(self) -> Answer:
        """Log in and look at the account. Code 200 when it may send; sends nothing."""
        account = await self.look_at_account()
        if isinstance(account, Answer):
            return account
        if not account.sending or account.enforcement == "SHUTDOWN":
            text = "sending is switched off for this account"
            return Answer(stage=Stage.REQUEST, code=400, vendor="SendingPausedException", text=text)
        return Answer(stage=Stage.REQUEST, code=200, text="account ready", provider_id=self._service.region)

    async def aclose(self) -> None:
        """Cut all connections."""
        await hung_up(self._service)


class SesConnection:
    """One connection, opened when first needed. Used by one task at a time."""

    def __init__(self, service: ServiceConnection, configuration_set: str) -> None:
        self._service = service
        named = {"ConfigurationSetName": configuration_set} if configuration_set else {}
        self._more = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in named.items())

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Ready once the keys are there and the host's name resolves: what follows cannot be cancelled."""
        await trio.lowlevel.checkpoint()
        if not rendered.recipient.rpartition("@")[0].isascii():
            return Answer(stage=Stage.REQUEST, code=400, vendor=NOT_ASCII)
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
        """The request, put together by hand: base64 needs no escapes, and the message is large."""
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

    @property
    def connected(self) -> bool:
        """Never: that one connection is refused while others stand says nothing of a limit on connections."""
        return False

    def waits(self, rendered: RenderedMessage) -> bool:
        """Whether the keys are to be had or the host's name to be resolved."""
        return self._service.waits

    def drop(self) -> None:
        """Cut the connection at once."""
        self._service.close()

    async def aclose(self) -> None:
        """The same: HTTP has no goodbye."""
        self.drop()
        await trio.lowlevel.checkpoint()


def _account(said: Mapping[str, object]) -> Account:
    """GetAccount's response. Raises `Unreadable`. -1 stands for a quota without an end."""
    quota = said.get("SendQuota")
    if not isinstance(quota, dict) or not isinstance(said.get("SendingEnabled"), bool):
        raise Unreadable("it does not describe an account")

    def number(key: str) -> float:
        found = quota.get(key)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise Unreadable("a quota is not a number")
        return float(found)

    a_day = number("Max24HourSend")
    return Account(
        sending=said["SendingEnabled"] is True,
        production=said.get("ProductionAccessEnabled") is True,
        enforcement=str(said.get("EnforcementStatus", "")),
        a_day=math.inf if a_day < 0 else a_day,
        a_second=number("MaxSendRate"),
        sent=number("SentLast24Hours"),
    )
