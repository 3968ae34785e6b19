"""What a message template may contain, and how much text it can touch at most.

`Inspector` walks Jinja2's syntax tree once, in the order the template will run. It refuses every construct
that is not listed here, collects the fields, and adds up an upper bound of the work. Nothing is forbidden
by name: what Jinja2 learns in a later version is refused until it is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jinja2 import Environment, nodes

from hubd.errors import BadTemplate

_CHARS_LIMIT = 8_000_000  #: the part of the work that does not depend on the fields, in characters
_USES_LIMIT = 200_000  #: how many times over a template may touch the longest field
_NODES_LIMIT = 5_000  #: statements and expressions; compiling so many takes about a second
_DEPTH_LIMIT = 30  #: nesting of expressions and blocks; Python's own compiler stops at 100 indents

_ESCAPE_GROWTH = 5  #: `"` becomes `&#34;`
_RESERVED = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})
_LISTS = (nodes.List, nodes.Tuple)


@dataclass(frozen=True, slots=True)
class Size:
    """An upper bound of a text's length: `chars + uses * longest field`."""

    chars: int = 0
    uses: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.chars + other.chars, self.uses + other.uses)

    def __mul__(self, factor: int) -> Size:
        return Size(self.chars * factor, self.uses * factor)

    def __or__(self, other: Size) -> Size:
        return Size(max(self.chars, other.chars), max(self.uses, other.uses))


_NUMBER = Size(chars=400)  #: `1e308 | int` has 309 digits

#: The tests, and how many arguments each takes.
TESTS = dict.fromkeys(
    (
        "defined",
        "undefined",
        "none",
        "true",
        "false",
        "boolean",
        "string",
        "number",
        "integer",
        "float",
        "upper",
        "lower",
    ),
    0,
) | dict.fromkeys(
    (
        "in",
        "eq",
        "equalto",
        "==",
        "ne",
        "!=",
        "lt",
        "lessthan",
        "<",
        "le",
        "<=",
        "gt",
        "greaterthan",
        ">",
        "ge",
        ">=",
    ),
    1,
)

_Growth = Callable[[Size, list[object]], Size | None]


def _same(size: Size, arguments: list[object]) -> Size | None:
    return size


def _number(size: Size, arguments: list[object]) -> Size | None:
    return size + _NUMBER


def _times(factor: int) -> _Growth:
    return lambda size, arguments: size * factor


def _replace(size: Size, arguments: list[object]) -> Size | None:
    if len(arguments) < 2 or not all(isinstance(argument, str) for argument in arguments[:2]):
        return None
    old, new = (str(argument) for argument in arguments[:2])
    # Replacing "" puts `new` around every character; in escaped text `new` is escaped too.
    factor = 1 + len(new) * _ESCAPE_GROWTH // max(1, len(old))
    return size * factor + Size(chars=len(new) * _ESCAPE_GROWTH)


def _truncate(size: Size, arguments: list[object]) -> Size | None:
    return size + Size(chars=3 + sum(len(text) for text in arguments if isinstance(text, str)))


def _round(size: Size, arguments: list[object]) -> Size | None:
    # A precision of 10**9 would compute 10**(10**9).
    good = all(isinstance(argument, str) or argument in range(16) for argument in arguments)
    return size + _NUMBER if good else None


#: The filters, and how much longer each can make a text; None instead of a size refuses the arguments.
FILTERS: dict[str, _Growth] = {
    "default": _same,  # its argument may be any expression: see `Inspector._filter`
    "d": _same,
    "upper": _times(3),  # one character may have three capitals
    "lower": _times(3),
    "title": _times(3),
    "capitalize": _times(3),
    "trim": _same,
    "replace": _replace,
    "truncate": _truncate,
    "e": _times(_ESCAPE_GROWTH),
    "escape": _times(_ESCAPE_GROWTH),
    "urlencode": _times(12),  # four bytes of three characters
    "string": _same,
    "length": _number,
    "count": _number,
    "int": _number,
    "float": _number,
    "round": _round,
}

_OPERATORS: dict[type[nodes.Node], str] = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
    nodes.Pow: "**",
    nodes.Neg: "-",
    nodes.Pos: "+",
}
_CONSTRUCTS: dict[type[nodes.Node], str] = {
    nodes.For: "a loop ({% for %})",
    nodes.Macro: "a macro ({% macro %})",
    nodes.CallBlock: "a call block ({% call %})",
    nodes.FilterBlock: "a filter block ({% filter %})",
    nodes.AssignBlock: "a block assignment ({% set %}...{% endset %})",
    nodes.Assign: "assigning to anything but one name",
    nodes.With: "{% with %}",
    nodes.Block: "a block ({% block %})",
    nodes.Extends: "{% extends %}",
    nodes.Include: "{% include %}",
    nodes.Import: "{% import %}",
    nodes.FromImport: "{% from ... import %}",
    nodes.Scope: "{% autoescape %}",
    nodes.Getitem: "a subscript such as x[0]",
    nodes.Dict: "a dictionary",
    nodes.List: "a list (except after `in`)",
    nodes.Tuple: "a list (except after `in`)",
}


class Inspector:
    """One walk over one template; any refusal is a BadTemplate with the construct and its line.

    `fields` are the names that the template reads before it has set them itself. `work` is the sum of the
    sizes of all values it can produce.
    """

    def __init__(self, name: str, environment: Environment, *, html: bool) -> None:
        self.fields: set[str] = set()
        self.work = Size()
        self._name = name
        self._environment = environment
        self._html = html
        self._line = 1
        self._nodes = 0
        self._sizes: dict[str, Size] = {}  # of the variables set so far
        self._certain: set[str] = set()  # of these, the ones set on every path to here

    def body(self, statements: Iterable[nodes.Node], depth: int = 0) -> None:
        """Inspect a run of statements."""
        for node in statements:
            self._enter(node, depth)
            match node:
                case nodes.Output():
                    self._output(node)
                case nodes.If():
                    self._if(node, depth + 1)
                case nodes.Assign(target=nodes.Name(name=name)):
                    self._assign(node, name)
                case _:
                    raise self._refusal(_describe(node))

    def _output(self, output: nodes.Output) -> None:
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                self._count(Size(chars=len(node.data)))
            else:
                size = self._expression(node, 0)
                self._count(size * _ESCAPE_GROWTH if self._html else size)

    def _if(self, node: nodes.If, depth: int) -> None:
        before = set(self._certain)
        self._expression(node.test, 0)
        self.body(node.body, depth)
        on_every_path = self._certain
        for branch in node.elif_:
            self._certain = set(before)
            self._expression(branch.test, 0)
            self.body(branch.body, depth)
            on_every_path = on_every_path & self._certain
        self._certain = set(before)
        self.body(node.else_, depth)
        self._certain &= on_every_path

    def _assign(self, node: nodes.Assign, name: str) -> None:
        self._check_name(name)
        size = self._expression(node.node, 0)
        self._sizes[name] = self._sizes.get(name, Size()) | size
        self._certain.add(name)

    def _expression(self, node: nodes.Node, depth: int) -> Size:
        """The size of an expression's value. What evaluating it touches is added to `work`."""
        self._enter(node, depth)
        size = self._value(node, depth + 1)
        self._count(size)
        return size

    def _value(self, node: nodes.Node, depth: int) -> Size:
        match node:
            case nodes.Const(value=value):
                return self._constant(value)
            case nodes.Neg(node=nodes.Const(value=int() | float())):
                return _NUMBER
            case nodes.Name(name=name):
                return self._variable(name)
            case nodes.Concat(nodes=parts):
                size = sum((self._expression(part, depth) for part in parts), Size())
                return size * _ESCAPE_GROWTH if self._html else size  # the rest is escaped
            case nodes.And() | nodes.Or():
                return self._expression(node.left, depth) | self._expression(node.right, depth)
            case nodes.Not():
                self._expression(node.node, depth)
                return _NUMBER
            case nodes.CondExpr(expr2=nodes.Expr() as otherwise):
                self._expression(node.test, depth)
                return self._expression(node.expr1, depth) | self._expression(otherwise, depth)
            case nodes.Compare():
                return self._compare(node, depth)
            case nodes.Test():
                return self._test(node, depth)
            case nodes.Filter(node=nodes.Expr() as subject):
                return self._filter(node, subject, depth)
        raise self._refusal(_describe(node))

    def _constant(self, value: object) -> Size:
        if isinstance(value, str):
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise self._refusal("half of a surrogate pair is")
            return Size(chars=len(value))
        return _NUMBER + Size(chars=len(str(value)))

    def _variable(self, name: str) -> Size:
        self._check_name(name)
        if name in self._certain:
            return self._sizes[name]
        self.fields.add(name)
        return Size(uses=1) | self._sizes.get(name, Size())

    def _compare(self, node: nodes.Compare, depth: int) -> Size:
        self._expression(node.expr, depth)
        for operand in node.ops:
            self._operand(operand.op, operand.expr, depth)
        return _NUMBER

    def _test(self, node: nodes.Test, depth: int) -> Size:
        if node.name not in TESTS:
            raise self._refusal(f"the test {node.name!r} is")
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise self._refusal("a named or starred argument of a test is")
        if len(node.args) != TESTS[node.name]:
            raise self._refusal(f"this number of arguments of the test {node.name!r} is")
        self._expression(node.node, depth)
        for argument in node.args:
            self._operand(node.name, argument, depth)
        return _NUMBER

    def _operand(self, operator: str, node: nodes.Node, depth: int) -> None:
        if operator in ("in", "notin") and isinstance(node, _LISTS):
            for item in node.items:
                self._expression(item, depth)
        else:
            self._expression(node, depth)

    def _filter(self, node: nodes.Filter, subject: nodes.Expr, depth: int) -> Size:
        growth = FILTERS.get(node.name)
        if growth is None:
            raise self._refusal(f"the filter {node.name!r} is")
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise self._refusal("a starred argument is")
        size = self._expression(subject, depth)
        arguments = [*node.args, *(keyword.value for keyword in node.kwargs)]
        if node.name in ("default", "d"):
            for argument in arguments:
                size |= self._expression(argument, depth)
            return size
        constants: list[object] = []
        for argument in arguments:
            if not isinstance(argument, nodes.Const):
                raise self._refusal(
                    f"an argument of the filter {node.name!r} that is not a plain text or number is"
                )
            self._constant(argument.value)
            constants.append(argument.value)
        grown = growth(size, constants)
        if grown is None:
            raise self._refusal(f"this argument of the filter {node.name!r} is")
        self._count(grown)
        self._try_filter(node, constants)
        return grown

    def _try_filter(self, node: nodes.Filter, constants: list[object]) -> None:
        """Call it on a sample, now that its arguments are known to be harmless."""
        positional = constants[: len(node.args)]
        keys = [str(keyword.key) for keyword in node.kwargs]
        named = dict(zip(keys, constants[len(node.args) :], strict=True))
        sample = 1.5 if node.name == "round" else "a sample that is long enough to be cut by any truncation"
        context = nodes.EvalContext(self._environment)
        try:
            self._environment.call_filter(node.name, sample, positional, named, eval_ctx=context)
        except Exception:
            raise self._refusal(f"this set of arguments of the filter {node.name!r} is") from None

    def _check_name(self, name: str) -> None:
        if name.startswith("_") or name in _RESERVED:
            raise self._refusal(f"the name {name!r} is")

    def _enter(self, node: nodes.Node, depth: int) -> None:
        inside = (child.lineno for child in node.iter_child_nodes() if child.lineno)
        self._line = node.lineno or next(inside, self._line)
        self._nodes += 1
        if self._nodes > _NODES_LIMIT:
            raise self._refusal(f"more than {_NODES_LIMIT:,} fields, tags and operators is")
        if depth > _DEPTH_LIMIT:
            raise self._refusal("nesting this deep is")

    def _count(self, size: Size) -> None:
        self.work += size
        if self.work.chars > _CHARS_LIMIT or self.work.uses > _USES_LIMIT:
            raise self._refusal("text that multiplies like this is")

    def _refusal(self, what: str) -> BadTemplate:
        return BadTemplate.at(f"{self._name} line {self._line}", f"{what} not allowed in a message")


def _describe(node: nodes.Node) -> str:
    """What a refused node is called by the people who write templates."""
    for kind, operator in _OPERATORS.items():
        if isinstance(node, kind):
            return f"arithmetic (`{operator}`) is"
    for construct, words in _CONSTRUCTS.items():
        if isinstance(node, construct):
            return f"{words} is"
    match node:
        case nodes.Call(node=nodes.Name(name=called) | nodes.Getattr(attr=called)):
            return f"calling {called}() is"
        case nodes.Call():
            return "calling a function is"
        case nodes.Getattr(attr=attribute):
            return f"the attribute {attribute!r} is"
        case nodes.CondExpr():
            return "an `if` without `else` inside {{ }} is"
    return f"this construct ({type(node).__name__}) is"
