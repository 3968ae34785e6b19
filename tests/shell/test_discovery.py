"""`rpc.discover`: the document is whole, valid and true; each of its examples is played against a real hub.

    python -m tests.shell.test_discovery        writes the results of the examples anew

The meta-schema is the one of the npm package @open-rpc/meta-schema.
"""

from __future__ import annotations

import ast
import json
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio

from hubd.client import Client, open_client
from hubd.control.discovery import ERRORS, WORDS, describe, story
from hubd.control.methods import METHODS
from hubd.core import preflight
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.model import ENDED, CampaignState, Counts, DeliveryState
from hubd.core.tokens import Purpose, Tokens
from hubd.errors import HubError
from hubd.store.booking import EVENT_OF
from hubd.store.inbox import Inbox
from hubd.wire.events import EVENTS
from hubd.wire.words import CAMPAIGN_STATES, DELIVERY_STATES, FINISHED, RISKS, SENT, UNFINISHED
from tests.node_packages import node_package
from tests.shell.open_hub import Served, one_off_messages_sent, open_hub

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "hubd" / "control" / "examples.json"
BACKUPS = "/var/backups/messagehub"  #: stands for a directory of the test
TIME = "2026-12-01T08:00:00.000Z"
DOCUMENT: dict[str, Any] = json.loads(json.dumps(describe(METHODS, "1.2.3")))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def check(value: object, schema: dict[str, Any]) -> None:
    """`value` is as `schema` of the document says; and has no member that the schema does not know."""
    whole = {**schema, "components": {"schemas": strict_schemas()}}
    jsonschema.Draft202012Validator(whole).validate(value)


@cache
def strict_schemas() -> Any:
    return strict(SCHEMAS)


def strict(schema: Any) -> Any:
    """Objects with known members have no others: a result may grow, but the document grows with it."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    return made


# -- the document ------------------------------------------------------------------------------------------


def test_the_document_is_openrpc() -> None:
    source = (node_package("@open-rpc/meta-schema") / "index.js").read_text()
    meta = json.loads(source[source.index("= {") + 2 : source.index(";\nexports.default")])
    # Two definitions are of another document on the net: what a schema is (see below), and a reference.
    del meta["$schema"]
    meta["definitions"]["JSONSchema"] = {"type": ["object", "boolean"]}
    meta["definitions"]["referenceObject"]["properties"]["$ref"] = {"type": "string"}
    assert "json-schema.tools" not in json.dumps(meta)
    jsonschema.Draft7Validator.check_schema(meta)
    jsonschema.Draft7Validator(meta).validate(DOCUMENT)


def test_every_schema_is_one() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for method in DOCUMENT["methods"]:
        for descriptor in (*method["params"], method["result"]):
            jsonschema.Draft202012Validator.check_schema(descriptor["schema"])


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(DOCUMENT)))
    there = {f"{kind}/{name}" for kind, each in DOCUMENT["components"].items() for name in each}
    assert used <= there
    types = {each["data"]["$ref"] for each in DOCUMENT["x-notifications"][0]["types"].values()}
    assert {name for name in there - used if name.startswith("schemas/")} <= {"schemas/EventView", *types}


@pytest.mark.parametrize("method", DOCUMENT["methods"], ids=lambda method: method["name"])
def test_a_method_is_described_whole(method: dict[str, Any]) -> None:
    row = METHODS[method["name"]]
    assert method["summary"].endswith((".", "?"))
    assert method["x-role"] == row.role.value
    assert method["x-mutates"] is row.mutates
    assert method["x-role"] == "operator" or not method["x-mutates"]
    assert method["result"]["schema"]["$ref"].endswith(row.result.__name__)
    assert method["examples"], "no example"
    assert method["errors"]
    required = [param["required"] for param in method["params"]]
    assert required == sorted(required, reverse=True), "required parameters come first"
    assert all("default" in param["schema"] for param in method["params"] if not param["required"])
    assert "idempotency_key" in [p["name"] for p in method["params"]] or not method["x-mutates"]


@pytest.mark.parametrize(
    ("method", "example"),
    [
        pytest.param(method, example, id=f"{example['x-order']}-{method['name']}")
        for method in DOCUMENT["methods"]
        for example in method["examples"]
    ],
)
def test_an_example_is_as_the_schemas_say(method: dict[str, Any], example: dict[str, Any]) -> None:
    known = {param["name"]: param for param in method["params"]}
    given = {each["name"]: each["value"] for each in example["params"]}
    assert given.keys() <= known.keys()
    assert {name for name, param in known.items() if param["required"]} <= given.keys()
    for name, value in given.items():
        check(value, known[name]["schema"])
    check(example["result"]["value"], method["result"]["schema"])


def test_the_tables_name_only_what_there_is() -> None:
    assert ERRORS.keys() <= METHODS.keys()
    for name, field in WORDS:
        assert field in SCHEMAS[name]["properties"]
    assert {example["method"] for example in story()} == METHODS.keys()


def told_types() -> Iterator[tuple[str, str]]:
    """The types of events that the program writes, by where: a word given to `event(...)` or `_add(...)`."""
    for path in sorted((ROOT / "hubd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and called(node) in ("event", "_add"):
                for given in node.args[:2]:
                    if isinstance(given, ast.Constant) and "." in str(given.value):
                        yield str(given.value), f"{path}:{node.lineno}"


def called(call: ast.Call) -> str:
    """The last word of what a call calls: `event` of `record.event(...)`."""
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def test_every_type_of_event_is_described() -> None:
    found = dict(told_types())
    assert len(found) > 10
    assert not {f"{kind} ({where})" for kind, where in found.items() if kind not in EVENTS}
    assert {name for name, kind in EVENTS.items() if kind.durable} <= {
        *found,
        "delivery.failed",  # these two come from a table
        "delivery.in_doubt",
        *EVENT_OF.values(),
    }


def test_every_error_has_a_number_and_a_word() -> None:
    errors = DOCUMENT["components"]["errors"]
    assert errors["resume_gap"]["code"] == 1020
    assert errors["forbidden"]["code"] == -32002
    assert all(each["data"]["code"] and each["message"] for each in errors.values())
    for method in DOCUMENT["methods"]:
        words = [each["$ref"].rpartition("/")[2] for each in method["errors"]]
        assert len(set(words)) == len(words)
        assert ("shutting_down" in words) is method["x-mutates"]


# -- the examples ------------------------------------------------------------------------------------------


async def play(served: Served, folder: Path) -> list[dict[str, Any]]:
    """The story from its start to its end; each example with what really came."""
    played = []
    async with open_client(served.path) as hub:
        for example in story():
            params = json.loads(json.dumps(example["params"]).replace(BACKUPS, str(folder)))
            if example["method"] == "inbox.list":
                await somebody_replies(served)
            try:
                result = await hub.call(example["method"], **params)
            except HubError as error:
                raise AssertionError(f"{example['name']}: {error} {error.data}") from error
            played.append({**example, "result": result})
            if example["method"] == "campaign.start" and not params.get("dry_run"):
                await until_paused(hub, params["name"])
            await one_off_messages_sent(hub)  # what the next example shows must not depend on when
    return played


async def somebody_replies(served: Served) -> None:
    tokens = Tokens(served.database.install_key)
    reply = Item(
        key="1",
        kind=ItemKind.REPLY,
        at=served.hub.now(),
        about=Reference(token=tokens.of(Purpose.BOUNCE, 1), address="me@acme.example"),
        sender="Me <me@acme.example>",
        subject="Re: Hello Ann",
        text="How do I stop this?",
        message_id="<7@acme.example>",
    )
    await Inbox(served.database, tokens).book("mailbox replies", [reply], "1")


async def until_paused(hub: Client, name: str) -> None:
    subscription = hub.subscribe([f"campaign:{name}"])
    async for _ in subscription:
        if (await hub.call("campaign.get", name=name))["campaign"]["state"] == "paused":
            break
    await subscription.aclose()


STEADY = {
    "pid": 4711,
    "uptime": 12.5,
    "seconds": 0.042,
    "size": 262144,
    "state_dir": "/var/lib/messagehub",
    "instance_id": "6f1d0c2b7a9e4d53",
    "server_version": "0.2.0",
    "version": "0.2.0",
    "contact_id": "b7d9a1c26f0e4835",
    "message_id": "<5e0c7f.1@acme.example>",
    "provider_id": "5e0c7f",
    "file": "outbox/1.eml",
    "source": "From: Acme <news@acme.example>\r\nTo: ann@example.com\r\nSubject: Hello Ann\r\n\r\nHi Ann\r\n",
    "data": "RnJvbTogQWNtZSA8bmV3c0BhY21lLmV4YW1wbGU+DQpUbzogYW5uQGV4YW1wbGUuY29tDQoNCkhpIEFubg0K",
    "found": "as it should be",
    "seq": 17,
    "head_seq": 0,
    "next": 2,
    "oldest": 1,
    "behind": 0,
    "url": "ws://127.0.0.1:8765/rpc",
    "ticket": "q3Zt0b1uYpXo5cV9d2e7fK8hRmNwSgJxLaT4iQyUzEo",
}
TIMES = ("_at", "since", "until")


def steady(value: Any, key: str = "") -> Any:
    """A result without what differs from one run to the next."""
    if key == "headers" and isinstance(value, list):
        return [["From", "Acme <news@acme.example>"], ["To", "ann@example.com"], ["Subject", "Hello Ann"]]
    if isinstance(value, list):
        return [steady(each) for each in value]
    if isinstance(value, dict) and "openrpc" in value:
        cut: dict[str, Any] = {"methods": [], "components": {}, "x-errors": [], "x-notifications": []}
        return {**value, **cut, "info": {**value["info"], "version": STEADY["version"]}}
    if isinstance(value, dict) and "# EOF" in str(value.get("text")):
        return {**value, "text": "# TYPE messagehub_events counter\nmessagehub_events_total 17\n# EOF\n"}
    if isinstance(value, dict) and "settings" in value:
        return value  # the configuration is the same each time, and has a `file` and a `source` of its own
    if isinstance(value, dict):
        made = {name: steady(each, name) for name, each in value.items()}
        if value.get("state") == "running" and "counts" in value:
            counts = dict.fromkeys(value["counts"], 0) | {"total": 3, "pending": 3}
            made |= {"counts": counts, "freezing": False, "reason": "", "rate": 0.0, "eta": None}
        return made
    if value is None or isinstance(value, bool) or (key == "version" and isinstance(value, int)):
        return value
    if isinstance(value, str):
        value = re.sub(r"/\S*/outbox", f"{STEADY['state_dir']}/outbox", value)
        value = re.sub(r"/\S*/2026-12-01\.db", f"{BACKUPS}/2026-12-01.db", value)
        time = key.endswith(TIMES) or key in ("at", "ts")
        return TIME if time and value else STEADY.get(key, value) if value else value
    return STEADY.get(key, value)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with open_hub(tmp_path, figures=True) as served:
        yield served


async def test_every_example_in_order_gives_what_it_says(served: Served, tmp_path: Path) -> None:
    with trio.fail_after(300):  # for what hangs: a machine with much else to do takes long, too
        played = await play(served, tmp_path)
    assert served.stopped.is_set()
    for number, (said, came) in enumerate(zip(story(), played, strict=True), 1):
        name = f"{number} {said['name']}"
        check(came["result"], {"$ref": f"#/components/schemas/{METHODS[said['method']].result.__name__}"})
        assert steady(came["result"]) == said["result"], name


async def _record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_hub(Path(folder), figures=True) as served:
            played = await play(served, Path(folder))
    written = [{**each, "result": steady(each["result"])} for each in played]
    EXAMPLES.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    trio.run(_record)


def test_the_words_that_clients_go_by_are_those_of_the_daemon() -> None:
    assert set(CAMPAIGN_STATES) == {state.value for state in CampaignState}
    assert {state.value for state in ENDED} == FINISHED
    assert set(DELIVERY_STATES) == {state.value for state in DeliveryState}
    finished = {name for name in DELIVERY_STATES if Counts(total=1, **{name: 1}).finished}
    assert set(DELIVERY_STATES) - finished == UNFINISHED
    assert {name for name in finished if Counts(total=1, **{name: 1}).accepted} >= SENT
    assert set(RISKS) == preflight.RISKS
