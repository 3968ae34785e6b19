"""Ports for programs that are told which port to listen on and cannot take any that is free.

Between the moment that a free port is found and the moment that the program binds it, the system may give it
to any other socket. So these ports are below the range that the system chooses from, and each stays with the
test process that asked first, also among several runs of the tests at once.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
from pathlib import Path

#: Not `tempfile.gettempdir()`, which differs between runs.
_LOCKS = Path("/tmp") / f"messagehub-test-ports-{os.geteuid()}"
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_COUNT = 10_000
_held: list[int] = []  #: descriptors of the locks, until the process ends


def own_port() -> int:
    """A port of the loopback interface that nobody else of the tests gets and the system gives to nobody."""
    lowest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 49_152
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    candidates = range(max(1024, lowest - _COUNT), lowest)
    for port in random.sample(candidates, len(candidates)):
        lock = os.open(_LOCKS / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            os.close(lock)
        else:
            _held.append(lock)
            return port
    raise AssertionError(f"no port below {lowest} is free")
