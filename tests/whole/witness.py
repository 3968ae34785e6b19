"""An SMTP server that swears to what it accepted: the outside witness of the whole-process tests.

It writes one line per accepted message, `recipient message-id`, and fsyncs it before it answers 250. What is
not in its record was not accepted; what is in it was, whether or not the sender lived to read the answer.

    python tests/whole/witness.py RECORD [--delay SECONDS [--seed N]] [--idle SECONDS] [--unknown N]
        [--lockstep]

It prints the port it listens on. With `--unknown N` every N-th `p<number>@...` is an unknown mailbox. With
`--seed` each delay is anything between nothing and twice SECONDS, part of it before the acceptance and part
after it. With `--idle` it hangs up on who says nothing for so long; each time it adds a line to RECORD.idle:
how many connections are left. On SIGINT it takes no more connections and ends when those it has are over.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys


class Witness:
    def __init__(self, record: int, gave_up: int, chosen: argparse.Namespace) -> None:
        self._record = record
        self._gave_up = gave_up
        self._delay: float = chosen.delay
        self._chance = None if chosen.seed is None else random.Random(chosen.seed)
        self._pipelining = not chosen.lockstep
        self._unknown: int = chosen.unknown
        self._idle: float | None = chosen.idle
        self._conversations: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except TimeoutError:
            os.write(self._gave_up, f"{len(self._conversations) - 1}\n".encode())
        finally:
            self._conversations.discard(task)
            writer.close()

    async def over(self) -> None:
        """Return when every conversation has ended."""
        while self._conversations:
            await asyncio.wait(self._conversations)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipient = ""
        writer.write(b"220 witness\r\n")
        while line := await asyncio.wait_for(reader.readline(), self._idle):
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
                message = await asyncio.wait_for(reader.readuntil(b"\r\n.\r\n"), self._idle)
                before, after = self._pauses()
                await asyncio.sleep(before)
                self._swear(recipient, message)
                await asyncio.sleep(after)
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

    def _pauses(self) -> tuple[float, float]:
        """How long to wait before the acceptance and after it."""
        if self._chance is None:
            return self._delay, 0.0
        pause, share = self._chance.uniform(0.0, 2 * self._delay), self._chance.random()
        return pause * share, pause * (1 - share)

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
    parser.add_argument("--seed", type=int)
    parser.add_argument("--lockstep", action="store_true")
    parser.add_argument("--unknown", type=int, default=0, metavar="N")
    parser.add_argument("--idle", type=float, metavar="SECONDS")
    chosen = parser.parse_args()
    record, gave_up = (
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for path in (chosen.record, f"{chosen.record}.idle")
    )
    witness = Witness(record, gave_up, chosen)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, over.set)
    async with await asyncio.start_server(witness.serve, "127.0.0.1", 0, limit=1 << 20) as server:
        print(server.sockets[0].getsockname()[1])
        sys.stdout.flush()
        await over.wait()
        server.close()
        await witness.over()


if __name__ == "__main__":
    asyncio.run(main())
