"""aiosmtplib under asyncio: one fixed message for everybody, nothing recorded.

python aiosmtplib_sender.py PORT CA_FILE_OR_- CONNECTIONS MESSAGES CONTENT
"""

import asyncio
import json
import ssl
import sys
from email.message import EmailMessage

import aiosmtplib
from figures import Meter


async def send(port: int, context: ssl.SSLContext | None, sender: str, body: bytes, count: int) -> None:
    client = aiosmtplib.SMTP(
        hostname="localhost" if context else "127.0.0.1",
        port=port,
        use_tls=context is not None,
        tls_context=context,
        start_tls=False,
    )
    async with client:
        for i in range(count):
            await client.sendmail(sender, [f"person{i}@example.com"], body)


async def run(port: int, ca_file: str, connections: int, messages: int, content: dict[str, str]) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = content["sender"], "person@example.com", "Hello"
    message.set_content(content["text"])
    message.add_alternative(content["html"], subtype="html")
    context = None if ca_file == "-" else ssl.create_default_context(cafile=ca_file)
    shares = [messages // connections + (i < messages % connections) for i in range(connections)]
    await asyncio.gather(
        *(send(port, context, content["sender"], message.as_bytes(), share) for share in shares)
    )


def main() -> None:
    port, ca_file, connections, messages, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    meter = Meter()
    asyncio.run(run(int(port), ca_file, int(connections), int(messages), content))
    meter.stop()
    meter.print_figures(int(messages))


if __name__ == "__main__":
    main()
