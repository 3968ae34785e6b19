"""Failures of the operating system, injected into a process that a test starts, by a library it preloads.

failures = Interposed.controlled_in(tmp_path)
process = launcher.popen(..., env={**os.environ, **failures.environment})
failures.resolver.write_text("30")     # names that contain "hang" do not resolve: EAI_AGAIN after 30 s
failures.resolver.unlink()             # and resolve again; hang.example is 127.0.0.1
failures.checkpoint.write_text("7")    # SIGKILL after the seventh write of a checkpoint from now on
failures.checkpoint.write_text("0")    # SIGKILL once the first page counts pages that are not there yet
failures.fsync.write_text("0.05")      # each flush to the disk takes 50 ms longer
failures.fsync.unlink()                # and no longer
failures.read.write_text("8192")       # hub.db cannot be read beyond its second page: EIO
failures.flock.write_text("37")        # no file can be locked: ENOLCK
failures.flushed.touch()               # from now on it lists the files that are flushed by fsync
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import launcher

SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True)
class Interposed:
    """The control files that switch the failures of the library on while they exist."""

    resolver: Path
    checkpoint: Path
    fsync: Path
    read: Path
    flock: Path
    flushed: Path

    @classmethod
    def controlled_in(cls, folder: Path) -> Interposed:
        """Control files in `folder`; nothing is injected yet."""
        return cls(
            *(folder / name for name in ("resolver", "checkpoint", "fsync", "read", "flock", "flushed"))
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to have the failures injected."""
        return {
            **launcher.preloaded(LD_PRELOAD=str(_library())),
            "INTERPOSE_RESOLVER": str(self.resolver),
            "INTERPOSE_CHECKPOINT": str(self.checkpoint),
            "INTERPOSE_FSYNC": str(self.fsync),
            "INTERPOSE_READ": str(self.read),
            "INTERPOSE_FLOCK": str(self.flock),
            "INTERPOSE_FLUSHED": str(self.flushed),
        }


@cache
def _library() -> Path:
    """The library, compiled once for all tests of this process."""
    folder = tempfile.mkdtemp(prefix="interposed-")
    atexit.register(shutil.rmtree, folder)
    library = Path(folder) / "interposed.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library
