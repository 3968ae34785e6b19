"""The SMTP transport against a server that misbehaves on command, at every stage of the dialogue."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from hubd.core.model import Answer, Signal, Stage
from tests.shell.scripted_smtp import BEHAVIOURS, CLOSE, GO, OK, Say, Script, ScriptedServer, serve_script
from tests.shell.smtp_peers import BODY, TOKENS, open_connection, rendered, send, send_in_a_row

# -- the good case -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelining", [True, False])
async def test_messages_arrive_byte_for_byte_in_order_over_one_connection(pipelining: bool) -> None:
    messages = [rendered(n, BODY + b"%d\r\n" % n) for n in range(1, 6)]
    async with serve_script(pipelining=pipelining) as server, open_connection(server) as (_, connection):
        answers = await send_in_a_row(connection, messages)
        await connection.aclose()
    assert [answer.provider_id for answer in answers] == ["Q1", "Q2", "Q3", "Q4", "Q5"]
    assert answers[0] == Answer(
        stage=Stage.DOT,
        code=250,
        enhanced="2.0.0",
        text="2.0.0 Ok: queued as Q1",
        verbatim=True,
        provider_id="Q1",
    )
    assert [message.body for message in server.messages] == [one.payload for one in messages]
    assert [message.rcpt for message in server.messages] == [[f"RCPT TO:<{p.recipient}>"] for p in messages]
    assert server.connections == 1
    assert server.commands[-1] == "QUIT"


async def test_bounces_go_to_the_providers_address_unless_the_campaign_says_where() -> None:
    async with serve_script() as server, open_connection(server, bounces="b@acme.example") as (_, connection):
        own = replace(rendered(2), own_return_path=True)
        await send_in_a_row(connection, [rendered(1), own, rendered(3)])
    assert [message.mail for message in server.messages] == [
        "MAIL FROM:<b@acme.example>",
        "MAIL FROM:<from@example.org>",
        "MAIL FROM:<b@acme.example>",
    ]


@pytest.mark.parametrize("notify", ["FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"])
@pytest.mark.parametrize("pipelining", [True, False])
async def test_reports_of_delivery_are_asked_for_where_the_server_has_them(
    pipelining: bool, notify: str
) -> None:
    """RFC 3461, 4. Nothing is asked of a server that does not offer DSN."""
    odd = replace(rendered(2), recipient="a+b=c@example.net", own_return_path=True)
    bounces = "b+{token}@acme.example"
    one = replace(rendered(1), message_id="<0a1b@acme.example>")
    token = TOKENS(1)
    server: ScriptedServer
    for dsn in (True, False):
        async with serve_script(pipelining=pipelining) as server:
            if dsn:
                server.extensions = [*server.extensions, b"DSN"]
            async with open_connection(server, bounces=bounces, notify=notify) as (_, connection):
                await send_in_a_row(connection, [one, odd])
        about = [" RET=HDRS ENVID=0a1b@acme.example", " RET=HDRS"] if dsn else ["", ""]
        assert [message.mail for message in server.messages] == [
            f"MAIL FROM:<b+{token}@acme.example>{about[0]}",
            f"MAIL FROM:<from@example.org>{about[1]}",
        ]
        asked = f" NOTIFY={notify} ORCPT=rfc822;" if dsn else ""
        assert [message.rcpt for message in server.messages] == [
            [f"RCPT TO:<to1@example.net>{asked}{'to1@example.net' if dsn else ''}"],
            [f"RCPT TO:<a+b=c@example.net>{asked}{'a+2Bb+3Dc@example.net' if dsn else ''}"],
        ]
    async with serve_script(pipelining=pipelining) as server:
        server.extensions = [*server.extensions, b"DSN"]
        async with open_connection(server, notify="") as (_, connection):
            await send_in_a_row(connection, [rendered(1)])
    assert [message.mail for message in server.messages] == ["MAIL FROM:<from@example.org>"]


async def test_with_pipelining_the_next_envelope_travels_with_the_dot() -> None:
    """The server says nothing to the dot, yet hears the next DATA: they came in one write."""
    script = {"dot": [Say(then="")]}
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        assert await connection.prepare(rendered(1)) is None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.deliver, rendered(1), rendered(2))
            await server.wait_for("data", 2)
            nursery.cancel_scope.cancel()


async def test_without_pipelining_nothing_is_announced() -> None:
    async with serve_script(pipelining=False) as server, open_connection(server) as (_, connection):
        await send(connection, rendered(1), rendered(2))
        assert [line[:4] for line in server.commands] == ["EHLO", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("code", [200, 250, 251, 299])
async def test_any_2xx_to_the_dot_is_an_acceptance(code: int) -> None:
    async with (
        serve_script({"dot": [Say(b"%d fine\r\n" % code)]}) as server,
        open_connection(server) as (_, connection),
    ):
        answer = await send(connection, rendered())
    assert (answer.stage, answer.signal, answer.code) == (Stage.DOT, Signal.REPLY, code)


async def test_replies_in_packets_of_one_octet_are_read_like_any_other() -> None:
    slow = {
        stage: [Say(data, packets=True)]
        for stage, data in {
            "mail": b"250-2.1.0 first\r\n250 2.1.0 second\r\n",
            "rcpt": b"250\r\n",
            "data": b"354 go\r\n",
            "dot": b"250 2.0.0 queued as ABC\r\n",
        }.items()
    }
    async with serve_script(slow) as server, open_connection(server) as (_, connection):
        answer = await send(connection, rendered())
    assert answer.provider_id == "ABC"


async def test_a_server_that_closes_after_its_250_costs_one_silent_reconnection() -> None:
    script = {"dot": [Say(b"250 Ok\r\n", then="close")] * 3}
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        answers = await send_in_a_row(connection, [rendered(1), rendered(2), rendered(3)])
    assert [answer.code for answer in answers] == [250, 250, 250]
    assert server.connections == 3
    assert len(server.messages) == 3


async def test_a_server_from_before_esmtp_is_greeted_with_helo() -> None:
    async with (
        serve_script({"ehlo": [Say(b"502 what?\r\n")]}) as server,
        open_connection(server) as (_, connection),
    ):
        assert (await send(connection, rendered())).code == 250
    assert server.commands[1] == "HELO client.example.org"


# -- bad behaviour at every stage --------------------------------------------------------------------

STAGES = ["banner", "ehlo", "mail", "rcpt", "data", "dot"]


def expected(behaviour: str) -> tuple[Signal, int]:
    match behaviour:
        case "close" | "reset":
            return Signal.DROPPED, 0
        case "stall":
            return Signal.TIMEOUT, 0
        case "421" | "450" | "550":
            return Signal.REPLY, int(behaviour)
    return Signal.GARBAGE, 0


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("stage", "behaviour"),
    [pair for pair in itertools.product(STAGES, BEHAVIOURS) if pair != ("data", "misplaced")],
)
async def test_bad_behaviour_is_named_with_its_stage_and_the_connection_goes_on(
    stage: str, behaviour: str, pipelining: bool
) -> None:
    signal, code = expected(behaviour)
    timeout = 0.5 if behaviour == "stall" else 30
    async with (
        serve_script({stage: [BEHAVIOURS[behaviour]]}, pipelining=pipelining) as server,
        open_connection(server, reply=timeout, dot=timeout) as (_, connection),
    ):
        answer = await send(connection, rendered(1))
        again = await send(connection, rendered(2))
    if (stage, behaviour) == ("banner", "reset"):
        assert answer.stage in (Stage.CONNECT, Stage.BANNER)  # the reset may overtake the connection
    else:
        assert answer.stage is Stage(stage)
    assert answer.signal is signal
    if signal is Signal.REPLY:
        assert answer.code == code
        assert answer.enhanced == {421: "4.3.2", 450: "4.2.0", 550: "5.7.1"}[code]
    assert answer.text.isprintable()
    assert 0 < len(answer.text) <= 1000
    assert (again.code, server.messages[-1].rcpt) == (250, ["RCPT TO:<to2@example.net>"])
    kept = behaviour in ("450", "550") and stage in ("mail", "rcpt", "data", "dot")
    assert server.connections == (1 if kept else 2)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("behaviour", ["close", "reset", "stall", "421"])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
async def test_a_kept_connection_that_fails_before_the_354_is_replaced_once_silently(
    stage: str, behaviour: str, pipelining: bool
) -> None:
    good = {"mail": OK, "rcpt": OK, "data": GO}[stage]
    script = {stage: [good, BEHAVIOURS[behaviour]]}
    async with (
        serve_script(script, pipelining=pipelining) as server,
        open_connection(server, reply=0.5 if behaviour == "stall" else 30) as (_, connection),
    ):
        answers = [await send(connection, rendered(n)) for n in (1, 2)]
    assert [answer.code for answer in answers] == [250, 250]
    assert server.connections == 2
    assert len(server.messages) == 2


@pytest.mark.parametrize("behaviour", ["close", "421"])
async def test_a_connection_is_replaced_once_and_not_for_ever(behaviour: str) -> None:
    script = {"mail": [OK, BEHAVIOURS[behaviour], BEHAVIOURS[behaviour]]}
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        assert (await send(connection, rendered(1))).code == 250
        answer = await send(connection, rendered(2))
    assert answer.stage is Stage.MAIL
    assert server.connections == 2


async def test_a_silent_reply_to_the_dot_does_not_resend() -> None:
    """Lost after the dot means in doubt: only the caller may decide to send again."""
    async with serve_script({"dot": [OK, CLOSE]}) as server, open_connection(server) as (_, connection):
        await send(connection, rendered(1))
        answer = await send(connection, rendered(2))
    assert (answer.stage, answer.signal) == (Stage.DOT, Signal.DROPPED)
    assert len(server.messages) == 2
    assert server.connections == 1


async def test_an_idle_connection_that_the_server_ends_with_421_is_replaced() -> None:
    script = {"dot": [Say(b"250 Ok\r\n421 4.4.2 idle too long\r\n", then="close")]}
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        assert [(await send(connection, rendered(n))).code for n in (1, 2)] == [250, 250]
    assert server.connections == 2


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
async def test_replies_that_nobody_asked_for_never_count_as_an_acceptance(
    stage: str, pipelining: bool
) -> None:
    """A reply too many shifts all that follow: the dot would seem answered before it is sent."""
    doubled = {"mail": b"250 Ok\r\n", "rcpt": b"250 Ok\r\n", "data": b"354 go\r\n"}[stage] + b"250 Ok\r\n"
    async with (
        serve_script({stage: [Say(doubled)]}, pipelining=pipelining) as server,
        open_connection(server) as (_, connection),
    ):
        answer = await send(connection, rendered(1))
        again = await send(connection, rendered(2))
    assert (answer.stage is Stage.DOT, answer.signal) == (False, Signal.GARBAGE)
    assert (again.code, len(server.messages)) == (250, 1)


async def test_an_acceptance_counts_although_garbage_follows_in_the_same_packet() -> None:
    script = {"dot": [Say(b"250 2.0.0 queued as X\r\nlorem ipsum\r\n")]}
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        first, second = await send_in_a_row(connection, [rendered(1), rendered(2)])
    assert (first.stage, first.code, first.provider_id) == (Stage.DOT, 250, "X")
    assert (second.code, server.connections) == (250, 2)


async def test_a_2xx_to_data_is_no_leave_to_send_the_body() -> None:
    async with serve_script({"data": [OK]}) as server, open_connection(server) as (_, connection):
        answer = await send(connection, rendered())
    assert (answer.stage, answer.signal) == (Stage.DATA, Signal.GARBAGE)
    assert server.messages == []


# -- refusals inside a pipeline ----------------------------------------------------------------------


@pytest.mark.parametrize("lone_dot", [b"554 5.5.1 no valid recipients\r\n", b"250 Ok\r\n"])
async def test_a_354_after_the_recipient_was_refused_gets_a_lone_dot(lone_dot: bytes) -> None:
    """RFC 2920 section 3.1. Should the server accept it, the connection is not trusted any more."""
    script = {"rcpt": [Say(b"550 5.1.1 unknown\r\n")], "data": [GO], "dot": [Say(lone_dot)]}
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        refused = await send(connection, rendered(1))
        accepted = await send(connection, rendered(2))
    assert (refused.stage, refused.code, refused.enhanced) == (Stage.RCPT, 550, "5.1.1")
    assert accepted.code == 250
    assert [message.body for message in server.messages] == [b"", BODY]
    assert server.connections == (1 if lone_dot.startswith(b"5") else 2)


async def test_a_354_with_an_accepted_recipient_and_a_refused_sender_gets_no_dot() -> None:
    """A dot might send an empty message to that recipient."""
    async with (
        serve_script({"mail": [Say(b"550 5.1.8 no\r\n")], "rcpt": [OK], "data": [GO]}) as server,
        open_connection(server) as (_, connection),
    ):
        refused = await send(connection, rendered(1))
        assert (refused.stage, refused.code) == (Stage.MAIL, 550)
        assert (await send(connection, rendered(2))).code == 250
    assert [message.body for message in server.messages] == [BODY]
    assert server.connections == 2


@pytest.mark.parametrize("data", [b"354 go\r\n", b"554 5.5.1 no valid recipients\r\n"])
async def test_a_refused_recipient_of_the_announced_message_disturbs_neither_neighbour(data: bytes) -> None:
    script: Script = {
        "rcpt": [OK, Say(b"450 4.2.1 greylisted\r\n"), OK],
        "data": [GO, Say(data)],
        "dot": [OK, Say(b"554 5.5.1 nothing to send\r\n")] if data.startswith(b"354") else [],
    }
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        first, second, third = await send_in_a_row(connection, [rendered(1), rendered(2), rendered(3)])
    assert (first.stage, first.code) == (Stage.DOT, 250)
    assert (second.stage, second.code, second.enhanced) == (Stage.RCPT, 450, "4.2.1")
    assert (third.stage, third.code) == (Stage.DOT, 250)
    assert server.connections == 1
    assert "RSET" in server.commands
    assert [message.rcpt for message in server.messages if message.body] == [
        ["RCPT TO:<to1@example.net>"],
        ["RCPT TO:<to3@example.net>"],
    ]


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_refusal_of_the_announced_message_counts_although_the_server_closed_behind_it(
    then: str,
) -> None:
    """Nobody is asked again on another connection whether that recipient exists."""
    script: Script = {
        "rcpt": [OK, Say(b"550 5.1.1 unknown\r\n")],
        "data": [GO, Say(b"554 5.5.1 no valid recipients\r\n", then)],
    }
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        assert (await send(connection, rendered(1), rendered(2))).code == 250
        await server.wait_for("data", 2)
        await trio.testing.wait_all_tasks_blocked()
        assert connection.waits(rendered(2))  # as the engine asks it
        second = await send(connection, rendered(2))
        assert server.reached["rcpt"] == 2
        third = await send(connection, rendered(3))
    assert (second.stage, second.code, second.enhanced) == (Stage.RCPT, 550, "5.1.1")
    assert (third.code, server.connections) == (250, 2)


async def test_a_refused_body_does_not_disturb_the_announced_message() -> None:
    async with (
        serve_script({"dot": [Say(b"550 5.7.1 spam\r\n")]}) as server,
        open_connection(server) as (_, connection),
    ):
        first, second = await send_in_a_row(connection, [rendered(1), rendered(2)])
    assert (first.stage, first.code) == (Stage.DOT, 550)
    assert (second.code, server.connections) == (250, 1)


async def test_a_421_to_the_dot_is_answered_before_the_connection_is_cut() -> None:
    async with (
        serve_script({"dot": [BEHAVIOURS["421"]]}) as server,
        open_connection(server) as (_, connection),
    ):
        first, second = await send_in_a_row(connection, [rendered(1), rendered(2)])
    assert (first.stage, first.signal, first.code) == (Stage.DOT, Signal.REPLY, 421)
    assert (second.code, server.connections) == (250, 2)


async def test_a_server_that_will_not_reset_is_replaced() -> None:
    script = {
        "rcpt": [Say(b"550 5.1.1 no\r\n")],
        "data": [Say(b"554 no\r\n")],
        "rset": [Say(b"502 what\r\n")],
    }
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        assert (await send(connection, rendered(1))).code == 550
        assert (await send(connection, rendered(2))).code == 250
    assert server.connections == 2


@pytest.mark.parametrize("end", ["drop", "aclose", "other message", "transport"])
async def test_an_announced_envelope_is_ended_by_cutting_never_by_a_dot(end: str) -> None:
    async with serve_script() as server, open_connection(server) as (transport, connection):
        await send(connection, rendered(1), rendered(2))
        await server.wait_for("data", 2)
        match end:
            case "drop":
                connection.drop()
            case "aclose":
                await connection.aclose()
            case "transport":
                await transport.aclose()
            case _:
                assert (await send(connection, rendered(3))).code == 250
        await server.wait_hung_up()
    assert [message.rcpt for message in server.messages if "to2" in str(message.rcpt)] == []
    assert len(server.messages) == (2 if end == "other message" else 1)
