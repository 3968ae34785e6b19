"""Anything at all at the open connection: what is no request gets the answer of JSON-RPC, or silence.

What must come back is worked out here from the text alone, by a second reading of the specification.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import wsproto
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, Request, TextMessage

from hubd.client import open_client
from hubd.control.methods import METHODS
from hubd.wire import HOST, PATH, SUBPROTOCOL
from tests.shell.open_hub import open_hub
from tests.shell.raw_client import HELLO, frame, open_raw

pytestmark = pytest.mark.slow

#: Not these: they would end the daemon, write files of their own, or drop requests whose answers are counted.
LEFT_OUT = {"hub.shutdown", "hub.backup", "hub.cancel"}
NULL = "null"  #: an id, as all of them here, in the bytes in which it is sent

# -- what has to come back ---------------------------------------------------------------------------------


class _Twice(ValueError):
    """A key occurs twice in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise _Twice
    return dict(pairs)


def _constant(word: str) -> None:
    raise ValueError(word)


def due(text: str) -> list[str] | str | None:
    """The ids of the answers in one frame: of a batch, of a single answer, or None for silence."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except ValueError:
        return NULL
    if not isinstance(value, list) or not value:
        return _due_to(value)
    found = [each for member in value if (each := _due_to(member)) is not None]
    return found or None


def _due_to(member: object) -> str | None:
    if not isinstance(member, dict):
        return NULL
    number = member.get("id")
    if isinstance(number, bool | list | dict) or number in (float("inf"), -float("inf")):
        return NULL
    if member.get("jsonrpc") != "2.0" or not isinstance(member.get("method"), str) or "id" in member:
        return json.dumps(number)
    return None


def check(answer: object) -> str:
    """That it is an answer, whole and with nothing else in it; its id."""
    assert isinstance(answer, dict)
    assert set(answer) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
    assert answer["jsonrpc"] == "2.0"
    if "error" in answer:
        error = answer["error"]
        assert set(error) == {"code", "message", "data"}
        assert type(error["code"]) is int
        assert error["message"]
        assert {"code", "retryable", "hint"} <= set(error["data"])
        assert error["data"]["code"] != "internal_error", error
    return json.dumps(answer["id"])


# -- what goes in ------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["", "all", "spring", "daemon", "*", "campaign:x", "email", "a@example.com", "\0", "2"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """What nearly is a request: some parameters that there are, and any of its members may be another."""
    method = draw(st.sampled_from(sorted(METHODS.keys() - LEFT_OUT)))
    names = METHODS[method].params.__struct_fields__
    named = st.dictionaries(st.sampled_from(names), WORDS | JSON, max_size=4) if names else st.just({})
    made: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "id": draw(st.integers(0, 9) | WORDS)}
    if draw(st.booleans()):
        made["params"] = draw(named | st.lists(WORDS | JSON, max_size=3))
    for member in draw(st.sets(st.sampled_from(["jsonrpc", "method", "id", "params", "more"]), max_size=2)):
        made.pop(member, None)
        if draw(st.booleans()):
            made[member] = draw(JSON)
    return made


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A request, or several, with a few characters of it changed, left out or put in."""
    text = json.dumps(draw(requests() | st.lists(requests(), min_size=1, max_size=4)), allow_nan=True)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=2)) + text[at + draw(st.integers(0, 2)) :]
    return text


frames = (
    damaged() | st.text() | JSON.map(json.dumps) | st.lists(requests() | JSON, max_size=5).map(json.dumps)
)


async def test_any_text_gets_the_answer_of_json_rpc_or_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_hub(tmp_path) as served:

        async def exchange(texts: list[str]) -> None:
            expected = [each for text in texts if (each := due(text)) is not None]
            missing = Counter(map(str, expected))
            async with open_raw(served.path) as raw, trio.open_nursery() as nursery:
                nursery.start_soon(say, raw, texts)
                turns = itertools.count()
                while missing.total() or next(turns) < 2:  # what should be silent is waited for twice
                    if not missing.total():
                        missing['"the end"'] += 1
                        await raw.say('{"jsonrpc":"2.0","id":"the end","method":"contacts.lists"}')
                    heard = await raw.hear()
                    if isinstance(heard, dict) and "id" not in heard:
                        assert set(heard) == {"jsonrpc", "method", "params"}, "a push"
                        continue
                    got = [check(each) for each in heard] if isinstance(heard, list) else check(heard)
                    assert missing[str(got)] > 0, (got, missing, texts)
                    missing[str(got)] -= 1

        async def say(raw: Any, texts: list[str]) -> None:
            for text in texts:
                await raw.say(text)

        @settings(max_examples=80)
        @given(texts=st.lists(frames, min_size=1, max_size=12))
        def fuzz(texts: list[str]) -> None:
            trio.from_thread.run(exchange, texts)

        await trio.to_thread.run_sync(fuzz)
    assert "incident" not in caplog.text


# -- below the texts ---------------------------------------------------------------------------------------


@st.composite
def broken_frame(draw: st.DrawFn) -> bytes:
    """What nearly is a frame of a client (RFC 6455 5.2)."""
    payload = draw(st.binary(max_size=130) | damaged().map(lambda text: text.encode("utf-8", "replace")))
    first = draw(
        st.sampled_from([0x81, 0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A]) | st.integers(0, 255)
    )
    masked = draw(st.sampled_from([0x80, 0x80, 0x80, 0]))
    size = len(payload) + draw(st.sampled_from([0, 0, 0, 0, 1, -1, 2**40]))
    size = max(size, 0)
    if size < 126:
        length = bytes([masked | size])
    elif size < 2**16:
        length = bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([masked | 127]) + size.to_bytes(8, "big")
    return bytes([first]) + length + (bytes(4) if masked else b"") + payload


async def test_any_bytes_get_frames_of_json_rpc_or_the_end_of_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hello = frame(json.dumps(HELLO).encode())
    async with open_hub(tmp_path) as served:

        async def exchange(data: bytes, greet: bool) -> None:
            protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
            async with await trio.open_unix_socket(served.path) as stream:
                await stream.send_all(
                    protocol.send(Request(host=HOST, target=PATH, subprotocols=[SUBPROTOCOL]))
                )
                said = await stream.receive_some()
                try:
                    await stream.send_all((hello if greet else b"") + data)
                    await stream.send_eof()
                    with trio.fail_after(20):
                        while chunk := await stream.receive_some():
                            said += chunk
                except trio.BrokenResourceError:
                    pass  # it was closed while we spoke
            judge(protocol, bytes(said))

        @settings(max_examples=120)
        @given(
            data=st.lists(broken_frame() | st.binary(max_size=20), max_size=6).map(b"".join),
            greet=st.booleans(),
        )
        def fuzz(data: bytes, greet: bool) -> None:
            trio.from_thread.run(exchange, data, greet)

        await trio.to_thread.run_sync(fuzz)
        async with open_client(served.path) as hub:
            assert await hub.call("hub.status")
    assert "incident" not in caplog.text


def judge(protocol: wsproto.WSConnection, said: bytes) -> None:
    """That a client which knows the protocol understands all of it."""
    protocol.receive_data(said)
    text = ""
    for event in protocol.events():
        match event:
            case TextMessage():
                text += event.data
                if event.message_finished:
                    answer, text = json.loads(text), ""
                    for each in answer if isinstance(answer, list) else [answer]:
                        assert "method" in each or check(each)
            case AcceptConnection() | CloseConnection() | Ping() | Pong():
                pass
            case _:
                raise AssertionError(event)
