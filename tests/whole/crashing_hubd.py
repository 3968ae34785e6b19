"""hubd with its failpoints armed: the same `main`, in a process that kills or stops itself where it is told.

    HUBD_FAIL=after_open:3 python -m tests.whole.crashing_hubd [options of hubd]

`point:n` kills the process (SIGKILL) when it is at that point for the n-th time, `point:n:stop` stops it
(SIGSTOP) until somebody continues it. `@FILE` stands for what is in that file once it is there, so that the
daemon can do other things before. hubd itself never looks at this variable.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from hubd import failpoints
from hubd.__main__ import main


def effect_of(plan: str) -> Callable[[str], None]:
    """What `plan` asks for. Raises `ValueError` if it makes no sense."""
    point, times, how = [*plan.split(":"), "kill"][:3]
    if point not in failpoints.POINTS or how not in ("kill", "stop"):
        raise ValueError(f"HUBD_FAIL={plan}: point:n or point:n:stop, with one of {failpoints.POINTS}")
    left = int(times)
    lock = Lock()  # points are met in the database's thread, too

    def effect(reached: str) -> None:
        nonlocal left
        if reached != point:
            return
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)

    return effect


def effect_in(file: Path) -> Callable[[str], None]:
    """What the plan in this file asks for; nothing while there is none."""
    effect: Callable[[str], None] | None = None

    def effect_now(reached: str) -> None:
        nonlocal effect
        if effect is None and file.exists():
            effect = effect_of(file.read_text())
        if effect is not None:
            effect(reached)

    return effect_now


if __name__ == "__main__":
    plan = os.environ["HUBD_FAIL"]
    failpoints.arm(effect_in(Path(plan[1:])) if plan.startswith("@") else effect_of(plan))
    main()
