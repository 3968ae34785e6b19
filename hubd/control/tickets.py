"""Tokens that let a connection in where the kernel does not say who calls: on TCP.

A ticket is issued over the unix socket, and a web page presents it to the TCP listener. It is good once, for
a minute at most, for one role and for pages of one Origin. A client that uses a ticket is given a session
token to reconnect with when the connection breaks: it has the same limits, changes at every greeting, and
expires five minutes after its connection. Programs other than browsers may be given a permanent token.

Only hashes are kept, in memory: nothing here outlives the daemon, and a core dump shows no token.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hubd.control.roles import Role
from hubd.errors import HubError

MAX_TTL = 60.0  #: seconds within which a ticket must be used
RECONNECT_SECONDS = 300.0  #: how long a session token outlives its connection
MAX_TICKETS = 256  #: issued and not used yet
MAX_VIEWERS_TICKETS = 192  #: of them, those requested by viewers
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token permits. Without an Origin it is only for programs that are not browsers."""

    role: Role
    origin: str | None
    issuer: str  #: who requested it, for the audit trail
    gets_tickets: bool = False  #: whether its holder may request tickets, as over a unix socket


@dataclass(slots=True, eq=False)
class _Entry:
    digest: bytes
    grant: Grant
    until: float
    once: bool  #: a ticket: gone once it has been presented
    renewable: bool = True  #: False: its holder can reconnect with it and needs no other
    by: Role = Role.OPERATOR  #: who requested it


class Tickets:
    """All tokens of this daemon. `now` is a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: list[_Entry] = []

    def issue(self, grant: Grant, ttl: float, *, by: Role = Role.OPERATOR) -> str:
        """A ticket that is good for `ttl` seconds, requested by a client with the role `by`.

        Raises `HubError` (rate_limited) when too many are unused; some are reserved for operators.
        """
        self._forget_old()
        waiting = [entry.by for entry in self._entries if entry.once]
        theirs = waiting.count(Role.VIEWER)
        if len(waiting) >= MAX_TICKETS or (by is Role.VIEWER and theirs >= MAX_VIEWERS_TICKETS):
            raise HubError(
                f"{len(waiting)} issued tickets have not been used",
                code="rate_limited",
                hint="use one, or wait a minute until they expire",
            )
        ticket = self._add(grant, self._now() + min(ttl, MAX_TTL), once=True)
        self._entries[-1].by = by
        return ticket

    def permanent(self, grant: Grant) -> str:
        """A token that is good as long as the daemon runs."""
        return self._add(grant, math.inf, renewable=False)

    def admit(self, token: str, origin: str | None) -> Admission | None:
        """Admit a client with a token for this Origin; None if it is unknown, used, expired or for another.

        A presented ticket is used up, even if it is refused: its holder should not have it.
        """
        self._forget_old()
        digest, found = _digest(token), None
        for entry in self._entries:  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        if found is None:
            return None
        if found.once:
            self._entries.remove(found)
        return Admission(self, found) if found.grant.origin == origin else None

    def admission(self, grant: Grant) -> Admission:
        """Admit a client by other, lasting credentials that stand for `grant`."""
        return Admission(self, _Entry(b"", grant, math.inf, once=False, renewable=False))

    def good_until(self) -> float:
        """When the last ticket or session token expires; infinity while a connection holds one."""
        return max((entry.until for entry in self._entries if entry.renewable), default=-math.inf)

    def replace(self, entry: _Entry) -> tuple[_Entry, str]:
        """A session token in place of this one, or of a used ticket. See `Admission.renew`."""
        if entry in self._entries:
            self._entries.remove(entry)
        elif not entry.once:
            raise HubError(
                "this session token was used by another connection",
                code="unauthenticated",
                hint="get a new ticket: auth.ticket",
            )
        token = self._add(entry.grant, math.inf)
        return self._entries[-1], token

    def let_die(self, entry: _Entry) -> None:
        """Let a session token expire: the connection that holds it is over."""
        entry.until = self._now() + RECONNECT_SECONDS

    def _forget_old(self) -> None:
        now = self._now()
        self._entries = [entry for entry in self._entries if entry.until > now]

    def _add(self, grant: Grant, until: float, *, once: bool = False, renewable: bool = True) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._entries.append(_Entry(_digest(token), grant, until, once, renewable))
        return token


class Admission:
    """One connection that was admitted by a token."""

    def __init__(self, tickets: Tickets, entry: _Entry) -> None:
        self.grant = entry.grant
        self._tickets = tickets
        self._entry = entry  #: the token to reconnect with
        self._renewed = False

    def renew(self) -> str | None:
        """The token to reconnect with; the one before is void. None: the one it used stays valid.

        Raises `HubError` (unauthenticated) when another connection used the same token and renewed it.
        """
        if not self._entry.renewable:
            return None
        self._entry, token = self._tickets.replace(self._entry)
        self._renewed = True
        return token

    def end(self) -> None:
        """The connection is over: the token that it was given stays valid for a while."""
        if self._renewed:
            self._tickets.let_die(self._entry)


class Frequency:
    """How often something happened lately. `now` is a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float], *, limit: int = 5) -> None:
        self.limit = limit
        self._now = now
        self._times: deque[float] = deque(maxlen=limit + 1)

    def count(self) -> int:
        """Count one more. Returns how many there were in the last minute, at most one above the limit."""
        now = self._now()
        while self._times and self._times[0] <= now - 60.0:
            self._times.popleft()
        self._times.append(now)
        return len(self._times)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
