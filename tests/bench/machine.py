"""Which machine was measured."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path

from tests.bench.processes import ROOT


def describe() -> dict[str, str]:
    """What the figures depend on, by name."""
    load = os.getloadavg()[0]
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()}",
        "load before the run": f"{load:.1f}",
        "commit": _commit(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
