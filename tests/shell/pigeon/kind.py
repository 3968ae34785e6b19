"""Pigeons: settings, verdicts and transport. Each letter is a POST to a loft; 202 without a body takes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import trio
from msgspec import Meta

from hubd.config.hosts import base_url
from hubd.config.rates import email_sender, read_limits
from hubd.config.secret_refs import how_to, read_secret
from hubd.core.account import Account, AccountAnswer
from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Stage
from hubd.core.request_verdicts import RequestVerdicts
from hubd.core.tables import Table
from hubd.core.verdict_tables import Action, Row
from hubd.providers.kind import Kind, Opening
from hubd.providers.settings import ProviderSettings
from hubd.secrets import SecretRef
from hubd.transports.http_protocol import Request
from hubd.transports.http_wire import Connection, Endpoint, NoAnswer
from hubd.transports.secret_reader import SecretReader

LARGEST = 10_000
VERDICTS = RequestVerdicts(
    accepted=frozenset({202}),
    needs_id=False,
    words=MappingProxyType(
        {"NoSuchRoof": Row(Action.SUPPRESS, "mailbox_unknown", sentence="No pigeon knows this roof.")}
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PigeonConfig(ProviderSettings):
    """A loft of carrier pigeons."""

    type: Annotated[Literal["pigeon"], Meta(description="Send email by pigeon.")] = "pigeon"
    loft_url: Annotated[str, Meta(description="Where the loft is.")]
    whistle: Annotated[SecretRef, Meta(description="Where the whistle is.")]
    pigeons: Annotated[int, Meta(description="How many fly at the same time.")] = 2


def read_pigeon(table: Table, folder: Path) -> PigeonConfig | None:
    """A table of hubd.toml."""
    example = "https://loft.example"
    loft = table.checked("loft_url", base_url(example), "", example=example)
    whistle, pigeons = read_secret(table, "whistle"), table.whole("pigeons", 2, 1, 9)
    limits = read_limits(table, email_sender, domains=True)
    if table.raw.get("whistle") is None:
        table.fault("whistle", "is missing; " + how_to("whistle"))
    table.close()
    return PigeonConfig(loft_url=loft, whistle=whistle, pigeons=pigeons, **limits) if whistle else None


class PigeonTransport:
    """A loft."""

    kind = "pigeon"
    channels = frozenset({Channel.EMAIL})
    in_doubt = InDoubt.HOLD
    verdicts = VERDICTS
    account = ""
    talks_first = False
    largest_message = None
    tells_rate = True

    def __init__(self, name: str, config: PigeonConfig, whistle: SecretReader) -> None:
        self.name, self.connections = name, config.pigeons
        self.whistle = whistle
        self.endpoint = Endpoint(config.loft_url, connect_timeout=5, timeout=5)

    def connection(self) -> PigeonConnection:
        return PigeonConnection(self, self.endpoint.connection())

    async def probe(self) -> Answer:
        return (await self.ask_account()).answer

    async def ask_account(self) -> AccountAnswer:
        connection = self.connection()
        answer = await connection.ask(Request(method="GET", target="/loft"))
        connection.drop()
        rate = connection.said.get("rate")
        account = Account(rate=(rate,), lines=(f"The loft lets {rate} fly.",)) if rate else None
        return AccountAnswer(answer, account)

    async def aclose(self) -> None:
        self.endpoint.close()
        await trio.lowlevel.checkpoint()


class PigeonConnection:
    """A pigeon."""

    connected = False

    def __init__(self, loft: PigeonTransport, wire: Connection) -> None:
        self._loft, self._wire = loft, wire
        self.said: dict[str, str] = {}

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        await trio.lowlevel.checkpoint()
        return None

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        whistle = ("X-Whistle", await self._loft.whistle())
        to = ("X-Roof", rendered.recipient)
        body = rendered.payload + b"".join(rendered.shared.chunks)
        return await self.ask(Request(method="POST", target="/fly", headers=(whistle, to), body=body))

    async def ask(self, request: Request) -> Answer:
        try:
            response = await self._wire.request(request, largest=LARGEST)
        except NoAnswer as failure:
            return failure.answer
        said = self.said = json.loads(response.body) if response.body else {}
        return Answer(
            stage=Stage.REQUEST,
            code=response.status,
            vendor=said.get("word", ""),
            text=said.get("text", ""),
            verbatim=bool(said),
        )

    def waits(self, rendered: RenderedMessage) -> bool:
        return False

    def drop(self) -> None:
        self._wire.close()

    async def aclose(self) -> None:
        self._wire.close()
        await trio.lowlevel.checkpoint()


def _open(config: PigeonConfig, opening: Opening) -> PigeonTransport:
    return PigeonTransport(opening.name, config, opening.secrets["whistle"])


KIND = Kind(
    settings=PigeonConfig,
    read=read_pigeon,
    open=_open,
    channels=PigeonTransport.channels,
    in_doubt=PigeonTransport.in_doubt,
    connections=lambda config: config.pigeons,
    secrets=lambda config: {"whistle": config.whistle},
)
