"""The servers that the benches send to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.bench.packages import postfix_program
from tests.bench.processes import SECONDS_TO_START, accepts, child, free_port, server, wait_until


@contextmanager
def smtp_sink() -> Iterator[int]:
    """Postfix's smtp-sink, which accepts and forgets. Yields its port."""
    port = free_port()
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    with child([postfix_program("smtp-sink"), *user, "-m", "1024", f"127.0.0.1:{port}", "1024"]):
        wait_until(lambda: accepts(port), "smtp-sink", seconds=SECONDS_TO_START)
        yield port


@contextmanager
def tls_sink(folder: Path) -> Iterator[tuple[int, Path]]:
    """An SMTP server with TLS. Yields its port, and the file of the authority that signed its certificate."""
    authority = trustme.CA()
    certificate, ca_file = folder / "sink.pem", folder / "ca.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(ca_file)
    with server("tls_sink", certificate) as port:
        yield port, ca_file


@contextmanager
def delayed(port: int, milliseconds: int) -> Iterator[int]:
    """The server at this port, this many milliseconds per round trip away."""
    if milliseconds == 0:
        yield port
        return
    with server("delaying_proxy", str(port), str(milliseconds)) as proxy:
        yield proxy
