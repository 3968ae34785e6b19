"""`delivery.source`: the whole email in parts, as it went over the wire."""

from __future__ import annotations

import hashlib
import random
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import trio

from hubctl.browser_page import browser_page
from hubd.client import Client, open_client
from hubd.wire.params import MAX_PART
from tests.shell.open_hub import one_off_messages_sent, open_hub
from tests.shell.test_methods import apply, import_people, until

FILE = random.Random(3).randbytes(3 * MAX_PART + 5)
ATTACHED = {
    "name": "photo.bin",
    "type": "application/octet-stream",
    "sha256": hashlib.sha256(FILE).hexdigest(),
    "size": len(FILE),
}


async def attach(hub: Client) -> None:
    for offset in range(0, len(FILE), MAX_PART):
        data = b64encode(FILE[offset : offset + MAX_PART]).decode()
        part = {"sha256": ATTACHED["sha256"], "offset": offset, "data": data, "size": len(FILE)}
        await hub.call("campaign.attach", **part)


async def parts(hub: Client, number: int) -> list[dict[str, Any]]:
    found = [await hub.call("delivery.source", id=number)]
    while found[-1]["next"] is not None:
        found.append(await hub.call("delivery.source", id=number, offset=found[-1]["next"]))
    return found


async def test_the_parts_of_a_large_email_are_what_went_over_the_wire(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 1)
        await attach(hub)
        await apply(hub, attachments=[ATTACHED])
        await hub.call("campaign.start", name="spring")
        await until(hub, "spring", "completed")
        (row,) = (await hub.call("delivery.list", campaign="spring"))["deliveries"]
        life = await hub.call("delivery.get", id=row["id"])
        assert life["content"]["source_shortened"]
        assert "are not shown" in life["content"]["source"]
        assert 'filename="photo.bin"' in life["content"]["source"]
        assert len(life["content"]["source"]) < 4096
        found = await parts(hub, row["id"])
        whole = b"".join(b64decode(part["data"]) for part in found)
        assert whole == await trio.Path(life["delivery"]["file"]).read_bytes()
        assert {(part["size"], part["attempts"]) for part in found} == {(len(whole), 1)}
        assert len(found) == -(-len(whole) // MAX_PART)
        beyond = await hub.call("delivery.source", id=row["id"], offset=len(whole))
        assert (beyond["data"], beyond["next"]) == ("", None)
        middle = await hub.call("delivery.source", id=row["id"], offset=1000)
        assert b64decode(middle["data"]) == whole[1000 : 1000 + MAX_PART]


async def test_an_email_that_is_short_is_one_part_and_a_text_has_none(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        words = {"sender": "a@acme.example", "subject": "Hi", "text": "Hello"}
        mail = await hub.call("message.send", provider="outbox", to="a@example.com", **words)
        await one_off_messages_sent(hub)  # its Date is that of its attempt from then on
        (part,) = await parts(hub, mail["delivery_id"])
        content = (await hub.call("delivery.get", id=mail["delivery_id"]))["content"]
        assert b64decode(part["data"]).decode() == content["source"]
        assert "source_shortened" not in content
        text = await hub.call("message.send", provider="outbox", to="+14155552671", text="Hello")
        (part,) = await parts(hub, text["delivery_id"])
        assert (part["data"], part["size"]) == ("", 0)


async def test_a_preview_shows_headers_and_files_and_keeps_the_pictures_of_a_large_email(
    tmp_path: Path,
) -> None:
    logo = random.Random(4).randbytes(40_000)
    inline = {
        "name": "logo.png",
        "type": "image/png",
        "sha256": hashlib.sha256(logo).hexdigest(),
        "size": len(logo),
    }
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 1)
        await attach(hub)
        part = {"sha256": inline["sha256"], "offset": 0, "data": b64encode(logo).decode(), "size": len(logo)}
        await hub.call("campaign.attach", **part)
        words = {"html": '<p><img src="cid:logo.png">Hi</p>', "reply_to": "help@acme.example"}
        own = {"headers": {"X-Stream": "bulk {{ first_name }}"}, "sender": "Ämter <a@acme.example>"}
        await apply(hub, attachments=[ATTACHED], inline=[inline], **words, **own)
        shown = await hub.call("campaign.preview", name="spring")
    headers = dict(shown["headers"])
    assert headers["From"] == "Ämter <a@acme.example>"
    assert (headers["Reply-To"], headers["X-Stream"]) == ("help@acme.example", "bulk N0")
    assert not any(name.startswith(("Content-", "MIME-")) for name in headers)
    assert [(each["name"], each["size"], each["inline"]) for each in shown["attachments"]] == [
        ("logo.png", len(logo), True),
        ("photo.bin", len(FILE), False),
    ]
    page = browser_page(shown["html"], shown["source"])
    assert f"data:image/png;base64,{b64encode(logo).decode()}" in page
    assert shown["source_shortened"]
    assert len(shown["source"]) < 3 * len(logo)
