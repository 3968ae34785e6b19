"""Sums of the roll-up, read in one snapshot with the campaigns that they are about."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from hubd.core.measures import Measure
from hubd.core.model import Campaign
from hubd.core.reports import Line, Period, Report
from hubd.store.campaign_rows import all_campaigns
from hubd.store.database import Database
from hubd.store.transaction import Transaction

_BETWEEN = "at >= :since AND at < :until"
#: The sums of a period, of every campaign.
SUMS = f"""
SELECT campaign_id, measure, sum(n) FROM rollup WHERE {_BETWEEN}
GROUP BY campaign_id, measure HAVING sum(n) <> 0"""  # noqa: S608 - only our own words
#: The sums of each hour, of some campaigns together.
HOURS = f"""
SELECT at, measure, sum(n) FROM rollup
WHERE campaign_id IN (SELECT value FROM json_each(:campaigns)) AND {_BETWEEN}
GROUP BY at, measure HAVING sum(n) <> 0"""  # noqa: S608
#: Campaigns of an earlier version whose figures are still being counted.
UNCOUNTED = "SELECT count(*) FROM rollup_pending"

_NEVER = 2**53
_MEASURES = {measure.value: measure for measure in Measure}


class Reports:
    """Reads figures. All methods are async."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read(self, campaigns: Sequence[int], period: Period, *, hours: bool) -> Report:
        """The figures of these campaigns; with `hours` also by the hour. Raises `StoreUnavailable`."""
        since = 0 if period.since is None else period.since
        between = {"since": since, "until": _NEVER if period.until is None else period.until}

        def work(db: Transaction) -> Report:
            sums: dict[int, Counter[Measure]] = {}
            for campaign_id, measure, n in db.execute(SUMS, between):
                sums.setdefault(campaign_id, Counter())[Measure(measure)] = n
            lines = [Line(campaign=each, sums=sums.get(each.id, {})) for each in _of(db, campaigns)]
            found = []
            if hours:
                asked = {**between, "campaigns": json.dumps([line.campaign.id for line in lines])}
                found = [(at, _MEASURES[word], n) for at, word, n in db.execute(HOURS, asked)]
            return Report(lines=lines, hours=found, uncounted=db.execute(UNCOUNTED).fetchone()[0])

        return await self._db.read(work)


def _of(db: Transaction, campaigns: Sequence[int]) -> list[Campaign]:
    """Those that there are, in this order."""
    found = {each.id: each for each in all_campaigns(db, queues=True, only=frozenset(campaigns))}
    return [found[number] for number in campaigns if number in found]
