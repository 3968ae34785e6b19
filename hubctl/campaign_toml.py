"""A campaign as the file that it could be applied from. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hubctl.layout import number

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def campaign_toml(spec: Mapping[str, Any]) -> str:
    """The campaign file, in the order of its keys. What is empty is left out.

    The daemon does not give files back, so attachments are named, and a comment says which files these are.
    """
    plain = {key: value for key, value in spec.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in spec.items() if isinstance(value, Mapping)}
    lines = [line for key, value in plain.items() for line in _lines(key, value)]
    for name, table in tables.items():
        if inside := [line for key, value in table.items() for line in _lines(key, value)]:
            lines += ["", f"[{_key(name)}]", *inside]
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any) -> Iterator[str]:
    if value in ("", None) or value == [] or value == {}:
        return
    if isinstance(value, list) and isinstance(value[0], Mapping):
        yield f"# Put these files beside this one before you apply it ({key}):"
        yield from (f"#   {_file(each)}" for each in value)
        value = [each["name"] for each in value]
    yield f"{_key(key)} = {_value(value)}"


def _file(described: Mapping[str, Any]) -> str:
    name = _string(str(described["name"]))
    return f"{name}, {number(int(described['size']))} bytes, SHA-256 {described['sha256']}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value) if "\n" in value else _string(value)
        case Mapping():
            return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())} }}"
        case Sequence():
            return f"[{', '.join(map(_value, value))}]"
    return str(value)


def _string(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _text(text: str) -> str:
    """Over several lines. Three quotes in a row, or one at the end, would close it too early."""
    lines = ["".join(char if char == '"' else _escaped(char) for char in line) for line in text.split("\n")]
    whole = "\n".join(lines).replace('"""', '""\\"')
    if whole.endswith('"'):
        whole = whole[:-1] + '\\"'
    return f'"""\n{whole}"""'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    return f"\\u{ord(char):04X}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08X}"
