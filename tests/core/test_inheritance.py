"""A template that extends another one is what Jinja2 makes of it, and never less than its author wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment

from hubd.core.inheritance import Source, extended, flatten
from hubd.core.template import WHITESPACE, compile_template
from hubd.errors import BadTemplate

LAYOUT = """<html>
<body>
  {% block header %}
  <h1>{{ title | default('Acme') }}</h1>
  {% endblock %}
{% block content %}nothing{% endblock %}
{# for lawyers #}
{% if city == 'Ulm' %}
near
{% endif %}
  {%- block footer %} Bye{% endblock footer -%}

</body></html>
"""
CHILD = """{# the greeting #}
{% extends "layout" %}

{% block content %}
<p>Hi {{ first_name }}</p>
{% endblock %}
{% block footer %}{{ super() }}, {{ first_name }}{% endblock %}
"""
FIELDS = {"first_name": "Ann", "city": "Ulm"}


def flat(text: str, **bases: str) -> str:
    return flatten(Source("html", text), lambda name: Source(name, bases[name])).text


def by_jinja(text: str, **bases: str) -> str:
    environment = Environment(loader=DictLoader({**bases, "": text}), autoescape=True, **WHITESPACE)
    return environment.get_template("").render(FIELDS)


def test_a_layout_gets_the_blocks_of_the_template_that_extends_it() -> None:
    found = flat(CHILD, layout=LAYOUT)
    rendered = compile_template(found, html=True).render(FIELDS)
    assert rendered == by_jinja(CHILD, layout=LAYOUT)
    assert "<p>Hi Ann</p>" in rendered
    assert " Bye, Ann" in rendered
    assert "block" not in found


def test_a_template_without_blocks_stays_as_it_is() -> None:
    text = "{#- x -#}\n {%- if a -%} {% raw %}{% block %}{% endraw %}\n{%+ endif %}\n{{- b }}\n"
    assert flat(text) == text
    assert extended(Source("html", text)) == ""


def test_the_line_of_an_error_is_that_of_the_file_it_stands_in() -> None:
    made = flatten(Source("html", CHILD), lambda name: Source(name, LAYOUT))
    lines = made.text.split("\n")
    for written, (name, text) in {"Hi {{": ("html", CHILD), "near": ("layout", LAYOUT)}.items():
        at = next(number for number, line in enumerate(lines, 1) if written in line)
        origin, line = made.origin(at)
        assert origin == name
        assert written in text.split("\n")[line - 1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{% extends 'layout' %}\n\nHello", "html line 3: is outside a block"),
        ("{% extends 'layout' %}{{ x }}", "html line 1: is outside a block"),
        ("x{% extends 'layout' %}", "comes first"),
        ("{% if x %}{% extends 'layout' %}{% endif %}", "comes first"),
        ("{% extends 'layout' %}{% extends 'layout' %}", "comes first"),
        (
            "{% extends 'layout' %}\n{% block contnt %}{% endblock %}",
            "line 2: layout has no block 'contnt'; did",
        ),
        ("{% block a %}", "html line 1: the block 'a' is not closed"),
        ("{% block a %}{% endblock b %}", "cannot be written like this"),
        ("{% endblock %}", "cannot be written like this"),
        ("{% block a %}{% endblock %}{% block a %}{% endblock %}", "two blocks called 'a'"),
        ("{% block a %}{% endblock %}{{ super() }}", "super() belongs in a block"),
        ("{% block a %}{{ super() }}{% endblock %}", "nothing that it extends has a block 'a'"),
        ("{% extends layout %}", "cannot be written like this"),
        ("{% extends 'self' %}", "extends more than 9 templates, or itself"),
        ("{% extends '\\N{nothing}' %}", "cannot be read"),
        ("{% block a", "html line 1"),
    ],
)
def test_what_does_not_fit_together_is_named_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        flat(text, layout=LAYOUT, self="{% extends 'self' %}")
    assert problem in str(caught.value)


def test_blocks_inside_of_each_other_end() -> None:
    base = "{% block a %}{% block b %}x{% endblock %}{% endblock %}"
    child = "{% extends 'base' %}{% block b %}{% block a %}{{ super() }}{% endblock %}{% endblock %}"
    with pytest.raises(BadTemplate, match="inside itself"):
        flat(child, base=base)


def test_a_bomb_of_supers_is_refused() -> None:
    bases = {"t0": "{% block a %}" + "x" * 1000 + "{% endblock %}"}
    for n in range(1, 8):
        double = "{% block a %}" + "{{ super() }}" * 10 + "{% endblock %}"
        bases[f"t{n}"] = f"{{% extends 't{n - 1}' %}}{double}"
    with pytest.raises(BadTemplate, match="is longer than"):
        flat("{% extends 't7' %}", **bases)


def test_blocks_in_blocks_are_refused_when_there_are_too_many() -> None:
    deep = "".join(f"{{% block b{at} %}}" for at in range(2_000)) + "x" + "{% endblock %}" * 2_000
    with pytest.raises(BadTemplate, match="html: is nested too deeply"):
        flat(deep)


def test_super_that_multiplies_is_refused_although_nothing_is_in_the_block() -> None:
    often = "{% block b %}" + "{{ super() }}" * 20 + "{% endblock %}"
    layers = {f"l{at}": f"{{% extends 'l{at + 1}' %}}{often}" for at in range(8)}
    with pytest.raises(BadTemplate, match=r"has too many blocks, or super\(\) too often, with all"):
        flat(layers["l0"], **layers, l8="{% block b %}{% endblock %}")


texts = st.text(st.sampled_from("ab \n<&"), max_size=6)
pieces = st.one_of(
    texts,
    st.sampled_from(
        [
            *("{{ first_name }}", "{{- city }}", "{# c #}", "{% if city == 'Ulm' %}u{% endif %}"),
            *(
                "\n  {% if city == 'Ulm' -%}\n u\n {%- else %}v\n{% endif %}\n",
                "{% raw %}{{ r }}{% endraw %}",
            ),
        ]
    ),
)
bodies = st.lists(pieces, max_size=4).map("".join)


@st.composite
def blocks(draw: st.DrawFn, names: list[str], *, supers: bool) -> str:
    written = []
    for name in names:
        inside = draw(bodies)
        if supers and draw(st.booleans()):
            inside += "{{ super() }}" + draw(bodies)
        before, after = draw(
            st.sampled_from([("{%", "%}"), ("{%-", "%}"), ("{%", "-%}\n"), ("\n {%", "%}\n")])
        )
        written.append(f"{before} block {name} {after}{inside}{before} endblock {after}")
    return draw(texts.filter(lambda text: not text or supers is False)).join(written)


@given(st.data())
def test_it_is_what_jinja_makes_of_it(data: st.DataObject) -> None:
    base = data.draw(bodies) + data.draw(blocks(["one", "two"], supers=False)) + data.draw(bodies)
    names = data.draw(st.lists(st.sampled_from(["one", "two"]), unique=True))
    middle = "{% extends 'base' %}\n" + data.draw(blocks(names, supers=True))
    names = data.draw(st.lists(st.sampled_from(["one", "two"]), unique=True))
    child = "{# c #}{% extends 'middle' %}\n" + data.draw(blocks(names, supers=True))
    found = flat(child, base=base, middle=middle)
    assert compile_template(found, html=True).render(FIELDS) == by_jinja(child, base=base, middle=middle)


@given(
    st.lists(
        st.sampled_from(
            [
                "{%",
                "%}",
                " block a ",
                " endblock ",
                "{{",
                "}}",
                " super() ",
                " extends 'l' ",
                "#}",
                "x",
                "{#",
                "\n",
                "raw",
            ]
        ),
        max_size=12,
    ).map("".join)
)
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    try:
        flat(text, l="{% block a %}{% endblock %}")
    except BadTemplate:
        return
