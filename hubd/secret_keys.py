"""Keys of hubd.toml that refer to secrets, and the way to read one: in a thread, and within a time.

A keyring or a network file system may take its time, so one that hangs keeps only those waiting who need it.
"""

from __future__ import annotations

import trio

from hubd.config.file import HubConfig
from hubd.errors import CredentialMissing
from hubd.secrets import Secret, SecretRef

#: Readings of one secret at the same time, in threads that nothing else uses.
READERS = 2
#: Seconds that a reading may take; the keyring has a shorter limit of its own.
READ_SECONDS = 10.0


class SecretKey:
    """One key that refers to a secret."""

    def __init__(self, section: str, key: str, reference: SecretRef, config: HubConfig) -> None:
        """`section` is where the key is: "providers.office"."""
        self.key = key
        self.place = f"{reference.place} {reference.name}"
        self.reference = reference
        self._path = f"{section}.{key}"
        self._config = config
        self._readers = trio.CapacityLimiter(READERS)

    async def read(self) -> str:
        """The secret as it is now. Raises `CredentialMissing`, which names the key."""
        return (await self.secret()).reveal()

    async def secret(self) -> Secret:
        """The same with its fingerprint. Raises `CredentialMissing`."""
        with trio.move_on_after(READ_SECONDS):
            return await trio.to_thread.run_sync(self._resolve, abandon_on_cancel=True, limiter=self._readers)
        slow = f"{self.place}: could not be read within {READ_SECONDS:g} s"
        raise self._missing(CredentialMissing(slow, hint="check its file system"))

    def _resolve(self) -> Secret:
        try:
            return self.reference.resolve(self._config.folder)
        except CredentialMissing as problem:
            raise self._missing(problem) from None

    def _missing(self, problem: CredentialMissing) -> CredentialMissing:
        """The problem with its place in the configuration."""
        origin = self._config.layers.origin(self._path)
        fault = {
            "path": self._path,
            "problem": str(problem),
            "file": str(origin.file) if origin else "",
            "line": (origin.line or None) if origin else None,
        }
        return CredentialMissing(f"{self._path}: {problem}", hint=problem.hint, data={"errors": [fault]})
