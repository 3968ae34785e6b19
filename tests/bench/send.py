"""How fast hubd sends, beside two other ways, in one run on one machine.

    python tests/bench/send.py                     20,000 messages, three rounds
    python tests/bench/send.py --messages 5000 --rounds 1
    python tests/bench/send.py --memory 1000000    peak memory with that many recipients (takes minutes)

Each round starts a real hubd and a real Postfix smtp-sink and measures, one after the other:

    hubd      personalised text+html messages of about 2 KB, every attempt durable before it is made
    asyncio   aiosmtplib `sendmail` under plain asyncio, 10 connections, one fixed message, nothing recorded
    naive     one connection, one EmailMessage and one SQLite commit per message

Machines are noisy: compare the ratios of one run, by their medians. Everything stays on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import shutil
import signal
import smtplib
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import psutil

PARAGRAPH = "Good news from the workshop: the new season is here, and so is the catalogue. " * 9
TEXT = f"Hello {{{{ first_name }}}},\n\n{PARAGRAPH}\n\nYours, {{{{ city }}}} branch\n"
HTML = f"<html><body><p>Hello <b>{{{{ first_name }}}}</b>,</p><p>{PARAGRAPH}</p>{{{{ city }}}}</body></html>"


@dataclass(frozen=True, slots=True)
class Result:
    """One way of sending, measured once."""

    rate: float  #: messages per second
    cpu: float  #: microseconds of the sender's CPU per message
    rss: float = 0.0  #: peak resident memory of the sender in MB


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def smtp_sink() -> Iterator[int]:
    """A real SMTP server that accepts and forgets. Yields its port."""
    port = free_port()
    program = shutil.which("smtp-sink", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        sys.exit("smtp-sink is missing: install the package postfix")
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    sink = subprocess.Popen([program, *user, f"127.0.0.1:{port}", "1024"])
    try:
        wait_for(lambda: answers(port), "smtp-sink")
        yield port
    finally:
        sink.terminate()
        sink.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(ready: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            sys.exit(f"{what} did not start")
        time.sleep(0.02)  # another process: there is no event to wait on


@contextmanager
def hubd(folder: Path, port: int, connections: int) -> Iterator[psutil.Process]:
    """A real daemon with one SMTP provider."""
    config = folder / "hubd.toml"
    config.write_text(
        f'[providers.sink]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
        f"connections = {connections}\n"
    )
    daemon = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hubd",
            "--config",
            config,
            "--state-dir",
            folder / "state",
            "--log-level",
            "error",
        ]
    )
    try:
        wait_for(lambda: (folder / "state" / "control.sock").exists(), "hubd")
        yield psutil.Process(daemon.pid)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(120)


def hubctl(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "hubctl", "--socket", str(folder / "state" / "control.sock"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def peak_mb(process: psutil.Process) -> float:
    """The high-water mark of resident memory, from the kernel."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def write_contacts(path: Path, n: int) -> None:
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["email", "first_name", "city"])
        out.writerows([f"person{i}@example.com", f"Zoë {i}", "Springfield"] for i in range(n))


def campaign_file(folder: Path) -> Path:
    path = folder / "bench.toml"
    path.write_text(
        'name = "bench"\nchannel = "email"\nprovider = "sink"\nlists = ["all"]\nkind = "transactional"\n'
        'sender = "Bench <bench@example.org>"\nsubject = "Hello {{ first_name }}"\n'
        f"text = {json.dumps(TEXT)}\nhtml = {json.dumps(HTML)}\n"
    )
    return path


def measure_hubd(n: int, connections: int, *, verbose: bool = False) -> Result:
    with tempfile.TemporaryDirectory() as name, smtp_sink() as port:
        folder = Path(name)
        write_contacts(folder / "contacts.csv", n)
        with hubd(folder, port, connections) as process:
            began = time.monotonic()
            hubctl(folder, "import", str(folder / "contacts.csv"), "--list", "all")
            if verbose:
                took = time.monotonic() - began
                print(f"  import: {n:,} rows in {took:.1f} s, {n / took:,.0f}/s")
            hubctl(folder, "apply", str(campaign_file(folder)))
            used, began = cpu_seconds(process), time.monotonic()
            hubctl(folder, "start", "bench")
            hubctl(folder, "wait", "bench", "--for", "completed", "--timeout", "7200s")
            took = time.monotonic() - began
            used = cpu_seconds(process) - used
            status = json.loads(hubctl(folder, "status", "bench", "--json"))["campaign"]
            assert status["counts"]["sent"] == n, status
            return Result(rate=n / took, cpu=used / n * 1e6, rss=peak_mb(process))


def measure_import(n: int) -> float:
    """Seconds to import a CSV of n new contacts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_contacts(folder / "contacts.csv", n)
        with hubd(folder, free_port(), 1):
            began = time.monotonic()
            hubctl(folder, "import", str(folder / "contacts.csv"), "--list", "all")
            return time.monotonic() - began


def measure_asyncio(n: int) -> Result:
    import aiosmtplib

    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "bench@example.org", "x@example.com", "Hello"
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    fixed = message.as_bytes()

    async def one_connection(port: int, count: int) -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
            for i in range(count):
                await client.sendmail("bench@example.org", [f"person{i}@example.com"], fixed)

    async def everything(port: int) -> None:
        await asyncio.gather(*(one_connection(port, n // 10) for _ in range(10)))

    with smtp_sink() as port:
        used, began = time.process_time(), time.monotonic()
        asyncio.run(everything(port))
        return Result(rate=n / (time.monotonic() - began), cpu=(time.process_time() - used) / n * 1e6)


def measure_naive(n: int) -> Result:
    n = min(n, 2000)
    with tempfile.TemporaryDirectory() as name, smtp_sink() as port:
        database = sqlite3.connect(Path(name) / "sent.db", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE sent (address TEXT PRIMARY KEY, state TEXT)")
        used, began = time.process_time(), time.monotonic()
        with smtplib.SMTP("127.0.0.1", port) as client:
            for i in range(n):
                message = EmailMessage()
                message["From"], message["To"] = "bench@example.org", f"person{i}@example.com"
                message["Subject"] = f"Hello Zoë {i}"
                message.set_content(TEXT.replace("{{ first_name }}", f"Zoë {i}"))
                message.add_alternative(HTML.replace("{{ first_name }}", f"Zoë {i}"), subtype="html")
                client.send_message(message)
                database.execute("INSERT INTO sent VALUES (?, 'sent')", (message["To"],))
        took, used = time.monotonic() - began, time.process_time() - used
        database.close()
        return Result(rate=n / took, cpu=used / n * 1e6)


def report(name: str, results: list[Result]) -> float:
    rate = statistics.median(r.rate for r in results)
    cpu = statistics.median(r.cpu for r in results)
    rss = max(r.rss for r in results)
    spread = f"{min(r.rate for r in results):,.0f}-{max(r.rate for r in results):,.0f}"
    memory = f"{rss:,.0f} MB" if rss else "-"
    print(f"  {name:<28}{rate:>9,.0f}/s  ({spread})  {cpu:>7,.0f} us CPU/message  peak {memory}")
    return rate


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--connections", type=int, nargs="*", default=[4, 16])
    options.add_argument(
        "--memory", type=int, metavar="RECIPIENTS", help="one big campaign, for its peak memory"
    )
    chosen = options.parse_args()
    if chosen.memory:
        print(f"one campaign of {chosen.memory:,} recipients")
        report("hubd, 16 connections", [measure_hubd(chosen.memory, 16, verbose=True)])
        return
    ours: dict[int, list[Result]] = {count: [] for count in chosen.connections}
    plain: list[Result] = []
    naive: list[Result] = []
    for _ in range(chosen.rounds):
        for count, results in ours.items():
            results.append(measure_hubd(chosen.messages, count))
        plain.append(measure_asyncio(chosen.messages))
        naive.append(measure_naive(chosen.messages))
    print(f"import of 100,000 rows: {measure_import(100_000):.1f} s")
    print(f"{chosen.messages:,} messages, median of {chosen.rounds} rounds")
    rates = {count: report(f"hubd, {count} connections", results) for count, results in ours.items()}
    fast = report("aiosmtplib sendmail, 10", plain)
    slow = report("naive, 1 connection", naive)
    for count, rate in rates.items():
        print(f"  hubd with {count}: {rate / fast:.2f} x aiosmtplib, {rate / slow:.1f} x naive")


if __name__ == "__main__":
    main()
