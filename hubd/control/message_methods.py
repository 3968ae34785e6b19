"""`message.*` and `campaign.test`: one message, durable, ahead of campaigns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import msgspec
import trio

from hubd.control.command import Command
from hubd.control.contact_methods import address_key
from hubd.control.fingerprint import fingerprint
from hubd.control.hub import Hub, Runner, Work
from hubd.control.rendering import contact_fields, first_reachable, write
from hubd.control.table import Disk, changes, reads
from hubd.control.views import delivery_view, problem_of
from hubd.core.addresses import email_address, phone_number
from hubd.core.compose import content_hash
from hubd.core.credits import short_of
from hubd.core.mime import one_line
from hubd.core.model import Campaign, Channel, Content, DeliveryState, Kind
from hubd.core.records import MessageLife, TransactionalRow
from hubd.core.spec_reading import parse_spec
from hubd.core.template import compile_template
from hubd.core.template_spec import TemplateSpec, content_with
from hubd.errors import BadInput, BadTemplate, Conflict, HubError, NotFound
from hubd.wire import message_params as p
from hubd.wire import message_results as r
from hubd.wire.campaign_params import CampaignTest
from hubd.wire.campaign_results import TestSendResult
from hubd.wire.inbox_params import InboxReply
from hubd.wire.results import WouldChange

#: What queues a one-off message under a key.
Keyed = p.MessageSend | CampaignTest | InboxReply
TEST_SECONDS = 60.0  #: how long a test waits for the provider's answer
UNDERWAY = (DeliveryState.PENDING, DeliveryState.SENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message that is to be sent."""

    provider: str
    channel: Channel
    recipient: str
    key: str  #: the recipient as addresses are compared
    fields: Mapping[str, str]
    content: int | tuple[Content, str]  #: the id of one that is stored, or one with its hash
    known: bool  #: whether the recipient is a contact
    test: bool = False  #: a test of a campaign, which takes its fields from one of its contacts


async def page(hub: Hub, params: p.MessageList) -> r.MessagesResult:
    """One-off messages, newest first."""
    state = DeliveryState(params.state) if params.state else None
    rows, last = await hub.ledger.transactional(params.provider, state, params.before or None, params.limit)
    if not rows and not params.before and params.provider is not None:
        hub.supervisor.providers.get(params.provider)
    subjects = await trio.to_thread.run_sync(lambda: [_subject(row) for row in rows])
    return {
        "messages": [
            {
                **delivery_view(row.delivery),
                "subject": subject,
                "provider": row.provider,
                "channel": row.channel.value,
            }
            for row, subject in zip(rows, subjects, strict=True)
        ],
        "next": last,
    }


def _subject(row: TransactionalRow) -> str:
    """The message's subject; the template if a field is missing; "" if the recipient was erased."""
    if not row.fields or "{" not in row.subject:
        return row.subject if row.fields else ""
    with suppress(BadTemplate):
        return one_line(compile_template(row.subject, html=False).render(row.fields))
    return row.subject


async def send(hub: Hub, params: p.MessageSend, command: Command) -> r.SendResult:
    """Queue one message ahead of campaigns; it is durable when this returns."""
    life = await begin(hub, params, params.to)
    if command.dry_run:
        if life is None:
            letter = _without_files(await _letter(hub, params))
            await check_letter(hub, letter)
            await _check_paid(hub, letter, params)
        would: WouldChange = {"change": life is None}
        return {"delivery_id": 0, "state": DeliveryState.PENDING.value, "message_id": "", "would": would}
    if life is None:
        life = await queue_letter(hub, await _letter(hub, params), params, command)
    return await sent(hub, life)


async def sent(hub: Hub, life: MessageLife) -> r.SendResult:
    """A message that is queued, as it is now."""
    return {
        "delivery_id": life.delivery.id,
        "state": life.delivery.state.value,
        "message_id": life.delivery.message_id or await _message_id(hub, life),
    }


async def _letter(hub: Hub, params: p.MessageSend) -> Letter:
    content: int | tuple[Content, str]
    source = await _template(hub, params) if params.template is not None else None
    channel = _channel_for(hub, params) if source is None else source.channel
    _check_channel(hub, params.provider, channel)
    if isinstance(source, Campaign):
        content = source.content_id
    else:
        given = await _content(hub, params, channel)
        content = given, content_hash(given)
    recipient, key = _address(channel, params.to)
    known = await _known_fields(hub, key)
    return Letter(
        provider=params.provider,
        channel=channel,
        recipient=recipient,
        key=key,
        fields={**known, **params.fields, _ADDRESS[channel]: recipient},
        content=content,
        known=bool(known),
    )


async def _template(hub: Hub, params: p.MessageSend) -> Campaign | TemplateSpec:
    """What `template` names: a campaign, or otherwise a stored template. Raises NotFound and BadInput."""
    reference = params.template or ""
    try:
        campaign = await hub.campaigns.get(reference)
    except NotFound:
        pass
    else:
        for key in ("reply_to", "attachments"):
            if getattr(params, key):
                raise BadInput.at(key, f"{reference} is a campaign, which has its own content and")
        return campaign
    try:
        return (await hub.templates.get(reference)).stored.spec
    except BadInput as error:
        raise BadInput.at("template", problem_of(error)) from None
    except NotFound as error:
        if "@" in reference:
            raise
        raise NotFound(
            f"there is no template and no campaign {reference}", code=error.code, hint=error.hint
        ) from None


async def test(hub: Hub, params: CampaignTest, command: Command) -> TestSendResult:
    """Send one message of a campaign to your own address, outside its audience, and wait.

    It says what the message to the contact `as`, or to the first contact, would say, except for the contact's
    id: pressing "unsubscribe" in a test must not unsubscribe a customer.
    """
    life = await begin(hub, params, params.to)
    if command.dry_run:
        if life is None:
            await check_letter(hub, await _test_letter(hub, params))
        return _untested(change=life is None)
    if life is None:
        life = await queue_letter(hub, await _test_letter(hub, params), params, command)
    row = (await _outcome(hub, life)).delivery
    return {
        "delivery_id": row.id,
        "state": row.state.value,
        "reason": row.reason,
        "detail": row.detail,
        "code": row.code,
        "provider_reply": row.provider_reply,
        "provider_id": row.provider_id,
    }


def _untested(*, change: bool) -> TestSendResult:
    return {
        "delivery_id": 0,
        "state": DeliveryState.PENDING.value,
        "reason": "",
        "detail": "",
        "code": 0,
        "provider_reply": "",
        "provider_id": "",
        "would": {"change": change},
    }


async def _test_letter(hub: Hub, params: CampaignTest) -> Letter:
    campaign = await hub.campaigns.get(params.name)
    recipient, key = _address(campaign.channel, params.to)
    try:
        fields = contact_fields(
            await (hub.contacts.get(params.as_) if params.as_ else first_reachable(hub, campaign))
        )
    except NotFound:
        if params.as_:
            raise
        fields = {}
    return Letter(
        provider=campaign.provider,
        channel=campaign.channel,
        recipient=recipient,
        key=key,
        fields={**fields, _ADDRESS[campaign.channel]: recipient, "contact_id": _NO_CONTACT},
        content=campaign.content_id,
        known=bool(fields),
        test=True,
    )


#: In place of a contact's id in a test message.
_NO_CONTACT = "test"
_ADDRESS = {Channel.EMAIL: "email", Channel.SMS: "phone"}


async def begin(hub: Hub, params: Keyed, to: str) -> MessageLife | None:
    """The message that the first request with this key queued, as it is now; None when this is the first.

    This is looked up before anything else: what has changed since then, such as the provider or the template,
    is no reason to refuse it. Raises `Conflict` when the first request was a different one.
    """
    if not params.idempotency_key:
        return None
    found = await hub.ledger.requested(params.idempotency_key)
    if found is None:
        return None
    delivery_id, asked = found
    life = await hub.ledger.message(delivery_id)
    same = asked == fingerprint(params) if asked else life.delivery.recipient == _address(life.channel, to)[0]
    if not same:
        raise Conflict(
            f"this key was used for another message, {delivery_id}; nothing was sent",
            code="key_used",
            hint=f"use a new key for a new message; hubctl message {delivery_id} shows the other one",
            data={"delivery_id": delivery_id},
        )
    return life


def _without_files(letter: Letter) -> Letter:
    """The letter without its attachments: a dry run checks it before they are uploaded."""
    if isinstance(letter.content, int):
        return letter
    content = replace(letter.content[0], attachments=())
    return replace(letter, content=(content, content_hash(content)))


async def check_letter(hub: Hub, letter: Letter) -> None:
    """Raise what sending it would raise, as far as that is known before the provider is opened."""
    await _check_writable(hub, letter)
    _check_channel(hub, letter.provider, letter.channel)
    hub.supervisor.providers.get(letter.provider).check_enabled()


async def _check_paid(hub: Hub, letter: Letter, params: p.MessageSend) -> None:
    """Raise `CreditsShort` if its account has too few credits for it."""
    if params.credits is not None:
        cost = await _check_writable(hub, letter)
        available = (await hub.credits.get(params.credits)).available
        if available < cost:
            raise short_of("the message", params.credits, cost, available)


async def _check_writable(hub: Hub, letter: Letter) -> int:
    """What the message costs, in credits. Raises `BadTemplate` if it cannot be written."""
    plans = hub.supervisor.plans
    content = letter.content
    plan = await (plans.get(content) if isinstance(content, int) else plans.of(content[0]))
    try:
        return write(plan, letter.recipient, letter.fields, now=hub.now()).segments
    except BadTemplate as error:
        raise _explained(error, letter) from None


async def queue_letter(
    hub: Hub,
    letter: Letter,
    params: Keyed,
    command: Command,
    also: Callable[[Work[int]], Work[int]] = lambda work: work,
) -> MessageLife:
    """Store the message and wake its sender. Fails before the message is stored, or not at all.

    `also` adds to the unit of work that queues it.
    """
    cost = await _check_writable(hub, letter)
    account = params.credits if isinstance(params, p.MessageSend) else None
    queue = await hub.supervisor.transactional_queue(letter.provider, letter.channel)
    work = hub.ledger.adding_one_off(
        queue.id,
        letter.recipient,
        letter.key,
        letter.fields,
        letter.content,
        idempotency_key=params.idempotency_key or "",
        fingerprint=fingerprint(params),
        credits=None if account is None else (account, cost),
    )
    queued = await command.write(also(work), lambda delivery_id: {"delivery_id": delivery_id})
    life = await hub.ledger.message(queued["delivery_id"])
    await _wake(hub, life)
    return life


async def _wake(hub: Hub, life: MessageLife) -> Runner | None:
    """The run that sends this message; None while its provider sends nothing, and the message waits."""
    try:
        return await hub.supervisor.wake_transactional(life.provider, life.channel)
    except HubError:
        return None


def _explained(error: BadTemplate, letter: Letter) -> BadTemplate:
    """The error, for a missing field with a hint at how the caller can give it."""
    field = error.data.get("field")
    if error.code != "missing_field" or not isinstance(field, str):
        return error
    hint = f"give it with --field {field}=..."
    if letter.test:
        hint = "choose a contact that has it with --as CONTACT, or give it a default in the campaign file"
    elif not letter.known:
        hint = f"the recipient is not a contact: import the contact first, or {hint}"
    return BadTemplate(str(error), code=error.code, hint=hint, data=error.data)


async def _outcome(hub: Hub, life: MessageLife) -> MessageLife:
    """The message once the provider has answered, or as it is after `TEST_SECONDS`."""
    runner = await _wake(hub, life) if life.delivery.state in UNDERWAY else None
    if runner is None:
        return life
    with trio.move_on_after(TEST_SECONDS):
        while True:
            recorded = runner.watch(life.delivery.id)
            life = await hub.ledger.message(life.delivery.id)
            if life.delivery.state not in UNDERWAY:
                return life
            await recorded.wait()
    return await hub.ledger.message(life.delivery.id)


async def _message_id(hub: Hub, life: MessageLife) -> str:
    """The Message-ID that it will have, the same in every try; "" if it was erased before the first one."""
    if life.content.channel is Channel.EMAIL and not life.content.sender:
        return ""
    return (await hub.supervisor.plans.of(life.content)).message_id(life.delivery.id)


async def _known_fields(hub: Hub, key: str) -> dict[str, str]:
    try:
        return contact_fields(await hub.contacts.get(key))
    except NotFound:
        return {}


def _address(channel: Channel, text: str) -> tuple[str, str]:
    """An address to send to and its key. Raises `BadInput` at "to"."""
    try:
        if channel is Channel.EMAIL:
            return email_address(text)
        number = phone_number(text)
    except BadInput as error:
        raise BadInput.at("to", problem_of(error)) from None
    return number, address_key(channel, number)


def _channel_for(hub: Hub, params: p.MessageSend) -> Channel:
    """The provider's channel; when it has both, the address says which."""
    channels = hub.supervisor.providers.get(params.provider).spec.channels
    if len(channels) == 1:
        return next(iter(channels))
    if "@" in params.to:
        return Channel.EMAIL
    if not any(char.isdigit() for char in params.to) or any(char.isalpha() for char in params.to):
        raise BadInput.at("to", "is neither an email address nor a phone number")
    return Channel.SMS


def _check_channel(hub: Hub, provider: str, channel: Channel) -> None:
    if channel not in hub.supervisor.providers.get(provider).spec.channels:
        raise Conflict(
            f"the provider {provider} does not send {channel.value}", hint="name another one with --provider"
        )


async def _content(hub: Hub, params: p.MessageSend, channel: Channel) -> Content:
    """The content given, or that of a stored template, checked like a campaign file. Raises `BadInput`."""
    given = {
        "sender": params.sender,
        "subject": params.subject,
        "text": params.text,
        "html": params.html,
        "reply_to": params.reply_to,
        "template": params.template,
    }
    words: dict[str, object] = {name: value for name, value in given.items() if value}
    if params.attachments:
        words["attachments"] = msgspec.to_builtins(params.attachments)
    spec = parse_spec(
        {"name": "message", "channel": channel.value, "kind": Kind.TRANSACTIONAL.value, **words}
    )
    if not spec.template:
        return spec.content()
    content, _ = await hub.templates.loaded(partial(content_with, spec))
    return content


METHODS = (
    changes(
        "campaign.test",
        "Send one message to your own address.",
        CampaignTest,
        TestSendResult,
        test,
        disk=Disk.NEEDS_SPACE,
        keeps_answer=False,
    ),
    reads(
        "message.list",
        "One-off messages, newest first.",
        p.MessageList,
        r.MessagesResult,
        page,
        private=True,
    ),
    changes(
        "message.send",
        "Send one message now.",
        p.MessageSend,
        r.SendResult,
        send,
        disk=Disk.NEEDS_SPACE,
        keeps_answer=False,
    ),
)
