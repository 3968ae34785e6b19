"""`rpc.discover`: the interface described by the table that dispatches, as an OpenRPC document.

OpenRPC (https://spec.open-rpc.org) has no word for subscriptions; those are under `x-notifications`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from hubd.control.table import Method
from hubd.wire.results import EventView, OpenRpc

OPENRPC = "1.3.2"
_REF = "#/components/schemas/{name}"


def describe(methods: Mapping[str, Method], version: str) -> OpenRpc:
    """The OpenRPC document."""
    shapes = [shape for method in methods.values() for shape in (method.params, method.result)]
    _, schemas = msgspec.json.schema_components(
        [*shapes, EventView], ref_template=_REF, schema_hook=_anything
    )
    return {
        "openrpc": OPENRPC,
        "info": {"title": "MessageHub", "version": version},
        "methods": [_method(method) for method in methods.values()],
        "components": {"schemas": schemas},
        "x-notifications": [
            {
                "name": "event",
                "summary": "What a subscription sends: `subscription` and the event.",
                "params": {"$ref": _REF.format(name="EventView")},
            },
            {"name": "daemon.stopping", "summary": "The daemon stops and closes the connection with 1001."},
        ],
    }


def _method(method: Method) -> dict[str, object]:
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "either",
        "params": [_parameter(field) for field in msgspec.structs.fields(method.params)],
        "result": {"name": "result", "schema": {"$ref": _REF.format(name=method.result.__name__)}},
        "x-mutates": method.mutates,
    }


def _anything(kind: type) -> dict[str, Any]:
    """The schema of a value that may be any JSON."""
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError


def _parameter(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    schema, _ = _schema(field.type)
    return {"name": field.encode_name, "required": field.required, "schema": schema}


def _schema(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template=_REF, schema_hook=_anything)
    return schema, components
