"""Promise: a template can do what a message needs, and nothing that reaches Python, memory or time."""

from __future__ import annotations

import string
from html import unescape
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.template import OUTPUT_LIMIT, SOURCE_LIMIT, compile_template
from hubd.errors import BadTemplate


def render(source: str, *, html: bool = False, **values: str) -> str:
    return compile_template(source, html=html).render(values)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Hello {{ x }}!\n", "Hello Ann Lee!\n"),
        ("{{ missing | default('friend') }}", "friend"),
        ("{{ missing | d(x) }}", "Ann Lee"),
        ("{{ empty | default('friend', true) }}", "friend"),
        (
            "{{ x | upper }} {{ x | lower }} {{ 'ab cd' | title }} {{ 'ab' | capitalize }}",
            "ANN LEE ann lee Ab Cd Ab",
        ),
        ("{{ ' a ' | trim }}{{ x | replace('n', 'm') }}", "aAmm Lee"),
        ("{{ 'a sentence in a mail' | truncate(6, true, '..') }}", "a se.."),
        ("{{ 'a b&c' | urlencode }} {{ '<' | e }} {{ '<' | escape }}", "a%20b%26c &lt; &lt;"),
        ("{{ n | int }} {{ price | float | round(1) }} {{ x | length }}", "42 3.5 7"),
        ("{% if n | int > 40 %}old{% elif n == '1' %}one{% else %}young{% endif %}", "old"),
        ("{% if missing is defined %}a{% else %}b{% endif %}", "b"),
        ("{% if x and not empty or x %}yes{% endif %}", "yes"),
        ("{% if x in ['Ann Lee', 'Bob'] %}in{% endif %}{% if 'Lee' in x %}!{% endif %}", "in!"),
        (
            "{% if x is in (['a', 'b']) %}in{% else %}out{% endif %}{% if x not in ['a'] %}!{% endif %}",
            "out!",
        ),
        ("{{ 'a' if n == '42' else 'b' }}", "a"),
        ("{{ x ~ ', ' ~ n ~ 1 }}", "Ann Lee, 421"),
        ("{% set name = x | default('you') %}{{ name }}", "Ann Lee"),
        ("{% set x = x | upper %}{{ x }}", "ANN LEE"),
        ("{% if -1 < 1.5 and n | int >= -3 %}number{% endif %}", "number"),
        ("a{# {{ nothing }} #}b{% raw %}{{ x }}{% endraw %}", "ab{{ x }}"),
        ("{% if x %}\nline\n{% endif %}\nend\n", "line\nend\n"),
        ("", ""),
    ],
)
def test_what_a_message_needs_works(source: str, expected: str) -> None:
    assert render(source, x="Ann Lee", n="42", price="3.46", empty="") == expected


def test_html_escapes_every_field_and_text_none() -> None:
    assert render("{{ x }}", html=True, x="<b>&\"'") == "&lt;b&gt;&amp;&#34;&#39;"
    assert render("{{ x }}", x="<b>&\"'") == "<b>&\"'"
    assert render("{{ '<b>' ~ x }}", html=True, x="<") == "&lt;b&gt;&lt;"


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("{{ ''.__class__ }}", "__class__"),
        ("{{ x.name }}", "name"),
        ("{{ x['__class__'] }}", "subscript"),
        ("{{ x[0] }}", "subscript"),
        ("{{ x | attr('__class__') }}", "attr"),
        ("{{ ('{0.__class__}' | attr('format'))('a') }}", "calling"),
        ("{{ '{0.__class__}'.format(x) }}", "format()"),
        ("{{ 'a' * 10**9 }}", "`*`"),
        ("{{ 2 ** 99999999 }}", "`**`"),
        ("{{ '%1000000000d' % 1 }}", "`%`"),
        ("{{ x + x }}", "`+`"),
        ("{{ 'a'.ljust(10**9) }}", "ljust()"),
        ("{{ 'a' | center(1000000000) }}", "center"),
        ("{{ x | indent(1000000000) }}", "indent"),
        ("{{ 1.5 | round(1000000000) }}", "round"),
        ("{{ x | replace('a', x) }}", "replace"),
        ("{{ x | safe }}", "safe"),
        ("{{ x | map('upper') }}", "map"),
        ("{{ x is divisibleby 3 }}", "divisibleby"),
        ("{{ x is in ('a', 'b') }}", "'in'"),
        ("{{ x is eq(other='a') }}", "named"),
        ("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}", "loop"),
        ("{{ range(100000) }}", "range()"),
        ("{% set ns = namespace(x='a') %}", "namespace()"),
        ("{% set ns.x = 'a' %}", "one name"),
        ("{% set a, b = 'a', 'b' %}", "one name"),
        ("{% set x %}long{% endset %}", "set"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macro"),
        ("{% call x() %}{% endcall %}", "call"),
        ("{% filter upper %}x{% endfilter %}", "filter"),
        ("{% include '/etc/passwd' %}", "include"),
        ("{% import 'x' as y %}", "import"),
        ("{% from 'x' import y %}", "import"),
        ("{% extends 'x' %}", "extends"),
        ("{% block b %}{% endblock %}", "block"),
        ("{% with a = 'x' %}{{ a }}{% endwith %}", "with"),
        ("{% autoescape false %}{{ x }}{% endautoescape %}", "autoescape"),
        ("{{ ['a', 'b'] }}", "list"),
        ("{{ {'a': 'b'} }}", "dictionary"),
        ("{{ self }}", "'self'"),
        ("{{ _private }}", "'_private'"),
        ("{{ lipsum() }}{{ cycler }}", "lipsum()"),
        ("{{ 'a' if x }}", "else"),
        ("{{ '\\ud800' }}", "surrogate"),
        ("{{ x | upper(3) }}", "upper"),
        ("{{ x | default(*x) }}", "starred"),
        ("{{ x | unheard_of }}", "unheard_of"),
        ("{% unheard_of %}", "unheard_of"),
        ("{{ x ~ }}", "unexpected"),
        ("{% if x %}", "if"),
    ],
)
@pytest.mark.parametrize("html", [False, True])
def test_anything_else_is_refused_when_it_is_compiled_with_its_name_and_line(
    source: str, named: str, html: bool
) -> None:
    with pytest.raises(BadTemplate) as caught:
        compile_template("first line\nsecond line\n" + source, html=html, name="text")
    assert named in str(caught.value)
    assert str(caught.value).startswith("text line 3: ")
    assert "\n" not in str(caught.value)
    assert caught.value.code == "bad_template"


@pytest.mark.parametrize(
    "source",
    [
        "{% set x = x ~ x %}" * 60 + "{{ x }}",
        "{% set x = 'ab' ~ x %}" + "{% set x = x | replace('', 'bbbbbbbbbbbbbbbbbbbb') %}" * 8 + "{{ x }}",
        "{{ x" + " | replace('a', 'aaaaaaaaaaaaaaaaaaaaa')" * 9 + " }}",
        "{{ x" + " | urlencode" * 9 + " }}",
        "{{ '" + "a" * 400_000 + "' | urlencode | urlencode }}",
        "{{ " + "(" * 5000 + "x" + ")" * 5000 + " }}",
        "{{ " + "not " * 5000 + "x }}",
        "{{ " + " and ".join(["x"] * 500) + " }}",
        "{% if x %}" * 60 + "{% endif %}" * 60,
        "{{ " + "9" * 5000 + " }}",
        "a" * (SOURCE_LIMIT + 1),
        "{{ x }}" * 5001,
        "{{ x " + "~ x " * 5001 + "}}",
    ],
    ids=range(13),
)
def test_what_could_exhaust_memory_or_the_stack_is_refused_when_it_is_compiled(source: str) -> None:
    with pytest.raises(BadTemplate):
        compile_template(source, html=False)


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "('a' if x == 'b' else " * 28 + "'c'" + ")" * 28 + " }}",
        "{% if x %}" * 30 + "deep" + "{% endif %}" * 30,
        "{% if " + " or ".join(["x == 'a'"] * 28) + " %}{% endif %}",
        "{{ x" + " | trim" * 28 + " }}",
        "{{ x" + " ~ x" * 3000 + " }}",
    ],
    ids=range(5),
)
def test_what_is_just_within_the_limits_compiles_and_renders(source: str) -> None:
    assert isinstance(render(source, x="v"), str)


def test_a_field_too_long_for_a_template_that_repeats_it_is_refused_before_rendering() -> None:
    template = compile_template("{{ x | urlencode }}" * 300, html=True)
    assert template.render({"x": "short"}) == "short" * 300
    with pytest.raises(BadTemplate, match="too long"):
        template.render({"x": "é" * 100_000})


def test_output_above_the_limit_is_refused() -> None:
    with pytest.raises(BadTemplate, match="1,000,000"):
        render("{{ x }}{{ x }}", x="a" * (OUTPUT_LIMIT // 2 + 1))


@pytest.mark.parametrize(
    "source", ["{{ first }}", "{% if first %}{% endif %}", "{{ first | upper }}", "{{ 'a' ~ first }}"]
)
def test_a_missing_field_is_an_error_that_names_it_and_tells_what_to_do(source: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        render(source, other="secret value")
    assert caught.value.code == "missing_field"
    assert caught.value.data["field"] == "first"
    assert caught.value.hint.endswith("{{ first | default('friend') }}")
    assert "secret" not in f"{caught.value} {caught.value.data}"


def test_comparing_text_with_a_number_says_how_to_do_it() -> None:
    with pytest.raises(BadTemplate) as caught:
        render("{% if age > 18 %}{% endif %}", age="secret")
    assert caught.value.code == "bad_template"
    assert "int" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_number_that_is_infinite_fails_this_recipient_only() -> None:
    template = compile_template("{{ n | float | int }}", html=False)
    assert template.render({"n": "4.2"}) == "4"
    with pytest.raises(BadTemplate, match="cannot be rendered"):
        template.render({"n": "inf"})


def test_a_field_that_looks_like_a_template_is_only_text() -> None:
    assert render("{{ x }}", x="{{ x.__class__ }}{% for %}") == "{{ x.__class__ }}{% for %}"


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("plain", set()),
        ("{{ a }}{% if b is defined %}{{ c | default(d) }}{% endif %}", {"a", "b", "c", "d"}),
        ("{% set a = 'x' %}{{ a }}", set()),
        ("{% set a = a | default('x') %}{{ a }}", {"a"}),
        ("{% if b %}{% set a = 'x' %}{% endif %}{{ a }}", {"a", "b"}),
        ("{% if b %}{% set a = 'x' %}{% else %}{% set a = 'y' %}{% endif %}{{ a }}", {"b"}),
        (
            "{% if b %}{% set a = 'x' %}{% elif c %}{{ a }}{% else %}{% set a = 'y' %}{% endif %}",
            {"a", "b", "c"},
        ),
        ("{{ 'a' if b in [c] else d }}{# e #}{% raw %}{{ f }}{% endraw %}", {"b", "c", "d"}),
    ],
)
def test_the_fields_are_the_names_a_template_takes_from_the_contact(source: str, fields: set[str]) -> None:
    assert compile_template(source, html=False).fields == fields


def test_a_set_on_one_path_falls_back_to_the_field_on_the_other() -> None:
    template = compile_template("{% if b %}{% set a = 'set' %}{% endif %}{{ a }}", html=False)
    assert template.render({"a": "field", "b": "yes"}) == "set"
    assert template.render({"a": "field", "b": ""}) == "field"


def test_rendering_leaves_the_values_as_they_were() -> None:
    values = {"x": "a"}
    compile_template("{% set x = 'b' %}{% set y = x %}{{ y }}", html=False).render(values)
    assert values == {"x": "a"}


@given(a=st.text(max_size=20), b=st.text(max_size=20))
@settings(deadline=None)
def test_any_text_in_a_field_is_rendered_as_it_is(a: str, b: str) -> None:
    values: dict[str, Any] = {"a": a, "b": b}
    assert render("[{{ a }}|{{ b }}]", **values) == f"[{a}|{b}]"
    assert unescape(render("[{{ a | replace('&', '') }}]", html=True, **values)) == f"[{a.replace('&', '')}]"


PIECE = st.sampled_from(
    [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "if",
        "else",
        "endif",
        "set",
        "for",
        "in",
        "x",
        "y",
        "'a'",
        "1",
        "(",
        ")",
        "|",
        "~",
        "*",
        "**",
        "+",
        "-",
        "[",
        "]",
        ".",
        ",",
        "=",
        "==",
        "<",
        " ",
        "\n",
        "upper",
        "default",
        "replace",
        "raw",
        "endraw",
        "not",
        "is",
        "defined",
        "macro",
        "__class__",
        "range",
        "'{0}'",
        "\\",
        '"',
        ":",
        "{{ x }}",
    ]
)


@given(
    source=st.lists(PIECE, max_size=25).map(" ".join) | st.text(string.printable, max_size=60),
    html=st.booleans(),
)
@settings(max_examples=400)
def test_any_source_either_compiles_or_is_a_bad_template_and_then_renders_or_says_why(
    source: str, html: bool
) -> None:
    try:
        template = compile_template(source, html=html)
        template.render({"x": "a<é", "y": "3"})
    except BadTemplate:
        return
