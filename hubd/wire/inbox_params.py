"""What the methods of the inbox and of its sources take."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hubd.wire.params import Count, Key, Limit, Name, Params

KindName = Literal["reply", "bounce", "complaint", "opt_out", "opt_in", "unmatched", "waiting"]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]


class InboxList(Params, frozen=True):
    """A page of the inbox, newest first. The next page has those `before` the `next` of this one.

    `campaign`: only about its messages. `kind` "unmatched": about no message of ours; "waiting": replies that
    need a decision.
    """

    campaign: Name | None = None
    kind: KindName | None = None
    before: Count = 0
    limit: Limit = 200


class InboxId(Params, frozen=True):
    """One item of the inbox."""

    id: Count


class InboxDecide(Params, frozen=True):
    """Decide about a reply: "opt_out" suppresses who wrote it, "continue" sends what was held."""

    id: Count
    decision: Literal["opt_out", "continue"]
    idempotency_key: Key = None
    dry_run: bool = False


class InboxReply(Params, frozen=True):
    """Answer a reply, through the provider that sent the message which it replies to."""

    id: Count
    text: Text
    idempotency_key: Key = None
    dry_run: bool = False


class MailboxTest(Params, frozen=True):
    """A mailbox of hubd.toml."""

    name: Name
