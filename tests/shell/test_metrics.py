"""Metrics: what a monitoring system reads, judged by its own parser."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hubd.client import Client, open_client
from hubd.control.attempt_metrics import BOUNDS, AttemptMetrics
from hubd.control.exposition import CONTENT_TYPE, Family, Histogram, counter, gauge, render, stateset
from hubd.core.ledger import Close, Open, Rejection, Requeue
from hubd.core.model import DeliveryState
from tests.shell.open_hub import PERSONAL, Served

SPEC = PERSONAL
PROTOCOL = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


class Figures:
    """What the parser of Prometheus makes of a text: values by name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        raise AssertionError(f"no {name} {labels}")


# -- the format --------------------------------------------------------------------------------------------

words = st.text(max_size=20)
labels = st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True), words, max_size=3)
numbers = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)


@given(
    st.lists(st.tuples(labels, numbers), max_size=5, unique_by=lambda pair: tuple(sorted(pair[0].items()))),
    words.map(lambda text: text.strip(" ")),  # blanks around it are lost on this reader
)
def test_any_label_and_any_number_come_back_as_they_were(
    samples: list[tuple[dict[str, str], float]], help: str
) -> None:
    text = render([gauge("some_value", help, samples)])
    assert text.endswith("# EOF\n")
    (family,) = text_string_to_metric_families(text)
    assert [(each.labels, each.value) for each in family.samples] == samples
    assert family.documentation == help


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), st.floats(0, 1e9), labels)
def test_a_histogram_is_cumulative(counts: list[int], total: float, given: dict[str, str]) -> None:
    given.pop("le", None)
    samples = Histogram(bounds=(0.5, 2.5), counts=tuple(counts), total=total).samples(given)
    text = render([Family(name="took_seconds", kind="histogram", unit="seconds", help="", samples=samples)])
    (family,) = text_string_to_metric_families(text)
    found = [(sample.labels.get("le"), sample.value) for sample in family.samples]
    assert found == [
        ("0.5", counts[0]),
        ("2.5", counts[0] + counts[1]),
        ("+Inf", sum(counts)),
        (None, sum(counts)),
        (None, total),
    ]


def test_each_kind_is_understood() -> None:
    text = render(
        [
            counter("done", "Done.", [({"by": "x"}, 3)]),
            stateset("mood", "How.", ["good", "bad"], [({"of": "x"}, "bad")]),
            Family("info", "made", "Made.", [("_info", {"v": "1"}, 1)]),
        ]
    )
    figures = Figures(text)
    assert {family.type for family in figures.families.values()} == {"counter", "stateset", "info"}
    assert figures.value("done_total", by="x") == 3
    assert (figures.value("mood", of="x", mood="good"), figures.value("mood", of="x", mood="bad")) == (0, 1)


def test_what_is_no_text_and_what_has_no_end_can_be_told() -> None:
    text = render([gauge("v", "", [({"a": "\ud800"}, math.inf), ({"a": "-"}, -math.inf)])])
    assert Figures(text.encode().decode()).value("v", a="-") == -math.inf


# -- attempts -----------------------------------------------------------------------------------------------


def opened(number: int, at: float, provider: str = "office") -> Open:
    return Open(delivery_id=number, provider=provider, message_id="", content_hash="", at=at)


def closed(number: int, at: float, to: DeliveryState = DeliveryState.SENT, **more: Any) -> Close:
    return Close(delivery_id=number, to=to, reason="", at=at, **more)


def test_an_attempt_lasts_from_open_to_close() -> None:
    attempt_metrics = AttemptMetrics()
    attempt_metrics.note([opened(1, 100.0)], [None])
    attempt_metrics.note([closed(1, 100.3), opened(2, 100.3)], [None, None])
    attempt_metrics.note([closed(2, 99.0, DeliveryState.DEFERRED)], [None])  # the clock was set back
    assert attempt_metrics.outcomes == {("office", "sent"): 1, ("office", "deferred"): 1}
    histogram = attempt_metrics.durations()["office"]
    assert histogram.counts[BOUNDS.index(0.5)] == 1
    assert histogram.counts[0] == 1
    assert histogram.total == pytest.approx(0.3)


def test_what_was_not_written_is_not_counted() -> None:
    attempt_metrics = AttemptMetrics()
    attempt_metrics.note([opened(1, 1.0)], [Rejection(why="suppressed", skipped=True)])
    attempt_metrics.note([closed(1, 2.0, opened=False, provider="office")], [Rejection(why="delivery_state")])
    attempt_metrics.note([Requeue(delivery_id=1, at=3.0)], [None])
    assert not attempt_metrics.outcomes
    assert not attempt_metrics.durations()


def test_a_try_that_was_never_opened_has_an_outcome_and_no_duration() -> None:
    attempt_metrics = AttemptMetrics()
    attempt_metrics.note([closed(1, 2.0, DeliveryState.FAILED, opened=False, provider="office")], [None])
    assert attempt_metrics.outcomes == {("office", "failed"): 1}
    assert not attempt_metrics.durations()


# -- the whole ---------------------------------------------------------------------------------------------


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        yield hub


async def figures(hub: Client) -> Figures:
    found = await hub.call("hub.metrics")
    assert found["content_type"] == CONTENT_TYPE
    assert "@" not in found["text"]
    return Figures(found["text"])


async def import_people(hub: Client, n: int) -> None:
    rows = [{"line": i, "values": {"email": f"p{i}@example.com", "first_name": "N"}} for i in range(n)]
    await hub.call("contacts.import", list="customers", rows=rows, import_id="one")


async def run_campaign(hub: Client, n: int) -> None:
    await import_people(hub, n)
    await hub.call("campaign.apply", spec=SPEC)
    subscription = hub.subscribe(["campaign:spring"])
    await anext(subscription)
    await hub.call("campaign.start", name="spring")
    async for event in subscription:
        if event["type"] == "campaign.state" and event["data"]["to"] == "completed":
            return


async def test_a_campaign_and_its_provider_in_figures(hub: Client) -> None:
    with trio.fail_after(60):
        await run_campaign(hub, 7)
    found = await figures(hub)
    assert found.value("messagehub_campaign_deliveries", campaign="spring", state="sent") == 7
    assert found.value("messagehub_campaigns", state="completed") == 1
    assert (
        found.value("messagehub_campaign_state", campaign="spring", messagehub_campaign_state="completed")
        == 1
    )
    assert found.value("messagehub_attempts_total", provider="outbox", outcome="sent") == 7
    assert found.value("messagehub_attempt_duration_seconds_count", provider="outbox") == 7
    assert found.value("messagehub_provider_state", provider="outbox", messagehub_provider_state="ready") == 1
    assert found.value("messagehub_queue_deliveries", lane="bulk", state="pending") == 0
    assert found.value("messagehub_campaign_possible_duplicates_total", campaign="spring") == 0
    assert found.value("messagehub_free_room_bytes") > 0
    assert found.value("messagehub_database_trouble") == 0
    assert found.value("messagehub_events_total") > 3


async def test_the_table_of_the_documentation_has_every_figure_and_no_other(hub: Client) -> None:
    endings = {"counter": "_total", "info": "_info"}
    found = (await figures(hub)).families.values()
    rows = [line for line in PROTOCOL.read_text().splitlines() if line.startswith("| `messagehub_")]
    documented = [name for row in rows for name in re.findall(r"`(messagehub_\w+)`", row)]
    assert sorted(documented) == sorted(each.name + endings.get(each.type, "") for each in found)


async def test_what_is_archived_is_not_told(hub: Client) -> None:
    with trio.fail_after(60):
        await run_campaign(hub, 1)
    await hub.call("campaign.archive", name="spring")
    found = await figures(hub)
    assert not found.families["messagehub_campaign_deliveries"].samples
    assert found.value("messagehub_campaigns", state="completed") == 0


async def test_a_breaker_that_is_open_shows(hub: Client) -> None:
    await hub.call("provider.disable", name="outbox")
    found = await figures(hub)
    assert found.value("messagehub_provider_state", provider="outbox", messagehub_provider_state="ready") == 0
    assert (
        found.value("messagehub_provider_state", provider="outbox", messagehub_provider_state="disabled") == 1
    )


async def test_what_waits_for_its_rate_shows_in_the_queue(hub: Client) -> None:
    await import_people(hub, 3)
    await hub.call("campaign.apply", spec={**SPEC, "rate": "1/h"})
    await hub.call("campaign.start", name="spring")
    with trio.fail_after(60):
        while (found := await figures(hub)).value(
            "messagehub_campaign_deliveries", campaign="spring", state="sent"
        ) == 0:
            pass  # there is no event for a message that goes well
    assert found.value("messagehub_queue_deliveries", lane="bulk", state="pending") == 2
    assert found.value("messagehub_in_doubt_deliveries", lane="bulk") == 0
