"""Promise: the pieces of a message say what its bytes say, whatever the fields hold."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import jsonschema
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from hubd.core.compose import compile_email
from hubd.core.mime import one_line
from hubd.core.model import Attachment, Channel, Content, Kind
from hubd.providers.sendgrid.message import Tracking, body_of, files_of
from tests.core.composed import CATALOGUE, ENCODED, FIELDS, HEADER_TEXT, ID, NOW, PDF, TEXT
from tests.shell.sendgrid_double import fault_of

#: Its examples are large: a smaller one would take minutes to find.
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
LOGO = Attachment(name="logo ü.png", type="image/png", sha256="bb", size=8)
CONTENT = Content(
    channel=Channel.EMAIL,
    kind=Kind.MARKETING,
    sender='"Acme, Inc." <news@acme.example>',
    reply_to="Ünsal <answers@acme.example>",
    subject="{{ greeting }} {{ name }}",
    text="Dear {{ name }},\n\n{{ story }}\n",
    html='<html><body title="{{ name }}"><img src="cid:logo ü.png"><p>{{ story }}</p></body></html>',
    unsubscribe="https://acme.example/u?{{ name }}",
    postal_address="1 Main Street",
    headers=(("X-Stream", "{{ name }}"), ("X-Fixed", "é" * 40)),
    list_id="Acme Nüws <news.acme.example>",
    inline=(LOGO,),
    attachments=(PDF,),
)
PLAN = compile_email(CONTENT, ENCODED)
#: What a request to Mail Send may have, as far as we use it: the published page of the method.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["personalizations", "from", "subject", "content"],
    "properties": {
        "personalizations": {
            "type": "array",
            "maxItems": 1,
            "minItems": 1,
            "items": {
                "additionalProperties": False,
                "properties": {
                    "to": {"type": "array", "maxItems": 1, "items": {"$ref": "#/$defs/mailbox"}},
                    "custom_args": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
        "from": {"$ref": "#/$defs/mailbox"},
        "reply_to": {"$ref": "#/$defs/mailbox"},
        "subject": {"type": "string", "minLength": 1},
        "content": {
            "type": "array",
            "items": {
                "required": ["type", "value"],
                "properties": {"type": {"minLength": 1}, "value": {"type": "string", "minLength": 1}},
            },
        },
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "tracking_settings": {
            "type": "object",
            "additionalProperties": {"type": "object", "required": ["enable"]},
        },
        "attachments": {
            "type": "array",
            "items": {
                "required": ["content", "type", "filename", "disposition"],
                "properties": {
                    "content": {"type": "string", "minLength": 1},
                    "disposition": {"enum": ["inline", "attachment"]},
                },
            },
        },
    },
    "$defs": {
        "mailbox": {
            "type": "object",
            "additionalProperties": False,
            "required": ["email"],
            "properties": {"email": {"type": "string", "format": "email"}, "name": {"type": "string"}},
        }
    },
}


def request_for(content: Content, **fields: str) -> dict[str, Any]:
    """The request for one recipient, read as JSON."""
    plan = PLAN if content is CONTENT else compile_email(content, ENCODED)
    parts = plan.parts({**FIELDS, **fields}, ID)
    body = body_of(parts, 17, Tracking()).removesuffix(b"}") + b"".join(files_of(parts.files))
    found: dict[str, Any] = json.loads(body)
    return found


def built(request: dict[str, Any]) -> EmailMessage:
    """The message that the service makes of a request, as its page describes it."""
    message = EmailMessage(policy=policy.SMTP)
    ((recipient,),) = [each["to"] for each in request["personalizations"]]
    for name, mailbox in (("From", request["from"]), ("Reply-To", request.get("reply_to"))):
        if mailbox is not None:
            message[name] = Address(mailbox.get("name", ""), addr_spec=mailbox["email"])
    message["To"] = recipient["email"]
    for number, part in enumerate(request["content"]):
        add = message.add_alternative if number else message.set_content
        add(part["value"], subtype=part["type"].removeprefix("text/"), cte="base64")
    for file in request.get("attachments", []):
        maintype, _, subtype = file["type"].partition("/")
        message.add_attachment(
            base64.b64decode(file["content"], validate=True),
            maintype=maintype,
            subtype=subtype,
            filename=file["filename"],
            disposition=file["disposition"],
            cid=f"<{file['content_id']}>" if "content_id" in file else None,
        )
    # These as they are: the library would decode what looks like an encoded word.
    lines = {"Subject": Header(request["subject"], "utf-8").encode(linesep="\r\n"), **request["headers"]}
    written = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("ascii")
    found = message_from_bytes(written + message.as_bytes(), policy=policy.SMTP)
    assert isinstance(found, EmailMessage)
    return found


def meaning(message: EmailMessage) -> dict[str, object]:
    """What a reader of the message sees and acts on. An empty body is as none."""
    headers = {
        name: " ".join(str(value).split())
        for name, value in message.items()
        if name not in ("Date", "MIME-Version") and not name.startswith("Content-")
    }
    texts, files = {}, []
    for part in message.walk():
        if part.is_multipart():
            continue
        if part.get_content_disposition() in ("attachment", "inline"):
            files.append(
                (
                    part.get_filename(),
                    part.get_content_type(),
                    part.get_content_disposition(),
                    part["Content-ID"],
                    part.get_payload(decode=True),
                )
            )
            continue
        raw = part.get_payload(decode=True)
        assert isinstance(raw, bytes)
        text = raw.decode().replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        if text.strip():
            texts[part.get_content_type()] = text
    return {"headers": headers, "texts": texts, "files": files}


@given(greeting=HEADER_TEXT, name=HEADER_TEXT, story=TEXT)
@settings(max_examples=50, phases=NO_SHRINKING)
def test_what_the_service_builds_of_the_pieces_means_what_our_bytes_mean(
    greeting: str, name: str, story: str
) -> None:
    fields = {"greeting": greeting, "name": name, "story": story}
    assume(one_line(f"{greeting} {name}"))
    assume(len(name) < 100)  # or the link does not fit in its line
    email = PLAN.render({**FIELDS, **fields}, message_id=ID, now=NOW)
    ours = message_from_bytes(email.payload + bytes(email.shared), policy=policy.SMTP)
    assert isinstance(ours, EmailMessage)
    request = request_for(CONTENT, **fields)
    jsonschema.validate(request, SCHEMA)
    assert fault_of(request) is None
    assert meaning(built(request)) == meaning(ours)


def test_nothing_is_tracked_unless_somebody_asked_for_it() -> None:
    request = request_for(CONTENT)
    assert all(not each["enable"] for each in request["tracking_settings"].values())
    parts = compile_email(CONTENT, ENCODED).parts(FIELDS, ID)
    asked = json.loads(body_of(parts, 17, Tracking(clicks=True, opens=True)))["tracking_settings"]
    assert [asked[key]["enable"] for key in ("click_tracking", "open_tracking")] == [True, True]
    assert not asked["subscription_tracking"]["enable"]


def test_a_request_tells_us_again_which_delivery_it_was() -> None:
    (envelope,) = request_for(CONTENT)["personalizations"]
    assert envelope["custom_args"] == {"hub": "17", "hub_message": ID.strip("<>")}
    assert envelope["to"] == [{"email": "ann@example.org"}]


def test_a_message_of_one_body_has_one_part_and_no_files_none() -> None:
    content = Content(
        channel=Channel.EMAIL, kind=Kind.TRANSACTIONAL, sender="a@acme.example", subject="x", text="hello"
    )
    request = request_for(content)
    assert [part["type"] for part in request["content"]] == ["text/plain"]
    assert "attachments" not in request
    assert "reply_to" not in request
    assert request["from"] == {"email": "a@acme.example"}


def test_files_are_encoded_once_for_all_messages_of_a_content() -> None:
    plan = compile_email(replace(CONTENT, attachments=(PDF, CATALOGUE)), ENCODED)
    one, other = plan.parts(FIELDS, ID), plan.parts({**FIELDS, "name": "Bob"}, ID)
    assert one.files is other.files
    assert all(len(piece) <= 64 * 1024 for piece in files_of(one.files))


@given(st.sampled_from(["text", "html"]))
def test_a_body_that_is_empty_for_somebody_is_left_out(empty: str) -> None:
    content = Content(
        channel=Channel.EMAIL,
        kind=Kind.TRANSACTIONAL,
        sender="a@acme.example",
        subject="x",
        text="{{ story }}" if empty == "text" else "hello",
        html="{{ story }}" if empty == "html" else "<p>hello</p>",
    )
    (part,) = request_for(content, story=" ")["content"]
    assert part["type"] == ("text/html" if empty == "text" else "text/plain")
