"""The packages that only the benches need, installed into a cache folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from tests.bench.runner import Unmeasurable, progress

PYTHON_PACKAGES = (
    "aiosmtplib==5.1.3",  # the asynchronous SMTP client of Python
    "django==5.2.19",  # post_office's framework
    "django-post_office==3.12.0",  # a mail queue in a database, for Django
    "httpx==0.28.1",  # the asynchronous HTTP client of Python
    "py-spy==0.4.3",  # the sampling profiler of `profile`
)
NPM_OPTIONS = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
NODE_PACKAGES = ("nodemailer@10.6.1",)  # the SMTP client of Node, with a pool of connections


class Packages:
    """Installs on first use, once per machine. Failures are reported as Unmeasurable, again at each use."""

    def __init__(self, folder: Path | None = None) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.folder = folder or Path(cache) / "messagehub-bench"

    @cached_property
    def _venv(self) -> Path | str:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return self._installed(
            self.folder / f"python{version}",
            " ".join(PYTHON_PACKAGES),
            lambda path: [
                [sys.executable, "-m", "venv", "--clear", str(path)],
                [str(path / "bin" / "python"), "-m", "pip", "install", "-q", *PYTHON_PACKAGES],
            ],
        )

    @cached_property
    def _node(self) -> Path | str:
        if shutil.which("node") is None or shutil.which("npm") is None:
            return "node and npm are missing (Debian: apt install nodejs npm)"
        return self._installed(
            self.folder / "node",
            " ".join(NODE_PACKAGES),
            lambda path: [
                ["npm", "install", "--prefix", str(path), *NPM_OPTIONS, *NODE_PACKAGES],
            ],
        )

    @property
    def python(self) -> Path:
        """The Python that has PYTHON_PACKAGES. Raises Unmeasurable."""
        return _usable(self._venv) / "bin" / "python"

    @property
    def node_modules(self) -> Path:
        """The folder that has NODE_PACKAGES. Raises Unmeasurable."""
        return _usable(self._node) / "node_modules"

    def _installed(self, path: Path, wanted: str, commands: Callable[[Path], list[list[str]]]) -> Path | str:
        stamp = path / ".installed"
        if stamp.is_file() and stamp.read_text() == wanted:
            return path
        progress(f"installing {wanted} into {path}")
        path.mkdir(parents=True, exist_ok=True)
        for command in commands(path):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
                return f"{Path(command[0]).name} could not install {wanted}: {last[0]}"
        stamp.write_text(wanted)
        return path


def _usable(found: Path | str) -> Path:
    if isinstance(found, str):
        raise Unmeasurable(found)
    return found


def postfix_program(name: str) -> str:
    """The path of smtp-sink or smtp-source. Raises Unmeasurable."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise Unmeasurable(f"{name} is missing (Debian: apt install postfix)")
    return found
