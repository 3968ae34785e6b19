"""The text part that is made from an HTML part: a template with the same words, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.html_text import plain_text
from hubd.core.template import compile_template

PAGE = """\
<!doctype html>
<html><head><title>May</title><style>p { color: red }</style>
<body>
<div style="display: none">Our news</div>
<!-- nothing -->
<h1>Dear {{ first_name | default("friend") }}</h1>
<p>thank you for
   <b>everything</b>&nbsp;&amp; more.</p>
{% if vip %}
<p>As a VIP you get 20&nbsp;%.</p>
{% endif %}
<p>{% if city %}See you in {{ city }}{% else %}See you{% endif %}</p>
<ul><li>one<li>two</ul>
<table><tr><td>Tea<td>2 €</tr><tr><td>Cake</td><td>3 €</td></tr></table>
<p><a href="https://acme.shop/?a=1&amp;b={{ contact_id }}"><img src="cid:logo.png" alt="Our shop"></a>
<a href="mailto:hi@acme.shop">hi@acme.shop</a> <a href="https://acme.shop">acme.shop</a><br>Acme</p>
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
</body></html>
"""
TEXT = """\
Dear Ann

thank you for everything & more.

As a VIP you get 20 %.

See you in Rome

- one
- two

Tea 2 €
Cake 3 €

Our shop (https://acme.shop/?a=1&b=7) hi@acme.shop acme.shop
Acme

Unsubscribe (https://acme.shop/u)
"""


def rendered(html: str, **values: str) -> str:
    return compile_template(plain_text(html), html=False).render(values)


def test_the_text_says_what_the_page_says() -> None:
    values = {"city": "Rome", "contact_id": "7", "unsubscribe_url": "https://acme.shop/u"}
    assert rendered(PAGE, first_name="Ann", vip="1", **values) == TEXT
    assert "See you\n" in rendered(PAGE, contact_id="7", unsubscribe_url="x", city="", vip="")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>&#123;&#123; x &#125;&#125; and &#123;% y</p>", "{{ x }} and {% y\n"),
        ("&#123;{{ x }}", "{X\n"),
        ("a<br><br><br>b", "a\n\nb\n"),
        ("<p>a</p><p></p><div><div><p>b</p></div></div>", "a\n\nb\n"),
        ("<p hidden>a<p>b", "b\n"),
        ("<head><title>t</title><body>b", "b\n"),
        ("a<script>if (a < b) c()</script>b", "ab\n"),
        ('<a href="https://acme.shop"><div>Shop</div></a>now', "Shop\nhttps://acme.shopnow\n"),
        ('<a href="#x">up</a>', "up\n"),
        ("a \u200c\u00a0\u200c b\u00adc", "a bc\n"),
        ("<p>x{% if x %}y{% endif %}</p><p>z</p>", "xy\n\nz\n"),
        ("<p>{# note #}x</p>", "x\n"),
        ("a<hr>b", f"a\n\n{'-' * 30}\n\nb\n"),
    ],
)
def test_a_piece_of_a_page_as_text(html: str, text: str) -> None:
    assert rendered(html, x="X") == text


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<p></p>",
        '<img src="x">',
        "{% if x %}",  # does not compile
        "{% raw %}{{ x }}{% endraw %}",
        '<a {% if x %}href="a"{% else %}href="b"{% endif %}>x</a>',
        '<div style="{% if x %}display:none{% endif %}">x</div>',
        "<div hidden>{% if x %}</div>a{% endif %}",
        "<div hidden>{% set name = 'x' %}</div>{{ name }}",  # would be another field
        "a\ue000b",
    ],
)
def test_no_text_is_made_that_would_say_something_else(html: str) -> None:
    assert plain_text(html) == ""


fragments = st.lists(
    st.sampled_from(
        [
            *(
                "<p>",
                "</p>",
                "<b>",
                "</b>",
                "<br>",
                "<a href='https://x.shop/{{ b }}'>",
                "</a>",
                "<td>",
                "<li>",
            ),
            *(
                "<div hidden>",
                "</div>",
                "<style>",
                "</style>",
                "{{ a }}",
                "{{ b | default('c') }}",
                "{% if a %}",
            ),
            *(
                "{% else %}",
                "{% endif %}",
                "{# c #}",
                "&#123;",
                "{",
                "}",
                "%",
                "#",
                " ",
                "\n",
                "word",
                "&lt;",
            ),
            *("<", ">", "'", "é"),
        ]
    ),
    max_size=30,
).map("".join)


@given(fragments)
def test_whatever_the_page_is_its_text_compiles_and_has_no_other_fields(html: str) -> None:
    text = plain_text(html)
    if not text:
        return
    fields = compile_template(text, html=False).fields
    assert fields <= compile_template(html, html=True).fields
    compile_template(text, html=False).render({"a": "A", "b": "B"})


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), max_size=5))
def test_the_words_of_paragraphs_are_the_paragraphs_of_the_text(paragraphs: list[str]) -> None:
    from html import escape

    kept = [each for each in paragraphs if any(char.isalnum() for char in each) and "\u034f" not in each]
    page = "".join(f"<p>{escape(each).replace('{', '&#123;')}</p>" for each in kept)
    expected = "\n\n".join(kept) + "\n" if kept else ""
    assert (rendered(page) if kept else plain_text(page)) == expected


def test_no_text_is_made_of_a_page_that_hides_elements_without_end() -> None:
    assert plain_text(f"<p>Hi</p><svg>{'<g>' * 999}</svg>") == "Hi\n"
    assert plain_text(f"<p>Hi</p><svg>{'<g>' * 1_000}</svg>") == ""
