"""The public contract of the control socket: JSON-RPC 2.0, pure, shared by daemon and clients.

    envelope   text -> Request | Batch | Rejected, and back
    registry   errors of the program <-> numbers on the wire
    places     where a client finds the socket
    params     what each method takes, as typed structs; loaded only by the daemon
    reading    JSON -> params, with every error reported; loaded only by the daemon
    results    what each method answers, as typed dicts; loaded only by the daemon
    methods    the names of the methods, for clients, each with the type of its result

The wire version is the websocket subprotocol, `hub.jsonrpc.v1`. Everything within one version is additive.
"""

from __future__ import annotations

from hubd.wire.envelope import (
    MAX_BATCH,
    MAX_DEPTH,
    Batch,
    Encoded,
    Id,
    Rejected,
    Request,
    answer,
    dump,
    encoded,
    failure,
    notification,
    parse,
    success,
)
from hubd.wire.registry import error_object, internal_error, to_exception

SUBPROTOCOL = "hub.jsonrpc.v1"
#: Before a ticket or token, in the list of subprotocols: where a browser can put one.
BEARER = "hub.bearer."
PROTOCOL = 1  #: the number that `hub.hello` negotiates; the same thing as the subprotocol's
HOST = "hubd.sock"  #: the Host header of a client on the unix socket
PATH = "/rpc"
HEALTH_PATH = "/healthz"  #: of the TCP listener, over plain HTTP: 200 or 503
METRICS_PATH = "/metrics"  #: the same, with a viewer's token: OpenMetrics text
MAX_MESSAGE = 1024 * 1024  #: bytes in one inbound message
IMPORT_IN_ORDER = "import.in_order"  #: in `caps`: pages of an import may be sent ahead of their answers
MAX_IN_FLIGHT = 32  #: requests of one connection that are being worked on

__all__ = [
    "BEARER",
    "HEALTH_PATH",
    "HOST",
    "IMPORT_IN_ORDER",
    "MAX_BATCH",
    "MAX_DEPTH",
    "MAX_IN_FLIGHT",
    "MAX_MESSAGE",
    "METRICS_PATH",
    "PATH",
    "PROTOCOL",
    "SUBPROTOCOL",
    "Batch",
    "Encoded",
    "Id",
    "Rejected",
    "Request",
    "answer",
    "dump",
    "encoded",
    "error_object",
    "failure",
    "internal_error",
    "notification",
    "parse",
    "success",
    "to_exception",
]
