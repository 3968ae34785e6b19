"""`sink.*`: the places that figures and events are copied to."""

from __future__ import annotations

from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.table import Disk, changes, reads
from hubd.control.views import time_text
from hubd.core.sinks import SinkView
from hubd.wire import params as common
from hubd.wire import sink_params as p
from hubd.wire import sink_results as r


async def list_all(hub: Hub, _: common.Params) -> r.SinksResult:
    """The state of each sink."""
    return {"sinks": [_status(view) for view in await hub.sinks.views()]}


async def test(hub: Hub, params: p.SinkChange, command: Command) -> r.SinkTestResult:
    """Try a sink once. A dry run reports the known state."""
    hub.sinks.check(params.name)
    if command.dry_run:
        (view,) = (each for each in await hub.sinks.views() if each.name == params.name)
        return {"ok": not view.failures, "detail": view.reason, "would": {"change": False}}
    told = await hub.sinks.test(params.name)
    return {"ok": told.outcome == "ok", "detail": told.reason}


async def resume(hub: Hub, params: p.SinkChange, command: Command) -> r.SinkResult:
    """Try a paused sink again."""
    work = hub.sinks.resuming(params.name)
    answer = await command.write(work, lambda changed: _resumed(command, changed=changed))
    if answer["changed"]:
        hub.sinks.resumed(params.name)
    return answer


def _resumed(command: Command, *, changed: bool) -> r.SinkResult:
    if command.dry_run:
        return {"changed": False, "would": {"change": changed}}
    return {"changed": changed}


def _status(view: SinkView) -> r.SinkStatus:
    return {
        "name": view.name,
        "type": view.type,
        "content": view.content,
        "state": "paused" if view.paused else "failing" if view.failures else "ready",
        "reason": view.reason,
        "failures": view.failures,
        "behind": view.behind,
        "told_at": time_text(view.told_at),
    }


METHODS = (
    reads("sink.list", "The state of each sink.", common.Params, r.SinksResult, list_all),
    changes("sink.test", "Try a sink once.", p.SinkChange, r.SinkTestResult, test, disk=Disk.NOT_NEEDED),
    changes("sink.resume", "Try a paused sink again.", p.SinkChange, r.SinkResult, resume),
)
