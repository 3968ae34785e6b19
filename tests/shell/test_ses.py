"""Email through Amazon SES, against a local server that answers like it and checks each signature."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import trio

from hubd.core.account import Account
from hubd.core.model import Answer, Signal, Stage
from hubd.core.shared import encode_file
from hubd.core.verdict import Action, is_ready
from hubd.errors import CredentialMissing
from hubd.providers.aws.credentials import GivenKeys
from hubd.providers.aws.signing import Keys
from tests.shell.aws_double import KEY, SECRET, AwsDouble, Book
from tests.shell.aws_services import BOUND, email, given, send, ses, verdict


@pytest.fixture
def double() -> Iterator[AwsDouble]:
    with AwsDouble() as server:
        yield server


# --- acceptance --------------------------------------------------------------------------


async def test_the_message_arrives_byte_for_byte_with_our_tag(double: AwsDouble) -> None:
    shared = encode_file(bytes(range(256)) * 900)
    message = msgspec.structs.replace(email(), shared=shared)
    answer = await send(ses(double), message)
    (accepted,) = double.accepted
    assert answer == Answer(stage=Stage.REQUEST, code=200, provider_id=accepted["id"])
    assert accepted["raw"] == message.payload + bytes(shared)
    assert accepted["to"] == "anna@acme.example"
    assert (accepted["tags"], accepted["configuration_set"]) == ({"hub": "1258"}, "hub")
    assert verdict(ses(double), answer).action is Action.ACCEPT


async def test_one_connection_carries_many_messages(double: AwsDouble) -> None:
    transport = ses(double)
    connection = transport.connection()
    with trio.fail_after(BOUND):
        assert connection.waits(email())
        for number in range(5):
            message = email(f"a{number}@acme.example")
            assert await connection.prepare(message) is None
            assert (await connection.deliver(message)).code == 200
            assert not connection.waits(message)
        connection.drop()
        assert (await connection.deliver(email())).code == 200
        await transport.aclose()
    assert double.connections_made == 2
    assert len(double.accepted) == 6


async def test_a_local_part_beyond_ascii_is_refused_before_a_request(double: AwsDouble) -> None:
    answer = await send(ses(double), email("müller@acme.example"))
    said = verdict(ses(double), answer)
    assert (said.action, said.reason) == (Action.FAIL, "address_malformed")
    assert "ASCII" in said.detail
    assert double.requests("SendEmail") == []


# --- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "action", "reason"),
    [
        ("refuse:429:TooManyRequestsException:Maximum sending rate exceeded.", Action.SLOW, "too_fast"),
        ("refuse:400:Throttling:Maximum sending rate exceeded.", Action.SLOW, "too_fast"),
        ("refuse:429:TooManyRequestsException:Daily message quota exceeded", Action.PROVIDER, "daily_quota"),
        ("refuse:400:Throttling:Daily message quota exceeded", Action.PROVIDER, "daily_quota"),
        ("refuse:400:AccountSuspendedException:suspended", Action.PROVIDER_STOP, "account_suspended"),
        ("refuse:400:SendingPausedException:paused", Action.PROVIDER_STOP, "account_suspended"),
        ("refuse:400:MailFromDomainNotVerifiedException:DNS", Action.PAUSE, "sender_refused"),
        (
            "refuse:400:MessageRejected:Email address is not verified. The following ...: x@acme.example",
            Action.PAUSE,
            "sender_refused",
        ),
        ("refuse:404:NotFoundException:Configuration set does not exist.", Action.PAUSE, "request_refused"),
        ("refuse:400:LimitExceededException:limit", Action.PAUSE, "sending_limit"),
        ("refuse:400:MessageRejected:Message length is more", Action.PAUSE, "message_too_large"),
        ("refuse:400:MessageRejected:Missing final '@domain'", Action.FAIL, "message_refused"),
        ("refuse:400:BadRequestException:Local address contains control", Action.FAIL, "request_refused"),
        ("refuse:403:AccessDeniedException:not authorized", Action.PROVIDER_STOP, "login_refused"),
        ("refuse:403:AccessDenied:not authorized", Action.PROVIDER_STOP, "login_refused"),
        ("refuse:403:UnrecognizedClientException:invalid", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:403:InvalidSignatureException:no match", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:403:SignatureDoesNotMatch:no match", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:403:InvalidClientTokenId:invalid", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:403:ExpiredTokenException:expired", Action.PROVIDER_STOP, "bad_credentials"),
        ("status:413", Action.PAUSE, "message_too_large"),
        ("status:404", Action.PROVIDER_STOP, "account_unknown"),
        ("status:429", Action.SLOW, "too_fast"),
    ],
)  # fmt: skip
async def test_each_error_means_what_it_should(
    double: AwsDouble, behaviour: str, action: Action, reason: str
) -> None:
    double.behave("*", behaviour)
    transport = ses(double)
    answer = await send(transport, email())
    said = verdict(transport, answer)
    assert (said.action, said.reason) == (action, reason)
    assert double.accepted == []
    assert len(double.requests("SendEmail")) == 1, "nothing is sent twice"
    assert "@acme.example" not in said.detail


async def test_the_daily_quota_rests_for_longer_than_a_throttle(double: AwsDouble) -> None:
    double.behave("*", "refuse:429:TooManyRequestsException:Daily message quota exceeded")
    transport = ses(double)
    assert verdict(transport, await send(transport, email())).retry_after == 1800.0


async def test_the_sandbox_refuses_a_recipient_and_says_that_it_must_be_verified(double: AwsDouble) -> None:
    double.book.verified = {"news@acme.example"}
    transport = ses(double)
    answer = await send(transport, email())
    said = verdict(transport, answer)
    assert (answer.code, answer.vendor, said.action) == (400, "MessageRejected", Action.PAUSE)
    assert "each recipient must also be verified" in said.detail


# --- keys --------------------------------------------------------------------------------


async def test_a_wrong_key_is_tried_once_and_never_shown(double: AwsDouble) -> None:
    transport = ses(double, given("wrong-secret"))
    answer = await send(transport, email())
    assert (answer.code, answer.vendor) == (403, "InvalidSignatureException")
    assert verdict(transport, answer).action is Action.PROVIDER_STOP
    assert double.accepted == []
    assert double.connections_made == 1
    assert "wrong-secret" not in repr(answer)


async def test_a_secret_that_was_replaced_is_read_again(double: AwsDouble) -> None:
    secrets = ["old", SECRET, "never read"]

    async def read() -> str:
        await trio.lowlevel.checkpoint()
        return secrets.pop(0)

    assert (await send(ses(double, GivenKeys(KEY, read)), email())).code == 200
    assert secrets == ["never read"]
    assert len(double.accepted) == 1


async def test_a_secret_that_is_missing_is_no_request(double: AwsDouble) -> None:
    async def read() -> str:
        await trio.lowlevel.checkpoint()
        raise CredentialMissing("providers.ses.secret_access_key: no such file", hint="Create it.")

    transport = ses(double, GivenKeys(KEY, read))
    answer = await send(transport, email())
    said = verdict(transport, answer)
    assert (said.action, said.detail) == (
        Action.PROVIDER_STOP,
        "providers.ses.secret_access_key: no such file. Create it.",
    )
    assert double.connections_made == 0


class Expiring:
    """Keys that the service knows for a while, and the next ones."""

    due = False

    def __init__(self, *keys: Keys) -> None:
        self._keys = list(keys)

    async def keys(self) -> Keys:
        await trio.lowlevel.checkpoint()
        return self._keys[0]

    async def renewed(self, refused: Keys) -> Keys | None:
        await trio.lowlevel.checkpoint()
        if self._keys[0] is refused and len(self._keys) > 1:
            del self._keys[0]
        return self._keys[0] if self._keys[0] is not refused else None


async def test_expired_keys_are_renewed_once_and_the_message_is_sent_once(double: AwsDouble) -> None:
    old = Keys(access_key_id="ASIAOLD", secret_access_key="a", session_token="t1")
    new = Keys(access_key_id="ASIANEW", secret_access_key="b", session_token="t2")
    double.book.keys |= {"ASIAOLD": ("a", "t1"), "ASIANEW": ("b", "t2")}
    double.book.expired.add("ASIAOLD")
    assert (await send(ses(double, Expiring(old, new)), email())).code == 200
    assert len(double.accepted) == 1
    double.book.expired.add("ASIANEW")
    transport = ses(double, Expiring(old, new))
    answer = await send(transport, email())
    assert answer.vendor == "ExpiredTokenException"
    assert verdict(transport, answer).action is Action.PROVIDER_STOP
    assert "log in to AWS again" in verdict(transport, answer).detail


@pytest.mark.parametrize(
    ("ahead", "words"), [(1020.0, "17 minutes behind"), (-86_400.0, "1,440 minutes ahead")]
)
async def test_a_clock_that_is_wrong_is_named(ahead: float, words: str) -> None:
    with AwsDouble(book=Book(clock_ahead=ahead)) as double:
        transport = ses(double)
        answer = await send(transport, email())
        said = verdict(transport, answer)
        assert (said.action, said.reason) == (Action.PROVIDER_STOP, "clock_skew")
        assert words in said.detail
        assert double.connections_made == 1


async def test_a_server_that_echoes_the_keys_does_not_get_them_into_the_answer(double: AwsDouble) -> None:
    token = Keys(access_key_id="ASIAX", secret_access_key="the-secret-key", session_token="the-session-token")
    double.book.keys["ASIAX"] = ("the-secret-key", "the-session-token")
    double.behave("*", "echo")
    answer = await send(ses(double, Expiring(token)), email())
    assert "***" in answer.text
    assert "the-secret-key" not in answer.text
    assert "the-session-token" not in answer.text


# --- doubt -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "signal", "accepted"),
    [
        ("drop", Signal.DROPPED, 0),
        ("+drop", Signal.DROPPED, 1),
        ("garbage", Signal.GARBAGE, 1),
        ("nameless", Signal.GARBAGE, 1),
        ("deep", Signal.GARBAGE, 1),
        ("endless", Signal.GARBAGE, 1),
        ("gzip", Signal.GARBAGE, 1),
        ("status:500", Signal.REPLY, 0),
        ("+status:500", Signal.REPLY, 1),
        ("+status:503", Signal.REPLY, 1),
        ("redirect", Signal.REPLY, 0),
    ],
)
async def test_an_answer_that_is_lost_or_unreadable_is_doubt_and_is_never_asked_for_twice(
    double: AwsDouble, behaviour: str, signal: Signal, accepted: int
) -> None:
    double.behave("*", behaviour)
    transport = ses(double)
    answer = await send(transport, email())
    assert (answer.stage, answer.signal) == (Stage.REQUEST, signal)
    assert verdict(transport, answer).action is Action.DOUBT
    assert len(double.accepted) == accepted
    assert len(double.requests("SendEmail")) == 1


async def test_an_answer_that_ends_at_any_byte_is_doubt_until_its_last(double: AwsDouble) -> None:
    transport = ses(double)
    connection = transport.connection()
    lost = 0
    with trio.fail_after(BOUND):
        await connection.prepare(email())
        while True:
            double.behave("*", f"lose:{lost}")
            answer = await connection.deliver(email())
            if answer.signal is Signal.REPLY:
                break
            assert (answer.stage, answer.signal) == (Stage.REQUEST, Signal.DROPPED)
            assert verdict(transport, answer).action is Action.DOUBT
            lost += 1
        await transport.aclose()
    assert lost > 100, "as long as the answer"
    assert len(double.accepted) == lost + 1


async def test_silence_is_doubt(double: AwsDouble) -> None:
    double.behave("*", "+silence")
    transport = ses(double, timeout=0.3)
    answer = await send(transport, email())
    assert (answer.stage, answer.signal) == (Stage.REQUEST, Signal.TIMEOUT)
    assert verdict(transport, answer).action is Action.DOUBT


# --- the account -------------------------------------------------------------------------


async def test_the_account_is_described_and_nothing_is_sent(double: AwsDouble) -> None:
    transport = ses(double)
    answer, account = await transport.ask_account()
    assert is_ready(answer)
    assert account == Account(
        sending=True,
        sandbox=False,
        rate=("14/s", "50000/day"),
        quota=50_000,
        used=17,
        lines=("It may send 50,000 messages in 24 hours, 14 a second; 17 were sent in the last 24 hours.",),
    )
    assert is_ready(await transport.probe())
    assert double.requests("SendEmail") == []
    await transport.aclose()


async def test_a_sandbox_a_review_and_a_quota_without_end_are_told(double: AwsDouble) -> None:
    said = double.book.account
    said |= {"ProductionAccessEnabled": False, "EnforcementStatus": "PROBATION"}
    said["SendQuota"] |= {"Max24HourSend": -1.0, "MaxSendRate": 0.5}
    transport = ses(double)
    _, account = await transport.ask_account()
    assert account is not None
    assert (account.sandbox, account.quota, account.rate) == (True, None, ("1/2s",))
    assert "under review" in account.lines[0]
    assert "verified addresses" in account.lines[1]
    await transport.aclose()


@pytest.mark.parametrize("change", [{"SendingEnabled": False}, {"EnforcementStatus": "SHUTDOWN"}])
async def test_an_account_that_may_not_send_is_stopped(double: AwsDouble, change: dict[str, object]) -> None:
    double.book.account |= change
    transport = ses(double)
    answer, account = await transport.ask_account()
    assert verdict(transport, answer).reason == "account_suspended"
    assert account is not None
    assert account.sending is False
    await transport.aclose()


@pytest.mark.parametrize("quota", [None, {}, {"Max24HourSend": "many"}, {"Max24HourSend": True}])
async def test_an_account_that_cannot_be_read_is_not_ready(double: AwsDouble, quota: object) -> None:
    double.book.account["SendQuota"] = quota
    transport = ses(double)
    answer, account = await transport.ask_account()
    assert (answer.signal, account) == (Signal.GARBAGE, None)
    await transport.aclose()


async def test_keys_that_may_not_look_at_the_account_are_told_apart(double: AwsDouble) -> None:
    double.book.denied.add("GetAccount")
    transport = ses(double)
    answer = await transport.probe()
    assert (answer.vendor, verdict(transport, answer).reason) == ("AccessDeniedException", "login_refused")
    await transport.aclose()
