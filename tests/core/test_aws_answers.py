"""The answers of AWS: names of errors in each form, XML read without entities, a clock that is wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubd.providers.aws.answers import (
    MOST_DEPTH,
    Failure,
    Unreadable,
    failure_of,
    read_json,
    read_xml,
    skew,
    skew_sentence,
    values_at,
)
from hubd.transports.http_protocol import Response

XML = b"""<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
<Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>x</RequestId></ErrorResponse>"""
BOMB = b"""<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><r><Error><Code>&c;</Code></Error></r>"""
FILE = b"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/hostname">]><r><Code>&f;</Code></r>"""


def response(body: bytes = b"", status: int = 400, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=named, body=body)


@pytest.mark.parametrize(
    ("answer", "name", "message"),
    [
        # SES: the name is in a header, with an address behind it
        (
            response(
                b'{"message":"Email address is not verified."}',
                x_amzn_errortype="MessageRejected:http://internal.amazon.com/coral/com.amazonaws.ses/",
            ),
            "MessageRejected",
            "Email address is not verified.",
        ),
        (response(b'{"__type":"BadRequestException","message":"no"}'), "BadRequestException", "no"),
        # SQS: the name is in the body, behind where it is declared
        (
            response(b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","Message":"gone"}'),
            "QueueDoesNotExist",
            "gone",
        ),
        (response(XML), "Throttling", "Rate exceeded"),
        (response(b"<html><body>Bad Gateway</body></html>"), "", ""),
        (response(b"<p>Bad"), "", ""),
        (response(b""), "", ""),
        (response(b"[" * 100_000), "", ""),
        (response(b"\xff\xfe"), "", ""),
        (response(b'{"__type": 7, "message": ["x"]}'), "", ""),
        (response(BOMB), "", ""),
    ],
)
def test_an_error_has_its_name_and_words_in_every_form(answer: Response, name: str, message: str) -> None:
    assert failure_of(answer) == Failure(name=name, message=message)


@given(st.binary(max_size=200), st.text(max_size=40))
@example(b'{"code": "\\ud800"}', "")
@example(b'{"code": "ann@acme.example"}', "")
def test_no_answer_is_too_strange_to_be_an_error(body: bytes, header: str) -> None:
    found = failure_of(response(body, x_amzn_errortype=header))
    assert re.fullmatch(r"[A-Za-z0-9._-]{0,128}", found.name), "a word, as it is stored and shown"


@pytest.mark.parametrize("body", [BOMB, FILE, BOMB.decode().encode("utf-16")])
def test_an_xml_bomb_is_refused_unread(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_xml(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"<a></b>",
        b"<a>&unknown;</a>",
        b"<a>" * (MOST_DEPTH + 1) + b"</a>" * (MOST_DEPTH + 1),
        b"<a>" + b"<b/>" * 10_001 + b"</a>",
    ],
)
def test_what_is_not_a_modest_document_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_xml(body)


def test_texts_have_their_paths() -> None:
    body = b'<R xmlns="urn:x"><A><B> x&amp;y </B><B>z</B></A><x:C xmlns:x="urn:y"/></R>'
    texts = read_xml(body)
    assert texts == [("A/B", "x&y"), ("A/B", "z"), ("A", ""), ("C", ""), ("", "")]
    assert list(values_at(texts, "A/B")) == ["x&y", "z"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":' * 100_000])
def test_what_is_not_an_object_of_json_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_json(body)


def test_the_clock_is_compared_with_the_services() -> None:
    answer = response(date="Sun, 30 Aug 2015 12:36:00 GMT")
    at = 1_440_938_160.0
    assert skew(answer, at) == 0.0
    assert skew_sentence(skew(answer, at + 200)) == ""
    assert "17 minutes ahead of" in skew_sentence(skew(answer, at + 1020))
    assert "1,440 minutes behind" in skew_sentence(skew(answer, at - 86_400))
    assert skew(response(), at) == 0.0
    assert skew(response(date="yesterday"), at) == 0.0
