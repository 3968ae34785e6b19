"""Commands: what changes something is done once per key, at the revision asked for, and noted.

A request that is repeated with its `idempotency_key` gets the first one's answer, also when the first is
still under way or was made by another connection; one with the same key and other parameters is refused.
The key is written down before anything is done, the answer after it. After a daemon that was killed in
between the command is done once more where that is the same as once, because being in the wanted state
already is success; a start with a limit goes on to the same number; and where nobody can know, the answer
says so. One-off messages keep their key in the transaction that queues them, and look for it first of all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from weakref import WeakValueDictionary

import msgspec
import trio

from hubd.control.campaign_views import view_of
from hubd.control.fingerprint import fingerprint
from hubd.control.needs import Hub
from hubd.control.roles import Peer
from hubd.control.rows import First
from hubd.control.table import Method
from hubd.core.model import CampaignState
from hubd.errors import (
    Conflict,
    HubError,
    InvalidTransition,
    NotFound,
    RevisionConflict,
    StoreUnavailable,
)
from hubd.wire.params import CampaignResume, CampaignStart, Params

log = logging.getLogger(__name__)

#: They keep their key with the message that they queue, and their answer says how far it has got.
KEEP_THEIR_KEY = frozenset({"message.send", "campaign.test"})
#: To do them twice is more than once, and what they did cannot be told apart afterwards.
NOT_TWICE = frozenset({"campaign.retry", "hub.backup"})
#: What is not there any more was removed by the first one.
REMOVES = frozenset({"campaign.delete", "contacts.remove"})
_NOTED = ("name", "new", "provider", "dry_run", "limit", "in_doubt", "role", "origin")


class Dispatcher:
    """Carries out commands for all connections."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._under_way: dict[tuple[str, str], trio.Event] = {}
        self._revising: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()

    async def carry_out(self, method: Method, params: Params, peer: Peer) -> object:
        """Do it, or answer as the first time. Raises what the method raises, and `Conflict`."""
        key: str | None = getattr(params, "idempotency_key", None)
        if key is None or method.name in KEEP_THEIR_KEY or getattr(params, "dry_run", False):
            return await self._do(method, params, peer)
        asked = fingerprint(params)
        while (other := self._under_way.get((method.name, key))) is not None:
            await other.wait()
        with self._alone(method.name, key):
            first = await self._begin(method, key, asked, params)
            if first is not None and first.fingerprint != asked:
                raise Conflict(
                    "this key was used for another request; nothing was done now",
                    code="key_used",
                    hint="use a new key for a new request",
                )
            if first is not None and first.answer:
                answered: object = json.loads(first.answer)
                return answered
            if first is None:
                result = await self._do_first(method, key, params, peer)
            else:
                result = await self._go_on(first, method, params, peer)
            await self._keep(method.name, key, json.dumps(result))
        return result

    async def _do_first(self, method: Method, key: str, params: Params, peer: Peer) -> object:
        """Do it; what is refused has changed nothing, and its key may be used again."""
        try:
            return await self._do(method, params, peer)
        except HubError:
            await self._forget(method.name, key)
            raise

    async def _go_on(self, first: First, method: Method, params: Params, peer: Peer) -> object:
        """What the daemon ended in the middle of: it may have had its effect.

        A refusal does not free the key: that the first one may have been carried out stays true.
        """
        if method.name in NOT_TWICE:
            raise _unknown()
        if isinstance(params, CampaignStart) and params.limit is not None:
            left = first.arrived + params.limit - await self._arrived(params.name)
            if left <= 0:
                return await self._started(params)
            params = msgspec.structs.replace(params, limit=left)
        try:
            return await self._do(method, params, peer)
        except NotFound:
            if method.name in REMOVES:
                return {"changed": True}
            raise
        except RevisionConflict:  # perhaps the first one's own revision
            raise _unknown() from None
        except InvalidTransition:
            if isinstance(params, CampaignStart | CampaignResume) and await self._completed(params.name):
                return await self._started(params)  # it has run, and to its end
            raise

    async def _started(self, params: CampaignStart | CampaignResume) -> dict[str, object]:
        """The answer to a start or a resume that has nothing left to do."""
        campaign = await self._hub.campaigns.get(params.name)
        more = {"would": None} if isinstance(params, CampaignStart) else {"failed": 0}
        return {"changed": False, "campaign": await view_of(self._hub, campaign), **more}

    async def _completed(self, name: str) -> bool:
        return (await self._hub.campaigns.get(name)).state is CampaignState.COMPLETED

    async def _arrived(self, name: str) -> int:
        """How many of a campaign have been sent to, or may have been; 0 without one."""
        try:
            return (await self._hub.campaigns.get(name)).counts.arrived
        except NotFound:
            return 0

    async def note(self, peer: Peer, action: str, data: Mapping[str, object], campaign: str = "") -> None:
        """Put it in the audit trail. A full disk must not keep anybody from stopping what goes on."""
        at = {"listener": peer.listener, **({"pid": peer.pid} if peer.pid is not None else {})}
        try:
            await self._hub.commands.note(peer.actor, action, campaign, {**at, **data})
        except StoreUnavailable:
            log.warning("%s by %s is not in the audit trail: the disk takes nothing", action, peer.actor)

    async def _do(self, method: Method, params: Params, peer: Peer) -> object:
        assert method.handler is not None
        name = _campaign(method, params)
        wanted: int | None = getattr(params, "if_revision", None)
        if name and (wanted is not None or method.name == "campaign.apply"):
            async with self._revising.setdefault(name, trio.Lock()):  # or the check says nothing
                if wanted is not None:
                    await self._check_revision(name, wanted)
                result = await method.handler(self._hub, params)
        else:
            result = await method.handler(self._hub, params)
        if not getattr(params, "dry_run", False):
            await self.note(peer, method.name, _noted(params, result), name)
        return result

    async def _check_revision(self, name: str, wanted: int) -> None:
        """Zero is the revision of a campaign that is not there."""
        try:
            revision = (await self._hub.campaigns.get(name)).revision
        except NotFound:
            revision = 0
        if revision != wanted:
            raise RevisionConflict(
                f"the campaign {name} is at revision {revision}, not {wanted}",
                hint="look at it again, then repeat with the revision it has now",
                data={"current": revision},
            )

    async def _begin(self, method: Method, key: str, asked: bytes, params: Params) -> First | None:
        try:
            arrived = await self._arrived(params.name) if isinstance(params, CampaignStart) else 0
            return await self._hub.commands.begin(method.name, key, asked, arrived)
        except StoreUnavailable:  # stopping the daemon works without the disk, and little else does
            return await self._kept(method.name, key)

    async def _kept(self, method: str, key: str) -> First | None:
        """The first request as far as it can be read: a disk that takes nothing may still be readable."""
        try:
            return await self._hub.commands.first(method, key)
        except StoreUnavailable:
            return None

    async def _keep(self, method: str, key: str, answer: str) -> None:
        try:
            await self._hub.commands.keep(method, key, answer)
        except StoreUnavailable:
            log.warning("the answer to %s was not kept: the disk takes nothing", method)

    async def _forget(self, method: str, key: str) -> None:
        try:
            await self._hub.commands.forget(method, key)
        except StoreUnavailable:
            log.warning("the refusal of %s was not written down: the disk takes nothing", method)

    @contextmanager
    def _alone(self, method: str, key: str) -> Iterator[None]:
        """Who repeats the request meanwhile waits for the end of this block."""
        done = self._under_way[method, key] = trio.Event()
        try:
            yield
        finally:
            del self._under_way[method, key]
            done.set()


def _unknown() -> Conflict:
    return Conflict(
        "the daemon ended while it did this, and it may have been done; nothing was done now",
        code="outcome_unknown",
        hint="look at what is there; to do it again use a new key",
    )


def _campaign(method: Method, params: Params) -> str:
    """The campaign that a command is about; "" for none."""
    if not method.name.startswith("campaign."):
        return ""
    spec = getattr(params, "spec", None)
    name = spec.get("name") if isinstance(spec, dict) else getattr(params, "name", "")
    return name if isinstance(name, str) else ""


def _noted(params: Params, result: object) -> dict[str, object]:
    """What of a command may be told: names and numbers, never an address or a text."""
    told = {field: getattr(params, field, None) for field in _NOTED}
    if isinstance(result, dict) and isinstance(result.get("changed"), int):
        told["changed"] = result["changed"]
    return {field: value for field, value in told.items() if value not in (None, False) or field == "changed"}
