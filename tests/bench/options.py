"""The command line of the benches."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from tests.bench.benches import (
    features,
    freeze,
    http,
    import_,
    listing,
    memory,
    pause,
    recovery,
    render,
    report,
    rollup,
    rpc,
    send,
    sms,
    start_up,
)

BENCHES: dict[str, ModuleType] = {
    "send": send,
    "render": render,
    "sms": sms,
    "http": http,
    "features": features,
    "import": import_,
    "freeze": freeze,
    "listing": listing,
    "report": report,
    "roll-up": rollup,
    "rpc": rpc,
    "pause": pause,
    "start-up": start_up,
    "memory": memory,
    "recovery": recovery,
}
T = TypeVar("T")

PROFILE = "profile"  #: chosen like a bench; it has no rounds and nothing beside it


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="How fast MessageHub is, beside what you would use instead, in one run on one machine.",
        epilog="Nothing leaves this machine. docs/performance.md says how to read the results.",
    )
    add = found.add_argument
    names = ", ".join([*BENCHES, PROFILE])
    add("benches", nargs="*", type=_bench, metavar="BENCH", help=f"{names} (default: all)")
    add("--quick", action="store_true", help="two minutes instead of twenty, on fewer messages")
    add("--rounds", type=_positive, metavar="N", help="how often each way is measured")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    add("--against", type=_checkout, metavar="FOLDER", help="also measure the hubd of another checkout")
    add("--alone", action="store_true", help="measure hubd with nothing beside it")
    add("--write-docs", action="store_true", help="put the tables of this run into docs/performance.md")
    add("--messages", type=_positive, metavar="N", help="messages or rows of one measurement")
    add(
        "--recipients",
        type=_positive,
        metavar="N",
        help="of freeze, listing, memory: the largest campaign",
    )
    add("--connections", type=_list_of(_positive), metavar="N,...", help="of send, sms and rpc")
    add("--security", type=_list_of(_security), metavar="S,...", help="of send: plain, tls")
    add("--kilobytes", type=_list_of(_positive), metavar="KB,...", help="size of the messages of send")
    add("--round-trips", type=_list_of(_natural), metavar="MS,...", help="of send and pause")
    return found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; ends the program with status 2 when they are wrong."""
    chosen = parser().parse_intermixed_args(arguments)
    chosen.benches = list(dict.fromkeys(chosen.benches)) or [*BENCHES, PROFILE]
    return chosen


def _bench(text: str) -> str:
    if text not in BENCHES and text != PROFILE:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join([*BENCHES, PROFILE])}")
    return text


def _list_of(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    return lambda text: [kind(each.strip()) for each in text.split(",")]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return int(text)


def _security(text: str) -> str:
    if text not in ("plain", "tls"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither plain nor tls")
    return text


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if not (path / "hubd" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"{path} is no checkout: it has no hubd/__main__.py")
    return path
