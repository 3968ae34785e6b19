"""The log in its three shapes, the journal's protocol against a socket of our own, and no address in any."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from hubd import journal
from hubd.core.model import CampaignState, Channel, Content
from hubd.core.outcome import RetryPolicy
from hubd.engine.campaign import CampaignTask
from hubd.engine.campaign_run import CampaignRun
from hubd.engine.health import HealthChange
from hubd.engine.health_events import HealthEvents
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import RunContext
from hubd.engine.providers import Providers
from hubd.engine.supervisor import open_supervisor
from hubd.errors import StoreUnavailable
from hubd.journal import JournalHandler, Kind, MarkedLines, encoded, handler_for, is_journal, masked
from tests.fakes import FakeStore

ROOT = Path(__file__).resolve().parent.parent.parent


def decoded(data: bytes) -> dict[str, str]:
    """The fields of a record, as journald reads them (JOURNAL_NATIVE_PROTOCOL)."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[8 + size :]
            assert data[:1] == b"\n"
            data = data[1:]
        fields[name.decode()] = value.decode()
    return fields


class Journald:
    """The other end of the journal's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._sock.setblocking(False)

    def records(self) -> list[dict[str, str]]:
        """Every record since the last time, also those that came as a file."""
        found: list[dict[str, str]] = []
        while True:
            try:
                data, files, _, _ = socket.recv_fds(self._sock, 1 << 20, 1)
            except BlockingIOError:
                return found
            for descriptor in files:
                with open(descriptor, "rb") as file:
                    assert not data, "a record comes in the file or in the datagram"
                    data = os.pread(file.fileno(), 1 << 26, 0)
                    with pytest.raises(PermissionError):
                        os.write(file.fileno(), b"x")  # sealed: nobody can change it while it is read
            found.append(decoded(data))

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    made = Journald(tmp_path / "socket")
    yield made
    made.close()


@pytest.fixture
def stderr() -> io.StringIO:
    """Where lines go that the journal did not take."""
    return io.StringIO()


@pytest.fixture
def log(journald: Journald, stderr: io.StringIO) -> Iterator[logging.Logger]:
    """A logger of the daemon's that writes to the journal."""
    logger = logging.getLogger("hubd.tested")
    otherwise = logging.StreamHandler(stderr)
    otherwise.setFormatter(MarkedLines())
    handler = JournalHandler(str(journald.path), otherwise=otherwise)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    handler.close()


# -- the journal's protocol --------------------------------------------------------------------------------


def test_a_record_has_the_fields_that_an_operator_asks_for(journald: Journald, log: logging.Logger) -> None:
    log.warning("campaign %s waits", "spring", extra={"hub_campaign": "spring", "hub_seq": 7})
    (record,) = journald.records()
    assert record["MESSAGE"] == "campaign spring waits"
    assert record["PRIORITY"] == "4"
    assert record["SYSLOG_IDENTIFIER"] == "hubd"
    assert record["HUB_CAMPAIGN"] == "spring"
    assert record["HUB_SEQ"] == "7"
    assert record["HUB_LOGGER"] == "hubd.tested"
    assert record["CODE_FILE"] == __file__
    assert int(record["CODE_LINE"]) > 0
    assert "MESSAGE_ID" not in record


def test_what_an_operator_may_wait_for_has_a_message_id(journald: Journald, log: logging.Logger) -> None:
    log.info("ready", extra={"kind": Kind.READY})
    (record,) = journald.records()
    assert record["MESSAGE_ID"] == Kind.READY.value


def test_each_kind_of_message_has_an_id_of_its_own() -> None:
    assert len({kind.value for kind in Kind}) == len(Kind)
    assert all(re.fullmatch("[0-9a-f]{32}", kind.value) for kind in Kind)
    listed = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert all(kind.value in listed for kind in Kind), "the manual names them all"


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, "2"),
        (logging.ERROR, "3"),
        (logging.WARNING, "4"),
        (logging.INFO, "6"),
        (logging.DEBUG, "7"),
        (logging.INFO + 5, "6"),
    ],
)
def test_levels_are_the_priorities_of_syslog(
    journald: Journald, log: logging.Logger, level: int, priority: str
) -> None:
    log.log(level, "x")
    assert journald.records()[0]["PRIORITY"] == priority


def test_a_traceback_is_one_record_and_none_of_its_lines_is_a_field(
    journald: Journald, log: logging.Logger
) -> None:
    try:
        raise ValueError("first\nPRIORITY=0\nHUB_CAMPAIGN=forged")
    except ValueError:
        log.exception("it broke")
    (record,) = journald.records()
    assert record["PRIORITY"] == "3"
    assert "HUB_CAMPAIGN" not in record
    assert record["MESSAGE"].startswith("it broke\nTraceback")
    assert record["MESSAGE"].endswith("HUB_CAMPAIGN=forged")


def test_a_record_that_is_too_large_for_a_datagram_comes_as_a_sealed_file(
    journald: Journald, log: logging.Logger
) -> None:
    """EMSGSIZE: eight million characters are more than any socket's buffer."""
    before = len(os.listdir("/proc/self/fd"))
    log.info("%s", "line\n" * 1_600_000, extra={"hub_campaign": "spring"})
    (record,) = journald.records()
    assert len(record["MESSAGE"]) == 8_000_000
    assert record["HUB_CAMPAIGN"] == "spring"
    assert len(os.listdir("/proc/self/fd")) == before, "the file's descriptor was not kept"


def test_a_journal_that_reads_too_slowly_stops_nothing_and_is_told_how_much_it_missed(
    journald: Journald, log: logging.Logger, stderr: io.StringIO
) -> None:
    for number in range(5_000):
        log.info("%d", number)
    taken = len(journald.records())
    assert 0 < taken < 5_000
    log.info("again")
    lost, again = journald.records()
    assert lost["MESSAGE"] == f"{5_000 - taken} lines of this log were lost: the journal was too slow"
    assert again["MESSAGE"] == "again"
    assert stderr.getvalue() == ""


def test_without_a_journal_the_lines_go_to_stderr_and_come_back_with_it(
    journald: Journald, log: logging.Logger, stderr: io.StringIO
) -> None:
    """journald is started again now and then; its socket is another one afterwards."""
    journald.close()
    log.error("while it is down")
    journald.path.unlink()
    log.error("while it is away")
    assert stderr.getvalue() == "<3>hubd.tested: while it is down\n<3>hubd.tested: while it is away\n"
    back = Journald(journald.path)
    log.error("it is back")
    assert [record["MESSAGE"] for record in back.records()] == ["it is back"]
    back.close()


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
)
@example({"A": "x\ny=z", "B": ""})
@example({"A": "\n", "B": "="})
def test_journald_reads_exactly_what_was_meant(fields: dict[str, str]) -> None:
    assert decoded(encoded(fields)) == fields


def test_a_name_for_a_field_is_made_fit(journald: Journald, log: logging.Logger) -> None:
    log.info("x", extra={"hub_a=b\nc": "1", f"hub_{'x' * 100}": "2", "hub_none": None})
    (record,) = journald.records()
    assert record["HUB_ABC"] == "1"
    assert record[f"HUB_{'X' * 60}"] == "2"
    assert "HUB_NONE" not in record


def test_a_lone_surrogate_does_not_break_the_log(journald: Journald, log: logging.Logger) -> None:
    # Straight into the handler: what else listens to a logger under test need not be able to write it down.
    (handler,) = (each for each in log.handlers if isinstance(each, JournalHandler))
    handler.handle(logging.LogRecord("hubd.tested", logging.INFO, __file__, 1, "%s", ("\ud800",), None))
    assert journald.records()[0]["MESSAGE"] == "\\ud800"


# -- which shape -------------------------------------------------------------------------------------------


def test_stderr_is_the_journal_only_when_device_and_inode_are_the_ones_it_named(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as ours, (tmp_path / "b").open("w") as other:
        about = os.fstat(ours.fileno())
        environ = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
        assert is_journal(ours, environ)
        assert not is_journal(other, environ), "stderr was sent into a file since"
        for wrong in ("", ":", "x", f"{about.st_dev}", f"{about.st_ino}:{about.st_dev}", "0:0"):
            assert not is_journal(ours, {"JOURNAL_STREAM": wrong})
        assert not is_journal(ours, {})
    assert not is_journal(ours, environ), "closed"
    assert not is_journal(io.StringIO(), environ), "no file"


def test_the_handler_fits_what_stderr_is(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    master, slave = pty.openpty()
    with open(write, "w") as pipe, open(slave, "w") as terminal, (tmp_path / "log").open("w") as file:
        about = os.fstat(pipe.fileno())
        at_journal = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
        native = handler_for(pipe, at_journal)
        assert isinstance(native, JournalHandler)
        native.close()
        assert isinstance(handler_for(pipe, {}).formatter, MarkedLines)
        assert isinstance(handler_for(file, {}).formatter, MarkedLines)
        assert isinstance(handler_for(terminal, {}).formatter, journal.ForPeople)
    os.close(master)


def line(formatter: logging.Formatter, text: str, level: int = logging.INFO) -> str:
    record = logging.LogRecord("hubd.daemon", level, __file__, 1, text, (), None)
    record.created = 0.0
    return formatter.format(record)


def test_every_line_that_is_no_terminals_begins_with_its_priority() -> None:
    said = line(MarkedLines(), "it broke\nTraceback\n  File", logging.ERROR)
    assert said == "<3>hubd.daemon: it broke\n<3>Traceback\n<3>  File"
    assert line(MarkedLines(), "", logging.DEBUG) == "<7>hubd.daemon: "


def test_only_a_file_gets_the_time_because_nobody_else_stamps_it(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        formatter = handler_for(file, {}).formatter
        assert formatter is not None
        assert line(formatter, "ready") == "<6>1970-01-01T00:00:00Z hubd.daemon: ready"


def test_a_terminal_gets_words_and_colour_but_only_where_they_are_wanted() -> None:
    plain = line(journal.ForPeople(coloured=False), "careful", logging.WARNING)
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning  hubd.daemon: careful", plain)
    assert line(journal.ForPeople(coloured=True), "careful", logging.WARNING) == f"\x1b[33m{plain}\x1b[0m"
    master, slave = pty.openpty()
    with open(slave, "w") as terminal:
        for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            formatter = handler_for(terminal, environ).formatter
            assert formatter is not None
            assert "\x1b" not in line(formatter, "careful", logging.WARNING)
    os.close(master)


def test_a_process_whose_stderr_is_the_journal_speaks_to_its_socket(journald: Journald) -> None:
    """The decision in a process of its own, with the variable that systemd sets."""
    program = (
        "import logging, os, sys\n"
        "from hubd import journal\n"
        "about = os.fstat(2)\n"
        "environ = {'JOURNAL_STREAM': f'{about.st_dev}:{about.st_ino}'}\n"
        f"logging.getLogger().addHandler(journal.handler_for(sys.stderr, environ, {str(journald.path)!r}))\n"
        "logging.warning('hello')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stderr == ""
    assert [record["MESSAGE"] for record in journald.records()] == ["hello"]


def test_setting_up_twice_writes_every_line_once_and_none_of_chatty_libraries() -> None:
    program = (
        "import logging\n"
        "from hubd import journal\n"
        "journal.set_up('info', {})\n"
        "journal.set_up('warning', {})\n"
        "logging.info('no')\n"
        "logging.warning('yes')\n"
        "journal.set_up('debug', {})\n"
        "logging.getLogger('twilio').info('POST /Messages To=...')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stderr == "<4>root: yes\n"


# -- nobody's address --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "zoë@exämple.com",
        "o'brien+news@sub.example.co.uk",
        "p7@example.com",
        "+14155552671",
        "+1 415 555-2671",
    ],
)
def test_no_address_gets_into_the_log_not_even_in_a_traceback(
    journald: Journald, log: logging.Logger, address: str
) -> None:
    try:
        raise KeyError(address)
    except KeyError:
        log.exception("no such contact: <%s>, %s", address, [address], extra={"hub_campaign": address})
    for value in journald.records()[0].values():
        assert address not in value
        assert address[:5] not in value
    assert address not in line(MarkedLines(), f"to {address}")
    assert address not in line(journal.ForPeople(coloured=True), f"to {address}")


def test_a_line_that_does_not_fit_its_arguments_does_not_show_them(
    journald: Journald, stderr: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = JournalHandler(str(journald.path), otherwise=logging.StreamHandler(stderr))
    handler.handle(
        logging.LogRecord("hubd", logging.ERROR, "", 1, "%d sent to %s", ("ada@example.com",), None)
    )
    handler.close()
    (record,) = journald.records()
    assert record["MESSAGE"] == "hubd: this line does not match its arguments: '%d sent to %s'"
    assert capsys.readouterr().err == ""


def test_one_address_has_one_mask_and_two_have_two() -> None:
    assert masked("ada@example.com") == masked("Ada@example.com").replace("Om>", "om>")
    assert masked("ada@example.com") != masked("bob@example.com")
    assert re.fullmatch(r"<address [0-9a-f]{6}\.\.om>", masked("ada@example.com"))


@pytest.mark.parametrize(
    "text",
    [
        "3 messages were on the wire",
        "at 2026-08-01T09:00:00+01:00",
        "user@",
        "12+34",
        "rate 30/minute + 10/s",
        "/var/lib/messagehub/hub.db",
        "provider office is resting (was ready)",
    ],
)
def test_what_is_no_address_is_left_alone(text: str) -> None:
    assert masked(text) == text


@given(st.emails(), st.text(" \n.,;:<>()", max_size=3), st.text(" \n.,;:<>()", max_size=3))
def test_any_usual_address_is_masked_wherever_it_stands(address: str, before: str, after: str) -> None:
    local, _, domain = address.rpartition("@")
    said = masked(f"x{before} {address} {after}x")
    assert f"@{domain}" not in said, local


@given(st.text())
def test_masking_is_done_once_for_all(text: str) -> None:
    assert masked(masked(text)) == masked(text)


# -- whom a line is about ----------------------------------------------------------------------------------


@pytest.fixture
def engine_log(journald: Journald, stderr: io.StringIO) -> Iterator[None]:
    """What the engine logs goes to the journal."""
    logger = logging.getLogger("hubd.engine")
    handler = JournalHandler(str(journald.path), otherwise=logging.StreamHandler(stderr))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(level)
    logger.removeHandler(handler)
    handler.close()


async def test_a_line_about_a_campaign_can_be_asked_for_by_its_name(
    journald: Journald, engine_log: None, tmp_path: Path
) -> None:
    """journalctl HUB_CAMPAIGN=spring; and the recipient who was in the error is not in it."""
    store = FakeStore()
    campaign = store.add_campaign("spring", 1, Content(channel=Channel.EMAIL, subject="s", text="t"))
    context = RunContext(
        campaigns=store,
        ledger=store,
        health=store,
        plans=TemplateCache(store, b"key"),
        now=lambda: 0.0,
        steady=lambda: 0.0,
        random=lambda: 0.5,
        retry_policy=lambda _: RetryPolicy(),
    )
    tries = 0

    async def make_task(_: int, watched: object) -> tuple[CampaignTask, WorkerPool]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreUnavailable("the disk is full")
        raise RuntimeError("ann@example.com was in the way")

    run = CampaignRun(campaign, context, make_task)
    run.SETBACK = 0.0
    await run.supervise()
    records = journald.records()
    assert [record["PRIORITY"] for record in records] == ["4", "3", "6"]
    assert {record["HUB_CAMPAIGN"] for record in records} == {"spring"}
    assert "incident" in records[1]["MESSAGE"]
    assert "ann@example.com" not in str(records)


async def test_a_start_that_fails_at_its_time_can_be_asked_for_by_its_name(
    journald: Journald, engine_log: None, autojump_clock: trio.testing.MockClock
) -> None:
    store = FakeStore()
    campaign = store.add_campaign("late", 1, Content(channel=Channel.EMAIL, subject="s", text="t"))
    store.campaigns[campaign.id] = replace(campaign, state=CampaignState.SCHEDULED, scheduled_at=60.0)
    async with open_supervisor(
        campaigns=store,
        ledger=store,
        health=store,
        plans=TemplateCache(store, b"key"),
        doubts=store,
        providers=Providers({}, lambda: 0.5),  # the one that it names was taken out of the configuration
        limits=LimiterRegistry(store, trio.current_time),
        now=trio.current_time,
        random=lambda: 0.5,
        retry_policy=RetryPolicy(),
    ):
        await trio.sleep(200)
    (record,) = (each for each in journald.records() if "on time" in each["MESSAGE"])
    assert record["HUB_CAMPAIGN"] == "late"


async def test_a_line_about_a_provider_can_be_asked_for_by_its_name(
    journald: Journald, engine_log: None
) -> None:
    written = trio.Event()

    async def add(*_: object) -> None:
        written.set()

    health_events = HealthEvents(add, FakeStore())
    change = HealthChange(provider="office", before="ready", after="resting", reason="no answer", until=None)
    health_events.tell(change)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(health_events.run)
        await written.wait()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    (record,) = journald.records()
    assert record["HUB_PROVIDER"] == "office"
    assert record["MESSAGE"] == "provider office is resting: no answer (was ready)"
