"""The protocol by hand: rpc call|discover."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from hubctl import render_methods
from hubctl.answer import print_result
from hubctl.app import App, Json, encode
from hubctl.command import Nouns, command
from hubctl.exits import Exit, Refused
from hubd.errors import HubError, did_you_mean
from hubd.wire import MAX_MESSAGE
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import hub_results as r


@click.group("rpc", cls=Nouns)
def rpc() -> None:
    """Use the protocol directly: call a method, or list the methods.

    Example: hubctl rpc call campaign.get '{"name": "spring-sale"}'
    """


@command("call", within=rpc, example="""hubctl rpc call campaign.get '{"name": "spring-sale"}'""")
@click.argument("method")
@click.argument("params", required=False, metavar="[JSON]")
def call(app: App, method: str, params: str | None) -> None:
    """Call a method of the daemon and print its result as JSON, without asking first.

    JSON is an object with the parameters by name, or - to read it from standard input.
    """
    given = _object(_read_stdin() if params == "-" else params or "{}")

    async def work(hub: Client) -> Json:
        try:
            return await hub.call(method, **given)
        except HubError as error:
            if error.code != "method_not_found":
                raise
            known = [str(each["name"]) for each in (await hub.call(m.RPC_DISCOVER))["methods"]]
            raise _unknown(method, known) from None

    found = app.talk(work)
    if not print_result(app, {"method": method, "result": found}):
        app.out(encode(found, indent=2) if _utf8() else json.dumps(found, indent=2))


def _unknown(method: str, known: Iterable[str]) -> Refused:
    return Refused(
        f"there is no method {method!r}{did_you_mean(method, known)}",
        code="method_not_found",
        status=Exit.MISSING,
        hint="hubctl rpc discover lists them",
    )


def _read_stdin() -> str:
    data = sys.stdin.buffer.read(MAX_MESSAGE + 1)
    if len(data) > MAX_MESSAGE:
        raise click.UsageError(f"JSON: more than {MAX_MESSAGE:,} bytes, the most that hubd accepts")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError("JSON: it is not UTF-8 text") from None


def _object(text: str) -> Json:
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)
    except json.JSONDecodeError as error:
        raise click.UsageError(f"JSON: line {error.lineno} column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError):  # NaN, a number of thousands of digits, brackets without end
        raise click.UsageError("JSON: it cannot be read") from None
    if not isinstance(found, dict):
        raise click.UsageError('JSON: give the parameters by name, such as {"name": "spring-sale"}')
    return found


def _utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


@command("discover", within=rpc, example="hubctl rpc discover campaign.start")
@click.argument("method", required=False)
def discover(app: App, method: str | None) -> None:
    """List all methods, or show one with its parameters, their types and an example.

    With --json, in OpenRPC format; for METHOD, only the parts it refers to. For the whole document alone, for
    tools: hubctl rpc call rpc.discover
    """
    document = app.call(m.RPC_DISCOVER)
    found = document if method is None else _only(document, method)
    if print_result(app, found, rows="methods", columns=("name", "summary", "params", "result")):
        return
    if method is not None:
        app.out(render_methods.method(found["methods"][0], found["components"], width=app.width()))
    else:
        app.out(render_methods.methods(found["methods"], colour=app.coloured(), width=app.width()))
        app.note("for one method with an example: hubctl rpc discover METHOD")


def _only(document: r.OpenRpc, name: str) -> r.OpenRpc:
    """The document of one method with what it refers to. Raises Refused when there is no such method."""
    methods = {str(each["name"]): each for each in document["methods"]}
    if name not in methods:
        raise _unknown(name, methods)
    return {
        **document,
        "methods": [methods[name]],
        "components": {**render_methods.referred(methods[name], document["components"])},
        "x-errors": [],
        "x-notifications": [],
    }
