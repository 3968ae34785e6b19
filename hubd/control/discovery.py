"""`rpc.discover`: the interface, described by the dispatch table, as an OpenRPC document.

OpenRPC (https://spec.open-rpc.org) has no word for notifications and roles; those are under `x-notifications`
and `x-role`. The examples are one story, in the order of their `x-order`: sent in that order to a new daemon,
each gets the answer it shows, except for times, ids and the like.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, cast

import msgspec

from hubd.control.table import Method
from hubd.core.model import CampaignState, Channel, DeliveryState
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
from hubd.wire import PROTOCOL, SUBPROTOCOL
from hubd.wire.event_results import EventView
from hubd.wire.events import EVENTS
from hubd.wire.hub_results import OpenRpc
from hubd.wire.registry import CLASS_NUMBERS, HINTS, PROTOCOL_CODES, RETRYABLE, number_of

OPENRPC = "1.3.2"
_REF = "#/components/schemas/{name}"

#: What every method may answer with, besides the errors of the protocol itself.
COMMON: tuple[type[HubError], ...] = (BadInput, StoreUnavailable)
#: ... and every method that changes something.
CHANGING: tuple[type[HubError], ...] = (ShuttingDown,)

_STATE = (NotFound, InvalidTransition)
#: What else a method raises.
ERRORS: Mapping[str, tuple[type[HubError], ...]] = {
    "hub.hello": (VersionSkew,),
    "hub.reload": (BadConfig, CredentialMissing, ProviderUnavailable),
    "hub.backup": (Conflict, StoreError),
    "auth.ticket": (HubError,),
    "campaign.apply": (BadTemplate, Conflict, RevisionConflict),
    "campaign.get": (NotFound,),
    "report.get": (NotFound,),
    "sink.test": (NotFound,),
    "sink.resume": (NotFound,),
    "campaign.check": (NotFound,),
    "campaign.preview": (NotFound, BadTemplate),
    "campaign.test": (NotFound, BadTemplate, Conflict, ProviderUnavailable, CredentialMissing),
    "campaign.start": (*_STATE, PreflightFailed, CreditsShort, ProviderUnavailable, CredentialMissing),
    "campaign.schedule": (*_STATE, PreflightFailed),
    "campaign.unschedule": _STATE,
    "campaign.pause": _STATE,
    "campaign.resume": (*_STATE, CreditsShort, ProviderUnavailable, CredentialMissing),
    "campaign.stop": _STATE,
    "campaign.retry": (*_STATE, CreditsShort, ProviderUnavailable),
    "campaign.rate": (NotFound,),
    "campaign.clone": (NotFound, BadTemplate, Conflict),
    "campaign.archive": (NotFound, Conflict),
    "campaign.delete": (NotFound, Conflict),
    "template.apply": (BadTemplate, Conflict),
    "template.get": (NotFound,),
    "template.history": (NotFound,),
    "template.delete": (NotFound, Conflict),
    "contacts.list": (NotFound,),
    "contacts.export": (NotFound,),
    "contacts.get": (NotFound,),
    "contacts.add": (Conflict,),
    "contacts.remove": (NotFound,),
    "list.rename": (NotFound, Conflict),
    "list.delete": (NotFound, Conflict),
    "list.trim": (NotFound, Conflict),
    "delivery.list": (NotFound,),
    "delivery.get": (NotFound,),
    "delivery.source": (NotFound,),
    "delivery.failures": (NotFound,),
    "message.list": (NotFound,),
    "message.send": (
        NotFound,
        BadTemplate,
        Conflict,
        CreditsShort,
        ProviderUnavailable,
        CredentialMissing,
    ),
    "inbox.list": (NotFound,),
    "inbox.get": (NotFound,),
    "inbox.decide": (NotFound, Conflict),
    "inbox.reply": (NotFound, BadTemplate, Conflict, ProviderUnavailable, CredentialMissing),
    "provider.test": (NotFound, ProviderUnavailable, CredentialMissing),
    "provider.enable": (NotFound,),
    "provider.disable": (NotFound,),
    "credits.grant": (Conflict,),
    "credits.history": (NotFound,),
    "mailbox.test": (NotFound, BadConfig),
    "events.subscribe": (NotFound, ResumeGap),
    "events.unsubscribe": (NotFound,),
    "events.list": (NotFound,),
}

#: The words that a field of a result can hold, where the program has a table of them.
WORDS: Mapping[tuple[str, str], Sequence[str]] = {
    ("CampaignView", "state"): [state.value for state in CampaignState],
    ("CampaignView", "channel"): [channel.value for channel in Channel],
    ("DeliveryView", "state"): [state.value for state in DeliveryState],
    ("SuppressionView", "channel"): [channel.value for channel in Channel],
    ("SendResult", "state"): [state.value for state in DeliveryState],
    ("TestSendResult", "state"): [state.value for state in DeliveryState],
    ("CampaignMoved", "from"): [state.value for state in CampaignState],
    ("CampaignMoved", "to"): [state.value for state in CampaignState],
}


def describe(methods: Mapping[str, Method], version: str) -> OpenRpc:
    """The OpenRPC document of these methods."""
    schemas = _schemas(methods.values())
    used = _used(methods, schemas)
    document: dict[str, object] = {
        "openrpc": OPENRPC,
        "info": {
            "title": "MessageHub",
            "version": version,
            "description": "JSON-RPC 2.0 in text frames of a websocket on a local socket. Path /rpc, Host "
            f"hubd.sock, subprotocol {SUBPROTOCOL}. Call hub.hello first. A batch is not a transaction.",
        },
        "methods": [_method(method, schemas) for method in methods.values()],
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name in used},
            "errors": _errors(),
        },
        "x-errors": [{"$ref": f"#/components/errors/{word}"} for word in PROTOCOL_CODES],
        "x-notifications": _notifications(schemas),
        "x-protocol": PROTOCOL,
    }
    return cast("OpenRpc", document)


# -- methods -----------------------------------------------------------------------------------------------


def _method(method: Method, schemas: Mapping[str, Any]) -> dict[str, object]:
    data = {
        "name": method.name,
        "summary": method.summary,
        "description": schemas[method.params.__name__].get("description", ""),
        "paramStructure": "either",
        "params": list(_parameters(method, schemas)),
        "result": {"name": "result", "schema": _reference(method.result)},
        "errors": [{"$ref": f"#/components/errors/{word}"} for word in _errors_of(method)],
        "examples": _examples(method),
        "x-role": method.role.value,
        "x-mutates": method.mutates,
    }
    if not data["description"]:
        del data["description"]
    return data


def _parameters(method: Method, schemas: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """The parameters by position, so the order counts: required ones come first."""
    properties = schemas[method.params.__name__].get("properties", {})
    for field in msgspec.structs.fields(method.params):
        schema = properties[field.encode_name]
        yield {"name": field.encode_name, "required": field.required, "schema": schema}


def _examples(method: Method) -> list[dict[str, object]]:
    """The examples of this method, with parameters in the order of their positions."""
    names = method.params.__struct_encode_fields__
    return [
        {
            "name": example["name"],
            "params": [
                {"name": name, "value": example["params"][name]}
                for name in names
                if name in example["params"]
            ],
            "result": {"name": "result", "value": example["result"]},
            "x-order": order,
        }
        for order, example in enumerate(story(), 1)
        if example["method"] == method.name
    ]


@cache
def story() -> tuple[dict[str, Any], ...]:
    """The examples in order, each with `name`, `method`, `params` and `result`."""
    text = files("hubd.control").joinpath("examples.json").read_bytes()
    return tuple(json.loads(text))


# -- schemas -----------------------------------------------------------------------------------------------


def _schemas(methods: Any) -> dict[str, Any]:
    """Every shape by name."""
    shapes = [shape for method in methods for shape in (method.params, method.result)]
    data = [kind.data for kind in EVENTS.values()]
    _, schemas = msgspec.json.schema_components(
        [*shapes, *data, EventView], ref_template=_REF, schema_hook=_anything
    )
    for (name, field), words in WORDS.items():
        if name in schemas:
            schemas[name]["properties"][field] = {"type": "string", "enum": list(words)}
    return schemas


def _used(methods: Mapping[str, Method], schemas: Mapping[str, Any]) -> set[str]:
    """The shapes that something refers to; the parameters of a method are described one by one instead."""
    used = {EventView.__name__, *(kind.data.__name__ for kind in EVENTS.values())}
    used |= {method.result.__name__ for method in methods.values()}
    for method in methods.values():
        used |= set(_references(schemas[method.params.__name__]))
    waiting = list(used)
    while waiting:
        new = set(_references(schemas[waiting.pop()])) - used
        used |= new
        waiting += new
    return used


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _reference(shape: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=shape.__name__)}


def _anything(kind: type) -> dict[str, Any]:
    """The schema of a value that may be any JSON."""
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError


# -- errors ------------------------------------------------------------------------------------------------


def _errors_of(method: Method) -> list[str]:
    """The codes of the errors that a method may answer with."""
    kinds = (*COMMON, *(CHANGING if method.mutates else ()), *ERRORS.get(method.name, ()))
    return [_word(kind) for kind in kinds]


def _errors() -> dict[str, dict[str, object]]:
    """Every error under the code of its class: `data.code` has that code, or a narrower one."""
    found: dict[str, dict[str, object]] = {
        word: _error(number, word.replace("_", " "), word) for word, number in PROTOCOL_CODES.items()
    }
    kinds = {*CLASS_NUMBERS, *COMMON, *CHANGING, *(kind for each in ERRORS.values() for kind in each)}
    for kind in sorted(kinds, key=lambda kind: (number_of(kind("")), kind.__name__)):
        says = (kind.__doc__ or "").split("\n")[0].rstrip(".")
        found.setdefault(_word(kind), _error(number_of(kind("")), says.replace("`", ""), kind.code))
    return found


def _word(kind: type[HubError]) -> str:
    return "not_found" if kind is NotFound else kind.code


def _error(number: int, message: str, word: str) -> dict[str, object]:
    return {
        "code": number,
        "message": message,
        "data": {"code": word, "retryable": word in RETRYABLE, "hint": HINTS.get(word, "")},
    }


# -- notifications -----------------------------------------------------------------------------------------


def _notifications(schemas: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {
            "name": "event",
            "summary": "An event of a subscription; `type` says what `data` holds.",
            "params": [
                {"name": "subscription", "required": True, "schema": {"type": "string"}},
                *(
                    {
                        "name": name,
                        "required": True,
                        "schema": schema,
                    }
                    for name, schema in schemas[EventView.__name__]["properties"].items()
                ),
            ],
            "types": {
                name: {"summary": kind.summary, "durable": kind.durable, "data": _reference(kind.data)}
                for name, kind in EVENTS.items()
            },
        },
        {
            "name": "daemon.stopping",
            "summary": "The daemon is stopping; it closes the connection with 1001 after this.",
            "params": [
                {"name": "reason", "required": True, "schema": {"type": "string"}},
                {"name": "restart_expected", "required": True, "schema": {"type": "boolean"}},
            ],
        },
    ]
