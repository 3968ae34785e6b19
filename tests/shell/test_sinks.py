"""Sinks against servers on this machine that are well, wrong, slow or not there; the vendors' own clients."""

from __future__ import annotations

import base64
import csv
import errno
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from hubd.config.file import load_config
from hubd.config.sinks import AirtableSink, CsvSink, SinkSettings, WebhookSink
from hubd.core import sinks as core
from hubd.core.measures import DAY, Measure
from hubd.core.model import CampaignState
from hubd.core.sinks import CAMPAIGN_FIELDS, KPI_FIELDS, SinkView
from hubd.errors import BadConfig, NotFound
from hubd.secrets import Place, SecretRef
from hubd.sinks.http import Server, Unreachable
from hubd.sinks.manager import SinkManager
from hubd.sinks.targets import CsvFiles, Pace, Webhook
from hubd.sinks.task import Context
from hubd.store.database import Database
from hubd.store.events import Events
from hubd.store.sinks import Sinks
from hubd.store.unit import Unit
from tests.interposed import Interposed
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.sink_doubles import BASE, TOKEN, AirtableDouble, Double, serving

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
PATIENCE = 30.0  #: seconds for what happens at once


@pytest.fixture
def airtable() -> Iterator[AirtableDouble]:
    double = AirtableDouble(fields=set(CAMPAIGN_FIELDS) | set(KPI_FIELDS))
    with serving(double):
        yield double


@pytest.fixture
def server() -> Iterator[Double]:
    double = Double()
    with serving(double):
        yield double


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of hubd.toml, with the secrets; what fails is tried again at once."""
    for name, text in (("token", TOKEN), ("secret", SECRET)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
    monkeypatch.setattr(core, "FIRST_DELAY", 0.01)
    return tmp_path


def records(double: AirtableDouble, **changes: Any) -> AirtableSink:
    token = SecretRef(Place.FILE, "token")
    values = {"base": BASE, "table": "Campaigns", "token": token, "every": "1h", "base_url": double.url}
    return AirtableSink(**{**values, **changes})


def hook(double: Double, **changes: Any) -> WebhookSink:
    return WebhookSink(
        **{"url": f"{double.url}/hook?x=1", "secret": SecretRef(Place.FILE, "secret"), **changes}
    )


class Running:
    """Some sinks of a database that run."""

    def __init__(self, manager: SinkManager) -> None:
        self.manager = manager

    async def view(self, name: str = "a") -> SinkView:
        (view,) = (each for each in await self.manager.views() if each.name == name)
        return view

    async def until(self, wanted: Callable[[SinkView], bool], name: str = "a") -> SinkView:
        """Wait until the sink is like this."""
        with trio.fail_after(PATIENCE):
            while not wanted(view := await self.view(name)):
                await trio.testing.wait_all_tasks_blocked(0.005)  # what a sink is told is no event
        return view


@asynccontextmanager
async def running(
    db: Database,
    folder: Path,
    steady: Callable[[], float] | None = None,
    now: float = 2_000.0,
    **settings: SinkSettings,
) -> AsyncIterator[Running]:
    context = Context(
        sinks=Sinks(db),
        events=Events(db),
        wait_events=db.wait_events,
        head=lambda: db.head_seq,
        now=lambda: now,
        steady=steady or db.steady,
        pace=Pace(),
    )
    manager = SinkManager(context)
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.run, settings, folder)
        yield Running(manager)
        nursery.cancel_scope.cancel()


async def sent(store: Store, name: str, *people: str) -> None:
    """A campaign that has sent to these people."""
    campaign = await store.running(*people, name=name)
    for number in await store.ids(campaign):
        await store.ledger.record([open_entry(number), close_entry(number)])
    await store.move(campaign, CampaignState.COMPLETED)


async def until(check: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not check():
            await trio.testing.wait_all_tasks_blocked(0.005)


def totals(double: AirtableDouble) -> dict[str, int]:
    return {row["Campaign"]: row["Total Sent"] for row in double.rows()}


# --- Airtable -----------------------------------------------------------------------------------


async def test_a_table_shows_each_campaign_and_is_told_only_what_changed(
    store: Store, folder: Path, airtable: AirtableDouble
) -> None:
    names = [f"c{n:02}" for n in range(12)]
    for name in names:
        await sent(store, name, "ann")
    async with running(store.db, folder, a=records(airtable)) as here:
        await until(lambda: totals(airtable) == dict.fromkeys(names, 1))
        assert airtable.writes == 2  # ten records at most in each
        await here.until(lambda view: view.behind == 0)
        await sent(store, "new", "ann", "bob")  # a change of state is told at once
        await until(lambda: airtable.rows()[-1].get("Last Run Result") == "completed: 2 sent")
        assert totals(airtable)["new"] == 2
        assert 3 <= airtable.writes <= 5
    last = airtable.rows()[-1]
    assert (last["Campaign"], last["Last Run Result"], last["Delivery Rate"]) == (
        "new",
        "completed: 2 sent",
        None,
    )
    writes = airtable.writes
    async with running(store.db, folder, a=records(airtable)) as here:  # the next start
        await sent(store, "third", "ann")
        await until(lambda: totals(airtable).get("third") == 2)
    assert 1 <= airtable.writes - writes <= 3


async def test_an_unknown_field_pauses_the_sink_and_is_named_and_a_resume_catches_up(
    store: Store, folder: Path, airtable: AirtableDouble, caplog: pytest.LogCaptureFixture
) -> None:
    airtable.fields = {*CAMPAIGN_FIELDS, "Sent so far"} - {"Total Sent", "Opt Out Rate"}
    await sent(store, "spring", "ann")
    fields = {"Total Sent": "Sent so far"}
    with caplog.at_level(logging.DEBUG):
        async with running(store.db, folder, a=records(airtable, fields=fields)) as here:
            view = await here.until(lambda view: view.paused)
            assert "'Opt Out Rate'" in view.reason
            assert "sink.broken" in await store.types()
            await sent(store, "autumn", "ann", "bob")  # meanwhile
            airtable.fields.add("Opt Out Rate")
            assert await store.db.write(here.manager.resuming("a"))
            here.manager.resumed("a")
            await until(lambda: len(airtable.rows()) == 2)
            assert [row["Sent so far"] for row in airtable.rows()] == [1, 2]
            assert not (await here.view()).paused
            assert not await store.db.write(here.manager.resuming("a"))
    assert TOKEN not in caplog.text


async def test_a_field_can_be_left_out_and_new_settings_resume_a_paused_sink(
    store: Store, folder: Path, airtable: AirtableDouble
) -> None:
    airtable.fields = set(CAMPAIGN_FIELDS) - {"Completed At"}
    await sent(store, "spring", "ann")
    async with running(store.db, folder, a=records(airtable)) as here:
        await here.until(lambda view: view.paused)
        changed = {"a": records(airtable, fields={"Completed At": ""})}
        assert here.manager.apply(changed, folder) == ["sinks.a"]
        await until(lambda: totals(airtable) == {"spring": 1})
        assert here.manager.apply(changed, folder) == []
        assert here.manager.apply({}, folder) == ["sinks.a removed"]
        with pytest.raises(NotFound):
            here.manager.check("a")


async def test_the_days_of_the_performance_base(store: Store, folder: Path, airtable: AirtableDouble) -> None:
    await sent(store, "spring", "ann", "bob")
    async with running(store.db, folder, a=records(airtable, content="kpis")):
        await until(lambda: len(airtable.rows()) == 2)
    spring, together = airtable.rows()
    assert (spring["Key"], spring["Sent"], spring["Cost"]) == ("spring 1970-01-01", 2, 2)
    assert (together["Campaign"], together["Sent"]) == ("All campaigns", 2)


async def test_old_days_are_told_although_the_first_time_is_cut_off(
    store: Store, folder: Path, airtable: AirtableDouble
) -> None:
    await sent(store, "spring", "ann")
    (campaign,) = await store.campaigns.list()

    def work(unit: Unit) -> None:
        for day in range(1, 13):
            unit.measured(campaign.id, Measure.SENT, day * DAY)

    await store.db.write(work)
    airtable.answers = [(200, {}, {}), (500, {}, {})]  # ten records, and then no more at first
    async with running(store.db, folder, now=100.0 * DAY, a=records(airtable, content="kpis")):
        await until(lambda: len(airtable.rows()) == 2 * 13 - 10)


async def test_a_base_that_is_down_or_limits_gets_everything_later(
    store: Store, folder: Path, airtable: AirtableDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "TOO_MANY_REQUESTS", 0.01)
    airtable.answers = [(0, None, {}), (500, {}, {}), (429, {}, {}), (302, {}, {"Location": "/elsewhere"})]
    await sent(store, "spring", "ann")
    async with running(store.db, folder, a=records(airtable)) as here:
        await until(lambda: totals(airtable) == {"spring": 1})
        await here.until(lambda view: view.failures == 0 and view.reason == "")
    assert len(airtable.requests) == 5


async def test_a_base_is_asked_five_times_a_second_at_most(autojump_clock: trio.testing.MockClock) -> None:
    pace, began = Pace(), trio.current_time()
    for _ in range(11):
        await pace.turn(BASE)
    assert trio.current_time() - began == pytest.approx(2.0)
    await pace.turn("appOther")
    pace.rest(BASE, 30.0)
    before = trio.current_time()
    await pace.turn("appOther")
    await pace.turn(BASE)
    assert trio.current_time() - before == pytest.approx(30.0)


async def test_the_double_is_one_for_the_client_of_the_vendor(airtable: AirtableDouble) -> None:
    def use() -> tuple[Any, Any]:
        from pyairtable import Api  # takes a third of a second, which only one of the workers needs

        table = Api(TOKEN, endpoint_url=airtable.url).table(BASE, "Campaigns")
        made = [{"fields": {"Campaign": f"c{n}", "Total Sent": n}} for n in range(12)]
        done = table.batch_upsert(made, key_fields=["Campaign"])
        return done, table.all()

    done, listed = await trio.to_thread.run_sync(use)
    assert (len(done["createdRecords"]), done["updatedRecords"]) == (12, [])
    assert [each["fields"]["Total Sent"] for each in listed] == list(range(12))


# --- webhooks -----------------------------------------------------------------------------------


def told(double: Double) -> list[dict[str, Any]]:
    """What was told with a signature that the foreign library accepts (it also checks the time)."""
    found = []
    for method, path, headers, body in double.requests:
        assert (method, path) == ("POST", "/hook?x=1")
        found.append({**Verifier(SECRET).verify(body, headers), "id": headers["webhook-id"]})
    return found


@pytest.fixture
def right_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The foreign library looks at the clock, and the tests' sinks live in 1970."""
    import standardwebhooks.webhooks as library

    real: Any = vars(library)["datetime"]
    now = classmethod(lambda _, tz=None: real.fromtimestamp(2_000.0, tz))
    then = type("then", (real,), {"now": now})
    monkeypatch.setattr(library, "datetime", then)


@pytest.mark.usefixtures("right_time")
async def test_a_webhook_is_told_events_in_order_signed_and_again_until_it_takes_them(
    store: Store, folder: Path, server: Double
) -> None:
    await sent(store, "before", "ann")  # what happened before the sink was there is not told
    async with running(store.db, folder, a=hook(server)) as here:
        await here.until(lambda view: view.behind == 0)
        server.answers = [(200, {}, {}), (500, {}, {}), (0, None, {}), (307, {}, {"Location": "/other"})]
        await sent(store, "spring", "ann")
        await here.until(lambda view: view.behind == 0)
    assert {path for _, path, _, _ in server.requests} == {"/hook?x=1"}
    events = told(server)
    numbers = [int(each["id"].removeprefix("evt_")) for each in events]
    assert sorted(set(numbers)) == list(range(min(numbers), max(numbers) + 1))  # none is missing
    assert numbers == sorted(numbers)
    assert numbers.count(numbers[1]) == 4  # three failures
    moved = [each["data"] for each in events if each["type"] == "campaign.state"]
    assert (moved[-1]["to"], moved[-1]["campaign"]) == ("completed", "spring")
    assert "example.com" not in str(events)


@pytest.mark.usefixtures("right_time")
async def test_a_webhook_goes_on_where_it_was_and_gets_only_what_it_asks_for(
    store: Store, folder: Path, server: Double
) -> None:
    asks = hook(server, events=("campaign.state",))
    async with running(store.db, folder, a=asks) as here:
        await here.until(lambda view: view.behind == 0)
    await sent(store, "spring", "ann")  # while the daemon is away
    async with running(store.db, folder, a=asks) as here:
        await here.until(lambda view: view.behind == 0)
        assert await here.manager.test("a") == core.OK
    *events, test = told(server)
    assert [each["type"] for each in events] == ["campaign.state"] * len(events)
    assert [each["data"]["to"] for each in events][-2:] == ["running", "completed"]
    assert (test["type"], test["id"]) == ("sink.test", "evt_test")


async def test_after_three_days_of_failures_a_sink_is_paused_with_an_event(
    store: Store, folder: Path, server: Double
) -> None:
    clock = [0.0]
    server.answers = [(500, {}, {})] * 100_000
    async with running(store.db, folder, lambda: clock[0], a=hook(server)) as here:
        await here.until(lambda view: view.behind == 0)
        await sent(store, "spring", "ann")
        await here.until(lambda view: view.failures > 2)
        assert "sink.broken" not in await store.types()
        clock[0] = store.db.steady() + core.GIVE_UP
        view = await here.until(lambda view: view.paused)
        assert view.reason == "the server answered 500"
        assert "sink.broken" in await store.types()
        asked = len(server.requests)
        await sent(store, "autumn", "bob")
        assert len(server.requests) == asked


async def test_a_bad_secret_pauses_a_webhook_and_a_missing_one_is_looked_for_again(
    store: Store, folder: Path, server: Double, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "secret").unlink()
    async with running(store.db, folder, a=hook(server)) as here:
        await here.until(lambda view: view.behind == 0)
        await sent(store, "spring", "ann")
        view = await here.until(lambda view: view.failures > 0)
        assert "secret" in view.reason
        (folder / "secret").write_text("hunter2-hunter2")
        (folder / "secret").chmod(0o600)
        assert "whsec_" in (await here.until(lambda view: view.paused)).reason
    assert server.requests == []
    assert "hunter2" not in caplog.text


async def test_nothing_is_sent_to_a_forbidden_address(
    server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubd.transports.http_wire.is_forbidden_peer", lambda peer: True)
    hub = Webhook(hook(server))
    told = await hub.test(SECRET, 1.0)
    assert (told.outcome, "nothing may be sent to" in told.reason) == ("retry", True)
    hub.close()
    assert server.requests == []


async def test_an_answer_without_end_counts_by_its_status(server: Double) -> None:
    hub = Server(server.url)
    server.answers = [(200, "x" * 200_000, {}), (500, "x" * 200_000, {})]
    assert (await hub.request("POST", "/", [], b"{}"))[0] == 200
    with pytest.raises(Unreachable):
        await hub.request("POST", "/", [], b"{}")
    hub.close()


# --- CSV ----------------------------------------------------------------------------------------


def lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


async def test_lines_are_appended_as_figures_change(store: Store, folder: Path) -> None:
    path = folder / "figures" / "campaigns-1970-01-01.csv"
    async with running(store.db, folder, a=CsvSink(directory=Path("figures"), every="1h")):
        await sent(store, "spring", "ann")
        await until(
            lambda: path.exists() and lines(path)[-1:] != [] and lines(path)[-1]["Completed At"] != ""
        )
        await sent(store, "autumn", "bob")
        await until(lambda: lines(path)[-1]["Campaign"] == "autumn" and lines(path)[-1]["Completed At"] != "")
    found = lines(path)
    assert list(found[0]) == ["At", *CAMPAIGN_FIELDS]
    assert found[-1]["Total Sent"] == "2"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_day_has_a_new_file(tmp_path: Path) -> None:
    files = CsvFiles(CsvSink(directory=Path("d")), tmp_path)
    row = dict.fromkeys(CAMPAIGN_FIELDS, "x")
    for day in (1, 1, 2):
        assert files.append([row], datetime(2026, 12, day, tzinfo=UTC)) is core.OK
    assert sorted(each.name for each in (tmp_path / "d").iterdir()) == [
        "campaigns-2026-12-01.csv", "campaigns-2026-12-02.csv",
    ]  # fmt: skip
    for day in (1, 2):
        assert len(lines(tmp_path / "d" / f"campaigns-2026-12-0{day}.csv")) == 1


#: What a campaign is called, and how its last run was; in two rounds.
rounds = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(max_size=8), min_size=1), min_size=2, max_size=2
)


@settings(max_examples=50)
@given(rounds=rounds, cut=st.integers(0, 1_000))
def test_what_a_crash_cut_off_is_told_again_without_a_torn_or_doubled_line(
    rounds: list[dict[str, str]], cut: int
) -> None:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    with TemporaryDirectory() as folder:
        files = CsvFiles(CsvSink(directory=Path("d")), Path(folder))
        path = Path(folder) / "d" / "campaigns-2026-12-01.csv"
        size = 0
        for told in rounds:
            rows = [
                dict.fromkeys(CAMPAIGN_FIELDS) | {"Campaign": name, "Last Run Result": text}
                for name, text in told.items()
            ]
            assert files.append(rows, at) is core.OK
            with path.open("r+b") as file:  # the crash comes while they are written, or after it
                file.truncate(max(size, path.stat().st_size - cut))
            assert files.append(rows, at) is core.OK
            size = path.stat().st_size
        head, *found = csv.reader(path.read_bytes().decode().split("\r\n")[:-1])
        assert head == ["At", *CAMPAIGN_FIELDS]
        assert {len(line) for line in found} == {len(head)}
        result = head.index("Last Run Result")
        shown: dict[str, list[str]] = {}
        for line in found:
            shown.setdefault(line[1], []).append(line[result])
        for name, texts in shown.items():
            wanted = [" ".join(told[name].splitlines()) for told in rounds if name in told]
            assert texts == [text for n, text in enumerate(wanted) if n == 0 or text != wanted[n - 1]]


def test_a_line_that_cannot_be_flushed_is_appended_once_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = CsvFiles(CsvSink(directory=Path("d")), tmp_path)
    row, at = dict.fromkeys(CAMPAIGN_FIELDS, "x"), datetime(2026, 12, 1, tzinfo=UTC)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr("hubd.sinks.targets.os.fsync", broken)
        assert files.append([row], at).outcome == "retry"
    assert files.append([row], at) is core.OK
    assert len(lines(tmp_path / "d" / "campaigns-2026-12-01.csv")) == 1


FIRST_LINE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from hubd.config.sinks import CsvSink
from hubd.core.sinks import CAMPAIGN_FIELDS
from hubd.sinks.targets import CsvFiles
files = CsvFiles(CsvSink(directory=Path("d")), Path(sys.argv[1]))
files.append([dict.fromkeys(CAMPAIGN_FIELDS, "x")], datetime(2026, 12, 1, tzinfo=UTC))
"""


@pytest.mark.slow
def test_a_new_file_is_on_the_disk_with_its_name(tmp_path: Path) -> None:
    failures = Interposed.controlled_in(tmp_path)
    failures.flushed.touch()
    environ = {**os.environ, **failures.environment}
    subprocess.run([sys.executable, "-c", FIRST_LINE, str(tmp_path)], env=environ, check=True)
    folder = tmp_path / "d"
    assert failures.flushed.read_text().splitlines() == [
        str(tmp_path), str(folder / "campaigns-2026-12-01.csv"), str(folder),
    ]  # fmt: skip


async def test_a_folder_that_cannot_be_written_is_tried_again_until_it_can(
    store: Store, folder: Path
) -> None:
    (folder / "figures").write_text("in the way")
    async with running(store.db, folder, a=CsvSink(directory=Path("figures"))) as here:
        await sent(store, "spring", "ann")
        view = await here.until(lambda view: view.failures > 0)
        assert "cannot be written" in view.reason
        assert (await here.manager.test("a")).outcome == "retry"
        (folder / "figures").unlink()
        await here.until(lambda view: view.failures == 0 and view.told_at is not None)
        assert await here.manager.test("a") == core.OK


# --- whatever is wrong --------------------------------------------------------------------------


async def test_a_bug_in_one_sink_ends_neither_the_others_nor_the_daemon(
    store: Store, folder: Path, airtable: AirtableDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Awaitable[None]:
        raise ZeroDivisionError

    monkeypatch.setattr("hubd.sinks.targets.CsvFiles.append", broken)
    await sent(store, "spring", "ann")
    async with running(store.db, folder, a=records(airtable), b=CsvSink(directory=Path("figures"))) as here:
        await until(lambda: totals(airtable) == {"spring": 1})
        view = await here.until(lambda view: view.failures > 0, "b")
        assert "the daemon failed" in view.reason
        assert (await here.view()).failures == 0


# --- hubd.toml ----------------------------------------------------------------------------------


def test_sinks_are_read_from_hubd_toml(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text("""
        [sinks.control]
        type = "airtable"
        base = "appA1"
        table = "Campaigns"
        token = { file = "airtable.token" }
        fields = { "Total Sent" = "Sent so far" }
        [sinks.crm]
        type = "webhook"
        url = "https://acme.example/hooks?x=1"
        secret = { env = "HOOK" }
        events = ["campaign.*"]
        [sinks.files]
        type = "csv"
        directory = "figures"
        content = "kpis"
    """)
    found = load_config(path).sinks
    assert [type(each) for each in found.values()] == [AirtableSink, WebhookSink, CsvSink]
    control = found["control"]
    assert isinstance(control, AirtableSink)
    assert (control.fields, control.every) == ({"Total Sent": "Sent so far"}, "60s")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('type = "airtable"', "base"),
        ('type = "airtable"\nbase = "tbl1"', "base"),
        ('type = "airtable"\nfields = { "Total Sentt" = "x" }', "fields.Total Sentt"),
        ('type = "airtable"\nfields = { "Campaign" = "" }', "fields.Campaign"),
        ('type = "airtable"\nevery = "0s"', "every"),
        ('type = "webhook"\nurl = "http://acme.example/"', "url"),
        ('type = "webhook"\nurl = "https://u:p@acme.example/"', "url"),
        ('type = "webhook"\nsecret = "whsec_x"', "secret"),
        ('type = "webhook"\nevents = ["Campaign"]', "events[0]"),
        ('type = "csv"', "directory"),
        ('type = "csv"\ndirectory = "x"\ntimezone = "Mars"', "timezone"),
        ('type = "excel"', "type"),
        ("", "type"),
    ],
)
def test_what_is_no_sink_is_refused_by_its_key(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(f"[sinks.a]\n{text}\n")
    with pytest.raises(BadConfig) as caught:
        load_config(path)
    errors = caught.value.data["errors"]
    assert isinstance(errors, list)
    assert f"sinks.a.{key}" in [each["path"] for each in errors]
