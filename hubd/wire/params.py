"""What methods take, as typed structs: what all nouns share; the others are in `*_params`.

`reading` turns JSON into them. Parameters go by name or by position; the order of the fields is the order of
the positions, so a field is only ever added at the end. Every mutation takes an `idempotency_key`, under
which it is done once, and `dry_run`: then it changes nothing and says what it would do.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

MAX_INTEGER = 2**53  #: beyond it, a reader that keeps numbers as doubles sees another number
MAX_ROWS = 2000  #: rows in one page of an import
MAX_PAGE = 1000  #: entries in one page of a listing
MAX_PART = 512 * 1024  #: bytes in one part of an attachment, or of an email

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]  #: a template, with or without "@3"
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]  #: as long as an address may be
Reason = Annotated[str, msgspec.Meta(max_length=500)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Zone = Annotated[str, msgspec.Meta(max_length=64)]  #: the name of a time zone; "" for none
ChannelName = Literal["email", "sms"]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters; the base of all others."""


class Change(Params, frozen=True):
    """A mutation without parameters of its own."""

    idempotency_key: Key = None
    dry_run: bool = False
