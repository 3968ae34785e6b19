"""What the methods `notification.*` answer."""

from __future__ import annotations

from typing import TypedDict

from hubd.wire.results import Done


class NotificationView(TypedDict):
    """What people are told. `figures` are the deliveries of the campaign by state then, or credits."""

    id: int
    at: str | None
    kind: str
    about: str  #: the name of a campaign, an account, a mailbox or a sink
    reason: str
    headline: str
    text: str
    figures: dict[str, int]
    read: bool


class NotificationsResult(TypedDict):
    """A page of notifications, and how many are unread in all."""

    notifications: list[NotificationView]
    unread: int
    next: int | None  #: pass it as `before` for the next page; null after the last


class NotificationsRead(Done):
    """How many were unread before."""

    marked: int
