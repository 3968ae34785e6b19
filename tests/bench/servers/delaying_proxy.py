"""A TCP proxy that holds everything back for half a round trip in each direction.

python -m tests.bench.servers.delaying_proxy PORT MILLISECONDS_PER_ROUND_TRIP
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast


class Side(asyncio.Protocol):
    """One end of a proxied connection: what arrives here is written to `other`, later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self.other: asyncio.Transport | None = None
        self._early: list[bytes] = []  # arrived before the other side was connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connect_to(self, other: asyncio.Transport) -> None:
        self.other = other
        for data in self._early:
            self.data_received(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self._later(self.other.write, data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None:
            self._later(self.other.close)

    def _later(self, call: object, *arguments: object) -> None:
        # Calls that are due at the same instant run in no certain order, so each is due after the one before.
        self._due = max(self._due + 1e-6, self._loop.time() + self._delay)
        self._loop.call_at(self._due, call, *arguments)  # type: ignore[arg-type]


class Inbound(Side):
    """The client's end; it opens the other one."""

    def __init__(self, port: int, delay: float) -> None:
        super().__init__(delay)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            _, outbound = await self._loop.create_connection(
                lambda: Side(self._delay), "127.0.0.1", self._port
            )
        except OSError:
            self.transport.close()
            return
        outbound.connect_to(self.transport)
        self.connect_to(outbound.transport)


async def serve(port: int, round_trip: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Inbound(port, round_trip / 2), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
