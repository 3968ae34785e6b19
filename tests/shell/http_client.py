"""What the tests of the HTTP wire share: endpoints, requests and certificates."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from hubd.core.model import Answer, Signal, Stage
from hubd.transports.http_protocol import Request, Response
from hubd.transports.http_wire import Connection, Endpoint, NoAnswer
from tests.shell.raw_http import HttpServer

BOUND = 60.0  #: seconds for what must end
LARGEST = 10_000  #: bytes of an answer that the tests take
POST = Request(method="POST", target="/messages?x=1", headers=(("X-Key", "secret"),), body=b"to=anna")
GET = Request(method="GET", target="/account")


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that no system knows."""

    file: Path
    server: ssl.SSLContext  #: for 127.0.0.1 and api.example


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("127.0.0.1", "api.example").configure_cert(context)
    return Authority(file, context)


@asynccontextmanager
async def connected(server: HttpServer, **settings: Any) -> AsyncIterator[Connection]:
    """A connection to a server, which is closed at the end, and with it everything that was opened."""
    made = {"connect_timeout": BOUND / 2, "timeout": BOUND / 2, **settings}
    with trio.fail_after(BOUND):
        endpoint = Endpoint(made.pop("url", server.url), **made)
        try:
            yield endpoint.connection()
        finally:
            endpoint.close()
            assert not endpoint.open
        await server.quiet()


async def post(connection: Connection, request: Request = POST) -> Response:
    return await connection.request(request, largest=LARGEST)


async def fail(connection: Connection, request: Request = POST) -> Answer:
    """What a request without an answer comes to. Its stage always fits what was handed over."""
    with pytest.raises(NoAnswer) as caught:
        await connection.request(request, largest=LARGEST)
    answer = caught.value.answer
    assert connection.handed_over is (answer.stage is Stage.REQUEST)
    assert not connection.connected
    assert answer.signal is not Signal.REPLY
    assert answer.text
    return answer
