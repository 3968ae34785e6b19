"""The entry: `python -m tests.bench`."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from hubd.errors import HubError
from tests.bench import docs, machine, profile
from tests.bench.measure import BenchResult, Role
from tests.bench.options import BENCHES, PROFILE, parse
from tests.bench.packages import Packages
from tests.bench.runner import Unmeasurable, progress, run_rounds, start_results
from tests.bench.settings import Settings
from tests.bench.summary import as_json, headline, markdown_table, text_table

QUICK_ROUNDS = 2


def main(arguments: Sequence[str]) -> int:
    """Run the benches. Returns 0; 1 when hubd or a bench failed; 130 when it was interrupted."""
    options = parse(arguments)
    command = shlex.join(["python", "-m", "tests.bench", *arguments])
    date = datetime.now(UTC).date().isoformat()
    about = machine.describe()
    results: list[BenchResult] = []
    profiles: list[profile.Profile] = []
    status = 0
    packages = Packages()
    with _interruptible():
        try:
            for name in options.benches:
                try:
                    with _settings(options, packages) as settings:
                        if name == PROFILE:
                            progress(f"{name}: sampling")
                            profiles.append(profile.take(settings))
                        else:
                            _run(name, settings, results, rounds=options.rounds, alone=options.alone)
                except (Unmeasurable, RuntimeError, HubError) as error:
                    progress(f"{name}: not measured: {error}")
                    status = 1
        except KeyboardInterrupt:
            progress("interrupted: this is what was measured before")
            status = 130
    head = headline(about, command=command, date=date)
    print(f"{head}\n\n{text_table(results)}")
    print("\n".join(profile.as_text(each) for each in profiles))
    if options.json:
        whole = as_json(results, machine=about, command=command, date=date)
        options.json.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.write_docs and status != 130:
        blocks = {"measured": f"{head}\n\n{markdown_table(results)}"} if results else {}
        for each in profiles:
            blocks["profile"] = f"{head}\n\n{profile.as_markdown(each)}"
        docs.write(blocks)
    return status or int(_hubd_failed(results))


def _run(
    name: str, settings: Settings, results: list[BenchResult], *, rounds: int | None, alone: bool
) -> None:
    bench = BENCHES[name]
    progress(f"{name}: preparing")
    wanted = (Role.SUBJECT, Role.AGAINST) if alone else tuple(Role)
    points = start_results(bench.points(settings), wanted)
    results.append(BenchResult(name=name, title=bench.TITLE, points=points))
    default = min(bench.ROUNDS, QUICK_ROUNDS) if settings.quick else bench.ROUNDS
    run_rounds(points, rounds or default, label=name)


def _hubd_failed(results: Sequence[BenchResult]) -> bool:
    ways = (way for bench in results for point in bench.points for way in point.ways)
    return any(way.failure for way in ways if way.role is Role.SUBJECT)


@contextmanager
def _settings(options: argparse.Namespace, packages: Packages) -> Iterator[Settings]:
    """The settings of one bench; afterwards its processes have ended and its files are removed."""
    # Not a folder for temporary files: that may be in memory, where making a write durable costs nothing.
    packages.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=packages.folder) as folder, ExitStack() as stack:
        yield Settings(
            folder=Path(folder),
            stack=stack,
            quick=options.quick,
            messages=options.messages,
            recipients=options.recipients,
            connections=options.connections,
            security=options.security,
            kilobytes=options.kilobytes,
            round_trips=options.round_trips,
            against=options.against,
            packages=packages,
        )


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM interrupt once; while the processes are being ended they have no further effect."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
