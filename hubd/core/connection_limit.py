"""How many connections a server takes at a time, as far as it has shown.

A server that refuses a connection while others of the same account work has a limit. It is the number of
connections that stood then; one more is tried now and then, after a wait that doubles with each refused try.

Pure: a `ConnectionLimit` is a value, each function returns another one. Times are seconds on any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Seconds from a refused connection to the next try of one more, at first and at most.
FIRST_WAIT = 2.0
LONGEST_WAIT = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimit:
    """The limit that was found, and when one more connection may be tried."""

    found: int | None = None  #: connections at a time; None while none was refused
    probe_at: float = 0.0  #: when one more may be tried
    wait: float = FIRST_WAIT  #: seconds that the next refused probe leads to, before they are doubled


def after_refusal(limit: ConnectionLimit, standing: int, now: float, *, probe: bool) -> ConnectionLimit:
    """A connection was refused while `standing` others stood; `probe`: it was tried beyond the limit."""
    standing = max(1, standing)
    if probe and limit.found is not None and standing >= limit.found:
        wait = min(2.0 * limit.wait, LONGEST_WAIT)
    elif limit.found is None or standing < limit.found:
        wait = FIRST_WAIT
    else:
        wait = limit.wait  # one of several that were under way together
    return ConnectionLimit(found=standing, probe_at=now + wait, wait=wait)


def after_connect(limit: ConnectionLimit, standing: int, now: float, *, configured: int) -> ConnectionLimit:
    """`standing` connections stand now. There is no limit any more when it is all that are `configured`."""
    if limit.found is None or standing <= limit.found:
        return limit
    if standing >= configured:
        return ConnectionLimit()
    return replace(limit, found=standing, probe_at=now + FIRST_WAIT, wait=FIRST_WAIT)
