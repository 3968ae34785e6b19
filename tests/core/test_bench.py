"""The benches: their summaries are pure, and the command line means what its help says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import docs, profile
from tests.bench.measure import BenchResult, Point, PointResult, Role, Sample, Taken, Way
from tests.bench.options import BENCHES, PROFILE, parse
from tests.bench.runner import run_rounds, start_results
from tests.bench.summary import as_json, markdown_table, paired_ratio, sum_up, text_table

Values = st.lists(st.floats(0.1, 1e6), min_size=1, max_size=9)


def result(*ways: Taken, higher_is_better: bool = True) -> PointResult:
    return PointResult(Point("p", "rate", "messages/s", higher_is_better, []), list(ways))


def rates(name: str, role: Role, *values: float) -> Taken:
    return Taken(name, role, [{"rate": value} for value in values])


def test_the_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    # The second round was twice as slow for both; the ratio of the medians would be 300 / 100.
    assert paired_ratio([400.0, 200.0, 300.0], [200.0, 100.0, 60.0], higher_is_better=True) == 2.0


def test_a_round_in_which_one_of_them_failed_does_not_count() -> None:
    assert paired_ratio([100.0, None, 300.0], [None, 5.0, 100.0], higher_is_better=True) == 3.0
    assert paired_ratio([None], [5.0], higher_is_better=True) is None
    assert paired_ratio([5.0, 5.0], [1.0], higher_is_better=True) == 5.0  # interrupted in the second round


@given(Values)
def test_whoever_is_as_good_has_the_ratio_one(values: list[float]) -> None:
    assert paired_ratio(values, values, higher_is_better=True) == 1.0
    assert paired_ratio(values, values, higher_is_better=False) == 1.0


@given(Values, st.floats(1.5, 100))
def test_above_one_hubd_is_better(values: list[float], times: float) -> None:
    more = [value * times for value in values]
    assert paired_ratio(more, values, higher_is_better=True) == pytest.approx(times)
    assert paired_ratio(values, more, higher_is_better=False) == pytest.approx(times)


def test_a_row_has_median_minimum_maximum_and_the_medians_of_what_else_was_measured() -> None:
    ours = Taken("hubd", Role.SUBJECT, [{"rate": rate, "us CPU": rate / 10} for rate in (10.0, 30.0, 20.0)])
    hubd, other = sum_up(result(ours, rates("other", Role.ALTERNATIVE, 5.0, 10.0, 5.0)))
    assert (hubd.ratio, hubd.median, hubd.lowest, hubd.highest) == (None, 20.0, 10.0, 30.0)
    assert hubd.further == {"us CPU": 2.0}
    assert (other.ratio, other.median) == (3.0, 5.0)


def test_the_tables_say_what_could_not_be_measured_and_why() -> None:
    broken = Taken("other", Role.ALTERNATIVE, [None], failure="node is missing")
    bench = BenchResult("send", "email", [result(rates("hubd", Role.SUBJECT, 1234.5), broken)])
    for table in (text_table([bench]), markdown_table([bench])):
        assert "1,234" in table
        assert "not measured" in table
        assert "node is missing" in table


def test_the_json_has_every_sample() -> None:
    bench = BenchResult("send", "email", [result(rates("hubd", Role.SUBJECT, 1.0, 2.0))])
    whole = as_json([bench], machine={"cores": "2"}, command="x", date="2026-01-01")
    again = json.loads(json.dumps(whole))
    assert again["schema"] == "messagehub.bench/1"
    assert again["benches"][0]["points"][0]["ways"][0]["samples"] == [{"rate": 1.0}, {"rate": 2.0}]


def test_each_way_is_measured_once_in_each_round_and_none_always_first() -> None:
    order: list[str] = []

    def way(name: str) -> Way:
        def measure() -> Sample:
            order.append(name)
            return {"rate": 1.0}

        return Way(name, Role.SUBJECT, measure)

    points = start_results([Point("p", "rate", "/s", True, [way("a"), way("b")])])
    run_rounds(points, 2, label="test")
    assert order == ["a", "b", "b", "a"]


def test_a_profile_is_the_time_that_each_package_held_the_lock() -> None:
    lines = [
        "run (trio/_core/_run.py:1);render (hubd/core/compose.py:5) 30",
        "run (trio/_core/_run.py:1) 10",
        "main (hubd/__main__.py:9);load (<frozen importlib._bootstrap>:7);<module> (trio/a.py:1) 500",
        "not a stack",
    ]
    found = profile.summarize(lines, messages=1000, cpu=300.0)
    assert found.samples == 40
    assert found.held == 160.0  # microseconds: 40 samples at 250 a second are 0.16 s for 1000 messages
    assert found.packages == [("hubd/core", 120.0), ("trio", 40.0)]
    assert found.functions[0] == ("render (hubd/core/compose.py)", 120.0)


def test_only_the_named_block_of_the_page_is_replaced() -> None:
    page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin --><!-- y: end -->\n"
    changed = docs.replace_block(page, "x", "new\n")
    assert changed == page.replace("old", "new")
    with pytest.raises(ValueError, match="no block z"):
        docs.replace_block(page, "z", "new")


def test_the_page_has_the_blocks_that_a_run_replaces() -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    for name in ("measured", "profile"):
        docs.replace_block(page, name, "")


def test_all_benches_are_chosen_when_none_is_named() -> None:
    assert parse([]).benches == [*BENCHES, PROFILE]
    assert parse(["sms", "--quick", "send", "sms"]).benches == ["sms", "send"]


def test_the_options_are_read(tmp_path: Path) -> None:
    (tmp_path / "hubd").mkdir()
    (tmp_path / "hubd" / "__main__.py").touch()
    found = parse(["--connections", "1,16", "--round-trips", "0,100", "--against", str(tmp_path), "send"])
    assert (found.connections, found.round_trips, found.benches) == ([1, 16], [0, 100], ["send"])
    assert found.against == tmp_path


@pytest.mark.parametrize(
    "arguments",
    [["sent"], ["--rounds", "0"], ["--connections", "1,x"], ["--security", "ssl"], ["--against", "/nowhere"]],
)
def test_a_wrong_option_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
