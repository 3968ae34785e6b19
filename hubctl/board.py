"""The campaigns that are being watched: the last that is known of them, and what is worth a line. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hubctl import layout, render, spans
from hubctl.exits import Exit, Refused
from hubd.wire.words import CAMPAIGN_STATES, FINISHED

if TYPE_CHECKING:
    from hubd.wire import campaign_results as r
    from hubd.wire.provider_results import ProviderStatus

_ORDER = ("running", "paused", "scheduled", "failed", "stopped", "completed", "draft")


class Board:
    """The campaigns being watched, as last known, and what is worth a line."""

    def __init__(self) -> None:
        self.views: dict[str, r.CampaignView] = {}
        self.troubled: list[ProviderStatus] = []  #: providers that are not ready
        self.away = ""  #: why there is nothing new, "" while the daemon answers
        self._tenths: dict[str, int] = {}

    def update(self, view: r.CampaignView) -> list[str]:
        """Take a campaign's newest view; returns lines for a change of state and for each tenth passed."""
        name = str(view["name"])
        before = self.views.get(name)
        self.views[name] = view
        tenth = render.percent(view["counts"], render.finished(view["counts"])) // 10
        passed = tenth > self._tenths.get(name, 0)
        self._tenths[name] = tenth
        if before is None or before["state"] != view["state"]:
            return [render.summary(view)]
        return [progress_line(view)] if passed else []

    def lose(self, why: str) -> None:
        """The daemon does not answer: what is known is out of date, and how fast it sends now is unknown."""
        self.away = why
        self.views = {name: {**view, "rate": 0.0, "eta": None} for name, view in self.views.items()}

    def unfinished(self) -> list[r.CampaignView]:
        """Campaigns that go on by themselves or wait for a person."""
        return [view for view in self.views.values() if view["state"] not in FINISHED]

    def summary(self) -> str:
        """The state of everything in one line; "" before any campaign is known."""
        if len(self.views) > 1:
            return self.heading()
        return "".join(render.summary(view) for view in self.views.values())

    def sorted(self) -> list[r.CampaignView]:
        """First those that move, then those that wait, then those that have ended; otherwise as they came."""
        return sorted(self.views.values(), key=lambda view: _ORDER.index(view["state"]))

    def heading(self) -> str:
        """ "3 campaigns: 2 running, 1 paused; 118/s"."""
        states = Counter(view["state"] for view in self.views.values())
        parts = ", ".join(f"{states[state]} {state}" for state in _ORDER if states[state])
        speed = sum(
            float(view.get("rate") or 0) for view in self.views.values() if view["state"] == "running"
        )
        pace = f"; {speed:,.0f}/s" if speed >= 1 else ""
        return f"{layout.plural(len(self.views), 'campaign')}: {parts}{pace}"


def progress_line(view: r.CampaignView) -> str:
    """ "spring-sale 40 %: 19,284 of 48,212, 118/s, 4 m left, 12 skipped"."""
    counts = view["counts"]
    parts = [f"{layout.number(render.done(counts))} of {layout.number(int(counts['total']))}"]
    if speed := render.rate(view):
        parts.append(speed)
    if view["eta"]:
        parts.append(f"{spans.spoken(view['eta'])} left")
    if beside := render.counted(counts, render.ENDED_OTHERWISE):
        parts.append(beside)
    return f"{view['name']} {render.percent(counts)} %: {', '.join(parts)}"


def outcome(view: r.CampaignView, wanted: frozenset[str]) -> Exit | None:
    """DONE when a state of `wanted` is reached, FAILED when none can be any longer, None to keep waiting."""
    if view["state"] in wanted:
        return Exit.DONE
    return Exit.FAILED if view["state"] in FINISHED else None


def read_states(text: str) -> frozenset[str]:
    """ "completed,failed" as states. Raises Refused for a word that is not a state."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in CAMPAIGN_STATES]
    if wrong or not words:
        raise Refused(
            f"--for: {wrong[0] if wrong else text!r} is not a state of a campaign",
            code="usage",
            status=Exit.USAGE,
            hint=f"the states are {', '.join(sorted(CAMPAIGN_STATES))}",
        )
    return frozenset(words)
