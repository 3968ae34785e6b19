"""httpx under asyncio: one request after another on each connection.

python httpx_requests.py BASE_URL CONNECTIONS REQUESTS BYTES
"""

import asyncio
import sys

import httpx
from figures import Meter


async def run(base_url: str, connections: int, requests: int, size: int) -> None:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    body = b"x" * size
    numbers = iter(range(requests))
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=60) as client:

        async def send() -> None:
            for _ in numbers:
                answer = await client.post(f"{base_url}/messages", content=body, headers=headers)
                assert answer.status_code == 200
                assert answer.content

        await asyncio.gather(*(send() for _ in range(connections)))


def main() -> None:
    base_url, connections, requests, size = sys.argv[1:]
    meter = Meter()
    asyncio.run(run(base_url, int(connections), int(requests), int(size)))
    meter.stop()
    meter.print_figures(int(requests))


if __name__ == "__main__":
    main()
