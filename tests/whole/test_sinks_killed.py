"""The daemon ends just before and just after a sink is told: what it shows in the end is what happened.

Airtable and the server for webhooks are in the process of the tests, so they outlive every daemon.
"""

from __future__ import annotations

import base64
import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import pytest

from hubd.client import connect
from hubd.core.sinks import CAMPAIGN_FIELDS
from hubd.errors import HubError
from tests.shell.sink_doubles import BASE, TOKEN, AirtableDouble, Double, serving
from tests.whole.conftest import Hub, until
from tests.whole.invariants import check_records
from tests.whole.test_failpoints import killed

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
PEOPLE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinks:
    """What the sinks of a hub have been told, in files and by requests."""

    hub: Hub
    table: AirtableDouble
    server: Double

    @property
    def config(self) -> str:
        """The three sinks, for hubd.toml."""
        return (
            f'[sinks.table]\ntype = "airtable"\nbase = "{BASE}"\ntable = "Campaigns"\nevery = "1s"\n'
            f'token = {{ file = "airtable.token" }}\nbase_url = "{self.table.url}"\n'
            f'[sinks.hook]\ntype = "webhook"\nurl = "{self.server.url}/hook"\n'
            'secret = { file = "hook.secret" }\n'
            '[sinks.files]\ntype = "csv"\ndirectory = "figures"\ncontent = "campaigns"\nevery = "1s"\n'
        )

    def records(self) -> dict[str, dict[str, str]]:
        """What the table shows of each campaign, as text; each has one record."""
        rows = self.table.rows()
        shown = {row["Campaign"]: {k: "" if v is None else str(v) for k, v in row.items()} for row in rows}
        assert len(shown) == len(rows), "no campaign has two records"
        return shown

    def lines(self) -> list[dict[str, str]]:
        """The lines of all files, the oldest first; each is whole."""
        found = []
        for path in sorted((self.hub.folder / "figures").glob("campaigns-*.csv")):
            text = path.read_bytes()
            if not text:
                continue  # it is just made
            assert text.endswith(b"\r\n"), "no line is cut off"
            head, *rows = csv.reader(text.decode().splitlines())
            assert head == ["At", *CAMPAIGN_FIELDS]
            assert {len(row) for row in rows} <= {len(head)}, "no line is torn"
            found += [dict(zip(head, row, strict=True)) for row in rows]
        return found

    def newest_lines(self) -> dict[str, dict[str, str]]:
        """The last line of each campaign. No line says what the one before it about the campaign said."""
        newest: dict[str, dict[str, str]] = {}
        for line in self.lines():
            values = {name: line[name] for name in CAMPAIGN_FIELDS}
            assert newest.get(line["Campaign"]) != values, f"told twice: {line}"
            newest[line["Campaign"]] = values
        return newest

    def events(self) -> list[int]:
        """The numbers of the events that the server was told, as they came."""
        return [int(headers["webhook-id"].removeprefix("evt_")) for *_, headers, _ in self.server.requests]

    def check_events(self) -> None:
        """Each event since the first one was told, in order; some more than once."""
        told = self.events()
        with closing(sqlite3.connect(self.hub.state / "hub.db")) as db:
            rows = db.execute("SELECT seq FROM event WHERE seq >= ? AND type NOT LIKE 'sink.%'", (told[0],))
            assert sorted(set(told)) == sorted(row[0] for row in rows)
        assert list(dict.fromkeys(told)) == sorted(set(told)), "in order"


@contextmanager
def open_sinks(hub: Hub) -> Iterator[Sinks]:
    """What the sinks of a hub talk to, for the length of the block; nobody is told of them yet."""
    for name, text in (("airtable.token", TOKEN), ("hook.secret", SECRET)):
        path = hub.folder / name
        path.write_text(text)
        path.chmod(0o600)
    table, server = AirtableDouble(fields=set(CAMPAIGN_FIELDS)), Double()
    with serving(table), serving(server):
        yield Sinks(hub=hub, table=table, server=server)


def send(hub: Hub, name: str) -> None:
    """Apply a campaign and start it. Raises `HubError` when that was done before, or hubd ends."""
    spec = {
        "name": name, "channel": "email", "lists": ["all"], "kind": "transactional",
        "sender": "a@acme.example", "subject": "Hi", "text": "Hi",
    }  # fmt: skip
    with connect(hub.state / "control.sock") as client:
        client.call("campaign.apply", spec=spec)
        client.call("campaign.start", name=name)


def ended_or_answers(hub: Hub) -> bool:
    assert hub.daemon is not None
    return hub.daemon.poll() is not None or hub.answers()


SOAKED = [("before_telling", 2), ("after_telling", 2), ("before_telling", 9), ("after_telling", 12)] * 3


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(
            [("after_telling", 1), ("before_telling", 1), ("after_telling", 4), ("before_telling", 6)],
            id="4 ends",
        ),
        pytest.param(SOAKED, id="12 ends", marks=pytest.mark.soak),
    ],
)
def test_an_end_before_or_after_a_sink_is_told_loses_and_doubles_nothing(
    hub: Hub, ends: list[tuple[str, int]]
) -> None:
    with open_sinks(hub) as sinks:
        hub.config = sinks.config
        hub.boot()
        hub.contacts(PEOPLE)
        assert hub.end() == 0
        names = [f"c{number}" for number in range(len(ends) + 1)]
        for name, (point, n) in zip(names, ends, strict=False):
            hub.launch(fail=f"{point}:{n}")
            until(lambda: ended_or_answers(hub), "hubd or its end", hub.log)
            with suppress(HubError):
                send(hub, name)
            check_records(killed(hub))
        hub.boot()
        for name in names:
            with suppress(HubError):  # it was started before
                send(hub, name)
        complete = dict.fromkeys(names, f"completed: {PEOPLE} sent")
        for shown in (sinks.records, sinks.newest_lines):
            until(lambda shown=shown: results(shown()) == complete, "the newest values in each sink", hub.log)
        until(lambda: told_of_all(hub), "the last event to be told", hub.log)
        assert hub.end() == 0
        assert sinks.records() == sinks.newest_lines(), "both sinks show the same, in each field"
        assert {row["Total Sent"] for row in sinks.records().values()} == {str(PEOPLE)}
        sinks.check_events()


def results(shown: dict[str, dict[str, str]]) -> dict[str, str]:
    """How the last run of each campaign was, as it is shown."""
    return {name: values["Last Run Result"] for name, values in shown.items()}


def told_of_all(hub: Hub) -> bool:
    """Whether the server for webhooks knows of each event."""
    sinks = hub.told("sink.list", "sink", "list")["sinks"]
    return [each["behind"] for each in sinks if each["name"] == "hook"] == [0]
