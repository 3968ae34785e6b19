"""An SMTP server that swears to what it accepted: the outside witness of the whole-process tests.

It writes one line per accepted message, `recipient message-id`, and fsyncs it before it answers 250. What is
not in its record was not accepted; what is in it was, whether or not the sender lived to read the answer.

    python tests/whole/witness.py RECORD [--delay SECONDS] [--lockstep] [--unknown N]

It prints the port it listens on. With `--unknown N` every N-th `p<number>@...` is an unknown mailbox.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys


class Witness:
    def __init__(self, record: int, delay: float, pipelining: bool, unknown: int) -> None:
        self._record = record
        self._delay = delay
        self._pipelining = pipelining
        self._unknown = unknown

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipient = ""
        writer.write(b"220 witness\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                features = b"250-PIPELINING\r\n" if self._pipelining else b""
                writer.write(b"250-witness\r\n" + features + b"250 8BITMIME\r\n")
            elif verb == b"RCPT":
                recipient = line[line.index(b"<") + 1 : line.index(b">")].decode("ascii")
                if self._knows(recipient):
                    writer.write(b"250 ok\r\n")
                else:
                    recipient = ""
                    writer.write(b"550 5.1.1 no such user\r\n")
            elif verb == b"DATA" and not recipient:
                writer.write(b"503 5.5.1 no recipient\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                await writer.drain()
                message = await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self._delay)
                self._swear(recipient, message)
                writer.write(b"250 2.0.0 Ok: queued as W1\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                return
            else:
                writer.write(b"250 ok\r\n")
            await writer.drain()

    def _knows(self, recipient: str) -> bool:
        number = recipient.partition("@")[0].lstrip("p")
        return not (self._unknown and number.isdigit() and int(number) % self._unknown == 0)

    def _swear(self, recipient: str, message: bytes) -> None:
        message_id = ""
        for line in message.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
            if line.lower().startswith(b"message-id:"):
                message_id = line.split(b":", 1)[1].strip().decode("ascii")
        os.write(self._record, f"{recipient} {message_id}\n".encode())
        os.fsync(self._record)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("record")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--lockstep", action="store_true")
    parser.add_argument("--unknown", type=int, default=0, metavar="N")
    chosen = parser.parse_args()
    record = os.open(chosen.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    witness = Witness(record, chosen.delay, not chosen.lockstep, chosen.unknown)
    server = await asyncio.start_server(witness.serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1])
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
