"""Credit accounts, what campaigns hold of them, and what the messages that are left to send cost.

How credits move with the attempts is in `credit_book`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from hubd.core.credits import Cost, CreditAccount, CreditEntry, CreditHold, check_grant
from hubd.core.model import Campaign, Channel
from hubd.core.sms import Bill, compile_sms
from hubd.errors import BadInput, NotFound
from hubd.store.audience import FREEZING, audience_of, fold_people
from hubd.store.contents import content_of
from hubd.store.credit_book import ACCOUNT, account_from
from hubd.store.database import Database
from hubd.store.transaction import Transaction, record
from hubd.store.unit import Unit, Work

#: All accounts.
ACCOUNTS = "SELECT name, granted, held, spent, low_at FROM credit_account ORDER BY name"
#: What a campaign has.
CAMPAIGN_FIGURES = """
SELECT campaign, held, spent, at_risk FROM credit_hold WHERE campaign_id = ? AND delivery_id IS NULL"""
#: What campaigns have of an account, and in one line what all one-off messages have. The newest first.
HOLDS = """
SELECT campaign, held, spent FROM credit_hold WHERE account = :account AND delivery_id IS NULL
    AND (held > 0 OR spent > 0)
UNION ALL SELECT '', sum(held), sum(spent) FROM credit_hold
WHERE account = :account AND delivery_id IS NOT NULL HAVING count(*) > 0"""
#: The log of an account, newest first.
ENTRIES = """
SELECT credit_entry.id, at, kind, credits, coalesce(campaign, '') AS campaign, note
FROM credit_entry LEFT JOIN credit_hold ON credit_hold.id = hold_id
WHERE credit_entry.account = ? AND (? = 0 OR credit_entry.id < ?) ORDER BY credit_entry.id DESC LIMIT ?"""
#: Accounts with grants after which nobody has checked what can resume.
TOPPED_UP = "SELECT name, topped_up FROM credit_account WHERE topped_up > 0 ORDER BY name"
#: Somebody has looked, if there was no other grant meanwhile.
LOOKED = "UPDATE credit_account SET topped_up = 0 WHERE name = ? AND topped_up = ?"


class Credits:
    """Accounts of credits. All methods are async."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def granting(self, name: str, credits: int, note: str, low_at: int | None) -> Work[CreditAccount]:
        """The unit of work that grants credits, or takes them back; the account after it.

        `low_at` as in `CreditAccount`; None for a tenth of what the account has then. Raises what
        `check_grant` raises.
        """

        def work(unit: Unit) -> CreditAccount:
            account = unit.credits.account(name)
            check_grant(account, credits)
            after = unit.credits.grant(account, credits, note, low_at)
            unit.event("credits.granted", None, {"account": name, "credits": credits, **figures(after)})
            return after

        return work

    async def all(self) -> list[CreditAccount]:
        """All accounts by name."""
        return await self._db.read(all_accounts)

    async def get(self, name: str) -> CreditAccount:
        """An account; an empty one if there is none."""
        return await self._db.read(lambda db: account_from(db.execute(ACCOUNT, (name,)).fetchone(), name))

    async def history(
        self, name: str, before: int, limit: int
    ) -> tuple[CreditAccount, Sequence[CreditHold], Sequence[CreditEntry]]:
        """An account, what campaigns have of it, and a page of its log, newest first, with ids below
        `before`, 0 for the first page. Raises NotFound ("account_not_found").
        """

        def work(
            db: Transaction,
        ) -> tuple[CreditAccount, Sequence[CreditHold], Sequence[CreditEntry]]:
            row = db.execute(ACCOUNT, (name,)).fetchone()
            if row is None:
                raise NotFound(
                    f"there is no credit account {name}",
                    code="account_not_found",
                    hint=f"to create it: hubctl credits grant {name} 1000",
                )
            holds = [record(CreditHold, each) for each in db.execute(HOLDS, {"account": name})]
            rows = db.execute(ENTRIES, (name, before, before, limit))
            return account_from(row, name), holds, [record(CreditEntry, each) for each in rows]

        return await self._db.read(work)

    async def of_campaign(self, campaign: Campaign) -> tuple[CreditAccount, CreditHold] | None:
        """The account that pays for a campaign and what the campaign has of it; None if nobody pays."""
        return await self._db.read(lambda db: credits_of(db, campaign))


def figures(account: CreditAccount) -> dict[str, int]:
    """What an event tells of an account."""
    return {
        "granted": account.granted,
        "held": account.held,
        "spent": account.spent,
        "available": account.available,
    }


def all_accounts(db: Transaction) -> list[CreditAccount]:
    """All accounts by name."""
    return [record(CreditAccount, row) for row in db.execute(ACCOUNTS)]


def credits_of(db: Transaction, campaign: Campaign) -> tuple[CreditAccount, CreditHold] | None:
    """See `Credits.of_campaign`."""
    if not campaign.credits:
        return None
    account = account_from(db.execute(ACCOUNT, (campaign.credits,)).fetchone(), campaign.credits)
    row = db.execute(CAMPAIGN_FIGURES, (campaign.id,)).fetchone()
    none = CreditHold(campaign=campaign.name, held=0, spent=0)
    return account, none if row is None else record(CreditHold, row)


def cost_of(db: Transaction, campaign: Campaign, *, most_texts: int | None = None) -> Cost:
    """What the messages that a campaign has still to send cost.

    For SMS all their texts are written, which takes as long as there are texts; with more messages than
    `most_texts`, one credit is taken for each, and their attempts reserve the rest. Raises NotFound for an
    unknown list.
    """
    waiting = campaign.counts.pending + campaign.counts.deferred
    if campaign.channel is Channel.SMS and (most_texts is None or waiting <= most_texts):
        bill, sms = Bill(), compile_sms(content_of(db, campaign.content_id))

        def fold(values: Mapping[str, str], count: int) -> None:
            with suppress(BadInput):  # it cannot be written, and so not be sent
                bill.add(sms.render(values).segments, count)

        fold_people(db, campaign.id, sms.fields, fold)
        return Cost(messages=bill.messages, total=bill.total, most=bill.most)
    at = db.execute(FREEZING, (campaign.id,)).fetchone()
    if at["audience_ready"]:
        left = at["n_remaining"]
    else:
        begun = at["n_total"] - at["n_skipped"] - at["n_remaining"]
        left = max(0, audience_of(db, campaign.id).remaining - begun)
    return Cost(messages=left, total=left)
