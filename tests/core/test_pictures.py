"""Promise: a picture that the HTML names is a part of the HTML, in the nesting that mail readers expect."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.changes import changed_keys
from hubd.core.compose import EmailPlan, compile_email
from hubd.core.mime import one_line
from hubd.core.model import Attachment, Channel, Content, Kind
from hubd.core.pictures import pictures_of
from hubd.core.shared import encode_file
from hubd.core.spec_reading import parse_spec
from hubd.errors import BadInput

DATA = {"a" * 64: b"\x89PNG logo", "b" * 64: b"GIF89a photo", "c" * 64: b"%PDF-1.7", "d" * 64: bytes(200_000)}
ENCODED = {name: encode_file(data) for name, data in DATA.items()}
LOGO = Attachment(name="logo.png", type="image/png", sha256="a" * 64, size=9)
PHOTO = Attachment(name="photo.gif", type="image/gif", sha256="b" * 64, size=12)
FLYER = Attachment(name="flyer.pdf", type="application/pdf", sha256="c" * 64, size=8)
LARGE = Attachment(name="large.jpg", type="image/jpeg", sha256="d" * 64, size=200_000)
PAGE = '<p>Hello {{ name }}</p><img src="cid:logo.png">'


def content(html: str = PAGE, *, text: str = "Hello {{ name }}", **changes: Any) -> Content:
    return Content(
        channel=Channel.EMAIL,
        kind=Kind.TRANSACTIONAL,
        sender="Acme <news@acme.example>",
        subject="Hello",
        text=text,
        html=html,
        **changes,
    )


def message(of: Content | EmailPlan) -> EmailMessage:
    plan = compile_email(of, ENCODED) if isinstance(of, Content) else of
    email = plan.render({"email": "ann@example.org", "name": "Ann"}, message_id="<1@acme.example>", now=0.0)
    found = message_from_bytes(email.payload + bytes(email.shared), policy=policy.SMTP)
    assert isinstance(found, EmailMessage)
    assert not any(part.defects for part in found.walk())
    return found


def shape(part: Any) -> Any:
    """The types of a message: a part is its type, or its type and those within."""
    kind = part.get_content_type()
    return (kind, *map(shape, part.iter_parts())) if part.is_multipart() else kind


RELATED = ("multipart/related", "text/html", "image/png")


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (content(inline=(LOGO,)), ("multipart/alternative", "text/plain", RELATED)),
        (content(inline=(LOGO,), text=""), RELATED),
        (
            content(inline=(LOGO,), attachments=(FLYER,)),
            ("multipart/mixed", ("multipart/alternative", "text/plain", RELATED), "application/pdf"),
        ),
        (
            content(inline=(LOGO,), attachments=(FLYER,), text=""),
            ("multipart/mixed", RELATED, "application/pdf"),
        ),
        (
            content(attachments=(FLYER, LOGO)),
            ("multipart/mixed", ("multipart/alternative", "text/plain", RELATED), "application/pdf"),
        ),
        (
            content("<p>{{ name }}</p>", attachments=(LOGO,)),
            ("multipart/mixed", ("multipart/alternative", "text/plain", "text/html"), "image/png"),
        ),
    ],
    ids=["text and picture", "picture", "with attachment", "without text", "by itself", "not shown"],
)
def test_pictures_go_with_the_html_and_attachments_outside(of: Content, expected: Any) -> None:
    assert shape(message(of)) == expected


def test_the_html_names_the_content_id_and_the_part_has_it() -> None:
    found = message(content(inline=(LOGO,), attachments=(FLYER,)))
    (related,) = (part for part in found.walk() if part.get_content_type() == "multipart/related")
    assert related.get_param("type") == "text/html"
    html, picture = related.iter_parts()
    cid = str(picture["Content-ID"])
    assert cid == f"<{'a' * 32}@acme.example>"
    assert f'src="cid:{cid[1:-1]}"' in html.get_content()
    assert picture.get_content_disposition() == "inline"
    assert picture.get_filename() == "logo.png"
    assert picture.get_content() == DATA["a" * 64]
    body = found.get_body(("plain",))
    assert body is not None
    assert body.get_content() == "Hello Ann\r\n"


@pytest.mark.parametrize(
    ("html", "name"),
    [
        ("<img src='cid:logo.png'>", "logo.png"),
        ("<img src=cid:logo.png>", "logo.png"),
        ('<IMG SRC="CID:LOGO.PNG">', "logo.png"),
        ('<img src=" cid:logo.png ">', "logo.png"),
        ('<td background="cid:logo.png">', "logo.png"),
        ("<td style=\"background: url('cid:logo.png')\">", "logo.png"),
        ("<style>td { background: url(cid:logo.png) }</style>", "logo.png"),
        ('<img src="cid:mein logo.png">', "mein logo.png"),
        ('<img src="cid:mein%20logo.png">', "mein logo.png"),
        ('<img src="cid:t&amp;m.png">', "t&m.png"),
        ('<img src="cid:bu\u0308ro.png">', "b\u00fcro.png"),
        ('<img src="cid:image001.png@01D9A3B4.5C6D7E80">', "image001.png"),
    ],
)
def test_a_picture_is_found_in_every_spelling_of_its_url(html: str, name: str) -> None:
    picture = Attachment(name=name, type="image/png", sha256="a" * 64, size=9)
    found = message(content(html, attachments=(picture,), text=""))
    assert shape(found) == RELATED
    body = found.get_body(("html",))
    assert body is not None
    assert f"cid:{'a' * 32}@acme.example" in body.get_content()


@pytest.mark.parametrize(
    "html",
    ['<img src="cid:other.png">', "<p>cid:logo.png</p>", '<img src="logo.png">', '<a href="acid:logo.png">'],
)
def test_other_urls_stay_as_they_are(html: str) -> None:
    found = message(content(html, attachments=(LOGO,)))
    body = found.get_body(("html",))
    assert body is not None
    assert body.get_content() == html + "\r\n"
    assert "multipart/related" not in str(shape(found))


def test_only_pictures_are_taken_from_the_attachments() -> None:
    found = message(content('<a href="cid:flyer.pdf">flyer</a>', attachments=(FLYER,)))
    assert [part.get_filename() for part in found.iter_attachments()] == ["flyer.pdf"]


def test_a_picture_that_is_named_twice_is_sent_once() -> None:
    html = '<img src="cid:logo.png"><img src="cid:logo.png"><img src="cid:photo.gif">'
    found = message(content(html, inline=(LOGO, PHOTO), attachments=(LOGO,)))
    names = [part.get_filename() for part in found.walk() if part.get_content_maintype() == "image"]
    assert names == ["logo.png", "photo.gif"]


def test_an_inline_picture_that_is_not_shown_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        compile_email(content("<p>Hello</p>", inline=(LOGO,)), None)
    listed = caught.value.data["errors"]
    assert isinstance(listed, list)
    assert listed[0]["path"] == "inline"
    assert '<img src="cid:logo.png">' in listed[0]["problem"]
    with pytest.raises(BadInput, match="not shown"):
        compile_email(content("", inline=(LOGO,)), None)


def test_pictures_are_encoded_once_and_not_copied_into_messages() -> None:
    plan = compile_email(content(PAGE.replace("logo.png", "large.jpg"), inline=(LARGE,)), ENCODED)
    emails = [
        plan.render({"email": "ann@example.org", "name": name}, message_id="<1@acme.example>", now=0.0)
        for name in ("Ann", "Bob")
    ]
    assert emails[0].shared is emails[1].shared
    assert len(emails[0].payload) < 2_000
    assert {id(chunk) for chunk in ENCODED["d" * 64].chunks[:-1]} <= {
        id(chunk) for chunk in plan.shared.chunks
    }


def test_without_the_files_the_templates_are_compiled_all_the_same() -> None:
    of = content(inline=(LOGO,), attachments=(FLYER,))
    assert compile_email(of, None).fields == {"name"}
    with pytest.raises(BadInput, match="missing"):
        compile_email(of, {})


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
        lambda name: one_line(name) == name and not set(name) & set("\"'<>&%@/\\{")
    ),
    other=st.text(st.sampled_from("cid:\"'=() <>%@logo.png") | st.characters(), max_size=60),
)
def test_any_name_of_a_picture_is_found_and_any_html_is_looked_through(name: str, other: str) -> None:
    picture = Attachment(name=name, type="image/png", sha256="a" * 64, size=9)
    found = message(content(f'<img src="cid:{name}">', inline=(picture,), text=""))
    assert shape(found) == RELATED
    assert set(pictures_of(content(other, attachments=(picture,)))) <= {picture}


FILE: dict[str, Any] = {
    "name": "spring-sale",
    "channel": "email",
    "sender": "Acme <news@acme.example>",
    "subject": "Hello",
    "html": '<img src="cid:logo.png">',
}


def test_the_key_is_read_like_attachments_and_both_have_one_limit() -> None:
    spec = parse_spec({**FILE, "inline": [msgspec.to_builtins(LOGO)]})
    assert spec.inline == spec.content().inline == (LOGO,)
    assert changed_keys(parse_spec(FILE), spec) == ["inline"]
    large = {**msgspec.to_builtins(LOGO), "size": 13 * 1024 * 1024}
    with pytest.raises(BadInput, match="25 MiB together"):
        parse_spec({**FILE, "inline": [large], "attachments": [large]})
    with pytest.raises(BadInput, match="for email only"):
        parse_spec({"name": "a", "channel": "sms", "text": "x", "inline": [msgspec.to_builtins(LOGO)]})
