"""What methods answer, as typed dicts: what all nouns share; the others are in `*_results`.

Times are RFC 3339 in UTC, or null; durations are seconds.
"""

# Without `from __future__ import annotations`: Python 3.14 would look them up in the modules that
# inherit from these.
from typing import NotRequired, TypedDict


class WouldChange(TypedDict):
    """What the command would do; in the answer to a dry run."""

    change: bool  #: whether anything would change
    state: NotRequired[str]  #: the campaign's, after it
    failed: NotRequired[int]  #: by `fail_refused`
    retried: NotRequired[int]  #: failures that would be queued again
    suppressed: NotRequired[int]  #: failures that would stay: their address is on the suppression list
    campaigns: NotRequired[list[str]]  #: that run through the provider
    address: NotRequired[str]  #: as addresses are compared
    decided: NotRequired[int]  #: those in doubt about which it would be decided
    running: NotRequired[int]  #: campaigns that would go on when the daemon starts again
    keys: NotRequired[list[str]]  #: of the configuration that would have another value


class Done(TypedDict):
    """Whether anything changed; already in the wanted state is success."""

    changed: bool
    would: NotRequired[WouldChange]  #: in the answer to a dry run
