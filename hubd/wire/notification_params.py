"""What the methods `notification.*` take."""

from __future__ import annotations

from hubd.wire.params import Count, Key, Limit, Params


class NotificationList(Params, frozen=True):
    """A page of notifications, newest first; the next page has those `before` the `next` of this one."""

    unread: bool = False
    before: Count = 0
    limit: Limit = 100


class NotificationRead(Params, frozen=True):
    """Mark the notification with this id, and all before it, as read."""

    through: Count
    idempotency_key: Key = None
    dry_run: bool = False
