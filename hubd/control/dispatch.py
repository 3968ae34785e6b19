"""Idempotent commands: each change is made once per key, at the revision asked for, and is audited.

A request that is repeated with its `idempotency_key` gets the first one's answer, even when the first is
still under way or was made on another connection; one with the same key and other parameters is refused.
The answer is kept in the transaction that has the effect, so a daemon that is killed leaves both or neither.
A command that affects only this process, such as disabling a provider, loses its effect with the process and
is done again. `hub.backup` recognizes its own copy (see `hub_methods`).
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import trio

from hubd.control.command import Command
from hubd.control.fingerprint import fingerprint
from hubd.control.hub import Hub
from hubd.control.roles import Peer
from hubd.control.table import Disk, Method
from hubd.core.decide import Request, check_revision
from hubd.core.model import Campaign
from hubd.core.notices import OWN_KEYS
from hubd.core.records import First
from hubd.errors import BadInput, Conflict, NotFound, StoreUnavailable
from hubd.failpoints import reach
from hubd.wire.params import Params

log = logging.getLogger(__name__)

#: Parameters that go into the audit trail: names and numbers, never an address or a text.
_NOTED = ("name", "new", "provider", "limit", "in_doubt", "account", "credits")


class Dispatcher:
    """Carries out commands for all connections."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._under_way: dict[tuple[str, str], trio.Event] = {}
        self._looking_up: defaultdict[str, trio.StrictFIFOLock] = defaultdict(trio.StrictFIFOLock)

    async def carry_out(self, method: Method, params: Params, peer: Peer) -> object:
        """Do it, or give the first request's answer. Raises what the method raises, and `Conflict`."""
        request = _request(method, params, peer)
        key: str | None = getattr(params, "idempotency_key", None)
        if key is not None and key.startswith(OWN_KEYS):
            raise BadInput.at(
                "idempotency_key", f"keys that begin with {OWN_KEYS} are hubd's own; choose another one"
            )
        if key is None or getattr(params, "dry_run", False):
            return await self._do(request, method, params)
        while (other := self._under_way.get((method.name, key))) is not None:
            await other.wait()
        with self._alone(method.name, key):
            return await self._do_once(request, method, params)

    async def _do_once(self, request: Request, method: Method, params: Params) -> object:
        first = None
        if request.key:
            async with self._looking_up[method.name]:  # the pages of an import stay in their order
                first = await self._first(request)
        if first is None:
            return await self._do(request, method, params)
        if first.fingerprint != request.fingerprint:
            raise Conflict(
                "this key was used for another request; nothing was done",
                code="key_used",
                hint="use a new key for a new request",
            )
        if first.answer:
            answered: object = json.loads(first.answer)
            return answered
        if not first.progress:
            raise _unknown()
        return await self._do(replace(request, progress=first.progress), method, params)

    async def note(self, peer: Peer, action: str, data: Mapping[str, object]) -> None:
        """Record it in the audit trail. A full disk does not prevent the command."""
        request = Request(method=action, actor=peer.actor, noted=_noted(peer, data))
        try:
            await self._hub.commands.note(request)
        except StoreUnavailable:
            log.warning("%s by %s is not in the audit trail: the disk cannot be written", action, peer.actor)

    async def _do(self, request: Request, method: Method, params: Params) -> object:
        assert method.handler is not None
        dry_run: bool = getattr(params, "dry_run", False)
        if request.revision is not None and not request.progress:  # checked again where it is written
            check_revision(await self._campaign(request.campaign), request.campaign, request.revision)
        command = Command(
            hub=self._hub, request=request, dry_run=dry_run, bulk=method.disk is Disk.NEEDS_SPACE
        )
        reach("before_command")
        result = await method.handler(self._hub, params, command)
        if method.disk is Disk.NOT_NEEDED and not dry_run:
            assert isinstance(result, dict)
            said: dict[str, object] = result
            try:
                await command.write(lambda _: None, lambda _: said)
            except StoreUnavailable:
                log.warning("%s is not in the audit trail: the disk cannot be written", method.name)
        reach("before_reply")
        return result

    async def _campaign(self, name: str) -> Campaign | None:
        try:
            return await self._hub.campaigns.get(name)
        except NotFound:
            return None

    async def _first(self, request: Request) -> First | None:
        """The first request as far as it can be read: stopping the daemon works without the disk."""
        try:
            return await self._hub.commands.first(request.method, request.key)
        except StoreUnavailable:
            return None

    @contextmanager
    def _alone(self, method: str, key: str) -> Iterator[None]:
        """A repetition of the request in the meantime waits for the end of this block."""
        done = self._under_way[method, key] = trio.Event()
        try:
            yield
        finally:
            del self._under_way[method, key]
            done.set()


def _request(method: Method, params: Params, peer: Peer) -> Request:
    key: str | None = getattr(params, "idempotency_key", None)
    kept = key is not None and method.keeps_answer and not getattr(params, "dry_run", False)
    return Request(
        method=method.name,
        actor=peer.actor,
        key=(key or "") if kept else "",
        fingerprint=fingerprint(params) if kept else b"",
        campaign=_campaign(method, params),
        revision=getattr(params, "if_revision", None),
        noted=_noted(peer, {field: getattr(params, field, None) for field in _NOTED}),
    )


def _noted(peer: Peer, data: Mapping[str, object]) -> dict[str, object]:
    at = {"listener": peer.listener, "pid": peer.pid, **data}
    return {field: value for field, value in at.items() if value is not None}


def _unknown() -> Conflict:
    """Only for requests begun by an earlier version, which wrote the answer apart from the effect."""
    return Conflict(
        "the daemon ended during this request, which may have taken effect; nothing was done now",
        code="outcome_unknown",
        hint="check the current state; to do it again, use a new key",
    )


def _campaign(method: Method, params: Params) -> str:
    """The campaign that a command is about; "" for none."""
    if not method.name.startswith("campaign."):
        return ""
    spec = getattr(params, "spec", None)
    name = spec.get("name") if isinstance(spec, dict) else getattr(params, "name", "")
    return name if isinstance(name, str) else ""
