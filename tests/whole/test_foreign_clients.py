"""Clients that know nothing of our packages: `ws` and `jayson` on Node, `websockets` and `jsonrpcclient`.

And what the documents show: their programs are run here as they are printed there.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonrpcclient
import jsonschema
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from websockets.sync.client import ClientConnection, unix_connect

from hubd.control.discovery import describe
from hubd.control.methods import METHODS
from tests.node_packages import node_modules
from tests.whole.conftest import ROOT, TIMEOUT, Hub, until

DOCS = ROOT / "docs"


@pytest.fixture
def served(hub: Hub) -> Hub:
    hub.boot()
    return hub


# -- written from rpc.discover alone -----------------------------------------------------------------------


class Discovered:
    """A client that knows JSON-RPC, and learns the rest from the document.

    Before a call it checks what it sends, after it what it got, against the document.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.heard: list[dict[str, Any]] = []  #: notifications
        self._socket = socket
        self._ids = itertools.count(1)
        self._methods: dict[str, Any] = {}
        self._raw("hub.hello", {"client": {"name": "discovered"}, "protocol": [1]})
        self._document = self._raw("rpc.discover", {})
        self._methods = {method["name"]: method for method in self._document["methods"]}
        (self._event,) = (each for each in self._document["x-notifications"] if each["name"] == "event")

    def example(self, method: str, number: int = 0) -> dict[str, Any]:
        """The parameters of an example."""
        return {each["name"]: each["value"] for each in self._methods[method]["examples"][number]["params"]}

    def call(self, method: str, **params: Any) -> Any:
        described = self._methods[method]
        known = {param["name"]: param for param in described["params"]}
        assert {name for name, param in known.items() if param["required"]} <= params.keys() <= known.keys()
        for name, value in params.items():
            self._check(value, known[name]["schema"])
        by_position = [params[param["name"]] for param in described["params"] if param["name"] in params]
        whole = list(known)[: len(by_position)] == list(params)
        result = self._raw(method, by_position if whole else params)
        self._check(result, described["result"]["schema"])
        return result

    def event(self) -> dict[str, Any]:
        """The next notification."""
        while not self.heard:
            self._take()
        return self._checked(self.heard.pop(0))

    def _checked(self, params: dict[str, Any]) -> dict[str, Any]:
        for param in self._event["params"]:
            self._check(params[param["name"]], param["schema"])
        self._check(params["data"], self._event["types"][params["type"]]["data"])
        return params

    def _check(self, value: Any, schema: dict[str, Any]) -> None:
        whole = {**schema, "components": self._document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)

    def _raw(self, method: str, params: Any) -> Any:
        number = next(self._ids)
        self._socket.send(jsonrpcclient.request_json(method, params=params, id=number))
        while True:
            answer = self._take()
            if answer is not None and answer.get("id") == number:
                parsed = jsonrpcclient.parse(answer)
                assert isinstance(parsed, jsonrpcclient.Ok), parsed
                return parsed.result

    def _take(self) -> dict[str, Any] | None:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=TIMEOUT))
        if message.get("method") == "event":
            self.heard.append(message["params"])
        return message if "id" in message else None


@pytest.fixture
def foreign(served: Hub) -> Iterator[Discovered]:
    socket = str(served.state / "control.sock")
    with unix_connect(
        socket, "ws://hubd.sock/rpc", subprotocols=["hub.jsonrpc.v1"], max_size=None
    ) as connection:  # words are subprotocols
        yield Discovered(connection)


def test_a_client_written_from_the_document_alone_runs_a_campaign(foreign: Discovered, served: Hub) -> None:
    """Imports, applies, starts, watches and pauses; every parameter is from an example of the document."""
    imported = foreign.call("contacts.import", **foreign.example("contacts.import"))
    assert imported["imported"] == 3
    applied = foreign.call("campaign.apply", **foreign.example("campaign.apply"))
    name = applied["campaign"]["name"]
    foreign.call("campaign.rate", name=name, rate="1/h")
    assert foreign.call("campaign.check", name=name)["ok"]
    opened = foreign.call("events.subscribe", topics=[f"campaign:{name}"])
    assert opened["snapshot"]["campaigns"][0]["state"] == "draft"
    assert foreign.call("campaign.start", name=name)["changed"]
    while True:
        event = foreign.event()
        if event["type"] == "campaign.progress" and event["data"]["campaign"]["counts"]["sent"] == 1:
            break
    assert foreign.call("campaign.pause", name=name)["campaign"]["state"] == "paused"
    while (event["type"], event["data"].get("to")) != ("campaign.state", "paused"):
        event = foreign.event()
    counts = foreign.call("campaign.get", name=name)["campaign"]["counts"]
    assert (counts["total"], counts["sent"], counts["pending"]) == (3, 1, 2)
    assert not foreign.call("campaign.pause", name=name)["changed"]
    assert len(list((served.state / "outbox").rglob("*.eml"))) == 1


# -- Node --------------------------------------------------------------------------------------------------


@contextmanager
def node(program: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = shutil.which("node")
    assert command is not None, "node is missing: tests/run installs the package nodejs"
    with subprocess.Popen(
        [command, str(program), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "NODE_PATH": str(node_modules())},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def apply_held(hub: Hub, n: int) -> None:
    hub.contacts(n)
    hub.apply("held", provider="outbox", rate="1/h")


def test_node_ws_watches_a_campaign_over_a_kill(served: Hub) -> None:
    """The program of docs/protocol.md: the daemon is killed under it, and it misses nothing."""
    apply_held(served, 3)
    program, socket = DOCS / "examples" / "watch.js", str(served.state / "control.sock")
    with node(program, socket, "held") as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        lines = iter(watching.stdout.readline, "")
        assert next(lines) == "held draft: 0 of 0 sent\n"
        served.hubctl("start", "held")
        seen = list(itertools.takewhile(lambda line: "1 of 3" not in line, lines))
        assert [line for line in seen if "->" in line] == ["3 draft -> running\n"]
        served.end(signal.SIGKILL)
        served.boot()
        served.hubctl("pause", "held")
        served.hubctl("stop", "held")
        rest = list(lines)
        assert watching.wait(TIMEOUT) == 0, watching.stderr.read()
    moves = [line.split(" ", 1)[1] for line in rest if "->" in line]
    assert moves == ["running -> paused\n", "paused -> stopped\n"]
    assert rest[-1] == "held stopped: 1 of 3 sent\n"


def test_jayson_speaks_through_a_socket_of_ws(served: Hub) -> None:
    program, socket = Path(__file__).parent / "jayson_client.js", str(served.state / "control.sock")
    with node(program, socket, "hub.status", "no.such") as asking:
        out, err = asking.communicate(timeout=TIMEOUT)
        assert asking.returncode == 0, err
    status, unknown, batch = map(json.loads, out.splitlines())
    assert status["result"]["campaigns"] == []
    assert unknown["error"]["code"] == -32601
    assert unknown["error"]["data"]["code"] == "method_not_found"
    assert [("result" in each, "error" in each) for each in batch] == [(True, False), (False, True)]


# -- the documents -----------------------------------------------------------------------------------------


def python(hub: Hub, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=ROOT,
        env={**os.environ, "HUBCTL_SOCKET": str(hub.state / "control.sock"), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_welcomes_a_customer_once(served: Hub) -> None:
    program = str(DOCS / "examples" / "welcome.py")
    socket = str(served.state / "control.sock")
    for _ in range(2):
        assert python(served, program, socket, "ann@example.com") == "queued as message 1\n"
    until(lambda: len(list((served.state / "outbox").rglob("*.eml"))) == 1, "the welcome")


def test_an_example_that_is_called_wrongly_says_how_it_is_called(hub: Hub) -> None:
    nowhere = str(hub.folder / "nowhere.sock")
    program = DOCS / "examples" / "watch.js"
    for arguments, words in (((), "usage: node watch.js SOCKET CAMPAIGN"), ((nowhere, "x"), f"{nowhere}: ")):
        with node(program, *arguments) as watching:
            _, told = watching.communicate(timeout=TIMEOUT)
            assert watching.returncode
            assert words in told
    done = subprocess.run(
        [sys.executable, DOCS / "examples" / "welcome.py"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "usage: python welcome.py SOCKET ADDRESS\n")


def blocks(name: str) -> list[str]:
    """The Python programs of a document."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(blocks("client.md"))))
def test_a_program_of_the_document_runs(served: Hub, number: int, tmp_path: Path) -> None:
    """Each by itself, on a hub with the customers and the campaign that the document speaks of."""
    served.contacts(3, "customers")
    served.apply("spring-sale", provider="outbox", lists=["customers"])
    program = tmp_path / "program.py"
    program.write_text(blocks("client.md")[number])
    printed = python(served, str(program))
    for line in re.findall(r"# prints (.*)$", program.read_text(), re.MULTILINE):
        assert line in printed


def test_the_protocol_document_names_every_error_and_event() -> None:
    text = (DOCS / "protocol.md").read_text()
    document = describe(METHODS, "")
    for word, each in document["components"]["errors"].items():  # type: ignore[attr-defined]  # any JSON
        assert re.search(rf"\| {each['code']} \| `{word}`", text), f"{each['code']} {word}"
    for kind in document["x-notifications"][0]["types"]:  # type: ignore[attr-defined]  # any JSON
        assert f"`{kind}`" in text, kind


def test_hubctl_prints_what_a_monitoring_system_reads(served: Hub) -> None:
    apply_held(served, 1)
    text = served.hubctl("metrics")
    assert text.endswith("\n# EOF\n")
    found = {family.name: family for family in text_string_to_metric_families(text)}
    (held,) = (s for s in found["messagehub_campaign_state"].samples if s.value == 1)
    assert held.labels == {"campaign": "held", "messagehub_campaign_state": "draft"}
    assert served.json("metrics")["text"].endswith("# EOF\n")
    assert "p0" not in text, "an address"
