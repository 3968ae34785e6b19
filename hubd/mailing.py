"""Notifications by email: to whom, and through which provider, as the configuration says now."""

from __future__ import annotations

from collections.abc import Callable

from hubd.config.reload import Reloader
from hubd.core.model import Channel
from hubd.engine.supervisor import Supervisor
from hubd.reports.notifier import Notifier, Recipients
from hubd.store.database import Database
from hubd.store.notices import Notices


def notifier_of(
    database: Database, supervisor: Supervisor, reload: Reloader, now: Callable[[], float]
) -> Notifier:
    """What sends the stored notifications. `now` tells the time, in seconds since the epoch."""
    return Notifier(
        Notices(database),
        supervisor,
        recipients=lambda: _recipients(reload),
        working=lambda: _working(supervisor, reload),
        news=database.wait_events,
        now=now,
    )


def _recipients(reload: Reloader) -> Recipients | None:
    """Who is told what by email now."""
    to = reload.notify
    if to is None:
        return None
    return Recipients(addresses=to.keys, provider=to.provider, sender=to.sender, kinds=to.kinds)


def _working(supervisor: Supervisor, reload: Reloader) -> list[str]:
    """The providers that send email now. What an outbox writes reaches nobody, unless it was asked for."""
    wanted = reload.notify.provider if reload.notify else ""
    return [
        each.name
        for each in supervisor.providers.views()
        if Channel.EMAIL in each.channels
        and each.state in ("ready", "slowed")
        and (each.kind != "outbox" or each.name == wanted)
    ]
