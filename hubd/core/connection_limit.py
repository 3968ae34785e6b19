"""How many connections a server accepts at a time, as far as it has shown.

A server that refuses a connection while others of the same account work has a limit: the number of
connections that were open then. One more is tried after a wait that doubles with each refusal.

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
    probe_at: float = 0.0  #: when one more connection may be tried
    wait: float = FIRST_WAIT  #: seconds of the current wait; the next refused probe doubles it


def after_refusal(limit: ConnectionLimit, connected: int, now: float, *, probe: bool) -> ConnectionLimit:
    """A connection was refused while `connected` others were open; `probe`: it was beyond the limit."""
    connected = max(1, connected)
    if probe and limit.found is not None and connected >= limit.found:
        wait = min(2.0 * limit.wait, LONGEST_WAIT)
    elif limit.found is None or connected < limit.found:
        wait = FIRST_WAIT
    else:
        wait = limit.wait  # one of several that were tried together
    return ConnectionLimit(found=connected, probe_at=now + wait, wait=wait)


def after_connect(limit: ConnectionLimit, connected: int, now: float, *, configured: int) -> ConnectionLimit:
    """`connected` connections are open now. If all that are `configured` are, the limit is gone."""
    if limit.found is None or connected <= limit.found:
        return limit
    if connected >= configured:
        return ConnectionLimit()
    return replace(limit, found=connected, probe_at=now + FIRST_WAIT, wait=FIRST_WAIT)
