"""The server that stands for AWS, driven by AWS's own library: it must not share our misunderstandings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.shell.aws_double import KEY, QUEUE, REGION, SECRET, AwsDouble, Book

RAW = b"From: news@acme.example\r\nTo: bounce@acme.example\r\nMessage-ID: <1@acme.example>\r\n\r\nHello\r\n"


@pytest.fixture(scope="module")
def double() -> Iterator[AwsDouble]:
    with AwsDouble(book=Book(events_first=True)) as server:
        yield server


def client(double: AwsDouble, service: str, secret: str = SECRET) -> Any:
    return boto3.client(
        service,
        endpoint_url=double.base_url,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_boto3_sends_an_email_and_reads_what_became_of_it(double: AwsDouble) -> None:
    ses, sqs = client(double, "sesv2"), client(double, "sqs")
    before = len(double.accepted)
    sent = ses.send_email(
        Content={"Raw": {"Data": RAW}},
        Destination={"ToAddresses": ["bounce@acme.example"]},
        EmailTags=[{"Name": "hub", "Value": "7"}],
        ConfigurationSetName="hub",
    )
    (message,) = double.accepted[before:]
    assert (message["id"], message["raw"], message["tags"]) == (sent["MessageId"], RAW, {"hub": "7"})
    url = f"{double.base_url}{QUEUE}"
    (received,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    event = json.loads(json.loads(received["Body"])["Message"])
    assert (event["eventType"], event["mail"]["messageId"]) == ("Bounce", sent["MessageId"])
    entries = [{"Id": "1", "ReceiptHandle": received["ReceiptHandle"]}]
    assert sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"] == [{"Id": "1"}]
    assert not sqs.receive_message(QueueUrl=url).get("Messages")
    sqs.send_message(QueueUrl=url, MessageBody="anything")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "anything"
    assert ses.get_account()["SendQuota"]["MaxSendRate"] == 14.0


def test_boto3_sends_a_text_and_reads_the_lists(double: AwsDouble) -> None:
    sns = client(double, "sns")
    double.book.opted_out = [f"+1202555{n:04}" for n in range(150)]
    attributes = {"AWS.SNS.SMS.SenderID": {"DataType": "String", "StringValue": "ACME"}}
    sent = sns.publish(PhoneNumber="+12025550143", Message="Grüße", MessageAttributes=attributes)
    message = double.accepted[-1]
    assert message["id"] == sent["MessageId"]
    assert (message["text"], message["attributes"]) == ("Grüße", {"AWS.SNS.SMS.SenderID": "ACME"})
    assert sns.get_sms_sandbox_account_status()["IsInSandbox"] is False
    assert sns.get_sms_attributes()["attributes"] == {"MonthlySpendLimit": "100"}
    pages = sns.get_paginator("list_phone_numbers_opted_out").paginate()
    assert [number for page in pages for number in page["phoneNumbers"]] == double.book.opted_out


@pytest.mark.parametrize(
    ("service", "call", "name"),
    [
        ("sesv2", "get_account", "InvalidSignatureException"),
        ("sns", "get_sms_attributes", "SignatureDoesNotMatch"),
    ],
)
def test_boto3_understands_the_refusals(double: AwsDouble, service: str, call: str, name: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(client(double, service, "wrong"), call)()
    assert caught.value.response["Error"]["Code"] == name


def test_boto3_understands_an_error_of_the_queue(double: AwsDouble) -> None:
    with pytest.raises(ClientError) as caught:
        client(double, "sqs").receive_message(QueueUrl=f"{double.base_url}/123456789012/other")
    assert caught.value.response["Error"]["Code"].endswith(("QueueDoesNotExist", "NonExistentQueue"))
