"""Who calls and what they may: viewers read, operators also change. Pure.

The role comes from how a client connects, never from what it says about itself: on a unix socket from the
socket it connects to (whose mode and group say who may do that), on TCP from the ticket. The uid is for the
audit trail; in a user namespace the kernel shows all foreign uids as one, so no permission depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hubd.errors import HubError


class Role(StrEnum):
    """What a connection may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"

    def may(self, needed: Role) -> bool:
        """Whether this role includes the other."""
        return self is Role.OPERATOR or needed is Role.VIEWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end: the listener, and on a unix socket what the kernel says."""

    role: Role
    listener: str  #: "control", "observe" or "tcp"
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    issuer: str = ""  #: who had the ticket issued, on TCP
    gets_tickets: bool = False  #: on TCP, has the token of the endpoint file: as good as a unix socket

    @property
    def actor(self) -> str:
        """The name in the audit trail."""
        if self.issuer:
            return f"{self.issuer}, by ticket"
        return f"uid {self.uid}" if self.uid is not None else self.listener

    def forbidden(self, what: str, instead: str = "") -> HubError:
        """The error that only operators may do this, with how this client can become one."""
        by_ticket = self.listener == "tcp"
        up = 'connect with a ticket of the role "operator"' if by_ticket else "connect to the control socket"
        return HubError(
            f"only operators may {what}, and this connection belongs to a {self.role}",
            code="forbidden",
            hint=f"{instead}, or {up}" if instead else up,
            data={"role": self.role.value, "needed": Role.OPERATOR.value},
        )
