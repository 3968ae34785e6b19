"""`auth.*`: tickets for web pages on this machine."""

from __future__ import annotations

from hubd.control.head import is_local
from hubd.control.roles import Peer, Role
from hubd.control.table import of_session
from hubd.control.tickets import Grant, Tickets
from hubd.errors import BadInput, HubError
from hubd.wire import hub_results as r
from hubd.wire.hub_params import AuthTicket


def check_ticket(peer: Peer, params: AuthTicket) -> None:
    """Check that this client may have this ticket: it must have used a unix socket or the endpoint file.

    No client may have one above its role. Raises `BadInput` for an Origin that is not this machine's, and
    `HubError` (forbidden).
    """
    role = Role(params.role)
    if peer.listener == "tcp" and not peer.gets_tickets:
        raise HubError(
            "tickets are issued only over the unix socket, or for the token of the endpoint file",
            code="forbidden",
            hint="reconnect with the session_token from the answer to hub.hello",
        )
    if not peer.role.may(role):
        raise HubError(
            f"the role {peer.role} cannot get a ticket for the role {role}",
            code="forbidden",
            hint="connect to the control socket",
            data={"role": peer.role.value, "needed": role.value},
        )
    if params.origin is not None and not is_local(params.origin):
        raise BadInput.at(
            "origin",
            "must be the origin of a page on this machine, such as http://127.0.0.1:8080",
        )
    if params.listen and not peer.role.may(Role.OPERATOR):
        raise peer.forbidden("have the daemon listen on TCP", "leave out listen")


def issue_ticket(tickets: Tickets, url: str, peer: Peer, params: AuthTicket) -> r.TicketResult:
    """A ticket for the TCP listener at `url`. Raises `HubError`: no_tcp_listener, rate_limited."""
    if not url:
        raise HubError(
            "the daemon does not listen on TCP",
            code="no_tcp_listener",
            hint="start it with: hubd --tcp 127.0.0.1:0",
        )
    grant = Grant(role=Role(params.role), origin=params.origin, issuer=peer.actor)
    ticket = tickets.issue(grant, params.ttl, by=peer.role)
    return {"url": url, "ticket": ticket, "expires_in": params.ttl}


METHODS = (
    of_session("auth.ticket", "Get a ticket for a web page on this machine.", AuthTicket, r.TicketResult),
)
