"""Which users could replace the file at a path: checks every folder and symbolic link on the way to it.

A file is only as trustworthy as the folders above it. The owner of a folder decides what is in it; in a
folder that others may write to, anybody could have made what is there. On Windows access lists decide, so
nothing is checked there.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_MAX_LINKS = 40  #: the kernel's limit
_ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """Why a path cannot be trusted."""

    problem: str  #: what is wrong, as a sentence without a full stop
    remedy: str  #: what its owner can do


def administrators() -> frozenset[int]:
    """Users who may replace any of our files: root, we, and in a user namespace its root."""
    return frozenset((0, os.geteuid(), os.stat(_ROOT).st_uid)) if sys.platform != "win32" else frozenset()


def folder_owner(path: Path) -> int | None:
    """The owner of the folder that `path` really is in; None if there is no such folder."""
    try:
        return os.stat(Path(os.path.realpath(path)).parent).st_uid
    except OSError:
        return None


def find_weakness(path: Path, also: Collection[int | None] = ()) -> Weakness | None:
    """The first folder or link on the way to `path` that somebody else controls; None if nobody does.

    What does not exist yet is not checked. Nor is the mode of the last component: the caller, who has it
    open, checks that.

    Args:
        path: A file, a socket, or a folder followed by any name in it.
        also: Users who may own folders on the way besides root and ourselves.
    """
    if sys.platform == "win32":
        return None
    admins = administrators()
    try:
        for folder, status, entry, owner in _steps(path):
            if found := _judge(folder, status, entry, owner, admins, also):
                return found
    except OSError as error:
        return Weakness(
            problem=f"the folders above {path} cannot be checked: {error.strerror}",
            remedy="choose another path",
        )
    return None


def _judge(
    folder: Path,
    status: os.stat_result,
    entry: Path,
    owner: int | None,
    admins: Collection[int],
    also: Collection[int | None],
) -> Weakness | None:
    if status.st_uid not in admins and status.st_uid not in also:
        return Weakness(
            problem=f"the folder {folder} belongs to another user (uid {status.st_uid}), "
            f"who can replace {entry}",
            remedy=f"chown {os.geteuid()} {shlex.quote(str(folder))}, or choose another path",
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return Weakness(
            problem=f"the folder {folder} is writable by everybody, so anybody could replace {entry}",
            remedy=f"chmod o-w {shlex.quote(str(folder))}, or choose another path",
        )
    shared = status.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
    if shared and owner is not None and owner not in admins and owner != status.st_uid:
        return Weakness(
            problem=f"{entry} belongs to another user (uid {owner}), "
            f"and anybody could have placed it in {folder}",
            remedy="choose a path in a folder that only you can write to",
        )
    return None


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result, Path, int | None]]:
    """Each folder on the way, and the name that is looked up in it with its owner (None: not there)."""
    at, links = _ROOT, 0
    ahead = list(reversed(path.absolute().parts[1:]))
    while ahead:
        name = ahead.pop()
        if name == "..":
            at = at.parent
            continue
        entry = at / name
        try:
            folder, status = os.lstat(at), _lstat(entry)
        except (FileNotFoundError, NotADirectoryError):  # it vanished meanwhile
            return
        yield at, folder, entry, None if status is None else status.st_uid
        if status is None:
            return
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = Path(os.readlink(entry))
            at = _ROOT if target.is_absolute() else at
            ahead.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        else:
            at = entry


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
