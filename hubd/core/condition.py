"""Conditions on a contact's fields, such as `city == 'Koeln' and orders > 3`: the expressions of templates.

What a template can say between `{% if` and `%}`, a condition can say; the same allow-list guards it. It
differs in what a comparison means, because fields are text and people think of numbers:

* A number compared with a text that looks like one (`3`, `-0.5`) compares numbers. With any other text it has
  no result (`CannotCompare`), except that they are not equal.
* Two texts are equal if they are the same, and in order as numbers if both look like numbers, else as texts
  (so dates such as `2026-12-01` are).
* A field that a contact lacks is the empty text, which is neither less nor greater than anything, and in no
  text. With `is defined` you still learn whether it is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateSyntaxError, UndefinedError, nodes
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from hubd.core.allowlist import Inspector
from hubd.core.template import environment
from hubd.errors import BadTemplate

MAX_CONDITION = 2_000  #: characters
_WORK_LIMIT = 1_000_000  #: characters that evaluating it may touch for one contact
_COMPARE = "compare "  #: the filter that compares, which no author can write: a name has no space
_RESULT = "result"
_NUMBER = re.compile(r"\s*[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How many contacts of a campaign's lists its condition holds for."""

    contacts: int  #: on the lists, each once
    matched: int
    not_comparable: Mapping[str, int]  #: for whom it has no result, by the fields that it compares
    absent: tuple[str, ...]  #: fields that it names and no contact on the lists has ...
    known: tuple[str, ...] = ()  #: ... and then the fields that they have, in order of the alphabet


class CannotCompare(Exception):
    """A number is compared with a text that is not a number. `fields` are those that the comparison names."""

    def __init__(self, fields: str) -> None:
        super().__init__(fields)
        self.fields = fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A compiled condition. `fields` are those that it takes from a contact."""

    fields: frozenset[str]
    _longest: int  #: characters of the longest field that it can be evaluated with
    _jinja: JinjaTemplate

    def holds(self, values: Mapping[str, str]) -> bool:
        """Whether it holds for a contact with these fields. Raises CannotCompare."""
        for field in self.fields:
            if len(values.get(field, "")) > self._longest:
                raise CannotCompare(field)
        context = self._jinja.new_context(values, shared=True)  # type: ignore[arg-type]  # only read
        try:
            for _ in self._jinja.root_render_func(context):
                pass
            return bool(context.vars[_RESULT])
        except (TypeError, ValueError, ArithmeticError, UndefinedError):
            raise CannotCompare(", ".join(sorted(self.fields))) from None


def evaluate(source: str, values: Mapping[str, str]) -> int | str:
    """1 if a condition holds for these fields, 0 if not; the names of those it compares if it has no result.

    Raises BadTemplate.
    """
    try:
        return int(compile_condition(source).holds(values))
    except CannotCompare as error:
        return error.fields


@lru_cache(maxsize=16)
def compile_condition(source: str, name: str = "where") -> Condition:
    """Raises BadTemplate, which says what is wrong with the condition and how it is written."""
    if len(source) > MAX_CONDITION:
        raise BadTemplate.at(name, f"is longer than {MAX_CONDITION:,} characters")
    if not source.strip():
        raise BadTemplate.at(name, "is empty")
    try:
        expression = _parsed(source)
        inspector = Inspector(name, _CONDITIONS, html=False)
        inspector.body([nodes.Output([expression], lineno=1)])
        body = [nodes.Assign(nodes.Name(_RESULT, "store"), _Comparing().visit(expression), lineno=1)]
        code = _CONDITIONS.compile(nodes.Template(body, lineno=1))
    except TemplateSyntaxError as error:
        raise BadTemplate.at(name, _explained(source, error.message or ""), hint=_HINT) from None
    except RecursionError:
        raise BadTemplate.at(name, "is nested too deeply") from None
    except (ValueError, MemoryError) as error:
        raise BadTemplate.at(name, f"cannot be read ({type(error).__name__})") from None
    if not inspector.fields:
        raise BadTemplate.at(name, "names no field, so it has the same result for everybody", hint=_HINT)
    return Condition(
        fields=frozenset(inspector.fields),
        _longest=(_WORK_LIMIT - inspector.work.chars) // max(1, inspector.work.uses),
        _jinja=JinjaTemplate.from_code(_CONDITIONS, code, {}),
    )


_HINT = "it is an expression without braces, such as city == 'Koeln' and orders > 3"
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
#: What people write who know another language.
_OTHER_WORDS = (
    (re.compile(r"(?<![=!<>])=(?!=)"), "to compare, write == instead of ="),
    (re.compile(r"&"), "write and"),
    (re.compile(r"\|\|"), "write or"),
    (re.compile(r"!(?!=)"), "write not"),
    (re.compile(r"<>"), "write !="),
    (re.compile(r"\{[{%]"), "leave out the braces"),
    (re.compile(r"\b(AND|OR|NOT|IN|IS)\b"), "write and, or, not, in and is in lower case"),
    (
        re.compile(r"\b(like|between|contains|LIKE|BETWEEN)\b"),
        "to look for part of a text, write 'part' in field",
    ),
    (re.compile(r"['\"]"), "a text ends with the same quote that it begins with"),
)


def _explained(source: str, problem: str) -> str:
    bare = _QUOTED.sub("", source)
    remedy = next((words for pattern, words in _OTHER_WORDS if pattern.search(bare)), "")
    if "end of template" in problem or "end of print" in problem:
        problem = "ends too early"
    return f"{problem}; {remedy}" if remedy else problem or "cannot be read"


def _parsed(source: str) -> nodes.Expr:
    parser = Parser(_CONDITIONS, source, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail(f"{parser.stream.current.value!r} is not expected there")
    return expression


class _Comparing(NodeTransformer):
    """Has comparisons done by `_compare`, and puts the empty text where a field may lack.

    Jinja2 calls its methods by the names of the nodes.
    """

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:  # noqa: N802 - named after the node
        operators = [operand.op for operand in node.ops]
        return _compared(self.visit(node.expr), operators, [self.visit(each.expr) for each in node.ops])

    def visit_Test(self, node: nodes.Test) -> nodes.Expr:  # noqa: N802 - named after the node
        if node.name in ("defined", "undefined") and isinstance(node.node, nodes.Name):
            return node
        subject: nodes.Expr = self.visit(node.node)
        if node.args and (word := _TESTS.get(node.name)):
            return _compared(subject, [word], [self.visit(node.args[0])])
        return nodes.Test(subject, node.name, [], [], None, None, lineno=node.lineno)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Expr:  # noqa: N802 - named after the node
        assert node.node is not None  # as it has in the body of a filter block, which is refused
        bare = node.name in ("default", "d") and isinstance(node.node, nodes.Name)
        subject = node.node if bare else self.visit(node.node)
        arguments = [self.visit(argument) for argument in node.args]
        named = [nodes.Keyword(keyword.key, self.visit(keyword.value)) for keyword in node.kwargs]
        return nodes.Filter(subject, node.name, arguments, named, None, None, lineno=node.lineno)

    def visit_Name(self, node: nodes.Name) -> nodes.Expr:  # noqa: N802 - named after the node
        return nodes.Filter(node, "default", [nodes.Const("")], [], None, None, lineno=node.lineno)


def _compared(first: nodes.Expr, words: Sequence[str], others: Sequence[nodes.Expr]) -> nodes.Expr:
    """One comparison, or a chain such as `1 < a < 9`. Each operand stands in it once: in a pair for each
    operator, nested chains would double with each level.
    """
    arguments: list[nodes.Expr] = []
    for left, word, right in zip((first, *others), words, others, strict=False):
        names = {
            name.name
            for side in (left, right)
            for name in (side, *side.find_all(nodes.Name))
            if isinstance(name, nodes.Name)
        }
        arguments += [nodes.Const(word), right, nodes.Const(", ".join(sorted(names)))]
    return nodes.Filter(first, _COMPARE, arguments, [], None, None, lineno=first.lineno)


#: The tests that compare, by the words of the operators in the syntax tree.
_TESTS = {
    "in": "in",
    **dict.fromkeys(("eq", "equalto", "=="), "eq"),
    **dict.fromkeys(("ne", "!="), "ne"),
    **dict.fromkeys(("lt", "lessthan", "<"), "lt"),
    **dict.fromkeys(("le", "<="), "lteq"),
    **dict.fromkeys(("gt", "greaterthan", ">"), "gt"),
    **dict.fromkeys(("ge", ">="), "gteq"),
}
#: What an operator says of -1, 0 or 1: less, equal, greater.
_ORDERS: Mapping[str, Callable[[int], bool]] = {
    "lt": lambda order: order < 0,
    "lteq": lambda order: order <= 0,
    "gt": lambda order: order > 0,
    "gteq": lambda order: order >= 0,
}


def _compare(left: object, *chain: object) -> bool:
    """What a chain of comparisons means. `chain` has for each its operator, what is on its right, and the
    fields that both sides name.
    """
    for word, right, fields in zip(chain[::3], chain[1::3], chain[2::3], strict=True):
        if not _holds(left, str(word), right, str(fields)):
            return False
        left = right
    return True


def _holds(left: object, word: str, right: object, fields: str) -> bool:
    """What an operator means; see the module."""
    if word == "eq":
        return _equal(left, right)
    if word == "ne":
        return not _equal(left, right)
    if word in ("in", "notin"):
        among = (
            any(_equal(left, each) for each in right)
            if isinstance(right, list | tuple)
            else left != "" and str(left) in str(right)
        )
        return among is (word == "in")
    if left == "" or right == "":
        return False
    one, other = _number(left), _number(right)
    if one is not None and other is not None:
        return _ORDERS[word]((one > other) - (one < other))
    if isinstance(left, str) and isinstance(right, str):
        return _ORDERS[word]((left > right) - (left < right))
    raise CannotCompare(fields)


def _equal(left: object, right: object) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    if isinstance(left, bool) or isinstance(right, bool):
        return str(left).strip().lower() == str(right).strip().lower()  # the text "true" is true
    return _number(left) == _number(right) if left is not None and right is not None else left is right


def _number(value: object) -> int | float | None:
    """None for what does not look like a number; "1,5" does not, because nobody knows what it is."""
    if isinstance(value, int | float):
        return value if value == value else None  # 'nan' | float
    if not isinstance(value, str) or _NUMBER.fullmatch(value) is None:
        return None
    return float(value) if "." in value else int(value)


_CONDITIONS = environment(html=False)
_CONDITIONS.filters[_COMPARE] = _compare
