"""Whether a server accepts the parameters of DSN (RFC 3461) that it offers.

Some servers, and proxies in front of them, offer DSN and refuse MAIL or RCPT with RET, ENVID, NOTIFY or
ORCPT. Then the same envelope is sent without them, on the same connection; if the server accepts that, or
refuses it for another reason, it is not asked for reports again until its settings change.
"""

from __future__ import annotations

import logging
import re

from hubd.core.model import Answer, Signal, Stage

log = logging.getLogger(__name__)

#: Refused parameters (RFC 5321 section 4.2.2, RFC 3463 section 3.6).
_CODES = frozenset({455, 501, 504, 555})
_ENHANCED = ".5.4"
_WORDS = re.compile(r"\b(?:envid|notify|orcpt|ret=|dsn|parameters?)\b", re.IGNORECASE)


class Dsn:
    """What is known about one account's server."""

    def __init__(self, provider: str) -> None:
        self.usable = True  #: whether reports may be asked for if the server offers DSN
        self._provider = provider

    def suspects(self, refusal: Answer | None) -> bool:
        """Whether the refusal of an envelope with parameters may only mean that the server accepts none."""
        return (
            refusal is not None
            and refusal.signal is Signal.REPLY
            and refusal.stage in (Stage.MAIL, Stage.RCPT)
            and (
                refusal.code in _CODES
                or refusal.enhanced.endswith(_ENHANCED)
                or (refusal.code >= 500 and _WORDS.search(refusal.text) is not None)
            )
        )

    def tried_without(self, before: Answer, now: Answer | None) -> None:
        """Note the answer to the same envelope without the parameters; None: it was accepted."""
        if now is not None and (now.signal is not Signal.REPLY or now.code < 500 or self.suspects(now)):
            return  # the answer is not final, or the parameters were not the reason
        if self.usable:
            self.usable = False
            log.warning(
                "%s offers DSN but refuses its parameters (%d): email is sent without them, "
                "until the provider's settings change or hubd restarts",
                self._provider,
                before.code,
            )
