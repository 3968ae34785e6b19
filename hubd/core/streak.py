"""The same refusal for one recipient after another is not about the recipients.

A spam block refuses everybody, and so does a sender that is not allowed to relay. After a few of them in a
row the campaign stops and asks, and those who were refused so are put back: it counts against the campaign or
the provider, not against five people.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hubd.core.verdict import Action, Verdict, is_systemic

#: How many distinct recipients in a row.
LIMIT = 5


@dataclass(slots=True)
class Streak:
    """Counts refusals with one reason, over distinct recipients, until something is accepted."""

    broken: bool = False  #: whether the campaign was told to pause
    _reason: str = ""
    _refused: dict[int, bool] = field(default_factory=dict)  # recipient -> was it failed for good
    _put_back: list[int] = field(default_factory=list)  # what is still on the wire cannot change it any more

    def see(self, delivery_id: int, verdict: Verdict) -> Verdict:
        """The verdict as it stands in its row of verdicts: harmless ones come back as they are."""
        if verdict.action is Action.ACCEPT:
            self._refused.clear()
        if verdict.action not in (Action.FAIL, Action.RETRY) or not is_systemic(verdict.reason):
            return verdict
        if verdict.reason != self._reason:
            self._reason, self._refused = verdict.reason, {}
        self._refused[delivery_id] = verdict.action is Action.FAIL
        if len(self._refused) < LIMIT:
            return verdict
        self._refused[delivery_id] = False  # this one goes back by itself
        detail = f"{verdict.detail} (the same answer for {LIMIT} recipients in a row)"
        if verdict.action is Action.FAIL:
            if not self.broken:
                self._put_back = [number for number, for_good in self._refused.items() if for_good]
            self.broken = True
            return replace(verdict, action=Action.PAUSE, detail=detail)
        self._refused.clear()
        return replace(verdict, action=Action.PROVIDER, detail=detail)

    def failed(self) -> list[int]:
        """The recipients of a broken streak that were failed for good; they are to be put back."""
        return self._put_back
