"""docs/reports.md: each command in it, on a hub that has sent something."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex

from tests.apps.conftest import ROOT, Hub

PAGE = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for text in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in text.splitlines()
]


def test_every_command_of_the_page_says_what_was_sent(hub: Hub) -> None:
    hub.contacts(5)
    assert "nothing to report" in hub.run("report").stderr
    hub.campaign("spring-sale", labels=["portfolio"])
    hub.ok("start", "spring-sale", "--wait")
    said = {}
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        assert program == "hubctl"
        said[line] = hub.ok(*arguments)
    everything, one, trend, table, found = said.values()
    assert everything == one
    assert re.search(r"^spring-sale +5 .* - ", everything, re.MULTILINE)
    assert "completed: 5 sent" in everything
    assert "DAY" in trend
    rows = list(csv.DictReader(io.StringIO(table)))
    assert sum(int(row["sent"]) for row in rows) == 5
    answer = json.loads(found)
    assert list(answer)[:4] == ["schema", "campaigns", "total", "series"]
    assert (answer["schema"], answer["total"]["sent"]) == ("hubctl.report/1", 5)
    assert hub.run("report", "nobody").returncode == 3
    assert hub.run("report", "--since", "a while").returncode == 1
