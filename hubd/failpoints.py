"""Named places at which a test may end, stop or disturb the process.

The daemon itself gives them no effect and reads no setting for them: nothing that a configuration, an option
or an environment variable says can switch one on. Only a program of the tests that starts the daemon
inside its own process arms them with `arm`.
"""

from __future__ import annotations

from collections.abc import Callable

#: Every point, in the order in which a message meets them; then those outside a message's way.
POINTS = (
    "before_open",  # the next attempt is about to be recorded
    "after_open",  # it is durable, and the irrevocable byte has not left
    "before_dot",  # the irrevocable byte (the terminating dot, the HTTP request) is about to be written
    "after_dot",  # it was handed to the socket
    "after_reply",  # the provider's answer is known, and not written down
    "mid_commit",  # the transaction holds all its changes, and COMMIT was not called
    "after_commit",  # COMMIT returned, and nobody was woken
    "before_command",  # a command was checked, and nothing of it was done
    "in_command",  # its effect, audit row and answer are written, and not committed
    "after_command",  # they are committed, and the engine was not told
    "before_reply",  # the engine was told, and the client was not answered
    "in_recovery",  # orphans of the last run are being put in doubt
    "in_migration",  # a migration's statements ran, and were not committed
    "in_freeze",  # a page of the audience was frozen, and not committed
    "in_occurrence",  # an occurrence of a series was made, and not committed
    "in_trigger",  # additions to a list became recipients, and were not committed
    "in_import",  # a page of an import was stored, and not committed
    "in_compaction",  # the database was written anew, and the copy is not in its place
    "in_giving_back",  # free pages were cut off the file, and that was not committed
    "before_telling",  # a sink is about to be told something
    "after_telling",  # it was told, and that was not written down
    "in_notice",  # a notification's email was queued, and not committed
    "in_backup",  # a backup was written, and has not got its name
    "in_restore",  # what a restored database cannot know is being held
)

_armed: Callable[[str], None] | None = None


def arm(effect: Callable[[str], None]) -> None:
    """Call `effect` with the point's name at every point from now on. For test programs only."""
    global _armed
    _armed = effect


def reach(point: str) -> None:
    """The process is at `point`. Does nothing unless a test armed it."""
    if _armed is not None:
        _armed(point)
