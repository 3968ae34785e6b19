"""Methods of the protocol as text for people, from the daemon's OpenRPC document. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hubctl.layout import facts, one_line, printable, sentences, wrapped
from hubctl.render import View

_REF = re.compile(r"#/components/(\w+)/(\w+)")
_DEEPEST = 1  #: levels of objects whose fields are shown


def methods(listed: Sequence[View], *, colour: bool = False, width: int = 10_000) -> str:
    """Every method with its parameters; those that may be left out are in brackets."""
    rows = [(each["name"], f"{each.get('summary', '')} ({_names(each['params'])})") for each in listed]
    return sentences(("METHOD", "WHAT IT DOES (PARAMETERS)"), rows, colour=colour, width=width)


def _names(params: Sequence[View]) -> str:
    named = [each["name"] if each.get("required") else f"[{each['name']}]" for each in params]
    return " ".join(named) or "no parameters"


def method(found: View, components: View, *, width: int = 10_000) -> str:
    """One method: what it does, who may call it, its parameters, its result, its errors, and an example."""
    said = f"{found.get('summary', '')} {found.get('description', '')}"
    role = "viewers, too" if found.get("x-role") == "viewer" else "operators only"
    blocks = [
        found["name"],
        wrapped(f"  {printable(said).strip()}", width, hanging="  "),
        facts(
            [
                ("who may", f"{role}; it changes {'something' if found.get('x-mutates') else 'nothing'}"),
                ("result", kind(found["result"]["schema"], components)),
                ("errors", ", ".join(sorted(_errors(found)))),
            ],
            width=width,
        ),
    ]
    params = [(each["name"], _parameter(each, components)) for each in found["params"]]
    blocks.append("parameters:\n" + facts(params, width=width) if params else "no parameters")
    blocks += [_example(found["name"], each, width) for each in (found.get("examples") or ())[:1]]
    return "\n\n".join([f"{blocks[0]}\n{blocks[1]}", *blocks[2:]])


def _parameter(param: View, components: View) -> str:
    schema = param["schema"]
    told = kind(schema, components)
    if param.get("required"):
        return f"{told}, required"
    default = schema.get("default")
    return (
        told if default in (None, "", [], {}) else f"{told}, else {json.dumps(default, ensure_ascii=False)}"
    )


def _errors(found: View) -> list[str]:
    return [match[2] for each in found.get("errors") or () if (match := _REF.fullmatch(each.get("$ref", "")))]


def _example(name: str, example: View, width: int) -> str:
    given = {each["name"]: each["value"] for each in example["params"]}
    params = json.dumps(given, ensure_ascii=False)
    quoted = params.replace("'", "'\\''")
    typed = f"  hubctl rpc call {name}" + (f" '{printable(quoted)}'" if given else "")
    answer = json.dumps(example["result"]["value"], ensure_ascii=False)
    return "\n".join(
        [
            f"example: {one_line(example['name'])}",
            wrapped(typed, width, hanging="    "),
            wrapped(f"  {printable(answer)}", width, hanging="    "),
        ]
    )


def kind(schema: View, components: View, depth: int = 0) -> str:
    """A JSON schema as a short word: "text", "whole number", "list of text", "{name: text, ...}"."""
    if match := _REF.fullmatch(schema.get("$ref", "")):
        schema = components.get(match[1], {}).get(match[2], {})
    if "enum" in schema:
        return " | ".join(str(each) for each in schema["enum"])
    if "anyOf" in schema:
        kinds = [kind(each, components, depth) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds)) or "nothing"
    match schema.get("type"):
        case "array":
            return f"list of {kind(schema.get('items') or {}, components, depth)}"
        case "object":
            return _object(schema, components, depth)
        case told:
            return _WORDS.get(str(told), "anything")


_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "nothing",
}


def _object(schema: View, components: View, depth: int) -> str:
    inner = schema.get("properties") or {}
    if not inner:
        return "object"
    if depth >= _DEEPEST:
        return "{...}"
    fields = (f"{name}: {kind(each, components, depth + 1)}" for name, each in inner.items())
    return "{" + ", ".join(fields) + "}"


def referred(found: object, components: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those components that something refers to, and what they refer to."""
    wanted: dict[str, dict[str, Any]] = {group: {} for group in components}
    look = [found]
    while look:
        for group, name in _REF.findall(json.dumps(look.pop())):
            there = components.get(group, {})
            if name in there and name not in wanted[group]:
                wanted[group][name] = there[name]
                look.append(there[name])
    return wanted
