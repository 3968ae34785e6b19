"""`inbox.*` and `mailbox.*`: what came back, what to do about replies, and what is read for it."""

from __future__ import annotations

import re
from functools import partial

from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.message_methods import Letter, begin, check_letter, queue_letter, sent
from hubd.control.table import Disk, changes, reads
from hubd.control.views import time_text
from hubd.core.compose import content_hash
from hubd.core.inbound import ItemKind
from hubd.core.inbound_effects import AT_ONCE
from hubd.core.inbox import TOKEN_ONLY, InboxRow, SourceView
from hubd.core.model import Channel, Content, DeliveryState, Kind
from hubd.core.records import MessageLife
from hubd.errors import Conflict, SourceUnavailable
from hubd.wire import inbox_params as p
from hubd.wire import inbox_results as r
from hubd.wire.message_results import SendResult
from hubd.wire.params import Params
from hubd.wire.results import Done

SHORTENED = 2_000  #: characters of a text in a list
UNKNOWN_RECIPIENT = (
    "The message is deleted, and nothing tells any more to whom it was, so nobody is suppressed. "
    "If you know the address: hubctl suppress add ADDRESS"
)
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,250}>")
_RE = re.compile(r"(?:re|aw|sv|antw|odp)\s*:", re.IGNORECASE)


async def page(hub: Hub, params: p.InboxList) -> r.InboxResult:
    """A page of inbox items, newest first."""
    campaign = None if params.campaign is None else (await hub.campaigns.get(params.campaign)).id
    rows = await hub.inbox.page(campaign, params.kind, params.before or None, params.limit)
    return {
        "items": [item_view(row, shorten=True) for row in rows],
        "next": rows[-1].id if len(rows) == params.limit else None,
    }


async def get(hub: Hub, params: p.InboxId) -> r.InboxItemResult:
    """One whole item."""
    row = await hub.inbox.get(params.id)
    return {
        "item": {
            **item_view(row),
            "quoted": row.quoted,
            "message_id": row.message_id,
            "enhanced": row.enhanced,
            "vendor": row.vendor,
        }
    }


async def decide(hub: Hub, params: p.InboxDecide, command: Command) -> Done:
    """Decide whether a reply is an opt-out in other words."""
    work = hub.inbox.deciding(params.id, params.decision)
    done = await command.write(work, lambda changed: command.done(changed=changed))
    if done["changed"]:
        hub.supervisor.read_again()
        hub.supervisor.wake_all()
    return done


async def reply(hub: Hub, params: p.InboxReply, command: Command) -> SendResult:
    """Answer a reply with an ordinary one-off message; it is durable when this returns."""
    row = await hub.inbox.get(params.id)
    life = await begin(hub, params, row.address_key)
    if life is None:
        letter = await _answer(hub, row, params.text)
        if command.dry_run:
            await check_letter(hub, letter)
            return {
                "delivery_id": 0,
                "state": DeliveryState.PENDING.value,
                "message_id": "",
                "would": {"change": True},
            }
        noting = partial(hub.inbox.answering, row.id)
        life = await queue_letter(hub, letter, params, command, also=noting)
    elif command.dry_run:
        return {**await sent(hub, life), "would": {"change": False}}
    return await sent(hub, life)


async def mailboxes(hub: Hub, _: Params) -> r.MailboxesResult:
    """Everything that is read for replies and bounces."""
    return {"mailboxes": [mailbox_view(each) for each in hub.readers.views()]}


async def _answer(hub: Hub, row: InboxRow, text: str) -> Letter:
    """The message that answers an item. Raises `Conflict` if there is nobody to answer, or no way to."""
    if row.kind not in (ItemKind.REPLY, ItemKind.OPT_IN, ItemKind.OPT_OUT) or not row.address_key:
        raise Conflict(f"item {row.id} has no sender to answer", code="nobody_to_answer")
    if row.delivery_id is None:
        raise Conflict(
            f"item {row.id} does not answer a message of yours, so there is no provider to send through",
            code="nobody_to_answer",
            hint="write to the person with: hubctl send --provider NAME --to ADDRESS",
        )
    if await hub.contacts.suppression(row.channel, row.address_key) is not None:
        raise Conflict(
            "the person is suppressed and gets no more messages",
            code="suppressed",
            hint="if that is wrong: hubctl suppress remove",
        )
    life = await hub.ledger.message(row.delivery_id)
    content = _content(row, life)
    fields = {"subject": _subject(row), "text": text, **_references(row, life)}
    fields["email" if row.channel is Channel.EMAIL else "phone"] = row.address_key
    return Letter(
        provider=life.attempts[-1].provider if life.attempts else life.provider,
        channel=row.channel,
        recipient=row.address_key,
        key=row.address_key,
        fields=fields,
        content=(content, content_hash(content)),
        known=True,
    )


def _content(row: InboxRow, life: MessageLife) -> Content:
    """What the person wrote and the answer to it are fields, so neither is read as a template."""
    threaded = bool(_references(row, life))
    named = {"In-Reply-To": "{{ in_reply_to }}", "References": "{{ references }}"} if threaded else {}
    return Content(
        channel=row.channel,
        kind=Kind.TRANSACTIONAL,
        sender=life.content.sender,
        reply_to=life.content.reply_to,
        subject="{{ subject }}" if row.channel is Channel.EMAIL else "",
        text="{{ text }}",
        headers=tuple(named.items()),
    )


def _subject(row: InboxRow) -> str:
    subject = row.subject.strip()
    return subject if _RE.match(subject) else f"Re: {subject}".rstrip()


def _references(row: InboxRow, life: MessageLife) -> dict[str, str]:
    """The headers that thread the answer (RFC 5322, 3.6.4); none for a text message."""
    if row.channel is not Channel.EMAIL or _MESSAGE_ID.fullmatch(row.message_id) is None:
        return {}
    ours = f"{life.delivery.message_id} " if life.delivery.message_id else ""
    return {"in_reply_to": row.message_id, "references": ours + row.message_id}


def item_view(row: InboxRow, *, shorten: bool = False) -> r.InboxItem:
    """One item of the inbox."""
    view: r.InboxItem = {
        "id": row.id,
        "kind": "unmatched" if row.delivery_id is None else row.kind.value,
        "original_kind": row.kind.value,
        "at": time_text(row.at),
        "from": row.sender or row.address_key,
        "channel": row.channel.value,
        "mailbox": row.source,
        "campaign": row.campaign,
        "delivery_id": row.delivery_id,
        "matched_by": row.matched_by,
        "reason": row.reason,
        "code": row.code,
        "provider_reply": row.words,
        "subject": row.subject,
        "text": row.text,
        "decision": row.decision,
        "answer_id": row.answer_id,
    }
    if shorten and len(row.text) > SHORTENED:
        view["text"], view["text_shortened"] = row.text[:SHORTENED], True
    if row.matched_by == TOKEN_ONLY and (row.kind is ItemKind.COMPLAINT or row.enhanced in AT_ONCE):
        view["advice"] = UNKNOWN_RECIPIENT
    return view


def broken(source: SourceView) -> bool:
    """Whether a source has trouble that somebody should know about."""
    return source.state == "broken"


def mailbox_view(source: SourceView) -> r.MailboxStatus:
    """How a source is doing."""
    return {
        "name": source.name,
        "state": source.state,
        "reason": source.reason,
        "person": source.person,
        "since": time_text(source.since),
        "read_at": time_text(source.read_at),
        "next_at": time_text(source.next_at),
        "items": {kind.value: n for kind, n in sorted(source.items.items())},
        "unmatched": source.unmatched,
        "unreadable": source.unreadable,
    }


async def test_mailbox(hub: Hub, params: p.MailboxTest) -> r.MailboxTestResult:
    """Test the login on a separate connection."""
    try:
        found = await hub.probe_mailbox(params.name)
    except SourceUnavailable as problem:
        text = f"{problem}; {problem.hint}" if problem.hint else str(problem)
        person = problem.data.get("person") is True
        return {"ok": False, "text": text, "person": person, "mails": 0, "idle": False, "move": False}
    return {
        "ok": True,
        "text": "",
        "person": False,
        "mails": found.mails,
        "idle": found.idles,
        "move": found.moves,
    }


METHODS = (
    reads("inbox.list", "What came back, newest first.", p.InboxList, r.InboxResult, page, private=True),
    reads("inbox.get", "One item that came back, in full.", p.InboxId, r.InboxItemResult, get, private=True),
    changes("inbox.decide", "Decide about a reply that may be an opt-out.", p.InboxDecide, Done, decide),
    changes(
        "inbox.reply",
        "Answer a reply.",
        p.InboxReply,
        SendResult,
        reply,
        disk=Disk.NEEDS_SPACE,
        keeps_answer=False,
    ),
    reads(
        "mailbox.list",
        "Everything that is read for replies and bounces.",
        Params,
        r.MailboxesResult,
        mailboxes,
    ),
    reads(
        "mailbox.test",
        "Log in to a mailbox without reading anything.",
        p.MailboxTest,
        r.MailboxTestResult,
        test_mailbox,
        private=True,
    ),
)
