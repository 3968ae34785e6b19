"""A campaign file, read here with everything it refers to: the daemon never sees a path.

The file is TOML. `text_file`, `html_file` and files to attach are read relative to the file and may not leave
its folder, not even through a symbolic link; only regular files are read, and only up to a size. The daemon
validates the values; `located` finds the line of what it complains about.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from hubctl.exits import Refused
from hubd import toml_text
from hubd.toml_text import TomlFault, read_toml

#: Keys that name the file with the text of another key. The daemon gets the text, never the name.
FILE_KEYS = {
    "text_file": "The file that `text` is in, instead of `text`; UTF-8.",
    "html_file": "The file that `html` is in, instead of `html`; UTF-8.",
}
FILE_LIMIT = 2 * 1024 * 1024  #: bytes of the campaign file itself
TEXT_LIMIT = 512 * 1024  #: bytes of a text or HTML part
SHOWN = 70  #: characters shown of a line that is not TOML
ATTACHMENTS_LIMIT = 25 * 1024 * 1024  #: bytes of all attachments together


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosure:
    """An attachment or a picture with its bytes, as they were when the file was read."""

    name: str
    type: str
    sha256: str
    content: bytes

    def described(self) -> dict[str, Any]:
        """What the campaign says about it; the bytes are sent separately."""
        return {"name": self.name, "type": self.type, "sha256": self.sha256, "size": len(self.content)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFile:
    """A campaign file with all that belongs to it."""

    path: Path
    source: str  #: the TOML text, to find lines in
    spec: Mapping[str, Any]  #: as the daemon wants it: texts inline, times as RFC 3339 text
    enclosures: Sequence[Enclosure]
    texts: Mapping[str, Path]  #: the file of each text that has one of its own, by key ("html")

    def place(self, key: str) -> str:
        """Where "html line 3" is, as `FILE:LINE: html`; that of a key, as `FILE:LINE: KEY`."""
        return _place(self.path, self.source, self.texts, key)


@dataclass(frozen=True, slots=True)
class _Fault(Exception):
    problem: str


def read_campaign(path: Path) -> CampaignFile:
    """Read a campaign file and everything it names. Raises Refused with all faults at once."""
    try:
        raw = _read_regular(path, FILE_LIMIT)
    except _Fault as fault:
        raise Refused(f"{path}: {fault.problem}") from None
    try:
        source = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Refused(f"{path}:{line}: this is not UTF-8", hint="save the file as UTF-8") from None
    try:
        spec = read_toml(source)
    except TomlFault as fault:
        raise _bad_toml(path, source, fault) from None
    faults: list[tuple[str, str]] = []
    plain, enclosures, texts = read_in(spec, path.parent, faults)
    if faults:
        raise located(path, source, faults)
    return CampaignFile(path=path, source=source, spec=plain, enclosures=enclosures, texts=texts)


def read_in(
    spec: dict[str, Any], folder: Path, faults: list[tuple[str, str]]
) -> tuple[dict[str, Any], Sequence[Enclosure], Mapping[str, Path]]:
    """The keys as the daemon wants them, and the files that they name: those to attach, and those of texts.

    Both as in `CampaignFile`; what is wrong is added to `faults`.
    """
    texts = _inline_text(spec, folder, faults)
    enclosures = _enclose(spec, folder, faults)
    plain: dict[str, Any] = _plain(spec, "", faults)
    return plain, enclosures, texts


def zone_for(spec: Mapping[str, Any]) -> dict[str, str]:
    """This computer's time zone, but only for a start that names none: an older daemon, which does not know
    the parameter, would refuse the file.
    """
    from hubctl.start_times import has_offset, local_zone

    schedule = spec.get("schedule")
    at = schedule.get("at") if isinstance(schedule, Mapping) else None
    return {"timezone": local_zone()} if isinstance(at, str) and not has_offset(at) else {}


def located(
    path: Path,
    source: str,
    faults: Sequence[tuple[str, str]],
    *,
    hint: str = "",
    texts: Mapping[str, Path] = MappingProxyType({}),
) -> Refused:
    """Faults as `FILE:LINE: key: problem`; the first is the message. `texts` as in `CampaignFile`."""
    lines = [f"{_place(path, source, texts, key)}: {problem}" for key, problem in faults]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return Refused(lines[0] + more, hint=hint, details=lines[1:])


def _place(path: Path, source: str, texts: Mapping[str, Path], key: str) -> str:
    inside = _IN_TEXT.fullmatch(key)
    name, number = (inside[1], int(inside[2])) if inside else (key, 1)
    if inside and name in texts:
        return f"{texts[name]}:{number}: {name}"
    line = line_of(source, name)
    if inside and line:
        value = source.split("\n")[line - 1].partition("=")[2].strip()
        # A line end right after the opening quotes is not part of the text.
        line += number - (value not in ('"""', "'''")) if value[:3] in ('"""', "'''") else 0
    where = f"{path}:{line}" if line else f"{path}"
    return f"{where}: {name}" if name else where


#: Where something is in a text, as the daemon says it.
_IN_TEXT = re.compile(r"(.+) line ([0-9]+)")


def _bad_toml(path: Path, source: str, fault: TomlFault) -> Refused:
    if not fault.line:
        return Refused(f"{path}: {fault}")
    text = source.split("\n")[fault.line - 1].strip()
    return Refused(
        f"{path}:{fault.line}: this is not TOML: {fault}",
        hint=fault.guess,
        details=[text if len(text) <= SHOWN else f"{text[:SHOWN]}…"] if text else [],
    )


def template_guess(problems: Sequence[str]) -> str:
    """What was probably meant by a field that cannot be read; "" if there is no guess."""
    for problem in problems:
        if "expected token 'end of print statement'" in problem:
            return "the name of a field cannot contain spaces: {{ first_name }}"
        if "unexpected '}'" in problem or "unexpected end of template, expected" in problem:
            return "write a field with two braces on each side: {{ first_name }}"
    return ""


# --- what the file refers to -------------------------------------------------------------------------------


def _inline_text(spec: dict[str, Any], folder: Path, faults: list[tuple[str, str]]) -> dict[str, Path]:
    """Replace the names of files with the texts in them. Returns the file of each, by its key."""
    texts: dict[str, Path] = {}
    for key in FILE_KEYS:
        part = key.removesuffix("_file")
        if key not in spec:
            if _names_a_file(folder, spec.get(part)):
                faults.append((part, f"is the name of a file in this folder; write it as {key} = ..."))
            continue
        name = spec.pop(key)
        if part in spec:
            faults.append((key, f"{part} is also given; keep only one of the two"))
            continue
        try:
            spec[part] = _text(_read_within(folder, name, TEXT_LIMIT), name)
            texts[part] = folder / str(name)
        except _Fault as fault:
            faults.append((key, fault.problem))
    return texts


def _names_a_file(folder: Path, text: object) -> bool:
    """Whether a text can only be the name of a file in the folder."""
    if not isinstance(text, str) or len(text) > 200 or not text.isprintable() or "." not in text:
        return False
    try:
        return (folder / text).is_file()
    except (OSError, ValueError):
        return False


def _enclose(spec: dict[str, Any], folder: Path, faults: list[tuple[str, str]]) -> list[Enclosure]:
    """The files of all keys that name some; they share one limit."""
    found: list[Enclosure] = []
    room = ATTACHMENTS_LIMIT
    for key, example in (("attachments", "flyer.pdf"), ("inline", "logo.png")):
        names = spec.get(key)
        if names is None:
            continue
        if not isinstance(names, list):
            faults.append((key, f'must be a list of file names such as ["{example}"]'))
            continue
        before = len(found)
        for name in names:
            try:
                content = _read_within(folder, name, room)
                if not content:
                    raise _Fault(f"{name} is empty")
            except _Fault as fault:
                faults.append((key, fault.problem))
                continue
            room -= len(content)
            found.append(_enclosure(str(name), content))
        spec[key] = [each.described() for each in found[before:]]
    return found


def read_attachments(names: Sequence[str]) -> list[Enclosure]:
    """Files to attach, anywhere on this machine. Raises Refused for the first that cannot be read."""
    found: list[Enclosure] = []
    room = ATTACHMENTS_LIMIT
    for name in names:
        try:
            content = _read_regular(Path(name), room, shown=name)
            if not content:
                raise _Fault(f"{name} is empty")
        except _Fault as fault:
            raise Refused(fault.problem) from None
        room -= len(content)
        found.append(_enclosure(Path(name).name, content))
    return found


def read_text(name: str) -> str:
    """A file with the text of a message, in UTF-8. Raises Refused."""
    try:
        return _text(_read_regular(Path(name), TEXT_LIMIT, shown=name), name)
    except _Fault as fault:
        raise Refused(fault.problem) from None


def _text(raw: bytes, name: object) -> str:
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise _Fault(f"{name} is not UTF-8; save it as UTF-8") from None


def _enclosure(name: str, content: bytes) -> Enclosure:
    kind, encoding = mimetypes.guess_type(name, strict=False)
    if kind is None or encoding is not None:  # "x.tar.gz" is guessed as tar, encoded
        kind = "application/octet-stream"
    digest = hashlib.sha256(content).hexdigest()
    return Enclosure(name=PurePosixPath(name).name, type=kind, sha256=digest, content=content)


def _read_within(folder: Path, name: object, limit: int) -> bytes:
    """The bytes of a regular file inside `folder`. Raises _Fault with a sentence for anything else."""
    if not isinstance(name, str) or not name:
        raise _Fault("must be the name of a file")
    if not name.isprintable():
        raise _Fault("a file name must not contain control characters")
    if Path(name).is_absolute() or PurePosixPath(name).is_absolute():
        raise _Fault(f"{name} is an absolute path; name a file in the campaign file's folder")
    if ".." in PurePosixPath(name).parts or ".." in Path(name).parts:
        raise _Fault(f"{name} leaves the campaign file's folder")
    root = folder.resolve()
    try:
        real = (root / name).resolve(strict=True)
    except FileNotFoundError:
        raise _Fault(f"{name} does not exist") from None
    except (OSError, RuntimeError) as error:  # a loop of links, a name too long
        raise _Fault(f"{name} cannot be read: {_reason(error)}") from None
    if not real.is_relative_to(root):
        raise _Fault(f"{name} is a link that leaves the campaign file's folder")
    return _read_regular(real, limit, shown=name)


def _read_regular(path: Path, limit: int, *, shown: str = "") -> bytes:
    """The bytes of a regular file of at most `limit` bytes; never waits for a pipe or a device."""
    name = f"{shown} " if shown else ""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise _Fault(f"{name}does not exist" if name else "there is no such file") from None
    except OSError as error:
        raise _Fault(f"{name}cannot be read: {_reason(error)}") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _Fault(f"{name or 'this '}is {_kind(status.st_mode)}, not a file")
        if status.st_size > limit:
            raise _Fault(f"{name or 'this '}has {status.st_size:,} bytes; at most {limit:,} are allowed here")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) != status.st_size:
        raise _Fault(f"{name or 'this '}changed while it was read; try again")
    return content


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a device or a socket"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _plain(value: Any, path: str, faults: list[tuple[str, str]]) -> Any:
    """TOML values as JSON values: dates and times become text."""
    if isinstance(value, dict):
        return {key: _plain(each, f"{path}.{key}" if path else key, faults) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, path, faults) for each in value]
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        faults.append((path, "must be a finite number"))
    return value


# --- finding lines -----------------------------------------------------------------------------------------


def line_of(source: str, key: str) -> int:
    """The line on which `key` ("retry.give_up", "lists[0]") is set; 0 when it is nowhere.

    A key inside an inline table is found at the line of the table; a missing key of a table at its header;
    a text of a file of its own at the key that names it.
    """
    lines = toml_text.key_lines(source)
    return toml_text.line_of(key, lines) or toml_text.line_of(f"{key}_file", lines)
