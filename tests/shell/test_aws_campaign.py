"""A campaign through Amazon SES: what a quota that is used up costs, and whose rate holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from hubd.client import Client, open_client
from hubd.config.file import load_config
from hubd.provider_specs import provider_specs
from tests.shell.aws_double import KEY, REGION, SECRET, AwsDouble
from tests.shell.aws_services import BOUND
from tests.shell.open_hub import PERSONAL, open_hub
from tests.shell.test_methods import import_people, until


@pytest.fixture
def double() -> Iterator[AwsDouble]:
    with AwsDouble() as server:
        server.book.account["SendQuota"] |= {"MaxSendRate": 500.0}
        yield server


def settings(tmp_path: Path, double: AwsDouble, kind: str, secret: str = SECRET) -> Path:
    """A hubd.toml with one account, which has the name of its kind."""
    path, keys = tmp_path / "hubd.toml", tmp_path / "aws.secret"
    path.write_text(
        f'[providers.{kind}]\ntype = "{kind}"\nregion = "{REGION}"\naccess_key_id = "{KEY}"\n'
        f'secret_access_key = {{ file = "{keys.name}" }}\nendpoint_url = "{double.base_url}"\n'
    )
    keys.write_text(secret)
    for each in (path, keys):
        each.chmod(0o600)
    return path


@pytest.fixture
async def hub(tmp_path: Path, double: AwsDouble) -> AsyncIterator[Client]:
    path = settings(tmp_path, double, "ses")
    async with open_hub(tmp_path) as served, open_client(served.path) as client:
        specs = await provider_specs(load_config(path), tmp_path, served.bridge)
        await served.hub.supervisor.reconfigure(specs)
        await import_people(client, 6)
        await client.call("campaign.apply", spec=PERSONAL | {"provider": "ses"})
        yield client


async def test_the_rate_is_the_accounts_and_each_message_carries_its_number(
    hub: Client, double: AwsDouble
) -> None:
    await hub.call("campaign.start", name="spring")
    view = await until(hub, "spring", "completed")
    assert view["counts"]["sent"] == 6
    (provider,) = (p for p in (await hub.call("provider.list"))["providers"] if p["name"] == "ses")
    assert provider["rate"] == ["500/s", "50000/day"]
    rows = (await hub.call("delivery.list", campaign="spring"))["deliveries"]
    sent = {message["to"]: message for message in double.accepted}
    for row in rows:
        message = sent[row["recipient"]]
        assert message["tags"] == {"hub": str(row["id"])}
        assert (message["id"], message["message_id"]) == (row["provider_id"], row["message_id"])


async def test_a_quota_that_is_used_up_rests_the_provider_and_costs_nobody_an_attempt(
    hub: Client, double: AwsDouble
) -> None:
    double.behave("*", "accept", "refuse:429:TooManyRequestsException:Daily message quota exceeded")
    await hub.call("campaign.start", name="spring")
    with trio.fail_after(BOUND):
        while True:
            (provider,) = (p for p in (await hub.call("provider.list"))["providers"] if p["name"] == "ses")
            if provider["state"] == "resting":
                break
            await trio.sleep(0.01)
    assert "quota of Amazon SES for 24 hours" in provider["reason"]
    view = (await hub.call("campaign.get", name="spring"))["campaign"]
    assert view["state"] == "running"
    with trio.fail_after(BOUND):
        while view["counts"]["pending"] != 5:
            view = (await hub.call("campaign.get", name="spring"))["campaign"]
    rows = (await hub.call("delivery.list", campaign="spring", state="pending"))["deliveries"]
    assert {row["attempts"] for row in rows} == {0}
    assert len(double.accepted) == 1


async def test_what_is_refused_here_is_no_sign_that_the_keys_are_right(
    tmp_path: Path, double: AwsDouble
) -> None:
    """One text is tried with wrong keys, also when those before it need no request to be refused."""
    names = [*["Ж" * 900] * 3, *"abcdefghi"]  # as bytes the first ones are too long for SNS
    rows = [
        {"line": n, "values": {"phone": f"+1415555{2600 + n}", "first_name": name}}
        for n, name in enumerate(names, start=2)
    ]
    text = {"name": "spring", "channel": "sms", "lists": ["customers"], "kind": "transactional"}
    path = settings(tmp_path, double, "sns", secret="wrong-secret")
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        specs = await provider_specs(load_config(path), tmp_path, served.bridge)
        await served.hub.supervisor.reconfigure(specs)
        await hub.call("contacts.import", list="customers", rows=rows, import_id="one")
        await hub.call("campaign.apply", spec=text | {"provider": "sns", "text": "Hi {{ first_name }}"})
        await hub.call("campaign.start", name="spring")
        view = await until(hub, "spring", "paused")
    assert double.connections_made == 1
    assert "does not accept the keys" in view["reason"]
    assert (view["counts"]["failed"], view["counts"]["pending"]) == (3, 9)
