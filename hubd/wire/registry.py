"""The error registry: which number an error has on the wire, and which class it is for a client.

Numbers up to -32000 are JSON-RPC's own (section 5.1 of the specification); ours of the application are
positive. `data.code` is the stable word for programs, the number is for JSON-RPC.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hubd.errors import (
    BadConfig,
    BadInput,
    BadTemplate,
    Conflict,
    CredentialMissing,
    CreditsShort,
    HubError,
    InvalidTransition,
    NotFound,
    PreflightFailed,
    ProviderUnavailable,
    ResumeGap,
    RevisionConflict,
    ShuttingDown,
    StoreError,
    StoreUnavailable,
    VersionSkew,
)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
APPLICATION_ERROR = 1000  #: a `HubError` that has no number of its own

#: Errors of the protocol itself, by their word.
PROTOCOL_CODES: Mapping[str, int] = MappingProxyType(
    {
        "parse_error": PARSE_ERROR,
        "invalid_request": INVALID_REQUEST,
        "method_not_found": METHOD_NOT_FOUND,
        "internal_error": INTERNAL_ERROR,
        "handshake_required": -32000,
        "unauthenticated": -32001,
        "forbidden": -32002,
        "rate_limited": -32003,
        "shutting_down": -32004,
        "overloaded": -32005,
        "deadline_exceeded": -32006,
        "cancelled": -32007,
        "protocol_unsupported": -32008,
    }
)

#: Errors of the program, by their class; a child without a row of its own has its parent's number.
CLASS_NUMBERS: Mapping[type[HubError], int] = MappingProxyType(
    {
        BadInput: INVALID_PARAMS,
        NotFound: 1001,
        InvalidTransition: 1002,
        RevisionConflict: 1003,
        Conflict: 1003,
        PreflightFailed: 1004,
        CreditsShort: 1005,
        ProviderUnavailable: 1010,
        CredentialMissing: 1011,
        ResumeGap: 1020,
        StoreError: 1030,
        StoreUnavailable: 1031,
        ShuttingDown: PROTOCOL_CODES["shutting_down"],
        VersionSkew: PROTOCOL_CODES["protocol_unsupported"],
        HubError: APPLICATION_ERROR,
    }
)

#: Words that name a class more narrowly than the number does.
WORD_CLASSES: Mapping[str, type[HubError]] = MappingProxyType(
    {
        "bad_template": BadTemplate,
        "missing_field": BadTemplate,
        "bad_config": BadConfig,
        "revision_conflict": RevisionConflict,
    }
)

NUMBER_CLASSES: Mapping[int, type[HubError]] = MappingProxyType(
    {number: cls for cls, number in CLASS_NUMBERS.items() if cls not in (RevisionConflict, HubError)}
)

#: The same request may succeed later without any change to it.
RETRYABLE = frozenset(
    {
        "overloaded",
        "rate_limited",
        "shutting_down",
        "deadline_exceeded",
        "store_unavailable",
        "provider_unavailable",
    }
)

#: What to do about an error that does not say it itself. No word of it is about one kind of client.
HINTS: Mapping[str, str] = MappingProxyType(
    {
        "parse_error": "send JSON (RFC 8259): one object, or an array of them for a batch",
        "invalid_request": 'send {"jsonrpc": "2.0", "id": ..., "method": ..., "params": ...}',
        "method_not_found": "rpc.discover lists all of them",
        "internal_error": "look for the incident in the daemon's log and report it",
        "handshake_required": "call hub.hello first",
        "unauthenticated": "get a new ticket: auth.ticket over the unix socket",
        "forbidden": "connect as an operator",
        "rate_limited": "wait a minute and try again",
        "shutting_down": "try again when it is running again",
        "overloaded": "wait for answers before sending more",
        "deadline_exceeded": "ask for less at a time, or try again later",
        "cancelled": "nothing was done",
        "protocol_unsupported": "install the same version on both sides and restart the daemon",
    }
)


def number_of(error: HubError) -> int:
    """The number of an error: by its word for errors of the protocol, else by its class."""
    if error.code in PROTOCOL_CODES:
        return PROTOCOL_CODES[error.code]
    for cls in type(error).__mro__:
        if cls in CLASS_NUMBERS:
            return CLASS_NUMBERS[cls]
    return APPLICATION_ERROR


def error_object(error: HubError) -> dict[str, object]:
    """The JSON-RPC error object of an error that was raised on purpose."""
    data = {
        **error.data,
        "code": error.code,
        "retryable": error.code in RETRYABLE,
        "hint": error.hint or HINTS.get(error.code, ""),
    }
    return {"code": number_of(error), "message": str(error), "data": data}


def internal_error(incident: str) -> dict[str, object]:
    """The error object of a bug: no internal details, only the id under which it was logged."""
    return {
        "code": INTERNAL_ERROR,
        "message": "the daemon failed on this request; nothing else is affected",
        "data": {
            "code": "internal_error",
            "retryable": False,
            "hint": f"look for incident {incident} in the daemon's log and report it",
            "incident": incident,
        },
    }


def to_exception(error: Mapping[str, object]) -> HubError:
    """An error object as the exception it stands for; never raises on an odd one."""
    number = error.get("code")
    raw = error.get("data")
    data: dict[str, object] = dict(raw) if isinstance(raw, Mapping) else {}
    word = str(data.pop("code", "") or "error")
    hint = str(data.pop("hint", "") or "")
    cls = WORD_CLASSES.get(word)
    if cls is None and isinstance(number, int):
        cls = NUMBER_CLASSES.get(number)
    return (cls or HubError)(
        str(error.get("message") or "the daemon gave no reason"), code=word, hint=hint, data=data
    )
