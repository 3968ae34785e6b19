"""Takes the measurements of one bench: every way at every point once in each round."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace

from tests.bench.measure import Point, PointResult, Role, Taken


class Unmeasurable(Exception):
    """Something cannot be measured here; the text says why."""


def start_results(points: Sequence[Point], roles: Collection[Role] = tuple(Role)) -> list[PointResult]:
    """Results without any measurement yet, of the ways that have one of these roles."""
    found = []
    for point in points:
        ways = [way for way in point.ways if way.role in roles]
        taken = [Taken(way.name, way.role) for way in ways]
        found.append(PointResult(replace(point, ways=ways), taken))
    return found


def run_rounds(results: Sequence[PointResult], rounds: int, *, label: str) -> None:
    """Measure round by round. `results` get the samples, also those before an interruption.

    Each round begins with another way, so that none always comes first after a pause.
    """
    for index in range(rounds):
        for result in results:
            if result.point.rounds is not None and index >= result.point.rounds:
                continue
            ways = list(zip(result.point.ways, result.ways, strict=True))
            turn = index % len(ways)
            for way, taken in ways[turn:] + ways[:turn]:
                progress(f"{label}: round {index + 1} of {rounds}, {result.point.name}: {way.name}")
                try:
                    taken.samples.append(way.measure())
                except Exception as error:
                    taken.samples.append(None)
                    taken.failure = " ".join(str(error).split()) or type(error).__name__
                    progress(f"{label}: {way.name}: {taken.failure}")


def progress(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)
