"""Medians, ratios and tables out of measurements. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.bench.measure import BenchResult, PointResult, Role, Sample, Taken

SCHEMA = "messagehub.bench/1"


@dataclass(frozen=True, slots=True)
class Row:
    """One way at one point, summed up."""

    name: str
    role: str
    ratio: float | None  #: how many times as good hubd is: above 1, hubd is better; None for hubd itself
    median: float | None
    lowest: float | None
    highest: float | None
    further: dict[str, float]  #: medians of the other figures
    failure: str


def paired_ratio(
    ours: Sequence[float | None], theirs: Sequence[float | None], *, higher_is_better: bool
) -> float | None:
    """The median over the rounds of how many times as good ours was as theirs in the same round.

    Only rounds in which both were measured count. None without any.
    """
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a and b]
    if not pairs:
        return None
    return statistics.median(a / b if higher_is_better else b / a for a, b in pairs)


def sum_up(result: PointResult) -> list[Row]:
    """The rows of one point, in the order of its ways."""
    point = result.point
    subject = next((taken for taken in result.ways if taken.role is Role.SUBJECT), None)
    ours = _main(subject, point.figure) if subject else []
    rows = []
    for taken in result.ways:
        values = _main(taken, point.figure)
        known = [value for value in values if value is not None]
        ratio = None
        if taken is not subject:
            ratio = paired_ratio(ours, values, higher_is_better=point.higher_is_better)
        rows.append(
            Row(
                name=taken.name,
                role=str(taken.role),
                ratio=ratio,
                median=statistics.median(known) if known else None,
                lowest=min(known, default=None),
                highest=max(known, default=None),
                further=_further([sample for sample in taken.samples if sample], point.figure),
                failure=taken.failure,
            )
        )
    return rows


def _main(taken: Taken, figure: str) -> list[float | None]:
    return [sample[figure] if sample else None for sample in taken.samples]


def _further(samples: Sequence[Sample], main: str) -> dict[str, float]:
    names = dict.fromkeys(name for sample in samples for name in sample if name != main)
    return {name: statistics.median(s[name] for s in samples if name in s) for name in names}


def number(value: float) -> str:
    """Three significant digits, with thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def cells(row: Row) -> list[str]:
    """The cells of a row: ratio, name, median, spread, further figures."""
    if row.median is None or row.lowest is None or row.highest is None:
        return ["", row.name, "not measured", "", row.failure]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
    further = ", ".join(f"{number(value)} {name}" for name, value in row.further.items())
    if row.failure:
        further = f"{further}; {row.failure}" if further else row.failure
    return [ratio, row.name, number(row.median), f"{number(row.lowest)} - {number(row.highest)}", further]


def headline(machine: dict[str, str], *, command: str, date: str) -> str:
    """What was measured where, when and by which command: a sentence for people."""
    about = ", ".join(f"{name} {value}" for name, value in machine.items())
    return f"Measured on {date} by `{command}` ({about})."


def text_table(results: Sequence[BenchResult]) -> str:
    """The tables for a terminal."""
    lines: list[str] = []
    for bench in results:
        lines += [f"{bench.name}: {bench.title}", ""]
        for result in bench.points:
            lines.append(f"  {result.point.name}")
            rows = [cells(row) for row in sum_up(result)]
            head = ["ratio", "", result.point.unit, "min - max", ""]
            widths = [max(len(row[i]) for row in [head, *rows]) for i in range(5)]
            for row in [head, *rows]:
                ratio, name, median, spread, further = (
                    row[0].rjust(widths[0]),
                    row[1].ljust(widths[1]),
                    row[2].rjust(widths[2]),
                    row[3].rjust(widths[3]),
                    row[4],
                )
                lines.append(f"    {ratio}  {name}  {median}  {spread}  {further}".rstrip())
            lines.append("")
    return "\n".join(lines)


def markdown_table(results: Sequence[BenchResult]) -> str:
    """The same for docs/performance.md."""
    lines: list[str] = []
    for bench in results:
        lines += [f"### `{bench.name}`: {bench.title}", ""]
        for result in bench.points:
            lines += [
                f"{result.point.name}:",
                "",
                f"| hubd is better by | | {result.point.unit}, median | min - max | |",
                "|---:|---|---:|---:|---|",
            ]
            for row in sum_up(result):
                bold = f"**{row.name}**" if row.role == Role.SUBJECT else row.name
                first, _, *rest = cells(row)
                lines.append("| " + " | ".join([first, bold, *rest]) + " |")
            lines.append("")
    return "\n".join(lines)


def as_json(
    results: Sequence[BenchResult], *, machine: dict[str, str], command: str, date: str
) -> dict[str, object]:
    """Everything that was measured, as one object."""
    return {
        "schema": SCHEMA,
        "date": date,
        "command": command,
        "machine": machine,
        "benches": [
            {
                "name": bench.name,
                "title": bench.title,
                "points": [
                    {
                        "name": result.point.name,
                        "figure": result.point.figure,
                        "unit": result.point.unit,
                        "higher_is_better": result.point.higher_is_better,
                        "ways": [
                            asdict(row) | {"samples": taken.samples}
                            for row, taken in zip(sum_up(result), result.ways, strict=True)
                        ],
                    }
                    for result in bench.points
                ],
            }
            for bench in results
        ],
    }
