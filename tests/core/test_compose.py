"""Promise: whatever the fields hold, a plan writes the message the standard library would have written."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.compose import compile_email, content_hash, message_id, problems
from hubd.core.mime import file_name, one_line, skeleton
from hubd.core.model import Attachment, Channel, Content, Kind
from hubd.core.shared import SharedBytes, encode_file, has_bare_line_end, joined, stuffed
from hubd.errors import BadInput, BadTemplate
from tests.core.composed import (
    BLOBS,
    CATALOGUE,
    CONTENT,
    ENCODED,
    FIELDS,
    HEADER_TEXT,
    ID,
    LINK,
    NOW,
    PDF,
    TEXT,
    assert_clean,
    change,
    escaped,
    parsed,
    parts,
    send,
    whole,
)


def reference_message(
    content: Content, blobs: Mapping[str, bytes], values: Mapping[str, str], message_id: str, now: float
) -> EmailMessage:
    """The slow way: the standard library builds CONTENT (or a part of it) for one recipient.

    Header values first become one line, as the plan promises; the standard library refuses them otherwise.
    """
    message = EmailMessage(policy=policy.SMTP)
    name, address = parseaddr(content.sender)
    message["From"] = Address(display_name=name, addr_spec=address)
    message["To"] = values["email"]
    if content.reply_to:
        message["Reply-To"] = content.reply_to
    message["Subject"] = one_line(f"{values['greeting']} {values['name']}")
    message["Date"] = format_datetime(datetime.fromtimestamp(int(now), UTC))
    message["Message-ID"] = message_id
    name, story = values["name"], values["story"]
    text = f"Dear {name},\n\n{story}\n"
    html = f'<html><body title="{escaped(name)}"><p>{escaped(story)}</p></body></html>'
    if content.text:
        message.set_content(text, cte="base64")
    if content.html and content.text:
        message.add_alternative(html, subtype="html", cte="base64")
    elif content.html:
        message.set_content(html, subtype="html", cte="base64")
    for attachment in content.attachments:
        maintype, _, subtype = attachment.type.partition("/")
        data = blobs[attachment.sha256]
        message.add_attachment(data, maintype=maintype, subtype=subtype, filename=file_name(attachment.name))
    return message


SHAPES = {
    "text": change(html=""),
    "html": change(text=""),
    "both": CONTENT,
    "text and file": change(html="", attachments=(PDF,)),
    "both and files": change(
        attachments=(PDF, Attachment(name="list.csv", type="text/csv", sha256="bb", size=8)),
        reply_to="help@acme.example",
    ),
    "large files": change(
        attachments=(
            CATALOGUE,
            Attachment(name="empty", type="text/plain", sha256="dd", size=0),
            PDF,
            CATALOGUE,
        ),
    ),
    "mostly not ASCII": change(
        text="Dear {{ name }},\n\n{{ story }}\n" + "{# 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字 #}",
        html='<html><body title="{{ name }}"><p>{{ story }}</p></body></html>'
        + "{# 漢字漢字漢字漢字漢字漢字 #}",
    ),
}
PLANS = {name: compile_email(content, ENCODED) for name, content in SHAPES.items()}


@pytest.mark.parametrize("shape", SHAPES)
@given(greeting=HEADER_TEXT, name=HEADER_TEXT, story=TEXT)
@settings(max_examples=60)
def test_any_unicode_in_any_field_gives_the_message_that_the_standard_library_builds(
    shape: str, greeting: str, name: str, story: str
) -> None:
    values = {"email": "ann@example.org", "greeting": greeting, "name": name, "story": story}
    payload = whole(PLANS[shape].render(values, message_id=ID, now=NOW))
    reference = reference_message(SHAPES[shape], BLOBS, values, ID, NOW)
    assert_clean(payload)
    ours, theirs = parsed(payload), parsed(reference.as_bytes())
    assert parts(ours) == parts(theirs)
    # Subjects are compared with the reference before it was written: the standard library's own folding loses
    # spaces between encoded words, and it takes a literal "=?...?=" of a contact for an encoded word.
    assert str(ours["Subject"]) == one_line(f"{greeting} {name}")
    if "=?" not in greeting + name:
        assert str(ours["Subject"]) == str(reference["Subject"])
    for header in ("From", "To", "Reply-To", "Date", "Message-ID", "MIME-Version"):
        assert str(ours[header]) == str(theirs[header])
    assert not any(part.defects for part in ours.walk())


@given(name=HEADER_TEXT.filter(lambda text: "{" not in text))
@settings(max_examples=150)
def test_any_sender_name_reads_back_and_cannot_change_the_address(name: str) -> None:
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    plan = compile_email(change(sender=f"{quoted} <news@acme.example>"), {})
    payload = plan.render(FIELDS, message_id=ID, now=NOW).payload
    assert plan.sender == "news@acme.example"
    assert_clean(payload)
    assert [address.addr_spec for address in parsed(payload)["From"].addresses] == ["news@acme.example"]
    # The older reader joins the encoded words of a name as RFC 2047 §6.2 says; the newer adds spaces.
    older = message_from_bytes(payload, policy=policy.compat32)["From"].replace("\r\n", "")
    shown, address = parseaddr(older)
    assert address == "news@acme.example"
    assert str(make_header(decode_header(shown))) == one_line(one_line(name))


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("news@acme.example", ""),
        ("Acme <news@acme.example>", "Acme"),
        ("Acme, Inc. <news@acme.example>", "Acme, Inc."),
        ('"Acme \\"Best\\" GmbH" <news@acme.example>', 'Acme "Best" GmbH'),
        ("Bäckerei Müller <news@acme.example>", "Bäckerei Müller"),
        ("漢字 <news@acme.example>", "漢字"),
        ("=?utf-8?q?Bank?= <news@acme.example>", "=?utf-8?q?Bank?="),
        ("Acme\r\nBcc: evil@example.net <news@acme.example>", "Acme Bcc: evil@example.net"),
    ],
)
def test_the_senders_name_is_shown_as_it_was_written(sender: str, name: str) -> None:
    payload = send(change(sender=sender)).payload
    (address,) = parsed(payload)["From"].addresses
    assert (address.display_name, address.addr_spec) == (name, "news@acme.example")
    assert_clean(payload)


def test_an_international_sender_domain_is_punycode_in_envelope_and_header() -> None:
    plan = compile_email(change(sender="Über <post@bücher.example>"), {})
    assert plan.sender == "post@xn--bcher-kva.example"
    assert plan.domain == "xn--bcher-kva.example"
    (address,) = parsed(plan.render(FIELDS, message_id=ID, now=NOW).payload)["From"].addresses
    assert address.addr_spec == plan.sender


@given(name=HEADER_TEXT.filter(lambda text: one_line(text)))
@settings(max_examples=100)
def test_any_attachment_name_reads_back_as_one_line_without_separators(name: str) -> None:
    content = change(attachments=(dataclasses.replace(PDF, name=name),))
    payload = compile_email(content, ENCODED).render(FIELDS, message_id=ID, now=NOW).payload
    assert_clean(payload)
    (attachment,) = parsed(payload).iter_attachments()
    # Not get_filename(), which takes quotes and angle brackets off a name that is wrapped in them.
    assert attachment["Content-Disposition"].params["filename"] == file_name(name)
    assert attachment.get_payload(decode=True) == BLOBS["aa"]


def test_a_contact_named_like_a_header_adds_no_header_and_no_recipient() -> None:
    payload = send(CONTENT, name="Bob\r\nBcc: evil@example.net\r\n\r\nhidden body").payload
    message = parsed(payload)
    assert message["Bcc"] is None
    assert message["Subject"] == "Hello Bob Bcc: evil@example.net hidden body"
    assert_clean(payload)


@given(subject=HEADER_TEXT.filter(lambda text: one_line(text).strip() and "{" not in text))
@settings(max_examples=60)
def test_a_subject_without_a_field_is_folded_and_encoded_like_one_with_a_field(subject: str) -> None:
    constant, filled = send(change(subject=subject)), send(change(subject="{{ story }}"), story=subject)
    head = [email.payload.partition(b"\r\nDate: ")[0] for email in (constant, filled)]
    assert head[0] == head[1]


def test_a_subject_that_cannot_be_rendered_is_refused_for_each_recipient() -> None:
    with pytest.raises(BadTemplate, match="compares"):
        send(change(subject="{{ 'yes' if 1 < 'a' else 'no' }}"))


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x0b", "\x85", "\u2028", "\u2029", "\x7f"])
def test_a_hostile_character_is_a_space_in_a_header_and_itself_in_a_body(character: str) -> None:
    message = parsed(send(change(html=""), name=f"A{character}B").payload)
    assert message["Subject"] == "Hello A B"
    shown = "\r\n" if character in "\r\n" else character
    assert message.get_content().startswith(f"Dear A{shown}B,")


def test_lines_of_dots_and_lone_line_ends_arrive_as_they_are() -> None:
    story = ".\n..\n.\r\n.\r.\n\n.\n" + "z" * 3000
    payload = send(change(html=""), story=story).payload
    assert_clean(payload)
    body = parsed(payload).get_content()
    assert body == f"Dear Ann,\n\n{story}\n".replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")


@pytest.mark.parametrize(
    "address", ["", "ann", "a b@x.org", "a@x.org\r\nBcc: b@x.org", "a@x.org,b@x.org", "ä@x.org"]
)
def test_an_address_that_could_break_the_to_header_is_refused_for_this_recipient(address: str) -> None:
    with pytest.raises(BadInput) as caught:
        send(CONTENT, email=address)
    assert caught.value.data["errors"][0]["path"] == "email"  # type: ignore[index]  # typed as object
    assert "Bcc" not in str(caught.value)


def test_half_a_surrogate_pair_fails_this_recipient_with_a_sentence() -> None:
    with pytest.raises(BadInput, match="surrogate"):
        send(CONTENT, story="\ud83d")


def test_a_message_id_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="message_id"):
        compile_email(CONTENT, {}).render(FIELDS, message_id="<a@b>\r\nBcc: x@y", now=NOW)


# Plans


def test_a_plan_lists_the_fields_it_takes_from_a_contact_and_not_those_it_fills_itself() -> None:
    body = "{{ name }} {{ unsubscribe_url }} {{ postal_address }} {{ city | default('here') }}"
    plan = compile_email(dataclasses.replace(LINK, text=body), {})
    assert plan.fields == {"name", "greeting", "story", "city", "token"}
    assert "unsubscribe_url" in compile_email(change(text=body), {}).fields


def test_a_missing_field_fails_this_recipient_and_names_the_field() -> None:
    with pytest.raises(BadTemplate) as caught:
        compile_email(CONTENT, {}).render({"email": "a@example.org", "name": "A"}, message_id=ID, now=NOW)
    assert (caught.value.code, caught.value.data["field"]) == ("missing_field", "story")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"subject": " "}, "subject"),
        ({"text": "", "html": " \n"}, "text"),
        ({"sender": ""}, "sender"),
        ({"sender": "Acme"}, "sender"),
        ({"sender": "{{ company }} <news@acme.example>"}, "sender"),
        ({"reply_to": "nobody"}, "reply_to"),
        ({"attachments": (dataclasses.replace(PDF, sha256="gone"),)}, "attachments"),
        ({"attachments": (dataclasses.replace(PDF, type="pdf\r\nBcc: x@y"),)}, "attachments"),
        ({"channel": Channel.SMS}, "channel"),
        ({"html": "\n{{ ''.__class__ }}"}, "html line 2"),
    ],
)
def test_content_that_cannot_be_sent_is_refused_when_it_is_compiled(
    changes: dict[str, object], path: str
) -> None:
    with pytest.raises(BadInput) as caught:
        compile_email(change(**changes), ENCODED)
    assert caught.value.data["errors"][0]["path"] == path  # type: ignore[index]


def test_a_body_that_is_empty_for_one_recipient_is_refused() -> None:
    with pytest.raises(BadTemplate, match="empty"):
        send(change(text="{{ story }}", html=""), story=" \n")


def test_an_attached_message_travels_as_a_plain_file() -> None:
    content = change(attachments=(dataclasses.replace(PDF, type="message/rfc822"),))
    (attachment,) = parsed(send(content).payload).iter_attachments()
    assert attachment.get_content_type() == "application/octet-stream"
    assert attachment.get_payload(decode=True) == BLOBS["aa"]


def test_boundaries_are_the_same_for_the_same_plan_and_differ_between_plans() -> None:
    shape = [("plain", "quoted-printable"), ("html", "base64")]
    one, again, two = (skeleton(shape, [], seed) for seed in ("one", "one", "two"))  # type: ignore[arg-type]
    assert (one[0], bytes(one[1])) == (again[0], bytes(again[1]))
    assert one[0] != two[0]
    assert bytes(one[1]) != bytes(two[1])


def test_messages_and_contents_with_the_same_attachment_have_the_same_bytes_of_it_and_no_copies() -> None:
    content = change(attachments=(CATALOGUE,))
    plan = compile_email(content, ENCODED)
    ann, bob = (plan.render({**FIELDS, "name": name}, message_id=ID, now=NOW) for name in ("Ann", "Bob"))
    assert ann.shared is bob.shared is plan.shared
    assert len(ann.payload) < 2_000
    other = compile_email(change(text="Another text.", attachments=(CATALOGUE,)), ENCODED)
    theirs = {id(chunk) for chunk in ENCODED["cc"].chunks if len(chunk) > 16 * 1024}
    assert len(theirs) > 3
    assert theirs <= {id(chunk) for chunk in plan.shared.chunks}
    assert theirs <= {id(chunk) for chunk in other.shared.chunks}
    assert theirs <= {id(chunk) for chunk in plan.shared.stuffed}, "base64 has no dots to stuff"


@given(
    st.lists(st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n", b"\r", b"\n"]), max_size=6), max_size=6)
)
def test_shared_bytes_are_dot_stuffed_and_looked_at_as_if_they_were_in_one_piece(
    lines: list[list[bytes]],
) -> None:
    chunks = [b"".join(line) + b"\r\n" for line in lines]
    parts = joined(SharedBytes((chunk,)) for chunk in chunks)
    message = b"".join(chunks)
    assert bytes(parts) == message
    assert parts.size == len(message)
    assert b"".join(parts.stuffed) == stuffed(message)
    assert parts.bare is has_bare_line_end(message)


@given(st.binary(max_size=200) | st.sampled_from([57 * 768 - 1, 57 * 768, 57 * 768 + 1]).map(bytes))
def test_a_file_is_encoded_in_lines_of_base64_whatever_its_length(data: bytes) -> None:
    encoded = encode_file(data)
    assert base64.b64decode(bytes(encoded)) == data
    assert all(len(line) == 76 for line in bytes(encoded).split(b"\r\n")[:-2])
    assert all(chunk.endswith(b"\r\n") and len(chunk) <= 64 * 1024 for chunk in encoded.chunks)


def test_a_body_that_quotes_the_boundary_stays_whole() -> None:
    (boundary,) = re.findall(rb'boundary="([^"]+)"', send(CONTENT).payload)
    story = f"\n--{boundary.decode()}--\n--{boundary.decode()}\n"
    message = parsed(send(CONTENT, story=story).payload)
    assert len(list(message.iter_parts())) == 2
    assert boundary.decode() in message.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_the_content_hash_changes_with_every_field() -> None:
    others = [
        change(subject="x"),
        change(text="x"),
        change(reply_to="a@b.example"),
        change(attachments=(PDF,)),
    ]
    hashes = [content_hash(content) for content in [CONTENT, *others]]
    assert len(set(hashes)) == 5
    assert content_hash(dataclasses.replace(CONTENT)) == hashes[0]
    assert re.fullmatch("[0-9a-f]{64}", hashes[0])


def test_a_message_id_is_stable_and_depends_on_key_delivery_and_content() -> None:
    first = message_id(b"k" * 32, 7, "ab", "acme.example")
    assert re.fullmatch(r"<[0-9a-f]{32}@acme\.example>", first)
    assert first == message_id(b"k" * 32, 7, "ab", "acme.example")
    others = {message_id(b"j" * 32, 7, "ab", "acme.example"), message_id(b"k" * 32, 8, "ab", "acme.example")}
    assert len({first, message_id(b"k" * 32, 7, "ac", "acme.example")} | others) == 4


def test_marketing_mail_without_link_or_postal_address_is_a_risk() -> None:
    assert problems(LINK) == []
    assert problems(CONTENT) == []
    assert [found["risk"] for found in problems(change(kind=Kind.MARKETING))] == ["no-unsubscribe"] * 2
    (found,) = problems(dataclasses.replace(LINK, postal_address=""))
    assert "postal_address" in found["problem"]
    assert problems(Content(channel=Channel.SMS, text="hi")) == []
