"""JSON-RPC 2.0 at the real socket: the specification's own examples, and every rule that servers get wrong.

What any text at all does is in `test_fuzz.py`, how it is read in `test_wire.py`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.control.methods import METHODS
from hubd.wire.registry import CLASS_NUMBERS, PROTOCOL_CODES
from tests.shell.open_hub import Served, open_hub
from tests.shell.raw_client import Raw, open_raw

Summary = list[tuple[object, int | None]] | tuple[object, int | None] | None


@pytest.fixture
async def raw(served: Served) -> AsyncIterator[Raw]:
    async with open_raw(served.path) as raw:
        yield raw


def summary(answer: Any) -> Summary:
    """The id and the number of the error (None for a result) of an answer, or of each in a batch."""
    if isinstance(answer, list):
        return [pair for one in answer if isinstance(pair := summary(one), tuple)]
    assert answer["jsonrpc"] == "2.0"
    assert ("result" in answer) != ("error" in answer)
    return answer["id"], answer.get("error", {}).get("code")


async def gets(raw: Raw, text: str, expected: Summary) -> None:
    """That a text is answered so, and by nothing else before two more requests are, one after the other."""
    await raw.say(text)
    waited = [expected] if expected is not None else []
    heard: list[Summary] = []
    for after in (None, "after", "again"):
        if after is not None:
            await raw.say({"jsonrpc": "2.0", "id": after, "method": "contacts.lists"})
            waited.append((after, None))
        while len(heard) < len(waited):
            heard.append(summary(await raw.hear()))
        assert heard == waited


#: https://www.jsonrpc.org/specification, section 7. What it calls methods there is unknown here.
EXAMPLES: dict[str, tuple[str, Summary]] = {
    "positional": ('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', (1, -32601)),
    "positional, turned": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        (2, -32601),
    ),
    "named": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        (3, -32601),
    ),
    "a notification": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    "a notification of nothing": ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    "non-existent method": ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', ("1", -32601)),
    "invalid JSON": ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', (None, -32700)),
    "invalid request object": ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', (None, -32600)),
    "batch, invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        (None, -32700),
    ),
    "empty array": ("[]", (None, -32600)),
    "invalid batch, not empty": ("[1]", [(None, -32600)]),
    "invalid batch": ("[1,2,3]", [(None, -32600)] * 3),
    "batch": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},'
        '{"foo": "boo"},'
        '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
        '{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
        [("1", -32601), ("2", -32601), (None, -32600), ("5", -32601), ("9", -32601)],
    ),
    "batch of notifications": (
        '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_of_the_specification_is_answered_as_it_says(raw: Raw, name: str) -> None:
    text, expected = EXAMPLES[name]
    await gets(raw, text, expected)


def request(more: str, method: str = "hub.status") -> str:
    return f'{{"jsonrpc":"2.0","method":"{method}"{more}}}'


RULES: dict[str, tuple[str, Summary]] = {
    "without id: silence": (request(""), None),
    "without id: silence about an unknown method": (request("", "no.such"), None),
    "without id: silence about an error": (request(',"params":{"name":"nope"}', "campaign.get"), None),
    "without id: silence about wrong params": (request(',"params":5'), None),
    "id null is a request": (request(',"id":null'), (None, None)),
    "a member of a batch that is no object": (
        "[" + request(',"id":1') + ",7]",
        [(1, None), (None, -32600)],
    ),
    "a batch of silence": ("[" + request("") + "," + request("", "no.such") + "]", None),
    "an id that can be read, of an invalid request": ('{"jsonrpc":"1.0","method":"x","id":5}', (5, -32600)),
    "an id that cannot, of an invalid request": ('{"jsonrpc":"2.0","method":"x","id":[5]}', (None, -32600)),
    "other members are ignored": (request(',"id":1,"trace":{"a":[]},"result":1'), (1, None)),
    "params that are text": (request(',"id":1,"params":"x"'), (1, -32602)),
    "params that are null": (request(',"id":1,"params":null'), (1, -32602)),
    "params by name": (request(',"id":1,"params":{"name":"nope"}', "campaign.get"), (1, 1001)),
    "params by position": (request(',"id":1,"params":["nope"]', "campaign.get"), (1, 1001)),
    "params of a wrong type by name": (request(',"id":1,"params":{"name":5}', "campaign.get"), (1, -32602)),
    "params of a wrong type by position": (request(',"id":1,"params":[5]', "campaign.get"), (1, -32602)),
    "a reserved method that is none": (request(',"id":1', "rpc.nothing"), (1, -32601)),
    "the word of another version": ('{"jsonrpc":2.0,"method":"hub.status","id":1}', (1, -32600)),
    "no version at all": ('{"method":"hub.status","id":1}', (1, -32600)),
    "a method that is no text": ('{"jsonrpc":"2.0","method":null,"id":1}', (1, -32600)),
    "a byte order mark": ("\ufeff" + request(',"id":1'), (None, -32700)),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
async def test_a_rule_that_servers_get_wrong_is_kept(raw: Raw, name: str) -> None:
    text, expected = RULES[name]
    await gets(raw, text, expected)


@pytest.mark.parametrize("text", ['"1"', "1", "1.5", "-7", '""', "1180591620717411303424", '"\\ud800"'])
async def test_an_id_comes_back_as_it_went(raw: Raw, text: str) -> None:
    await raw.say(request(f',"id":{text}'))
    with trio.fail_after(20):
        said = await raw.socket.get_message()
    assert f'"id":{text}' in said, "the same bytes, so also the same type"


@pytest.mark.parametrize("text", ["true", "false", "{}", "[]", "[1]"])
async def test_an_id_of_another_type_is_refused(raw: Raw, text: str) -> None:
    await gets(raw, request(f',"id":{text}'), (None, -32600))


async def test_what_the_daemon_says_by_itself_are_notifications(raw: Raw, served: Served) -> None:
    await raw.ask("events.subscribe", topics=["*"], gauge_hz=0)
    await served.events.add("provider.state", None, {"n": 1})
    event = await raw.hear()
    assert set(event) == {"jsonrpc", "method", "params"}
    assert (event["jsonrpc"], event["method"]) == ("2.0", "event")
    assert {"subscription", "epoch", "seq", "ts", "type", "data"} <= set(event["params"])


async def test_a_batch_is_no_transaction(raw: Raw) -> None:
    """What comes before a member that fails is done, and so is what comes after it."""
    add = {"jsonrpc": "2.0", "method": "suppression.add"}
    await raw.say(
        [
            {**add, "id": 1, "params": {"channel": "email", "address": "ann@example.com"}},
            {**add, "id": 2, "params": {"channel": "email", "address": "no address"}},
            {**add, "params": {"channel": "email", "address": "bob@example.com"}},
        ]
    )
    assert summary(await raw.hear()) == [(1, None), (2, -32602)]
    listed = (await raw.ask("suppression.list"))["result"]["suppressions"]
    assert {entry["address"] for entry in listed} == {"ann@example.com", "bob@example.com"}


def test_numbers_of_the_program_are_positive_and_the_others_reserved_by_the_protocol() -> None:
    reserved = {-32700, -32600, -32601, -32602, -32603, *range(-32099, -31999)}
    assert set(PROTOCOL_CODES.values()) <= reserved
    for cls, number in CLASS_NUMBERS.items():
        assert number > 0 or number in reserved, cls
    assert [name for name in METHODS if name.startswith("rpc.")] == ["rpc.discover"]


async def test_a_fault_of_our_own_is_told_by_its_number_in_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback, no path, no word of the exception: an incident, and params are judged before the call."""

    def broken() -> float:
        raise TypeError("secret inside")

    async with open_hub(tmp_path, now=broken) as served, open_raw(served.path) as raw:
        error = (await raw.ask("hub.status"))["error"]
        assert (error["code"], error["data"]["code"]) == (-32603, "internal_error"), (
            "a TypeError is no bad input"
        )
        told = json.dumps(error)
        assert not any(
            word in told for word in ("secret inside", "TypeError", "Traceback", ".py", str(tmp_path))
        )
        assert error["data"]["incident"] in caplog.text
        assert "secret inside" in caplog.text
