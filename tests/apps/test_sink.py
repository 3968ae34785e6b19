"""docs/sinks.md: each kind of sink and each command in it, with a real daemon."""

from __future__ import annotations

import base64
import json
import re
import shlex
import time
from collections.abc import Callable

from standardwebhooks import Webhook

from hubd.core.sinks import CAMPAIGN_FIELDS
from tests.apps.conftest import ROOT, TIMEOUT, Hub
from tests.shell.sink_doubles import BASE, TOKEN, AirtableDouble, Double, serving

PAGE = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def until(check: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)  # another process: there is no event to wait on


def test_every_kind_of_sink_is_told_by_a_real_daemon_and_a_dead_one_delays_nothing(hub: Hub) -> None:
    (toml,) = (text for kind, text in BLOCKS if kind == "toml")
    commands = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    table = AirtableDouble(fields={*CAMPAIGN_FIELDS, "Sent so far"} - {"Total Sent"})
    crm = Double()
    with serving(table), serving(crm):
        for name, text in (("airtable.token", TOKEN), ("crm.secret", SECRET)):
            hub.file(name, text)
            (hub.folder / name).chmod(0o600)
        config = toml.replace("appA1b2C3d4E5f6G7", BASE)
        config = config.replace('table = "Campaigns"', f'table = "Campaigns"\nbase_url = "{table.url}"')
        config = config.replace("https://acme.example", crm.url)
        dead = (
            '[sinks.dead]\ntype = "webhook"\nurl = "http://127.0.0.1:1/"\nsecret = { file = "crm.secret" }\n'
        )
        hub.file("hubd.toml", config + dead)
        said = {line: hub.ok(*shlex.split(line)[1:]) for line in commands}
        assert "figures works" in said["hubctl sink test figures"]
        assert hub.run("sink", "test", "dead").returncode == 1
        assert hub.run("sink", "test", "nobody").returncode == 3

        hub.contacts(5)
        hub.campaign("spring-sale")
        hub.ok("start", "spring-sale", "--wait")
        until(lambda: [row.get("Last Run Result") for row in table.rows()] == ["completed: 5 sent"])
        assert table.rows()[0]["Sent so far"] == 5
        until(lambda: any(b'"completed"' in body for *_, body in crm.requests))
        for _, _, headers, body in crm.requests:
            assert Webhook(SECRET).verify(body, headers) == json.loads(body)
        files = hub.folder / "figures"
        until(lambda: any("spring-sale" in each.read_text() for each in files.glob("kpis-*.csv")))
        states = {each["name"]: each["state"] for each in hub.json("sink", "list")["sinks"]}
        assert states == {"control": "ready", "crm": "ready", "figures": "ready", "dead": "failing"}

        hub.file("hubd.toml", "")
        assert "sinks.dead removed" in hub.ok("daemon", "reload")
        assert hub.json("sink", "list")["sinks"] == []
        log = (hub.folder / "hubd.log").read_text()
        assert TOKEN not in log
        assert SECRET not in log
