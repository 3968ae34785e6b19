"""`provider.*`: the accounts that messages go out through."""

from __future__ import annotations

from contextlib import suppress

import trio

from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.table import Disk, changes, reads
from hubd.control.views import provider_view
from hubd.core.account import Account
from hubd.core.model import Campaign, CampaignState
from hubd.core.spec import spec_from_json
from hubd.core.verdict import is_ready
from hubd.errors import BadInput
from hubd.wire import provider_params as p
from hubd.wire import provider_results as r
from hubd.wire.params import Params
from hubd.wire.results import WouldChange


async def list_all(hub: Hub, _: Params) -> r.ProvidersResult:
    """The state of each provider."""
    await trio.lowlevel.checkpoint()
    return {"providers": [provider_view(view) for view in hub.supervisor.providers.views()]}


async def test(hub: Hub, params: p.ProviderChange, command: Command) -> r.ProbeResult:
    """Test the login; send nothing. A dry run reports the known state."""
    said: r.ProbeResult
    webhook = hub.webhooks().get(params.name, "")
    if command.dry_run:
        provider = hub.supervisor.providers.get(params.name)
        provider.check_enabled()
        view = provider.view()
        ready = view.state == "ready"
        said = {"ok": ready, "code": 0, "text": "", "detail": view.reason, "account": None}
        said = {**said, "account": _account(provider.account), "would": {"change": False}}
        return {**said, "webhook": webhook} if webhook else said
    probed = await hub.supervisor.probe(params.name)
    answer, ok, detail = probed.answer, is_ready(probed.answer) or probed.working > 0, ""
    if not ok:
        detail = hub.supervisor.providers.get(params.name).judge(answer).detail
    elif probed.working:
        works = (
            "1 is in use and working" if probed.working == 1 else f"{probed.working} are in use and working"
        )
        detail = f"The server accepts no more connections at the moment; {works}."
    # If the code was not sent by the server, the login was not tried: `detail` says all there is to say.
    ours = answer.detail and answer.code and not answer.verbatim
    text = "" if ours else answer.text
    account = _account(probed.account)
    said = {"ok": ok, "code": answer.code, "text": text, "detail": detail, "account": account}
    return {**said, "webhook": webhook} if webhook else said


def _account(account: Account | None) -> r.AccountView | None:
    if account is None:
        return None
    return {
        "sending": account.sending,
        "sandbox": account.sandbox,
        "rate": list(account.rate),
        "quota": account.quota,
        "used": account.used,
        "lines": list(account.lines),
    }


async def enable(hub: Hub, params: p.ProviderChange, command: Command) -> r.ProviderResult:
    """Enable a provider."""
    return await _switch(hub, params.name, command, on=True)


async def disable(hub: Hub, params: p.ProviderChange, command: Command) -> r.ProviderResult:
    """Disable a provider."""
    return await _switch(hub, params.name, command, on=False)


async def _switch(hub: Hub, name: str, command: Command, *, on: bool) -> r.ProviderResult:
    await trio.lowlevel.checkpoint()
    provider = hub.supervisor.providers.get(name)
    change = (provider.view().state == "disabled") is on
    if command.dry_run:
        campaigns = [
            each.name
            for each in await hub.campaigns.list()
            if each.state is CampaignState.RUNNING and _sends_only_through(name, each)
        ]
        would: WouldChange = {"change": change, "campaigns": campaigns}
        return {"changed": False, "provider": provider_view(provider.view()), "would": would}
    if change and on:
        await hub.supervisor.enable(name)
    elif change:
        provider.disable()
    return {"changed": change, "provider": provider_view(provider.view())}


def _sends_only_through(name: str, campaign: Campaign) -> bool:
    """Whether a campaign has this provider and no other."""
    with suppress(BadInput):  # a file of another version is reported elsewhere
        return spec_from_json(campaign.spec).providers == (name,)
    return campaign.provider == name


METHODS = (
    reads("provider.list", "All providers.", Params, r.ProvidersResult, list_all),
    changes(
        "provider.test",
        "Test the login; send nothing.",
        p.ProviderChange,
        r.ProbeResult,
        test,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.enable",
        "Enable a provider.",
        p.ProviderChange,
        r.ProviderResult,
        enable,
        disk=Disk.NOT_NEEDED,
    ),
    changes(
        "provider.disable",
        "Disable a provider.",
        p.ProviderChange,
        r.ProviderResult,
        disable,
        disk=Disk.NOT_NEEDED,
    ),
)
