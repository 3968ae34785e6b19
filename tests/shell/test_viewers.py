"""What a viewer sees: campaigns and figures, and nobody's address. The table says it, and rpc.discover."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.control.gate import serve_control
from hubd.control.methods import METHODS
from hubd.control.roles import Role
from hubd.errors import HubError
from tests.shell.open_hub import PERSONAL, Served, open_hub
from tests.shell.raw_client import open_raw

SPEC = PERSONAL
PEOPLE = [
    {"line": n, "values": {"email": f"{name}@example.com", "first_name": name.title()}}
    for n, name in enumerate(("ann", "bob", "cyd"), 2)
]


class Both:
    """A hub in which a campaign ran, seen by an operator and by a viewer."""

    def __init__(self, served: Served, operator: Client, viewer: Client, observe: Path) -> None:
        self.served = served
        self.operator = operator
        self.viewer = viewer
        self.observe = observe


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    observe = tmp_path / "d" / "observe.sock"
    control = tmp_path / "d" / "control.sock"
    async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
        endpoints = partial(serve_control, observe=observe, tcp=("127.0.0.1", 0))
        await nursery.start(endpoints, control, served.hub)
        async with open_client(control) as operator, open_client(observe) as viewer:
            await operator.call("contacts.import", list="customers", rows=PEOPLE, import_id="i")
            await operator.call("campaign.apply", spec=SPEC)
            yield Both(served, operator, viewer, observe)
        nursery.cancel_scope.cancel()


async def test_rpc_discover_says_exactly_who_is_let_in(both: Both) -> None:
    """The role that is told is the one that is asked for, of every method."""
    found = await both.viewer.call("rpc.discover")
    for method in found["methods"]:
        with pytest.raises(HubError) as caught:
            await both.viewer.call(method["name"], no_such_parameter=1)
        refused = caught.value.code == "forbidden"
        assert refused is (method["x-role"] == "operator"), method["name"]


def test_what_names_people_is_for_operators() -> None:
    private = {
        name for name, method in METHODS.items() if method.role is Role.OPERATOR and not method.mutates
    }
    assert private == {
        "campaign.preview",
        "contacts.export",
        "contacts.get",
        "contacts.list",
        "delivery.get",
        "delivery.list",
        "delivery.source",
        "inbox.get",
        "inbox.list",
        "mailbox.test",
        "message.list",
        "suppression.list",
    }


async def test_nothing_that_a_viewer_can_read_holds_an_address(both: Both) -> None:
    welcome = {"name": "welcome", "channel": "email", "subject": "s", "text": "t"}
    await both.operator.call("template.apply", specs=[welcome])
    await both.operator.call("campaign.start", name="spring")
    await both.operator.call("credits.grant", account="team", credits=1)
    await both.operator.call(
        "message.send",
        provider="outbox",
        to="dora@example.com",
        sender="a@acme.example",
        subject="Your code",
        text="tangerine",
    )
    await until_completed(both.viewer)
    asked: dict[str, dict[str, Any]] = {
        "campaign.get": {"name": "spring"},
        "campaign.check": {"name": "spring"},
        "campaign.list": {"all": True},
        "delivery.failures": {"campaign": "spring"},
        "events.list": {"campaign": "spring"},
        "hub.status": {},
        "hub.metrics": {},
        "hub.check": {},
        "config.show": {},
        "contacts.lists": {},
        "provider.list": {},
        "report.get": {"by": "day"},
        "sink.list": {},
        "template.list": {},
        "credits.list": {},
        "notification.list": {},
        "credits.history": {"account": "team"},
        "template.get": {"name": "welcome"},
        "template.history": {"name": "welcome"},
        "mailbox.list": {},
    }
    others = {"rpc.discover", "contacts.columns", "hub.hello", "hub.cancel", "auth.ticket"}
    follows = {"events.subscribe", "events.unsubscribe"}
    assert asked.keys() | others | follows == {
        name for name, method in METHODS.items() if method.role is Role.VIEWER
    }
    for name, params in asked.items():
        said = json.dumps(await both.viewer.call(name, **params))
        assert "@example.com" not in said, name
        assert "tangerine" not in said, name


async def until_completed(hub: Client) -> None:
    with trio.fail_after(30):
        subscription = hub.subscribe(["campaigns", "daemon"])
        async for event in subscription:
            assert "@example.com" not in json.dumps(event)
            views = event.get("campaigns") or [event["data"].get("campaign")]
            if any(isinstance(view, dict) and view["state"] == "completed" for view in views):
                break
        await subscription.aclose()


async def test_everything_at_once_is_for_operators_and_the_way_out_is_told(both: Both) -> None:
    for topics in (["*"], ["daemon", "*"]):
        with pytest.raises(HubError) as caught:
            await anext(both.viewer.subscribe(topics))
        assert caught.value.code == "forbidden"
        assert caught.value.hint == 'follow "campaigns" and "daemon", or connect to the control socket'
        assert caught.value.data == {"role": "viewer", "needed": "operator", "retryable": False}
    with pytest.raises(HubError, match=r"events\.list") as caught:
        await both.viewer.call("events.list")
    assert caught.value.hint.startswith("name a campaign, or")
    assert (await anext(both.operator.subscribe(["*"])))["type"] == "snapshot"
    assert (await both.operator.call("events.list"))["events"]


async def test_a_viewer_follows_all_campaigns_also_those_that_come(both: Both) -> None:
    subscription = both.viewer.subscribe(["campaigns"], gauge_hz=0)
    snapshot = await anext(subscription)
    assert [view["name"] for view in snapshot["campaigns"]] == ["spring"]
    await both.operator.call("campaign.apply", spec=SPEC | {"name": "summer"})
    event = await anext(subscription)
    assert (event["type"], event["campaign"]) == ("campaign.applied", "summer")


async def test_the_hint_is_about_the_endpoint_by_which_one_came(both: Both) -> None:
    async with open_raw(both.observe) as raw:
        refused = await raw.ask("campaign.pause", name="spring")
        assert refused["error"]["code"] == -32002
        assert refused["error"]["data"]["hint"] == "connect to the control socket"
        assert "campaign.pause" in refused["error"]["message"]
    issued = await both.viewer.call("auth.ticket", origin="http://127.0.0.1:8080")
    port = int(issued["url"].removesuffix("/rpc").rpartition(":")[2])
    async with open_raw(port, origin="http://127.0.0.1:8080", bearer=issued["ticket"]) as raw:
        refused = await raw.ask("contacts.export")
        assert refused["error"]["code"] == -32002
        assert 'ticket of the role "operator"' in refused["error"]["data"]["hint"]


async def test_the_one_off_messages_of_other_programs_are_not_a_viewers_matter(both: Both) -> None:
    await both.operator.call(
        "message.send",
        provider="outbox",
        to="dora@example.com",
        sender="a@acme.example",
        subject="s",
        text="t",
    )
    asked: list[tuple[str, dict[str, Any]]] = [
        ("events.subscribe", {"topics": ["campaign:~outbox"]}),
        ("events.list", {"campaign": "~outbox"}),
        ("campaign.get", {"name": "~outbox"}),
        ("campaign.check", {"name": "~outbox"}),
        ("delivery.failures", {"campaign": "~outbox"}),
    ]
    for method, params in asked:
        with pytest.raises(HubError) as caught:
            await both.viewer.call(method, **params)
        assert caught.value.code == "forbidden", method
    assert (await both.operator.call("campaign.get", name="~outbox"))["campaign"]["name"] == "~outbox"
    with pytest.raises(HubError):
        await both.operator.call("campaign.rate", name="~outbox", rate="1/day")
