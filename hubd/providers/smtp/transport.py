"""Email over SMTP: one account, and some connections to it (see `connection`)."""

from __future__ import annotations

import socket
from dataclasses import replace

import trio

from hubd.bridge import Bridge
from hubd.core.model import Answer, Channel, InDoubt, Signal, Stage
from hubd.core.request_verdicts import PLAIN
from hubd.errors import CredentialMissing
from hubd.providers.smtp.connection import SmtpConnection
from hubd.providers.smtp.dsn import Dsn
from hubd.providers.smtp.login import Login, LoginRefused, SmtpSettings, ehlo_name, log_in, tls_context
from hubd.providers.smtp.pipelining import Pipelining
from hubd.transports.oauth2 import TokenRefused, TokenSource
from hubd.transports.secret_reader import SecretReader, unreadable_secret
from hubd.transports.tcp_connect import NotConnected, connect

__all__ = ["SmtpConnection", "SmtpSettings", "SmtpTransport", "open_smtp"]

#: What a mail server answers to a wrong password or token (RFC 4954 section 6).
_BAD_LOGIN = 535


def open_smtp(
    name: str,
    settings: SmtpSettings,
    bridge: Bridge,
    read_password: SecretReader | None = None,
    tokens: TokenSource | None = None,
) -> SmtpTransport:
    """A transport for one SMTP account. Does not connect yet. Raises `BadConfig` for a bad `ca_file`.

    `read_password` is called at each login; without it the password is that of the settings. With `tokens`,
    which then belong to the transport, logins use an access token.
    """
    return SmtpTransport(name, settings, bridge, read_password, tokens)


class SmtpTransport:
    """One SMTP account. Get one from `open_smtp`; close it before the bridge."""

    kind = "smtp"
    channels = frozenset({Channel.EMAIL})
    in_doubt = InDoubt.RETRY
    verdicts = PLAIN
    account = ""
    talks_first = True  #: up to the 354 reply: connection, login and envelope

    def __init__(
        self,
        name: str,
        settings: SmtpSettings,
        bridge: Bridge,
        read_password: SecretReader | None,
        tokens: TokenSource | None,
    ) -> None:
        self.name = name
        self.connections = settings.connections
        self.settings = settings
        self.pipelining = Pipelining(name, wanted=settings.pipelining)
        self.dsn = Dsn(name)
        self._read_password = read_password
        self._tokens = tokens
        self._bridge = bridge
        self._context = tls_context(settings)
        self._ehlo_name = settings.ehlo_name
        self.largest_message: int | None = None  #: from the last login; None: no login yet, or no limit
        self._open: set[SmtpConnection] = set()
        self._turned_away: set[str] = set()  # addresses of the server whose greeting turned us away
        self._closed = False

    def connection(self) -> SmtpConnection:
        """One connection, not connected yet."""
        return SmtpConnection(self)

    async def probe(self) -> Answer:
        """Log in, send nothing, log out. A reply below 400 means that the account can be used."""
        connection = self.connection()
        try:
            return await connection.connect()
        finally:
            await connection.aclose()

    async def aclose(self) -> None:
        """End every connection; those in the middle of something are cut."""
        self._closed = True
        if self._tokens is not None:
            self._tokens.close()
        async with trio.open_nursery() as nursery:
            for connection in list(self._open):
                nursery.start_soon(connection.aclose)

    async def log_in(self, connection: SmtpConnection) -> Login:
        """Open a fresh connection. Raises `LoginRefused`.

        An access token that the server refuses is replaced once: it may have been revoked early.
        """
        settings = await self._settings_now()
        try:
            return await self._log_in(connection, settings)
        except LoginRefused as refusal:
            if not settings.token or (refusal.answer.stage, refusal.answer.code) != (Stage.AUTH, _BAD_LOGIN):
                raise
        return await self._log_in(connection, await self._settings_now(refused=settings.token))

    async def _log_in(self, connection: SmtpConnection, settings: SmtpSettings) -> Login:
        if not self._ehlo_name:
            self._ehlo_name = await ehlo_name()
        login = await self._log_in_somewhere(settings, self._ehlo_name)
        if self._closed:
            login.conversation.abort()
            raise LoginRefused(
                Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text="the provider is being closed")
            )
        self._open.add(connection)
        self.largest_message = login.max_size or None
        return login

    async def _log_in_somewhere(self, settings: SmtpSettings, name: str) -> Login:
        """Log in at the first address of the server whose greeting does not turn us away (as Postfix does).
        Those that do are tried last from then on.
        """
        tried: list[str] = []
        first: LoginRefused | None = None
        while True:
            try:
                sock = await connect(
                    settings.host, settings.port, settings.connect_timeout, but=tried, last=self._turned_away
                )
            except NotConnected as failure:
                raise first or LoginRefused(failure.answer) from None
            address = _peer(sock)
            try:
                login = await log_in(self._bridge, sock, settings, self._context, name)
            except LoginRefused as refusal:
                if not address or not _turns_away(refusal.answer):
                    raise
                first = first or refusal
                tried.append(address)
                self._turned_away.add(address)
            else:
                self._turned_away.discard(address)
                return login

    async def _settings_now(self, *, refused: str = "") -> SmtpSettings:
        """The settings with the password as it is now, or with an access token that is not the `refused` one.

        Raises `LoginRefused` when there is none.
        """
        if self._tokens is not None:
            try:
                return replace(self.settings, token=await self._tokens.token(refused=refused))
            except TokenRefused as refusal:
                raise LoginRefused(refusal.answer) from None
        if self._read_password is None:
            return self.settings
        try:
            return replace(self.settings, password=await self._read_password())
        except CredentialMissing as problem:
            raise LoginRefused(unreadable_secret(problem, Stage.AUTH, 535)) from None

    def forget(self, connection: SmtpConnection) -> None:
        """Note that a connection is not connected any more."""
        self._open.discard(connection)


def _peer(connected: socket.socket) -> str:
    """The address of the other end; "" if it is gone already."""
    try:
        return str(connected.getpeername()[0])
    except OSError:
        return ""


def _turns_away(answer: Answer) -> bool:
    """Whether a greeting says, or seems to say, that there is no service at this address. A 4xx means that
    there is one, which wants fewer connections.
    """
    return answer.stage is Stage.BANNER and (answer.signal is not Signal.REPLY or answer.code >= 500)
