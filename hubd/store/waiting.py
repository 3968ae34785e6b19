"""Recipients that wait for a time of day, and a clock that may have been set back meanwhile."""

from __future__ import annotations

from hubd.store.unit import Unit

#: Deferred recipients of campaigns that continue, who wait beyond a time.
CAP_WAIT = """
UPDATE delivery INDEXED BY delivery_later SET next_at = :latest
WHERE campaign_id IN (SELECT id FROM campaign WHERE state IN ('running', 'paused'))
    AND next_at > :latest AND next_at IS NOT NULL AND (state = 'pending' OR state = 'deferred')
    AND (:windows OR reason <> 'window_closed' OR next_at > :latest + 172800.0)
    AND reason NOT IN ('handset_unreachable', 'delayed')"""


def cap_waits(unit: Unit, latest: float, windows: bool) -> int:
    """Let no recipient wait beyond `latest` (epoch seconds), except for a window unless `windows`; how many
    did.

    No window is closed for two days, and who cannot be reached is left alone for hours on purpose. A window
    is looked at again before anything is sent, so waking a recipient too early does no harm.
    """
    return unit.db.execute(CAP_WAIT, {"latest": latest, "windows": windows}).rowcount
