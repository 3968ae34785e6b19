"""Every error of the registry is met on the wire: its number, its word, whether to ask again, a hint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.control import table
from hubd.control.discovery import describe
from hubd.control.gate import serve_control
from hubd.control.methods import METHODS
from hubd.control.tickets import MAX_TICKETS
from hubd.core.model import Channel, InDoubt
from hubd.engine.ports import Transport
from hubd.engine.provider import ProviderSpec
from hubd.errors import BadConfig, CredentialMissing, StoreUnavailable
from hubd.wire import MAX_IN_FLIGHT
from hubd.wire.registry import PROTOCOL_CODES, RETRYABLE
from tests.shell.open_hub import PLAIN, Served, open_hub
from tests.shell.raw_client import HELLO, Raw, open_raw

Error = dict[str, Any]
SPEC = PLAIN


class Lists:
    """Contacts whose lists are never told, or say what went wrong."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = trio.Event()
        self._error = error

    async def lists(self) -> list[object]:
        self.asked.set()
        if self._error is not None:
            raise self._error
        await trio.sleep_forever()
        raise AssertionError


class Reload:
    """A configuration that is read for ever, or not at all."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go_on = trio.Event(), trio.Event()
        self._error = error

    async def __call__(self) -> list[str]:
        self.begun.set()
        if self._error is not None:
            raise self._error
        await self.go_on.wait()
        return []


async def said(raw: Raw, text: object) -> Error:
    await raw.say(text)
    return error_of(await raw.hear())


async def asked(raw: Raw, method: str, **params: object) -> Error:
    return error_of(await raw.ask(method, **params))


def error_of(answer: dict[str, Any]) -> Error:
    error: Error = answer["error"]
    return error


# -- how each is met ---------------------------------------------------------------------------------------


async def parse_error(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        return await said(raw, "{")


async def invalid_request(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        return await said(raw, "[]")


async def method_not_found(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        return await asked(raw, "campaign.explode")


async def bad_input(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        error = await asked(raw, "campaign.get", nam="x")
        assert {fault["path"] for fault in error["data"]["errors"]} == {"nam", "name"}
        return error


async def bad_template(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        return await asked(raw, "campaign.apply", spec=SPEC | {"text": "{{ "})


async def bad_config(folder: Path) -> Error:
    broken = Reload(BadConfig.at("hub.log_level", "is no level", hint="one of debug, info, warning"))
    async with open_hub(folder, reload=broken) as served, open_raw(served.path) as raw:
        return await asked(raw, "hub.reload")


async def internal_error(folder: Path) -> Error:
    async with open_hub(folder, contacts=Lists(KeyError("inside"))) as served, open_raw(served.path) as raw:
        error = await asked(raw, "contacts.lists")
        assert error["data"]["incident"] in error["data"]["hint"]
        assert "inside" not in str(error)
        return error


async def handshake_required(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path, greet=False) as raw:
        return await asked(raw, "hub.status")


async def unauthenticated(folder: Path) -> Error:
    """Two connections by one session token: the second that greets is the one that should not have it."""
    async with open_hub(folder) as served:
        async with open_raw(served.path) as raw:
            issued = (await raw.ask("auth.ticket"))["result"]
        port = int(issued["url"].removesuffix("/rpc").rpartition(":")[2])
        async with open_raw(port, header=issued["ticket"]) as raw:
            token = raw.hello["session_token"]
        by_token = partial(open_raw, port, header=token, greet=False)
        async with by_token() as first, by_token() as second:
            await first.say(HELLO)
            await first.hear()
            return await said(second, HELLO)


async def forbidden(folder: Path) -> Error:
    observe = folder / "d" / "observe.sock"
    async with open_hub(folder) as served, trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, observe=observe), folder / "d" / "c.sock", served.hub)
        async with open_raw(observe) as raw:
            error = await asked(raw, "hub.shutdown")
        nursery.cancel_scope.cancel()
        return error
    raise AssertionError


async def rate_limited(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        for _ in range(0, MAX_TICKETS, 32):
            await raw.say([{"jsonrpc": "2.0", "id": n, "method": "auth.ticket"} for n in range(32)])
            assert all("result" in answer for answer in await raw.hear())
        return await asked(raw, "auth.ticket")


async def shutting_down(folder: Path) -> Error:
    """A client that is still owed an answer when the daemon stops may ask on; commands are refused."""
    slow = Reload()
    async with open_hub(folder, reload=slow) as served, open_raw(served.path) as raw:
        await raw.say({"jsonrpc": "2.0", "id": 1, "method": "hub.reload"})
        await slow.begun.wait()
        served.serving.cancel()
        error = await asked(raw, "campaign.pause", name="spring")
        slow.go_on.set()
        return error


async def overloaded(folder: Path) -> Error:
    slow = Reload()
    async with open_hub(folder, reload=slow) as served, open_raw(served.path) as raw:
        for number in range(MAX_IN_FLIGHT):
            await raw.say({"jsonrpc": "2.0", "id": number, "method": "hub.reload"})
        error = await asked(raw, "hub.status")
        slow.go_on.set()
        return error


async def cancelled(folder: Path) -> Error:
    slow = Lists()
    async with open_hub(folder, contacts=slow) as served, open_raw(served.path) as raw:
        await raw.say({"jsonrpc": "2.0", "id": 1, "method": "contacts.lists"})
        await slow.asked.wait()
        await raw.say({"jsonrpc": "2.0", "id": 2, "method": "hub.cancel", "params": [1]})
        answers = {answer["id"]: answer for answer in [await raw.hear(), await raw.hear()]}
        assert answers[2]["result"] == {"changed": True}
        return error_of(answers[1])


async def protocol_unsupported(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path, greet=False) as raw:
        return await asked(raw, "hub.hello", client={"name": "t"}, protocol=[99])


async def error(folder: Path) -> Error:
    """One without a number of its own."""
    async with open_hub(folder) as served, trio.open_nursery() as nursery:
        await nursery.start(serve_control, folder / "d" / "c.sock", served.hub)
        async with open_raw(folder / "d" / "c.sock") as raw:
            found = await asked(raw, "auth.ticket")
        nursery.cancel_scope.cancel()
        assert found["data"]["code"] == "no_tcp_listener"
        return found
    raise AssertionError


async def not_found(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        return await asked(raw, "campaign.get", name="nope")


async def applied(served: Served, raw: Raw) -> None:
    rows = [{"line": 2, "values": {"email": "ann@example.com"}}]
    assert "result" in await raw.ask("contacts.import", list="customers", rows=rows, import_id="i")
    assert "result" in await raw.ask("campaign.apply", spec=SPEC)


async def invalid_transition(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        await applied(served, raw)
        error = await asked(raw, "campaign.pause", name="spring")
        assert {"from", "requested", "allowed"} <= error["data"].keys()
        return error


async def conflict(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        await applied(served, raw)
        await raw.ask("campaign.rate", name="spring", rate="1/s", idempotency_key="k")
        return await asked(raw, "campaign.rate", name="spring", rate="2/s", idempotency_key="k")


async def revision_conflict(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        await applied(served, raw)
        error = await asked(raw, "campaign.apply", spec=SPEC | {"text": "Ho"}, if_revision=0)
        assert error["data"]["current"] == 1
        return error


async def preflight_failed(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        await applied(served, raw)
        await raw.ask("campaign.apply", spec=SPEC | {"kind": "marketing"})
        error = await asked(raw, "campaign.start", name="spring")
        assert error["data"]["problems"]
        return error


async def credits_short(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        words = {"sender": "Acme <a@acme.example>", "subject": "Hi", "text": "Hi", "credits": "team"}
        return await asked(raw, "message.send", provider="outbox", to="ann@example.com", **words)


async def provider_unavailable(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        await raw.ask("provider.disable", name="outbox")
        return await asked(raw, "provider.test", name="outbox")


async def credential_missing(folder: Path) -> Error:
    async def no_secret() -> Transport:
        raise CredentialMissing("secret file office.pass: no such file", hint="make it, or name another")

    office = ProviderSpec(
        name="office",
        kind="smtp",
        channels=frozenset({Channel.EMAIL}),
        connections=1,
        in_doubt=InDoubt.HOLD,
        open=no_secret,
    )
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        outbox = served.hub.supervisor.providers.get("outbox").spec
        await served.hub.supervisor.reconfigure({"outbox": outbox, "office": office})
        return await asked(raw, "provider.test", name="office")


async def resume_gap(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        error = await asked(raw, "events.subscribe", topics=["*"], after={"epoch": 9, "seq": 1})
        assert {"oldest_seq", "epoch", "head_seq"} <= error["data"].keys()
        return error


async def store_error(folder: Path) -> Error:
    async with open_hub(folder) as served, open_raw(served.path) as raw:
        error = await asked(raw, "hub.backup", path="/proc/copy.db")  # where nobody can make a file
        assert error["data"]["code"] == "backup_failed"
        return error


async def store_unavailable(folder: Path) -> Error:
    full = StoreUnavailable("the disk is full", hint="make room on it")
    async with open_hub(folder, contacts=Lists(full)) as served, open_raw(served.path) as raw:
        return await asked(raw, "contacts.lists")


# -- all of them -------------------------------------------------------------------------------------------

Meet = Callable[[Path], Awaitable[Error]]
MET: tuple[Meet, ...] = (
    parse_error,
    invalid_request,
    method_not_found,
    bad_input,
    bad_template,
    bad_config,
    internal_error,
    handshake_required,
    unauthenticated,
    forbidden,
    rate_limited,
    shutting_down,
    overloaded,
    cancelled,
    protocol_unsupported,
    error,
    not_found,
    invalid_transition,
    conflict,
    revision_conflict,
    preflight_failed,
    credits_short,
    provider_unavailable,
    credential_missing,
    resume_gap,
    store_error,
    store_unavailable,
)
#: Where the word on the wire is narrower than the one of the registry.
NARROWER = {
    "error": "no_tcp_listener",
    "not_found": "campaign_not_found",
    "conflict": "key_used",
    "store_error": "backup_failed",
}
REGISTRY: dict[str, Any] = describe(METHODS, "")["components"]["errors"]  # type: ignore[assignment]  # any JSON


def check(word: str, found: Error) -> None:
    assert found["code"] == REGISTRY[word]["code"]
    assert found["data"]["code"] == NARROWER.get(word, word)
    assert found["data"]["retryable"] is (word in RETRYABLE)
    assert found["message"]
    assert "Traceback" not in str(found)
    if word in PROTOCOL_CODES:
        assert found["data"]["hint"], "what to do about it"


@pytest.mark.parametrize("meet", MET, ids=lambda meet: meet.__name__)
async def test_this_error_is_met(meet: Meet, tmp_path: Path) -> None:
    check(meet.__name__, await meet(tmp_path))


async def test_a_request_that_reads_for_too_long_is_given_up_and_answered(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """deadline_exceeded."""
    slow = Lists()
    async with open_hub(tmp_path, contacts=slow) as served, open_raw(served.path) as raw:
        await raw.say({"jsonrpc": "2.0", "id": 1, "method": "contacts.lists"})
        await slow.asked.wait()
        mock_clock.jump(table.READ_SECONDS)
        check("deadline_exceeded", error_of(await raw.hear()))
        assert "result" in await raw.ask("hub.status"), "the connection stays"


async def test_what_changes_something_has_no_deadline(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """It is finished, whoever listens; half of it would be worse than late."""
    slow = Reload()
    async with open_hub(tmp_path, reload=slow) as served, open_raw(served.path) as raw:
        await raw.say({"jsonrpc": "2.0", "id": 1, "method": "hub.reload"})
        await slow.begun.wait()
        mock_clock.jump(10 * table.READ_SECONDS)
        slow.go_on.set()
        assert "result" in await raw.hear()


def test_there_is_no_error_that_was_not_met() -> None:
    assert {meet.__name__ for meet in MET} | {"deadline_exceeded"} == set(REGISTRY)
