"""`provider.*`: the accounts that messages go out through."""

from __future__ import annotations

import trio

from hubd.control.needs import Hub
from hubd.control.views import provider_view
from hubd.core.verdict import is_ready, judge
from hubd.wire import params as p
from hubd.wire import results as r


async def list_all(hub: Hub, _: p.Params) -> r.ProvidersResult:
    """How each provider is."""
    await trio.lowlevel.checkpoint()
    return {"providers": [provider_view(view) for view in hub.supervisor.providers.views()]}


async def test(hub: Hub, params: p.ProviderChange) -> r.ProbeResult:
    """Log in and send nothing."""
    probed = await hub.supervisor.probe(params.name)
    answer, ok, detail = probed.answer, is_ready(probed.answer) or probed.working > 0, ""
    if not ok:
        detail = judge(answer, min(hub.supervisor.providers.get(params.name).spec.channels)).detail
    elif probed.working:
        works = "1 is in use and works" if probed.working == 1 else f"{probed.working} are in use and work"
        detail = f"The server takes no more connections at the moment; {works}."
    return {"ok": ok, "code": answer.code, "text": answer.text, "detail": detail}


async def enable(hub: Hub, params: p.ProviderChange) -> r.ProviderResult:
    """Use it again."""
    return await _switch(hub, params.name, on=True)


async def disable(hub: Hub, params: p.ProviderChange) -> r.ProviderResult:
    """Let nothing more begin through it."""
    return await _switch(hub, params.name, on=False)


async def _switch(hub: Hub, name: str, *, on: bool) -> r.ProviderResult:
    await trio.lowlevel.checkpoint()
    provider = hub.supervisor.providers.get(name)
    changed = (provider.view().state == "disabled") is on
    if changed and on:
        await hub.supervisor.enable(name)
    elif changed:
        provider.disable()
    return {"changed": changed, "provider": provider_view(provider.view())}
