"""A disk that fails, forgets or fills up, under the real SQLite of this process.

SQLite reaches its files through a table of functions, its VFS. `broken_disk` registers a copy of that table
in which reading, writing, cutting and syncing files come by here first. So the real library, the real
connections and the real threads run, and only the disk is another. Needs no root, no compiler and no other
package.

As a program it is hubd on such a disk. While SIGN exists, what it says fails, such as "sync 1034":

    python -m tests.shell.broken_disk SIGN hubd-options...
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import random
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512  #: bytes that a disk writes whole or not at all

_FILE = ctypes.c_void_p
# SQLite keeps the pointer to a name and looks behind the name's end: it must be the same pointer.
_NAME = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, _NAME, _FILE, ctypes.c_int, ctypes.c_void_p)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, _NAME, ctypes.c_int)
_CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, _FILE)
_READ = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_int)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3 (https://sqlite.org/c3ref/io_methods.html)."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("close", _CLOSE),
        ("read", _READ),
        ("write", _WRITE),
        ("truncate", _TRUNCATE),
        ("sync", _SYNC),
        ("others", ctypes.c_void_p * 13),
    )


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3 (https://sqlite.org/c3ref/vfs.html)."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_name", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", _OPEN),
        ("delete", _DELETE),
        ("others", ctypes.c_void_p * 14),
    )


@dataclass(frozen=True, slots=True)
class Op:
    """Something that was asked of the disk: "read", "write", "truncate", "sync", "delete"; or a "note"."""

    kind: str
    file: str = ""
    at: int = 0
    data: bytes = b""


@dataclass(slots=True)
class BrokenDisk:
    """What is asked of the disk under `folder`, in order, and what is answered.

    `fails` is asked about each operation before it is done: 0 lets it pass, another number is an error code
    of SQLite, and then nothing is done.
    """

    folder: Path
    fails: Callable[[Op], int] = field(default=lambda op: 0)
    log: MutableSequence[Op] = field(default_factory=list)
    open_files: dict[int, str] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """Put something that the test knows in its place among the operations."""
        self.log.append(Op("note", what))

    def ask(self, op: Op) -> int:
        if not Path(op.file).is_relative_to(self.folder):
            return 0
        code = self.fails(op)
        if not code and op.kind != "read":
            self.log.append(op)
        return code

    def fail_nth(self, kind: str, n: int, code: int, *, times: int = 1, file: str = "") -> Callable[[], bool]:
        """Let the n-th operation of a kind from now on fail, and those after it until it was `times`.

        Returns a function that says whether it has come to that.
        """
        seen = 0

        def fails(op: Op) -> int:
            nonlocal seen
            if op.kind != kind or not op.file.endswith(file):
                return 0
            seen += 1
            return code if n <= seen < n + times else 0

        self.fails = fails
        return lambda: seen >= n


@contextmanager
def broken_disk(folder: Path) -> Iterator[BrokenDisk]:
    """Every connection that is opened in the block has this disk under it."""
    disk = BrokenDisk(folder)
    library = ctypes.CDLL(_sqlite3.__file__)  # the same SQLite that Python uses
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    original = library.sqlite3_vfs_find(None)
    vfs = _Vfs.from_buffer_copy(original.contents)
    vfs.name = b"broken"
    tables: dict[int, _Methods] = {}
    real_open, real_delete = original.contents.open, original.contents.delete

    def opened(_: int, name: int | None, file: int, flags: int, out: int) -> int:
        code: int = real_open(ctypes.addressof(vfs), name, file, flags, out)
        slot = ctypes.c_void_p.from_address(file)  # sqlite3_file begins with the pointer to its methods
        if code == sqlite3.SQLITE_OK and name is not None and slot.value:
            if slot.value not in tables:
                tables[slot.value] = _watched(disk, _Methods.from_address(slot.value))
            disk.open_files[file] = _text(name)
            slot.value = ctypes.addressof(tables[slot.value])
        return code

    def deleted(_: int, name: int, sync: int) -> int:
        code = disk.ask(Op("delete", _text(name)))
        return code or int(real_delete(ctypes.addressof(vfs), name, sync))

    vfs.open, vfs.delete = _OPEN(opened), _DELETE(deleted)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(vfs))  # a connection may be closed after all else is gone
    assert library.sqlite3_vfs_register(ctypes.byref(vfs), 1) == sqlite3.SQLITE_OK
    try:
        yield disk
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(vfs))
        library.sqlite3_vfs_register(original, 1)
        vfs.open, vfs.delete = real_open, real_delete
        real = {ctypes.addressof(table): address for address, table in tables.items()}
        for file in disk.open_files:
            slot = ctypes.c_void_p.from_address(file)
            slot.value = real[slot.value or 0]


def _text(name: int) -> str:
    return os.fsdecode(ctypes.string_at(name))


def _watched(disk: BrokenDisk, real: _Methods) -> _Methods:
    """The methods of an open file, with those that change the disk coming by here."""

    def close(file: int) -> int:
        disk.open_files.pop(file, None)
        return int(real.close(file))

    def read(file: int, data: int, size: int, at: int) -> int:
        return disk.ask(Op("read", disk.open_files[file], at)) or int(real.read(file, data, size, at))

    def write(file: int, data: int, size: int, at: int) -> int:
        op = Op("write", disk.open_files[file], at, ctypes.string_at(data, size))
        return disk.ask(op) or int(real.write(file, data, size, at))

    def truncate(file: int, size: int) -> int:
        return disk.ask(Op("truncate", disk.open_files[file], size)) or int(real.truncate(file, size))

    def sync(file: int, flags: int) -> int:
        return disk.ask(Op("sync", disk.open_files[file])) or int(real.sync(file, flags))

    table = _Methods.from_buffer_copy(real)
    table.close, table.read, table.write = _CLOSE(close), _READ(read), _WRITE(write)
    table.truncate, table.sync = _TRUNCATE(truncate), _SYNC(sync)
    return table


def after_kill(before: Mapping[str, bytes], log: Sequence[Op]) -> Mapping[str, bytes]:
    """The files as a process that was killed after these operations leaves them: all is there."""
    files = {file: bytearray(content) for file, content in before.items()}
    for op in log:
        if op.kind in ("write", "truncate"):
            _do(files.setdefault(op.file, bytearray()), op)
        elif op.kind == "delete":
            files.pop(op.file, None)
    return {file: bytes(content) for file, content in files.items()}


def after_power_loss(
    before: Mapping[str, bytes], log: Sequence[Op], rng: random.Random
) -> Mapping[str, bytes]:
    """The files as a disk may show them when the power went after these operations on files as `before`.

    What was synced is there. Of what was not, any part may be: none, all, or some sectors, in any order. A
    file that was never synced may be missing.
    """
    durable = {file: bytearray(content) for file, content in before.items()}
    pending: dict[str, list[Op]] = {}
    for op in log:
        if op.kind in ("write", "truncate"):
            pending.setdefault(op.file, []).append(op)
        elif op.kind == "sync":
            content = durable.setdefault(op.file, bytearray())
            for done in pending.pop(op.file, ()):
                _do(content, done)
        elif op.kind == "delete":
            pending.pop(op.file, None)
            durable.pop(op.file, None)
    for file, ops in pending.items():
        if file not in durable and rng.random() < 0.5:
            continue
        content = durable.setdefault(file, bytearray())
        share = rng.choice((0.0, 1.0, rng.random()))
        torn = [part for op in ops for part in _sectors(op) if rng.random() < share]
        if share < 1.0:
            rng.shuffle(torn)
        for part in torn:
            _do(content, part)
    return {file: bytes(content) for file, content in durable.items()}


def _sectors(op: Op) -> Iterator[Op]:
    if op.kind == "truncate":
        yield op
        return
    start = 0
    while start < len(op.data):
        size = SECTOR - (op.at + start) % SECTOR
        yield Op("write", op.file, op.at + start, op.data[start : start + size])
        start += size


def _do(content: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del content[op.at :]
        return
    if len(content) < op.at:
        content.extend(bytes(op.at - len(content)))
    content[op.at : op.at + len(op.data)] = op.data


def main(arguments: list[str]) -> None:
    from hubd.__main__ import main as hubd

    sign = Path(arguments[0])

    def fails(op: Op) -> int:
        if not sign.exists():
            return 0
        kind, _, code = sign.read_text().partition(" ")
        return int(code) if op.kind == kind else 0

    with broken_disk(Path("/")) as disk:
        disk.fails = fails
        disk.log = deque(maxlen=0)
        hubd(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
