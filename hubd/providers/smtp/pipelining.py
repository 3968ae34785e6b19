"""Whether a server keeps to the PIPELINING that it offers (RFC 2920).

Some servers, and some firewalls before them, offer it and then lose what follows the first command of a
packet, or call it a protocol error. The signs are silence after a part of the replies, connections lost in
a row, and a reply about the order of commands. Then the message is tried again on a fresh connection, one
command at a time; if the server answers that, it is used in this way from then on.

A message is only tried again before its body: nothing can have been accepted.
"""

from __future__ import annotations

import logging
import re

from hubd.core.model import Answer, Signal

log = logging.getLogger(__name__)

#: Seconds that a server which answered a part of a group of commands may take for the next reply, until it
#: has once answered all of such a group.
UNPROVEN_TIMEOUT = 5.0
#: So many lost connections in a row are a sign; one happens to everybody.
DROPS = 2
#: "Error: pipelining ..." (Postfix), "SMTP synchronization error" (Exim), "Bad sequence of commands".
_OUT_OF_ORDER = re.compile(r"pipelin|synchroni[sz]ation|bad sequence|out of (order|sequence)", re.IGNORECASE)


class Pipelining:
    """What is known of one account's server. Groups of commands are of two kinds: an envelope by itself, and
    one that is `announced`, behind the body of the message before it.
    """

    def __init__(self, provider: str, *, wanted: bool) -> None:
        self.usable = wanted  #: whether it may be used if it is offered
        self._provider = provider
        self._proven: set[bool] = set()
        # by kind: connections in a row that were lost, or made no sense, while it was not proven
        self._drops = {False: 0, True: 0}

    def proven(self, *, announced: bool) -> bool:
        """Whether the server has once answered all of such a group: then its silence means something else."""
        return announced in self._proven

    def answered(self, *, announced: bool) -> None:
        """Every reply to a group has come."""
        self._drops[announced] = 0
        self._proven.add(announced)

    def suspects(self, refusal: Answer, *, announced: bool, impatient: bool) -> bool:
        """Whether a refusal may only mean that the commands came at once. `impatient`: silence was not waited
        for any longer than `UNPROVEN_TIMEOUT`.
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
        """A connection was lost with a group that was announced, before anybody asked for its replies."""
        if True not in self._proven:
            self._drops[True] += 1
            if self._drops[True] >= DROPS:
                self._give_up()

    def tried_without(self, before: Answer, now: Answer | None, *, slowest: float) -> None:
        """A message with a suspicious refusal was tried one command at a time. `slowest` is how many seconds
        the server took for a reply at most: if it is as slow as that, silence was no sign.
        """
        if now is not None and (now.signal is not Signal.REPLY or now.code == before.code):
            return  # it was not that
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
