"""An SMTP server with TLS that accepts and forgets; smtp-sink has no TLS.

python -m tests.bench.servers.tls_sink CERTIFICATE_AND_KEY
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import cast

_ANSWERS = {
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}


class Session(asyncio.Protocol):
    """One connection. All answers to what arrived together leave in one write."""

    def __init__(self) -> None:
        self._buffer = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        answers: list[bytes] = []
        while True:
            if self._in_data:
                before, found, rest = buffer.partition(b"\r\n.\r\n")
                if not found:
                    buffer = before[-4:]  # the rest of the body is of no interest
                    break
                buffer, self._in_data = rest, False
                answers.append(b"250 accepted\r\n")
                continue
            line, found, rest = buffer.partition(b"\r\n")
            if not found:
                break
            verb = line[:4].upper()
            # The line end before an empty body's dot is the one after DATA, so it stays in the buffer.
            buffer, self._in_data = (b"\r\n" + rest, True) if verb == b"DATA" else (rest, False)
            answers.append(_ANSWERS.get(verb, b"250 ok\r\n"))
        self._buffer = buffer
        if answers:
            self._transport.write(b"".join(answers))
            if answers[-1].startswith(b"221"):
                self._transport.close()


async def serve(certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Session, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
