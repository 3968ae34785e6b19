"""Saving figures, recipients and contacts as CSV: what `hubctl` writes, in a file that the person chooses.

A window asks for the place itself, because not every web view can download; a browser fetches the file. It is
complete before it is handed over: an error is reported instead of a part that looks like all of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hubd.client import Place
from hubd.errors import BadInput, HubError
from hubview.hubctl_process import error_of, hubctl_command

MAX_NAME = 120  #: characters
BOM = b"\xef\xbb\xbf"  #: by which a spreadsheet knows that the text is UTF-8
Choose = Callable[[str], Path | None]  #: asks where to save a file of this name; None: nowhere
Write = Callable[[IO[bytes]], None]


class Saving:
    """Writes files for the page. `choose` is set where there is a window to ask in."""

    def __init__(self, place: Place) -> None:
        self.choose: Choose | None = None
        self._place = place

    def save(self, keep: Callable[[str, IO[bytes]], str], wanted: object) -> Mapping[str, object]:
        """Write what the page wants: `{saved: path}`, `{saved: None}` if the person changed their mind, or
        `{path, name}` for a browser to fetch, for which `keep` keeps the file. Raises `HubError`.
        """
        name, write = self._read(wanted)
        if self.choose is None:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - open until it was fetched
            try:
                write(file)
            except BaseException:
                file.close()
                raise
            return {"path": keep(name, file), "name": name}
        path = self.choose(name)
        if path is None:
            return {"saved": None}
        try:
            _replace(path, write)
        except OSError as exc:
            raise HubError(
                f"{path} cannot be written: {exc.strerror}", code="not_saved", hint="choose another folder"
            ) from None
        return {"saved": str(path)}

    def _read(self, wanted: object) -> tuple[str, Write]:
        """The name of the file, and what writes it."""
        match wanted:
            case {"kind": "text", "name": str(name), "text": str(text)}:
                return file_name(name), lambda file: _write_text(file, text)
            case {"kind": "report", "since": str(since), "until": str(until), "label": str(label)}:
                given = {"since": since, "until": until, "label": label}
                options = [f"--{name}={value}" for name, value in given.items() if value]
                return file_name(f"report-{label or 'all'}-{since}.csv"), self._hubctl(["report", *options])
            case {"kind": "recipients", "campaign": str(name), "states": list(states)}:
                each = [_state(state) for state in states] or [""]
                commands = [
                    ["deliveries", *([f"--state={state}"] if state else []), "--", name] for state in each
                ]
                which = "recipients" if not states else each[0] if len(each) == 1 else "not-delivered"
                return file_name(f"{name}-{which}.csv"), self._hubctl(*commands)
            case {"kind": "contacts", "list": str(name)}:
                options = [f"--list={name}"] if name else []
                return file_name(f"{name or 'contacts'}.csv"), self._hubctl(["contacts", "export", *options])
        raise BadInput.at("kind", "must be something that can be saved")

    def _hubctl(self, *commands: Sequence[str]) -> Write:
        """What writes their CSV one after another, with a single line of titles."""

        def write(file: IO[bytes]) -> None:
            file.write(BOM)
            for number, command in enumerate(commands):
                self._run(command, file, titles=number == 0)

        return write

    def _run(self, command: Sequence[str], file: IO[bytes], *, titles: bool) -> None:
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(  # noqa: S603 - a program of ours; each value is part of its option
                    hubctl_command(self._place, "--output", "csv", *command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                )
            except OSError:
                raise HubError("hubctl could not be run", code="not_run", hint="hubctl report") from None
            with process:
                assert process.stdout is not None
                if not titles:
                    process.stdout.readline()
                shutil.copyfileobj(process.stdout, file)
            if process.returncode != 0:
                said.seek(0)
                raise error_of(said.read().decode("utf-8", "replace"))


def _state(state: Any) -> str:
    if not isinstance(state, str) or not state:
        raise BadInput.at("states", "must be texts")
    return state


def file_name(name: str) -> str:
    """A name for a file on any system: none of the characters that some do not allow."""
    plain = "".join(char if char.isalnum() or char in "._-" else "-" for char in name)
    return plain.lstrip(".-")[:MAX_NAME] or "file"


def _write_text(file: IO[bytes], text: str) -> None:
    file.write(text.encode("utf-8", "replace"))


def _replace(path: Path, write: Write) -> None:
    """Write the file beside its place, readable for its owner, and put it there when it is complete."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".hubview-", delete=False) as file:
        try:
            write(file)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
