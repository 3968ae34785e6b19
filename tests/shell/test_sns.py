"""Text messages through Amazon SNS, against a local server that answers like it and checks each signature."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from hubd.core.inbound import ItemKind
from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.verdict import Action, is_ready
from hubd.errors import SourceUnavailable
from hubd.inbound.source import ReadFirst
from hubd.providers.sns.opted_out import EVERY, OptedOutSource
from tests.shell.aws_double import AwsDouble
from tests.shell.aws_services import BOUND, NUMBER, given, send, service, sns, text, verdict


@pytest.fixture
def double() -> Iterator[AwsDouble]:
    with AwsDouble() as server:
        yield server


async def test_the_text_arrives_as_it_is(double: AwsDouble) -> None:
    words = "Grüße 👋 & <b>+1 % of = what? ü"
    answer = await send(sns(double), text(words=words))
    (accepted,) = double.accepted
    assert answer == Answer(stage=Stage.REQUEST, code=200, provider_id=accepted["id"])
    assert (accepted["to"], accepted["text"], accepted["attributes"]) == (NUMBER, words, {})
    assert verdict(sns(double), answer).action is Action.ACCEPT


@pytest.mark.parametrize(
    ("sending", "sender", "attributes"),
    [
        (
            {"sms_type": "transactional", "sender_id": "ACME", "max_price": "0.50"},
            "",
            {
                "AWS.SNS.SMS.SMSType": "Transactional",
                "AWS.SNS.SMS.SenderID": "ACME",
                "AWS.SNS.SMS.MaxPrice": "0.50",
            },
        ),
        (
            {"sms_type": "promotional", "origination_number": "+12065550100"},
            "",
            {"AWS.SNS.SMS.SMSType": "Promotional", "AWS.MM.SMS.OriginationNumber": "+12065550100"},
        ),
        ({"sender_id": "ACME"}, "+12065550101", {"AWS.MM.SMS.OriginationNumber": "+12065550101"}),
        ({"origination_number": "+12065550100"}, "SPRING", {"AWS.SNS.SMS.SenderID": "SPRING"}),
    ],
)
async def test_settings_are_attributes_and_the_campaigns_sender_goes_first(
    double: AwsDouble, sending: dict[str, str], sender: str, attributes: dict[str, str]
) -> None:
    await send(sns(double, None, **sending), text(sender=sender))
    assert double.accepted[0]["attributes"] == attributes


async def test_a_text_that_is_too_long_is_refused_before_a_request(double: AwsDouble) -> None:
    transport = sns(double)
    answer = await send(transport, text(words="ü" * 801))
    assert (verdict(transport, answer).action, verdict(transport, answer).reason) == (
        Action.FAIL,
        "message_too_large",
    )
    assert double.requests("Publish") == []
    assert (await send(sns(double), text(words="ü" * 800))).code == 200


@pytest.mark.parametrize(
    ("behaviour", "action", "reason"),
    [
        ("refuse:400:Throttling:Rate exceeded", Action.SLOW, "too_fast"),
        ("refuse:429:ThrottledException:Rate exceeded", Action.SLOW, "too_fast"),
        ("refuse:400:KMSThrottling:slow down", Action.SLOW, "too_fast"),
        ("refuse:400:OptedOut:The number has opted out", Action.SUPPRESS, "opted_out"),
        # also said of every number, where the region sends no texts or not to that country
        ("refuse:400:InvalidParameter:Invalid: PhoneNumber Reason: x", Action.FAIL, "recipient_refused"),
        ("refuse:400:InvalidParameter:Invalid parameter: Message too long", Action.FAIL, "message_too_large"),
        ("refuse:400:InvalidParameter:Invalid parameter: MaxPrice", Action.PAUSE, "request_refused"),
        ("refuse:400:ParameterValueInvalid:SenderID", Action.PAUSE, "request_refused"),
        ("refuse:403:AuthorizationError:not authorized", Action.PROVIDER_STOP, "login_refused"),
        ("refuse:403:InvalidClientTokenId:invalid", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:403:SignatureDoesNotMatch:no match", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:403:InvalidSecurity:no", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:403:ExpiredToken:expired", Action.PROVIDER_STOP, "bad_credentials"),
        ("refuse:400:KMSDisabled:disabled", Action.PROVIDER_STOP, "login_refused"),
        ("refuse:400:UserError:The account is in the SMS sandbox", Action.PAUSE, "trial_account"),
        ("refuse:400:Unheard:of", Action.FAIL, "request_refused"),
    ],
)  # fmt: skip
async def test_each_error_means_what_it_should(
    double: AwsDouble, behaviour: str, action: Action, reason: str
) -> None:
    double.behave("*", behaviour)
    transport = sns(double)
    said = verdict(transport, await send(transport, text()))
    assert (said.action, said.reason) == (action, reason)
    assert double.accepted == []
    assert len(double.requests("Publish")) == 1, "nothing is sent twice"


@pytest.mark.parametrize(
    ("behaviour", "signal", "accepted"),
    [
        ("+drop", Signal.DROPPED, 1),
        ("garbage", Signal.GARBAGE, 1),
        ("nameless", Signal.GARBAGE, 1),
        ("deep", Signal.GARBAGE, 1),
        ("bomb", Signal.GARBAGE, 1),
        ("endless", Signal.GARBAGE, 1),
        ("+status:500", Signal.REPLY, 1),
        ("+refuse:500:InternalError:internal", Signal.REPLY, 1),
        ("redirect", Signal.REPLY, 0),
    ],
)
async def test_an_answer_that_is_lost_or_unreadable_is_doubt_and_is_never_asked_for_twice(
    double: AwsDouble, behaviour: str, signal: Signal, accepted: int
) -> None:
    double.behave("*", behaviour)
    transport = sns(double)
    answer = await send(transport, text())
    assert (answer.stage, answer.signal) == (Stage.REQUEST, signal)
    assert verdict(transport, answer).action is Action.DOUBT
    assert len(double.accepted) == accepted
    assert len(double.requests("Publish")) == 1


async def test_an_answer_that_ends_at_any_byte_is_doubt_until_its_last(double: AwsDouble) -> None:
    transport = sns(double)
    connection = transport.connection()
    lost = 0
    with trio.fail_after(BOUND):
        await connection.prepare(text())
        while True:
            double.behave("*", f"lose:{lost}")
            answer = await connection.deliver(text())
            if answer.signal is Signal.REPLY:
                break
            assert verdict(transport, answer).action is Action.DOUBT
            lost += 3
        await transport.aclose()
    assert lost > 300, "as long as the answer"


async def test_a_wrong_key_is_tried_once(double: AwsDouble) -> None:
    transport = sns(double, given("wrong-secret"))
    answer = await send(transport, text())
    assert (answer.code, answer.vendor) == (403, "SignatureDoesNotMatch")
    assert verdict(transport, answer).action is Action.PROVIDER_STOP
    assert double.accepted == []
    assert double.connections_made == 1


async def test_the_account_is_described_and_nothing_is_sent(double: AwsDouble) -> None:
    transport = sns(double)
    answer, account = await transport.ask_account()
    assert is_ready(answer)
    assert account is not None
    assert (account.sandbox, account.rate) == (False, ())
    assert account.lines == (
        "It may spend 100 USD a month; beyond that, SNS accepts messages but does not send them.",
    )
    double.book.sms_sandbox = True
    double.book.sms_attributes = {}
    _, account = await transport.ask_account()
    assert account is not None
    assert account.sandbox is True
    assert "verified numbers" in account.lines[0]
    assert "1 USD" in account.lines[1]
    double.book.denied.add("GetSMSSandboxAccountStatus")
    answer, account = await transport.ask_account()
    assert is_ready(answer)
    assert account is not None
    assert account.sandbox is None
    double.book.denied.add("GetSMSAttributes")
    assert verdict(transport, await transport.probe()).reason == "login_refused"
    assert double.requests("Publish") == []
    await transport.aclose()


# --- who opted out -----------------------------------------------------------------------


async def test_all_who_opted_out_are_read_page_by_page_each_hour(double: AwsDouble) -> None:
    numbers = [f"+1202555{n:04}" for n in range(250)]
    double.book.opted_out = list(numbers)
    source = OptedOutSource("text", service(double, "sns"), lambda: 1000.0)
    assert isinstance(source, ReadFirst)
    assert source.read_first, "before something is sent"
    found, cursor, waits = [], "", []
    with trio.fail_after(BOUND):
        while True:
            fetched = await source.fetch(cursor)
            found += list(fetched.items)
            waits.append(fetched.wait)
            cursor = fetched.cursor
            if not cursor:
                break
        soon = await source.fetch("")
        await source.aclose()
        another = OptedOutSource("text", service(double, "sns"), lambda: 2000.0)
        again = await another.fetch("")
        await another.aclose()
    assert waits == [0.0, 0.0, EVERY]
    assert [item.about.address for item in found] == numbers
    assert {(item.kind, item.about.channel, item.at) for item in found} == {
        (ItemKind.OPT_OUT, Channel.SMS, 1000.0)
    }
    assert (list(soon.items), len(double.requests("ListPhoneNumbersOptedOut"))) == ([], 4)
    assert EVERY - BOUND < soon.wait <= EVERY
    assert [item.key for item in again.items] == [item.key for item in found[:100]]
    assert not any(number.strip("+") in item.key for number, item in zip(numbers, found, strict=True))


async def test_a_place_in_the_list_that_is_forgotten_begins_it_again(double: AwsDouble) -> None:
    double.book.opted_out = [NUMBER]
    source = OptedOutSource("text", service(double, "sns"), lambda: 1000.0)
    with trio.fail_after(BOUND):
        fetched = await source.fetch("no such place")
        await source.aclose()
    assert [item.about.address for item in fetched.items] == [NUMBER]


async def test_a_list_that_may_not_be_read_needs_a_person(double: AwsDouble) -> None:
    double.book.denied.add("ListPhoneNumbersOptedOut")
    source = OptedOutSource("text", service(double, "sns"), lambda: 1000.0)
    with trio.fail_after(BOUND), pytest.raises(SourceUnavailable, match="not authorized") as caught:
        await source.fetch("")
    assert caught.value.data["person"] is True
    await source.aclose()
