"""hubd and hubctl in processes of their own, without importing everything anew for each.

Starting Python and importing what hubctl needs takes longer than most of its commands. So one process for
each worker of the tests has the libraries loaded and waits. Asked for a program, it forks, and the fork
becomes what `python -m PROGRAM` is: its own arguments, environment and streams, and the same `__main__`. At
its end it waits for threads, calls what was registered for the end and writes what is left. It is a child of
the process that asked: signals, its status and waiting for it work as they always do.

What it does not show is what an import does or takes, how the interpreter takes its modules apart in the end,
and which arguments a list of processes has. Tests of that use `subprocess`. A library to preload gets a
waiting process of its own, if it is one of `preloaded`. Where something is asked for that a fork cannot give,
`popen` starts Python as usual; so it does on systems other than Linux.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from tests.whole import settable_clock

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = (
    *("hubd", "hubctl"),
    *("tests.whole.crashing_hubd", "tests.whole.impatient_hubd", "tests.shell.broken_disk"),
)
CLOCKED = "tests.whole.clocked_hubd"  #: one that sets its wall clock, which has to be done before all imports
#: Variables that are read before the first line of a program: by the interpreter, the loader, the C library.
READ_EARLY = ("PYTHON", "LD_", "LC_", "LANG", "FAKETIME", "NO_FAKE_", "MALLOC_", "GLIBC_")
_preloaded: list[dict[str, str]] = []
PR_SET_CHILD_SUBREAPER = 36  #: of linux/prctl.h
LONGEST = 100_000  #: bytes of a request


def preloaded(**variables: str) -> dict[str, str]:
    """These variables of an environment, `LD_PRELOAD` among them, which many programs are started with.

    The library is loaded once, too. So it must take each of its other settings from the environment or a file
    when it needs it, and not when it is loaded.
    """
    if variables not in _preloaded:
        _preloaded.append(variables)
    return variables


def take_terminal() -> None:
    """Make standard input the terminal that Ctrl-C and job control come from: for a new session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def popen(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen`, by a fork where that is the same."""
    return (_Forked if _can_fork(command, options) else subprocess.Popen)(command, **options)


def run(
    command: Sequence[str], *, stdin: str | None = None, timeout: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and take what it says, as `subprocess.run` does; `stdin` is its input."""
    given = subprocess.PIPE if stdin is not None else None
    pipes = {"stdin": given, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen(command, **pipes, encoding="utf-8", **options) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _can_fork(command: Sequence[str], options: Mapping[str, Any]) -> bool:
    return (
        sys.platform == "linux"
        and command[:2] == [sys.executable, "-m"]
        and (command[2] in PROGRAMS or (command[2] == CLOCKED and "LD_PRELOAD" in (options.get("env") or ())))
        and options.keys() - TERMINAL.keys()
        <= {"stdin", "stdout", "stderr", "cwd", "env", "text", "encoding"}
        and {name: options[name] for name in options.keys() & TERMINAL.keys()} in ({}, TERMINAL)
        and options.get("cwd") == ROOT
        and _early(options.get("env") or os.environ) in _prepared()
        and len(_request(command, options.get("env"), terminal=True)) < LONGEST
    )


#: Options of a program that a terminal belongs to.
TERMINAL: Mapping[str, object] = {"start_new_session": True, "preexec_fn": take_terminal}


def _prepared() -> list[dict[str, str]]:
    """The environments, as far as they are read early, that a process may wait with."""
    own = _early(os.environ)
    return [{"LANG": "C.UTF-8"}, own, *({**own, **variables} for variables in _preloaded)]


def _request(command: Sequence[str], env: Mapping[str, str] | None, *, terminal: bool) -> bytes:
    environ = dict(os.environ if env is None else env)
    return json.dumps({"command": list(command[2:]), "environ": environ, "terminal": terminal}).encode()


def _early(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(READ_EARLY)}


class _Forked(subprocess.Popen[Any]):
    def _execute_child(
        self, args: Sequence[str], executable: None, preexec_fn: object, close_fds: bool, pass_fds: object,
        cwd: Path, env: Mapping[str, str] | None, startupinfo: None, creationflags: int, shell: bool,
        p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int, *rest: Any,
    ) -> None:  # fmt: skip
        streams = [own if own != -1 else ours for ours, own in enumerate((p2cread, c2pwrite, errwrite))]
        launcher = _launcher(frozenset(_early(os.environ if env is None else env).items()))
        request = _request(args, env, terminal=preexec_fn is take_terminal)
        self.pid = launcher.start(request, streams)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


@cache
def _launcher(early: frozenset[tuple[str, str]]) -> _Launcher:
    return _Launcher(dict(early))


class _Launcher:
    """The process that forks, seen from the tests."""

    def __init__(self, early: Mapping[str, str]) -> None:
        rest = {name: value for name, value in os.environ.items() if not name.startswith(READ_EARLY)}
        self._endpoint, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.launcher", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd=ROOT, env={**rest, **early},
            )  # fmt: skip
        atexit.register(self._close)

    def _close(self) -> None:
        self._endpoint.shutdown(socket.SHUT_RDWR)  # read as the end, whoever has a copy of the socket
        self._endpoint.close()
        self._process.wait()

    def start(self, request: bytes, streams: Sequence[int]) -> int:
        """Start a program with these streams; its process id. It is a child of this process."""
        prctl = ctypes.CDLL(None).prctl
        with self._lock:
            # The parent of the new process ends at once, and who asked is the next in the line.
            prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._endpoint, [request], streams)
                return int(self._endpoint.recv(64))
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


# -- in the process that forks ------------------------------------------------------------------------


def _load() -> None:
    if "LD_PRELOAD" in os.environ:
        settable_clock.install()
    for package in ("hubd", "hubctl"):
        found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        for name in sorted(module.name for module in found):
            if not name.endswith("__main__"):
                importlib.import_module(name)
    gc.freeze()


def _next_program(endpoint: socket.socket) -> str:
    """Wait for requests and fork for each. Returns in the forks alone: the name of what to run."""
    while True:
        message, streams, _, _ = socket.recv_fds(endpoint, LONGEST, 3)
        if not message:
            sys.exit(0)
        told, tell = os.pipe()
        if (parent := os.fork()) == 0:
            if os.fork() != 0:
                os._exit(0)
            endpoint.detach()
            return _become(json.loads(message), streams, tell)
        for descriptor in (*streams, tell):
            os.close(descriptor)
        number = os.read(told, 64)
        os.close(told)
        os.waitpid(parent, 0)
        endpoint.send(number)


def _become(request: dict[str, Any], streams: Sequence[int], tell: int) -> str:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    if request["terminal"]:
        os.setsid()
        take_terminal()
    os.write(tell, b"%d" % os.getpid())
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        vars(sys)[stream] = vars(sys)[f"__{stream}__"] = _stream(number, vars(sys)[stream])
    program, *arguments = request["command"]
    sys.argv = ["", *arguments]
    return str(program)


def _stream(number: int, like: TextIO) -> TextIO:
    """A standard stream as the interpreter makes it."""
    raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115
    lines = number == 2 or raw.isatty()
    return io.TextIOWrapper(raw, like.encoding, like.errors, newline="\n", line_buffering=lines)


def _run(program: str) -> None:
    """Run a program as `__main__`, and end.

    The interpreter would take all modules apart, which is four times as much work as most commands are. It
    does so where there is more to say than a number.
    """
    status = 0
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        status = end.code or 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(status)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # of the terminal: it ends without a word
    _load()
    program = _next_program(socket.socket(fileno=int(sys.argv[1])))
    signal.signal(signal.SIGINT, handler)
    _run(program)
