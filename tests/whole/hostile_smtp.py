"""An SMTP server that goes wrong as it is told to, and swears to what it accepted all the same.

    python tests/whole/hostile_smtp.py RECORD MOOD [--port N] [--lockstep] [--login USER:PASSWORD]
                                       [--certificate PEM [--implicit]]

It prints the port it listens on. RECORD gets one line per accepted message, `recipient message-id`, fsynced
before the answer goes out; RECORD.heard one line per stage that was reached. MOOD is a JSON file that is read
again whenever it changes; while there is none the server behaves well:

    {"always": {"auth": "454 4.7.0 later"},                 each time the stage is reached
     "first": {"banner": ["drop", "421 4.3.2 later"]},      the first time, the second time; then well
     "to": {"p1@example.com": {"dot": ["keep+drop"],        the same for the messages to one recipient,
                               "rcpt": "550 no"}},          and each time
     "surplus": [3, "554 5.7.0 too many"]}                  to each connection beyond so many; or "drop"

Stages: banner, ehlo, starttls, auth, mail, rcpt, data, body (the first bytes after 354), dot, rset, quit.
What it can be told to do instead of what is right is in `Act`; what begins with a digit is a reply.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import socket
import ssl
import struct
import sys
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any


class Act(StrEnum):
    """Ways to go wrong. At the dot `keep+` in front means that the message was accepted before."""

    WELL = "well"
    DROP = "drop"
    RST = "rst"
    STALL = "stall"
    GARBAGE = "garbage"
    NO_CODE = "no code"
    ENDLESS = "endless"  #: a reply whose last line never comes
    HUGE = "huge"  #: a reply of 10 MB
    TWICE = "twice"  #: the right reply, and one more before the next command
    PACKETS = "packets"  #: the right reply, one byte at a time
    LATE = "late"  #: the right reply, or the one behind it, after so many seconds: "late 1.5 535 5.7.8 no"
    INJECT = "inject"  #: the right reply with more replies in the same packet
    MANY = "many"  #: EHLO with 10,000 extensions


class _Over(Exception):
    """The connection ends."""


class Mood:
    """What to do at which stage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] = (0, 0)
        self._told: dict[str, Any] = {}
        self._reached: Counter[tuple[str, str]] = Counter()

    def act(self, stage: str, recipient: str) -> str:
        """What is due now; "well" for what is right."""
        self._look()
        for scope, told in (
            (recipient, self._told.get("to", {}).get(recipient, {})),
            ("", self._told.get("first", {})),
        ):
            acts = told.get(stage, ())
            if isinstance(acts, str):
                return acts
            if self._reached[scope, stage] < len(acts):
                self._reached[scope, stage] += 1
                return str(acts[self._reached[scope, stage] - 1])
        return str(self._told.get("always", {}).get(stage, Act.WELL))

    def surplus(self, connections: int) -> str:
        """What is done to one more connection; "" when it is within the limit."""
        self._look()
        limit, act = self._told.get("surplus", (connections, ""))
        return str(act) if connections > limit else ""

    def _look(self) -> None:
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            told = json.loads(self._path.read_text()) if stamp != self._stamp else self._told
        except FileNotFoundError:
            stamp, told = (0, 0), {}
        if stamp != self._stamp:
            self._stamp, self._told = stamp, told
            self._reached.clear()


class Server:
    """What the connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.mood = Mood(Path(options.mood))
        self.pipelining = not options.lockstep
        self.login = options.login
        self.implicit = options.implicit
        self.tls: ssl.SSLContext | None = None
        if options.certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(options.certificate)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.connections = 0
        self._record = os.open(options.record, flags, 0o600)
        self._heard = os.open(f"{options.record}.heard", flags, 0o600)

    def hear(self, stage: str) -> None:
        """Note that a stage was reached."""
        os.write(self._heard, f"{stage}\n".encode())

    def swear(self, recipient: str, message: bytes) -> None:
        """Note, durably, that a message was accepted."""
        found = re.search(rb"^message-id:\s*(\S+)", message, re.IGNORECASE | re.MULTILINE)
        message_id = found[1].decode("ascii") if found else "none"
        os.write(self._record, f"{recipient} {message_id}\n".encode())
        os.fsync(self._record)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            await _Dialogue(self, reader, writer).run()
        except (ConnectionError, ssl.SSLError, _Over):
            pass
        finally:
            self.connections -= 1
            writer.close()


class _Dialogue:
    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.rest = b""
        self.recipient = ""
        self.logged_in = not server.login
        self.mail_stands = False

    async def run(self) -> None:
        if surplus := self.server.mood.surplus(self.server.connections):
            self.server.hear("surplus")
            if surplus != Act.DROP:
                await self.say(surplus.encode() + b"\r\n")
            return
        await self.answer("banner", b"220 hostile ESMTP\r\n")
        while True:
            line = await self.line()
            verb = line[:4].lower().decode("ascii", "replace")
            match verb:
                case "ehlo" | "helo":
                    await self.answer("ehlo", self.offers())
                case "star":
                    await self.secure()
                case "auth":
                    await self.answer("auth", self.judge_login(line))
                case "mail":
                    await self.mail()
                case "rcpt":
                    await self.rcpt(line)
                case "data":
                    await self.data()
                case "rset":
                    self.recipient = ""
                    await self.answer("rset", b"250 2.0.0 ok\r\n")
                case "quit":
                    await self.answer("quit", b"221 2.0.0 bye\r\n")
                    raise _Over
                case _:
                    await self.say(b"502 5.5.2 what?\r\n")

    # -- the commands ------------------------------------------------------------------------------

    def offers(self) -> bytes:
        lines = [b"hostile", b"8BITMIME", b"ENHANCEDSTATUSCODES"]
        if self.server.pipelining:
            lines.append(b"PIPELINING")
        if self.server.tls and not self.server.implicit and not self.secured:
            lines.append(b"STARTTLS")
        if self.server.login:
            lines.append(b"AUTH PLAIN")
        return b"".join(b"250-%s\r\n" % line for line in lines[:-1]) + b"250 %s\r\n" % lines[-1]

    @property
    def secured(self) -> bool:
        return self.writer.get_extra_info("sslcontext") is not None

    async def secure(self) -> None:
        said = await self.answer("starttls", b"220 2.0.0 go ahead\r\n")
        if said.startswith(b"220") and self.server.tls is not None:
            await self.writer.start_tls(self.server.tls)
            self.rest = b""

    def judge_login(self, line: bytes) -> bytes:
        user, _, password = self.server.login.partition(":")
        right = base64.b64encode(f"\0{user}\0{password}".encode())
        if line.split()[-1] != right:
            return b"535 5.7.8 bad credentials\r\n"
        self.logged_in = True
        return b"235 2.7.0 welcome\r\n"

    async def mail(self) -> None:
        self.recipient = ""
        coming = ""
        if self.server.pipelining:  # a client that pipelines has said already to whom
            while b"\r\n" not in self.rest:
                await self.more()
            coming = address_in(self.rest.partition(b"\r\n")[0])
        well = b"250 2.1.0 ok\r\n" if self.logged_in else b"530 5.7.0 log in first\r\n"
        self.mail_stands = (await self.answer("mail", well, coming)).startswith(b"250")

    async def rcpt(self, line: bytes) -> None:
        recipient = address_in(line)
        well = b"250 2.1.5 ok\r\n" if self.mail_stands else b"503 5.5.1 need MAIL\r\n"
        said = await self.answer("rcpt", well, recipient)
        self.recipient = recipient if said.startswith(b"25") else ""

    async def data(self) -> None:
        if not self.recipient:
            await self.say(b"554 5.5.1 no valid recipients\r\n")
            return
        said = await self.answer("data", b"354 go on\r\n", self.recipient)
        if not said.startswith(b"3"):  # RFC 5321 section 4.2.1: the first digit says it
            self.recipient = ""
            return
        if not self.rest:
            await self.more()
        refused = await self.answer("body", b"", self.recipient)
        text = b"\r\n"
        while (end := text.find(b"\r\n.\r\n")) < 0:
            if not self.rest:
                await self.more()
            text, self.rest = text + self.rest, b""
        message, self.rest = text[2 : end + 2], text[end + 5 :]
        recipient, self.recipient, self.mail_stands = self.recipient, "", False
        if refused:  # it said so in the middle, and does not say it again
            return
        await self.answer(
            "dot", b"250 2.0.0 Ok: queued as H1\r\n", recipient, lambda: self.server.swear(recipient, message)
        )

    # -- the answers -------------------------------------------------------------------------------

    async def answer(
        self, stage: str, well: bytes, recipient: str = "", keep: Callable[[], None] = lambda: None
    ) -> bytes:
        """Do what is due at a stage. Returns what was said."""
        self.server.hear(stage)
        act = self.server.mood.act(stage, recipient)
        bare = act.removeprefix("keep+")
        word, _, argument = bare.partition(" ")
        if word == Act.LATE:
            seconds, _, words = argument.partition(" ")
            if not words:
                keep()  # an acceptance that comes late is one
            await asyncio.sleep(float(seconds))
            well = words.encode() + b"\r\n" if words else well
        elif act.startswith("keep+") or word in (Act.WELL, Act.TWICE, Act.PACKETS) or bare.startswith("2"):
            keep()
        if bare[:1].isdigit():
            well = bare.encode() + b"\r\n"
        match word if bare != Act.NO_CODE else Act.NO_CODE:
            case Act.DROP:
                raise _Over
            case Act.RST:
                self.reset()
            case Act.STALL:
                while True:
                    await self.more()
            case Act.GARBAGE:
                well = b"HTTP/1.1 400 Bad Request\r\n"
            case Act.NO_CODE:
                well = b"\r\n"
            case Act.ENDLESS:
                while True:
                    await self.say(b"250-and so on\r\n" * 1000)
            case Act.HUGE:
                well = b"250 " + b"x" * 10_000_000 + b"\r\n"
            case Act.TWICE:
                well *= 2
            case Act.INJECT:
                well += b"250-injected\r\n250 AUTH PLAIN\r\n"
            case Act.MANY:
                well = b"".join(b"250-X-%d\r\n" % n for n in range(10_000)) + well
            case Act.PACKETS:
                for n in range(len(well)):
                    await self.say(well[n : n + 1])
                return well
        await self.say(well)
        if well.startswith(b"421"):
            raise _Over
        return well

    def reset(self) -> None:
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise _Over

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def line(self) -> bytes:
        while b"\r\n" not in self.rest:
            await self.more()
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line

    async def more(self) -> None:
        data = await self.reader.read(65536)
        if not data:
            raise _Over
        self.rest += data


def address_in(line: bytes) -> str:
    """The address between the angle brackets of a command; "" when there is none."""
    found = re.match(rb"rcpt to:<([^>]*)>", line, re.IGNORECASE)
    return found[1].decode("ascii") if found else ""


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("record")
    parser.add_argument("mood")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lockstep", action="store_true")
    parser.add_argument("--login", default="", metavar="USER:PASSWORD")
    parser.add_argument("--certificate", default="", metavar="PEM")
    parser.add_argument("--implicit", action="store_true", help="TLS from the first byte")
    options = parser.parse_args()
    server = Server(options)
    listening = await asyncio.start_server(
        server.serve, "127.0.0.1", options.port, ssl=server.tls if server.implicit else None
    )
    for one in listening.sockets:  # one byte is one packet
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listening.sockets[0].getsockname()[1])
    sys.stdout.flush()
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
