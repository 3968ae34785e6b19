"""docs/protocol.md says what the program says: errors, limits, closing codes, who may do what."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.control import (
    calls,
    connection_limits,
    frames,
    gate,
    head,
    memory,
    session,
    session_writer,
    table,
    tickets,
)
from hubd.control.discovery import describe
from hubd.control.methods import METHODS
from hubd.control.roles import Role
from hubd.wire import HEALTH_PATH, MAX_BATCH, MAX_DEPTH, MAX_IN_FLIGHT, MAX_MESSAGE, params
from hubd.wire.events import EVENTS
from hubd.wire.registry import RETRYABLE

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "protocol.md").read_text(encoding="utf-8")


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the tables under a heading."""
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (body,) = [each for each in section if each.startswith(heading + "\n")]
    for line in body.splitlines():
        if line.startswith("|") and not line.startswith("|-"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_error_is_there_with_number_word_and_whether_to_ask_again() -> None:
    told = {(cells[0], cells[1].strip("`")): cells[2] for cells in rows("Errors") if len(cells) == 4}
    del told["code", "word"]
    errors = describe(METHODS, "")["components"]["errors"]
    assert isinstance(errors, dict)
    meant = {(str(each["code"]), word): "yes" if word in RETRYABLE else "no" for word, each in errors.items()}
    assert told == meant
    assert all(each["data"]["retryable"] is (word in RETRYABLE) for word, each in errors.items())


def test_every_row_of_an_error_says_what_to_do() -> None:
    assert all(len(cells[3]) > 15 for cells in rows("Errors") if len(cells) == 4)


def test_every_error_of_the_protocol_has_a_hint_in_the_description() -> None:
    errors = describe(METHODS, "")["components"]["errors"]
    assert isinstance(errors, dict)
    assert all(each["data"]["hint"] for each in errors.values() if each["code"] < -32602)


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("connections", connection_limits.MAX_CONNECTIONS),
        ("connections", connection_limits.MAX_VIEWERS),
        ("connections of one user", connection_limits.MAX_TIMES_FREE),
        ("connections over TCP", connection_limits.MAX_AWAITING_REQUEST),
        ("the same on unix sockets", connection_limits.MAX_OF_USER_AWAITING_REQUEST),
        ("HTTP head", head.MAX_HEAD),
        ("HTTP head", gate.HEAD_SECONDS),
        ("`hub.hello`", session.HELLO_SECONDS),
        ("inbound message of an operator", MAX_MESSAGE),
        ("inbound message of a viewer", gate.MAX_VIEWER_MESSAGE),
        ("inbound message of an operator", MAX_MESSAGE // frames.BYTES_PER_FRAME),
        ("inbound message of a viewer", gate.MAX_VIEWER_MESSAGE // frames.BYTES_PER_FRAME),
        ("requests in progress", memory.CONNECTION_BYTES),
        ("the same beyond that", memory.POOL_BYTES),
        ("reading requests", calls.CONNECTION_TURNS),
        ("reading requests", calls.TURNS),
        ("the answer to a batch", calls.BATCH_BYTES),
        ("nesting", MAX_DEPTH),
        ("requests in a batch", MAX_BATCH),
        ("requests in flight", MAX_IN_FLIGHT),
        ("subscriptions", session.MAX_SUBSCRIPTIONS),
        ("tickets", tickets.MAX_TICKETS),
        ("rows in one page", params.MAX_ROWS),
        ("entries in one page", params.MAX_PAGE),
        ("a request that changes nothing", table.READ_SECONDS),
        ("time to read", session_writer.SEND_SECONDS),
        ("unanswered pings", session_writer.MISSED),
        ("unanswered pings", session_writer.PING_SECONDS),
    ],
)
def test_a_limit_is_the_one_that_holds(what: str, limit: float) -> None:
    told = [cells[1] for cells in rows("Limits") if cells[0].startswith(what)]
    assert told
    assert any(f"{limit:.0f}" in re.findall(r"\d+", cell) for cell in told)


def test_the_limits_are_those_of_the_design() -> None:
    assert (connection_limits.MAX_CONNECTIONS, connection_limits.MAX_AWAITING_REQUEST) == (64, 8)
    assert (gate.MAX_VIEWER_MESSAGE, MAX_BATCH, MAX_IN_FLIGHT, session.MAX_SUBSCRIPTIONS) == (
        256 * 1024,
        50,
        32,
        64,
    )
    assert (tickets.MAX_TTL, tickets.RECONNECT_SECONDS) == (60, 300)


def test_the_codes_by_which_a_connection_is_closed_are_there() -> None:
    told = " ".join(cells[0] for cells in rows("How a connection ends"))
    for code in (
        1001,
        1002,
        1003,
        1007,
        1009,
        session.UNAUTHENTICATED,
        session.BAD_PROTOCOL,
        session_writer.SLOW,
    ):
        assert str(code) in told


def test_what_is_not_for_viewers_is_named() -> None:
    section = TEXT[TEXT.index("## Who may do what") : TEXT.index("## Web pages and TCP")]
    private = {
        name for name, method in METHODS.items() if method.role is Role.OPERATOR and not method.mutates
    }
    assert private
    assert all(f"`{name}`" in section for name in private)


def test_every_status_before_the_websocket_is_there() -> None:
    told = " ".join(cells[0] for cells in rows("Web pages and TCP"))
    sources = [inspect.getsource(module) for module in (head, gate, connection_limits)]
    statuses = {status for source in sources for status in re.findall(r"\bRefusal\((\d{3}),", source)}
    assert {"400", "401", "408", "503"} <= statuses
    assert all(status in told for status in statuses)
    assert HEALTH_PATH in TEXT


def test_every_type_of_event_is_there() -> None:
    told = {cells[0].strip("`") for cells in rows("Events")}
    assert EVENTS.keys() <= told
