"""An Amazon SQS queue as a source of inbound items.

A look takes at most ten messages and waits up to twenty seconds for the first. They are deleted once their
effects are on disk; until then, and if anything goes wrong, they come again after the visibility timeout of
the queue. So does an event that fits no message yet, and a body that cannot be read: it is not ours to
delete, and the queue's own rules (retention, dead-letter queue) remove it. Source: Amazon SQS API Reference,
ReceiveMessage and DeleteMessageBatch, AWS JSON protocol.
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from hubd.core.inbound import Item
from hubd.core.inbox import Booked
from hubd.core.model import Answer
from hubd.core.request_verdicts import RequestVerdicts
from hubd.errors import SourceUnavailable
from hubd.inbound.source import Fetched
from hubd.providers.aws.answers import Unreadable, read_json
from hubd.providers.aws.connection import Service
from hubd.providers.aws.verdicts import COMMON
from hubd.transports.http_protocol import Request
from hubd.transports.unavailable import unavailable

log = logging.getLogger(__name__)

MOST = 10  #: messages of one look, and of one deletion
LONG_POLL = 20  #: seconds that a look waits for the first
#: Bytes of an answer: a look is at most 1 MiB of bodies, each character of which may be an escape.
LARGEST = 8 * 1024 * 1024
#: Seconds between looks at an empty queue: a server that does not wait must not be asked in a tight loop.
PAUSE = 1.0
#: Seconds for which an event that fits no message stays in the queue.
LEAVE_FOR = 900.0
#: Bodies that could not be read, so that each is logged and counted once however often it comes.
REMEMBERED = 1_000

#: What its refusals mean.
VERDICTS = RequestVerdicts(words=COMMON)
_REGION = re.compile(r"sqs\.([a-z]{2}[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


class _Received(NamedTuple):
    name: str
    handle: str
    body: str


class QueueSource:
    """One queue. Used by one task at a time."""

    def __init__(
        self, name: str, service: Service, queue_url: str, read: Callable[[str], Sequence[Item]]
    ) -> None:
        """`name` is the provider's. `read` turns one body into items; it raises `Unreadable`."""
        self.name = f"provider {name}"
        self._service = service
        self._queue_url = queue_url
        self._read = read
        self._connection = service.connection()
        self._unreadable: OrderedDict[str, None] = OrderedDict()

    async def fetch(self, cursor: str) -> Fetched:
        """Wait for messages. The queue keeps its own cursor. Raises `SourceUnavailable`."""
        answer = await self._ask(
            "ReceiveMessage", {"MaxNumberOfMessages": MOST, "WaitTimeSeconds": LONG_POLL}
        )
        messages = _received(answer)
        items: list[Item] = []
        keys: dict[str, list[str]] = {}  # of the items of a message, by its handle
        unreadable = 0
        for message in messages:
            try:
                found = self._read(message.body)
            except Unreadable as problem:
                unreadable += self._note(message.name, problem)
                continue
            items += found
            keys[message.handle] = [item.key for item in found]

        async def acknowledge(booked: Booked) -> None:
            await self._delete([handle for handle, own in keys.items() if not set(own) & set(booked.left)])

        return Fetched(
            items=items,
            cursor=cursor,
            wait=0.0 if messages else PAUSE,
            acknowledge=acknowledge if keys else None,
            unreadable=unreadable,
            leave_for=LEAVE_FOR,
        )

    async def aclose(self) -> None:
        """Cut the connection."""
        self._service.endpoint.close()

    async def _delete(self, handles: Sequence[str]) -> None:
        """Delete messages. Raises `SourceUnavailable`, even if only some could not be deleted."""
        if not handles:
            return
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)]
        answer = await self._ask("DeleteMessageBatch", {"Entries": entries})
        if failed := answer.get("Failed"):
            count = len(failed) if isinstance(failed, list) else 1
            raise SourceUnavailable(
                f"{self.name}: {count} events could not be deleted from the queue and will come again",
                data={"person": False},
            )

    def _note(self, name: str, problem: Unreadable) -> int:
        """Note that a body cannot be read. Returns 1 if that is new."""
        if name in self._unreadable:
            return 0
        self._unreadable[name] = None
        if len(self._unreadable) > REMEMBERED:
            self._unreadable.popitem(last=False)
        log.warning("%s: message %s of its queue was left there: %s", self.name, name, problem)
        return 1

    async def _ask(self, action: str, parameters: Mapping[str, object]) -> Mapping[str, object]:
        """What the queue answers. Raises `SourceUnavailable`."""
        request = Request(
            method="POST",
            target="/",
            headers=(("Content-Type", "application/x-amz-json-1.0"), ("X-Amz-Target", f"AmazonSQS.{action}")),
            body=json.dumps({"QueueUrl": self._queue_url, **parameters}).encode(),
        )
        response = await self._connection.ask(request, largest=LARGEST)
        if isinstance(response, Answer):
            raise unavailable(self.name, "its queue", response, VERDICTS)
        try:
            return read_json(response.body)
        except Unreadable as problem:
            raise SourceUnavailable(
                f"{self.name}: its queue gave an answer that cannot be read: {problem}",
                data={"person": False},
            ) from None


def origin_of_queue(queue_url: str) -> str:
    """The address of the server of a queue."""
    url = urlsplit(queue_url)
    return f"{url.scheme}://{url.netloc}"


def region_of(queue_url: str, otherwise: str) -> str:
    """The region that the address of a queue names."""
    found = _REGION.fullmatch(urlsplit(queue_url).hostname or "")
    return found[1] if found else otherwise


def _received(answer: Mapping[str, object]) -> list[_Received]:
    """The messages of an answer; anything else stays in the queue."""
    rows = answer.get("Messages")
    found = []
    for row in (rows if isinstance(rows, list) else [])[:MOST]:
        fields = row if isinstance(row, dict) else {}
        values = [fields.get(key) for key in ("MessageId", "ReceiptHandle", "Body")]
        if all(isinstance(value, str) for value in values):
            found.append(_Received(*map(str, values)))
    return found
