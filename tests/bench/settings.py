"""The settings of the benches: how much to measure, of which checkouts, and where to put files."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.hub import Hub
from tests.bench.measure import Role
from tests.bench.packages import Packages
from tests.bench.processes import ROOT


@dataclass(slots=True)
class Settings:
    """For one bench. `stack` ends what the bench has started; `folder` is removed after it."""

    folder: Path
    stack: ExitStack
    quick: bool = False
    messages: int | None = None  #: per measurement, instead of the bench's own number
    recipients: int | None = None  #: of the largest campaign of `freeze` and `memory`
    connections: list[int] | None = None
    security: list[str] | None = None  #: "plain", "tls"
    kilobytes: list[int] | None = None
    round_trips: list[int] | None = None  #: in milliseconds
    against: Path | None = None
    packages: Packages = field(default_factory=Packages)

    def checkouts(self) -> list[tuple[Role, Path]]:
        """The checkouts whose hubd is measured."""
        others = [(Role.AGAINST, self.against)] if self.against else []
        return [(Role.SUBJECT, ROOT), *others]

    def hubs(self, config: str, *, started: bool = True) -> list[tuple[Role, Hub]]:
        """A daemon of each checkout, each with a state directory of its own."""
        found = []
        for role, checkout in self.checkouts():
            hub = Hub(self.folder / f"hub-{role}", config, checkout=checkout, start=started)
            found.append((role, self.stack.enter_context(hub)))
        return found
