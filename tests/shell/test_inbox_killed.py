"""The process ends in the middle of booking, again and again: nothing is lost and nothing counts twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.inbound import ItemKind
from hubd.core.model import DeliveryState
from hubd.core.tokens import Tokens
from hubd.store.database import open_database
from hubd.store.inbox import Inbox
from tests.shell.conftest import Store, close_entry, open_entry

PEOPLE = [f"person{number}" for number in range(12)]
#: Books one bounce or receipt for each delivery, two at a look, and ends at the `n`-th time at a point.
BOOK = """
import os, sys, trio
from hubd.bridge import open_bridge
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.tokens import Purpose, Tokens
from hubd.failpoints import arm
from hubd.store.database import open_database
from hubd.store.inbox import Inbox
from pathlib import Path

path, point, n, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
SOURCE = "mailbox bounces"

async def main():
    async with open_bridge() as bridge, open_database(path, bridge) as database:
        tokens = Tokens(database.install_key)
        inbox, reached = Inbox(database, tokens), [0]

        def end(name):
            reached[0] += name == point
            if name == point and reached[0] == n:
                os._exit(9)

        arm(end)
        begin = int(await inbox.cursor(SOURCE) or 1)
        for first in range(max(1, begin - 2), last + 1, 2):  # what was acknowledged last comes again
            items = [
                Item(
                    key=str(each),
                    kind=ItemKind.BOUNCE if each % 3 == 0 else ItemKind.DELIVERED,
                    at=1.0,
                    about=Reference(token=tokens.of(Purpose.BOUNCE, each)),
                    enhanced="5.1.1",
                )
                for each in range(first, min(first + 2, last + 1))
            ]
            await inbox.book(SOURCE, items, str(first + 2))

trio.run(main)
"""


@pytest.mark.slow
async def test_an_end_at_any_point_of_booking_loses_and_doubles_nothing(
    bridge: Bridge, database_path: Path
) -> None:
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        numbers = await store.ids(await store.running(*PEOPLE))
        for number in numbers:
            await store.ledger.record([open_entry(number), close_entry(number)])
    ends = [("mid_commit", 1), ("after_commit", 2), ("mid_commit", 3), ("never", 1)]
    statuses = []
    for point, n in ends:
        command = [sys.executable, "-c", BOOK, str(database_path), point, str(n), str(len(numbers))]
        statuses.append((await trio.run_process(command, check=False)).returncode)
    assert statuses == [9, 9, 9, 0]
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        (campaign,) = await store.campaigns.list()
        bounced = len(numbers) // 3
        assert (campaign.counts.delivered, campaign.counts.undelivered) == (len(numbers) - bounced, bounced)
        assert campaign.bounced == bounced
        await store.check_counters(campaign)
        inbox = Inbox(database, Tokens(database.install_key))
        kept = await inbox.page()
        assert sorted(row.delivery_id or 0 for row in kept) == [n for n in numbers if n % 3 == 0]
        assert {row.kind for row in kept} == {ItemKind.BOUNCE}
        assert len(await store.contacts.suppressions()) == bounced
        assert (await store.types()).count("delivery.bounced") == bounced
        assert await store.states(campaign) == [
            DeliveryState.UNDELIVERED if n % 3 == 0 else DeliveryState.DELIVERED for n in numbers
        ]
