"""`[retention]` of hubd.toml: how long history is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from hubd.core.tables import Table
from hubd.core.times import parse_duration
from hubd.errors import BadInput

LEAST = 86_400.0  #: seconds; what is younger may still be needed


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long history is kept. Figures stay. Without a key, that history is kept for ever."""

    deliveries: Annotated[
        str,
        Meta(
            description='How long the recipients of messages are kept, such as `"2 years"`, from the end of '
            "the campaign; of one-off messages, and of campaigns with a trigger, from each message's own. "
            "What came back about them is removed with them."
        ),
    ] = ""
    content: Annotated[
        str,
        Meta(
            description='How long the content of each message is kept, such as `"90 days"`: the '
            "fields of the "
            "contact that it was written from, and the words of one-off messages."
        ),
    ] = ""
    events: Annotated[
        str,
        Meta(
            description='How long events and notifications are kept, such as `"1 year"`. Of more than '
            "200,000 events only the newest are kept in any case."
        ),
    ] = ""

    def seconds(self, key: str) -> float | None:
        """One of the keys in seconds; None for ever."""
        text: str = getattr(self, key)
        return parse_duration(text) if text else None


def read_retention(table: Table) -> RetentionSettings:
    """What the table says."""
    found = {key: table.checked(key, _duration, "", example="90 days") for key in RetentionSettings.__slots__}
    table.close()
    return RetentionSettings(**found)


def _duration(text: str) -> str:
    if parse_duration(text) < LEAST:
        raise BadInput("must be at least 1 day")
    return text
