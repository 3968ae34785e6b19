"""Message templates: Jinja2, cut down to what a message needs and proved harmless before it runs.

Jinja2's immutable sandbox keeps a template away from Python's insides, but not from memory and time:
`'a' * 10**9`, `center(10**9)` or a value doubled forty times would take the daemon down. So three fences:

1. **An allow-list over the syntax tree** (`allowlist`): text, fields, literals, `~`, comparisons, `and or not
   in is`, `if`, `set`, and a few filters and tests. No calls, loops, macros, includes, attributes, sums.
2. **A bound on the work.** Without loops each node runs at most once, so the whole template touches at most
   `chars + uses * longest field` characters. A template that multiplies is refused when it is compiled, a
   field that is too long for it when it is rendered.
3. **A cap on the output** (`OUTPUT_LIMIT`).

Whitespace: a block tag takes its line with it (`trim_blocks`, `lstrip_blocks`), so that `{% if %}` on a line
of its own leaves no empty line in a text body. HTML templates escape every field, those of
URLs percent-encode it, text templates take it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2 import Template as JinjaTemplate
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import escape

from hubd.core.allowlist import FILTERS, TESTS, Inspector
from hubd.errors import BadTemplate

SOURCE_LIMIT = 512 * 1024  #: characters of one template
OUTPUT_LIMIT = 1_000_000  #: characters of one rendered template
_TAGS_LIMIT = 5_000  #: how often a template may open a tag or a field; parsing takes time too
_WORK_LIMIT = 32_000_000  #: characters one rendering may touch, all intermediate values included

#: What a tag takes of the white space around it.
WHITESPACE: Mapping[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
_ENCODED_GROWTH = 12  #: four bytes of a character are three characters each when they are percent-encoded
_PERCENT = "percent"  #: the filter for that, which no author can write
_SPECIAL = re.compile("[&<>'\"]")  #: what is escaped in HTML


def compile_template(source: str, *, html: bool, url: bool = False, name: str = "template") -> Template:
    """Check `source` against the allow-list and compile it.

    `html` switches the escaping of fields on, `url` their percent-encoding, except where the template encodes
    with `urlencode` itself; `name` ("subject", "text" ...) is how errors speak of it.
    Raises BadTemplate that names the construct and its line.
    """
    check_size(source, name)
    environment = _HTML if html else _URL if url else _TEXT
    try:
        tree = environment.parse(source)
        inspector = Inspector(name, environment, html=html)
        inspector.body(tree.body)
        parts, constants = _parts(tree), _constants(tree)
        if url:
            _encode_output(tree)
        code = environment.compile(tree)
    except TemplateSyntaxError as error:
        raise BadTemplate.at(f"{name} line {error.lineno}", _readable(error.message or "")) from None
    except RecursionError:
        raise BadTemplate.at(name, "is nested too deeply") from None
    except (ValueError, MemoryError) as error:  # a number of 5,000 digits, for one
        raise BadTemplate.at(name, f"cannot be read ({type(error).__name__})") from None
    return Template(
        name=name,
        fields=frozenset(inspector.fields),
        constants=constants,
        _pieces=tuple(part if isinstance(part, str) else "" for part in parts or ()),
        _holes=None if parts is None else tuple(part for part in parts if isinstance(part, _Hole)),
        _longest=(_WORK_LIMIT - inspector.work.chars)
        // max(1, inspector.work.uses)
        // (_ENCODED_GROWTH if url else 1),
        _encode=_escaped if html else _percent_encoded if url else None,
        _jinja=JinjaTemplate.from_code(environment, code, {}),
    )


def check_size(source: str, name: str) -> None:
    """Raise BadTemplate for a template that would take too long to parse."""
    if len(source) > SOURCE_LIMIT:
        raise BadTemplate.at(name, f"is longer than {SOURCE_LIMIT // 1024} Ki characters")
    if source.count("{{") + source.count("{%") > _TAGS_LIMIT:
        raise BadTemplate.at(name, f"has more than {_TAGS_LIMIT:,} fields and tags")


def _readable(problem: str) -> str:
    """What Jinja2 says, where people without a template in mind meet it in other words."""
    if "Missing end of comment tag" in problem:
        return "`{#` begins a comment that never ends; in CSS, put a space between { and #"
    return problem or "cannot be read"


class _Hole(NamedTuple):
    """Where a template without logic has a field: its place among the pieces."""

    at: int
    field: str
    default: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A compiled template. `fields` are the names it takes from the contact, with or without a default;
    `constants` are texts that stand in it and are often among its pieces.
    """

    name: str
    fields: frozenset[str]
    constants: tuple[str, ...]
    _encode: Callable[[str], str] | None  #: what is done to a field that is filled in
    _pieces: tuple[str, ...]  #: of a template without logic, "" at its holes
    _holes: tuple[_Hole, ...] | None  #: None for a template with logic
    _longest: int  #: characters of the longest field that it may be rendered with
    _jinja: JinjaTemplate

    def render(self, values: Mapping[str, str]) -> str:
        """The text for one recipient. Raises like `pieces`."""
        return "".join(self.pieces(values))

    def pieces(self, values: Mapping[str, str]) -> list[str]:
        """The text for one recipient, in pieces. The errors never quote a value.

        Raises BadTemplate: code `missing_field` with `data["field"]` for a field that `values` lacks and that
        has no default; code `bad_template` for a value that does not fit (text compared with a number, a
        result above `OUTPUT_LIMIT`).
        """
        pieces = self._filled(values) or self._rendered(values)
        if sum(map(len, pieces)) > OUTPUT_LIMIT:
            raise BadTemplate.at(self.name, f"renders to more than {OUTPUT_LIMIT:,} characters")
        return pieces

    def _filled(self, values: Mapping[str, str]) -> list[str] | None:
        """The pieces of a template without logic; None when Jinja2 has to say what they are."""
        if self._holes is None:
            return None
        pieces = list(self._pieces)
        for at, field, default in self._holes:
            value = values.get(field, default)
            if value is None or len(value) > self._longest:
                return None
            pieces[at] = value if self._encode is None else self._encode(value)
        return pieces

    def _rendered(self, values: Mapping[str, str]) -> list[str]:
        if max([len(values.get(field, "")) for field in self.fields], default=0) > self._longest:
            raise BadTemplate.at(self.name, "a field is too long for this template")
        try:
            # The root function itself: Jinja2's own render() would copy the values first.
            context = self._jinja.new_context(values, shared=True)  # type: ignore[arg-type]  # only read
            return list(self._jinja.root_render_func(context))
        except UndefinedError as error:
            raise _missing_field(self.name, error.message or "") from None
        except TypeError:
            raise BadTemplate.at(
                self.name,
                "compares or converts a field in a way its value does not allow",
                hint="fields are text; to compare numbers, write `age | int > 18`",
            ) from None
        except Exception as error:
            raise BadTemplate.at(self.name, f"cannot be rendered ({type(error).__name__})") from None


def _escaped(value: str) -> str:
    return escape(value) if _SPECIAL.search(value) else value


def _percent_encoded(value: object) -> str:
    """As a part of a URL that the server reads back as it was: "+", "&", "#" and "%" too are encoded."""
    return quote(str(value), safe="")


def _encode_output(tree: nodes.Template) -> None:
    """Have everything percent-encoded that is written between the texts and is not encoded yet."""
    for output in tree.find_all(nodes.Output):
        output.nodes = [
            node
            if isinstance(node, nodes.TemplateData) or _encodes(node)
            else nodes.Filter(node, _PERCENT, [], [], None, None, lineno=node.lineno)
            for node in output.nodes
        ]


def _encodes(node: nodes.Node) -> bool:
    inside = node.find_all(nodes.Filter)
    return any(each.name == "urlencode" for each in (node, *inside) if isinstance(each, nodes.Filter))


def _runs(output: nodes.Output) -> Iterator[str | nodes.Node]:
    """What it writes: texts, those that follow each other as one (which is how Jinja2 writes them), and
    expressions.
    """
    for is_text, run in groupby(output.nodes, lambda node: isinstance(node, nodes.TemplateData)):
        if is_text:
            yield "".join(node.data for node in run if isinstance(node, nodes.TemplateData))
        else:
            yield from run


def _constants(tree: nodes.Template) -> tuple[str, ...]:
    runs = chain.from_iterable(map(_runs, tree.find_all(nodes.Output)))
    return tuple(run for run in runs if isinstance(run, str))


def _parts(tree: nodes.Template) -> list[str | _Hole] | None:
    """The texts and holes of a template that has nothing but text, fields and fields with a default."""
    parts: list[str | _Hole] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for at, run in enumerate(_runs(output), start=len(parts)):
            part = run if isinstance(run, str) else _hole(at, run)
            if part is None:
                return None
            parts.append(part)
    return parts


def _hole(at: int, node: nodes.Node) -> _Hole | None:
    match node:
        case nodes.Name(name=field):
            return _Hole(at, field, None)
        case nodes.Filter(
            node=nodes.Name(name=field),
            name="default" | "d",
            args=[nodes.Const(value=str(default))],
            kwargs=[],
        ):
            return _Hole(at, field, default)
    return None


def _missing_field(template: str, field: str) -> BadTemplate:
    return BadTemplate(
        f"{template}: this recipient has no field {field!r}",
        code="missing_field",
        hint=f"add the column, or set a default: {{{{ {field} | default('friend') }}}}",
        data={"field": field, "errors": [{"path": template, "problem": f"there is no field {field!r}"}]},
    )


class _Missing(StrictUndefined):
    """An undefined field: any use of it is an error whose message is the field's bare name."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name)


def environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    """A new environment with nothing but what templates may use."""
    made = ImmutableSandboxedEnvironment(
        undefined=_Missing,
        autoescape=html,
        **WHITESPACE,
    )
    made.globals.clear()
    made.filters = {name: made.filters[name] for name in FILTERS}
    made.tests = {name: made.tests[name] for name in TESTS}
    return made


_TEXT = environment(html=False)
_URL = environment(html=False)
_URL.filters[_PERCENT] = _percent_encoded
_HTML = environment(html=True)
