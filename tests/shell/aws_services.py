"""What the tests of the AWS providers share: transports that talk to the local double."""

from __future__ import annotations

import time

import trio

from hubd.core.model import Answer, Channel, RenderedMessage
from hubd.core.verdict import Verdict, judge
from hubd.providers.aws.connection import Service
from hubd.providers.aws.credentials import GivenKeys, KeySource
from hubd.providers.ses.transport import SesTransport
from hubd.providers.sns.transport import Sending, SnsTransport
from hubd.transports.http_wire import Endpoint
from tests.shell.aws_double import KEY, REGION, SECRET, AwsDouble

BOUND = 30.0  #: seconds for what must end
NUMBER = "+12025550143"


def given(secret: str = SECRET, key: str = KEY) -> GivenKeys:
    async def read() -> str:
        await trio.lowlevel.checkpoint()
        return secret

    return GivenKeys(key, read)


def service(
    double: AwsDouble,
    name: str,
    *,
    keys: KeySource | None = None,
    timeout: float = BOUND,
) -> Service:
    endpoint = Endpoint(double.base_url, connect_timeout=BOUND, timeout=timeout)
    return Service(name=name, region=REGION, endpoint=endpoint, keys=keys or given(), now=time.time)


def ses(double: AwsDouble, keys: KeySource | None = None, timeout: float = BOUND) -> SesTransport:
    asked = service(double, "ses", keys=keys, timeout=timeout)
    return SesTransport("ses", asked, connections=4, configuration_set="hub")


def sns(double: AwsDouble, keys: KeySource | None = None, **sending: str) -> SnsTransport:
    return SnsTransport("text", service(double, "sns", keys=keys), connections=4, sending=Sending(**sending))


def email(
    to: str = "anna@acme.example", delivery_id: int = 1258, body: bytes = b"Hello\r\n"
) -> RenderedMessage:
    head = f"From: News <news@acme.example>\r\nTo: {to}\r\nMessage-ID: <{delivery_id}@acme.example>\r\n\r\n"
    return RenderedMessage(
        delivery_id=delivery_id,
        channel=Channel.EMAIL,
        recipient=to,
        sender="news@acme.example",
        message_id=f"<{delivery_id}@acme.example>",
        payload=head.encode() + body,
    )


def text(to: str = NUMBER, words: str = "Hello", sender: str = "") -> RenderedMessage:
    return RenderedMessage(delivery_id=7, channel=Channel.SMS, recipient=to, text=words, sender=sender)


async def send(transport: SesTransport | SnsTransport, message: RenderedMessage) -> Answer:
    """The answer to one message; the transport is closed afterwards."""
    with trio.fail_after(BOUND):
        connection = transport.connection()
        answer = await connection.prepare(message) or await connection.deliver(message)
        await connection.aclose()
        await transport.aclose()
    return answer


def verdict(transport: SesTransport | SnsTransport, answer: Answer) -> Verdict:
    return judge(answer, min(transport.channels), requests=transport.verdicts)
