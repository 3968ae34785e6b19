"""Text messages through Amazon SNS: Publish to a number, with its Query API.

The request is a form, the answer XML. The request's first byte is irrevocable, as with every HTTP provider.
SNS does not report later what became of a message, and cannot be asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import trio

from hubd.core.account import Account, AccountAnswer
from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Stage
from hubd.providers.aws.answers import Unreadable, read_xml, values_at
from hubd.providers.aws.connection import MessageConnection, Service, ServiceConnection, hung_up, unreadable
from hubd.providers.sns.verdicts import TOO_LONG, VERDICTS
from hubd.transports.http_protocol import Request

#: Bytes of a text, in UTF-8. Source: Amazon SNS API Reference, Publish.
LARGEST = 1600
_VERSION = "2010-03-31"
_FORM = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How texts are sent. What is "" is left to the account."""

    sms_type: str = ""  #: "transactional" or "promotional"
    sender_id: str = ""  #: a name that recipients see, where their country allows that
    origination_number: str = ""  #: one of the account's numbers
    max_price: str = ""  #: the most that one text may cost, in US dollars, such as "0.50"


class SnsTransport:
    """One account, in one region."""

    kind = "sns"
    channels = frozenset({Channel.SMS})
    in_doubt = InDoubt.HOLD  # a second SMS costs money and annoys, and SNS cannot be asked
    verdicts = VERDICTS
    talks_first = False
    tells_rate = False
    largest_message = None

    def __init__(self, name: str, service: Service, *, connections: int, sending: Sending) -> None:
        self.name = name
        self.connections = connections
        whose = f"sns {service.region} {service.endpoint.authority}"
        self.account = hashlib.sha256(whose.encode()).hexdigest()[:16]
        self._service = service
        self._sending = sending

    def connection(self) -> SnsConnection:
        """A new connection, for one request at a time."""
        return SnsConnection(self._service.connection(), self._sending)

    async def probe(self) -> Answer:
        """Log in and check the account. Code 200 when it may send; sends nothing."""
        return (await self.ask_account()).answer

    async def ask_account(self) -> AccountAnswer:
        """What SNS says about the account; sends nothing.

        If the keys may not ask whether it is in the sandbox, the answer leaves that open.
        """
        connection = self._service.connection()
        try:
            texts = await ask(connection, "GetSMSAttributes")
            if isinstance(texts, Answer):
                return AccountAnswer(texts)
            status = await ask(connection, "GetSMSSandboxAccountStatus")
        finally:
            connection.close()
        entry = "GetSMSAttributesResult/attributes/entry"
        names, values = values_at(texts, f"{entry}/key"), values_at(texts, f"{entry}/value")
        attributes = dict(zip(names, values, strict=False))
        said = () if isinstance(status, Answer) else status
        in_sandbox = next(values_at(said, "GetSMSSandboxAccountStatusResult/IsInSandbox"), "")
        sandbox = {"true": True, "false": False}.get(in_sandbox)
        ready = Answer(stage=Stage.REQUEST, code=200, text="account ready", provider_id=self._service.region)
        return AccountAnswer(ready, Account(sandbox=sandbox, lines=tuple(_lines(attributes, sandbox))))

    async def aclose(self) -> None:
        """Cut all connections."""
        await hung_up(self._service)


class SnsConnection(MessageConnection):
    """One connection."""

    def __init__(self, service: ServiceConnection, sending: Sending) -> None:
        super().__init__(service)
        self._sending = sending

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Get the keys and resolve the host's name: what follows cannot be cancelled."""
        await trio.lowlevel.checkpoint()
        if len(rendered.text.encode()) > LARGEST:
            return Answer(stage=Stage.REQUEST, code=400, vendor=TOO_LONG, own=True)
        return await self._service.ready()

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Hand the message to SNS. `following` is not used.

        Code 200 with `provider_id`: SNS has it. A cancelled call closes its connection, and the message may
        have been accepted.
        """
        texts = await ask(self._service, "Publish", publish_form(rendered, self._sending))
        if isinstance(texts, Answer):
            return texts
        name = next(values_at(texts, "PublishResult/MessageId"), "")
        if not 0 < len(name) <= 200:
            return unreadable(200, "the response does not contain the message id")
        return Answer(stage=Stage.REQUEST, code=200, provider_id=name)


async def ask(
    service: ServiceConnection, action: str, parameters: Mapping[str, str] | None = None
) -> Sequence[tuple[str, str]] | Answer:
    """The texts in the answer to an action; if it failed, what went wrong, as an answer to a message."""
    form = urlencode({"Action": action, "Version": _VERSION, **(parameters or {})})
    request = Request(method="POST", target="/", headers=_FORM, body=form.encode())
    response = await service.ask(request)
    if isinstance(response, Answer):
        return response
    try:
        return read_xml(response.body)
    except Unreadable as problem:
        return unreadable(response.status, f"the response cannot be read: {problem}")


def publish_form(rendered: RenderedMessage, sending: Sending) -> dict[str, str]:
    """The parameters of Publish. The campaign's own sender overrides the provider's."""
    number, name = sending.origination_number, sending.sender_id
    if rendered.sender:
        number, name = (rendered.sender, "") if _is_number(rendered.sender) else ("", rendered.sender)
    attributes = (
        ("AWS.SNS.SMS.SMSType", "String", sending.sms_type.capitalize()),
        ("AWS.SNS.SMS.SenderID", "String", name),
        ("AWS.MM.SMS.OriginationNumber", "String", number),
        ("AWS.SNS.SMS.MaxPrice", "Number", sending.max_price),
    )
    form = {"PhoneNumber": rendered.recipient, "Message": rendered.text}
    given = [attribute for attribute in attributes if attribute[2]]
    for position, (attribute, kind, value) in enumerate(given, start=1):
        entry = f"MessageAttributes.entry.{position}"
        form[f"{entry}.Name"] = attribute
        form[f"{entry}.Value.DataType"] = kind
        form[f"{entry}.Value.StringValue"] = value
    return form


def _lines(attributes: Mapping[str, str], sandbox: bool | None) -> Iterator[str]:
    if sandbox:
        yield (
            "The account is in the SMS sandbox: it may only send to verified numbers. "
            "Ask AWS to leave it in the SNS console."
        )
    limit = attributes.get("MonthlySpendLimit", "")[:32]
    if limit.replace(".", "").isdigit():
        yield f"It may spend {limit} USD a month; beyond that, SNS accepts messages but does not send them."
    else:
        yield "It has no spend limit of its own, so the limit of 1 USD a month for new accounts may apply."


def _is_number(sender: str) -> bool:
    return sender.removeprefix("+").isdigit()
