"""The token by which a page comes back: from hub.hello, good once, for its Origin, for five minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.client import open_client
from hubd.control.tickets import RECONNECT_SECONDS
from tests.shell.open_hub import Served, open_hub
from tests.shell.raw_client import HELLO, answer_to, head, open_raw

PAGE = "http://127.0.0.1:8080"
OTHER = "http://127.0.0.1:8081"


async def ticket(served: Served, **params: object) -> tuple[int, str]:
    """A port, and a ticket for it."""
    async with open_client(served.path) as hub:
        issued: dict[str, Any] = await hub.call("auth.ticket", **({"origin": PAGE} | params))
    return int(issued["url"].removesuffix("/rpc").rpartition(":")[2]), str(issued["ticket"])


async def status(port: int, token: str, origin: str = PAGE) -> int:
    """How the door answers to who comes with this token from that page."""
    said = await answer_to(
        port,
        head(
            Host=f"127.0.0.1:{port}",
            Origin=origin,
            Sec_WebSocket_Protocol=f"hub.jsonrpc.v1, hub.bearer.{token}",
        ),
    )
    return int(said.split(b" ")[1])


async def first_token(served: Served, **params: object) -> tuple[int, str]:
    """The session token of a page that came by a ticket and has gone."""
    port, bearer = await ticket(served, **params)
    async with open_raw(port, origin=PAGE, bearer=bearer) as raw:
        return port, str(raw.hello["session_token"])


async def test_hello_gives_a_token_and_it_is_not_the_ticket(served: Served) -> None:
    port, bearer = await ticket(served)
    async with open_raw(port, origin=PAGE, bearer=bearer) as raw:
        token = raw.hello["session_token"]
    assert len(token) == 43, "32 bytes in base64url"
    assert token != bearer


async def test_it_changes_each_time_and_each_is_good_once(served: Served) -> None:
    port, token = await first_token(served)
    seen = [token]
    for _ in range(3):
        async with open_raw(port, origin=PAGE, bearer=seen[-1]) as raw:
            seen.append(raw.hello["session_token"])
    assert len(set(seen)) == 4
    for old in seen[:-1]:
        assert await status(port, old) == 401
    assert await status(port, seen[-1]) == 101


async def test_the_role_stays_that_of_the_ticket(served: Served) -> None:
    for role in ("viewer", "operator"):
        port, token = await first_token(served, role=role)
        async with open_raw(port, origin=PAGE, bearer=token) as raw:
            assert raw.hello["role"] == role


@pytest.mark.parametrize("origin", [OTHER, "http://localhost:8080", "https://127.0.0.1:8080"])
async def test_a_page_of_another_origin_does_not_get_in_and_the_owner_still_does(
    served: Served, origin: str
) -> None:
    port, token = await first_token(served)
    assert await status(port, token, origin) == 401
    assert await status(port, token) == 101


async def test_a_program_does_not_get_in_by_the_token_of_a_page(served: Served) -> None:
    port, token = await first_token(served)
    said = await answer_to(port, head(Host=f"127.0.0.1:{port}", Authorization=f"Bearer {token}"))
    assert said.startswith(b"HTTP/1.1 401 ")


async def test_who_does_not_greet_leaves_the_token_as_it_was(served: Served) -> None:
    """A connection that breaks before the answer came has lost nothing."""
    port, token = await first_token(served)
    async with open_raw(port, origin=PAGE, bearer=token, greet=False):
        pass
    async with open_raw(port, origin=PAGE, bearer=token) as raw:
        assert raw.hello["session_token"] != token


async def test_greeting_again_on_one_connection_rotates_it_too(served: Served) -> None:
    port, bearer = await ticket(served)
    async with open_raw(port, origin=PAGE, bearer=bearer) as raw:
        first = raw.hello["session_token"]
        await raw.say(HELLO)
        second = (await raw.hear())["result"]["session_token"]
        assert first != second
        assert await status(port, first) == 401
    assert await status(port, second) == 101


async def test_another_protocol_gives_no_token_and_leaves_the_old_one(served: Served) -> None:
    port, token = await first_token(served)
    async with open_raw(port, origin=PAGE, bearer=token, greet=False) as raw:
        refused = await raw.ask("hub.hello", client={"name": "t"}, protocol=[7])
        assert refused["error"]["code"] == -32008
        assert "session_token" not in json.dumps(refused)
    assert await status(port, token) == 101


async def living() -> int:
    """How many tasks there are when nothing happens."""
    await trio.testing.wait_all_tasks_blocked()
    return trio.lowlevel.current_statistics().tasks_living


async def until_gone(tasks: int) -> None:
    """The daemon has seen that the page went away: there are no more tasks than before it came."""
    while trio.lowlevel.current_statistics().tasks_living > tasks:
        await trio.lowlevel.checkpoint()


async def test_it_lives_with_its_connection_and_dies_five_minutes_after_it(
    served: Served, mock_clock: trio.testing.MockClock
) -> None:
    port, bearer = await ticket(served)
    before = await living()
    async with open_raw(port, origin=PAGE, bearer=bearer) as raw:
        token = raw.hello["session_token"]
        mock_clock.jump(2 * RECONNECT_SECONDS)
        assert "result" in await raw.ask("hub.status")
    await until_gone(before)
    mock_clock.jump(RECONNECT_SECONDS - 1)
    async with open_raw(port, origin=PAGE, bearer=token) as raw:
        token = raw.hello["session_token"]
    await until_gone(before)
    mock_clock.jump(RECONNECT_SECONDS)
    assert await status(port, token) == 401


async def test_no_token_is_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="hubd")
    port, bearer = await ticket(served)
    async with open_raw(port, origin=PAGE, bearer=bearer) as raw:
        token = raw.hello["session_token"]
    assert await status(port, token, OTHER) == 401
    assert bearer not in caplog.text
    assert token not in caplog.text


async def test_after_a_restart_of_the_daemon_a_new_ticket_is_needed(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served:
        _, token = await first_token(served)
    async with open_hub(tmp_path) as served:
        port, bearer = await ticket(served)
        assert await status(port, token) == 401
        assert await status(port, bearer) == 101
