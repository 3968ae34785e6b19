"""What a kind of provider declares about itself, for the configuration and for the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from hubd.bridge import Bridge
from hubd.core.model import Channel, Content, InDoubt
from hubd.core.tables import Table
from hubd.core.webhooks import ReadWebhook
from hubd.providers.settings import ProviderSettings
from hubd.secrets import SecretRef
from hubd.transports.secret_reader import SecretReader

if TYPE_CHECKING:
    from hubd.engine.ports import Transport
    from hubd.inbound.source import Source

S = TypeVar("S", bound=ProviderSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an account is opened with, besides its settings."""

    name: str  #: of the provider
    bridge: Bridge
    state_dir: Path
    #: Each reads one secret as it is now, by its key; in the order of `Kind.secrets`.
    secrets: Mapping[str, SecretReader] = field(repr=False)
    #: The token of a delivery, by its id, that an envelope sender may contain: see `core.tokens`.
    bounce_token: Callable[[int], str] | None = field(default=None, repr=False)


def _none(_: object) -> Mapping[str, SecretRef | None]:
    return {}


def _no_problems(_: Content) -> Iterable[str]:
    return ()


def _no_advice(_: object, __: bool) -> Iterable[str]:
    return ()


def _nobody(_: object) -> str:
    return ""


def _nothing(_: object, __: Opening) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[S]):
    """One kind. Its folder's module `kind` defines it as `KIND`."""

    settings: type[S]
    #: Reads a table of hubd.toml; notes every fault there, and returns None if there is nothing to go by. The
    #: path is the folder that file names are relative to.
    read: Callable[[Table, Path], S | None]
    #: Opens an account. Called in a thread: slow imports belong here. Raises `BadConfig`.
    open: Callable[[S, Opening], Transport]
    channels: frozenset[Channel]
    in_doubt: InDoubt  #: what to do about lost answers when the campaign says nothing
    connections: Callable[[S], int]  #: how many may be used
    #: Where the secrets are, by key; the one that the login needs most comes first.
    secrets: Callable[[S], Mapping[str, SecretRef | None]] = _none
    sender: Callable[[S], str] = _nobody  #: what it sends as when the campaign does not say
    can_reconcile: bool = False  #: whether it can be asked what it accepted
    #: What a campaign may not have with this kind, as sentences for people.
    problems: Callable[[Content], Iterable[str]] = _no_problems
    #: Which of these settings cannot work as meant, as sentences for people without an address. The second
    #: argument says whether there is a mailbox that hubd reads.
    advice: Callable[[S, bool], Iterable[str]] = _no_advice
    #: Opens the source of what comes back about its messages (receipts, bounces, replies); None if these
    #: settings name none. Called in a thread, like `open`.
    receipts: Callable[[S, Opening], Source | None] = _nothing
    #: Reads its webhook, where hubd.toml has a listener; `webhook_key` is the key of the secret that it signs
    #: with, or `webhook_public_key` gives the public key that its signatures are checked with.
    webhook: ReadWebhook | None = None
    webhook_key: str = ""
    webhook_public_key: Callable[[S], str] = _nobody
    #: Where it writes each message to a file, under the state directory; "" for kinds that send.
    folder: str = ""
    #: Removes the files of a campaign's messages with numbers in some ranges from that folder. Called in a
    #: thread; repeating it has no further effect. Raises `OSError`. None for kinds that send.
    erase: Callable[[Path, str, Collection[tuple[int, int]]], None] | None = None
    tables: Mapping[str, type] = field(default_factory=dict)  #: tables within the settings, by key
    implied: Mapping[str, str] = field(default_factory=dict)  #: keys that may follow from another key
