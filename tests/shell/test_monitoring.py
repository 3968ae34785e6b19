"""The Grafana board and the alert rules: every metric and every label that they ask for is exported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hubd.client import open_client
from tests.shell.open_hub import PERSONAL, Served

SPEC = PERSONAL
DOCS = Path(__file__).resolve().parents[2] / "docs"
BOARD: dict[str, Any] = json.loads((DOCS / "grafana" / "messagehub.json").read_text(encoding="utf-8"))
RULES: dict[str, Any] = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))
#: Suffixes of the samples of a family, by its type.
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
#: Labels that Prometheus adds.
OWN_LABELS = {"job", "instance", "le"}


def asked() -> Iterator[str]:
    """Every expression of the board and of the rules."""
    for panel in BOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in RULES["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for variable in BOARD["templating"]["list"]:
        if isinstance(variable["query"], dict):
            yield variable["query"]["query"]


async def samples(served: Served) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The names of samples with their families, and the values of each label after a campaign ran."""
    async with open_client(served.path) as hub:
        rows = [{"line": 1, "values": {"email": "ann@example.com", "first_name": "Ann"}}]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="one")
        await hub.call("campaign.apply", spec=SPEC)
        await hub.call("campaign.start", name=SPEC["name"])
        async for event in hub.subscribe([f"campaign:{SPEC['name']}"], after={"epoch": 1, "seq": 0}):
            if event["type"] == "campaign.state" and event["data"]["to"] == "completed":
                break
        text = (await hub.call("hub.metrics"))["text"]
    names: dict[str, str] = {}
    values: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        names |= {family.name + suffix: family.name for suffix in SUFFIXES.get(family.type, ("",))}
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    return names, values


async def test_every_metric_and_label_that_is_asked_for_is_exported(served: Served) -> None:
    names, values = await samples(served)
    used = {name for each in asked() for name in re.findall(r"\bmessagehub_\w+", each)} - values.keys()
    assert used - names.keys() == set()
    assert len(used) > 10
    for expression in asked():
        for label, value in re.findall(r'(\w+)!?=~?"([^"]*)"', expression):
            if label not in OWN_LABELS:
                assert set(value.split("|")) <= values[label] | {"failed"}, expression
        for labels in re.findall(r"\bby \(([^)]*)\)", expression):
            assert set(labels.split(", ")) <= values.keys() | OWN_LABELS, expression


def test_every_panel_has_a_title_and_says_what_it_shows() -> None:
    assert len({panel["title"] for panel in BOARD["panels"]}) == len(BOARD["panels"]) > 10
    assert all(panel["description"] and panel["targets"] for panel in BOARD["panels"])
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in BOARD["panels"]]
    cells = [(column, row) for x, y, w, h in places for column in range(x, x + w) for row in range(y, y + h)]
    assert len(cells) == len(set(cells)), "two panels lie on top of each other"
    assert max(column for column, _ in cells) < 24


@pytest.mark.parametrize("rule", [each for group in RULES["groups"] for each in group["rules"]], ids=str)
def test_every_alert_says_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert all(rule["annotations"].values())
