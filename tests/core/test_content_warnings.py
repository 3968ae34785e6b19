"""What is probably not meant in a campaign's texts is said, with its line; what is usual is not."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.content_warnings import content_warnings, first_use
from hubd.core.html_balance import unbalanced
from hubd.core.html_source import page_of, tags
from hubd.core.html_text import plain_text
from hubd.core.model import Attachment, Channel, Content

NEWSLETTER = """\
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1.dtd">
<html xmlns:v="urn:schemas-microsoft-com:vml"><head><meta charset="utf-8"><title>May & June < July</title>
<!--[if mso]><xml><o:OfficeDocumentSettings><o:AllowPNG/></o:OfficeDocumentSettings></xml><![endif]-->
<style>@media (max-width:600px){.box{width:100%!important} a[href^="x"]{color:red}} /* <table> */</style>
</head><body bgcolor="#fff">
{# the part that all months share #}
<div style="display:none">Our news &zwnj;&nbsp;&zwnj;</div>
<!--[if mso | IE]><table role="presentation"><tr><td><![endif]-->
<table width="100%"><tbody><tr>
<td align=center><a href="https://acme.shop/?a=1&amp;b={{ city }}"><img src="cid:logo.png" alt="A > B"></a>
<td><p>First<p>Second <b><i>bold</b></i><br/><hr>
<ul><li>one<li>two {% if vip %}<b>for you{% else %}<b>for all{% endif %}</b></ul>
<table><tr><td>in here</td></tr></table></p></td>
</tr></tbody></table>
<![if !mso]><p>not Outlook</p><![endif]>
<v:rect style="width:1px"><v:fill type="tile"/></v:rect>
<p>5 < 6, a <3 b, 100 % off, {{ first_name | default("[email]") }}, C:\\x, 50%, {x}, [1], %d</p>
<a href="{{ unsubscribe_url }}">Out</a> <a href="#top">Up</a> <a href="mailto:hi@acme.shop">Mail</a>
<img src="{{ picture }}"><img src="//cdn.acme.shop/a.png"><img src="data:image/png;base64,AA==">
{% if where %}<img src="https://acme.shop/{{ where }}.png">{% endif %}
</body>
</html>
"""
LOGO = Attachment(name="logo.png", type="image/png", sha256="a" * 64, size=1)


def mail(html: str = "", text: str = "Hi", subject: str = "Hi", *files: Attachment) -> Content:
    return Content(channel=Channel.EMAIL, subject=subject, text=text, html=html, attachments=files)


def told(html: str, *files: Attachment) -> list[str]:
    return [str(each) for each in content_warnings(mail(html, "Hi", "Hi", *files))]


def test_nothing_is_said_of_a_usual_newsletter() -> None:
    assert told(NEWSLETTER, LOGO) == []


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ('a\n<img src="cid:logo.png">', 'html line 2: the picture "logo.png" is not attached'),
        ('<td style="background:url(cid:back%20ground.png)">', '"back ground.png" is not attached'),
        ('<img src="logo.png">', 'write src="cid:logo.png"'),
        ('<img src="img/2026/logo.png">', 'write src="cid:logo.png"'),
        ('<td background="/back.png">', '"/back.png" is not part of the message'),
        ('<img src="file:///home/me/logo.png">', "a file on your machine"),
        (r'<img src="C:\Users\me\logo.png">', "a file on your machine"),
        ('\n\n<a\nhref="http://localhost:3000/x">x</a>', "html line 3: a link leads to localhost"),
        ('<a href="https://127.0.0.1/x">x</a>', "leads to 127.0.0.1"),
        ('<img src="http://192.168.0.2/a.png">', "leads to 192.168.0.2"),
        ('<a href="/offers">x</a>', '"/offers" names no server'),
        ('<a href="www.acme.shop">x</a>', '"www.acme.shop" names no server'),
        ("<style>a{b:c}@media print{#x{y:z}} /* #} */</style>", "`{#` begins a comment, so 15 characters"),
        ("<b>{#big{{ x }}#}</b>", "`{#` begins a comment"),
        ("<p>Dear *|FNAME|*,</p>", "*|FNAME|* is a field of another system"),
        ("<p>Dear {first_name},</p>", "write {{ first_name }}"),
        ("<p>Dear [[Last Name]],</p>", "write {{ last_name }}"),
        ("<p>Dear %%first name%%,</p>", "write {{ first_name }}"),
        ('<a href="*|ARCHIVE|*">x</a>', "*|ARCHIVE|* is a field of another system"),
        ("<p>Dear ${firstname},</p>", "write {{ first_name }}"),
        ("<div>\n<table>\n<tr><td>x</td></tr>\n</div>", "html line 2: <table> is never closed"),
        ("<table><tr><td><div>x</td></tr></table>", "<div> is never closed; add </div> before </td>"),
        ("x</div>", "html line 1: </div> closes nothing"),
        ("<p><b>x</p>\n", "<b> is never closed"),
        ("<a href=\"x>Shop</a>\n<p class='y'>z</p>", "the tag <a never ends"),
        ("x\n<!-- x\n<p>y</p>", "html line 2: this comment never ends"),
        ("<style>a{b:c}<p>x</p>", "<style> is never closed"),
    ],
)
def test_what_is_not_meant_is_said_with_its_line_and_what_to_do(html: str, words: str) -> None:
    (warning,) = told(html)
    assert words in warning


def test_a_picture_that_is_attached_under_another_name_is_named() -> None:
    (warning,) = told('<img src="cid:logo">', LOGO)
    assert "did you mean logo.png?" in warning


def test_the_name_of_a_picture_is_shown_in_short() -> None:
    (warning,) = told(f'<img src="cid:{"x" * 9_000}">')
    assert len(warning) < 250


def test_the_other_parts_are_read_too() -> None:
    content = mail("", "Hi {name},\nsee http://localhost:8080/x", "For *|FNAME|*")
    paths = [each.path for each in content_warnings(content, ["name"])]
    assert paths == ["subject line 1", "text line 1", "text line 2"]
    assert not content_warnings(dataclasses.replace(content, subject="", text="{name}"))
    sms = Content(channel=Channel.SMS, text="Hi [first_name]")
    assert [each.path for each in content_warnings(sms)] == ["text line 1"]


def test_of_one_kind_only_the_first_few_are_said() -> None:
    assert len(told('<img src="a.png">' * 50)) == 3


def test_a_text_that_was_made_from_the_html_is_not_blamed_beside_it() -> None:
    html = "<p>Dear *|FNAME|*, {{ vornahme | default('you') }}</p>"
    content = Content(channel=Channel.EMAIL, subject="s", html=html, text=plain_text(html))
    assert [warning.part for warning in content_warnings(content)] == ["html"]
    assert first_use(content, "vornahme") == "html line 1"


def test_where_a_field_is_used_first() -> None:
    content = mail("<p>\n{% if city %}x{% endif %}{{ city }}", "a city\n\n{{ name | default('city') }}")
    assert (first_use(content, "city"), first_use(content, "nobody")) == ("text line 3", "")
    assert first_use(mail("<p>\n{% if city %}x{% endif %}"), "city") == "html line 2"


def test_a_page_that_opens_without_end_is_not_followed_to_its_end() -> None:
    tags_left_open = "<div>" * 1_000
    assert not any("are open here" in words for words in told(tags_left_open))
    (words,) = told(f"{tags_left_open}\n<b>{'</p>' * 1_000}")
    assert words == "html line 2: more than 1,000 tags are open here; close those before it"


# --- pages made at random -----------------------------------------------------------------------------------

words = st.sampled_from(
    ["x", "a < b", "&amp;", "{{ name }}", "\n", "<!-- <table> -->", "<br>", "<img alt='<p>'>"]
)
strict = st.sampled_from(["div", "table", "center", "h1", "ul", "a", "b", "span", "form"])
lax = st.sampled_from(["p", "li", "dd"])
parts = st.sampled_from(["td", "th", "tr", "tbody"])


def _element(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    content = st.lists(inner, max_size=4).map("".join)
    whole = st.builds(lambda tag, inside: f"<{tag} class='x>y'>{inside}</{tag.upper()}>", strict, content)
    bare = st.builds(lambda tag, inside: f"<div><{tag}>{inside}</div>", lax, content)
    cell = st.builds(lambda tag, inside: f"<table><{tag}>{inside}</table>", parts, content)
    return st.one_of(whole, bare, cell)


pages = st.lists(st.recursive(words, _element, max_leaves=12), min_size=1, max_size=4).map("".join)


@given(pages)
def test_a_page_that_closes_what_it_opens_is_never_blamed(page: str) -> None:
    assert list(unbalanced(page_of(page))) == []


@given(pages, strict.filter(lambda tag: tag != "a"))
def test_a_tag_that_is_left_open_or_closed_too_often_is_always_found(page: str, tag: str) -> None:
    assert any(f"<{tag}> is never closed" in problem for _, problem in unbalanced(f"<{tag}>{page}"))
    assert any(f"</{tag}> closes nothing" in problem for _, problem in unbalanced(f"{page}</{tag}>"))


fragments = st.lists(
    st.sampled_from(
        [
            *("<", ">", "<a", "</", "<!--", "-->", "'", '"', "=", "{{", "}}", "{%", "%}", "{#", "#}", "if"),
            *("endif", "else", "\n", "x", " ", "<style>", "</style", "<td ", "&lt;"),
            *("/>", "cid:", "é", "\ue000"),
        ]
    ), max_size=40,
).map("".join)  # fmt: skip


@given(fragments)
def test_whatever_is_written_is_read_to_its_end(source: str) -> None:
    assert len(page_of(source)) == len(source)
    assert page_of(source).count("\n") == source.count("\n")
    places = [(tag.start, tag.end) for tag in tags(source)]
    assert all(start < end for start, end in places)
    assert places == sorted(places)
    assert all(each.line <= source.count("\n") + 1 for each in content_warnings(mail(source)))
