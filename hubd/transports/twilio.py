"""SMS through Twilio's own client library, on Trio.

An SMS is one HTTP request, and the request is the irrevocable byte: `prepare` has nothing to do. What goes
wrong before the first byte of the request is handed to the socket was definitely not sent (stage CONNECT or
TLS). After it only a well-formed answer counts: a lost connection, silence or an unreadable success are
in doubt (stage REQUEST without a reply). Nothing is ever sent twice from here: neither the library nor
httpx retries, no redirect is followed, and only a 401 is followed by another request, with a token that was
replaced meanwhile. Twilio can be asked later what it accepted (`inquire`).

The library is slow to import (a few tenths of a second), so only `open_twilio` imports it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import trio

from hubd.core.inquest import Finding, Sought
from hubd.core.model import Answer, Channel, InDoubt, Parcel, Signal, Stage
from hubd.errors import BadConfig, CredentialMissing
from hubd.transports.loopback import is_loopback
from hubd.transports.replies import one_line
from hubd.transports.resolver import NameUnresolved, addresses_of
from hubd.transports.secret_reader import SecretReader, unreadable_secret
from hubd.transports.twilio_inquiry import LARGEST_PAGE, Page, inquire

T = TypeVar("T")

if TYPE_CHECKING:
    import httpx

_SID = re.compile(r"[A-Za-z0-9]{2,64}")
_ACCOUNT_NOT_ACTIVE = 20005  #: Twilio's error number
_SPARE = 3  #: connections beside those that send: one for the probe, the others to ask what was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSettings:
    """One Twilio account, and how to send through it. Timeouts are in seconds."""

    account_sid: str
    auth_token: str = field(repr=False)
    from_: str = ""  #: sender number or name, unless the campaign has one
    messaging_service_sid: str = ""  #: chooses the sender; goes before `from_`
    concurrency: int = 10  #: requests at the same time
    base_url: str = "https://api.twilio.com"  #: https, or http on a loopback address
    connect_timeout: float = 10.0  #: for the connection, and again for its TLS handshake
    timeout: float = 30.0  #: from the first byte of the request to the end of the response

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token in every form in which it travels; none of them may show up in an answer's text."""
        if not self.auth_token:
            return ()
        basic = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        return (basic, self.auth_token)


def open_twilio(
    name: str, settings: TwilioSettings, read_token: SecretReader | None = None
) -> TwilioTransport:
    """A provider named `name`. Connects to nothing yet. Raises `BadConfig`.

    `read_token` is called for each lane, and again when Twilio refuses the token; without it the token is the
    settings'.
    """
    _check(settings)
    import httpx

    from hubd.transports import twilio_http

    pool = twilio_http.open_pool(
        base_url=httpx.URL(settings.base_url),
        connections=settings.concurrency + _SPARE,
        connect_timeout=settings.connect_timeout,
        timeout=settings.timeout,
    )
    return TwilioTransport(name, settings, pool, read_token)


class TwilioTransport:
    """One Twilio account."""

    kind = "twilio"
    channels = frozenset({Channel.SMS})
    in_doubt = InDoubt.HOLD  # a second SMS costs money and annoys
    talks_first = False
    largest_message = None
    inquires = True

    def __init__(
        self,
        name: str,
        settings: TwilioSettings,
        pool: httpx.AsyncClient,
        read_token: SecretReader | None = None,
    ) -> None:
        self.name = name
        self.lanes = settings.concurrency
        whose = f"{settings.account_sid} {settings.base_url}"
        self.account = hashlib.sha256(whose.encode()).hexdigest()[:16]
        self._settings = settings
        self._pool = pool
        self._read_token = read_token

    def lane(self) -> TwilioLane:
        """One request at a time, over the connections that all lanes share."""
        return TwilioLane(self._settings, self._pool, self._read_token)

    async def probe(self) -> Answer:
        """Log in and look at the account. Code 200 when it may send; sends nothing."""
        return await TwilioLane(self._settings, self._pool, self._read_token).look_at_account()

    async def inquire(self, parcel: Parcel, opened_at: float) -> Finding:
        """Whether Twilio has a message whose attempt was opened then (epoch seconds). Never raises."""
        return await TwilioLane(self._settings, self._pool, self._read_token).look_for(parcel, opened_at)

    async def aclose(self) -> None:
        """Close all connections."""
        with trio.CancelScope(shield=True):
            await self._pool.aclose()


class TwilioLane:
    """One place among the requests of an account. Used by one task at a time."""

    def __init__(
        self, settings: TwilioSettings, pool: httpx.AsyncClient, read_token: SecretReader | None
    ) -> None:
        from hubd.transports import twilio_http

        self._settings = settings  # with the token as it was read last
        self._read_token = read_token
        self._token_read = read_token is None
        self._connected = False  # a request was handed over, so the name has resolved
        self._wire = twilio_http.Wire(pool)
        self._client = twilio_http.open_client(
            self._wire,
            account_sid=settings.account_sid,
            auth_token=settings.auth_token or "not read yet",
            base_url=settings.base_url,
        )

    async def prepare(self, parcel: Parcel) -> Answer | None:
        """Ready once the token is read and the host's name resolves: what follows cannot be cancelled."""
        await trio.lowlevel.checkpoint()
        if not self._token_read and (unreadable := await self._log_in()):
            return unreadable
        return None if self._connected else await self._look_up()

    async def deliver(self, parcel: Parcel, following: Parcel | None = None) -> Answer:
        """Hand the message to Twilio. `following` is not used.

        Code 201 with `provider_id`: Twilio has it. A cancelled call closes its connection, and the message
        may have been accepted.
        """
        number, service = self._sender(parcel)
        sender = {"from_": number} if number else {"messaging_service_sid": service}

        async def send() -> Answer:
            message = await self._client.messages.create_async(
                to=parcel.recipient, body=parcel.text, **sender
            )
            return self._accepted(message)

        return await self._exchange(send)

    async def look_at_account(self) -> Answer:
        """Whether the account is there, ours and active."""

        async def look() -> Answer:
            account = await self._client.api.v2010.accounts(self._settings.account_sid).fetch_async()
            return self._looked(account)

        return await self._exchange(look)

    async def look_for(self, parcel: Parcel, opened_at: float) -> Finding:
        """What Twilio's lists say about a message that may have been accepted."""
        number, service = self._sender(parcel)
        sought = Sought(
            recipient=parcel.recipient, text=parcel.text, opened_at=opened_at, sender=number, service=service
        )
        return await inquire(self._list, self._client, sought, self._settings.base_url)

    async def _list(self, fetch: Callable[[], Awaitable[Page]]) -> Page | Answer:
        try:
            return await self._exchange(fetch, largest=LARGEST_PAGE)
        except Exception as problem:  # also what went wrong before the request: a question risks nothing
            return self._without_reply(Signal.GARBAGE, type(problem).__name__)

    def _sender(self, parcel: Parcel) -> tuple[str, str]:
        """The number or name that sends, and the service that chooses one: exactly one of them is given."""
        if parcel.sender:
            return parcel.sender, ""
        service = self._settings.messaging_service_sid
        return ("", service) if service else (self._settings.from_, "")

    @property
    def connected(self) -> bool:
        """No connection is this lane's own."""
        return False

    def waits(self, parcel: Parcel) -> bool:
        """Whether the token is to be read or the host's name to be resolved."""
        return not (self._token_read and self._connected)

    def drop(self) -> None:
        """A request that was cancelled has closed its connection already; an idle one harms nobody."""

    async def aclose(self) -> None:
        """The connections belong to the transport."""
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

    async def _look_up(self) -> Answer | None:
        """Resolve the host's name, unless a proxy does that. Returns an answer if it does not resolve."""
        from hubd.transports import twilio_http

        host = urlsplit(self._settings.base_url).hostname
        if host is None or twilio_http.goes_through_proxy(self._settings.base_url):
            return None
        try:
            await addresses_of(host, self._settings.connect_timeout)
        except NameUnresolved as problem:
            return self._unresolved(problem)
        return None

    def _unresolved(self, problem: NameUnresolved) -> Answer:
        text = self._line(f"{problem} ({problem.why})")
        return Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text=text, detail=str(problem))

    async def _exchange(
        self, action: Callable[[], Awaitable[T]], *, largest: int | None = None
    ) -> T | Answer:
        """Carry out one request; repeat it if Twilio refuses a token that was replaced after it was read."""
        if not self._token_read and (unreadable := await self._log_in()):
            return unreadable
        token = self._settings.auth_token
        answer = await self._request(action, largest=largest)
        self._connected = self._wire.handed_over
        if self._wire.status == 401 and await self._log_in() is None and self._settings.auth_token != token:
            answer = await self._request(action, largest=largest)
        return answer

    async def _request(self, action: Callable[[], Awaitable[T]], *, largest: int | None = None) -> T | Answer:
        """The one seam: whatever Twilio, its library, httpx or the network do becomes an answer here."""
        import httpx
        from twilio.base.exceptions import TwilioException

        from hubd.transports import twilio_http

        wire = self._wire
        try:
            with trio.CancelScope() as patience:
                wire.begin(patience, self._settings.timeout, largest or twilio_http.MAX_RESPONSE)
                return await action()
            return self._without_reply(Signal.TIMEOUT, "no answer in time")
        except TwilioException as refusal:
            return self._refused(refusal)
        except httpx.TimeoutException as problem:
            return self._without_reply(Signal.TIMEOUT, str(problem) or "no answer in time")
        except httpx.ConnectError as problem:
            return self._not_connected(problem)
        except httpx.TransportError as problem:
            return self._without_reply(Signal.DROPPED, _cause(problem) or "the connection was lost")
        except twilio_http.UnusableResponse as problem:
            return self._without_reply(Signal.GARBAGE, str(problem))
        except Exception:  # the library does not guard itself: JSON that is none, a list, nested too deep
            if not wire.handed_over:
                raise  # a fault of ours, certainly before the message
            return self._without_reply(Signal.GARBAGE, "the response cannot be read")

    def _accepted(self, message: Any) -> Answer:
        code, sid = self._wire.status, message.sid
        if not isinstance(sid, str) or not _SID.fullmatch(sid):
            text = "the response to the message does not name it"
            return Answer(stage=Stage.REQUEST, signal=Signal.GARBAGE, code=code, text=text)
        return Answer(stage=Stage.REQUEST, code=code, text=self._line(str(message.status)), provider_id=sid)

    def _looked(self, account: Any) -> Answer:
        sid, status = self._settings.account_sid, self._line(str(account.status))
        if self._wire.status != 200 or account.sid != sid:
            text = "the response does not describe the account"
            return Answer(stage=Stage.REQUEST, signal=Signal.GARBAGE, code=self._wire.status, text=text)
        if status != "active":  # said as Twilio would say it to a message
            text = f"the account is {status}"
            return Answer(stage=Stage.REQUEST, code=403, vendor=_ACCOUNT_NOT_ACTIVE, text=text)
        return Answer(stage=Stage.REQUEST, code=200, text=f"account {status}", provider_id=sid)

    def _refused(self, refusal: Any) -> Answer:
        """The library's exception for any status that is not a success. `str()` of it has colours in it."""
        wire = self._wire
        said = getattr(refusal, "msg", "") or getattr(refusal, "title", "")  # the older form, the newer one
        return Answer(
            stage=Stage.REQUEST,
            code=wire.status,
            vendor=_vendor_code(getattr(refusal, "code", 0)),
            text=self._line(str(said)),
            retry_after=_retry_after(wire.headers),
        )

    def _without_reply(self, signal: Signal, text: str) -> Answer:
        wire = self._wire
        if wire.handed_over:
            return Answer(stage=Stage.REQUEST, signal=signal, code=wire.status, text=self._line(text))
        if "certificate" in text.lower():
            return Answer(stage=Stage.TLS, signal=Signal.GARBAGE, text=self._line(text))
        return Answer(stage=Stage.CONNECT, signal=signal, text=self._line(text))

    def _not_connected(self, problem: httpx.ConnectError) -> Answer:
        answer = self._without_reply(Signal.DROPPED, _cause(problem) or "the connection was lost")
        inner: BaseException | None = problem
        while inner is not None and not isinstance(inner, NameUnresolved):
            inner = inner.__cause__ or inner.__context__
        return answer if inner is None else self._unresolved(inner)

    def _line(self, text: str) -> str:
        return one_line(text, self._settings.secrets)


def _check(settings: TwilioSettings) -> None:
    """Raises `BadConfig` for settings with which nothing could be sent, or a password in clear text."""
    url = urlsplit(settings.base_url)
    if url.scheme not in ("https", "http") or not url.hostname or url.query or url.fragment:
        raise BadConfig.at("base_url", "not an address like https://api.twilio.com")
    if url.username is not None or url.password is not None:
        raise BadConfig.at("base_url", "must not hold a user name or a password")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise BadConfig.at("base_url", "must begin with https:// unless it is on this machine")
    if not (settings.from_ or settings.messaging_service_sid):
        raise BadConfig.at("from_", "a Twilio provider needs from_ or messaging_service_sid")
    if settings.concurrency < 1 or not (settings.connect_timeout > 0 and settings.timeout > 0):
        raise BadConfig.at("concurrency", "concurrency and timeouts must be more than 0")


def _cause(problem: BaseException) -> str:
    """What broke a connection. httpx wraps it, sometimes without a word of its own."""
    said = str(problem)
    inner = problem.__cause__ or problem.__context__
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {inner.verify_message}"
        said = said or str(inner)
        inner = inner.__cause__ or inner.__context__
    return said


def _vendor_code(code: object) -> int:
    """Twilio's error number. The library puts the HTTP status there when the response has none."""
    try:
        number = int(code)  # type: ignore[call-overload]  # what does not fit raises
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 10_000 <= number <= 999_999 else 0


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3: a number, or a date, which is compared with the server's)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until, sent = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - sent).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
