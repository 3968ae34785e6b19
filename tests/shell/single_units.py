"""The stores, with each command's unit of work run on its own: no audit row, no kept answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from hubd.core import decide
from hubd.core.decide import Clone, Decided, Pages, S
from hubd.core.intake import ContactRow
from hubd.core.model import Campaign, Channel, Content, InDoubt
from hubd.core.records import ImportCount
from hubd.core.spec import CampaignSpec
from hubd.errors import BadInput
from hubd.store.campaigns import Campaigns
from hubd.store.contacts import Contacts
from hubd.store.contents import add_content
from hubd.store.ledger import Ledger


class CampaignUnits(Campaigns):
    """What commands do with campaigns."""

    async def apply(
        self,
        spec: CampaignSpec,
        spec_json: str,
        content: Content,
        content_hash: str,
        *,
        in_doubt: InDoubt | None = None,
    ) -> tuple[Campaign, list[str], bool]:
        work = self.applying(spec, spec_json, content, content_hash, in_doubt=in_doubt)
        applied = await self._db.write(work, bulk=True)
        return applied.campaign, list(applied.changed), applied.created

    async def add_content(self, content: Content, content_hash: str) -> int:
        return await self._db.write(lambda unit: add_content(unit, content, content_hash), bulk=True)

    async def set_rate(self, campaign_id: int, rate: tuple[str, ...]) -> Campaign:
        return (await self.carry_out(campaign_id, partial(decide.set_rate, rate=rate))).campaign

    async def clone(self, name: str, new: str) -> Decided[Clone]:
        return await self._db.write(self.cloning(name, partial(decide.copied, new=new)), bulk=True)

    async def delete(self, name: str) -> None:
        await self._db.write(self.deciding(name, decide.delete), bulk=True)
        await self.clean_up()

    async def put_blob_part(self, sha256: str, offset: int, data: bytes, size: int) -> bool:
        taken = await self._db.write(self.putting_blob_part(sha256, offset, data, size), bulk=True)
        if isinstance(taken, BadInput):
            raise taken
        return taken


class ContactUnits(Contacts):
    """What commands do with contacts and suppressions."""

    async def import_rows(
        self, list_name: str, rows: Sequence[ContactRow], *, import_id: str, dry_run: bool = False
    ) -> ImportCount:
        if dry_run:
            return await self.try_import(list_name, rows, import_id)
        return await self._db.write(self.importing(list_name, rows, import_id), bulk=True)

    async def remove(self, key: str) -> None:
        await self._db.write(self.removing(key))

    async def suppress(
        self, channel: Channel, key: str, reason: str, source: str, *, bulk: bool = False
    ) -> bool:
        return await self._db.write(self.suppressing(channel, key, reason, source), bulk=bulk)

    async def unsuppress(self, channel: Channel, key: str) -> bool:
        return await self._db.write(self.unsuppressing(channel, key))


class LedgerUnits(Ledger):
    """What commands do with deliveries, page by page."""

    async def add_transactional(
        self,
        campaign_id: int,
        recipient: str,
        key: str,
        fields: Mapping[str, str],
        content_id: int,
        *,
        idempotency_key: str = "",
        fingerprint: bytes = b"",
    ) -> int:
        asked = {"idempotency_key": idempotency_key, "fingerprint": fingerprint}
        work = self.adding_one_off(campaign_id, recipient, key, fields, content_id, **asked)  # type: ignore[arg-type]
        return await self._db.write(work, bulk=True)

    async def requeue(self, campaign_id: int, which: Literal["transient", "permanent", "all"]) -> int:
        return (await self._in_pages(self.retrying(campaign_id, which, None))).requeued

    async def resolve_doubt(self, campaign_id: int, how: Literal["resend", "sent", "failed"]) -> int:
        return (await self._in_pages(self.retrying(campaign_id, None, how))).decided

    async def fail_refused(self, campaign_id: int) -> int:
        return (await self._in_pages(self.failing_refused(campaign_id), bulk=False)).failed

    async def _in_pages(self, pages: Pages[S], *, bulk: bool = True) -> S:
        done, ended = pages.begin, False
        while not ended:
            done, ended = await self._db.write(lambda unit, done=done: pages.page(unit, done), bulk=bulk)
        return done
