"""Child processes that always end: started here, ended by their own ids."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.bench.measure import Sample

ROOT = Path(__file__).resolve().parent.parent.parent
Command = Sequence[str | Path]  #: a program and its arguments
SECONDS_TO_START = 60.0
SECONDS_TO_END = 60.0


@contextmanager
def child(
    command: Command,
    *,
    stdout: int = subprocess.DEVNULL,
    stderr: Path | None = None,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A process for as long as the block lasts, in a process group of its own: Ctrl-C is for us."""
    with (stderr or Path(os.devnull)).open("ab") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=errors,
            cwd=cwd,
            env=env,
            text=True,
            process_group=0,
        )
    try:
        yield process
    finally:
        end(process)
        if process.stdout:
            process.stdout.close()


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process and its group to end, and kill them when they do not."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(SECONDS_TO_END)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


@contextmanager
def server(module: str, *arguments: str | Path) -> Iterator[int]:
    """One of our servers. Yields the port that it listens on."""
    command = [sys.executable, "-m", f"tests.bench.servers.{module}", *arguments]
    with child(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server {module} did not start")
        yield int(line)


def run_program(
    command: Command,
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    seconds: float = 300,
) -> str:
    """Run a program for at most this many seconds and return what it printed. Raises RuntimeError."""
    log = folder / "program.log"
    log.write_bytes(b"")
    env = {**os.environ, **(environment or {})}
    with child(command, stdout=subprocess.PIPE, stderr=log, env=env) as process:
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it took longer than {seconds:.0f} s") from None
        if process.returncode:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"exit status {process.returncode}: {' '.join(last)}")
    return out


def run_sender(command: Command, *, folder: Path, environment: Mapping[str, str] | None = None) -> Sample:
    """Run a program that prints one line of JSON about itself."""
    out = run_program(command, folder=folder, environment=environment)
    figures: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return figures


def wait_until(ready: Callable[[], object], what: str, *, seconds: float, pause: float = 0.02) -> None:
    """Wait for another process; there is no event to wait on. Raises RuntimeError in the end."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s for {what}")
        time.sleep(pause)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, in user and kernel mode."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def peak_mb(pid: int) -> float:
    """The highest resident memory of a process so far, from the kernel."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell the peak memory of a process")
