"""Writes the reference pages from what the code declares, so that they cannot differ from it.

Sphinx calls `write` before it reads the pages (see conf.py); the pages are not kept in the repository.
Each function below returns one page as Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hubctl.campaign_file import FILE_KEYS
from hubctl.cli import COMMANDS, hubctl
from hubctl.command import Command, common_options
from hubctl.commands.help import TOPICS
from hubctl.new_file import new_campaign
from hubd import __version__
from hubd.__main__ import option_parser
from hubd.config.reference import PLACES, Key, declared, sections
from hubd.control.discovery import describe
from hubd.control.methods import METHODS
from hubd.core.spec import CampaignSpec, Retry, Schedule
from hubd.core.template_spec import TemplateSpec

Json = Mapping[str, Any]


def write(folder: Path) -> None:
    """Write every page into `folder`. A page that says the same keeps its time, so that it is not rebuilt."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", page().rstrip() + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# -- commands ----------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command of hubctl and the options of hubd."""
    context = click.Context(hubctl, info_name="hubctl")
    lines = ["# Commands", "", "## hubctl", "", *_help(hubctl), "### Options of every command", ""]
    lines += _options(common_options(), context)
    for topic, (_, text) in TOPICS.items():
        if isinstance(text, str):
            lines += [f"### {topic.replace('-', ' ').capitalize()}", "", "```text", text, "```", ""]
    for name in COMMANDS:
        command = hubctl.get_command(context, name)
        assert command is not None
        lines += _command(command, click.Context(command, info_name=name, parent=context))
    lines += ["## hubd", "", f"{option_parser().description}", ""]
    lines += ["```text", option_parser().format_help().rstrip(), "```"]
    return "\n".join(lines)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from (f"## {context.command_path}", "", *_help(command))
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("```text", f"{context.command_path} {usage}", "```", "")
    if isinstance(command, Command):
        shared = {id(each) for each in command.shared}
        yield from _options([each for each in command.params if id(each) not in shared], context)
        if command.example:
            yield from ("```sh", command.example, "```", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, info_name=name, parent=context))


def _help(command: click.Command) -> Iterator[str]:
    """The help text by paragraphs; click does not wrap those that begin with a backspace."""
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield from ("```text", paragraph.removeprefix("\b\n"), "```", "")
        else:
            yield from (_plain(paragraph), "")


def _options(params: Sequence[click.Parameter], context: click.Context) -> Iterator[str]:
    records = [each.get_help_record(context) for each in params if isinstance(each, click.Option)]
    rows = [(_code(record[0]), _plain(record[1])) for record in records if record is not None]
    yield from _table(("option", "what it does"), rows)


# -- keys of files -----------------------------------------------------------------------------------------


def campaign_file() -> str:
    """The keys of a campaign file."""
    files = [Key(key, "file name", "", text) for key, text in FILE_KEYS.items()]
    lines = [
        "# Campaign files",
        "",
        "A campaign is a TOML file that `hubctl apply` reads. Unknown keys are errors. File names are "
        "relative to the campaign file and may not leave its folder. A *template* is Jinja2 text: each "
        "column of the contact list is a field, and a missing field is an error unless the template gives a "
        "default.",
        "",
        *_keys([*declared(CampaignSpec), *files]),
    ]
    for name, table in (("retry", Retry), ("schedule", Schedule)):
        lines += [f"## [{name}]", "", table.__doc__ or "", "", *_keys(declared(table))]
    lines += ["## An example of each key", "", "`hubctl new spring-sale` writes this file; `--template` and "]
    lines += ["`--channel sms` write others.", "", "```toml", new_campaign("spring-sale", "email", ""), "```"]
    about = "`hubctl template apply` reads these; [templates](../templates.md) says how campaigns use them."
    lines += ["## Template files", "", about, "", *_keys([*declared(TemplateSpec), *files])]
    return "\n".join(lines)


def hubd_toml() -> str:
    """The keys of hubd.toml."""
    lines = [
        "# hubd.toml",
        "",
        "hubd reads `$XDG_CONFIG_HOME/messagehub/hubd.toml`, or the file that `--config` or `$HUBD_CONFIG` "
        "names; none is fine. `hubctl daemon reload` checks the whole file, then applies it or keeps the old "
        "configuration and says why. Unknown keys are errors.",
        "",
        "The file never contains a secret. It says where the secret is:",
        "",
        *_table(
            ("secret", "where it is"),
            [(_code(f'{{ {each} = "NAME" }}'), about) for each, about in PLACES.items()],
        ),
    ]
    for section in sections():
        lines += [f"## {section.title}", "", *([section.about, ""] if section.about else [])]
        lines += _keys(section.keys)
    return "\n".join(lines)


def _keys(keys: Iterable[Key]) -> Iterator[str]:
    rows = [(_code(name), kind, default, text) for name, kind, default, text in keys]
    return _table(("key", "type", "default", "what it does"), rows)


# -- the protocol ------------------------------------------------------------------------------------------


def methods() -> str:
    """Every method of the protocol, and the objects that they return."""
    document: Any = describe(METHODS, __version__)
    lines = [
        "# Methods",
        "",
        "Pass parameters by name or, in this order, by position. The [protocol](../protocol.md) page says "
        "how to connect; `hubctl rpc discover` prints what is here as an OpenRPC document.",
        "",
    ]
    for method in document["methods"]:
        role = "operators and viewers" if method["x-role"] == "viewer" else "operators"
        effect = "Changes something" if method["x-mutates"] else "Changes nothing"
        lines += [f"## {method['name']}", "", _plain(method["summary"]), ""]
        lines += [_plain(method.get("description", "")), "", f"{effect}; for {role}.", ""]
        rows = [
            (_code(each["name"]), _type(each["schema"]), _required(each["required"], each["schema"]))
            for each in method["params"]
        ]
        lines += _table(("parameter", "type", "default"), rows)
        errors = ", ".join(_error_link(each["$ref"].rpartition("/")[2]) for each in method["errors"])
        lines += [f"Returns {_type(method['result']['schema'])}. Errors: {errors}.", ""]
        lines += _example(method)
    lines += ["## Objects", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", "", *_object(schema)]
    return "\n".join(lines)


def events() -> str:
    """Every type of event."""
    document: Any = describe(METHODS, __version__)
    kinds = document["x-notifications"][0]["types"]
    lines = [
        "# Events",
        "",
        "What a subscription sends; [Events](../protocol.md#events) says how to follow them without a gap. A "
        "durable event has a number and is kept; a live figure has none.",
        "",
    ]
    for name, kind in kinds.items():
        data = document["components"]["schemas"][kind["data"]["$ref"].rpartition("/")[2]]
        durable = "Durable." if kind["durable"] else "A live figure."
        more = data.get("description", "").removeprefix(kind["summary"])
        lines += [f"## {name}", "", f"{_plain(kind['summary'])} {_plain(more)}".strip(), "", durable, ""]
        lines += _fields(data)
    return "\n".join(lines)


def errors() -> str:
    """Every error of the protocol."""
    document: Any = describe(METHODS, __version__)
    lines = [
        "# Errors",
        "",
        "`error.data.code` is the stable word; `error.code` is a number, which several words may share. "
        "[Errors](../protocol.md#errors) says what to do about each.",
        "",
    ]
    rows = [
        (
            str(error["code"]),
            _code(word),
            _plain(error["message"]),
            _plain(error["data"]["hint"]),
            "yes" if error["data"]["retryable"] else "no",
        )
        for word, error in document["components"]["errors"].items()
    ]
    lines += _table(("code", "word", "meaning", "hint", "may succeed later"), rows)
    return "\n".join(lines)


def _error_link(word: str) -> str:
    return f"[`{word}`](errors.md)"


def _object(schema: Json) -> Iterator[str]:
    if schema.get("description"):
        yield from (_plain(schema["description"]), "")
    yield from _fields(schema)


def _fields(schema: Json) -> Iterator[str]:
    required = schema.get("required", ())
    rows = [
        (_code(name), _type(each) if name in required else f"{_type(each)}; may be absent")
        for name, each in schema.get("properties", {}).items()
    ]
    yield from _table(("field", "type"), rows)


def _required(required: bool, schema: Json) -> str:
    return "required" if required else _code(json.dumps(schema.get("default")))


def _type(schema: Json) -> str:
    """A JSON schema in a few words."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return f"[{name}](methods.md#{name.lower()})"
        case {"anyOf": list(kinds)}:
            return " or ".join(dict.fromkeys(_type(each) for each in kinds))
        case {"enum": list(words)}:
            return " ".join(_code(json.dumps(word)) for word in words)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type(values)}"
        case {"type": list(kinds)}:
            return " or ".join(str(kind) for kind in kinds)
        case {"type": str(kind)}:
            return kind
    return "any"


def _example(method: Json) -> Iterator[str]:
    """The first example that the description has, as a request and its result."""
    for example in method["examples"][:1]:
        params = {each["name"]: each["value"] for each in example["params"]}
        request = {"jsonrpc": "2.0", "id": 1, "method": method["name"], "params": params}
        yield from ("```json", json.dumps(request, ensure_ascii=False), "```", "")
        result = {"jsonrpc": "2.0", "id": 1, "result": example["result"]["value"]}
        yield from ("```json", json.dumps(result, ensure_ascii=False, indent=1), "```", "")


# -- Markdown ----------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table, and nothing when it would have no rows."""
    if rows:
        yield from (_row(head), _row(["---"] * len(head)), *map(_row, rows), "")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`"


def _plain(text: str) -> str:
    """Text of a docstring or a help page, in which nothing but backticks is Markdown."""
    joined = " ".join(text.split())
    parts = joined.split("`")
    return "`".join(part if at % 2 else _escaped(part) for at, part in enumerate(parts))


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "*_<>[]{}#$" else char for char in text)


PAGES: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "campaign-file": campaign_file,
    "hubd-toml": hubd_toml,
    "methods": methods,
    "events": events,
    "errors": errors,
}
