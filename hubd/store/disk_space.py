"""Room on the disk: is there enough to begin another message, and what is kept back for the outcomes.

A message that has begun must be able to write down its end. So new ones begin only while there is plenty of
room; below that outcomes are still written, and nothing that is large or new: no import, no audience. And a
reserve file of no content lies beside the database: when the disk is full all the same it is removed, and
what it held is room for outcomes and for changes of state, such as a pause. It is made again when there is
plenty. A limit on the size of files (RLIMIT_FSIZE) counts as the end of the disk.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from hubd.errors import StoreUnavailable

log = logging.getLogger(__name__)

MIB = 2**20
MIN_FREE = 64 * MIB  #: the fastest sending writes some 30 MiB a second, and room is looked at once a second
MAX_SHARE = 0.05  #: of the file system: on a small one less than `MIN_FREE` is plenty
LOG_FACTOR = 2  #: the log may be copied into the file, and grow as long again meanwhile
EASE = 1.25  #: once there was too little, so much more than enough is waited for: no going back and forth
LOOK_EVERY = 1.0  #: seconds for which an answer is good at most; on a small disk less: it is full sooner
RESERVE_BYTES = 16 * MIB  #: room for the outcomes of some 10,000 messages: more than are ever on the wire
RESERVE_SHARE = 0.02  #: of the file system, at most
RESERVE_RETRY = 60.0  #: seconds between tries to make it
FULL_FOR = 5.0  #: seconds for which the disk counts as full after it refused a write, whatever it reports

FREE_DISK_SPACE = "free space on the disk, then try again"
PUT_BACK = "put it back; if it is lost, stop hubd and restore a backup"

#: Errors that may pass when files are removed; after others the reserve file is not tried again.
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpaceLimits:
    """How much disk space sending needs, in bytes. `reserve` 0 is for none."""

    min_free: int = MIN_FREE
    max_share: float = MAX_SHARE
    reserve: int = 0


DEFAULT_LIMITS = DiskSpaceLimits()


def needed(limits: DiskSpaceLimits, *, total: int, log_size: int, short: bool) -> int:
    """How many bytes must be free: on a file system of `total`, with a log of `log_size`.

    `short` says that there was too little until now.
    """
    enough = max(min(limits.min_free, int(total * limits.max_share)), LOG_FACTOR * log_size)
    return int(enough * EASE) if short else enough


class DiskSpace:
    """Looks at the file system of one database, and keeps its reserve file. `clock` is monotonic, in
    seconds.
    """

    def __init__(
        self, path: Path, limits: DiskSpaceLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = path.parent
        self._database = path
        self._log = path.with_name(path.name + "-wal")
        self._reserve = path.with_name(path.stem + ".ballast")
        self._limits = limits
        self._clock = clock
        self._reason = ""
        self._good_until = float("-inf")
        self._try_reserve_at = float("-inf")
        self._holds_reserve = False
        self._full_until = float("-inf")
        self._identity: tuple[int, int] | None = None
        self._gone = f"{path} was moved, removed or replaced while hubd was using it"

    @property
    def known_shortage(self) -> str:
        """What `shortage` said last. Makes no system call, so any thread may read it."""
        return self._reason

    @property
    def remedy(self) -> str:
        """What helps against a shortage."""
        return PUT_BACK if self._moved() else FREE_DISK_SPACE

    def remember_file(self) -> None:
        """From now on the file that is there is the database. Raises `OSError`."""
        self._identity = self._found()

    def check_file(self) -> None:
        """Raise `StoreUnavailable` while another file than the open one, or none, has the database's name."""
        if self._moved():
            raise StoreUnavailable(self._gone, hint=PUT_BACK)

    @property
    def shortage(self) -> str:
        """Why no new message may begin; "" when there is space. Cheap: as it was within the last second."""
        return self._reason if self._clock() < self._good_until else self.look()

    def look(self) -> str:
        """Ask the file system now; the same answer as `shortage`."""
        now = self._clock()
        if now < self._full_until:
            return self._reason
        self._good_until = now + LOOK_EVERY
        if self._moved():
            if self._reason != self._gone:
                log.error("no new message is sent: %s; %s", self._gone, PUT_BACK)
            self._reason = self._gone
            return self._gone
        usage = self._usage()
        if usage is None:
            return self._reason
        total, free = usage
        self._good_until = now + LOOK_EVERY * min(1.0, free / MIN_FREE)
        need = needed(self._limits, total=total, log_size=self.log_size(), short=bool(self._reason))
        before = self._reason
        self._reason = self._words(free, need, "sending") if free < need else ""
        if self._reason and not before:
            log.error("no new message is sent: %s", self._reason)
        elif before and not self._reason:
            log.warning("there is enough disk space again: %s MiB are free", _mib(free))
        return self._reason

    def lack(self, size: int, *, another_file: bool = False) -> str:
        """Why there is no space for `size` more bytes beside what sending needs; "" when there is.

        `another_file` says that the database does not grow by them.
        """
        usage = self._disk() if another_file else self._usage()
        if usage is None:
            return ""
        total, free = usage
        need = size + needed(self._limits, total=total, log_size=self.log_size(), short=False)
        return self._words(free, need, "this") if free < need else ""

    def note_full(self, what: str) -> None:
        """Remember for a while that a write did not fit although there seemed to be space (a quota)."""
        if not self.look():
            self._reason = f"{what} on the file system of {self._directory}"
            self._full_until = self._good_until = self._clock() + FULL_FOR
            log.error("no new message is sent: %s", self._reason)

    def log_size(self) -> int:
        """Bytes of the write-ahead log's file."""
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    # -- the reserve file -------------------------------------------------------------------------------

    @property
    def wants_reserve(self) -> bool:
        """Whether there should be a reserve file and is none."""
        return not self._holds_reserve and self._reserve_size() > 0

    async def keep_reserve(self) -> None:
        """Create the reserve file if it is missing and there is plenty of space. Never fails."""
        if not self.wants_reserve or self._clock() < self._try_reserve_at:
            return
        self._try_reserve_at = self._clock() + RESERVE_RETRY
        usage = self._usage()
        if usage is None:
            return
        total, free = usage
        need = needed(self._limits, total=total, log_size=self.log_size(), short=True)
        size = self._reserve_size()
        if free < need + size and not self._is_reserve(size):
            return
        try:
            await trio.to_thread.run_sync(self._make, size)
        except OSError as error:
            if error.errno not in DISK_FULL_ERRORS:
                self._try_reserve_at = float("inf")
            log.info("no disk space is reserved for a full disk: %s", error.strerror)
        else:
            self._holds_reserve = True

    async def free_reserve(self) -> bool:
        """Remove the reserve file because the disk is full. Whether that freed space."""
        freed = await self.drop_reserve()
        if freed:
            self._try_reserve_at = self._clock() + LOOK_EVERY
            self._good_until = float("-inf")
        return freed

    async def drop_reserve(self) -> bool:
        """Remove the reserve file, also one that an earlier run left. Whether there was one."""
        self._holds_reserve = False
        try:
            await trio.to_thread.run_sync(self._reserve.unlink)
        except OSError:
            return False
        return True

    def _make(self, size: int) -> None:
        if self._is_reserve(size):
            return  # a run that was killed left it
        self._reserve.unlink(missing_ok=True)
        descriptor = os.open(self._reserve, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            _allocate(descriptor, size)
        except BaseException:
            self._reserve.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _is_reserve(self, size: int) -> bool:
        try:
            about = self._reserve.lstat()
        except OSError:
            return False
        ours = stat.S_ISREG(about.st_mode) and stat.S_IMODE(about.st_mode) == 0o600
        return ours and about.st_size == size and about.st_blocks * 512 >= size

    def _reserve_size(self) -> int:
        """Bytes, in whole pages; 0 where none can be made."""
        if not self._limits.reserve or self._try_reserve_at == float("inf"):
            return 0
        usage = self._usage()
        share = int(usage[0] * RESERVE_SHARE) if usage else 0
        return min(self._limits.reserve, share) // 4096 * 4096

    def _usage(self) -> tuple[int, int] | None:
        """Total bytes and bytes free for the database; None if the file system does not say."""
        usage, limit = self._disk(), _largest_file()
        if usage is None or limit is None:
            return usage
        total, free = usage
        longest = max(self._database_size(), self.log_size())
        return min(total, limit), min(free, max(0, limit - longest))

    def _disk(self) -> tuple[int, int] | None:
        try:
            usage = shutil.disk_usage(self._directory)
        except OSError:
            return None
        return usage.total, usage.free

    def _words(self, free: int, need: int, what: str) -> str:
        disk = self._disk()
        where = f"on the file system of {self._directory}"
        if disk is not None and disk[1] > free:
            where = f"below the file size limit in {self._directory}"
        return f"only {_mib(free)} MiB are left {where}, and {what} needs {_mib(need)}"

    def _moved(self) -> bool:
        """Whether another file than the open one, or none, has the database's name. Then outcomes are still
        written, into the open file, but nobody would find them there at the next start.
        """
        try:
            return self._identity is not None and self._found() != self._identity
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # the disk does not say

    def _found(self) -> tuple[int, int]:
        about = self._database.stat()
        return about.st_dev, about.st_ino

    def _database_size(self) -> int:
        try:
            return self._database.stat().st_size
        except OSError:
            return 0


def _largest_file() -> int | None:
    """The largest file that this process may write; None if there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def _allocate(descriptor: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, size)
        return
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(bytes(size))


def _mib(size: int) -> str:
    return f"{size / MIB:.0f}" if size >= 100 * MIB else f"{size / MIB:.1f}"
