"""The list of bad inputs at the control socket, by their numbers: what each does, and that the daemon serves
on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from hubd.client import open_client
from hubd.control import connection_limits, gate, session_writer
from hubd.control.frames import BYTES_PER_FRAME
from hubd.control.gate import serve_control
from hubd.errors import Unreachable
from hubd.wire import MAX_BATCH, MAX_MESSAGE
from tests.shell.open_hub import PLAIN, Served
from tests.shell.raw_client import HELLO, Raw, answer_to, frame, head, open_raw

SPEC = PLAIN | {"provider": "outbox", "lists": ["all"]}
STATUS = '{"jsonrpc":"2.0","id":1,"method":"hub.status"}'


@pytest.fixture
async def raw(served: Served) -> AsyncIterator[Raw]:
    """A client that has greeted; whatever it says, the daemon serves others afterwards."""
    async with open_raw(served.path) as raw:
        yield raw
    await alive(served.path)


@pytest.fixture
async def port(served: Served, tmp_path: Path) -> AsyncIterator[int]:
    """The hub's TCP listener."""
    async with trio.open_nursery() as nursery:
        path = tmp_path / "t" / "control.sock"
        await nursery.start(partial(serve_control, tcp=("127.0.0.1", 0)), path, served.hub)
        async with open_client(path) as hub:
            url = (await hub.call("auth.ticket"))["url"]
        yield int(url.removesuffix("/rpc").rpartition(":")[2])
        await alive(path)
        nursery.cancel_scope.cancel()


async def alive(path: Path) -> None:
    async with open_client(path) as hub:
        await hub.call("hub.status")


async def codes(raw: Raw, params: str) -> tuple[int, list[str]]:
    """The number and the paths of an error about parameters."""
    await raw.say(f'{{"jsonrpc":"2.0","id":1,"method":"suppression.add","params":{params}}}')
    error = (await raw.hear())["error"]
    return error["code"], [fault["path"] for fault in error["data"].get("errors", ())]


# -- frames ------------------------------------------------------------------------------------------------


async def test_bad_input_01_a_frame_over_the_limit_closes_with_1009(raw: Raw) -> None:
    await raw.say(" " * (MAX_MESSAGE + 1))
    assert await raw.closed() == 1009


async def test_bad_input_02_ten_thousand_fragments_of_one_octet_are_read(raw: Raw) -> None:
    first, more, last = (bytes([head, 0x81, 0, 0, 0, 0]) + b" " for head in (0x01, 0x00, 0x80))
    await raw.stream.send_all(first + more * 9_998 + last)
    assert (await raw.hear())["error"]["code"] == -32700


async def test_bad_input_02_fragments_without_end_close_with_1009(raw: Raw) -> None:
    part = b"\xff" + (100_000).to_bytes(8, "big") + bytes(4) + b" " * 100_000
    await raw.stream.send_all(b"\x01" + part + (b"\x00" + part) * 10)
    assert await raw.closed() == 1009


@pytest.mark.parametrize("text", [b"", b"x", "\U0001f600".encode()], ids=["empty", "one byte", "four bytes"])
async def test_bad_input_02_more_fragments_than_a_message_may_have_close_with_1009(
    raw: Raw, text: bytes
) -> None:
    """However short they are, and with pings in between: each is kept until the last one comes."""
    first, more = (bytes([head, 0x80 | len(text), 0, 0, 0, 0]) + text for head in (0x01, 0x00))
    ping = b"\x89\x80\x00\x00\x00\x00"
    await raw.stream.send_all(first + (more * 100 + ping) * (MAX_MESSAGE // BYTES_PER_FRAME // 100 + 1))
    assert await raw.closed() == 1009


async def test_bad_input_03_a_binary_frame_closes_with_1003(raw: Raw) -> None:
    await raw.say(b"{}")
    assert await raw.closed() == 1003


async def test_bad_input_04_text_that_is_not_utf8_closes_with_1007(raw: Raw) -> None:
    await raw.stream.send_all(b"\x81\x82\x00\x00\x00\x00\xc3\x28")
    assert await raw.closed() == 1007


# -- JSON-RPC ----------------------------------------------------------------------------------------------


REFUSED: dict[str, tuple[str, int]] = {
    "05 half an object": ("{", -32700),
    "06 empty batch": ("[]", -32600),
    "08 batch over the limit": ("[" + ",".join([STATUS] * (MAX_BATCH + 1)) + "]", -32600),
    "10 id object": ('{"jsonrpc":"2.0","id":{},"method":"hub.status"}', -32600),
    "10 id bool": ('{"jsonrpc":"2.0","id":true,"method":"hub.status"}', -32600),
    "10 id 1e999": ('{"jsonrpc":"2.0","id":1e999,"method":"hub.status"}', -32600),
    "11 key twice": ('{"jsonrpc":"2.0","id":1,"method":"hub.status","method":"hub.shutdown"}', -32600),
    "11 key twice in params": (
        '{"jsonrpc":"2.0","id":1,"method":"campaign.get","params":{"name":"a","name":"b"}}',
        -32600,
    ),
    "12 NaN": ('{"jsonrpc":"2.0","id":NaN,"method":"hub.status"}', -32700),
    "12 Infinity": ('{"jsonrpc":"2.0","id":1,"method":"hub.status","params":[-Infinity]}', -32700),
    "13 nesting": ("[" * 100_000, -32700),
    "13 nesting of objects": ('{"a":' * 100_000, -32700),
    "13 nesting that is closed": ("[" * 100_000 + "]" * 100_000, -32700),
    "14 integer of 5000 digits as id": (
        '{"jsonrpc":"2.0","id":' + "9" * 5000 + ',"method":"hub.status"}',
        -32700,
    ),
    "14 integer of 5000 digits as parameter": (
        '{"jsonrpc":"2.0","id":1,"method":"delivery.get","params":[' + "9" * 5000 + "]}",
        -32700,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_bad_input(raw: Raw, served: Served, case: str) -> None:
    """One answer, with the id null, and the connection stays."""
    text, expected = REFUSED[case]
    await raw.say(text)
    refused = await raw.hear()
    assert (refused["jsonrpc"], refused["id"], refused["error"]["code"]) == ("2.0", None, expected)
    assert "result" in await raw.ask("hub.status"), "the connection stays"
    assert not served.stopped.is_set()


async def test_bad_input_07_members_that_are_no_requests_are_each_answered(raw: Raw) -> None:
    await raw.say("[1,2,3]")
    answers = await raw.hear()
    assert [(answer["error"]["code"], answer["id"]) for answer in answers] == [(-32600, None)] * 3


@pytest.mark.parametrize("method", ["hub.status", "no.such", "campaign.get", "rpc.discover"])
async def test_bad_input_09_a_notification_is_not_answered_not_even_with_an_error(
    raw: Raw, method: str
) -> None:
    await raw.say({"jsonrpc": "2.0", "method": method, "params": 5})
    await raw.say([{"jsonrpc": "2.0", "method": method}])
    assert (await raw.ask("provider.list", request_id="next"))["id"] == "next"


async def test_bad_input_15_a_damaged_character_is_refused_with_its_place(raw: Raw) -> None:
    assert await codes(raw, r'{"channel":"email","address":"a\ud800@b.example"}') == (-32602, ["address"])
    # In an id it travels back as it came.
    await raw.say(r'{"jsonrpc":"2.0","id":"\ud800","method":"provider.list"}')
    assert (await raw.hear())["id"] == "\ud800"


async def test_bad_input_16_an_integer_that_no_database_holds(raw: Raw) -> None:
    for number in (2**63, -(2**63) - 1, 2**64):
        refused = await raw.ask("delivery.get", id=number)
        assert (refused["error"]["code"], refused["error"]["data"]["errors"][0]["path"]) == (-32602, "id")
        assert (await raw.ask("provider.list", request_id=number))["id"] == number


async def test_bad_input_17_a_nul_is_refused_with_its_place(raw: Raw) -> None:
    for key in ("name", "subject"):
        refused = await raw.ask("campaign.apply", spec={**SPEC, key: "x\0y"})
        assert refused["error"]["code"] == -32602
        assert [fault["path"] for fault in refused["error"]["data"]["errors"]] == [f"spec.{key}"]
    refused = await raw.ask("campaign.get", name="x\0y")
    assert (refused["error"]["code"], refused["error"]["data"]["errors"][0]["path"]) == (-32602, "name")
    assert (await raw.ask("campaign.list"))["result"]["campaigns"] == []


async def test_bad_input_18_an_unknown_method_is_told_as_that(raw: Raw) -> None:
    for method in ("no.such", "", "hub.status ", "HUB.STATUS", "rpc.", "__class__"):
        refused = await raw.ask(method, request_id=method)
        assert (refused["error"]["code"], refused["id"]) == (-32601, method)
    assert "result" in await raw.ask("hub.status")


async def test_bad_input_19_missing_and_unknown_parameters_are_told_with_their_names(raw: Raw) -> None:
    number, paths = await codes(raw, '{"chanel":"email","address":"a@b.example"}')
    assert number == -32602
    assert set(paths) == {"chanel", "channel"}
    number, paths = await codes(raw, '["email","a@b.example","","",false,true,"DE",7]')
    assert (number, paths) == (-32602, ["[7]"])
    listed = await raw.ask("suppression.list")
    assert listed["result"]["suppressions"] == [], "nothing was done"


# -- who may come in ---------------------------------------------------------------------------------------


async def test_bad_input_20_without_a_token_nobody_gets_past_the_handshake(port: int) -> None:
    """Refused before the websocket is there, which is sooner than closing it with 1008."""
    assert (await answer_to(port, head(Host=f"127.0.0.1:{port}"))).startswith(b"HTTP/1.1 401 ")


async def test_bad_input_21_a_wrong_token_a_thousand_times_is_told_of_once(
    port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "GUESS_SECONDS", 0.0)  # the delay itself is shown with the tickets
    guess = head(Host=f"127.0.0.1:{port}", Authorization="Bearer AAAA")
    for _ in range(1000):
        assert (await answer_to(port, guess)).startswith(b"HTTP/1.1 401 ")
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


async def test_bad_input_22_a_foreign_page_is_refused_with_403(served: Served, port: int) -> None:
    for where, host in ((served.path, "hubd.sock"), (port, f"127.0.0.1:{port}")):
        said = await answer_to(where, head(Host=host, Origin="https://evil.example"))
        assert said.startswith(b"HTTP/1.1 403 ")


async def test_bad_input_23_a_rebound_host_is_refused_with_403(served: Served, port: int) -> None:
    for where in (served.path, port):
        assert (await answer_to(where, head(Host=f"rebind.evil:{port}"))).startswith(b"HTTP/1.1 403 ")


async def test_bad_input_24_a_page_without_origin_is_refused_with_403(served: Served, port: int) -> None:
    for where, host in ((served.path, "hubd.sock"), (port, f"127.0.0.1:{port}")):
        for origin in ("null", "file://", "null, null"):
            assert (await answer_to(where, head(Host=host, Origin=origin))).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="http"),
        pytest.param(b"POST /rpc HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", id="post"),
        pytest.param(b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03" + bytes(230), id="tls"),
        pytest.param(b"EHLO mail.example\r\nMAIL FROM:<a@b.example>\r\n\r\n", id="smtp"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http2"),
    ],
)
async def test_bad_input_25_another_protocol_is_answered_with_4xx_and_closed(
    served: Served, port: int, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for where in (served.path, port):
        for _ in range(10):
            said = await answer_to(where, data, end=True)
            assert said.startswith(b"HTTP/1.1 4")
    assert "Traceback" not in caplog.text
    assert "incident" not in caplog.text
    assert len([r for r in caplog.records if "was refused" in r.getMessage()]) <= 10


async def test_bad_input_26_a_head_of_one_octet_a_second_is_cut_at_the_deadline(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    async with await trio.open_unix_socket(served.path) as slow:
        began = trio.current_time()

        async def drip() -> None:
            for octet in head():
                await slow.send_all(bytes([octet]))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await slow.receive_some()).startswith(b"HTTP/1.1 408 ")
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 2 * gate.HEAD_SECONDS


# -- too much ----------------------------------------------------------------------------------------------


async def test_bad_input_27_only_the_client_that_never_reads_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        session_writer, "SEND_SECONDS", 8.0
    )  # more than this process may be kept from running
    monkeypatch.setattr(session_writer, "CLOSE_SECONDS", 0.2)
    async with await trio.open_unix_socket(served.path) as deaf, open_client(served.path) as hub:
        await deaf.send_all(head())
        assert (await deaf.receive_some()).startswith(b"HTTP/1.1 101 ")
        await deaf.send_all(frame(json.dumps(HELLO).encode()))
        await deaf.send_all(frame(b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":[["*"]]}'))
        subscription = hub.subscribe(["daemon"], gauge_hz=0)
        first = await anext(subscription)
        for batch in range(40):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(served.events.add, "provider.state", None, {"n": batch * 100 + number})
            for _ in range(100):
                await anext(subscription)
        assert subscription.cursor["seq"] == first["seq"] + 4000, "the other one has them all"
        with trio.fail_after(30), pytest.raises(trio.BrokenResourceError):
            await talk_on(deaf)
    await alive(served.path)


async def talk_on(stream: trio.SocketStream) -> None:
    """Until it is cut off, what it says is taken."""
    while True:
        await stream.send_all(frame(b"{}"))
        await trio.lowlevel.checkpoint()


async def test_bad_input_28_who_comes_when_it_is_full_gets_503(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 3)
    async with open_raw(served.path), open_raw(served.path), open_raw(served.path) as last:
        for _ in range(20):
            with pytest.raises(Unreachable) as caught:
                async with open_client(served.path):
                    pass
            assert caught.value.code == "busy"
        assert "result" in await last.ask("hub.status")
    assert caplog.text.count("further connections are refused") == 1


async def test_bad_input_29_a_flood_of_pings_is_answered_one_by_one(served: Served) -> None:
    async with await trio.open_unix_socket(served.path) as stream:
        await stream.send_all(head())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        pongs = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"\x89\x81\x00\x00\x00\x00x" * 5_000)
            with trio.fail_after(60):
                while len(pongs) < 3 * 5_000:
                    pongs += await stream.receive_some()
        assert pongs == b"\x8a\x01x" * 5_000
        await alive(served.path)


async def test_bad_input_29_who_floods_with_pings_and_reads_no_answer_holds_up_itself_alone(
    served: Served,
) -> None:
    """What it is owed is not kept for it: the daemon reads no further until it has taken its pongs."""
    await alive(served.path)
    before = trio.lowlevel.current_statistics().tasks_living
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while True:
                await stream.send_all(b"\x89\x81\x00\x00\x00\x00x" * 1_000)
                sent += 7_000

    async with await trio.open_unix_socket(served.path) as stream, trio.open_nursery() as nursery:
        await stream.send_all(head())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        nursery.start_soon(flood, stream)
        with trio.fail_after(20):
            await trio.testing.wait_all_tasks_blocked(0.1)  # the flood, too, waits
        assert 0 < sent < 16_000_000
        await alive(served.path)
        await trio.aclose_forcefully(stream)
    with trio.fail_after(20):
        while trio.lowlevel.current_statistics().tasks_living > before:
            await trio.lowlevel.checkpoint()
