"""Nothing of a person who was forgotten is left in any file of the state directory, wherever it was."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.model import Channel
from hubd.core.tokens import Purpose, Tokens
from hubd.providers.outbox.erasing import erase_messages
from hubd.store import writer
from hubd.store.database import Database
from hubd.store.erasures import waiting
from hubd.store.inbox import Inbox
from tests.shell.open_hub import PERSONAL, Served, one_off_messages_sent
from tests.shell.test_paying import until

EMAIL, PHONE = "annabella.quill@private.example", "+14155550123"
#: Words that only she brings with her; addresses in any spelling.
HERS = (
    "annabella.quill",
    "4155550123",
    "Annabellaq",
    "Quillington",
    "private.example",
    "tangerine",
    "marmalade",
)
ONE_OFF = {
    "sender": "Acme <hello@acme.example>",
    "subject": "Code",
    "text": "It is tangerine, {{ first_name }}.",
}


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        yield hub


def people(n: int) -> list[dict[str, Any]]:
    """Rows of an import with her in the middle, and one that is wrong."""
    rows = [
        {"line": i, "values": {"email": f"p{i:04}@example.com", "first_name": f"P{i}", "last_name": f"L{i}"}}
        for i in range(n)
    ]
    hers = {"email": "Annabella.Quill@private.example", "phone": PHONE, "first_name": "Annabellaq"}
    rows.insert(n // 2, {"line": n, "values": {**hers, "last_name": "Quillington"}})
    rows.append({"line": n + 1, "values": {"email": "annabella.quill@@private.example"}})
    return rows


async def come_back(database: Database) -> None:
    """Replies of hers from three places, a bounce that names her, and one that waits for a decision."""
    tokens = Tokens(database.install_key)

    def item(key: str, kind: ItemKind, about: Reference, **said: Any) -> Item:
        return Item(key=key, kind=kind, at=1_000.0, about=about, **said)

    first = tokens.of(Purpose.BOUNCE, 1)
    items = [
        item(
            "1", ItemKind.REPLY, Reference(token=first, address=EMAIL), sender=EMAIL, text="marmalade, A. Q."
        ),
        item("2", ItemKind.BOUNCE, Reference(token=first, address=EMAIL), words=f"<{EMAIL}>: full", code=452),
        item(
            "3",
            ItemKind.REPLY,
            Reference(address=EMAIL),
            sender=f"Q <{EMAIL}>",
            text="marmalade",
            quoted=EMAIL,
        ),
        item(
            "4", ItemKind.REPLY, Reference(address=EMAIL), sender=EMAIL, text="please stop sending marmalade"
        ),
        item(
            "5",
            ItemKind.REPLY,
            Reference(channel=Channel.SMS, address=PHONE),
            sender=PHONE,
            text="marmalade?",
        ),
    ]
    await Inbox(database, tokens).book("mailbox office", items, "1")


async def live(served: Served, hub: Client) -> None:
    """Everything that can happen to a person in which something is written down about her."""
    rows = people(400)
    for dry_run in (True, False):
        asked = {"list": "customers", "rows": rows, "import_id": "1", "dry_run": dry_run}
        await hub.call("contacts.import", **asked, **({} if dry_run else {"idempotency_key": "import"}))
    await hub.call(
        "contacts.add", list="vip", email=EMAIL, fields={"nick": "marmalade"}, idempotency_key="add"
    )
    await hub.call("campaign.apply", spec=PERSONAL)
    await hub.call("campaign.test", name="spring", to=EMAIL, idempotency_key="test")
    await hub.call("campaign.start", name="spring")
    await until(hub, "spring", "completed")
    sms = {"name": "texts", "channel": "sms", "lists": ["customers"], "text": "Hi {{ first_name }}"}
    await hub.call("campaign.apply", spec={**sms, "kind": "transactional"})
    await hub.call("campaign.start", name="texts")
    await until(hub, "texts", "completed")
    await hub.call("message.send", provider="outbox", to=EMAIL, **ONE_OFF, idempotency_key="send")
    await one_off_messages_sent(hub)
    await come_back(served.database)
    await hub.call("inbox.reply", id=1, text="We shall send marmalade.", idempotency_key="reply")
    await one_off_messages_sent(hub)
    for dry_run in (True, False):
        await hub.call(
            "suppression.import",
            rows=[{"line": 1, "values": {"email": EMAIL}}, {"line": 2, "values": {"email": f"{EMAIL}@"}}],
            reason="asked",
            import_id="2",
            dry_run=dry_run,
        )
    await hub.call(
        "suppression.add", channel="sms", address=PHONE, reason="asked", idempotency_key="suppress"
    )


def found(path: Path) -> dict[str, set[str]]:
    """Which of her words are where: in the tables, and in the bytes of each file."""
    where: dict[str, set[str]] = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            for row in db.execute(f"SELECT * FROM {table}"):
                for column, value in zip(columns, row, strict=True):
                    said = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                    if words := {word for word in HERS if word.lower() in said.lower()}:
                        where.setdefault(f"{table}.{column}", set()).update(words)
    for file in path.parent.parent.rglob("*"):
        if file.is_file() and not file.is_socket():
            raw = file.read_bytes().lower()
            if words := {word for word in HERS if word.lower().encode() in raw}:
                where[str(file.relative_to(path.parent.parent))] = words
    return where


@pytest.mark.parametrize("overwritten", [True, False])
async def test_nothing_is_left_in_any_table_or_file(
    served: Served, hub: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwritten: bool
) -> None:
    """Nor in the log, or on pages of the file that are free or half empty: unless SQLite leaves it there."""
    if not overwritten:
        off = "PRAGMA secure_delete = OFF"
        await served.database._writer._connection.unit(
            served.database._writer._bridge, lambda db: db.execute(off).fetchall()
        )
    monkeypatch.setattr(writer, "IDLE_CHECKPOINT", 0.2)
    await live(served, hub)
    path = served.database.path
    before = found(path)
    assert {
        "contact.email_key",
        "delivery.recipient",
        "inbox.text",
        "suppression.address_key",
    } <= before.keys()
    done = await hub.call("contacts.forget", key=EMAIL, idempotency_key="forget")
    assert done["contact"]
    for each in await waiting(served.database):
        erase_messages(tmp_path / "outbox", each.campaign, [(each.first, each.last)])
    log = path.with_name("hub.db-wal")
    with trio.fail_after(60):
        while log.stat().st_size:  # noqa: ASYNC110 - the writer tells nobody that it rests
            await trio.sleep(0.05)
    left = found(path)
    if overwritten:
        assert left == {}
    else:
        assert [file for file in left if file.endswith("hub.db")], "the test would notice"
