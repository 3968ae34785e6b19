"""Secrets that are read again for each login, and the answer if that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hubd.core.model import Answer, Stage
from hubd.core.provider_reply import one_line
from hubd.errors import CredentialMissing

#: Gives the secret as it is now. Raises `CredentialMissing` with the key of hubd.toml in its message.
SecretReader = Callable[[], Awaitable[str]]


def unreadable_secret(problem: CredentialMissing, stage: Stage, code: int) -> Answer:
    """The answer that stops a provider until a person acts: nothing was sent because the secret is missing.

    `code` is what the provider itself would answer to a wrong one.
    """
    what_to_do = f" {problem.hint.rstrip('.')}." if problem.hint else ""
    return Answer(
        stage=stage,
        code=code,
        text=one_line(f"not logged in: {problem}"),
        detail=one_line(f"{problem}.{what_to_do}"),
    )
