"""The Twilio double, taking its time: so that a kill finds many requests between question and answer.

    python -m tests.whole.slow_twilio RECORD SECONDS SEED [IDLE]

Each request takes anything between nothing and twice SECONDS, part of it before the message is accepted (and
in the record, on the disk) and part after it. It prints its base URL. On SIGINT it takes no more connections
and ends when those it has are over. With IDLE it hangs up on who says nothing for so many seconds. Each time
a connection ends it adds a line to RECORD.idle: how many are left.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from pathlib import Path

from tests.shell.twilio_double import Book, Handler, TwilioDouble


class Slow(Handler):
    """One connection to a server that is slow."""

    mean = 0.0
    chance = random.Random()

    def do_POST(self) -> None:  # noqa: N802 - what http.server calls
        pause, share = self.chance.uniform(0.0, 2 * self.mean), self.chance.random()
        self._after = pause * (1 - share)
        time.sleep(pause * share)
        super().do_POST()

    def _act(self, behaviour: str, form: dict[str, str], message: dict[str, object] | None) -> None:
        time.sleep(self._after)
        super()._act(behaviour, form, message)


class Server(TwilioDouble):
    """It says when it is alone."""

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        super().shutdown_request(request)
        with self.book.lock, Path(f"{self.book.record}.idle").open("a") as file:
            file.write(f"{len(self._connections)}\n")


def main() -> None:
    record, seconds, seed, *idle = sys.argv[1:]
    Slow.mean = float(seconds)
    Slow.chance.seed(int(seed))
    Slow.timeout = float(idle[0]) if idle else None
    server = Server(book=Book(record=Path(record)))
    server.RequestHandlerClass = Slow
    print(server.base_url, flush=True)
    try:
        server.serve_forever(poll_interval=0.05)
    except KeyboardInterrupt:
        server.server_close()  # waits for the threads of its connections


if __name__ == "__main__":
    main()
