"""SES, SNS and SQS against moto, a server that others wrote, with its check of signatures and policies."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
import requests
import trio

from hubd.core.inbound import ItemKind
from hubd.core.inbox import Booked
from hubd.core.verdict import Action
from hubd.errors import SourceUnavailable
from hubd.providers.aws.connection import Service
from hubd.providers.aws.queue import QueueSource
from hubd.providers.ses.events import items_of
from hubd.providers.ses.transport import SesTransport
from hubd.providers.sns.opted_out import OptedOutSource
from hubd.providers.sns.transport import Sending, SnsTransport
from hubd.transports.http_wire import Endpoint
from tests.shell.aws_double import REGION
from tests.shell.aws_services import BOUND, email, given, send, text, verdict

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Moto:
    """The server, and a user of it who may do everything."""

    def __init__(self, url: str) -> None:
        self.url = url
        iam = self.client("iam", "test", "test")
        iam.create_user(UserName="hub")
        iam.put_user_policy(UserName="hub", PolicyName="all", PolicyDocument=json.dumps(POLICY))
        key = iam.create_access_key(UserName="hub")["AccessKey"]
        self.key, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        self.sns, self.sqs = (self.client(name, self.key, self.secret) for name in ("sns", "sqs"))
        self.client("ses", self.key, self.secret).verify_email_identity(EmailAddress="news@acme.example")
        self.queue_url = self.sqs.create_queue(QueueName="hub")["QueueUrl"]
        requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=BOUND).raise_for_status()

    def client(self, name: str, key: str, secret: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def service(self, name: str, secret: str = "") -> Service:
        endpoint = Endpoint(self.url, connect_timeout=BOUND, timeout=BOUND)
        keys = given(secret or self.secret, self.key)
        return Service(name=name, region=REGION, endpoint=endpoint, keys=keys, now=time.time)

    def backend(self, service: str) -> dict[str, Any]:
        """What moto has stored."""
        found: dict[str, Any] = requests.get(f"{self.url}/moto-api/data.json", timeout=BOUND).json()[service]
        return found


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    port = ""
    while not port:
        line = process.stderr.readline()
        assert line, "moto ended"
        port = (re.search(r"http://127\.0\.0\.1:(\d+)", line) or [""] * 2)[1]
    yield Moto(f"http://127.0.0.1:{port}")
    process.terminate()
    process.wait()
    process.stderr.close()


async def test_an_email_is_accepted_by_moto(moto: Moto) -> None:
    transport = SesTransport("ses", moto.service("ses"), connections=1)
    answer = await send(transport, email())
    assert answer.code == 200, answer
    stored = [message for message in moto.backend("ses")["RawMessage"] if message["id"] == answer.provider_id]
    assert stored, "moto names the message as it answered"


async def test_an_unverified_sender_is_refused_by_moto(moto: Moto) -> None:
    transport = SesTransport("ses", moto.service("ses"), connections=1)
    message = email()
    stranger = msgspec.structs.replace(
        message, payload=message.payload.replace(b"news@acme.example", b"news@other.example")
    )
    answer = await send(transport, stranger)
    assert (answer.code, answer.vendor) == (400, "MessageRejected")


async def test_a_text_is_accepted_by_moto(moto: Moto) -> None:
    sending = Sending(sms_type="transactional", sender_id="ACME", max_price="0.50")
    transport = SnsTransport("text", moto.service("sns"), connections=1, sending=sending)
    answer = await send(transport, text(words="Grüße & mehr"))
    assert answer.code == 200, answer
    assert answer.provider_id


async def test_a_wrong_secret_is_refused_by_moto(moto: Moto) -> None:
    for transport, message in (
        (SesTransport("ses", moto.service("ses", "wrong"), connections=1), email()),
        (SnsTransport("text", moto.service("sns", "wrong"), connections=1, sending=Sending()), text()),
    ):
        answer = await send(transport, message)
        assert verdict(transport, answer).action is Action.PROVIDER_STOP, answer


async def test_events_in_a_queue_of_moto_are_read_and_deleted(moto: Moto) -> None:
    mail = {"timestamp": "2026-11-30T17:10:00Z", "messageId": "m-1", "tags": {"hub": ["7"]}}
    delivery = {"timestamp": "2026-11-30T17:10:01Z", "recipients": ["anna@acme.example"]}
    event = json.dumps({"eventType": "Delivery", "mail": mail, "delivery": delivery})
    for body in (event, json.dumps({"Type": "Notification", "Message": event}), "hello"):
        moto.sqs.send_message(QueueUrl=moto.queue_url, MessageBody=body)
    queue = QueueSource("ses", moto.service("sqs"), moto.queue_url, items_of)
    with trio.fail_after(BOUND):
        fetched = await queue.fetch("")
        assert fetched.acknowledge is not None
        await fetched.acknowledge(Booked(new={}))
        await queue.aclose()
    assert [(item.kind, item.about.delivery) for item in fetched.items] == [(ItemKind.DELIVERED, 7)] * 2
    assert fetched.unreadable == 1
    left = moto.sqs.get_queue_attributes(QueueUrl=moto.queue_url, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessagesNotVisible"] == "1", "what cannot be read is left"


async def test_a_queue_that_moto_does_not_know_needs_a_person(moto: Moto) -> None:
    queue = QueueSource("ses", moto.service("sqs"), moto.queue_url + "-other", items_of)
    with trio.fail_after(BOUND), pytest.raises(SourceUnavailable) as caught:
        await queue.fetch("")
    assert caught.value.data["person"] is True
    await queue.aclose()


async def test_numbers_that_opted_out_at_moto_are_read(moto: Moto) -> None:
    source = OptedOutSource("text", moto.service("sns"), lambda: 1000.0)
    with trio.fail_after(BOUND):
        fetched = await source.fetch("")
        await source.aclose()
    listed = moto.sns.list_phone_numbers_opted_out()["phoneNumbers"]
    assert [item.about.address for item in fetched.items] == listed
    assert listed
