"""A server that accepts every message like Twilio's Messages API and forgets it: one write per answer.

The double in tests/shell can misbehave on request and is much slower; this one is for measuring alone.

python -m tests.bench.servers.twilio_sink
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import cast
from urllib.parse import parse_qs

from tests.shell.twilio_double import ACCOUNT

_NUMBERS = itertools.count(1)
_DATE = "Mon, 16 Aug 2010 03:45:01 +0000"
_FIXED: dict[str, object] = {
    "account_sid": ACCOUNT,
    "api_version": "2010-04-01",
    "date_created": _DATE,
    "date_sent": None,
    "date_updated": _DATE,
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "messaging_service_sid": None,
    "num_media": "0",
    "num_segments": "1",
    "price": None,
    "price_unit": "USD",
    "status": "queued",
    "subresource_uris": {},
}


class Session(asyncio.Protocol):
    """One kept connection. asyncio sets TCP_NODELAY on it."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            size = _content_length(head)
            if len(rest) < size:
                return
            self._buffer = rest[size:]
            self._transport.write(_answer(head, rest[:size]))


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _answer(head: bytes, body: bytes) -> bytes:
    if head.startswith(b"POST "):
        form = {key: values[-1] for key, values in parse_qs(body.decode()).items()}
        sid = f"SM{next(_NUMBERS):032x}"
        status, answer = (
            b"201 Created",
            _FIXED
            | {
                "sid": sid,
                "to": form["To"],
                "from": form.get("From"),
                "body": form["Body"],
                "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json",
            },
        )
    else:
        status = b"200 OK"
        answer = {"sid": ACCOUNT, "status": "active", "friendly_name": "Bench", "type": "Full"}
    payload = json.dumps(answer).encode()
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (status, len(payload), payload)
    )  # fmt: skip


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Session, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
