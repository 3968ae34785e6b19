"""What the answers to a provider's HTTP requests mean: the shape of such a table, and the rows of HTTP.

Each kind of provider has a table of its own (`hubd.providers.<kind>.verdicts`): its errors by their words or
numbers, by what they say, by status. `verdict.judge` gets it from whoever has asked the provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from hubd.core.model import Answer, Signal
from hubd.core.verdict_tables import Action, Row

A = Action

#: A request that was refused with one of these was not carried out (RFC 9110). Other 4xx are `REFUSED`.
STATUSES: Mapping[int, Row] = MappingProxyType(
    {
        401: Row(A.PROVIDER_STOP, "bad_credentials"),
        402: Row(A.PROVIDER_STOP, "account_suspended"),
        403: Row(A.PROVIDER_STOP, "login_refused"),
        404: Row(A.PROVIDER_STOP, "account_unknown"),
        405: Row(A.PROVIDER_STOP, "account_unknown"),
        408: Row(A.DOUBT, "answer_lost"),  # sent by proxies that gave up on the other side, too
        413: Row(A.PAUSE, "message_too_large"),
        429: Row(A.SLOW, "too_fast"),
    }
)
REFUSED = Row(A.FAIL, "request_refused")
LOST = Row(A.DOUBT, "answer_lost")
ACCEPTED = Row(A.ACCEPT, "")


class Wording(NamedTuple):
    """A row for a refusal that says something. `pattern` is looked for in `WORD: text`."""

    statuses: frozenset[int]
    pattern: re.Pattern[str]
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVerdicts:
    """The table of one kind of provider. A refusal is looked up in `texts`, `words` and `statuses`."""

    accepted: frozenset[int] = frozenset({200, 201, 202})  #: statuses of an acceptance
    needs_id: bool = True  #: whether an acceptance names the message; one that does not is in doubt then
    texts: tuple[Wording, ...] = ()
    words: Mapping[str, Row] = field(default_factory=dict)  #: by `Answer.vendor`
    statuses: Mapping[int, Row] = field(default_factory=lambda: STATUSES)

    def row(self, answer: Answer) -> Row:
        """What the answer to a request means. Only a whole answer of 4xx is a refusal: a 5xx or a redirect
        may have been carried out all the same.
        """
        if answer.signal is not Signal.REPLY:
            return LOST
        if answer.code in self.accepted:
            return ACCEPTED if answer.provider_id or not self.needs_id else LOST
        if not 400 <= answer.code < 500:
            return LOST
        said = f"{answer.vendor}: {answer.text}"
        for wording in self.texts:
            if answer.code in wording.statuses and wording.pattern.search(said):
                return wording.row
        return self.words.get(answer.vendor) or self.statuses.get(answer.code) or REFUSED


#: For whoever has no table of his own: a status is all there is to go by.
PLAIN = RequestVerdicts()
