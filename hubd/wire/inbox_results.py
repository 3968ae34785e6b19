"""What the methods of the inbox and of its sources answer."""

from __future__ import annotations

from typing import NotRequired, TypedDict

InboxItem = TypedDict(
    "InboxItem",
    {
        "id": int,
        "kind": str,  # reply, bounce, complaint, opt_out, opt_in, or unmatched: about no message of ours
        "original_kind": str,  # what it is, also if it is unmatched
        "at": str | None,
        "from": str,  # who wrote it, or whom it is about
        "channel": str,
        "mailbox": str,  # where it was read, such as "mailbox bounces" or "provider ses"
        "campaign": str | None,
        "delivery_id": int | None,
        # what showed whose message it is: token, message_id, provider or recipient; "token_only" if it was
        # deleted and nothing tells any more to whom it was
        "matched_by": str,
        "reason": str,  # of a bounce
        "code": int,  # of a bounce; 0 for none
        "provider_reply": str,  # of a bounce: the server's own words, addresses masked
        "subject": str,
        "text": str,
        "text_shortened": NotRequired[bool],  # only present when true: `inbox.get` has all of it
        "advice": NotRequired[str],  # only present when hubd could not do what is to be done, and you can
        "decision": str,  # waiting (for a person's), opt_out, continue; "" for nothing to decide
        "answer_id": int | None,  # the message that answers it
    },
)


class InboxLetter(InboxItem):
    """One item with what it quotes, and its own Message-ID."""

    quoted: str
    message_id: str
    enhanced: str  #: enhanced status code of a bounce, or ""
    vendor: str  #: the provider's own word or number for it, or ""


class InboxResult(TypedDict):
    items: list[InboxItem]
    next: int | None


class InboxItemResult(TypedDict):
    item: InboxLetter


class MailboxStatus(TypedDict):
    """Something that is read for what comes back: a mailbox, a queue, a provider's lists."""

    name: str  #: with its kind: "mailbox bounces", "provider ses"
    state: str  #: starting, working, retrying, broken
    reason: str  #: why it is retried or broken
    person: bool  #: whether somebody has to do something about it
    since: str | None  #: when it entered this state
    read_at: str | None  #: when it was last read successfully
    next_at: str | None  #: when it is read again; null while it is being read
    items: dict[str, int]  #: booked since the daemon started, by kind
    unmatched: int  #: of those, about no message of ours
    unreadable: int


class MailboxesResult(TypedDict):
    mailboxes: list[MailboxStatus]


class MailboxTestResult(TypedDict):
    ok: bool
    text: str  #: why it cannot be read; "" if it can
    person: bool  #: whether somebody has to do something about that
    mails: int  #: that the folder has
    idle: bool  #: the server tells of new mail at once; else hubd looks once a minute
    move: bool  #: the server can move mails; else they are marked as seen
