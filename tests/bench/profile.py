"""Where the time of one message goes: py-spy samples hubd while it sends a campaign.

Python code runs in one thread at a time, the one that holds the interpreter lock (GIL), and this limits the
rate. So py-spy records the stack of that thread 250 times a second. The rest of the CPU time is C code that
has released the lock: SQLite, and system calls for sockets and files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench import mail
from tests.bench.hub import Hub, smtp_provider
from tests.bench.settings import Settings
from tests.bench.sinks import smtp_sink

CONNECTIONS = 16
RATE = 250  #: samples per second
PACKAGES = 12  #: rows of each table
FUNCTIONS = 15

_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?)(:\d+)?\)$")


@dataclass(frozen=True, slots=True)
class Profile:
    """The time of one message, in microseconds."""

    messages: int
    samples: int
    cpu: float  #: of the whole process, as the system counts it
    held: float  #: with the interpreter lock held
    packages: list[tuple[str, float]]  #: the part of `held` in functions of each package
    functions: list[tuple[str, float]]  #: the part of `held` in each function, without what it calls


def take(settings: Settings) -> Profile:
    """Profile hubd. Raises Unmeasurable without py-spy."""
    count = settings.messages or (5_000 if settings.quick else 30_000)
    profiler = settings.packages.python.parent / "py-spy"
    port = settings.stack.enter_context(smtp_sink())
    config = smtp_provider("sink", port, connections=CONNECTIONS)
    hub = settings.stack.enter_context(Hub(settings.folder / "profiled", config, start=False))
    hub.start()
    contacts = hub.ensure_list(count)
    hub.stop()
    raw = settings.folder / "profile.txt"
    options = ["--gil", "--format", "raw", "--rate", str(RATE), "--output", str(raw)]
    hub.start([str(profiler), "record", *options, "--"])
    spec = mail.campaign("profile", provider="sink", contacts=contacts, kilobytes=2)
    sample = hub.run_campaign(spec, count)
    hub.stop()
    return summarize(raw.read_text().splitlines(), messages=count, cpu=sample["us CPU"])


def summarize(lines: Sequence[str], *, messages: int, cpu: float) -> Profile:
    """Add up py-spy's raw format: in each line a stack, a space, and how often it was seen."""
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    total = 0
    for stack, seen in _stacks(lines):
        match = _FRAME.match(stack[-1])
        if match is None or any("importlib" in frame for frame in stack):
            continue  # the start of the daemon is mostly imports
        total += seen
        packages[_package(match["file"])] += seen
        functions[f"{match['function']} ({match['file']})"] += seen
    each = 1e6 / RATE / messages
    return Profile(
        messages=messages,
        samples=total,
        cpu=cpu,
        held=total * each,
        packages=[(name, seen * each) for name, seen in packages.most_common(PACKAGES)],
        functions=[(name, seen * each) for name, seen in functions.most_common(FUNCTIONS)],
    )


def _stacks(lines: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    for line in lines:
        stack, _, seen = line.rpartition(" ")
        if stack and seen.isdecimal():
            yield stack.split(";"), int(seen)


def _package(file: str) -> str:
    parts = file.split("/")
    if parts[0] == "hubd" and len(parts) > 2:
        return f"hubd/{parts[1]}"
    return parts[0] if len(parts) > 1 else "standard library" if parts[0] != "hubd" else "hubd"


def as_text(profile: Profile) -> str:
    """For a terminal."""
    lines = [f"profile: {_headline(profile)}", ""]
    for title, rows in (("package", profile.packages), ("function", profile.functions)):
        lines.append(f"  us/message  share  {title}")
        lines += [f"  {time:10.1f}  {time / profile.held:5.1%}  {name}" for name, time in rows]
        lines.append("")
    return "\n".join(lines)


def as_markdown(profile: Profile) -> str:
    """For docs/performance.md."""
    lines = [f"{_headline(profile)}.", ""]
    for title, rows in (("package", profile.packages), ("function", profile.functions)):
        lines += [f"| {title} | us per message | share |", "|---|---:|---:|"]
        lines += [f"| `{name}` | {time:.1f} | {time / profile.held:.1%} |" for name, time in rows]
        lines.append("")
    return "\n".join(lines)


def _headline(profile: Profile) -> str:
    return (
        f"{profile.cpu:.0f} us CPU per message, the interpreter lock held for {profile.held:.0f} us "
        f"({profile.messages:,} messages of 2 kB, {CONNECTIONS} connections, {profile.samples:,} samples)"
    )
