"""A keyring in a file, for hubd and hubctl in tests: PYTHON_KEYRING_BACKEND=tests.apps.file_ring.FileRing.

The file is $RING. While there is a file $RING.locked, nothing comes back: it waits for somebody to unlock it.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import keyring.backend


class FileRing(keyring.backend.KeyringBackend):
    """Entries by service and user name."""

    priority = 1.0

    def _entries(self) -> dict[str, str]:
        path = Path(os.environ["RING"])
        if path.with_name(f"{path.name}.locked").exists():
            threading.Event().wait()
        found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def _keep(self, entries: dict[str, str]) -> None:
        path = Path(os.environ["RING"])
        path.touch(mode=0o600)
        path.write_text(json.dumps(entries))

    def get_password(self, service: str, username: str) -> str | None:
        return self._entries().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._keep({**self._entries(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        entries = self._entries()
        del entries[f"{service}/{username}"]
        self._keep(entries)
