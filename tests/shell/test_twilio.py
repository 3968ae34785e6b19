"""SMS through Twilio's own library on Trio, against a local server that answers like Twilio."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.core.reconcile import Finding, Found
from hubd.core.verdict import Action, is_ready, judge
from hubd.errors import BadConfig, CredentialMissing
from hubd.providers.twilio import transport as twilio_module
from hubd.providers.twilio.reconcile import _same_place
from hubd.providers.twilio.transport import TwilioSettings, TwilioTransport, open_twilio
from hubd.providers.twilio.verdicts import VERDICTS
from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN, Book, TwilioDouble

TO = "+12025550143"
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def double() -> Iterator[TwilioDouble]:
    with TwilioDouble() as server:
        yield server


def settings_for(double: TwilioDouble) -> TwilioSettings:
    return TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=double.base_url)


@pytest.fixture
async def twilio(double: TwilioDouble) -> AsyncIterator[TwilioTransport]:
    transport = open_twilio("sms", settings_for(double))
    yield transport
    await transport.aclose()


def rendered(to: str = TO, text: str = "Hello", sender: str = "") -> RenderedMessage:
    return RenderedMessage(delivery_id=1, channel=Channel.SMS, recipient=to, text=text, sender=sender)


async def send(transport: TwilioTransport, to: str = TO, **more: str) -> Answer:
    connection = transport.connection()
    with trio.fail_after(20):
        assert await connection.prepare(rendered(to, **more)) is None
        answer = await connection.deliver(rendered(to, **more))
        await connection.aclose()
    return answer


async def send_with(settings: TwilioSettings, to: str = TO, **more: str) -> Answer:
    transport = open_twilio("sms", settings)
    try:
        return await send(transport, to, **more)
    finally:
        await transport.aclose()


def action_of(answer: Answer) -> Action:
    return judge(answer, Channel.SMS, requests=VERDICTS).action


# --- acceptance --------------------------------------------------------------------------


async def test_an_accepted_message_carries_the_providers_name_for_it(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    answer = await send(twilio, text="Grüße 👋")
    (message,) = double.messages
    assert answer == Answer(stage=Stage.REQUEST, code=201, provider_id=str(message["sid"]), text="queued")
    assert (message["to"], message["from"], message["body"]) == (TO, SENDER, "Grüße 👋")
    assert action_of(answer) is Action.ACCEPT


async def test_the_campaigns_own_sender_goes_before_the_accounts(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    await send(twilio, sender="+12025550199")
    assert double.messages[0]["from"] == "+12025550199"


async def test_a_messaging_service_chooses_the_sender(double: TwilioDouble) -> None:
    settings = replace(settings_for(double), messaging_service_sid="MG1")
    await send_with(settings)
    await send_with(settings, sender="+12025550199")
    assert [(m["from"], m["messaging_service_sid"]) for m in double.messages] == [
        (None, "MG1"),
        ("+12025550199", None),
    ]


async def test_connections_send_at_the_same_time_over_no_more_sockets_than_configured(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    answers: list[Answer] = []

    async def work(first: int) -> None:
        connection = twilio.connection()
        for number in range(first, first + 5):
            answers.append(await connection.deliver(rendered(f"+1202555{number:04}")))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for worker in range(twilio.connections):
                nursery.start_soon(work, worker * 5)
    assert len({answer.provider_id for answer in answers}) == 50
    assert len({message["to"] for message in double.messages}) == 50


async def test_a_connection_can_send_again_after_every_kind_of_trouble(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.behave(TO, "drop", "garbage", "busy", "refuse:21610", "cut", "accept")
    connection = twilio.connection()
    with trio.fail_after(20):
        codes = [(await connection.deliver(rendered())).provider_id != "" for _ in range(6)]
    assert codes == [False, False, False, False, False, True]


async def test_a_connection_keeps_its_socket_between_messages_and_closes_it_with_itself(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    connections = [twilio.connection(), twilio.connection()]
    with trio.fail_after(20):
        for connection in connections * 3:
            assert (await connection.deliver(rendered())).code == 201
        assert (await twilio.probe()).code == 200
        assert (await ask(twilio)).kind is Found.FOUND
        assert double.connections_made == 4, "two connections, the probe and the question"
        await connections[0].aclose()
        connections[1].drop()
        while double.connections_open:
            await trio.lowlevel.checkpoint()
        assert (await connections[0].deliver(rendered())).code == 201


# --- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "sender", "vendor", "action"),
    [
        ("+15005550001", "", "21211", Action.SUPPRESS),
        ("+15005550002", "", "21612", Action.FAIL),
        ("+15005550003", "", "21408", Action.FAIL),
        ("+15005550004", "", "21610", Action.SUPPRESS),
        ("+15005550009", "", "21614", Action.SUPPRESS),
        (TO, "+15005550001", "21212", Action.PAUSE),
        (TO, "+15005550007", "21606", Action.PAUSE),
        (TO, "+15005550008", "21611", Action.PROVIDER),
        ("not a number", "", "21211", Action.SUPPRESS),
    ],
)
async def test_a_refusal_carries_twilios_error_number(
    twilio: TwilioTransport, double: TwilioDouble, to: str, sender: str, vendor: str, action: Action
) -> None:
    answer = await send(twilio, to, sender=sender)
    assert (answer.stage, answer.signal, answer.code, answer.vendor) == (
        Stage.REQUEST,
        Signal.REPLY,
        400,
        vendor,
    )
    assert action_of(answer) is action
    assert double.messages == []


async def test_the_words_of_a_refusal_are_one_plain_line(twilio: TwilioTransport) -> None:
    answer = await send(twilio, "+15005550001")
    assert answer.text.endswith("The 'To' number +15005550001 is not a valid phone number.")
    assert answer.text.isprintable()


async def test_a_refusal_in_the_newer_form_of_errors_is_understood(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.behave(TO, "problem:21610")
    answer = await send(twilio)
    assert (answer.code, answer.vendor, answer.text) == (400, "21610", "Bad number")


async def test_too_many_requests_says_how_long_to_rest(twilio: TwilioTransport, double: TwilioDouble) -> None:
    double.behave(TO, "busy")
    answer = await send(twilio)
    assert (answer.code, answer.vendor, answer.retry_after) == (429, "20429", 2.0)
    assert action_of(answer) is Action.SLOW


async def test_a_refusal_without_json_has_no_error_number(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.behave(TO, "status:403")
    answer = await send(twilio)
    assert (answer.signal, answer.code, answer.vendor) == (Signal.REPLY, 403, "")
    assert action_of(answer) is Action.PROVIDER_STOP


async def test_a_wrong_token_needs_a_person_and_is_not_shown(double: TwilioDouble) -> None:
    settings = replace(settings_for(double), auth_token="wrong-token")
    answer = await send_with(settings)
    assert (answer.code, answer.vendor) == (401, "20003")
    assert action_of(answer) is Action.PROVIDER_STOP
    assert "wrong-token" not in repr(answer) + repr(settings)


async def test_a_server_that_echoes_the_login_does_not_get_it_into_the_answer(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.behave(TO, "echo")
    answer = await send(twilio)
    assert "***" in answer.text
    assert TOKEN not in answer.text
    assert not any(secret in answer.text for secret in settings_for(double).secrets)


# --- doubt -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "signal", "accepted"),
    [
        ("drop", Signal.DROPPED, 0),
        ("+drop", Signal.DROPPED, 1),
        ("cut", Signal.DROPPED, 1),
        ("garbage", Signal.GARBAGE, 1),
        ("nameless", Signal.GARBAGE, 1),
        ("deep", Signal.GARBAGE, 1),
        ("endless", Signal.GARBAGE, 1),
        ("gzip", Signal.GARBAGE, 1),
        ("status:500", Signal.REPLY, 0),
        ("+status:500", Signal.REPLY, 1),
        ("status:503", Signal.REPLY, 0),
        ("redirect", Signal.REPLY, 0),
    ],
)
async def test_an_answer_that_is_lost_or_unreadable_is_doubt_and_is_never_asked_for_twice(
    twilio: TwilioTransport, double: TwilioDouble, behaviour: str, signal: Signal, accepted: int
) -> None:
    double.behave(TO, behaviour)
    answer = await send(twilio)
    assert (answer.stage, answer.signal) == (Stage.REQUEST, signal)
    assert action_of(answer) is Action.DOUBT
    assert len(double.messages) == accepted
    assert len(double.requests) == 1


@pytest.mark.parametrize("behaviour", ["silence", "+silence"])
async def test_silence_after_the_request_is_doubt(double: TwilioDouble, behaviour: str) -> None:
    double.behave(TO, behaviour)
    answer = await send_with(replace(settings_for(double), timeout=0.3))
    assert (answer.stage, answer.signal) == (Stage.REQUEST, Signal.TIMEOUT)
    assert action_of(answer) is Action.DOUBT


async def test_a_cancelled_delivery_ends_at_once_and_the_connection_can_go_on(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.behave(TO, "silence", "accept")
    connection = twilio.connection()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.deliver, rendered())
            while not double.requests:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        connection.drop()
        assert (await connection.deliver(rendered())).code == 201


# --- before the request ------------------------------------------------------------------


async def test_nobody_listening_is_certainly_not_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=url)
        answer = await send_with(settings)
    assert (answer.stage, answer.signal) == (Stage.CONNECT, Signal.DROPPED)
    assert action_of(answer) is Action.PROVIDER


async def test_a_certificate_that_is_not_trusted_is_certainly_not_sent_and_needs_a_person() -> None:
    async with tls_server() as port:
        url = f"https://127.0.0.1:{port}"
        settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=url)
        answer = await send_with(settings)
    assert (answer.stage, answer.signal) == (Stage.TLS, Signal.GARBAGE)
    assert action_of(answer) is Action.PROVIDER_STOP


async def test_a_handshake_that_never_ends_is_certainly_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        settings = TwilioSettings(
            account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=url, connect_timeout=0.2
        )
        answer = await send_with(settings)
    assert (answer.stage, answer.signal) == (Stage.CONNECT, Signal.TIMEOUT)
    assert action_of(answer) is Action.PROVIDER


class tls_server:  # noqa: N801  # reads like the function it is used as
    """Accepts TLS with a certificate that nobody trusts, until the block ends."""

    async def __aenter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        port: int = self._listener.getsockname()[1]
        return port

    def _serve(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        with self._listener:
            connection, _ = self._listener.accept()
            with connection, suppress(OSError):  # the client turns away, as it should
                context.wrap_socket(connection, server_side=True).close()

    async def __aexit__(self, *error: object) -> None:
        await trio.to_thread.run_sync(self._thread.join)


# --- settings and probe ------------------------------------------------------------------


async def test_what_the_engine_may_rely_on(twilio: TwilioTransport) -> None:
    assert (twilio.name, twilio.kind, twilio.connections) == ("sms", "twilio", 10)
    assert twilio.channels == {Channel.SMS}
    assert twilio.in_doubt is InDoubt.HOLD
    assert twilio.can_reconcile


async def test_a_probe_looks_at_the_account_and_sends_nothing(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    answer = await twilio.probe()
    assert is_ready(answer)
    assert (answer.code, answer.text) == (200, "account active")
    assert double.requests == []


async def test_a_probe_of_a_suspended_account_is_not_ready(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.book.account_status = "suspended"
    answer = await twilio.probe()
    assert not is_ready(answer)
    assert judge(answer, Channel.SMS, requests=VERDICTS).reason == "account_suspended"


@pytest.mark.parametrize(
    ("changes", "vendor", "reason"),
    [
        ({"auth_token": "wrong"}, "20003", "bad_credentials"),
        ({"account_sid": "AC9"}, "20003", "bad_credentials"),
    ],
)
async def test_a_probe_with_a_wrong_login_says_so(
    double: TwilioDouble, changes: dict[str, Any], vendor: str, reason: str
) -> None:
    transport = open_twilio("sms", replace(settings_for(double), **changes))
    answer = await transport.probe()
    await transport.aclose()
    assert answer.vendor == vendor
    assert judge(answer, Channel.SMS, requests=VERDICTS).reason == reason


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.twilio.com",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "api.twilio.com",
        "https://",
        "https://user:secret@api.twilio.com",
        "https://api.twilio.com?x=1",
        "",
    ],
)
def test_a_base_url_that_would_leak_the_token_is_refused_without_being_quoted(base_url: str) -> None:
    settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=base_url)
    with pytest.raises(BadConfig) as refused:
        open_twilio("sms", settings)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("changes", [{"from_": ""}, {"concurrency": 0}, {"timeout": 0.0}])
def test_settings_with_which_nothing_could_be_sent_are_refused(changes: dict[str, object]) -> None:
    settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER)
    with pytest.raises(BadConfig):
        open_twilio("sms", replace(settings, **changes))  # type: ignore[arg-type]


async def test_the_environment_cannot_send_messages_to_another_host(
    double: TwilioDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await send_with(settings_for(double))).code == 201


def test_the_library_is_imported_late_and_without_a_warning() -> None:
    program = (
        "import sys; import hubd.providers.twilio.transport as t;"
        "assert 'twilio' not in sys.modules;"
        "t.open_twilio('sms', t.TwilioSettings(account_sid='AC1', auth_token='x', from_='+1'));"
        "assert 'twilio.rest' in sys.modules; assert 'aiohttp' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


# --- asking what was accepted ------------------------------------------------------------


def now() -> float:
    return datetime.now(UTC).timestamp()


async def ask(transport: TwilioTransport, to: str = TO, at: float | None = None, **more: str) -> Finding:
    with trio.fail_after(20):
        return await transport.reconcile(rendered(to, **more), now() if at is None else at)


@pytest.mark.parametrize("behaviour", ["+drop", "+status:500", "garbage", "nameless", "cut", "+silence"])
async def test_a_message_that_was_accepted_with_its_answer_lost_is_found_under_its_name(
    double: TwilioDouble, behaviour: str
) -> None:
    double.behave(TO, behaviour)
    transport = open_twilio("sms", replace(settings_for(double), timeout=0.5))
    before = now()
    assert action_of(await send(transport, text="Grüße 👋")) is Action.DOUBT
    finding = await ask(transport, text="Grüße 👋", at=before)
    await transport.aclose()
    (message,) = double.messages
    assert (finding.kind, finding.provider_id) == (Found.FOUND, message["sid"])
    assert len(double.requests) == 1, "asking sends nothing"


@pytest.mark.parametrize("behaviour", ["drop", "status:503", "redirect"])
async def test_a_message_that_was_not_accepted_is_absent(
    twilio: TwilioTransport, double: TwilioDouble, behaviour: str
) -> None:
    double.behave(TO, behaviour)
    await send(twilio, "+12025550144")
    await send(twilio)
    assert (await ask(twilio)).kind is Found.ABSENT


async def test_it_is_asked_for_by_recipient_sender_and_day_and_then_without_a_day(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    at = datetime(2026, 3, 5, 12, tzinfo=UTC).timestamp()
    await ask(twilio, at=at)
    assert double.listings == [
        {"To": TO, "From": SENDER, "DateSent>": "2026-03-04", "PageSize": "100"},
        {"To": TO, "PageSize": "100"},
    ]


async def test_a_message_that_still_waits_in_the_queue_is_found_although_it_has_no_day(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.book.queued = True
    before = now()
    answer = await send(twilio)
    assert double.messages[0]["date_sent"] is None
    assert (await ask(twilio, at=before)).fits == (answer.provider_id,)


async def test_a_message_that_appears_late_is_absent_at_first(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.book.hide_queries = 2
    before = now()
    answer = await send(twilio)
    findings = [await ask(twilio, at=before) for _ in range(3)]
    assert [finding.kind for finding in findings] == [Found.ABSENT, Found.ABSENT, Found.FOUND]
    assert findings[2].provider_id == answer.provider_id


async def test_the_service_that_chose_the_sender_is_compared_instead_of_the_sender(
    double: TwilioDouble,
) -> None:
    settings = replace(settings_for(double), messaging_service_sid="MG1")
    transport, other = open_twilio("sms", settings), open_twilio("sms", settings_for(double))
    before = now()
    answer = await send(transport)
    found = await ask(transport, at=before)
    through_number = await ask(other, at=before)
    await transport.aclose()
    await other.aclose()
    assert found.fits == (answer.provider_id,)
    assert "From" not in double.listings[0]
    assert through_number.kind is Found.UNKNOWN, "the settings may have changed since it was sent"


async def test_the_words_that_a_trial_account_adds_do_not_hide_a_message(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.book.trial = True
    before = now()
    answer = await send(twilio)
    assert double.messages[0]["body"] != "Hello"
    assert (await ask(twilio, at=before)).fits == (answer.provider_id,)


async def test_one_of_many_messages_to_a_number_is_found_on_a_later_page(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    before = now()
    answer = await send(twilio, text="the first")
    form = {"To": TO, "From": SENDER, "Body": "another"}
    for _ in range(250):
        double.book.accept(form)
    assert (await ask(twilio, text="the first", at=before)).fits == (answer.provider_id,)
    assert [query.get("Page", "0") for query in double.listings] == ["0", "1", "2", "0", "1"]


async def test_a_list_too_long_to_be_read_proves_nothing(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    form = {"To": TO, "From": SENDER, "Body": "another"}
    for _ in range(1001):
        double.book.accept(form)
    assert (await ask(twilio)).kind is Found.UNKNOWN
    assert len(double.listings) == 12


@pytest.mark.parametrize(
    ("behaviour", "word"),
    [
        ("busy", "429"),
        ("status:500", "500"),
        ("status:403", "403"),
        ("drop", "reached"),
        ("silence", "reached"),
        ("garbage", "cannot be read"),
        ("deep", "cannot be read"),
        ("faceless", "cannot be read"),
        ("elsewhere", "another address"),
        ("round", "too long"),
    ],
)
async def test_a_list_that_does_not_come_whole_and_readable_proves_nothing_and_raises_nothing(
    double: TwilioDouble, behaviour: str, word: str
) -> None:
    double.behave_listing(behaviour)
    transport = open_twilio("sms", replace(settings_for(double), timeout=0.5))
    finding = await ask(transport)
    await transport.aclose()
    assert finding.kind is Found.UNKNOWN
    assert word in finding.detail
    assert TO not in finding.detail


async def test_trouble_with_the_second_list_proves_nothing_either(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    double.behave_listing("list", "busy")
    finding = await ask(twilio)
    assert (finding.kind, finding.retry_after) == (Found.UNKNOWN, 2.0)


async def test_nobody_listening_proves_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=url)
        transport = open_twilio("sms", settings)
        finding = await ask(transport)
        await transport.aclose()
    assert finding.kind is Found.UNKNOWN


async def test_the_next_page_is_never_asked_for_at_another_place(double: TwilioDouble) -> None:
    elsewhere = f"http://127.0.0.1:{double.server_port + 1}/Messages.json"
    assert not _same_place(elsewhere, double.base_url)
    assert not _same_place(f"https://127.0.0.1:{double.server_port}/x", double.base_url)
    assert not _same_place("http://127.0.0.1:x/", double.base_url)
    assert _same_place(f"{double.base_url}/x?Page=2", double.base_url)


# --- the double itself -------------------------------------------------------------------


async def test_the_double_lists_messages_as_the_library_asks_for_them(
    twilio: TwilioTransport, double: TwilioDouble
) -> None:
    for number in range(5):
        await send(twilio, f"+1202555010{number}")
    await send(twilio, text="again")
    client = twilio.connection()._client
    day = datetime.now(UTC)
    assert [m.body for m in await client.messages.list_async(to=TO, from_=SENDER)] == ["again"]
    assert len(await client.messages.list_async(page_size=2)) == 6
    assert len(await client.messages.list_async(date_sent_after=day - timedelta(days=1))) == 6
    assert await client.messages.list_async(date_sent_before=day - timedelta(days=2)) == []


def test_the_double_runs_alone_and_records_what_it_accepted_before_it_answers(tmp_path: Path) -> None:
    record = tmp_path / "accepted.ndjson"
    command = [sys.executable, str(ROOT / "tests/shell/twilio_double.py"), "--port", "0"]
    command += ["--record", str(record), "--behave", f"{TO}=+drop,accept"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=url)
            first = trio.run(send_with, settings)
            second = trio.run(send_with, settings)
        finally:
            process.terminate()
    assert (first.signal, second.code) == (Signal.DROPPED, 201)
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(line["to"], line["body"]) for line in lines] == [(TO, "Hello")] * 2
    assert lines[1]["sid"] == second.provider_id


async def test_the_double_refuses_what_cannot_be_a_message(twilio: TwilioTransport) -> None:
    assert (await send(twilio, text="")).vendor == "21602"
    assert (await send(twilio, text="x" * 1601)).vendor == "21617"
    assert (await send(twilio, to="")).vendor == "21604"


def test_a_book_keeps_its_script_until_the_last_line_which_stays() -> None:
    book = Book(behaviours={TO: ["busy", "accept"]})
    assert [book.next_behaviour(TO, SENDER) for _ in range(3)] == ["busy", "accept", "accept"]


# --- names -------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["preparing", "delivering", "testing"])
async def test_a_name_that_does_not_resolve_is_the_reason(when: str) -> None:
    settings = TwilioSettings(
        account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url="https://no-such-host.invalid"
    )
    transport = open_twilio("sms", settings)
    try:
        connection = transport.connection()
        assert connection.waits(rendered())
        ask = {"preparing": connection.prepare, "delivering": connection.deliver}.get(when)
        answer = await transport.probe() if ask is None else await ask(rendered())
    finally:
        await transport.aclose()
    assert answer is not None
    assert (answer.stage, answer.signal) == (Stage.CONNECT, Signal.DROPPED)
    verdict = judge(answer, Channel.SMS, requests=VERDICTS)
    assert verdict.action is Action.PROVIDER
    assert verdict.detail == "the name no-such-host.invalid does not resolve"


async def test_a_proxy_resolves_the_name_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    settings = TwilioSettings(
        account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url="https://no-such-host.invalid"
    )
    transport = open_twilio("sms", settings)
    try:
        assert await transport.connection().prepare(rendered()) is None
    finally:
        await transport.aclose()


async def test_each_address_of_a_name_is_tried(double: TwilioDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, port: object, **_: object) -> list[object]:
        assert name == "sms.example"
        return [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_instead(resolve))
    monkeypatch.setattr(twilio_module, "is_loopback", lambda host: True)
    url = double.base_url.replace("127.0.0.1", "sms.example")
    answer = await send_with(replace(settings_for(double), base_url=url))
    assert answer.code == 201


def resolve_instead(resolve: Callable[..., list[object]]) -> Callable[..., object]:
    """`socket.getaddrinfo` with `resolve` for names; addresses go to the real one."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *more: Any, **others: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return (
            resolve(name, port, **others) if name.endswith(".example") else real(host, port, *more, **others)
        )

    return getaddrinfo


# --- tokens that are replaced ------------------------------------------------------------


async def test_a_token_that_was_replaced_is_used_by_the_next_request_that_is_refused(
    double: TwilioDouble,
) -> None:
    tokens = [TOKEN]

    async def read() -> str:
        await trio.lowlevel.checkpoint()
        return tokens[-1]

    transport = open_twilio("sms", replace(settings_for(double), auth_token=""), read)
    try:
        connection = transport.connection()
        assert await connection.prepare(rendered()) is None
        assert (await connection.deliver(rendered())).code == 201
        double.book.token = "another"
        refused = await connection.deliver(rendered())
        assert (refused.code, action_of(refused)) == (401, Action.PROVIDER_STOP)
        tokens.append("another")
        assert (await connection.deliver(rendered())).code == 201
        assert (await transport.probe()).code == 200
    finally:
        await transport.aclose()


async def test_a_token_that_cannot_be_read_stops_the_provider_and_names_the_key(double: TwilioDouble) -> None:
    async def read() -> str:
        await trio.lowlevel.checkpoint()
        raise CredentialMissing("providers.sms.auth_token: secret file /x: is empty", hint="Write it.")

    transport = open_twilio("sms", replace(settings_for(double), auth_token=""), read)
    try:
        connection = transport.connection()
        for answer in (
            await connection.prepare(rendered()),
            await connection.deliver(rendered()),
            await transport.probe(),
        ):
            assert answer is not None
            verdict = judge(answer, Channel.SMS, requests=VERDICTS)
            assert verdict.action is Action.PROVIDER_STOP
            assert verdict.detail == "providers.sms.auth_token: secret file /x: is empty. Write it."
        assert not double.requests
    finally:
        await transport.aclose()
