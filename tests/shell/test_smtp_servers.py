"""The SMTP transport against servers by other people: Postfix's smtp-sink, and aiosmtpd with TLS and AUTH."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from hubd.bridge import open_bridge
from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.errors import BadConfig
from hubd.providers.smtp.transport import SmtpSettings, SmtpTransport, open_smtp
from hubd.transports.loopback import is_loopback, is_loopback_peer
from tests.shell.scripted_smtp import BEHAVIOURS, Say, serve_script
from tests.shell.smtp_peers import SMTP_SINK, aiosmtpd_server, smtp_sink

needs_sink = pytest.mark.skipif(SMTP_SINK is None, reason="Postfix's smtp-sink is not installed")


def rendered(number: int = 1, payload: bytes = b"") -> RenderedMessage:
    return RenderedMessage(
        delivery_id=number,
        channel=Channel.EMAIL,
        recipient=f"to{number}@example.net",
        sender="from@example.org",
        payload=payload or b"Subject: %d\r\n\r\n.hello\r\n.\r\n" % number,
    )


@asynccontextmanager
async def open_transport(port: int, **more: object) -> AsyncIterator[SmtpTransport]:
    made: dict[str, Any] = {"security": "none", "ehlo_name": "client.example.org", **more}
    with trio.fail_after(60):
        async with open_bridge() as bridge:
            transport = open_smtp("test", SmtpSettings(host="127.0.0.1", port=port, **made), bridge)
            try:
                yield transport
            finally:
                await transport.aclose()


async def send_all(
    transport: SmtpTransport, messages: list[RenderedMessage], connections: int
) -> dict[int, Answer]:
    """As the engine does it: some connections, each message announces the next of its connection."""
    answers: dict[int, Answer] = {}
    rest = iter(messages)

    async def work() -> None:
        connection, current = transport.connection(), next(rest, None)
        while current is not None:
            refusal = await connection.prepare(current)
            following = next(rest, None)
            answers[current.delivery_id] = refusal or await connection.deliver(current, following)
            current = following
        await connection.aclose()

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(work)
    return answers


# -- Postfix's smtp-sink -----------------------------------------------------------------------------


@needs_sink
@pytest.mark.parametrize(
    "flags", [(), ("-p",), ("-8", "-E", "-N"), ("-e", "-p")], ids=["pipelining", "lockstep", "plain", "old"]
)
async def test_smtp_sink_takes_every_message(flags: tuple[str, ...]) -> None:
    with smtp_sink(*flags) as port:
        async with open_transport(port) as transport:
            answers = await send_all(transport, [rendered(n) for n in range(500)], connections=5)
    assert len(answers) == 500
    assert {(answer.stage, answer.signal, answer.code) for answer in answers.values()} == {
        (Stage.DOT, Signal.REPLY, 250)
    }


@needs_sink
@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_smtp_sink_takes_large_messages(size: int) -> None:
    payload = b"Subject: x\r\n\r\n" + (b"." * 70 + b"\r\n") * (size // 72)
    with smtp_sink() as port:
        async with open_transport(port) as transport:
            answers = await send_all(transport, [rendered(n, payload) for n in range(4)], connections=2)
    assert [answer.code for answer in answers.values()] == [250] * 4


@needs_sink
@pytest.mark.parametrize(
    ("flags", "stage", "signal", "code"),
    [
        (("-r", "RCPT"), Stage.RCPT, Signal.REPLY, 450),
        (("-f", "RCPT"), Stage.RCPT, Signal.REPLY, 500),
        (("-f", "MAIL"), Stage.MAIL, Signal.REPLY, 500),
        (("-r", "DATA"), Stage.DATA, Signal.REPLY, 450),
        (("-f", "."), Stage.DOT, Signal.REPLY, 500),
        (("-q", "MAIL"), Stage.MAIL, Signal.DROPPED, 0),
        (("-q", "DATA"), Stage.DATA, Signal.DROPPED, 0),
        (("-q", "."), Stage.DOT, Signal.DROPPED, 0),
        (("-Q", "RCPT"), Stage.RCPT, Signal.REPLY, 421),
        (("-Q", "."), Stage.DOT, Signal.REPLY, 421),
        (("-f", "CONNECT"), Stage.BANNER, Signal.REPLY, 500),
        (("-q", "CONNECT"), Stage.BANNER, Signal.DROPPED, 0),
    ],
)
async def test_what_smtp_sink_refuses_is_named_with_its_stage(
    flags: tuple[str, ...], stage: Stage, signal: Signal, code: int
) -> None:
    with smtp_sink(*flags) as port:
        async with open_transport(port) as transport:
            answers = await send_all(transport, [rendered(n) for n in range(4)], connections=1)
    for answer in answers.values():
        assert (answer.stage, answer.signal, answer.code) == (stage, signal, code)


# -- aiosmtpd with TLS and AUTH ----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _quiet_aiosmtpd() -> Iterator[None]:
    """aiosmtpd logs the broken handshakes that these tests make on purpose."""
    logger = logging.getLogger("asyncio")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


class Authority:
    """A certificate authority whose certificate lies in a file."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """A server's side of TLS for these names."""
        until = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
        since = datetime(2019, 1, 1, tzinfo=UTC) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, not_after=until, not_before=since).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


LOGIN = {"username": "anna", "password": "s3cret"}


async def test_starttls_with_a_login_delivers(authority: Authority) -> None:
    with aiosmtpd_server(starttls=authority.server("127.0.0.1"), auth=True) as box:
        async with open_transport(
            box.port, security="starttls", ca_file=authority.file, **LOGIN
        ) as transport:
            probed = await transport.probe()
            answers = await send_all(transport, [rendered(n) for n in range(20)], connections=2)
    assert (probed.stage, probed.code) == (Stage.AUTH, 235)
    assert {answer.code for answer in answers.values()} == {250}
    assert {answer.provider_id for answer in answers.values()} == {f"in-{n}" for n in range(1, 21)}
    assert box.over_tls == [True] * 20
    assert sorted(bytes(envelope.content) for envelope in box.envelopes) == sorted(  # type: ignore[arg-type]
        rendered(n).payload for n in range(20)
    )


@pytest.mark.parametrize(("hidden", "used"), [((), "PLAIN"), (("PLAIN",), "LOGIN")])
async def test_implicit_tls_logs_in_once_by_a_method_both_sides_know(
    authority: Authority, hidden: tuple[str, ...], used: str
) -> None:
    with aiosmtpd_server(implicit_tls=authority.server("127.0.0.1"), auth=True, exclude=hidden) as box:
        async with open_transport(box.port, security="tls", ca_file=authority.file, **LOGIN) as transport:
            answers = await send_all(transport, [rendered(1), rendered(2)], connections=1)
    assert [answer.code for answer in answers.values()] == [250, 250]
    assert box.logins == [used]
    assert box.over_tls == [True, True]


async def test_a_large_message_goes_over_tls_unharmed(authority: Authority) -> None:
    payload = b"Subject: x\r\n\r\n" + (b"." * 70 + b"\r\n") * 12_000
    with aiosmtpd_server(starttls=authority.server("127.0.0.1")) as box:
        async with open_transport(box.port, security="starttls", ca_file=authority.file) as transport:
            answers = await send_all(transport, [rendered(1, payload), rendered(2)], connections=1)
    assert [answer.code for answer in answers.values()] == [250, 250]
    assert box.envelopes[0].content == payload


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["unknown authority", "other host", "expired"])
async def test_a_certificate_that_is_not_right_stops_everything(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory, security: str, wrong: str
) -> None:
    """No login, no message, and an answer that can be told from every other: stage TLS, signal GARBAGE."""
    other = Authority(tmp_path_factory.mktemp("other"))
    context = authority.server(
        "wrong.example" if wrong == "other host" else "127.0.0.1", expired=wrong == "expired"
    )
    trusted = other.file if wrong == "unknown authority" else authority.file
    side: dict[str, Any] = {"starttls": context} if security == "starttls" else {"implicit_tls": context}
    with aiosmtpd_server(**side, auth=True) as box:
        async with open_transport(box.port, security=security, ca_file=trusted, **LOGIN) as transport:
            answers = await send_all(transport, [rendered(1)], connections=1)
    assert (answers[1].stage, answers[1].signal, answers[1].code) == (Stage.TLS, Signal.GARBAGE, 0)
    assert answers[1].text.startswith("certificate verify failed: ")
    assert (box.logins, box.envelopes) == ([], [])


async def test_the_systems_own_authorities_are_asked_without_a_ca_file(authority: Authority) -> None:
    with aiosmtpd_server(starttls=authority.server("127.0.0.1")) as box:
        async with open_transport(box.port, security="starttls") as transport:
            answer = await transport.probe()
    assert (answer.stage, answer.signal) == (Stage.TLS, Signal.GARBAGE)


async def test_without_starttls_nothing_is_sent(authority: Authority) -> None:
    """STARTTLS is required, never opportunistic: taking it out of EHLO must not lead to clear text."""
    with aiosmtpd_server(auth=True, auth_needs_tls=False) as box:
        async with open_transport(
            box.port, security="starttls", ca_file=authority.file, **LOGIN
        ) as transport:
            answers = await send_all(transport, [rendered(1)], connections=1)
    assert (answers[1].stage, answers[1].signal, answers[1].code) == (Stage.TLS, Signal.REPLY, 502)
    assert (box.logins, box.envelopes) == ([], [])


async def test_a_refused_starttls_is_not_followed_by_clear_text() -> None:
    script = {"starttls": [Say(b"454 4.7.0 TLS not available\r\n")]}
    async with (
        serve_script(script, extensions=[b"STARTTLS"]) as server,
        open_transport(server.port, security="starttls") as transport,
    ):
        answers = await send_all(transport, [rendered(1)], connections=1)
    assert (answers[1].stage, answers[1].code, answers[1].enhanced) == (Stage.TLS, 454, "4.7.0")
    assert [line.split()[0] for line in server.commands] == ["EHLO", "STARTTLS"]


@pytest.mark.parametrize(
    ("act", "signal"),
    [
        (Say(b"220 go\r\n", then="close"), Signal.DROPPED),
        (Say(b"220 go\r\n", then="stall"), Signal.TIMEOUT),
        (Say(b"220 go\r\nthis is no TLS at all\r\n"), Signal.DROPPED),
    ],
)
async def test_a_broken_handshake_is_a_tls_failure(act: Say, signal: Signal) -> None:
    async with (
        serve_script({"starttls": [act]}, extensions=[b"STARTTLS"]) as server,
        open_transport(server.port, security="starttls", connect_timeout=0.5) as transport,
    ):
        answer = await transport.probe()
    assert answer.stage is Stage.TLS
    assert answer.signal in (signal, Signal.TIMEOUT)


async def test_what_is_injected_before_the_handshake_is_forgotten(authority: Authority) -> None:
    """Clear text behind the 220 must not be taken for a reply inside TLS (RFC 3207 section 4.2)."""
    script = {"starttls": [Say(b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n")]}
    async with (
        serve_script(script, extensions=[b"STARTTLS"], tls=authority.server("127.0.0.1")) as server,
        open_transport(server.port, security="starttls", ca_file=authority.file) as transport,
    ):
        answers = await send_all(transport, [rendered(1)], connections=1)
    assert answers[1].code == 250
    assert [line.split()[0] for line in server.commands] == [
        "EHLO",
        "STARTTLS",
        "EHLO",
        "MAIL",
        "RCPT",
        "DATA",
        "QUIT",
    ]


@pytest.mark.parametrize("behaviour", ["close", "reset", "garbage", "endless line", "421"])
@pytest.mark.parametrize("stage", ["mail", "dot"])
async def test_bad_behaviour_inside_tls_ends_that_connection_only(
    authority: Authority, stage: str, behaviour: str
) -> None:
    tls = authority.server("127.0.0.1")
    async with (
        serve_script({stage: [BEHAVIOURS[behaviour]]}, extensions=[b"STARTTLS"], tls=tls) as server,
        open_transport(server.port, security="starttls", ca_file=authority.file) as transport,
    ):
        answers = await send_all(transport, [rendered(1), rendered(2)], connections=1)
    signals = {"close": Signal.DROPPED, "reset": Signal.DROPPED, "421": Signal.REPLY}
    assert (answers[1].stage, answers[1].signal) == (Stage(stage), signals.get(behaviour, Signal.GARBAGE))
    assert (answers[2].code, server.connections) == (250, 2)


async def test_a_plain_port_spoken_to_in_tls_is_a_tls_failure(authority: Authority) -> None:
    with aiosmtpd_server() as box:
        async with open_transport(box.port, security="tls", ca_file=authority.file) as transport:
            answer = await transport.probe()
    assert (answer.stage, answer.signal) == (Stage.TLS, Signal.DROPPED)


async def test_a_wrong_password_is_tried_once(authority: Authority) -> None:
    with aiosmtpd_server(starttls=authority.server("127.0.0.1"), auth=True) as box:
        async with open_transport(
            box.port, security="starttls", ca_file=authority.file, username="anna", password="wr0ng"
        ) as transport:
            answers = await send_all(transport, [rendered(1)], connections=1)
    assert (answers[1].stage, answers[1].signal, answers[1].code) == (Stage.AUTH, Signal.REPLY, 535)
    assert answers[1].enhanced == "5.7.8"
    assert (box.logins, box.envelopes) == (["PLAIN"], [])


async def test_a_password_in_clear_text_goes_to_this_machine_only() -> None:
    with aiosmtpd_server(auth=True, auth_needs_tls=False) as box:
        async with open_transport(box.port, **LOGIN) as transport:
            assert (await transport.probe()).code == 235


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (("127.0.0.1", 25), True),
        (("::1", 25, 0, 0), True),
        (("192.0.2.1", 25), False),
        (("fe80::1%eth0", 25, 0, 2), False),
        (("localhost.example", 25), False),
        ("/run/socket", False),
        ((), False),
        (None, False),
    ],
)
def test_only_a_loopback_address_is_this_machine(peer: object, local: bool) -> None:
    assert is_loopback_peer(peer) is local


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("::1", True), ("127.8.9.1", True), ("", False), ("0.0.0.0", False)],
)
def test_a_host_is_this_machine_by_its_address_or_as_localhost(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize("offer", [(b"AUTH XOAUTH2 GSSAPI",), ()])
async def test_no_common_way_to_log_in_is_said_and_nothing_sent(offer: tuple[bytes, ...]) -> None:
    async with (
        serve_script(extensions=[*offer, b"X-LAST"]) as server,
        open_transport(server.port, **LOGIN) as transport,
    ):
        answers = await send_all(transport, [rendered(1)], connections=1)
    assert (answers[1].stage, answers[1].code) == (Stage.AUTH, 504)
    assert [line.split()[0] for line in server.commands] == ["EHLO"]


@pytest.mark.parametrize(
    ("act", "signal", "code"),
    [
        (Say(b"454 4.7.0 later\r\n"), Signal.REPLY, 454),
        (Say(b"535 5.7.8 no, not s3cret\r\n"), Signal.REPLY, 535),
        (Say(b"535 5.7.8 AGFubmEAczNjcmV0 is wrong\r\n"), Signal.REPLY, 535),
        (Say(then="close"), Signal.DROPPED, 0),
        (Say(then="stall"), Signal.TIMEOUT, 0),
        (Say(b"lorem ipsum\r\n"), Signal.GARBAGE, 0),
    ],
)
async def test_a_login_that_fails_is_named_and_never_shows_the_password(
    act: Say, signal: Signal, code: int
) -> None:
    async with (
        serve_script({"auth": [act]}, extensions=[b"AUTH PLAIN"]) as server,
        open_transport(server.port, reply_timeout=0.5, **LOGIN) as transport,
    ):
        answer = await transport.probe()
    assert (answer.stage, answer.signal, answer.code) == (Stage.AUTH, signal, code)
    assert "s3cret" not in answer.text
    assert "AGFubmEAczNjcmV0" not in answer.text


async def test_aiosmtpd_speaks_of_size_and_is_not_sent_more() -> None:
    with aiosmtpd_server(size=1000) as box:
        async with open_transport(box.port) as transport:
            answers = await send_all(
                transport, [rendered(1, b"x" * 70 + b"\r\n" * 500), rendered(2)], connections=1
            )
    assert (answers[1].stage, answers[1].code) == (Stage.MAIL, 552)
    assert answers[2].code == 250


# -- settings ----------------------------------------------------------------------------------------


def test_settings_never_show_the_password() -> None:
    made = SmtpSettings(host="mail.example", username="anna", password="s3cret")
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize("content", [None, b"", b"this is no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_a_bad_config(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    async with open_bridge() as bridge:
        with pytest.raises(BadConfig, match="ca_file"):
            open_smtp("x", SmtpSettings(host="mail.example", ca_file=file), bridge)


async def test_a_transport_says_what_it_is() -> None:
    async with open_bridge() as bridge:
        made = SmtpSettings(host="mail.example", connections=3)
        transport = open_smtp("office", made, bridge)
    assert (transport.name, transport.kind, transport.connections) == ("office", "smtp", 3)
    assert (transport.channels, transport.in_doubt) == (frozenset({Channel.EMAIL}), InDoubt.RETRY)
