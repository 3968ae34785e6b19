"""AWS keys: those in hubd.toml, or those that the standard chain of AWS finds.

The chain (environment, profile, single sign-on, web identity, container, role of the instance) is botocore's.
It is imported late and used in threads, since each step of the chain may read files or ask a server. Keys
that expire are renewed ten minutes before they do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

from hubd.core.provider_reply import one_line
from hubd.errors import CredentialMissing
from hubd.providers.aws.signing import Keys
from hubd.transports.secret_reader import SecretReader

T = TypeVar("T")

#: Seconds before they expire at which keys are renewed.
RENEW_BEFORE = 600
#: Seconds that finding keys may take: asking for an instance's role times out after a second, twice.
FIND_SECONDS = 30.0
#: Seconds after which a renewal that failed is tried again, while the keys are still good.
TRY_AGAIN = 30.0

NEEDS_BOTOCORE = "without access_key_id and secret_access_key, the keys come from the standard AWS chain"
INSTALL = "To read it, install botocore: pip install 'messagehubd[aws]'. Or set both keys in hubd.toml."


class KeySource(Protocol):
    """Where the keys come from. Shared by the connections of a provider."""

    @property
    def due(self) -> bool:
        """Whether `keys` would have to wait for them."""
        ...

    async def keys(self) -> Keys:
        """The keys that are valid now. Raises `CredentialMissing`."""
        ...

    async def renewed(self, refused: Keys) -> Keys | None:
        """Other keys than those that the service refused; None if there are no others."""
        ...


class GivenKeys:
    """The keys of hubd.toml."""

    def __init__(self, access_key_id: str, read_secret: SecretReader) -> None:
        self._access_key_id, self._read_secret = access_key_id, read_secret
        self._keys: Keys | None = None
        self._reading = trio.Lock()

    @property
    def due(self) -> bool:
        """Whether the secret has not been read yet."""
        return self._keys is None

    async def keys(self) -> Keys:
        """The keys as they were last read. Raises `CredentialMissing`."""
        async with self._reading:
            if self._keys is None:
                self._keys = await self._read()
            return self._keys

    async def renewed(self, refused: Keys) -> Keys | None:
        """The secret may have been replaced after it was read."""
        async with self._reading:
            if self._keys == refused:  # otherwise it has been read again meanwhile
                try:
                    self._keys = await self._read()
                except CredentialMissing:
                    return None
            return self._keys if self._keys != refused else None

    async def _read(self) -> Keys:
        secret = await self._read_secret()
        return Keys(access_key_id=self._access_key_id, secret_access_key=secret)


class ChainKeys:
    """The keys that botocore's chain finds, renewed before they expire."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._problems: tuple[type[Exception], ...] = ()
        self._found: Any = None  # botocore's credentials, which renew themselves when they are asked
        self._keys: Keys | None = None
        self._again_at = float("-inf")
        self._finding = trio.Lock()

    @property
    def due(self) -> bool:
        """Whether the keys have not been looked for yet, or expire soon and were not asked for just now."""
        return self._keys is None or (self._expire_in(RENEW_BEFORE) and self._clock() >= self._again_at)

    async def keys(self) -> Keys:
        """The keys that hold now. Raises `CredentialMissing`."""
        if self._keys is not None and not self.due:
            return self._keys
        async with self._finding:
            if self._keys is None:
                self._keys = await self._in_thread(self._find)
            elif self.due:
                self._again_at = self._clock() + TRY_AGAIN
                try:
                    self._keys = await self._in_thread(self._frozen)
                except CredentialMissing:
                    if self._expire_in(0):
                        raise
            return self._keys

    async def renewed(self, refused: Keys) -> Keys | None:
        """What a new search finds: a file may have changed, or keys expired early."""
        async with self._finding:
            if self._keys == refused:
                try:
                    self._keys = await self._in_thread(self._find)
                except CredentialMissing:
                    return None
            return self._keys if self._keys != refused else None

    def _expire_in(self, seconds: float) -> bool:
        """Whether the keys expire within this many seconds."""
        needs = getattr(self._found, "refresh_needed", None)  # those that never expire have none
        return needs is not None and bool(needs(seconds))

    async def _in_thread(self, find: Callable[[], T]) -> T:
        with trio.move_on_after(FIND_SECONDS):
            return await trio.to_thread.run_sync(find, abandon_on_cancel=True)
        raise CredentialMissing(f"{NEEDS_BOTOCORE}, which did not answer within {FIND_SECONDS:g} s")

    def _find(self) -> Keys:
        """Runs in a thread: the import alone takes a third of a second."""
        try:
            import botocore.exceptions
            import botocore.session
        except ImportError:
            raise CredentialMissing(
                f"{NEEDS_BOTOCORE}, and botocore is not installed", hint=INSTALL
            ) from None
        logging.getLogger("botocore").setLevel(logging.CRITICAL)  # the error says what failed
        #: What the chain fails with; a RuntimeError means that the keys it got had expired already.
        self._problems = (
            botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError, RuntimeError
        )  # fmt: skip
        try:
            found = botocore.session.Session().get_credentials()
        except self._problems as problem:
            raise self._missing(problem) from None
        if found is None:
            raise CredentialMissing(
                f"{NEEDS_BOTOCORE}, which has none",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run: aws configure",
            )
        self._found = found
        return self._frozen()

    def _frozen(self) -> Keys:
        try:
            frozen = self._found.get_frozen_credentials()
        except self._problems as problem:
            raise self._missing(problem) from None
        return Keys(
            access_key_id=frozen.access_key,
            secret_access_key=frozen.secret_key,
            session_token=frozen.token or "",
        )

    def _missing(self, problem: Exception) -> CredentialMissing:
        return CredentialMissing(
            f"{NEEDS_BOTOCORE}, which failed: {type(problem).__name__}: {one_line(str(problem))}",
            hint="Check it with: aws sts get-caller-identity",
        )
