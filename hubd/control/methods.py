"""Every method by name: the dispatch table, which `rpc.discover` describes.

Its rows are at the end of each noun's module.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import trio

from hubd.control import (
    auth_methods,
    campaign_methods,
    contact_methods,
    credit_methods,
    delivery_methods,
    event_methods,
    hub_methods,
    inbox_methods,
    list_methods,
    message_methods,
    notification_methods,
    provider_methods,
    report_methods,
    run_methods,
    sink_methods,
    template_methods,
)
from hubd.control.discovery import describe
from hubd.control.hub import Hub
from hubd.control.table import Method, reads
from hubd.wire import Encoded, encoded
from hubd.wire.hub_results import OpenRpc
from hubd.wire.params import Params


async def discover(hub: Hub, _: Params) -> Encoded:
    """This table, as an OpenRPC document."""
    return await trio.to_thread.run_sync(_document, hub.info.version)


@cache
def _document(version: str) -> Encoded:
    """Built and encoded once: it takes some tenths of a second, and messages would have to wait."""
    return encoded(describe(METHODS, version))


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            *hub_methods.METHODS,
            *auth_methods.METHODS,
            *contact_methods.METHODS,
            *list_methods.METHODS,
            *campaign_methods.METHODS,
            *message_methods.METHODS,
            *run_methods.METHODS,
            *template_methods.METHODS,
            *delivery_methods.METHODS,
            *provider_methods.METHODS,
            *credit_methods.METHODS,
            *inbox_methods.METHODS,
            *notification_methods.METHODS,
            *event_methods.METHODS,
            *report_methods.METHODS,
            *sink_methods.METHODS,
            reads("rpc.discover", "List the methods.", Params, OpenRpc, discover),
        )
    }
)
