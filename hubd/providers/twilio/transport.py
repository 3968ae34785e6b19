"""SMS through Twilio's own client library, on Trio.

An SMS is one HTTP request, and its first byte is irrevocable: `prepare` says nothing to Twilio yet. A message
that fails before that byte is handed to the socket was definitely not sent (stage CONNECT or TLS). After it
only a well-formed answer counts: after a lost connection, silence or an unreadable success the message is in
doubt (stage REQUEST without a reply). Nothing is ever sent twice from here: neither the library nor
`http_wire` retries, no redirect is followed, and only a 401 is followed by another request, with a token that
was replaced meanwhile. Twilio can be asked later what it accepted (`reconcile`).

The library is slow to import (a few tenths of a second), so only `open_twilio` imports it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import trio

from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.core.reconcile import Finding, Sought
from hubd.errors import BadConfig, CredentialMissing
from hubd.providers.twilio.reconcile import LARGEST_PAGE, Page, reconcile
from hubd.providers.twilio.verdicts import VERDICTS
from hubd.transports.http_wire import Endpoint, NoAnswer
from hubd.transports.loopback import is_loopback
from hubd.transports.secret_reader import SecretReader, unreadable_secret

T = TypeVar("T")

_SID = re.compile(r"[A-Za-z0-9]{2,64}")
_ACCOUNT_NOT_ACTIVE = "20005"  #: Twilio's error number


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSettings:
    """One Twilio account, and how to send through it. Timeouts are in seconds."""

    account_sid: str
    auth_token: str = field(repr=False)
    from_: str = ""  #: sender number or name, unless the campaign has one
    messaging_service_sid: str = ""  #: chooses the sender; overrides `from_`
    concurrency: int = 10  #: requests at the same time
    base_url: str = "https://api.twilio.com"  #: https, or http on a loopback address
    connect_timeout: float = 10.0  #: for the connection, and again for its TLS handshake
    timeout: float = 30.0  #: from the first byte of the request to the end of the response

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token in every form in which it is sent; none of them may show up in an answer's text."""
        if not self.auth_token:
            return ()
        basic = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        return (basic, self.auth_token)


def open_twilio(
    name: str, settings: TwilioSettings, read_token: SecretReader | None = None
) -> TwilioTransport:
    """A provider named `name`. Does not connect yet. Raises `BadConfig`.

    `read_token` is called for each connection, and again when Twilio refuses the token; without it the token
    is the settings'.
    """
    _check(settings)
    from hubd.providers.twilio import http  # noqa: F401  # slow, so not with the first message

    endpoint = Endpoint(settings.base_url, connect_timeout=settings.connect_timeout, timeout=settings.timeout)
    return TwilioTransport(name, settings, endpoint, read_token)


class TwilioTransport:
    """One Twilio account."""

    kind = "twilio"
    channels = frozenset({Channel.SMS})
    in_doubt = InDoubt.HOLD  # a second SMS costs money and annoys
    verdicts = VERDICTS
    talks_first = False
    largest_message = None
    can_reconcile = True

    def __init__(
        self,
        name: str,
        settings: TwilioSettings,
        endpoint: Endpoint,
        read_token: SecretReader | None = None,
    ) -> None:
        self.name = name
        self.connections = settings.concurrency
        whose = f"{settings.account_sid} {settings.base_url}"
        self.account = hashlib.sha256(whose.encode()).hexdigest()[:16]
        self._settings = settings
        self._endpoint = endpoint
        self._read_token = read_token

    def connection(self) -> TwilioConnection:
        """A new connection, for one request at a time."""
        return TwilioConnection(self._settings, self._endpoint, self._read_token)

    async def probe(self) -> Answer:
        """Log in and check the account. Code 200 when it may send; sends nothing."""
        connection = self.connection()
        try:
            return await connection.look_at_account()
        finally:
            connection.drop()

    async def reconcile(self, rendered: RenderedMessage, opened_at: float) -> Finding:
        """Whether Twilio has a message whose attempt began at `opened_at`, epoch seconds. Never raises."""
        connection = self.connection()
        try:
            return await connection.look_for(rendered, opened_at)
        finally:
            connection.drop()

    async def aclose(self) -> None:
        """Cut all connections."""
        self._endpoint.close()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()


class TwilioConnection:
    """One connection to an account, opened when first needed. Used by one task at a time."""

    def __init__(self, settings: TwilioSettings, endpoint: Endpoint, read_token: SecretReader | None) -> None:
        from hubd.providers.twilio import http

        self._settings = settings  # with the token as it was last read
        self._endpoint = endpoint
        self._read_token = read_token
        self._token_read = read_token is None
        self._resolved = False  # a request was handed over, so the name has an address
        self._wire = http.Wire(endpoint)
        self._client = http.open_client(
            self._wire,
            account_sid=settings.account_sid,
            auth_token=settings.auth_token or "not read yet",
            base_url=settings.base_url,
        )

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        """Read the token and resolve the host's name: what follows cannot be cancelled."""
        await trio.lowlevel.checkpoint()
        if not self._token_read and (unreadable := await self._log_in()):
            return unreadable
        return None if self._resolved else await self._endpoint.resolved()

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        """Hand the message to Twilio. `following` is not used.

        Code 201 with `provider_id`: Twilio has it. A cancelled call closes its connection, and the message
        may have been accepted.
        """
        number, service = self._sender(rendered)
        sender = {"from_": number} if number else {"messaging_service_sid": service}

        async def send() -> Answer:
            message = await self._client.messages.create_async(
                to=rendered.recipient, body=rendered.text, **sender
            )
            return self._accepted(message)

        return await self._exchange(send)

    async def look_at_account(self) -> Answer:
        """Whether the account exists, is ours and is active."""

        async def look() -> Answer:
            account = await self._client.api.v2010.accounts(self._settings.account_sid).fetch_async()
            return self._looked(account)

        return await self._exchange(look)

    async def look_for(self, rendered: RenderedMessage, opened_at: float) -> Finding:
        """What Twilio's lists say about a message that may have been accepted."""
        number, service = self._sender(rendered)
        sought = Sought(
            recipient=rendered.recipient,
            text=rendered.text,
            opened_at=opened_at,
            sender=number,
            service=service,
        )
        return await reconcile(self._list, self._client, sought, self._settings.base_url)

    async def _list(self, fetch: Callable[[], Awaitable[Page]]) -> Page | Answer:
        try:
            return await self._exchange(fetch, largest=LARGEST_PAGE)
        except Exception as problem:  # even what went wrong before the request: a query risks nothing
            return self._garbage(type(problem).__name__)

    def _sender(self, rendered: RenderedMessage) -> tuple[str, str]:
        """The number or name that sends, and the service that chooses one: exactly one of them is given."""
        if rendered.sender:
            return rendered.sender, ""
        service = self._settings.messaging_service_sid
        return ("", service) if service else (self._settings.from_, "")

    @property
    def connected(self) -> bool:
        """Never: a refused connection while others are open does not mean a limit on connections."""
        return False

    def waits(self, rendered: RenderedMessage) -> bool:
        """Whether the token must be read or the host's name resolved first."""
        return not (self._token_read and self._resolved)

    def drop(self) -> None:
        """Cut the connection at once."""
        self._wire.connection.close()

    async def aclose(self) -> None:
        """The same: HTTP has no goodbye."""
        self.drop()
        await trio.lowlevel.checkpoint()

    async def _log_in(self) -> Answer | None:
        """Read the token and use it from now on. Returns an answer if it cannot be read."""
        if self._read_token is None:
            return None
        try:
            token = await self._read_token()
        except CredentialMissing as problem:
            return unreadable_secret(problem, Stage.REQUEST, 401)
        self._token_read = True
        self._settings = replace(self._settings, auth_token=token)
        self._client.password = token
        self._client.auth = (self._settings.account_sid, token)
        return None

    async def _exchange(
        self, action: Callable[[], Awaitable[T]], *, largest: int | None = None
    ) -> T | Answer:
        """Carry out one request; repeat it if Twilio refuses a token that was replaced after it was read."""
        if not self._token_read and (unreadable := await self._log_in()):
            return unreadable
        token = self._settings.auth_token
        answer = await self._request(action, largest=largest)
        self._resolved = self._wire.connection.handed_over
        if (
            self._wire.connection.status == 401
            and await self._log_in() is None
            and self._settings.auth_token != token
        ):
            answer = await self._request(action, largest=largest)
        return answer

    async def _request(self, action: Callable[[], Awaitable[T]], *, largest: int | None = None) -> T | Answer:
        """Whatever Twilio, its library or the network do becomes an answer here, and only here."""
        from twilio.base.exceptions import TwilioException

        from hubd.providers.twilio import http

        wire = self._wire
        wire.largest = largest or http.MAX_RESPONSE
        try:
            return await action()
        except NoAnswer as failure:
            return msgspec.structs.replace(failure.answer, text=self._line(failure.answer.text))
        except TwilioException as refusal:
            return self._refused(refusal)
        except Exception:  # the library checks nothing: not JSON, a list, nested too deep
            if not wire.connection.handed_over:
                raise  # our own fault, certainly before the message
            return self._garbage("the response cannot be read")

    def _accepted(self, message: Any) -> Answer:
        code, sid = self._wire.connection.status, message.sid
        if not isinstance(sid, str) or not _SID.fullmatch(sid):
            return self._garbage("the response does not contain the message id")
        return Answer(stage=Stage.REQUEST, code=code, text=self._line(str(message.status)), provider_id=sid)

    def _looked(self, account: Any) -> Answer:
        sid, status = self._settings.account_sid, self._line(str(account.status))
        if self._wire.connection.status != 200 or account.sid != sid:
            return self._garbage("the response does not describe the account")
        if status != "active":  # what Twilio would answer to a message
            text = f"the account is {status}"
            return Answer(stage=Stage.REQUEST, code=403, vendor=_ACCOUNT_NOT_ACTIVE, text=text)
        return Answer(stage=Stage.REQUEST, code=200, text=f"account {status}", provider_id=sid)

    def _refused(self, refusal: Any) -> Answer:
        """The library's exception for any status that is not a success. Its `str()` contains colour codes."""
        wire = self._wire
        said = getattr(refusal, "msg", "") or getattr(refusal, "title", "")  # the older form, the newer one
        return Answer(
            stage=Stage.REQUEST,
            code=wire.connection.status,
            vendor=_vendor_code(getattr(refusal, "code", 0)),
            text=self._line(str(said)),
            verbatim=bool(said),
            retry_after=_retry_after(wire.headers),
        )

    def _garbage(self, text: str) -> Answer:
        code = self._wire.connection.status
        return Answer(stage=Stage.REQUEST, signal=Signal.GARBAGE, code=code, text=self._line(text))

    def _line(self, text: str) -> str:
        return one_line(text, self._settings.secrets)


def _check(settings: TwilioSettings) -> None:
    """Raise `BadConfig` for settings that could send nothing, or would send a password in clear text."""
    url = urlsplit(settings.base_url)
    if url.scheme not in ("https", "http") or not url.hostname or url.query or url.fragment:
        raise BadConfig.at("base_url", "not an address like https://api.twilio.com")
    if url.username is not None or url.password is not None:
        raise BadConfig.at("base_url", "must not contain a user name or a password")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise BadConfig.at("base_url", "must begin with https:// unless it is on this machine")
    if not (settings.from_ or settings.messaging_service_sid):
        raise BadConfig.at("from_", "a Twilio provider needs from_ or messaging_service_sid")
    if settings.concurrency < 1 or not (settings.connect_timeout > 0 and settings.timeout > 0):
        raise BadConfig.at("concurrency", "concurrency and timeouts must be more than 0")


def _vendor_code(code: object) -> str:
    """Twilio's error number, or "". The library puts the HTTP status there when the response has none."""
    try:
        number = int(code)  # type: ignore[call-overload]  # what does not fit raises
    except (TypeError, ValueError, OverflowError):
        return ""
    return str(number) if 10_000 <= number <= 999_999 else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3: a number, or a date, compared with the server's own date)."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until, sent = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - sent).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
