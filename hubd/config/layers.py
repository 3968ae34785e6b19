"""hubd.toml and the files beside it, read as one, with the place that every key comes from.

The first layer is hubd.toml. Each `hubd.toml.d/*.toml` beside it, in the order of names, is laid over it key
by key: a file with nothing but `[providers.office]` and `rate = "5/s"` changes that rate and leaves the rest.
What is under such a key (a list, a table of rates, the place of a secret) is taken whole. Relative paths in
all of them are relative to the folder of hubd.toml.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hubd.core.tables import Fault
from hubd.errors import BadConfig
from hubd.ownership import find_weakness, folder_owner
from hubd.toml_text import TomlFault, key_lines, line_of, read_toml

MAX_CONFIG_BYTES = 1024 * 1024

#: How many names lead from a table of the top to a key that is taken whole: `hub.KEY`, `providers.NAME.KEY`.
_DEPTH = {"hub": 1, "providers": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where something was written."""

    file: Path
    line: int  #: 0 when it is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """All files as one table. Nothing in it is judged yet but that it is TOML."""

    files: tuple[Path, ...] = ()  #: the files that were read, in order of precedence
    raw: Mapping[str, object] = field(default_factory=dict, repr=False)
    _owners: Mapping[str, Path] = field(default_factory=dict, repr=False)  #: the file of each dotted key
    _lines: Mapping[Path, dict[str, int]] = field(default_factory=dict, repr=False)

    def origin(self, key: str) -> Origin | None:
        """Where `key` ("providers.office.host"), or the nearest table around it, was written."""
        ends = [at for at, char in enumerate(key) if char in ".["]
        for end in (len(key), *reversed(ends)):  # from the key itself to the outermost table
            if file := self._owners.get(key[:end]):
                return Origin(file=file, line=line_of(key, self._lines[file]))
        return None

    def value(self, *names: str) -> object:
        """What was written under a key, as TOML has it; None when nothing was."""
        found: object = self.raw
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def refusal(self, faults: Iterable[Fault]) -> BadConfig:
        """The error that names every fault with its file and line."""
        placed = []
        for key, problem in faults:
            origin = self.origin(key) or Origin(file=self.files[0], line=0)
            placed.append((origin, key, problem))
        return _bad(placed)


def read_layers(path: Path) -> Layers:
    """hubd.toml at `path` and what lies beside it. Raises `BadConfig` when it is unreadable or no TOML."""
    raw: dict[str, object] = {}
    owners: dict[str, Path] = {}
    lines: dict[Path, dict[str, int]] = {}
    files = (path, *_beside(path))
    for file in files:
        text = _read(file)
        lines[file] = key_lines(text)
        _lay(raw, _parse(file, text), owners, file)
    return Layers(files=files, raw=raw, _owners=owners, _lines=lines)


def _beside(path: Path) -> list[Path]:
    folder = path.with_name(f"{path.name}.d")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _bad([(Origin(file=folder, line=0), "", error.strerror or "cannot be read")]) from None
    return [folder / name for name in sorted(names) if name.endswith(".toml") and not name.startswith(".")]


def _lay(
    below: dict[str, object],
    above: Mapping[str, object],
    owners: dict[str, Path],
    file: Path,
    path: str = "",
    deeper: int = 0,
) -> None:
    """Lay one table over another. Where only one of them is a table, the other is kept, to be refused."""
    for key, value in above.items():
        name = f"{path}.{key}" if path else key
        inner = deeper - 1 if path else _DEPTH.get(key, 0)
        if inner and isinstance(value, Mapping):
            owners.setdefault(name, file)
            there = below.setdefault(key, {})
            if isinstance(there, dict):
                _lay(there, value, owners, file, name, inner)
        else:
            below[key] = value
            owners[name] = file


def _read(path: Path) -> str:
    try:
        # Not blocking: a FIFO that nobody writes to would hold the daemon up for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _bad_file(path, "is not a regular file")
            _check_owner(path, status)
            data = file.read(MAX_CONFIG_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "cannot be opened"
        raise _bad_file(path, reason) from None
    if len(data) > MAX_CONFIG_BYTES:
        raise _bad_file(path, "is larger than 1 MiB; is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad_file(path, "is not UTF-8 text", data.count(b"\n", 0, error.start) + 1) from None


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Whoever writes this file decides where messages and passwords go."""
    if os.name == "posix" and status.st_mode & stat.S_IWOTH:
        raise _bad_file(path, f"it is writable by everybody; chmod o-w {shlex.quote(str(path))}")
    if (weakness := find_weakness(path, also=[folder_owner(path)])) is not None:
        raise _bad_file(path, f"{weakness.problem}; {weakness.remedy}")


def _parse(path: Path, text: str) -> dict[str, object]:
    try:
        return read_toml(text)
    except TomlFault as fault:
        hint = f"; {fault.guess}" if fault.guess else ""
        raise _bad_file(path, f"not valid TOML: {fault}{hint}", fault.line) from None


def _bad_file(path: Path, problem: str, line: int = 0) -> BadConfig:
    return _bad([(Origin(file=path, line=line), "", problem)])


def _bad(faults: list[tuple[Origin, str, str]]) -> BadConfig:
    origin, key, problem = faults[0]
    place = f"{origin.file}, line {origin.line}" if origin.line else str(origin.file)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return BadConfig(
        ": ".join(part for part in (place, key, problem) if part) + more,
        hint="Correct the file; hubd --check reads it without starting.",
        data={
            "file": str(origin.file),
            "errors": [
                {"path": where, "problem": what, "line": at.line or None, "file": str(at.file)}
                for at, where, what in faults
            ],
        },
    )
