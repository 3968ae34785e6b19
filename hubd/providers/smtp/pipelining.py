"""Whether a server supports the PIPELINING that it offers (RFC 2920).

Some servers, and some firewalls in front of them, offer it and then lose what follows the first command of a
packet, or call it a protocol error. The signs are silence after some of the replies, several lost connections
in a row, and a reply about the order of commands. Then the message is tried again on a fresh connection, one
command at a time; if the server answers that, it is used in this way from then on.

A message is only tried again before its body, when nothing can have been accepted.
"""

from __future__ import annotations

import logging
import re

from hubd.core.model import Answer, Signal

log = logging.getLogger(__name__)

#: Seconds that a server may take for the next reply after it answered part of a group of commands, as long as
#: it has never answered a whole group of that kind.
UNPROVEN_TIMEOUT = 5.0
#: Lost connections in a row that are a sign; one proves nothing.
DROPS = 2
#: "Error: pipelining ..." (Postfix), "SMTP synchronization error" (Exim), "Bad sequence of commands".
_OUT_OF_ORDER = re.compile(r"pipelin|synchroni[sz]ation|bad sequence|out of (order|sequence)", re.IGNORECASE)


class Pipelining:
    """What is known about one account's server. There are two kinds of groups of commands: an envelope by
    itself, and one that is `announced` behind the body of the message before it.
    """

    def __init__(self, provider: str, *, wanted: bool) -> None:
        self.usable = wanted  #: whether it may be used if it is offered
        self._provider = provider
        self._proven: set[bool] = set()
        # by kind: connections in a row that were lost or sent nonsense while it was not proven
        self._drops = {False: 0, True: 0}

    def proven(self, *, announced: bool) -> bool:
        """Whether it has ever answered a whole group of this kind: then silence means something else."""
        return announced in self._proven

    def answered(self, *, announced: bool) -> None:
        """Note that every reply to a group has come."""
        self._drops[announced] = 0
        self._proven.add(announced)

    def suspects(self, refusal: Answer, *, announced: bool, impatient: bool) -> bool:
        """Whether a refusal may only mean that the commands came all at once. `impatient`: the wait for the
        reply was no longer than `UNPROVEN_TIMEOUT`.
        """
        if announced in self._proven:
            return False
        if refusal.signal is Signal.TIMEOUT:
            return impatient
        if refusal.signal is not Signal.REPLY:
            self._drops[announced] += 1
            return self._drops[announced] >= DROPS
        return refusal.code in (500, 503) or _OUT_OF_ORDER.search(refusal.text) is not None

    def lost_announced(self) -> None:
        """Note that a connection with an announced group was lost before anybody asked for its replies."""
        if True not in self._proven:
            self._drops[True] += 1
            if self._drops[True] >= DROPS:
                self._give_up()

    def tried_without(self, before: Answer, now: Answer | None, *, slowest: float) -> None:
        """Note the answer to a message that was tried one command at a time after a suspicious refusal.
        `slowest` is the server's longest time for a reply, in seconds: from a slow one, silence was no sign.
        """
        if now is not None and (now.signal is not Signal.REPLY or now.code == before.code):
            return  # PIPELINING was not the reason
        if before.signal is Signal.TIMEOUT and slowest >= UNPROVEN_TIMEOUT:
            self._proven |= {False, True}
            return
        self._give_up()

    def _give_up(self) -> None:
        if self.usable:
            self.usable = False
            log.warning(
                "the server of provider %s offers PIPELINING but does not support it, so it gets one command "
                "at a time; pipelining = false in hubd.toml saves the attempt",
                self._provider,
                extra={"hub_provider": self._provider},
            )
