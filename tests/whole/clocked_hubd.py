"""hubd with a wall clock that a file sets: `python -m tests.whole.clocked_hubd CLOCK [arguments of hubd]`.

CLOCK holds how many seconds the wall clock is ahead of the system's; it is read each time somebody asks for
the time. The monotonic clock is the system's.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tests.whole import settable_clock

if __name__ == "__main__":
    settable_clock.file = Path(sys.argv.pop(1))
    settable_clock.install()
    from hubd import secret_keys

    # A file is not read faster because the monotonic clock is.
    secret_keys.READ_SECONDS *= 1000
    runpy.run_module("hubd", run_name="__main__", alter_sys=True)
