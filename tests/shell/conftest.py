"""Real things, one at a time: the bridge, and a database file of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from hubd.bridge import Bridge, open_bridge
from hubd.core.intake import ContactRow
from hubd.core.ledger import Close, Open
from hubd.core.model import Campaign, CampaignState, DeliveryState
from hubd.core.spec import CampaignSpec, spec_json
from hubd.core.spec_reading import parse_spec
from hubd.store import database as opened_databases
from hubd.store.database import Database, open_database
from hubd.store.events import Events
from hubd.store.rollup import difference
from tests.shell.broken_disk import BrokenDisk, broken_disk
from tests.shell.made_database import make_database
from tests.shell.open_hub import Served, open_hub
from tests.shell.single_units import CampaignUnits, ContactUnits, LedgerUnits

DRAFT: Mapping[str, object] = {
    "name": "spring-sale",
    "channel": "email",
    "lists": ["customers"],
    "sender": "Acme <news@acme.example>",
    "subject": "Hello {{ first_name }}",
    "text": "Hi {{ first_name }}",
}


class Store:
    """A database with everything that works on it, and the short ways that tests take through it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.contacts = ContactUnits(db)
        self.campaigns = CampaignUnits(db)
        self.ledger = LedgerUnits(db)
        self.events = Events(db)

    async def people(self, *names: str, list_name: str = "customers", phone: bool = False) -> None:
        """Contacts `name@example.com` (or with phone numbers) on a list."""
        rows = [
            ContactRow(
                line=n,
                email=None if phone else f"{name}@example.com",
                email_key=None if phone else f"{name}@example.com",
                phone=f"+1415555{n:04}" if phone else None,
                fields={"first_name": name.title()},
            )
            for n, name in enumerate(names)
        ]
        await self.contacts.import_rows(list_name, rows, import_id=f"{list_name}{names}")

    def spec(self, **changes: object) -> CampaignSpec:
        return parse_spec({key: value for key, value in {**DRAFT, **changes}.items() if value is not None})

    async def draft(self, **changes: object) -> Campaign:
        spec = self.spec(**changes)
        content = spec.content()
        campaign, _, _ = await self.campaigns.apply(spec, spec_json(spec), content, f"hash of {content}")
        return campaign

    async def running(self, *names: str, **changes: object) -> Campaign:
        """A campaign that runs, with these people as its frozen audience."""
        await self.people(*names)
        campaign = await self.draft(**changes)
        await self.move(campaign, CampaignState.RUNNING)
        await self.freeze(campaign)
        return await self.campaigns.by_id(campaign.id)

    async def freeze(self, campaign: Campaign, size: int = 100) -> None:
        while await self.campaigns.freeze_page(campaign.id, size):
            pass

    async def move(self, campaign: Campaign, to: CampaignState, *, reason: str = "") -> Campaign:
        return await self.campaigns.move(campaign.id, list(CampaignState), to, reason=reason, event="start")

    async def ids(self, campaign: Campaign) -> list[int]:
        return [row.id for row in await self.ledger.deliveries(campaign.id)]

    async def states(self, campaign: Campaign) -> list[DeliveryState]:
        return [row.state for row in await self.ledger.deliveries(campaign.id)]

    async def check_counters(self, campaign: Campaign) -> None:
        """The counters and the roll-up equal what they count."""
        assert (await self.campaigns.by_id(campaign.id)).counts == await self.ledger.recount(campaign.id)
        assert await self.db.read(lambda db: difference(db, campaign.id)) == {}

    async def types(self, campaigns: Sequence[int] | None = None) -> list[str]:
        return [event.type for event in await self.events.page(0, 1000, campaigns)]


def open_entry(delivery_id: int, at: float = 1000.0) -> Open:
    return Open(
        delivery_id=delivery_id,
        provider="outbox",
        message_id=f"<{delivery_id}@hub>",
        content_hash="hash",
        at=at,
    )


def close_entry(delivery_id: int, to: DeliveryState = DeliveryState.SENT, **values: object) -> Close:
    return Close(**{"delivery_id": delivery_id, "to": to, "reason": "", "at": 1001.0, **values})  # type: ignore[arg-type]


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with open_bridge() as bridge:
        yield bridge


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[BrokenDisk]:
    """A disk below the test's files that fails as it is told; databases that were given up on are closed."""
    with broken_disk(tmp_path) as disk:
        yield disk
        disk.fails = lambda op: 0
        while opened_databases._left_open:
            opened_databases._left_open.pop().close()


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hub.db"


@pytest.fixture
async def database(bridge: Bridge, database_path: Path) -> AsyncIterator[Database]:
    make_database(database_path)
    async with open_database(database_path, bridge, probe_interval=0.02) as database:
        yield database


@pytest.fixture
async def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A whole hub behind its socket."""
    async with open_hub(tmp_path) as served:
        yield served
