"""`credits.*`: accounts that pay for messages."""

from __future__ import annotations

from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.table import changes, reads
from hubd.control.views import problem_of, time_text
from hubd.core.credits import CreditAccount, CreditHold, Need
from hubd.core.spec_reading import campaign_name
from hubd.errors import BadInput
from hubd.wire.credit_params import CreditsGrant, CreditsHistory
from hubd.wire.credit_results import AccountsResult, GrantResult, HistoryResult
from hubd.wire.credit_views import CampaignCredits, CreditAccountView, CreditNeed
from hubd.wire.params import Params


async def list_all(hub: Hub, _: Params) -> AccountsResult:
    """All accounts."""
    return {"accounts": [account_view(each) for each in await hub.credits.all()]}


async def grant(hub: Hub, params: CreditsGrant, command: Command) -> GrantResult:
    """Grant credits. Campaigns that are paused for lack of them resume automatically if there are enough."""
    try:
        name = campaign_name(params.account)
    except BadInput as error:
        raise BadInput.at("account", problem_of(error)) from None

    def answer(after: CreditAccount) -> GrantResult:
        return {**command.done(changed=True), "account": account_view(after)}

    work = hub.credits.granting(name, params.credits, params.note, params.low_at)
    done = await command.write(work, answer)
    if not command.dry_run:
        hub.supervisor.scheduler.wake()
    return done


async def history(hub: Hub, params: CreditsHistory) -> HistoryResult:
    """An account and its log."""
    account, holds, entries = await hub.credits.history(params.account, params.before, params.limit)
    return {
        "account": account_view(account),
        "campaigns": [{"campaign": each.campaign, "held": each.held, "spent": each.spent} for each in holds],
        "entries": [
            {
                "id": each.id,
                "at": time_text(each.at),
                "kind": each.kind,
                "credits": each.credits,
                "campaign": each.campaign,
                "note": each.note,
            }
            for each in entries
        ],
        "next": entries[-1].id if len(entries) == params.limit else None,
    }


def account_view(account: CreditAccount) -> CreditAccountView:
    """An account as clients see it."""
    return {
        "name": account.name,
        "granted": account.granted,
        "held": account.held,
        "spent": account.spent,
        "available": account.available,
    }


def credit_need(need: Need | None) -> CreditNeed | None:
    """What a campaign has to reserve; None if nobody pays for it."""
    if need is None:
        return None
    return {
        "account": need.account.name,
        "needed": need.needed,
        "held": need.hold.held - need.hold.at_risk,
        "available": need.account.available,
        "missing": need.missing,
    }


def campaign_credits(found: tuple[CreditAccount, CreditHold] | None) -> CampaignCredits | None:
    """What a campaign holds of its account and has spent; None if nobody pays for it."""
    if found is None:
        return None
    account, hold = found
    return {
        "account": account.name,
        "held": hold.held,
        "spent": hold.spent,
        "available": account.available,
    }


METHODS = (
    reads("credits.list", "All credit accounts.", Params, AccountsResult, list_all),
    changes(
        "credits.grant", "Grant credits to an account, or take them back.", CreditsGrant, GrantResult, grant
    ),
    reads(
        "credits.history",
        "The log of a credit account, and what campaigns hold and have spent from it.",
        CreditsHistory,
        HistoryResult,
        history,
    ),
)
