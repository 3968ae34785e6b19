"""A campaign's content, compiled once: rows go in, messages come out."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol
from weakref import WeakValueDictionary

import trio

from hubd.core.compose import EmailPlan, compile_email, content_hash, message_id
from hubd.core.model import LISTENER, Channel, Content, DueDelivery, RenderedMessage
from hubd.core.shared import SharedBytes, encode_file
from hubd.core.sms import SmsPlan, compile_sms
from hubd.core.tokens import Purpose, Tokens
from hubd.errors import BadTemplate

#: Bytes that a plan takes however short its templates are: mostly their compiled code.
_COMPILED = 20 * 1024


class _Contents(Protocol):
    async def content(self, content_id: int) -> Content: ...
    async def blob(self, sha256: str) -> bytes: ...


class MessagePlan:
    """How the message of one content is written for any recipient."""

    def __init__(
        self,
        content: Content,
        encoded: Mapping[str, SharedBytes],
        install_key: bytes,
        tokens: Tokens,
        named_after: int,
        links: str = "",
    ) -> None:
        """`encoded` has the attachments in base64 by the SHA-256 of their bytes. Raises `BadTemplate`."""
        self.content = content
        self.encoded = tuple(encoded.values())
        #: Bytes, roughly, of what it keeps apart from these.
        self.size = _COMPILED + sum(map(len, (content.subject, content.text, content.html)))
        self.content_hash = content_hash(content)
        self._key, self._tokens, self._named_after = install_key, tokens, named_after
        self._links = links if content.unsubscribe == LISTENER else ""
        if content.unsubscribe == LISTENER and not links:
            raise BadTemplate.at(
                "unsubscribe", f'is "{LISTENER}", and hubd.toml has no [listener] that serves such links'
            )
        self._email: EmailPlan | None = None
        self._sms: SmsPlan | None = None
        #: The bare address or number it comes from, as limits are named; "" for the provider's own.
        self.sender = content.sender.lower()
        self.fields: frozenset[str]  #: what the templates take from a contact
        if content.channel is Channel.EMAIL:
            self._email = compile_email(content, encoded)
            self.fields = self._email.fields
            self.sender = self._email.sender.lower()
            self.size += self._email.size
        else:
            self._sms = compile_sms(content)
            self.fields = self._sms.fields

    def message_id(self, delivery_id: int) -> str:
        """The Message-ID of an email, at every try; "" for SMS."""
        if self._email is None:
            return ""
        if delivery_id > self._named_after:
            return self._tokens.message_id(delivery_id, self.content_hash, self._email.domain)
        return message_id(self._key, delivery_id, self.content_hash, self._email.domain)

    def write(self, row: DueDelivery, campaign: str, now: float) -> RenderedMessage:
        """The finished message. Raises `BadTemplate` when the recipient lacks a field it needs."""
        if self._email is not None:
            name = self.message_id(row.id)
            link = self._links + self._tokens.of(Purpose.UNSUBSCRIBE, row.id) if self._links else ""
            email = self._email.render(row.fields, message_id=name, now=now, unsubscribe_url=link)
            return RenderedMessage(
                delivery_id=row.id,
                channel=Channel.EMAIL,
                recipient=row.recipient,
                sender=email.sender,
                own_return_path=self.content.return_path != "",
                message_id=name,
                parts=partial(self._email.parts, row.fields, name, link),
                payload=email.payload,
                wire_ready=email.wire_ready,
                shared=email.shared,
                campaign=campaign,
                dated=now,
            )
        assert self._sms is not None
        sms = self._sms.render(row.fields)
        return RenderedMessage(
            delivery_id=row.id,
            channel=Channel.SMS,
            recipient=row.recipient,
            sender=self.content.sender,
            text=sms.text,
            segments=sms.segments,
            campaign=campaign,
        )


class TemplateCache:
    """Compiled plans by content. Those used last are kept, as many as there is memory for.

    Counted are the encoded attachments, each of which is encoded and counted once however many plans have
    it, and apart from them the bytes of the plans themselves. The plan used last always fits, and a plan that
    somebody else holds is never compiled a second time.
    """

    BYTES = 128 * 1024 * 1024  #: of encoded attachments
    PLAN_BYTES = 32 * 1024 * 1024  #: of everything else

    def __init__(
        self, contents: _Contents, install_key: bytes, named_after: int = 0, links: str = ""
    ) -> None:
        """`named_after`: up to this delivery an earlier version made Message-IDs that do not tell theirs.
        `links`: what unsubscribe links begin with that hubd serves itself; "" if it serves none.
        """
        self._contents = contents
        self._links = links
        self._key, self._tokens, self._named_after = install_key, Tokens(install_key), named_after
        self._by_content: WeakValueDictionary[int, MessagePlan] = WeakValueDictionary()
        self._by_hash: WeakValueDictionary[str, MessagePlan] = WeakValueDictionary()
        self._encoded: WeakValueDictionary[str, SharedBytes] = WeakValueDictionary()
        self._kept: OrderedDict[MessagePlan, None] = OrderedDict()  # the one used last at the end
        self._having: Counter[SharedBytes] = Counter()  # how many kept plans have it
        self._plan_bytes = self._bytes = 0
        self._compiling = trio.Lock()  # one at a time: compiling needs several copies of the files

    async def get(self, content_id: int) -> MessagePlan:
        """The plan of a content. Raises `BadTemplate` if it does not compile."""
        plan = self._by_content.get(content_id)
        if plan is None:
            plan = await self.of(await self._contents.content(content_id))
            self._by_content[content_id] = plan
        else:
            self._keep(plan)
        return plan

    async def of(self, content: Content) -> MessagePlan:
        """The plan of a content that may no longer be in use. Raises `BadTemplate` and `NotFound`."""
        name = content_hash(content)
        plan = self._by_hash.get(name)
        if plan is None:
            async with self._compiling:
                plan = self._by_hash.get(name)  # somebody else may have asked for it, too
                if plan is None:
                    plan = MessagePlan(
                        content,
                        await self._encode(content),
                        self._key,
                        self._tokens,
                        self._named_after,
                        self._links,
                    )
                    self._by_hash[name] = plan
        self._keep(plan)
        return plan

    async def _encode(self, content: Content) -> dict[str, SharedBytes]:
        found: dict[str, SharedBytes] = {}
        for file in content.files:
            encoded = self._encoded.get(file.sha256)
            if encoded is None:
                encoded = await trio.to_thread.run_sync(encode_file, await self._contents.blob(file.sha256))
                self._encoded[file.sha256] = encoded
            found[file.sha256] = encoded
        return found

    def _keep(self, plan: MessagePlan) -> None:
        """It was just used."""
        if plan in self._kept:
            self._kept.move_to_end(plan)
            return
        self._kept[plan] = None
        self._plan_bytes += plan.size
        for part in plan.encoded:
            self._having[part] += 1
            if self._having[part] == 1:
                self._bytes += part.size
        while self._plan_bytes > self.PLAN_BYTES and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))
        if self._bytes > self.BYTES:
            for other in [each for each in self._kept if each.encoded and each is not plan]:
                self._drop(other)
                if self._bytes <= self.BYTES:
                    break

    def _drop(self, plan: MessagePlan) -> None:
        del self._kept[plan]
        self._plan_bytes -= plan.size
        for part in plan.encoded:
            self._having[part] -= 1
            if not self._having[part]:
                del self._having[part]
                self._bytes -= part.size


class RenderBudget:
    """A limit for the bytes of rendered messages in memory, for all providers together.

    What many messages share is not counted, because it exists once. While the budget is used up no message is
    rendered; one larger than the budget is sent alone.
    """

    BYTES = 32 * 1024 * 1024

    def __init__(self) -> None:
        self.used = 0
        self._when_freed: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """Whether no more should be rendered now."""
        return self.used >= self.BYTES

    def when_freed(self, tell: Callable[[], None]) -> None:
        """Call `tell` each time when it is full no longer."""
        self._when_freed.append(tell)

    def hold(self) -> Held:
        """The bytes that one worker has rendered; use it as a context manager."""
        return Held(self)

    def change(self, difference: int) -> None:
        """`difference` more (or fewer) bytes are in memory."""
        was_full = self.full
        self.used += difference
        if was_full and not self.full:
            for tell in self._when_freed:
                tell()


class Held:
    """Bytes of rendered messages that one worker holds; they count until the block ends."""

    __slots__ = ("_budget", "_bytes")

    def __init__(self, budget: RenderBudget) -> None:
        self._budget = budget
        self._bytes = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.only(0)

    def add(self, size: int) -> None:
        """One more message was rendered."""
        self._bytes += size
        self._budget.change(size)

    def only(self, size: int) -> None:
        """All have been sent except one of this size."""
        if self._bytes != size:
            self._budget.change(size - self._bytes)
            self._bytes = size
