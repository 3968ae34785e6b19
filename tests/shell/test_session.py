"""One connection: the order of things, containment, limits, subscriptions, and how it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from hubd.client import open_client
from hubd.control import calls, session
from hubd.errors import HubError, NotFound, ResumeGap, ShuttingDown
from hubd.store.events import Events
from hubd.wire import MAX_BATCH, MAX_IN_FLIGHT, MAX_MESSAGE
from tests.shell.open_hub import Served, open_hub
from tests.shell.raw_client import HELLO, frame, head, open_raw


class SlowContacts:
    """Contacts whose lists are told when somebody lets them be."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = trio.Event()

    async def lists(self) -> list[object]:
        self.asked += 1
        await self.go_on.wait()
        return []


# -- the handshake of the protocol -------------------------------------------------------------------------


async def test_hello_comes_first(served: Served) -> None:
    async with open_raw(served.path, greet=False) as raw:
        refused = await raw.ask("hub.status")
        assert refused["error"]["code"] == -32000
        assert refused["error"]["data"]["code"] == "handshake_required"
        greeting = await raw.ask("hub.hello", client={"name": "t"}, protocol=[1, 2])
        assert greeting["result"]["protocol"] == 1
        assert greeting["result"]["limits"]["in_flight"] == MAX_IN_FLIGHT
        assert "result" in await raw.ask("hub.status")


async def test_an_ordinary_connection_is_no_news(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="hubd.control")
    async with open_client(served.path) as hub:
        await hub.call("hub.status")
    assert caplog.messages == []


async def test_requests_right_behind_hello_are_served(served: Served) -> None:
    async with open_raw(served.path, greet=False) as raw:
        await raw.say(HELLO)
        await raw.say({"jsonrpc": "2.0", "id": 2, "method": "hub.status"})
        answers = [await raw.hear(), await raw.hear()]
        assert all("result" in answer for answer in answers)


async def test_another_protocol_is_named_and_an_old_daemon_can_be_replaced(served: Served) -> None:
    async with open_raw(served.path, greet=False) as raw:
        skewed = await raw.ask("hub.hello", client={"name": "t"}, protocol=[7])
        assert skewed["error"]["code"] == -32008
        assert skewed["error"]["data"]["server_version"] == "0.0.1"
        assert (await raw.ask("campaign.list"))["error"]["code"] == -32000
        assert (await raw.ask("hub.status"))["result"]["version"] == "0.0.1"
        assert "result" in await raw.ask("hub.shutdown")
    assert served.stopped.is_set()


# -- JSON-RPC at the socket --------------------------------------------------------------------------------


async def test_faults_are_answered_and_the_connection_stays(served: Served) -> None:
    async with open_raw(served.path) as raw:
        for text, code in [("{", -32700), ("[]", -32600), ("1", -32600), ("[" * 9999, -32700)]:
            await raw.say(text)
            answer = await raw.hear()
            assert (answer["error"]["code"], answer["id"]) == (code, None)
        assert (await raw.ask("no.such"))["error"]["code"] == -32601
        wrong = await raw.ask("campaign.get", nam="x")
        assert wrong["error"]["code"] == -32602
        assert {fault["path"] for fault in wrong["error"]["data"]["errors"]} == {"nam", "name"}
        missing = await raw.ask("campaign.get", name="nope")
        assert (missing["error"]["code"], missing["error"]["data"]["code"]) == (1001, "campaign_not_found")


async def test_notifications_are_never_answered(served: Served) -> None:
    async with open_raw(served.path) as raw:
        for method in ("hub.status", "no.such", "campaign.get"):
            await raw.say({"jsonrpc": "2.0", "method": method, "params": {"bad": 1}})
        await raw.say([{"jsonrpc": "2.0", "method": "hub.status"}] * 3)
        assert (await raw.ask("hub.status", request_id="last"))["id"] == "last"


async def test_null_id_is_answered_and_equal_ids_are_both_answered(served: Served) -> None:
    async with open_raw(served.path) as raw:
        assert (await raw.ask("hub.status", request_id=None))["id"] is None
        for _ in range(2):
            await raw.say({"jsonrpc": "2.0", "id": 7, "method": "hub.status"})
        assert [(await raw.hear())["id"] for _ in range(2)] == [7, 7]


async def test_a_batch_answers_its_requests_only(served: Served) -> None:
    async with open_raw(served.path) as raw:
        await raw.say(
            [
                {"jsonrpc": "2.0", "id": 1, "method": "hub.status"},
                {"jsonrpc": "2.0", "method": "hub.status"},
                {"foo": "boo"},
                {"jsonrpc": "2.0", "id": 2, "method": "no.such"},
            ]
        )
        answers = await raw.hear()
        assert [answer["id"] for answer in answers] == [1, None, 2]
        assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32600, -32601]


async def test_params_by_position(served: Served) -> None:
    async with open_raw(served.path) as raw:
        await raw.say({"jsonrpc": "2.0", "id": 1, "method": "campaign.get", "params": ["nope"]})
        assert (await raw.hear())["error"]["code"] == 1001


async def test_a_message_at_the_limit_is_read(served: Served) -> None:
    async with open_raw(served.path) as raw:
        await raw.say('"' + "x" * (MAX_MESSAGE - 2) + '"')
        assert (await raw.hear())["error"]["code"] == -32600


# -- large answers that nobody reads -------------------------------------------------------------------------


async def test_a_large_answer_to_a_batch_is_one_array_and_takes_no_more_than_a_part_of_it(
    served: Served,
) -> None:
    """Members that come to nothing, and others' answers behind it, are where they belong."""
    discover = {"jsonrpc": "2.0", "method": "rpc.discover"}
    async with open_raw(served.path) as raw:
        members = [{**discover, "id": number} for number in range(MAX_BATCH - 2)]
        await raw.say([*members, discover, {"jsonrpc": "2.0", "id": "last", "method": "no.such"}])
        answers = await raw.hear()
        assert [answer["id"] for answer in answers] == [*range(MAX_BATCH - 2), "last"]
        assert len({json.dumps(answer["result"]) for answer in answers[:-1]}) == 1
        assert (await raw.ask("hub.status"))["result"]
        await raw.say([discover] * MAX_BATCH)
        assert (await raw.ask("provider.list", request_id="next"))["id"] == "next"


async def test_a_batch_whose_client_has_gone_is_carried_out_to_its_end(tmp_path: Path) -> None:
    reloads, done = 0, trio.Event()

    async def reload() -> list[str]:
        nonlocal reloads
        reloads += 1
        if reloads == MAX_BATCH // 2:
            done.set()
        return ["x" * calls.BATCH_BYTES]

    async with open_hub(tmp_path, reload=reload) as served:
        async with open_raw(served.path) as raw:
            await raw.say([{"jsonrpc": "2.0", "id": 1, "method": "hub.reload"}] * (MAX_BATCH // 2))
        with trio.fail_after(20):
            await done.wait()
        async with open_raw(served.path) as raw:
            assert "result" in await raw.ask("hub.status")


async def test_nothing_is_worked_on_for_a_client_that_does_not_read_until_it_does(tmp_path: Path) -> None:
    asked, number, said = 0, 3_000, bytearray()

    def now() -> float:
        nonlocal asked
        asked += 1
        return time.time()

    async with (
        open_hub(tmp_path, now=now) as served,
        open_raw(served.path) as raw,
        trio.open_nursery() as nursery,
    ):
        await raw.ask("hub.status")
        each = asked
        ask = frame(b'{"jsonrpc":"2.0","id":1,"method":"hub.status"}')
        stream = await trio.open_unix_socket(served.path)
        async with stream:
            await stream.send_all(head())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
            await stream.send_all(frame(json.dumps(HELLO).encode()))
            nursery.start_soon(stream.send_all, ask * number)
            await wait_until_quiet(lambda: asked)
            worked_on = asked
            assert worked_on < each * number / 2, "no more than it may hold"
            assert "result" in await raw.ask("hub.status")
            with trio.fail_after(60):
                while said.count(b'"jsonrpc"') <= number:  # the greeting, and some were too many at once
                    said += await stream.receive_some()
        assert asked > worked_on


async def wait_until_quiet(count: Callable[[], int]) -> None:
    """Until nothing more happens, as everybody waits for somebody else."""
    before = -1
    while before != (before := count()):
        await trio.testing.wait_all_tasks_blocked(0.2)


async def test_compression_is_not_agreed_to_and_a_compressed_frame_closes_with_1002(served: Served) -> None:
    async with await trio.open_unix_socket(served.path) as stream:
        await stream.send_all(head(Sec_WebSocket_Extensions="permessage-deflate"))
        said = await stream.receive_some()
        assert said.startswith(b"HTTP/1.1 101 ")
        assert b"xtensions" not in said
        await stream.send_all(b"\xc1\x80\x00\x00\x00\x00")
        with trio.fail_after(20):
            assert (1002).to_bytes(2, "big") in await stream.receive_some()


# -- containment -------------------------------------------------------------------------------------------


async def test_a_bug_in_a_method_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> float:
        raise KeyError("secret inside")

    async with open_hub(tmp_path, now=broken) as served, open_raw(served.path) as raw:
        failed = await raw.ask("hub.status")
        error = failed["error"]
        assert error["code"] == -32603
        assert "secret inside" not in json.dumps(failed)
        assert error["data"]["incident"] in caplog.text
        assert "result" in await raw.ask("campaign.list")
        async with open_client(served.path) as other:
            assert await other.call("provider.list")


async def test_a_bug_outside_of_any_request_ends_that_connection_and_no_other(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> list[object]:
        raise KeyError("a bug")

    async with open_client(served.path) as other, open_raw(served.path) as raw:
        monkeypatch.setattr(Events, "page", broken)  # what a subscription reads by itself, after its answer
        assert "result" in await raw.ask("events.subscribe", topics=["*"])
        await raw.closed()
        assert await other.call("provider.list")
    assert caplog.text.count("incident") == 1
    assert "KeyError: 'a bug'" in caplog.text
    async with open_client(served.path) as hub:
        assert await hub.call("provider.list")


async def test_a_result_that_json_cannot_hold_is_an_incident(tmp_path: Path) -> None:
    async with open_hub(tmp_path, now=lambda: float("inf")) as served, open_raw(served.path) as raw:
        assert (await raw.ask("hub.status"))["error"]["code"] == -32603
        assert "result" in await raw.ask("campaign.list")


async def test_too_many_requests_in_flight_are_refused(tmp_path: Path) -> None:
    gate = trio.Event()

    async def slow() -> list[str]:
        await gate.wait()
        return []

    async with open_hub(tmp_path, reload=slow) as served, open_raw(served.path) as raw:
        for number in range(MAX_IN_FLIGHT + 1):
            await raw.say({"jsonrpc": "2.0", "id": number, "method": "hub.reload"})
        refused = await raw.hear()
        assert refused["id"] == MAX_IN_FLIGHT
        assert refused["error"]["code"] == -32005
        assert refused["error"]["data"]["retryable"] is True
        gate.set()
        assert {(await raw.hear())["id"] for _ in range(MAX_IN_FLIGHT)} == set(range(MAX_IN_FLIGHT))


async def test_a_request_that_reads_can_be_cancelled_and_is_answered(tmp_path: Path) -> None:
    slow = SlowContacts()
    async with open_hub(tmp_path, contacts=slow) as served, open_raw(served.path) as raw:
        for request_id in ("1", 1):
            await raw.say({"jsonrpc": "2.0", "id": request_id, "method": "contacts.lists"})
        with trio.fail_after(10):
            while slow.asked < 2:
                await trio.lowlevel.checkpoint()
        await raw.say({"jsonrpc": "2.0", "id": "c", "method": "hub.cancel", "params": {"id": 1}})
        heard = [await raw.hear(), await raw.hear()]
        (done,) = [answer for answer in heard if answer["id"] == "c"]
        (cancelled,) = [answer for answer in heard if answer["id"] == 1]
        assert done["result"] == {"changed": True}
        assert cancelled["error"]["code"] == -32007
        assert cancelled["error"]["data"]["code"] == "cancelled"
        slow.go_on.set()
        assert (await raw.hear())["id"] == "1"
        assert (await raw.ask("hub.cancel", request_id=2, id=1))["result"] == {"changed": False}


async def test_a_command_that_was_begun_is_not_cancelled(tmp_path: Path) -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slow() -> list[str]:
        begun.set()
        await go_on.wait()
        return ["all of it"]

    async with open_hub(tmp_path, reload=slow) as served, open_raw(served.path) as raw:
        await raw.say({"jsonrpc": "2.0", "id": 1, "method": "hub.reload"})
        await begun.wait()
        assert (await raw.ask("hub.cancel", request_id=2, id=1))["result"] == {"changed": False}
        go_on.set()
        assert (await raw.hear())["result"]["applied"] == ["all of it"]


async def test_cancelling_works_when_much_is_under_way_and_what_waits_in_a_batch_is_dropped(
    tmp_path: Path,
) -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slow() -> list[str]:
        begun.set()
        await go_on.wait()
        return []

    async with open_hub(tmp_path, reload=slow) as served, open_raw(served.path) as raw:
        await raw.say([{"jsonrpc": "2.0", "id": n, "method": "hub.reload"} for n in (1, 2)])
        for number in range(3, 3 + MAX_IN_FLIGHT):
            await raw.say({"jsonrpc": "2.0", "id": number, "method": "hub.reload"})
        await begun.wait()
        assert (await raw.hear())["error"]["code"] == -32005
        assert (await raw.ask("hub.cancel", request_id="c", id=2))["result"] == {"changed": True}
        go_on.set()
        heard = [await raw.hear() for _ in range(MAX_IN_FLIGHT)]
        (batch,) = [answer for answer in heard if isinstance(answer, list)]
        assert "result" in batch[0]
        assert batch[1]["error"]["data"]["code"] == "cancelled"


# In the tests with `autojump_clock` time passes only while everybody waits, and nothing in them is asked of
# the database, whose thread nobody would wait for.


async def test_a_client_that_does_not_greet_is_closed_with_4002(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_raw(served.path, greet=False) as raw:
        assert await raw.closed() == 4002


async def test_a_client_of_another_version_may_stay(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_raw(served.path, greet=False) as raw:
        assert "error" in await raw.ask("hub.hello", client={"name": "t"}, protocol=[7])
        await trio.sleep(10 * session.HELLO_SECONDS)
        assert (await raw.ask("provider.list"))["error"]["code"] == -32000


async def test_a_command_is_finished_when_its_client_goes_away(tmp_path: Path) -> None:
    begun, go_on, done = trio.Event(), trio.Event(), trio.Event()

    async def slow() -> list[str]:
        begun.set()
        await go_on.wait()
        done.set()
        return []

    async with open_hub(tmp_path, reload=slow) as served:
        async with open_raw(served.path) as raw:
            await raw.say({"jsonrpc": "2.0", "id": 1, "method": "hub.reload"})
            await begun.wait()
        go_on.set()
        with trio.fail_after(10):
            await done.wait()


# -- subscriptions -----------------------------------------------------------------------------------------


async def test_snapshot_then_events_in_order(served: Served) -> None:
    async with open_client(served.path) as hub:
        subscription = hub.subscribe(["*"])
        first = await anext(subscription)
        assert first["type"] == "snapshot"
        assert first["seq"] == served.database.head_seq
        for number in range(3):
            await served.events.add("provider.state", None, {"n": number})
        seen = [await anext(subscription) for _ in range(3)]
        assert [event["data"]["n"] for event in seen] == [0, 1, 2]
        assert [event["seq"] for event in seen] == [first["seq"] + 1, first["seq"] + 2, first["seq"] + 3]


async def test_more_events_than_a_page_arrive_without_gap_or_duplicate(served: Served) -> None:
    async with open_client(served.path) as hub:
        subscription = hub.subscribe(["daemon"], gauge_hz=0)
        start = (await anext(subscription))["seq"]
        async with trio.open_nursery() as nursery:
            for number in range(700):
                nursery.start_soon(served.events.add, "provider.state", None, {"n": number})
            seen = [(await anext(subscription))["seq"] for _ in range(700)]
        assert seen == list(range(start + 1, start + 701))


async def test_resume_after_a_restart_of_the_daemon(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        subscription = hub.subscribe(["*"])
        await anext(subscription)
        await served.events.add("provider.state", None, {"n": 1})
        await anext(subscription)
        await served.events.add("provider.state", None, {"n": 2})
        cursor = subscription.cursor
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        resumed = hub.subscribe(["*"], after=cursor)
        assert (await anext(resumed))["seq"] == cursor["seq"]
        assert (await anext(resumed))["data"]["n"] == 2


async def test_a_cursor_that_cannot_be_resumed_is_refused(served: Served) -> None:
    epoch, head = served.database.epoch, served.database.head_seq
    for number in range(6):
        await served.events.add("provider.state", None, {"n": number})
    async with open_client(served.path) as hub:
        for after in ({"epoch": epoch + 1, "seq": 0}, {"epoch": epoch, "seq": head + 99}):
            with pytest.raises(ResumeGap):
                await anext(hub.subscribe(["*"], after=after))
        await served.events.prune(keep=2)
        with pytest.raises(ResumeGap) as caught:
            await anext(hub.subscribe(["*"], after={"epoch": epoch, "seq": head + 1}))
        oldest = caught.value.data["oldest_seq"]
        assert oldest == served.database.head_seq - 1
        resumed = hub.subscribe(["*"], after={"epoch": epoch, "seq": served.database.head_seq - 2})
        await anext(resumed)
        assert (await anext(resumed))["seq"] == oldest


async def test_topics_are_checked(served: Served) -> None:
    async with open_client(served.path) as hub:
        for topic in ("campaign:", "everything", "x:y"):
            with pytest.raises(HubError) as caught:
                await anext(hub.subscribe([topic]))
            assert caught.value.code == "bad_input"
        with pytest.raises(NotFound):
            await anext(hub.subscribe(["campaign:nope"]))


async def test_unsubscribe(served: Served) -> None:
    async with open_client(served.path) as hub:
        subscription = hub.subscribe(["*"])
        await anext(subscription)
        name = subscription.id
        assert await hub.call("events.unsubscribe", subscription=name) == {"changed": True}
        assert await hub.call("events.unsubscribe", subscription=name) == {"changed": False}
        with pytest.raises(NotFound):
            await hub.call("events.unsubscribe", subscription="s99")


async def test_subscriptions_of_a_connection_are_bounded(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MAX_SUBSCRIPTIONS", 2)
    async with open_client(served.path) as hub:
        kept = [hub.subscribe(["*"]) for _ in range(3)]
        for subscription in kept[:2]:
            await anext(subscription)
        with pytest.raises(HubError) as caught:
            await anext(kept[2])
        assert caught.value.code == "overloaded"


# -- the end -----------------------------------------------------------------------------------------------


async def test_the_daemon_says_good_bye(served: Served) -> None:
    async with open_raw(served.path) as raw:
        served.serving.cancel()
        farewell = await raw.hear()
        assert farewell["method"] == "daemon.stopping"
        assert await raw.closed() == 1001


async def test_a_client_is_told_that_the_daemon_stops(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        subscription = hub.subscribe(["*"])
        await anext(subscription)
        served.serving.cancel()
        with trio.fail_after(10), pytest.raises(ShuttingDown):
            await anext(subscription)
