"""Template inheritance: `{% extends "layout" %}` and `{% block NAME %}`, resolved before compilation.

What comes out is one template without either, which is what a campaign keeps: rendering knows nothing of
inheritance, and a layout that changes later changes nothing that was sent. The meaning is that of Jinja2
(https://jinja.palletsprojects.com/templates/#template-inheritance), but what Jinja2 would drop in silence is
refused: text outside of the blocks of a template that extends another one, and a block that this one lacks.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jinja2 import Environment, TemplateSyntaxError

from hubd.core.template import SOURCE_LIMIT, WHITESPACE, check_size
from hubd.errors import BadTemplate, did_you_mean

_LEXER = Environment(**WHITESPACE)  # noqa: S701 - it only splits texts into tokens
_LONGEST_CHAIN = 10  #: templates that extend each other
_MOST_BLOCKS = 50_000  #: blocks that are put in place, as often as they are


class Source(NamedTuple):
    """One part of a template, such as its HTML: the text, and how errors speak of it."""

    name: str
    text: str


class _Super(NamedTuple):
    """`{{ super() }}`: what the block says in the template that is extended."""

    line: int


class _Text(NamedTuple):
    text: str
    line: int


@dataclass(slots=True)
class _Block:
    name: str
    line: int
    parts: list[_Text | _Super | _Block] = field(default_factory=list)


class _Parsed(NamedTuple):
    name: str
    extends: str  #: "" for none
    parts: list[_Text | _Super | _Block]
    blocks: dict[str, _Block]


@dataclass(frozen=True, slots=True)
class Flat:
    """One template made of several. `origin` tells where a line of it was written."""

    text: str
    _spans: Sequence[tuple[int, str, int]]  #: the line where a piece begins, whose it is, and its line there

    def origin(self, line: int) -> tuple[str, int]:
        """The source that a line comes from, and its number there."""
        at, name, first = next((span for span in reversed(self._spans) if span[0] <= line), (1, "", 1))
        return name, first + line - at


def extended(source: Source) -> str:
    """The template that this one extends, as it is named there; "" for none. Raises BadTemplate."""
    return _parse(source).extends


def flatten(source: Source, base: Callable[[str], Source]) -> Flat:
    """The template with all that it extends. `base` gives the source with a name, and may raise.

    Raises BadTemplate for what cannot be read, and for templates that do not fit together.
    """
    chain = [_parse(source)]
    if not chain[0].extends and not chain[0].blocks:
        return Flat(source.text, [(1, source.name, 1)])
    while chain[-1].extends:
        if len(chain) == _LONGEST_CHAIN:
            raise BadTemplate.at(source.name, f"extends more than {_LONGEST_CHAIN - 1} templates, or itself")
        chain.append(_parse(base(chain[-1].extends)))
    for at, child in enumerate(chain[:-1], start=1):
        _check_child(child, known={name for parent in chain[at:] for name in parent.blocks})
    try:
        return _joined(_Merge(chain).run())
    except RecursionError:
        raise BadTemplate.at(source.name, "is nested too deeply") from None


def _joined(pieces: Iterator[tuple[str, _Text]]) -> Flat:
    texts: list[str] = []
    spans: list[tuple[int, str, int]] = []
    line, size = 1, 0
    for name, piece in pieces:
        spans.append((line, name, piece.line))
        texts.append(piece.text)
        line += piece.text.count("\n")
        size += len(piece.text)
        if size > SOURCE_LIMIT:
            raise BadTemplate.at(
                name, f"is longer than {SOURCE_LIMIT // 1024} Ki characters with all it extends"
            )
    return Flat("".join(texts), spans)


class _Merge:
    """The last template of a chain, with its blocks replaced by those of the templates that extend it."""

    def __init__(self, chain: Sequence[_Parsed]) -> None:
        self._chain = chain
        self._open: set[tuple[str, int]] = set()
        self._placed = 0

    def run(self) -> Iterator[tuple[str, _Text]]:
        root = len(self._chain) - 1
        yield from self._parts(self._chain[root].parts, "", root)

    def _parts(
        self, parts: Sequence[_Text | _Super | _Block], block: str, level: int
    ) -> Iterator[tuple[str, _Text]]:
        name = self._chain[level].name
        for part in parts:
            match part:
                case _Text():
                    yield name, part
                case _Block():
                    yield from self._block(part.name, 0, part.line)
                case _Super(line):
                    if not block:
                        raise BadTemplate.at(f"{name} line {line}", "super() belongs in a block")
                    yield from self._block(block, level + 1, line)

    def _block(self, block: str, level: int, line: int) -> Iterator[tuple[str, _Text]]:
        """What a block says in the first template, from `level` on, that has it."""
        found = next((at for at in range(level, len(self._chain)) if block in self._chain[at].blocks), None)
        if found is None:
            name = self._chain[level - 1].name
            raise BadTemplate.at(f"{name} line {line}", f"nothing that it extends has a block {block!r}")
        if (block, found) in self._open:
            raise BadTemplate.at(
                f"{self._chain[found].name} line {line}", f"the block {block!r} is inside itself"
            )
        self._placed += 1
        if self._placed > _MOST_BLOCKS:
            name = self._chain[0].name
            raise BadTemplate.at(name, "has too many blocks, or super() too often, with all it extends")
        self._open.add((block, found))
        yield from self._parts(self._chain[found].blocks[block].parts, block, found)
        self._open.remove((block, found))


def _check_child(child: _Parsed, *, known: set[str]) -> None:
    for part in child.parts:
        match part:
            case _Block(name=name, line=line) if name not in known:
                problem = f"{child.extends} has no block {name!r}{did_you_mean(name, known)}"
                raise BadTemplate.at(f"{child.name} line {line}", problem)
            case _Text(text=text, line=line) if not text.isspace():
                blank = len(text) - len(text.lstrip())
                raise BadTemplate.at(
                    f"{child.name} line {line + text.count(chr(10), 0, blank)}",
                    f"is outside a block, so {child.extends} has no place for it",
                    hint="put it between {% block NAME %} and {% endblock %}",
                )


def _parse(source: Source) -> _Parsed:
    check_size(source.text, source.name)
    try:
        return _Reader(source).read()
    except TemplateSyntaxError as error:
        raise BadTemplate.at(
            f"{source.name} line {error.lineno}", error.message or "cannot be read"
        ) from None


#: How a tag is written where the white space around it has been trimmed, and must not be once more. The lines
#: that it took stand in it, so that they can still be counted.
_TRIMMED = {
    "block_begin": "{{%+{lines}",
    "block_end": "{lines}+%}}",
    "variable_begin": "{{{{{lines}",
    "variable_end": "{lines}}}}}",
    "raw_begin": "{{%+ raw{lines} %}}",
    "raw_end": "{{%+ endraw{lines} +%}}",
}


class _Reader:
    """Takes a template apart at its blocks, and leaves its comments out."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._extends = ""
        self._blocks: dict[str, _Block] = {}
        self._stack: list[_Block] = [_Block("", 1)]
        self._begun = False  # whether there was anything but comments
        self._run: list[str] = []  # texts that follow each other ...
        self._run_begins = self._run_ends = 1  # ... from this line to that one

    def read(self) -> _Parsed:
        tag: list[tuple[str, str]] = []
        begun = 1
        for line, kind, text in _LEXER.lex(self._source.text):
            if kind in _TRIMMED:
                text = _TRIMMED[kind].format(lines="\n" * text.count("\n"))
            if kind in ("block_begin", "variable_begin"):
                tag, begun = [(kind, text)], line
            elif tag:
                tag.append((kind, text))
                if kind in ("block_end", "variable_end"):
                    self._tag(tag, begun)
                    tag = []
            elif not kind.startswith("comment"):
                self._begun = self._begun or not text.isspace()
                self._text(text, line)
        self._end_run()
        if tag:
            raise self._fault("a tag is not closed", begun)
        if len(self._stack) > 1:
            raise self._fault(f"the block {self._stack[-1].name!r} is not closed", self._stack[-1].line)
        return _Parsed(self._source.name, self._extends, self._stack[0].parts, self._blocks)

    def _tag(self, tag: Sequence[tuple[str, str]], line: int) -> None:
        words = [(kind, text) for kind, text in tag[1:-1] if kind != "whitespace"]
        first = not self._begun
        self._begun = True
        match [tag[0][0], *(text for _, text in words)]:
            case ["block_begin", "block", name] if words[1][0] == "name":
                if name in self._blocks:
                    raise self._fault(f"has two blocks called {name!r}", line)
                block = self._blocks[name] = _Block(name, line)
                self._end_run()
                self._stack[-1].parts.append(block)
                self._stack.append(block)
            case ["block_begin", "endblock", *named] if len(self._stack) > 1 and named in (
                [],
                [self._stack[-1].name],
            ):
                self._end_run()
                self._stack.pop()
            case ["block_begin", "extends", _] if words[1][0] == "string":
                if not first:
                    raise self._fault("{% extends %} comes first, and only once", line)
                self._extends = self._string(words[1][1], line)
                self._run.clear()
            case ["block_begin", "block" | "endblock" | "extends" as word, *_]:
                raise self._fault(f"{{% {word} %}} cannot be written like this", line)
            case ["variable_begin", "super", "(", ")"]:
                self._end_run()
                self._stack[-1].parts.append(_Super(line))
            case _:
                self._text("".join(text for _, text in tag), line)

    def _string(self, literal: str, line: int) -> str:
        try:
            return str(ast.literal_eval(literal))
        except (ValueError, SyntaxError):
            raise self._fault("this text in quotes cannot be read", line) from None

    def _text(self, text: str, line: int) -> None:
        if self._run and self._run_ends != line:
            self._end_run()
        self._run_begins = self._run_begins if self._run else line
        self._run.append(text)
        self._run_ends = line + text.count("\n")

    def _end_run(self) -> None:
        """The texts since the last block, or since a line that is left out, are one piece."""
        if text := "".join(self._run):
            self._stack[-1].parts.append(_Text(text, self._run_begins))
        self._run.clear()

    def _fault(self, problem: str, line: int) -> BadTemplate:
        return BadTemplate.at(f"{self._source.name} line {line}", problem)
