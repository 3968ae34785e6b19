"""How many connections there may be: inside, at the door, and on their way out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hubd.control.head import Refusal
from hubd.control.roles import Role

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
MAX_VIEWERS = 48  #: of them; whoever only looks must not keep an operator from stopping what goes on
MAX_AT_DOOR = 8  #: that have not shown a token yet
MAX_LEAVING = 64  #: that are told in peace why they cannot come in; more are told and cut off


class Crowd:
    """Counts. What comes out of a block is the reason why there is no place in it, or None."""

    def __init__(self) -> None:
        self._inside = {Role.VIEWER: 0, Role.OPERATOR: 0}
        self._at_door = 0
        self._leaving = 0
        self._full = False

    @contextmanager
    def inside(self, role: Role) -> Iterator[Refusal | None]:
        """A place inside for the length of the block."""
        most = MAX_CONNECTIONS if sum(self._inside.values()) >= MAX_CONNECTIONS else 0
        if not most and role is Role.VIEWER and self._inside[role] >= MAX_VIEWERS:
            most = MAX_VIEWERS
        if most:
            if not self._full:
                log.warning("%d clients are connected: more are sent away", most)
            self._full = True
            yield Refusal(503, f"{most} clients are connected already")
            return
        self._full = self._full and sum(self._inside.values()) > MAX_CONNECTIONS // 2
        self._inside[role] += 1
        try:
            yield None
        finally:
            self._inside[role] -= 1

    @contextmanager
    def at_the_door(self) -> Iterator[Refusal | None]:
        """A place before the door, while nobody knows yet who it is."""
        if self._at_door >= MAX_AT_DOOR:
            yield Refusal(503, f"{MAX_AT_DOOR} others are at the door")
            return
        self._at_door += 1
        try:
            yield None
        finally:
            self._at_door -= 1

    @contextmanager
    def leaving(self) -> Iterator[bool]:
        """Whether there is time to be polite."""
        self._leaving += 1
        try:
            yield self._leaving <= MAX_LEAVING
        finally:
            self._leaving -= 1
