"""`notification.*`: what people are told."""

from __future__ import annotations

from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.table import changes, reads
from hubd.control.views import time_text
from hubd.core.notices import Notice, headline, sentence
from hubd.wire.notification_params import NotificationList, NotificationRead
from hubd.wire.notification_results import NotificationsRead, NotificationsResult, NotificationView


async def page(hub: Hub, params: NotificationList) -> NotificationsResult:
    """Notifications, newest first."""
    found, unread = await hub.notices.page(unread=params.unread, before=params.before, limit=params.limit)
    return {
        "notifications": [_view(each) for each in found],
        "unread": unread,
        "next": found[-1].id if len(found) == params.limit else None,
    }


async def read(hub: Hub, params: NotificationRead, command: Command) -> NotificationsRead:
    """Mark notifications as read."""

    def answer(marked: int) -> NotificationsRead:
        return {**command.done(changed=marked > 0), "marked": marked}

    return await command.write(hub.notices.reading(params.through), answer)


def _view(notice: Notice) -> NotificationView:
    return {
        "id": notice.id,
        "at": time_text(notice.at),
        "kind": notice.kind.value,
        "about": notice.about,
        "reason": notice.reason,
        "headline": headline(notice),
        "text": sentence(notice),
        "figures": dict(notice.figures),
        "read": notice.read,
    }


METHODS = (
    reads(
        "notification.list",
        "Notifications, newest first.",
        NotificationList,
        NotificationsResult,
        page,
    ),
    changes("notification.read", "Mark notifications as read.", NotificationRead, NotificationsRead, read),
)
