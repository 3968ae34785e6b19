"""Where `provider add` keeps a password: in the desktop's keyring, else in a private file beside hubd.toml.

The value is only ever handed over; nothing here prints it, and no error quotes what a keyring said.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from hubctl.exits import Exit, Refused
from hubd.files import replace_file

T = TypeVar("T")
Kind = Literal["keyring", "file"]

SERVICE = "messagehub"  #: what hubd looks under
KEYRING_TIMEOUT = 3.0  #: seconds; a locked keyring waits for somebody who may not be there
_SPELLINGS = 100  #: names that are tried when one is taken


class _NoKeyring(Exception):
    """It cannot be used now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A secret that hubd can find again: `{ keyring = "office" }` or `{ file = "office.pass" }`."""

    kind: Kind
    name: str
    folder: Path  #: of hubd.toml, which file names are relative to

    @property
    def reference(self) -> dict[str, str]:
        """What hubd.toml says."""
        return {self.kind: self.name}

    @property
    def where(self) -> str:
        """For people."""
        if self.kind == "keyring":
            return f"in this desktop's keyring as {SERVICE} {self.name}"
        return f"in {self.folder / self.name}, which only you can read"

    def change(self, secret: str) -> None:
        """Keep another secret in the same place. Raises Refused."""
        if self.kind == "file":
            _replace(self.folder / self.name, secret)
            return
        try:
            _in_time(lambda: _put(self.name, secret))
        except _NoKeyring:
            raise Refused("the keyring no longer answers", hint="unlock it and try again") from None

    def forget(self) -> bool:
        """Remove it. False when it could not be removed, or was gone already."""
        if self.kind == "file":
            try:
                (self.folder / self.name).unlink()
            except OSError:
                return False
            return True
        try:
            _in_time(lambda: _remove(self.name))
        except _NoKeyring:
            return False
        return True


def keep(secret: str, name: str, folder: Path, *, kind: Kind | None = None) -> Kept:
    """Keep a secret under a name like `name`, in the keyring when `kind` does not say otherwise and there is
    one that answers in time. Raises Refused when it can be kept nowhere. Nothing is overwritten.
    """
    if kind != "file":
        try:
            found = _in_time(lambda: _keep_in_keyring(secret, name))
            return Kept(kind="keyring", name=found, folder=folder)
        except _NoKeyring:
            if kind == "keyring":
                raise Refused(
                    "there is no usable keyring", hint="leave out --secret-in to store it in a file"
                ) from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, _SPELLINGS):
        file = f"{name}.pass" if number == 1 else f"{name}-{number}.pass"
        with suppress(FileExistsError):
            _create(folder / file, secret)
            return Kept(kind="file", name=file, folder=folder)
    raise Refused(f"{folder} is full of password files of {name}", status=Exit.CONFLICT)


def ours(reference: object, name: str, folder: Path) -> Kept | None:
    """The secret behind a reference of the provider `name`, when it looks like one that `keep` made."""
    if not isinstance(reference, Mapping):
        return None
    ends: tuple[tuple[Kind, str], ...] = (("keyring", ""), ("file", ".pass"))
    for kind, end in ends:
        where = reference.get(kind)
        if isinstance(where, str) and re.fullmatch(rf"{re.escape(name)}(-[0-9]+)?{re.escape(end)}", where):
            return Kept(kind=kind, name=where, folder=folder)
    return None


def _create(path: Path, secret: str) -> None:
    """Write a new file that only we can read. Raises FileExistsError, Refused."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600))
    except FileExistsError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        _replace(path, secret)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _replace(path: Path, secret: str) -> None:
    """Write a file that only we can read. Raises Refused, and then the old one stays."""
    try:
        replace_file(path, secret.encode() + b"\n")
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> Refused:
    return Refused(f"{path} cannot be written: {(error.strerror or 'no reason').lower()}")


def _in_time(work: Callable[[], T]) -> T:
    """The result of `work` on the keyring. Raises _NoKeyring when it fails or does not end in time: its
    thread is left behind then, for there is no way to stop it.
    """
    answers: list[T] = []

    def ask() -> None:
        with suppress(Exception):  # backends raise what they like, and their words may hold anything
            answers.append(work())

    thread = threading.Thread(target=ask, name="keyring", daemon=True)
    thread.start()
    thread.join(KEYRING_TIMEOUT)
    if not answers:
        raise _NoKeyring
    return answers[0]


def _keep_in_keyring(secret: str, name: str) -> str:
    """The name it has there now. Somebody else's entry is not touched."""
    import keyring

    for number in range(1, _SPELLINGS):
        entry = name if number == 1 else f"{name}-{number}"
        if keyring.get_password(SERVICE, entry) is None:
            _put(entry, secret)
            return entry
    raise _NoKeyring


def _put(entry: str, secret: str) -> None:
    import keyring

    keyring.set_password(SERVICE, entry, secret)
    if keyring.get_password(SERVICE, entry) != secret:  # some backends take everything and keep nothing
        raise _NoKeyring


def _remove(entry: str) -> None:
    import keyring

    keyring.delete_password(SERVICE, entry)
