"""Failures of the operating system, injected into a process that a test starts, by a library it preloads.

failures = Interposed.build(tmp_path)
process = subprocess.Popen(..., env={**os.environ, **failures.environment})
failures.resolver.write_text("30")     # names that contain "hang" do not resolve: EAI_AGAIN after 30 s
failures.resolver.unlink()             # and resolve again; hang.example is 127.0.0.1
failures.checkpoint.write_text("7")    # SIGKILL after the seventh write of a checkpoint from now on
failures.checkpoint.write_text("0")    # SIGKILL once the first page counts pages that are not there yet
failures.fsync.write_text("0.05")      # each flush to the disk takes 50 ms longer
failures.fsync.unlink()                # and no longer
failures.read.write_text("8192")       # hub.db cannot be read beyond its second page: EIO
failures.flock.write_text("37")        # no file can be locked: ENOLCK
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True)
class Interposed:
    """The compiled library, and the control files that switch its failures on while they exist."""

    library: Path
    resolver: Path
    checkpoint: Path
    fsync: Path
    read: Path
    flock: Path

    @classmethod
    def build(cls, folder: Path) -> Interposed:
        """Compile the library into `folder`; nothing is injected yet."""
        library = folder / "interposed.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        names = ("resolver", "checkpoint", "fsync", "read", "flock")
        return cls(library, *(folder / name for name in names))

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to have the failures injected."""
        return {
            "LD_PRELOAD": str(self.library),
            "INTERPOSE_RESOLVER": str(self.resolver),
            "INTERPOSE_CHECKPOINT": str(self.checkpoint),
            "INTERPOSE_FSYNC": str(self.fsync),
            "INTERPOSE_READ": str(self.read),
            "INTERPOSE_FLOCK": str(self.flock),
        }
