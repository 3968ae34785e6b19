"""The unsubscribe link, its header and the footer of marketing email."""

from __future__ import annotations

import dataclasses
import re
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hubd.core.compose import compile_email, content_hash
from hubd.core.footer import UNSUBSCRIBE
from hubd.core.mime import url_of
from hubd.core.model import Channel, Content, Kind
from hubd.errors import BadTemplate
from tests.core.composed import LINK, TEXT, assert_clean, parsed, send


def test_a_long_unsubscribe_link_is_one_plain_header_line() -> None:
    token = "t" * 200
    payload = send(LINK, token=token).payload
    assert f"\r\nList-Unsubscribe: <https://acme.example/u/{token}>\r\n".encode() in payload
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in payload
    assert_clean(payload, line_limit=998)


@given(token=TEXT)
@settings(max_examples=100)
def test_any_text_in_the_unsubscribe_link_stays_inside_it(token: str) -> None:
    try:
        payload = send(LINK, token=token).payload
    except BadTemplate:
        assert len(url_of(token)) > 900  # the link alone would fill a line
        return
    assert_clean(payload, line_limit=998)
    (line,) = [line for line in payload.split(b"\r\n") if line.startswith(b"List-Unsubscribe:")]
    assert re.fullmatch(rb"List-Unsubscribe: <https://acme\.example/u/[!-;=?-~]*>", line)


@pytest.mark.parametrize(
    "query",
    [
        "?e={{ email }}",
        "?e={{ email | default('nobody') }}",
        "?e={{ email | urlencode }}",
        "?e={% if email %}{{ email }}{% endif %}",
        "?l=en&e={{ email | trim }}#end",
    ],
)
@given(local=st.from_regex(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,40}", fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_the_server_behind_an_unsubscribe_link_reads_the_very_address(query: str, local: str) -> None:
    """A plus, "&", "#" or "%41" of an address would otherwise unsubscribe nobody, or somebody else."""
    address = f"{local}@example.com"
    content = dataclasses.replace(LINK, unsubscribe=f"https://acme.example/u{query}")
    assume("=?" not in address)  # refused: it would begin an encoded word in the To header
    payload = send(content, email=address).payload
    (line,) = [line for line in payload.split(b"\r\n") if line.startswith(b"List-Unsubscribe:")]
    url = line.decode().partition("<")[2].rstrip(">")
    assert parse_qs(urlsplit(url).query)["e"] == [address]


def test_a_link_too_long_for_one_line_fails_this_recipient() -> None:
    with pytest.raises(BadTemplate, match="998"):
        send(LINK, token="t" * 1000)


@pytest.mark.parametrize("url", ["http://acme.example/{{ token }}", "javascript:alert(1)", "{{ token }}"])
def test_a_link_that_is_not_https_or_mailto_is_refused(url: str) -> None:
    with pytest.raises(BadTemplate, match="https"):
        send(dataclasses.replace(LINK, unsubscribe=url), token="x")


def test_a_mailto_link_has_no_one_click_header() -> None:
    message = parsed(send(dataclasses.replace(LINK, unsubscribe="mailto:out@acme.example")).payload)
    assert message["List-Unsubscribe"] == "<mailto:out@acme.example>"
    assert message["List-Unsubscribe-Post"] is None


def test_a_url_keeps_what_is_already_encoded_and_encodes_the_rest() -> None:
    assert url_of("https://a.example/%20?x=ä b\r\n<>") == "https://a.example/%20?x=%C3%A4%20b%0D%0A%3C%3E"


LINK_OF_TWO = dataclasses.replace(LINK, unsubscribe="https://acme.example/u/{{ token }}&b")


def test_marketing_bodies_without_link_and_address_get_a_footer() -> None:
    message = parsed(send(LINK_OF_TWO, token="a").payload)
    text, page = (part.get_content() for part in message.walk() if not part.is_multipart())
    assert text.endswith(
        "Once upon a time.\r\n\r\n-- \r\nUnsubscribe: https://acme.example/u/a&b\r\n1 Main St\r\n<Town>\r\n"
    )
    assert page.endswith("</body></html>\r\n")
    assert (
        '1 Main St<br>\r\n&lt;Town&gt;<br>\r\n<a href="https://acme.example/u/a&amp;b">Unsubscribe</a>'
        in page
    )


def test_bodies_that_have_link_and_address_get_no_second_one() -> None:
    body = "{{ unsubscribe_url }} {{ postal_address }}"
    both = dataclasses.replace(LINK_OF_TWO, text=body, html=f"<p>{body}</p>")
    message = parsed(send(both, token="a").payload)
    text, page = (part.get_content() for part in message.walk() if not part.is_multipart())
    assert text == "https://acme.example/u/a&b 1 Main St\r\n<Town>\r\n"
    assert page == "<p>https://acme.example/u/a&amp;b 1 Main St\r\n&lt;Town&gt;</p>\r\n"


def footers(**changes: Any) -> list[str]:
    """The ends of the text and of the page."""
    message = parsed(send(dataclasses.replace(LINK, **changes), token="a").payload)
    return [part.get_content().replace("\r\n", "\n") for part in message.walk() if not part.is_multipart()]


@pytest.mark.parametrize(
    ("language", "word"),
    [("", "Unsubscribe"), ("de", "Abmelden"), ("de-at", "Abmelden"), ("pt-br", "Cancelar inscrição")],
)
def test_the_words_of_the_footer_are_those_of_the_language(language: str, word: str) -> None:
    text, page = footers(language=language)
    assert f"\n-- \n{word}: https://acme.example/u/a\n1 Main St\n" in text
    assert f'<a href="https://acme.example/u/a">{word}</a>' in page


def test_every_word_of_a_footer_is_plain_text() -> None:
    assert all(word and escape(word, quote=False) == word for word in UNSUBSCRIBE.values())


def test_a_footer_of_ones_own_stands_in_both_bodies_with_a_link_in_the_page() -> None:
    text, page = footers(footer="Sie bekommen das als {{ name }}.\nAbmelden: {{ unsubscribe_url }}\n")
    assert text.endswith(
        "-- \nSie bekommen das als Ann.\nAbmelden: https://acme.example/u/a\n1 Main St\n<Town>\n"
    )
    link = '<a href="https://acme.example/u/a">https://acme.example/u/a</a>'
    assert f"Sie bekommen das als Ann.<br>\nAbmelden: {link}</p>\n</body></html>" in page
    assert "Unsubscribe" not in text + page


def test_a_footer_that_has_the_postal_address_gets_no_second_one() -> None:
    text, page = footers(footer="{{ unsubscribe_url }} {{ postal_address }}")
    assert text.count("1 Main St") == page.count("1 Main St") == 1


@given(name=TEXT)
@settings(max_examples=50, deadline=None)
def test_a_field_in_a_footer_is_text_in_the_page(name: str) -> None:
    content = dataclasses.replace(LINK, html="<p>x</p>", text="", footer="{{ name }} {{ unsubscribe_url }}")
    page = parsed(send(content, name=name, token="a").payload).get_content()
    tags = re.findall(r"<[^>]*>", page)
    assert {tag.strip("</>").split()[0] for tag in tags} <= {"p", "hr", "br", "a"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"footer": "Bye"}, "has no {{ unsubscribe_url }}"),
        ({"footer": "{{ unsubscribe_url }}", "unsubscribe": ""}, "needs the key unsubscribe"),
        ({"footer": "{{ unsubscribe_url"}, "footer line 1"),
    ],
)
def test_a_footer_by_which_nobody_could_unsubscribe_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadTemplate, match=re.escape(problem)):
        compile_email(dataclasses.replace(LINK, **changes), {})


def test_a_content_without_a_footer_of_its_own_keeps_the_name_that_it_had() -> None:
    """Message-IDs are made of it, also of messages that an earlier version began."""
    known = "d61e8882a3dbd42b1f0741ebf03f566ed867c4e1ef962a451c2ea9a2bc9c16a2"
    assert content_hash(Content(channel=Channel.EMAIL, subject="Hello")) == known
    assert content_hash(Content(channel=Channel.EMAIL, subject="Hello", language="de")) != known


def test_transactional_bodies_get_no_footer() -> None:
    text = parsed(
        send(dataclasses.replace(LINK, kind=Kind.TRANSACTIONAL, html=""), token="x").payload
    ).get_content()
    assert "Unsubscribe" not in text
    assert "Main St" not in text


def test_an_html_body_without_a_body_tag_gets_its_footer_at_the_end() -> None:
    page = parsed(send(dataclasses.replace(LINK, text="", html="<p>hi</p>"), token="x").payload).get_content()
    assert page.startswith("<p>hi</p>\r\n<hr>")
