"""The figures that a sending program prints of itself.

The programs beside this file import it by its bare name: some run in an environment that has nothing of ours.
"""

from __future__ import annotations

import json
import resource
import time


class Meter:
    """Measures from its creation to `stop`."""

    def __init__(self) -> None:
        self._cpu, self._began = time.process_time(), time.monotonic()
        self._took = 0.0

    def stop(self) -> None:
        """All messages have been sent."""
        self._took = time.monotonic() - self._began

    def print_figures(self, messages: int) -> None:
        """Messages per second, CPU per message and peak memory, as one line of JSON."""
        figures = {
            "rate": messages / self._took,
            "us CPU": (time.process_time() - self._cpu) / messages * 1e6,
            "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(figures))
