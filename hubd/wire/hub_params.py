"""What the methods of the daemon itself take."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hubd.wire.params import Key, Params


class ClientInfo(Params, frozen=True):
    """Who is calling."""

    name: Annotated[str, msgspec.Meta(max_length=100)]
    version: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Hello(Params, frozen=True):
    """The first call of a connection. `protocol` lists the versions that the client speaks."""

    client: ClientInfo
    protocol: Annotated[list[int], msgspec.Meta(max_length=50)]
    caps: list[str] = []


class HubBackup(Params, frozen=True):
    """`path` is an absolute path on the daemon's machine, of a file that does not exist yet."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    idempotency_key: Key = None
    dry_run: bool = False


class AuthTicket(Params, frozen=True):
    """`origin` is that of the page that will connect; null for another program. `ttl`: seconds.

    `listen`: if the daemon does not listen on TCP, open a free port on 127.0.0.1; it is closed when nobody is
    connected there and no ticket and no session token is good.
    """

    role: Literal["viewer", "operator"] = "viewer"
    origin: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    ttl: Annotated[int, msgspec.Meta(ge=1, le=60)] = 60
    listen: bool = False


class HubCancel(Params, frozen=True):
    """The id of a request in progress on this connection."""

    id: str | int | float | None
