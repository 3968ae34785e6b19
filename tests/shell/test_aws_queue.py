"""A queue of SQS as a source: bodies of every shape, what is deleted, what is left, queues that fail."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import trio

from hubd.core.inbound import ItemKind
from hubd.core.inbox import Booked
from hubd.errors import SourceUnavailable
from hubd.providers.aws.queue import LEAVE_FOR, PAUSE, QueueSource, region_of
from hubd.providers.ses.events import items_of
from tests.shell.aws_double import AwsDouble, Book
from tests.shell.aws_services import BOUND, email, given, send, service, ses


@pytest.fixture
def double() -> Iterator[AwsDouble]:
    with AwsDouble(book=Book(longest_poll=0.02, visibility=0.05, events_first=True)) as server:
        yield server


def source(double: AwsDouble, secret: str = "") -> QueueSource:
    keys = given(secret) if secret else None
    return QueueSource("ses", service(double, "sqs", keys=keys), double.queue_url, items_of)


def bodies(double: AwsDouble) -> list[str]:
    with double.book.lock:
        return [message.body for message in double.book.queue]


@pytest.mark.parametrize("envelope", ["sns", "raw"])
async def test_what_became_of_each_message_comes_by_the_queue(double: AwsDouble, envelope: str) -> None:
    double.book.envelope = envelope
    names = ["anna", "bounce+1", "complaint", "full", "delayed", "reject"]
    for number, name in enumerate(names):
        await send(ses(double), email(f"{name}@acme.example", number))
    queue = source(double)
    with trio.fail_after(BOUND):
        fetched = await queue.fetch("")
        assert fetched.acknowledge is not None
        await fetched.acknowledge(Booked(new={}))
        await queue.aclose()
    found = [(item.about.delivery, item.kind) for item in fetched.items]
    assert sorted(found) == [
        (0, ItemKind.DELIVERED),
        (1, ItemKind.BOUNCE),
        (2, ItemKind.COMPLAINT),
        (2, ItemKind.DELIVERED),
        (3, ItemKind.BOUNCE),
        (4, ItemKind.DELAYED),
        (5, ItemKind.BOUNCE),
    ]
    accepted = {message["to"]: message for message in double.accepted}
    for item in fetched.items:
        message = accepted[item.about.address]
        assert item.about.provider_ids == (message["id"],)
        assert item.about.message_ids == (message["message_id"],)
    assert bodies(double) == []
    assert (fetched.wait, fetched.leave_for, fetched.unreadable) == (0.0, LEAVE_FOR, 0)


async def test_what_was_not_acknowledged_comes_again_as_the_same(double: AwsDouble) -> None:
    await send(ses(double), email())
    queue = source(double)
    with trio.fail_after(BOUND):
        first = await queue.fetch("")
        again = first
        while again is first or not again.items:
            again = await queue.fetch("")
        await queue.aclose()
    assert again.items == first.items


async def test_a_message_with_an_item_that_is_left_stays_in_the_queue(double: AwsDouble) -> None:
    for number in (1, 2):
        await send(ses(double), email(delivery_id=number))
    queue = source(double)
    with trio.fail_after(BOUND):
        fetched = await queue.fetch("")
        assert fetched.acknowledge is not None
        (left,) = (item.key for item in fetched.items if item.about.delivery == 1)
        await fetched.acknowledge(Booked(new={}, left=(left,)))
        await queue.aclose()
    (body,) = bodies(double)
    assert items_of(body)[0].about.delivery == 1


async def test_bodies_that_are_none_are_left_and_told_once(
    double: AwsDouble, caplog: pytest.LogCaptureFixture
) -> None:
    strange = [
        "",
        "hello",
        "[]",
        "7",
        json.dumps({"Message": "anna@acme.example"}),
        "[" * 50_000,
        "\U0001f600",
    ]
    with double.book.lock:
        for body in strange:
            double.book.put(body)
        double.book.put(
            json.dumps({"Message": "Successfully validated SNS topic for Amazon SES event publishing."})
        )
    await send(ses(double), email())
    queue = source(double)
    unreadable, items, looks = 0, 0, 0
    with trio.fail_after(BOUND), caplog.at_level(logging.WARNING, logger="hubd"):
        while looks < 2 * len(strange):
            fetched = await queue.fetch("")
            unreadable += fetched.unreadable
            items += len(fetched.items)
            if fetched.acknowledge is not None:
                await fetched.acknowledge(Booked(new={}))
            looks = sum(message.received for message in double.book.queue)
        await queue.aclose()
    assert (unreadable, items) == (len(strange), 1)
    assert sorted(bodies(double)) == sorted(strange)
    assert len(caplog.records) == len(strange)
    assert "anna@" not in caplog.text


async def test_an_empty_queue_is_not_asked_without_end(double: AwsDouble) -> None:
    queue = source(double)
    with trio.fail_after(BOUND):
        fetched = await queue.fetch("kept")
        await queue.aclose()
    assert (list(fetched.items), fetched.cursor, fetched.wait) == ([], "kept", PAUSE)
    assert fetched.acknowledge is None
    (asked,) = double.requests("ReceiveMessage")
    assert (asked["MaxNumberOfMessages"], asked["WaitTimeSeconds"]) == (10, 20)


@pytest.mark.parametrize(
    ("behaviour", "person", "words"),
    [
        ("refuse:400:com.amazonaws.sqs#QueueDoesNotExist:not there", True, "QueueDoesNotExist"),
        ("refuse:403:AccessDenied:not allowed", True, "not allowed"),
        ("refuse:400:RequestThrottled:slow down", False, "slow down"),
        ("status:500", False, ""),
        ("drop", False, ""),
        ("garbage", False, "not JSON"),
        ("deep", False, "not JSON"),
    ],
)  # fmt: skip
async def test_a_queue_that_cannot_be_read_says_whether_a_person_is_needed(
    double: AwsDouble, behaviour: str, person: bool, words: str
) -> None:
    double.book.queue_behaviours = [behaviour]
    queue = source(double)
    with trio.fail_after(BOUND), pytest.raises(SourceUnavailable) as caught:
        await queue.fetch("")
    assert caught.value.data["person"] is person
    assert words in str(caught.value)
    await queue.aclose()


async def test_a_wrong_key_needs_a_person_and_is_not_shown(double: AwsDouble) -> None:
    queue = source(double, "wrong-secret")
    with trio.fail_after(BOUND), pytest.raises(SourceUnavailable) as caught:
        await queue.fetch("")
    assert caught.value.data["person"] is True
    assert "wrong-secret" not in str(caught.value)
    await queue.aclose()


async def test_a_deletion_that_fails_is_said_and_the_connection_goes_on(double: AwsDouble) -> None:
    await send(ses(double), email())
    queue = source(double)
    with trio.fail_after(BOUND):
        fetched = await queue.fetch("")
        double.book.queue_behaviours = ["drop", "accept"]
        assert fetched.acknowledge is not None
        with pytest.raises(SourceUnavailable):
            await fetched.acknowledge(Booked(new={}))
        again = await queue.fetch("")
        while not again.items:
            again = await queue.fetch("")
        await queue.aclose()
    assert again.items == fetched.items


def test_the_address_of_a_queue_names_its_region() -> None:
    assert region_of("https://sqs.us-east-2.amazonaws.com/123456789012/hub", "eu-west-1") == "us-east-2"
    assert region_of("http://127.0.0.1:4566/123456789012/hub", "eu-west-1") == "eu-west-1"
