"""Passwords and tokens: references in hubd.toml, resolved late, and a value that does not show itself.

A secret is read again for each login and kept no longer, so that one that was replaced needs no restart. A
locked keyring cannot keep the daemon from starting. Between two readings only a fingerprint is kept, which
tells whether the secret is another one. Four places, in the order of preference: a systemd
credential, a file that only its owner can read, the desktop's keyring, the environment.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shlex
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hubd.errors import CredentialMissing
from hubd.files import decoded
from hubd.ownership import find_weakness, folder_owner

KEYRING_SERVICE = "messagehub"
KEYRING_TIMEOUT = 3.0  #: seconds; a keyring that asks somebody for its own password must not hang the daemon
MAX_SECRET_BYTES = 64 * 1024

#: As far as the system has them. Without O_NONBLOCK a FIFO in place of the file would block.
_OPEN_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))

#: Of this process: a fingerprint is useless outside it.
_FINGERPRINT_KEY = secrets.token_bytes(32)
#: Threads that still wait for the keyring, at most one per entry, because they cannot be stopped.
_asking: dict[str, _Question] = {}
_warned: set[str] = set()

log = logging.getLogger(__name__)


class Secret:
    """A value that is only given by `reveal`. Printing, formatting, copying and comparing never show it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the one call that needs it."""
        return self._value

    @property
    def fingerprint(self) -> bytes:
        """Equal for equal secrets, and useless for anything but comparing them in this process."""
        return hashlib.blake2b(self._value.encode(), key=_FINGERPRINT_KEY, digest_size=16).digest()

    def __repr__(self) -> str:
        return "Secret('********')"

    def __str__(self) -> str:
        return "********"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a secret is never written anywhere")


class Place(StrEnum):
    """The kinds of places a secret can be in; the words of hubd.toml."""

    FILE = "file"
    CREDENTIAL = "credential"
    KEYRING = "keyring"
    ENV = "env"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is: `{ file = "office.pass" }`. Holds no secret itself."""

    place: Place
    name: str  #: a path, the credential's name, the keyring's user name, or the variable's name

    def resolve(self, base: Path, *, environ: Mapping[str, str] | None = None) -> Secret:
        """Read the secret now; paths are relative to `base`, the folder of hubd.toml.

        May block for three seconds on a keyring, so call it in a thread. Raises CredentialMissing, which
        says where it looked and what to do, and never what it found.
        """
        env = os.environ if environ is None else environ
        match self.place:
            case Place.FILE:
                value = _from_file(base / self.name)
            case Place.CREDENTIAL:
                value = _from_credential(self.name, env)
            case Place.KEYRING:
                value = _from_keyring(self.name)
            case Place.ENV:
                value = _from_environment(self.name, env)
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise CredentialMissing(f"{self}: it is empty")
        if any(char in value for char in "\0\r\n"):
            raise CredentialMissing(f"{self}: it has more than one line", hint="Keep only the secret in it.")
        return Secret(value)

    def __str__(self) -> str:
        return f"secret from {self.place} {self.name}"


def _from_file(path: Path) -> str:
    """The text of a private file. Symbolic links are refused, as is what others can read."""
    what = f"secret file {path}"
    if path.is_symlink():  # for a clear message; O_NOFOLLOW is what holds
        raise CredentialMissing(f"{what}: is a symbolic link", hint="Name the file itself.")
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "cannot be opened"
        hint = f"Create it: install -m 600 /dev/null {shlex.quote(str(path))}"
        raise CredentialMissing(f"{what}: {reason}", hint=hint) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CredentialMissing(f"{what}: is not a regular file")
        if os.name == "posix" and status.st_mode & 0o077:
            raise CredentialMissing(
                f"{what}: can be read by others", hint=f"chmod 600 {shlex.quote(str(path))}"
            )
        if os.name == "posix" and status.st_uid not in (0, os.geteuid()):
            raise CredentialMissing(
                f"{what}: belongs to another user", hint=f"chown it to uid {os.geteuid()}"
            )
        if (weakness := find_weakness(path, also=[folder_owner(path)])) is not None:
            raise CredentialMissing(f"{what}: {weakness.problem}", hint=weakness.remedy)
        return _text(os.read(descriptor, MAX_SECRET_BYTES + 1), what)
    finally:
        os.close(descriptor)


def _from_credential(name: str, environ: Mapping[str, str]) -> str:
    """A systemd credential (systemd.exec, CREDENTIALS). systemd itself guards that folder."""
    what = f"credential {name}"
    folder = environ.get("CREDENTIALS_DIRECTORY")
    hint = f"Add LoadCredential={name}:/path to the unit, or use {{ file = ... }} outside of systemd."
    if not folder:
        raise CredentialMissing(f"{what}: there is no $CREDENTIALS_DIRECTORY", hint=hint)
    try:
        with open(Path(folder, name), "rb") as file:
            return _text(file.read(MAX_SECRET_BYTES + 1), what)
    except OSError as error:
        raise CredentialMissing(f"{what}: {error.strerror or 'cannot be read'}", hint=hint) from None


def _from_keyring(name: str) -> str:
    """The password that the desktop's keyring has for this user name of the service `messagehub`.

    The thread that asks is left behind when the keyring does not answer in time: there is no way to stop it.
    Other callers that want the same entry wait for that thread.
    """
    question = _asking.get(name)
    if question is None or not question.thread.is_alive():
        question = _asking[name] = _Question(name)
    question.thread.join(KEYRING_TIMEOUT)
    if not question.thread.is_alive():
        _asking.pop(name, None)
    answer, trouble = question.answer, question.trouble
    what = f"keyring entry {name}"
    if trouble:
        raise CredentialMissing(
            f"{what}: the keyring cannot be used ({trouble[0]})", hint="Use { file = ... }."
        )
    if not answer:
        raise CredentialMissing(
            f"{what}: the keyring did not answer in {KEYRING_TIMEOUT:g} s",
            hint="Unlock it, or use { file = ... } for a service without a desktop.",
        )
    if answer[0] is None:
        raise CredentialMissing(f"{what}: not there", hint=f"keyring set {KEYRING_SERVICE} {name}")
    return answer[0]


class _Question:
    """A question to the keyring, asked in a thread of its own."""

    def __init__(self, name: str) -> None:
        self.answer: list[str | None] = []
        self.trouble: list[str] = []
        self._name = name
        self.thread = threading.Thread(target=self._ask, name="keyring", daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        try:
            import keyring

            self.answer.append(keyring.get_password(KEYRING_SERVICE, self._name))
        except Exception as error:  # backends raise what they like, and their words may hold anything
            self.trouble.append(type(error).__name__)


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if value is None:
        raise CredentialMissing(
            f"environment variable {name}: not set", hint="Set it, or use { file = ... }."
        )
    if name not in _warned:
        _warned.add(name)
        log.warning("a secret comes from the environment variable %s, which other processes may see", name)
    return value


def _text(data: bytes, what: str) -> str:
    if len(data) > MAX_SECRET_BYTES:
        raise CredentialMissing(f"{what}: is larger than {MAX_SECRET_BYTES // 1024} KiB")
    try:
        return decoded(data)
    except UnicodeDecodeError:
        raise CredentialMissing(f"{what}: is not UTF-8 text") from None
