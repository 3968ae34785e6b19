"""Promise: a body whose constants were encoded in advance is, byte for byte, the body encoded as a whole."""

from __future__ import annotations

import base64
import binascii
import tracemalloc
from html import escape
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, StrictUndefined

from hubd.core.bodies import BodyEncoder, Transfer, transfer_for
from hubd.core.compose import compile_email, content_hash
from hubd.core.mime import skeleton
from hubd.core.model import Channel, Content, Kind
from hubd.core.shared import has_bare_line_end, stuffed
from hubd.core.template import compile_template

#: What decides where a line ends and how it is encoded, and lines that are longer than any may be.
NASTY = st.sampled_from(
    [
        *("\r", "\n", "\r\n", "\n\r", "\n\n", "\r\r\n", ".", "\n.", "\r.", "\n.\n", "..\n", ". "),
        *(" ", "\t", " \n", "\t\r\n", "=", "=\n", "=20", "\x0b", "\x85", "\u2028", "é", "漢字", "😀", "\0"),
        *("x" * 40, "x" * 73 + "=", "x" * 75, "x" * 76, "x" * 998, "é" * 500, "." * 200, " " * 80),
        *("a line of the author's own\n" * 5, ".hidden\n" * 12, "漢字のある行\n" * 20, "ab. " * 300),
    ]
)
TEXT = st.lists(NASTY | st.text(max_size=8), max_size=6).map("".join)


def slow(text: str, transfer: Transfer) -> bytes:
    """A whole body by the standard library alone."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text if text.endswith("\n") else text + "\n"
    data = text.replace("\n", "\r\n").encode()
    if transfer == "base64":
        return base64.encodebytes(data).replace(b"\n", b"\r\n")
    return binascii.b2a_qp(data, istext=True)


@pytest.mark.parametrize("transfer", ["quoted-printable", "base64"])
@given(constants=st.lists(TEXT, min_size=1, max_size=3), data=st.data())
@settings(max_examples=200)
def test_constants_encoded_in_advance_make_the_body_that_the_standard_library_makes(
    transfer: Transfer, constants: list[str], data: st.DataObject
) -> None:
    encoder = BodyEncoder(transfer, constants)
    for pieces in data.draw(st.lists(st.lists(st.sampled_from(constants) | TEXT, max_size=6), max_size=3)):
        encoded, dots = encoder.encode(pieces)
        assert encoded == slow("".join(pieces), transfer)
        assert dots is (stuffed(encoded) != encoded)
        assert not has_bare_line_end(encoded)


@pytest.mark.parametrize("transfer", ["quoted-printable", "base64"])
@pytest.mark.parametrize("last", ["x", " ", "\t", ".", "=", "é", "\n"])
def test_a_line_is_broken_in_the_same_place_whatever_length_a_field_has(
    transfer: Transfer, last: str
) -> None:
    """One line longer than any may be, in which soft line breaks fall into the constants and the field."""
    before, after = "one = é. two" * 90 + last, ".two .. = é three" * 90 + last
    encoder = BodyEncoder(transfer, [before, after])
    for field in ("x", "é", "=", ".", " "):
        for length in range(80):
            for end in ("", "\n", ".\n", "\r\n.", " ", "\0"):
                pieces = [before, field * length, after, end, before]
                data, dots = encoder.encode(pieces)
                assert data == slow("".join(pieces), transfer)
                assert dots is (stuffed(data) != data)


@pytest.mark.parametrize("transfer", ["quoted-printable", "base64"])
def test_a_line_end_may_be_half_in_a_constant_and_half_in_a_field(transfer: Transfer) -> None:
    edges = ["", "\n", "\r", "\r\n", "\n.", ".", "\0", " ", "=", "é"]
    for middle in ("one long line " * 30, "many lines\n" * 30 + "x", "x\n" + "many lines\n" * 30):
        for begin, end in product(edges, edges):
            constant = begin + middle + end
            encoder = BodyEncoder(transfer, [constant])
            for field in edges:
                pieces = [field, constant, field, constant, field]
                data, dots = encoder.encode(pieces)
                assert data == slow("".join(pieces), transfer)
                assert dots is (stuffed(data) != data)


def test_a_constant_at_every_place_of_a_line_of_base64_is_kept_only_while_there_is_room() -> None:
    constants = ["漢字 " * 1_000, "é\n" * 6_000]
    encoder = BodyEncoder("base64", constants)
    assert encoder.size < 128 * 1024 + 100_000
    pieces_of = [["x" * length, constants[0], "y" * (length // 2), constants[1]] for length in range(57)]
    tracemalloc.start()
    try:
        for pieces in [*pieces_of, *pieces_of]:
            assert encoder.encode(pieces).data == slow("".join(pieces), "base64")
        assert 100_000 < tracemalloc.get_traced_memory()[0] < 170_000
    finally:
        tracemalloc.stop()


PARTS = st.lists(
    st.sampled_from(
        [
            *("{{ a }}", "{{ b }}", "{{ a | default('nobody') }}", "{{ missing | d('é\\r') }}"),
            *("{{ a | upper }}", "{{ 'x\\r' ~ b }}", "{{ '\\r\\n.' }}", "{% set c = a %}", "{{ a | trim }}"),
            *(
                "{% if a %}",
                "{% elif b %}",
                "{% else %}",
                "{% endif %}",
                "{# a comment #}",
                "{# 漢字漢字 #}" * 80,
            ),
            *("<body>", "</body>", "</BODY>", "</bo", "dy>", "\n</body>\n</html>\n", "<b>&amp;</b>"),
        ]
    )
    | NASTY,
    max_size=12,
)


def sound(parts: list[str]) -> str:
    """A template in which every `if` is ended, and nothing else is."""
    found, depth = [], 0
    for part in parts:
        tag = part.strip("{}% ").partition(" ")[0] if part.startswith("{%") else ""
        if tag in ("elif", "else", "endif") and not depth:
            continue
        if tag == "else":
            part = "{% endif %}{% if b %}"
        depth += (tag == "if") - (tag == "endif")
        found.append(part)
    return "".join(found) + "{% endif %}" * depth


SOURCES = PARTS.map(sound)


def rendered(source: str, values: dict[str, str], *, html: bool) -> str:
    """By Jinja2 alone."""
    environment = Environment(
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(source).render(values)


@given(source=SOURCES, html=st.booleans(), a=TEXT | st.just("<&>'\""), b=TEXT)
@settings(max_examples=200)
def test_the_pieces_of_a_template_are_what_jinja2_renders(source: str, html: bool, a: str, b: str) -> None:
    values = {"a": a, "b": b}
    template = compile_template(source, html=html)
    assert "".join(template.pieces(values)) == rendered(source, values, html=html)


def test_the_constants_of_a_template_are_among_its_pieces_with_and_without_logic() -> None:
    plain = "Dear {{ a }},\na paragraph{# a comment #} of text\n{{ b | default('x') }} and another\n"
    logic = plain + "{% if a %}some words {{ a | upper }}{% else %}others{% endif %} the end"
    for source in (plain, logic):
        for html in (False, True):
            template = compile_template(source, html=html)
            assert template.constants[:3] == ("Dear ", ",\na paragraph of text\n", " and another\n")
            assert set(template.constants) - {"others"} <= set(template.pieces({"a": "A", "b": "B"}))


def with_text_footer(text: str, url: str, postal_address: str) -> str:
    lines = [f"Unsubscribe: {url}"] if url else []
    lines += [postal_address] if postal_address else []
    end = "" if text.endswith("\n") else "\n"
    return text + end + "\n-- \n" + "\n".join(lines) + "\n"


def with_html_footer(text: str, url: str, postal_address: str) -> str:
    lines = ["<br>\n".join(map(escape, postal_address.splitlines()))] if postal_address else []
    lines += [f'<a href="{escape(url)}">Unsubscribe</a>'] if url else []
    footer = "<hr>\n<p>" + "<br>\n".join(lines) + "</p>\n"
    at = max(text.rfind("</body>"), text.rfind("</BODY>"))
    return text[:at] + footer + text[at:] if at >= 0 else f"{text}\n{footer}"


@given(
    text=SOURCES,
    html=SOURCES,
    a=TEXT | st.just("body>"),
    b=TEXT,
    token=st.sampled_from(["", "7", "a&b='"]),
    postal_address=st.sampled_from(["", "1 Main St\n<Town>"]),
)
@settings(max_examples=200)
def test_a_plan_writes_the_message_that_is_rendered_and_encoded_as_a_whole(
    text: str, html: str, a: str, b: str, token: str, postal_address: str
) -> None:
    sources = [(name, source) for name, source in (("plain", text), ("html", html)) if source.strip()]
    if not sources:
        return
    url = f"https://acme.example/u/{token}" if token else ""
    content = Content(
        channel=Channel.EMAIL,
        kind=Kind.MARKETING,
        sender="Acme <news@acme.example>",
        subject="Hi",
        text=text,
        html=html,
        unsubscribe=url,
        postal_address=postal_address,
    )
    values = {"a": a, "b": b}
    shown = [rendered(source, values, html=name == "html") for name, source in sources]
    if not any(map(str.strip, shown)):
        return
    shape = [(name, transfer_for(source)) for name, source in sources]
    plan = compile_email(content, {})
    before, end = skeleton(shape, [], content_hash(content))
    expected = b""
    for constant, (name, transfer), body in zip(before, shape, shown, strict=True):
        footer = with_html_footer if name == "html" else with_text_footer
        body = (
            "" if not body.strip() else footer(body, url, postal_address) if url or postal_address else body
        )
        expected += constant + slow(body, transfer)
    expected += bytes(end)
    email = plan.render({**values, "email": "ann@example.org"}, message_id="<1@acme.example>", now=0)
    assert email.payload.endswith(expected)
    assert b"\r\n\r\n" not in email.payload.removesuffix(expected)
    assert email.wire_ready is (stuffed(email.payload) == email.payload)
    assert not has_bare_line_end(email.payload)
