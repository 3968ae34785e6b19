"""A bench from end to end: a few messages through real processes, of which none is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from tests.bench.benches import features, http, report, rollup, send
from tests.bench.measure import Role
from tests.bench.processes import ROOT
from tests.bench.settings import Settings

pytestmark = pytest.mark.slow


def start(arguments: Sequence[str | Path], cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_fifty_messages_are_measured_and_the_results_are_written(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    options = ["--messages", "50", "--connections", "2", "--rounds", "2", "--alone", "--json", str(results)]
    process = start(["send", *options], tmp_path / "cache")
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "2 connections, plain, 2 kB" in out
    [bench] = json.loads(results.read_text())["benches"]
    [way] = bench["points"][0]["ways"]
    assert [sample["rate"] > 0 for sample in way["samples"]] == [True, True]
    assert list((tmp_path / "cache" / "messagehub-bench").iterdir()) == []


def test_the_other_ways_send_to_the_same_server(tmp_path: Path) -> None:
    with ExitStack() as stack:
        settings = Settings(folder=tmp_path, stack=stack, messages=50, connections=[2], round_trips=[0, 1])
        for point in send.points(settings):
            ways = {way.name.partition(":")[0]: way for way in point.ways}
            for name in ("hubd", "smtplib in a loop", "smtp-source"):
                assert ways[name].measure()["rate"] > 0


@pytest.mark.parametrize("bench", [features, http, report, rollup], ids=lambda bench: bench.__name__)
def test_every_point_of_a_bench_is_measured(bench: ModuleType, tmp_path: Path) -> None:
    with ExitStack() as stack:
        settings = Settings(folder=tmp_path, stack=stack, quick=True, messages=40, recipients=40)
        for point in bench.points(settings):
            (hubd,) = [way for way in point.ways if way.role is Role.SUBJECT]
            assert hubd.measure()[point.figure] > 0


def test_after_an_interruption_no_process_is_left(tmp_path: Path) -> None:
    process = start(["send", "--messages", "1000", "--rounds", "100000", "--alone"], tmp_path / "cache")
    assert process.stderr is not None
    while "round 1" not in (line := process.stderr.readline()):
        assert line, "it ended before the first round"
    children = psutil.Process(process.pid).children(recursive=True)
    assert {child.name() for child in children} >= {"smtp-sink"}
    assert len(children) >= 2  # the sink and hubd
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert [child for child in children if child.is_running()] == []
    assert list((tmp_path / "cache" / "messagehub-bench").iterdir()) == []
