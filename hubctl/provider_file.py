"""The user's own hubd.toml, changed by one provider at a time and otherwise left as it is.

Only text is changed here: a section is written at the end, or cut out. Comments, order and spelling of
everything else stay. Each change is checked before it is written: read again, the file must say what it said
before, with one provider more or less.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubctl.exits import Exit, Refused
from hubd.files import replace_file
from hubd.ownership import find_weakness
from hubd.toml_text import read_toml

MOST_BYTES = 1024 * 1024  #: the most that hubd reads
_BOM = "\ufeff"
_ANY_HEADER = re.compile(r"\s*\[")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """hubd.toml as it was read. The file itself is at `path`, even when a symbolic link leads there."""

    path: Path
    text: str
    mode: int | None  #: its permissions; None when it is not there yet

    @property
    def providers(self) -> Mapping[str, Any]:
        """The providers that it has, as parsed."""
        found: Mapping[str, Any] = _parsed(self.text).get("providers", {})
        return found


def open_own(path: Path) -> ConfigFile:
    """Read the file at `path`, or an empty one when it is not there. Raises Refused when it is not ours to
    change, or is not TOML.
    """
    real = Path(os.path.realpath(path))
    try:
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        _check_folder(real.parent)
        return ConfigFile(path=real, text="", mode=None)
    except OSError as error:
        raise _not_ours(real, f"cannot be read: {(error.strerror or 'no reason given').lower()}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_ours(real, "is not a regular file")
        if not _is_ours(status):
            raise _not_ours(real, "belongs to another user")
        data = os.read(descriptor, MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    _check_folder(real.parent)
    try:
        text = data.decode()
        if len(data) > MOST_BYTES:
            raise ValueError
        _parsed(text)
    except (ValueError, RecursionError):  # not UTF-8, not TOML, too large
        raise Refused(
            f"{path} cannot be changed: it already contains an error",
            code="bad_config",
            hint=f"hubd --check --config {shlex.quote(str(path))} says where",
        ) from None
    return ConfigFile(path=real, text=text, mode=stat.S_IMODE(status.st_mode))


def replace_text(file: ConfigFile, text: str) -> ConfigFile:
    """Replace what was read with `text`, atomically and durably, keeping the permissions (0600 for a new
    file). Raises Refused, and changes nothing, when somebody else wrote to it in the meantime.
    """
    folder = file.path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = 0o600 if file.mode is None else file.mode
        replace_file(file.path, text.encode(), mode=mode, before=lambda: _check_unchanged(file))
    except OSError as error:
        raise Refused(f"{file.path} cannot be written: {(error.strerror or 'no reason').lower()}") from None
    return ConfigFile(path=file.path, text=text, mode=0o600 if file.mode is None else file.mode)


def put_back(before: ConfigFile, after: ConfigFile) -> None:
    """Undo `replace_text`."""
    if before.mode is None:
        if _now(after.path) != after.text.encode():
            raise Refused(
                f"{after.path} was just changed by another program and was left as it is",
                code="conflict",
                status=Exit.CONFLICT,
                hint="check it, then: hubctl daemon reload",
            )
        after.path.unlink()
    else:
        replace_text(after, before.text)


def with_provider(text: str, name: str, settings: Mapping[str, Any]) -> str:
    """The file with one more section at its end. Raises Refused for a file that is written in such a way that
    no section can be added.
    """
    import tomlkit

    table = tomlkit.table()
    for key, value in settings.items():
        table.add(key, _item(value))
    providers = tomlkit.table(is_super_table=True)
    providers.add(name, table)
    section = tomlkit.document()
    section.add("providers", providers)
    ends = "" if not text.removeprefix(_BOM) or text.endswith("\n") else "\n"
    gap = "" if not text.removeprefix(_BOM).strip() or text.endswith(("\n\n", "\n\r\n")) else "\n"
    added = ends + gap + tomlkit.dumps(section)
    new = text + (added.replace("\n", "\r\n") if "\r\n" in text else added)
    wanted = _parsed(text)
    wanted["providers"] = {**wanted.get("providers", {}), name: dict(settings)}
    return _checked(new, wanted, f"the section [providers.{name}] cannot be added to this file")


def with_keys(text: str, name: str, keys: Mapping[str, Any]) -> str:
    """The file with other values for some keys of a provider, by dotted path; None removes a key.

    Comments and the order of what was there stay. Raises Refused for a file in which that cannot be done.
    """
    import tomlkit

    wanted = _parsed(text)
    document = tomlkit.parse(text.removeprefix(_BOM))
    for key, value in keys.items():
        path = ("providers", name, *key.split("."))
        _set(document, path, None if value is None else _item(value))
        _set(wanted, path, value)
    bom = _BOM if text.startswith(_BOM) else ""
    return _checked(
        bom + tomlkit.dumps(document), wanted, f"[providers.{name}] cannot be changed in this file"
    )


def _set(table: Any, path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        if name not in table:
            table[name] = {}
        table = table[name]
    if value is None:
        table.pop(path[-1], None)
    else:
        table[path[-1]] = value


def without_provider(text: str, name: str) -> str:
    """The file without a provider. Comments stay, except those inside its section. Raises Refused when it
    cannot be cut out.
    """
    wanted = _parsed(text)
    providers = {key: value for key, value in wanted.get("providers", {}).items() if key != name}
    wanted = {**wanted, "providers": providers}
    problem = f"the provider {name} cannot be removed from this file"
    for cut in (_cut_section, _cut_key):
        with suppress(Refused):
            return _checked(cut(text, name), wanted, problem)
    raise Refused(problem, code="bad_config", hint="remove it with an editor, then: hubctl daemon reload")


def _cut_section(text: str, name: str) -> str:
    """Cut every section whose header is `[providers.NAME]` or below it. What stands between its last key and
    the next header belongs to what follows, unless it is a comment right under that key.
    """
    quoted = "|".join(re.escape(form) for form in (name, f'"{name}"', f"'{name}'"))
    own = re.compile(rf"\s*\[\s*(?:providers|\"providers\"|'providers')\s*\.\s*(?:{quoted})\s*[\].]")
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    kept: list[str] = []
    at = 0
    while at < len(lines):
        if own.match(lines[at].removeprefix(_BOM)) is None:
            kept.append(lines[at])
            at += 1
            continue
        at = _end_of_section(lines, at)
        if kept and not kept[-1].strip() and at < len(lines) and not lines[at].strip():
            at += 1  # one blank line between the neighbours is enough
    if at >= len(lines) and kept and not kept[-1].strip() and not text.endswith(("\n\n", "\n\r\n")):
        kept.pop()
    return "".join(kept)


def _end_of_section(lines: Sequence[str], header: int) -> int:
    follows = next((n for n in range(header + 1, len(lines)) if _ANY_HEADER.match(lines[n])), len(lines))
    last = max(n for n in range(header, follows) if n == header or not _says_nothing(lines[n]))
    for blank in range(last + 1, follows):
        if not lines[blank].strip():
            return blank
    return follows if follows == len(lines) else last + 1


def _cut_key(text: str, name: str) -> str:
    """For providers that are not written as sections of their own."""
    import tomlkit

    document = tomlkit.parse(text.removeprefix(_BOM))
    providers: Any = document["providers"]
    del providers[name]
    return tomlkit.dumps(document)


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _item(value: Any) -> Any:
    import tomlkit

    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    for key, inner in value.items():
        table.add(key, _item(inner))
    return table


def _parsed(text: str) -> dict[str, Any]:
    """Raises ValueError for what hubd would not accept as its file."""
    found = read_toml(text.removeprefix(_BOM))
    if not isinstance(found.get("providers", {}), Mapping):
        raise ValueError
    return found


def _checked(new: str, wanted: Mapping[str, Any], problem: str) -> str:
    """`new`, if it says what is wanted. No providers at all and an empty table of them are the same."""
    with suppress(ValueError):
        if {"providers": {}, **_parsed(new)} == {"providers": {}, **wanted}:
            return new
    raise Refused(problem, code="bad_config", hint="its layout is unusual; use an editor")


def _check_folder(folder: Path) -> None:
    """The folder, or the nearest one above it that exists, must be ours to write in."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise _not_ours(folder, "is not writable for you")
    if (weakness := find_weakness(folder / "hubd.toml")) is not None:
        raise _not_ours(folder, f"is not safe: {weakness.problem}")


def _is_ours(status: os.stat_result) -> bool:
    return os.name == "nt" or status.st_uid == os.geteuid()


def _not_ours(path: Path, problem: str) -> Refused:
    return Refused(
        f"{path} {problem}",
        code="not_your_file",
        status=Exit.FORBIDDEN,
        hint="this changes only your own configuration; the person who runs hubd has to edit that file",
    )


def _now(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _check_unchanged(file: ConfigFile) -> None:
    if _now(file.path) != (None if file.mode is None else file.text.encode()):
        raise Refused(
            f"{file.path} was just changed by another program; nothing was done",
            code="conflict",
            status=Exit.CONFLICT,
            hint="try again",
        )
