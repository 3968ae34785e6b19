"""httpx under asyncio: one request to Twilio's Messages API for each text message, nothing recorded.

python httpx_sender.py BASE_URL ACCOUNT TOKEN SENDER CONNECTIONS MESSAGES
"""

import asyncio
import sys

import httpx
from figures import Meter


async def run(base_url: str, account: str, token: str, sender: str, connections: int, messages: int) -> None:
    url = f"{base_url}/2010-04-01/Accounts/{account}/Messages.json"
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    numbers = iter(range(messages))
    async with httpx.AsyncClient(auth=(account, token), limits=limits, trust_env=False, timeout=60) as client:

        async def submit() -> None:
            for i in numbers:
                form = {
                    "To": f"+1415{i + 2_000_000:07}",
                    "From": sender,
                    "Body": f"Hello Zoë {i}, good news.",
                }
                answer = await client.post(url, data=form)
                answer.raise_for_status()
                assert answer.json()["sid"]

        await asyncio.gather(*(submit() for _ in range(connections)))


def main() -> None:
    base_url, account, token, sender, connections, messages = sys.argv[1:]
    meter = Meter()
    asyncio.run(run(base_url, account, token, sender, int(connections), int(messages)))
    meter.stop()
    meter.print_figures(int(messages))


if __name__ == "__main__":
    main()
