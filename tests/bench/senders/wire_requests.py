"""The HTTP client that hubd's own providers use: one request after another on each connection.

python wire_requests.py BASE_URL CONNECTIONS REQUESTS BYTES
"""

import sys

import trio
from figures import Meter

from hubd.transports.http_protocol import Request
from hubd.transports.http_wire import Endpoint


async def run(base_url: str, connections: int, requests: int, size: int) -> None:
    endpoint = Endpoint(base_url, connect_timeout=60, timeout=60)
    request = Request(
        method="POST",
        target="/messages",
        headers=[("Content-Type", "application/json"), ("Authorization", "Bearer secret")],
        body=b"x" * size,
    )
    numbers = iter(range(requests))

    async def send() -> None:
        connection = endpoint.connection()
        for _ in numbers:
            answer = await connection.request(request, largest=65_536)
            assert answer.status == 200
            assert answer.body

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(send)
    endpoint.close()


def main() -> None:
    base_url, connections, requests, size = sys.argv[1:]
    meter = Meter()
    trio.run(run, base_url, int(connections), int(requests), int(size))
    meter.stop()
    meter.print_figures(int(requests))


if __name__ == "__main__":
    main()
