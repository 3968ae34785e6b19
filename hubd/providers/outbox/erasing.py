"""Removing messages from an outbox: files, and their lines in the journal of their folder."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from hubd.files import sync_directory
from hubd.providers.outbox.transport import JOURNAL, WRITING, folder_name


class _Numbered(msgspec.Struct):
    delivery_id: int


def erase_messages(directory: Path, campaign: str, ranges: Collection[tuple[int, int]]) -> None:
    """Remove the files of a campaign's deliveries with numbers in these ranges, and its folder once empty.

    Repeating it has no further effect. Raises `OSError`.
    """
    folder = directory / folder_name(campaign)
    if not folder.is_dir():
        return
    with WRITING:
        for path in folder.iterdir():
            if path.suffix in (".eml", ".txt") and path.stem.isdecimal() and _within(int(path.stem), ranges):
                path.unlink()
        _erase_lines(folder, ranges)
        sync_directory(folder)
        with suppress(OSError):  # it holds other files
            folder.rmdir()


def _erase_lines(folder: Path, ranges: Collection[tuple[int, int]]) -> None:
    journal, new, left = folder / JOURNAL, folder / f".{JOURNAL}.new", False
    if not journal.exists():
        return
    with journal.open("rb") as old, new.open("wb") as kept:
        os.fchmod(kept.fileno(), 0o600)
        for line in old:
            with suppress(msgspec.DecodeError):
                if _within(msgspec.json.decode(line, type=_Numbered).delivery_id, ranges):
                    continue
            kept.write(line)
            left = True
        kept.flush()
        os.fsync(kept.fileno())
    new.replace(journal)
    if not left:
        journal.unlink()


def _within(number: int, ranges: Collection[tuple[int, int]]) -> bool:
    return any(first <= number <= last for first, last in ranges)
