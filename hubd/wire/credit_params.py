"""What the methods `credits.*` take."""

from __future__ import annotations

from typing import Annotated

import msgspec

from hubd.wire.params import Count, Key, Limit, Name, Params

MOST = 10**12  #: credits at a time

Credits = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]


class CreditsGrant(Params, frozen=True):
    """Grant credits to an account, which is made if there is none; a negative number takes them back.

    When fewer than `low_at` are available afterwards, the event credits.low says so once; without it, a tenth
    of what the account has now.
    """

    account: Name
    credits: Credits
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""
    low_at: Annotated[int, msgspec.Meta(ge=0, le=MOST)] | None = None
    idempotency_key: Key = None
    dry_run: bool = False


class CreditsHistory(Params, frozen=True):
    """A page of the log of an account; the next page has the entries `before` the `next` of this one."""

    account: Name
    before: Count = 0
    limit: Limit = 200
