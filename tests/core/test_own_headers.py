"""Promise: a header that an author writes arrives as one header, and none can change where a message goes."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.changes import changed_keys
from hubd.core.compose import compile_email, content_hash
from hubd.core.decide import copied
from hubd.core.mime import one_line
from hubd.core.model import Campaign, CampaignState, Channel
from hubd.core.spec import spec_from_json, spec_json
from hubd.core.spec_reading import parse_spec
from hubd.errors import BadInput, BadTemplate

FILE: dict[str, Any] = {
    "name": "spring-sale",
    "channel": "email",
    "sender": "Acme <news@acme.example>",
    "subject": "Hello",
    "text": "Hi",
}
FIELDS = {"email": "ann@example.org", "name": "Ann"}


def faults(**changes: Any) -> dict[str, str]:
    with pytest.raises(BadInput) as caught:
        parse_spec({**FILE, **changes})
    listed = caught.value.data["errors"]
    assert isinstance(listed, list)
    return {fault["path"]: fault["problem"] for fault in listed}


def head(fields: dict[str, str] | None = None, **changes: Any) -> bytes:
    plan = compile_email(parse_spec({**FILE, **changes}).content(), {})
    email = plan.render(fields or FIELDS, message_id="<1@acme.example>", now=0.0)
    return email.payload.partition(b"\r\n\r\n")[0]


def parsed(block: bytes) -> EmailMessage:
    message = message_from_bytes(block + b"\r\n\r\n", policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def unfolded(block: bytes, name: str) -> str:
    """The value of a header as programs read it that know no encoded words."""
    return str(message_from_bytes(block + b"\r\n\r\n", policy=policy.compat32)[name]).replace("\r\n", "")


def test_headers_of_ones_own_stand_beside_ours_with_the_fields_filled_in() -> None:
    message = parsed(
        head(
            headers={
                "X-PM-Message-Stream": "broadcast",
                "Feedback-ID": "spring:acme:{{ name }}:mail",
                "Precedence": "bulk",
            }
        )
    )
    assert message["X-PM-Message-Stream"] == "broadcast"
    assert message["Feedback-ID"] == "spring:acme:Ann:mail"
    assert message["Precedence"] == "bulk"
    assert (message["Subject"], message["From"]) == ("Hello", "Acme <news@acme.example>")


@given(value=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_in_a_field_stays_inside_its_header(value: str) -> None:
    block = head({**FIELDS, "name": value}, headers={"X-Name": "for {{ name }}", "X-Last": "1"})
    names = re.findall(rb"^([A-Za-z-]+):", block, re.MULTILINE)
    assert len(names) == len(set(names))
    assert b"Bcc" not in names
    assert names.index(b"X-Name") >= 0
    shown = str(make_header(decode_header(unfolded(block, "X-Name"))))
    assert shown == one_line(f"for {value}")
    assert all(len(line) <= 998 for line in block.split(b"\r\n"))


@given(words=st.lists(st.from_regex(r"[!-<>-~]{1,900}", fullmatch=True), min_size=1, max_size=6))
def test_a_long_ascii_value_is_folded_at_its_spaces_and_never_encoded(words: list[str]) -> None:
    value = " ".join(words)
    block = head({**FIELDS, "name": value}, headers={"X-Data": "{{ name }}"})
    assert unfolded(block, "X-Data") == value
    assert all(
        len(line) <= 76 or b" " not in line.strip().partition(b": ")[2] for line in block.split(b"\r\n")
    )


def test_a_word_longer_than_any_line_is_encoded() -> None:
    block = head(headers={"X-Data": "x" * 2_000})
    assert all(len(line) <= 76 for line in block.split(b"\r\n"))
    assert parsed(block)["X-Data"] == "x" * 2_000


def test_a_header_that_is_empty_for_a_recipient_is_left_out() -> None:
    headers = {"X-Tag": "{{ tag | default('') }}"}
    assert b"X-Tag" not in head(headers=headers)
    assert parsed(head({**FIELDS, "tag": "vip"}, headers=headers))["X-Tag"] == "vip"


def test_a_field_that_a_header_needs_is_one_of_the_messages() -> None:
    content = parse_spec({**FILE, "headers": {"X-Tag": "{{ tag }}"}}).content()
    plan = compile_email(content, {})
    assert plan.fields == {"tag"}
    with pytest.raises(BadTemplate) as caught:
        plan.render(FIELDS, message_id="<1@acme.example>", now=0.0)
    assert (caught.value.code, caught.value.data["field"]) == ("missing_field", "tag")


def test_a_bad_template_in_a_header_is_named_with_its_header() -> None:
    with pytest.raises(BadTemplate) as caught:
        compile_email(parse_spec({**FILE, "headers": {"X-Tag": "{{ a.b }}"}}).content(), {})
    assert caught.value.data["errors"][0]["path"] == "headers.X-Tag line 1"  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("From", "key sender"),
        ("reply-to", "key reply_to"),
        ("SUBJECT", "key subject"),
        ("Return-Path", "key return_path"),
        ("List-Id", "key list_id"),
        ("List-Unsubscribe", "key unsubscribe"),
        ("List-Unsubscribe-Post", "key unsubscribe"),
        ("Message-ID", "hubd sets it"),
        ("To", "exactly one recipient"),
        ("Bcc", "exactly one recipient"),
        ("Resent-To", "exactly one recipient"),
        ("Content-Type", "bodies and files"),
        ("MIME-Version", "bodies and files"),
        ("DKIM-Signature", "mail servers"),
        ("ARC-Seal", "mail servers"),
        ("Received", "mail servers"),
        ("X-A: b\r\nBcc", "not a header name"),
        ("X A", "not a header name"),
        ("", "not a header name"),
        ("Übung", "not a header name"),
        ("X" * 77, "not a header name"),
    ],
)
def test_a_header_that_is_not_free_is_refused_with_the_key_that_sets_it(name: str, words: str) -> None:
    ((path, problem),) = faults(headers={name: "x"}).items()
    assert path.startswith("headers.")
    assert path.isprintable()
    assert words in problem


@pytest.mark.parametrize(
    ("headers", "path", "words"),
    [
        ("X: y", "headers", "must be a table"),
        ({"X-A": 1}, "headers.X-A", "text in quotes"),
        ({"X-A": ""}, "headers.X-A", "is empty"),
        ({"X-A": "  "}, "headers.X-A", "is empty"),
        ({"X-A": "a\r\nBcc: evil@example.net"}, "headers.X-A", "one line"),
        ({"X-A": "a\0"}, "headers.X-A", "NUL"),
        ({"X-A": "\ud800"}, "headers.X-A", "half of a character"),
        ({"X-A": "a" * 8_001}, "headers.X-A", "longer than"),
        ({"X-A": "1", "x-a": "2"}, "headers.x-a", "given twice"),
        ({f"X-{n}": "1" for n in range(51)}, "headers", "more than 50"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(headers: Any, path: str, words: str) -> None:
    found = faults(headers=headers)
    assert words in found[path]


@given(
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(["X-A", "x-a", "Bcc"]), st.text(max_size=8) | st.none()
    )
)
def test_any_table_of_headers_is_taken_as_it_is_or_refused(headers: dict[str, str | None]) -> None:
    try:
        spec = parse_spec({**FILE, "headers": headers})
    except BadInput as error:
        listed = error.data["errors"]
        assert isinstance(listed, list)
        assert all(str(fault["path"]).isprintable() for fault in listed)
        return
    assert spec.headers == {name: value for name, value in headers.items() if value is not None}
    assert spec_from_json(spec_json(spec)) == spec


@pytest.mark.parametrize(
    ("written", "kept", "line"),
    [
        ("news.acme.example", "news.acme.example", b"List-Id: <news.acme.example>"),
        ("<news.acme.example>", "news.acme.example", b"List-Id: <news.acme.example>"),
        ("Acme News <news.acme.example>", None, b"List-Id: Acme News <news.acme.example>"),
        (
            '"Acme, News" <news.acme.example>',
            "Acme, News <news.acme.example>",
            b'"Acme, News" <news.acme.example>',
        ),
        ("Märkte <news.acme.example>", None, b"=?utf-8?b?TcOkcmt0ZQ==?= <news.acme.example>"),
    ],
)
def test_a_list_id_is_written_as_rfc_2919_has_it(written: str, kept: str | None, line: bytes) -> None:
    assert parse_spec({**FILE, "list_id": written}).list_id == (kept or written)
    assert line + b"\r\n" in head(list_id=written)


@pytest.mark.parametrize(
    "written",
    ["news", "news acme.example", "{{ city }} <news.acme.example>", "a..b", "<>", "x" * 256 + ".a", "ü.a"],
)
def test_what_is_no_list_id_is_refused(written: str) -> None:
    assert list(faults(list_id=written)) == ["list_id"]


def test_the_envelope_sender_is_the_return_path_and_the_rest_stays_the_senders() -> None:
    spec = parse_spec({**FILE, "return_path": "bounces@müller.example"})
    assert spec.return_path == "bounces@xn--mller-kva.example"
    plan = compile_email(spec.content(), {})
    email = plan.render(FIELDS, message_id="<1@acme.example>", now=0.0)
    assert email.sender == "bounces@xn--mller-kva.example"
    assert (plan.sender, plan.domain) == ("news@acme.example", "acme.example")
    assert b"bounces" not in email.payload
    assert compile_email(parse_spec(FILE).content(), {}).return_path == "news@acme.example"


@pytest.mark.parametrize(
    "written", ["bounces", "Acme <bounces@acme.example>", "<bounces@acme.example>", "a@b@c"]
)
def test_what_is_no_bare_address_is_refused(written: str) -> None:
    assert list(faults(return_path=written)) == ["return_path"]


@pytest.mark.parametrize(
    ("key", "words"),
    [("envelope_sender", "return_path"), ("bounce_address", "return_path"), ("feedback_id", "Feedback-ID")],
)
def test_other_names_for_these_keys_lead_to_them(key: str, words: str) -> None:
    assert words in faults(**{key: "x"})[key]


def test_they_are_for_email_only() -> None:
    sms = {"name": "a", "channel": "sms", "text": "Hi"}
    given = {"headers": {"X-A": "1"}, "list_id": "news.acme.example", "return_path": "a@acme.example"}
    with pytest.raises(BadInput) as caught:
        parse_spec({**sms, **given})
    listed = caught.value.data["errors"]
    assert isinstance(listed, list)
    assert {fault["path"] for fault in listed} == set(given)


def test_a_change_of_them_is_a_change_of_the_campaign_and_their_absence_is_none() -> None:
    spec = parse_spec(FILE)
    assert "headers" not in changed_keys(None, spec)
    other = parse_spec({**FILE, "headers": {"X-A": "1"}, "list_id": "a.b"})
    assert changed_keys(spec, other) == ["list_id", "headers"]
    assert content_hash(spec.content()) != content_hash(other.content())


def test_a_copy_keeps_the_headers_that_are_not_named_and_drops_one_that_is_empty() -> None:
    source = Campaign(
        id=1,
        name="spring-sale",
        channel=Channel.EMAIL,
        provider="outbox",
        state=CampaignState.DRAFT,
        reason="",
        revision=1,
        spec=spec_json(parse_spec({**FILE, "headers": {"X-A": "1", "X-B": "2"}})),
        content_id=1,
        in_doubt=None,
    )
    copy = copied(source, new="summer", changes={"headers": {"X-A": "", "X-C": "3"}})
    assert copy.headers == {"X-B": "2", "X-C": "3"}
