"""A campaign's content, compiled once: rows go in, parcels come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hubd.core.compose import EmailPlan, compile_email, content_hash, message_id
from hubd.core.model import Channel, Content, Due, Parcel
from hubd.core.sms import SmsPlan, compile_sms


class _Contents(Protocol):
    async def content(self, content_id: int) -> Content: ...
    async def blob(self, sha256: str) -> bytes: ...


class MessagePlan:
    """How the message of one content is written for any recipient."""

    def __init__(self, content: Content, blobs: Mapping[str, bytes], install_key: bytes) -> None:
        self.content = content
        self.content_hash = content_hash(content)
        self._key = install_key
        self._email: EmailPlan | None = None
        self._sms: SmsPlan | None = None
        #: The bare address or number it comes from, as limits are named; "" for the provider's own.
        self.sender = content.sender.lower()
        if content.channel is Channel.EMAIL:
            self._email = compile_email(content, blobs)
            self.sender = self._email.sender.lower()
        else:
            self._sms = compile_sms(content)

    def write(self, row: Due, campaign: str, now: float) -> Parcel:
        """The finished message. Raises `BadTemplate` when the recipient lacks a field it needs."""
        if self._email is not None:
            name = message_id(self._key, row.id, self.content_hash, self._email.domain)
            email = self._email.render(row.fields, message_id=name, now=now)
            return Parcel(
                delivery_id=row.id,
                channel=Channel.EMAIL,
                recipient=row.recipient,
                sender=email.sender,
                message_id=name,
                payload=email.payload,
                campaign=campaign,
            )
        assert self._sms is not None
        sms = self._sms.render(row.fields)
        return Parcel(
            delivery_id=row.id,
            channel=Channel.SMS,
            recipient=row.recipient,
            sender=self.content.sender,
            text=sms.text,
            segments=sms.segments,
            campaign=campaign,
        )


class PlanShelf:
    """Compiled plans by content id. The few that are in use stay; the rest are made again when asked for."""

    SIZE = 32

    def __init__(self, contents: _Contents, install_key: bytes) -> None:
        self._contents = contents
        self._key = install_key
        self._plans: dict[int, MessagePlan] = {}

    async def get(self, content_id: int) -> MessagePlan:
        """The plan of a content. Raises `BadTemplate` if it does not compile."""
        plan = self._plans.pop(content_id, None)
        if plan is None:
            content = await self._contents.content(content_id)
            blobs = {item.sha256: await self._contents.blob(item.sha256) for item in content.attachments}
            plan = MessagePlan(content, blobs, self._key)
        self._plans[content_id] = plan
        while len(self._plans) > self.SIZE:
            del self._plans[next(iter(self._plans))]
        return plan
