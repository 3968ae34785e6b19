"""What holds for all tests: which of them run, in which order, and where their files lie.

`--soak` adds the tests that take minutes; `--fast` leaves those that take less than a minute together.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import tempfile
import time

import hypothesis
import pytest

# Times are shown in the zone of the computer: the tests, and what they start, are in one that is known.
os.environ["TZ"] = "UTC"
if hasattr(time, "tzset"):
    time.tzset()

PROGRAMS = ("apps", "whole")  #: the folders whose tests start programs
FIRST = ("test_chaos.py", "test_clock.py", "test_crash.py", "whole", "apps", "test_model.py", "shell")
#: This part of the workers begins with tests that start programs, and waits for them for much of its time.
WAITING = 3 / 5
MEMORY = "/dev/shm"
ROOM = 2 * 2**30  #: bytes that have to be free there; a run of all tests takes a quarter of it at most


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--fast", action="store_true", help="run only what takes less than a minute altogether")


def pytest_configure(config: pytest.Config) -> None:
    """Let property tests try the same examples each time, and new ones with --soak, however long they take.

    Put temporary files where flushing them takes no time, unless TMPDIR says where they go.

    Most of the time of a test with a database is the disk's. That what is flushed is there after a power
    failure is shown otherwise (tests/shell/broken_disk.py), and --soak runs on the disk.
    """
    hypothesis.settings.register_profile("same examples", deadline=None, derandomize=True)
    hypothesis.settings.register_profile("new examples", deadline=None)
    hypothesis.settings.load_profile("new examples" if config.getoption("--soak") else "same examples")
    if "TMPDIR" not in os.environ and not config.getoption("--soak") and _is_usable(MEMORY):
        os.environ["TMPDIR"] = MEMORY
        tempfile.tempdir = None


def _is_usable(folder: str) -> bool:
    """Whether there is a file system in memory with room, from which a library can be loaded."""
    if sys.platform != "linux" or not os.access(folder, os.W_OK):
        return False
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize >= ROOM and not about.f_flag & os.ST_NOEXEC


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if _is_left_out(item, config)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = sorted((item for item in items if item not in gone), key=_turn)
    if hasattr(config, "workerinput"):
        items[:] = _dealt(items, config.workerinput["workercount"])


def _is_left_out(item: pytest.Item, config: pytest.Config) -> bool:
    marks = {mark.name for mark in item.iter_markers()}
    if config.getoption("--fast"):
        return item.path.parent.name in PROGRAMS or bool(marks & {"slow", "soak"})
    return "soak" in marks and not config.getoption("--soak")


def _turn(item: pytest.Item) -> int:
    """The long tests come first, so that the workers end together; else the order stays."""
    places = (item.path.name, item.path.parent.name)
    return next((turn for turn, place in enumerate(FIRST) if place in places), len(FIRST))


def _dealt(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The order in which each worker, which is given as many tests as any other, begins with what it should.

    Some begin with tests of programs, the longest first, and others with tests that only compute, so
    that there is always something to do for the processors. Small tests are last, so that the workers, which
    take what another one has not begun, end together. The tests of a file stay together: they share fixtures.
    """
    rest = [item for item in items if item.path.parent.name not in PROGRAMS]
    waiting = max(1, round(workers * WAITING))
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    programs = (list(tests) for _, tests in itertools.groupby(items, lambda item: item.path))
    starting = (tests for tests in programs if tests[0].path.parent.name in PROGRAMS)
    for number, tests in enumerate(starting):
        shares[number % waiting] += tests
    for number in (*range(waiting, workers), *range(waiting)):
        size = len(items) // workers + (number >= workers - len(items) % workers)
        room = max(0, size - len(shares[number]))
        shares[number] += rest[:room]
        del rest[:room]
    return [*itertools.chain(*shares), *rest]


def pytest_collection_finish() -> None:
    """What was collected stays to the end: no collection of garbage and no test has to look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def signals_are_heeded() -> None:
    """Programs that the tests start inherit which signals are ignored: by `nohup`, or in the background of
    a script.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGQUIT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
