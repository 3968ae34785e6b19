"""What SES tells afterwards becomes items, from every envelope, and no body of a queue is too strange."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.inbound import ItemKind
from hubd.providers.aws.answers import Unreadable
from hubd.providers.ses.events import items_of

DELIVERY_ID = 1258
MESSAGE = "0102018d1c2f6a5e-4b1f0c1e-0000-4c7e-8a55-5d3f1f0e9c11-000000"
OURS = "<0f1e2d3c4b5a69788796a5b4c3d2e1f0@acme.example>"
MAIL: dict[str, Any] = {
    "timestamp": "2026-11-30T17:10:00.000Z",
    "source": "news@acme.example",
    "messageId": MESSAGE,
    "destination": ["Anna@Example.com"],
    "headers": [{"name": "From", "value": "news@acme.example"}, {"name": "Message-ID", "value": OURS}],
    "commonHeaders": {"messageId": MESSAGE},
    "tags": {"ses:configuration-set": ["hub"], "hub": [str(DELIVERY_ID)]},
}
BOUNCE: dict[str, Any] = {
    "eventType": "Bounce",
    "mail": MAIL,
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [
            {
                "emailAddress": "Anna <Anna@Example.com>",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 <anna@example.com>: user unknown",
            }
        ],
        "timestamp": "2026-11-30T17:10:05.250Z",
        "feedbackId": "010201-feedback",
        "reportingMTA": "dns; e1.smtp-out.eu-west-1.amazonses.com",
    },
}
COMPLAINT: dict[str, Any] = {
    "eventType": "Complaint",
    "mail": MAIL,
    "complaint": {
        "complainedRecipients": [{"emailAddress": "anna@example.com"}],
        "timestamp": "2026-11-30T18:00:00Z",
        "feedbackId": "010201-complaint",
        "complaintFeedbackType": "abuse",
        "complaintSubType": None,
    },
}
DELIVERY: dict[str, Any] = {
    "eventType": "Delivery",
    "mail": MAIL,
    "delivery": {
        "timestamp": "2026-11-30T17:10:02Z",
        "recipients": ["anna@example.com"],
        "smtpResponse": "250 2.6.0 Message received",
    },
}
DELAY: dict[str, Any] = {
    "eventType": "DeliveryDelay",
    "mail": MAIL,
    "deliveryDelay": {
        "timestamp": "2026-11-30T17:10:02Z",
        "delayType": "MailboxFull",
        "delayedRecipients": [
            {
                "emailAddress": "anna@example.com",
                "status": "4.2.2",
                "diagnosticCode": "smtp; 452 4.2.2 over quota",
            }
        ],
    },
}
REJECT: dict[str, Any] = {"eventType": "Reject", "mail": MAIL, "reject": {"reason": "Bad content"}}
EVENTS = {
    "bounce": BOUNCE,
    "complaint": COMPLAINT,
    "delivered": DELIVERY,
    "delayed": DELAY,
    "reject": REJECT,
}


def by_sns(event: object) -> str:
    text = event if isinstance(event, str) else json.dumps(event)
    topic = "arn:aws:sns:eu-west-1:123456789012:hub"
    return json.dumps({"Type": "Notification", "MessageId": "m", "TopicArn": topic, "Message": text})


def by_eventbridge(event: object) -> str:
    return json.dumps({"version": "0", "source": "aws.ses", "detail-type": "Email Bounced", "detail": event})


def test_a_bounce_says_whom_and_why() -> None:
    (item,) = items_of(json.dumps(BOUNCE))
    assert item.kind is ItemKind.BOUNCE
    assert item.permanent is True
    assert (item.code, item.enhanced, item.vendor) == (550, "5.1.1", "Permanent/General")
    assert item.words == "smtp; 550 5.1.1 <anna@example.com>: user unknown"
    assert item.at == 1_796_058_605.25
    about = item.about
    assert (about.delivery, about.message_ids, about.provider_ids) == (DELIVERY_ID, (OURS,), (MESSAGE,))
    assert about.address == "anna@example.com"
    assert "anna" not in item.key.lower()


@pytest.mark.parametrize(
    ("kind", "permanent"), [("Permanent", True), ("Transient", False), ("Undetermined", None), ("New", None)]
)
def test_a_bounce_says_whether_it_is_for_good(kind: str, permanent: bool | None) -> None:
    event = {**BOUNCE, "bounce": {**BOUNCE["bounce"], "bounceType": kind}}
    assert items_of(json.dumps(event))[0].permanent is permanent


@pytest.mark.parametrize(
    ("event", "kind", "code", "enhanced", "vendor"),
    [
        (COMPLAINT, ItemKind.COMPLAINT, 0, "", "abuse"),
        (DELIVERY, ItemKind.DELIVERED, 250, "2.6.0", ""),
        (DELAY, ItemKind.DELAYED, 452, "4.2.2", "MailboxFull"),
        (REJECT, ItemKind.BOUNCE, 0, "5.6.0", "Reject"),
    ],
)
def test_each_kind_of_event_is_an_item(
    event: dict[str, Any], kind: ItemKind, code: int, enhanced: str, vendor: str
) -> None:
    (item,) = items_of(json.dumps(event))
    assert (item.kind, item.code, item.enhanced, item.vendor) == (kind, code, enhanced, vendor)
    assert (item.about.delivery, item.about.address) == (DELIVERY_ID, "anna@example.com")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("fraud", ItemKind.COMPLAINT),
        ("", ItemKind.COMPLAINT),
        ("not-spam", ItemKind.AUTOMATIC),
        ("auth-failure", ItemKind.AUTOMATIC),
    ],
)
def test_not_every_report_is_a_complaint(said: str, kind: ItemKind) -> None:
    event = {**COMPLAINT, "complaint": {**COMPLAINT["complaint"], "complaintFeedbackType": said}}
    assert [item.kind for item in items_of(json.dumps(event))] == [kind]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_the_same_in_every_envelope(name: str) -> None:
    event = EVENTS[name]
    plain = items_of(json.dumps(event))
    assert plain
    assert items_of(by_sns(event)) == plain
    assert items_of(by_eventbridge(event)) == plain
    assert items_of(by_sns(by_eventbridge(event))) == plain
    notification = {**event, "notificationType": event["eventType"]}
    del notification["eventType"]
    assert items_of(by_sns(notification)) == plain


def test_two_events_never_share_a_name() -> None:
    two = {**DELIVERY, "delivery": {**DELIVERY["delivery"], "recipients": ["a@x.example", "b@x.example"]}}
    later = {**DELAY, "deliveryDelay": {**DELAY["deliveryDelay"], "timestamp": "2026-11-30T18:10:02Z"}}
    events = [*EVENTS.values(), two, later]
    keys = [item.key for event in events for item in items_of(json.dumps(event))]
    assert len(set(keys)) == len(keys) - 1, "only the delivery to the first of two is the one to it alone"


@pytest.mark.parametrize("kind", ["Send", "Open", "Click", "Subscription", "Rendering Failure", "New"])
def test_other_events_are_none_of_our_business(kind: str) -> None:
    assert items_of(by_sns({"eventType": kind, "mail": MAIL})) == []


def test_the_greeting_of_a_topic_is_nothing() -> None:
    assert items_of(by_sns("Successfully validated SNS topic for Amazon SES event publishing.")) == []


def test_an_address_that_is_none_leaves_the_tag() -> None:
    event = {**DELIVERY, "delivery": {**DELIVERY["delivery"], "recipients": ["nobody"]}}
    (item,) = items_of(json.dumps(event))
    assert (item.about.address, item.about.delivery) == ("", DELIVERY_ID)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "[]",
        "7",
        "null",
        "{}",
        "[" * 100_000,
        '{"mail": {}}',
        '{"mail": {}, "eventType": ["Bounce"]}',
        '{"Message": {"Message": {"Message": {"Message": {"Message": "x"}}}}}',
        by_sns(by_sns(by_sns(by_sns(by_sns(BOUNCE))))),
        json.dumps({**DELIVERY, "mail": {**MAIL, "messageId": ""}}),
        json.dumps({**DELIVERY, "mail": {}}),
        json.dumps({**REJECT, "mail": {**MAIL, "timestamp": "yesterday"}}),
        json.dumps({**REJECT, "mail": {**MAIL, "timestamp": "2026-11-30T17:10:00"}}),
        '{"mail": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_event_is_refused(body: str) -> None:
    with pytest.raises(Unreadable):
        items_of(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(event=st.sampled_from(sorted(EVENTS)), key=st.integers(0, 40), value=JSON, raw=st.text(max_size=60))
def test_no_body_is_too_strange(event: str, key: int, value: object, raw: str) -> None:
    """One value anywhere in an event is another one; and any text at all."""
    changed = json.loads(json.dumps(EVENTS[event]))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        children = node.items() if isinstance(node, dict) else enumerate(node)
        for name, child in list(children):
            places.append((node, name))
            if isinstance(child, dict | list):
                walk(child)

    walk(changed)
    node, name = places[key % len(places)]
    node[name] = value
    for body in (json.dumps(changed), by_sns(changed), raw):
        try:
            items = items_of(body)
        except Unreadable:
            continue
        assert all(item.about.provider_ids and item.key for item in items)


@pytest.mark.parametrize("tag", ["", "-1", "1.5", "x", "１２", "9" * 19, "1258 "])
def test_a_tag_that_is_not_ours_names_no_delivery(tag: str) -> None:
    event = {**DELIVERY, "mail": {**MAIL, "tags": {"hub": [tag]}}}
    assert items_of(json.dumps(event))[0].about.delivery is None
