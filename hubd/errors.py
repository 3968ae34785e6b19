"""Every error this program raises on purpose.

    HubError
     +-- BadInput                 what was handed in cannot be used
     |    +-- BadTemplate         a template that does not compile, or a field it lacks
     |    +-- BadConfig           hubd.toml cannot be used
     +-- NotFound                 no such campaign, contact, delivery, list or provider
     +-- Conflict                 it clashes with what is there
     |    +-- InvalidTransition   the state machine has no such arrow
     |    +-- RevisionConflict    somebody else changed it first
     +-- PreflightFailed          a campaign is not ready to start
     |    +-- CreditsShort        its account has too few credits
     +-- ProviderUnavailable      a provider cannot be used now
     +-- CredentialMissing        a secret that the config refers to is not there
     +-- ResumeGap                an event cursor that cannot be resumed from
     +-- SourceUnavailable        what came back cannot be fetched now
     +-- StoreError
     |    +-- StoreUnavailable    the disk is full or failing; it may pass
     |    +-- StoreUnusable       the file is not a database of ours that we can use
     +-- Unreachable              (client) no daemon answers
     +-- VersionSkew              client and daemon speak different protocol versions
     +-- ShuttingDown             the daemon is stopping

`code` is a stable word for programs, `hint` says what to do next, `data` has the details. Messages are
written for people: they never contain a secret, an address or a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

_LONGEST_WORD = 64  #: characters; nobody meant a known one by a longer one


class HubError(Exception):
    """Base of all. `str()` is one sentence for people."""

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        data: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.hint = hint
        self.data: dict[str, object] = dict(data or {})


class BadInput(HubError):
    """The input is invalid; `data["errors"]` lists path and problem of each error."""

    code = "bad_input"

    @classmethod
    def at(cls, path: str, problem: str, *, hint: str = "") -> Self:
        """One fault at one place."""
        return cls.of([(path, problem)], hint=hint)

    @classmethod
    def of(cls, faults: Sequence[tuple[str, str]], *, hint: str = "") -> Self:
        """Several faults at once; the first is the message."""
        path, problem = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        listed = [{"path": where, "problem": what} for where, what in faults]
        return cls(
            f"{path}: {problem}{more}" if path else f"{problem}{more}", hint=hint, data={"errors": listed}
        )


class BadTemplate(BadInput):
    """A template that does not compile (`bad_template`) or a field it lacks (`missing_field`)."""

    code = "bad_template"


class BadConfig(BadInput):
    """hubd.toml cannot be used: file, line, key, and never a value."""

    code = "bad_config"


class NotFound(HubError):
    """No such thing; `code` says which kind of thing."""

    code = "campaign_not_found"


class Conflict(HubError):
    """It conflicts with the current state."""

    code = "conflict"


class InvalidTransition(Conflict):
    """The state machine has no such transition; `data` has `from`, `requested` and `allowed`."""

    code = "invalid_transition"


class RevisionConflict(Conflict):
    """Somebody else changed it first; `data["current"]` is the revision now."""

    code = "revision_conflict"


class PreflightFailed(HubError):
    """A campaign is not ready to start; `data["problems"]` lists risk and problem."""

    code = "preflight_failed"


class CreditsShort(PreflightFailed):
    """An account has too few credits; `data` has `account`, `needed`, `available` and `missing`."""

    code = "credits_short"


class ProviderUnavailable(HubError):
    """A provider cannot be used now."""

    code = "provider_unavailable"


class CredentialMissing(HubError):
    """A secret that the configuration refers to cannot be read."""

    code = "credential_missing"


class ResumeGap(HubError):
    """An event cursor that cannot be resumed from; `data["oldest_seq"]` is the oldest kept."""

    code = "resume_gap"


class SourceUnavailable(HubError):
    """A mailbox, a queue or a list of a provider cannot be read now.

    `data["person"]` is whether somebody has to do something about it, such as renew a password; with
    `data["told"]` it is told at once although it may pass.
    """

    code = "source_unavailable"


class StoreError(HubError):
    """The database cannot do what was asked."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The disk is full or failing. Sending has stopped; it continues automatically once the cause is gone."""

    code = "store_unavailable"


class StoreUnusable(StoreError):
    """The file is not a database that this version can use. It was not changed."""

    code = "store_unusable"

    def __init__(self, message: str, *, exit_status: int = 78, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status


class Unreachable(HubError):
    """No daemon answers at the socket; `code` says why."""

    code = "unreachable"


class VersionSkew(HubError):
    """Client and daemon speak different protocol versions."""

    code = "protocol_unsupported"


class ShuttingDown(HubError):
    """The daemon is stopping and accepts no more commands."""

    code = "shutting_down"


def nearest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """The one of the known words that was probably meant; "" if none is near.

    `likeness`, from 0 to 1, is how much of it must be alike (see `difflib`); the beginning of a word will do.
    """
    import difflib  # only here: it makes every start slower

    if len(word) > _LONGEST_WORD:
        return ""
    words = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), words, 1, likeness)
    near = near or [each for each in words if len(word) >= 3 and each.startswith(word.lower())]
    return words[near[0]] if near else ""


def did_you_mean(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """ "; did you mean X?", or "" if none of the known words is near."""
    near = nearest(word, known, likeness=likeness)
    return f"; did you mean {near}?" if near else ""
