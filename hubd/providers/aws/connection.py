"""One connection to a service of AWS: requests that are signed and sent once.

A request is repeated only after a refusal of its keys, if there are other keys: a request whose keys were
refused was certainly not carried out. If a wrong clock caused the refusal, the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import trio

from hubd.core.model import Answer, RenderedMessage, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.errors import CredentialMissing
from hubd.providers.aws.answers import failure_of, skew, skew_sentence
from hubd.providers.aws.credentials import KeySource
from hubd.providers.aws.signing import Keys, Signer
from hubd.providers.aws.verdicts import CLOCK_SKEW, EXPIRED, REFUSED_KEYS
from hubd.transports.http_protocol import Request, Response
from hubd.transports.http_wire import Endpoint, NoAnswer
from hubd.transports.secret_reader import unreadable_secret

#: Bytes of an answer. No answer to a single message is larger.
MAX_RESPONSE = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service in one region, and the keys to use."""

    name: str  #: as signatures have it: "ses", "sns" or "sqs"
    region: str
    endpoint: Endpoint
    keys: KeySource
    now: Callable[[], float]  #: seconds since the epoch

    def connection(self) -> ServiceConnection:
        """A new connection, opened when it is first needed."""
        return ServiceConnection(self)


class ServiceConnection:
    """One request at a time. Used by one task at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._wire = service.endpoint.connection()
        self._signer: Signer | None = None
        self._resolved = False  # a request was handed over, so the name has an address

    @property
    def handed_over(self) -> bool:
        """Whether a byte of the last request was handed to the socket."""
        return self._wire.handed_over

    @property
    def waits(self) -> bool:
        """Whether `ready` would have to wait."""
        return self._signer is None or not self._resolved or self._service.keys.due

    async def ready(self) -> Answer | None:
        """Get the keys, and an address for the host's name. Returns an answer if either is unavailable."""
        if unreadable := await self._log_in():
            return unreadable
        return None if self._resolved else await self._service.endpoint.resolved()

    async def ask(self, request: Request, *, largest: int = MAX_RESPONSE) -> Response | Answer:
        """The answer to a request that succeeded; else what went wrong, as an answer to a message.

        A cancelled call closes the connection, and the request may have been carried out.
        """
        if self._signer is None and (unreadable := await self._log_in()):
            return unreadable
        answer = await self._once(request, largest)
        if isinstance(answer, Answer) and answer.vendor in REFUSED_KEYS | EXPIRED and not answer.detail:
            assert self._signer is not None
            other = await self._service.keys.renewed(self._signer.keys)
            if other is not None:
                self._sign_with(other)
                answer = await self._once(request, largest)
        return answer

    def close(self) -> None:
        """Cut the connection at once."""
        self._wire.close()

    async def _once(self, request: Request, largest: int) -> Response | Answer:
        assert self._signer is not None
        at = self._service.now()
        signed = self._signer.sign(request, self._service.endpoint.header, at)
        try:
            response = await self._wire.request(signed, largest=largest)
        except NoAnswer as failure:
            return msgspec.structs.replace(failure.answer, text=self._line(failure.answer.text))
        finally:
            self._resolved = self._resolved or self._wire.handed_over
        return response if 200 <= response.status < 300 else self._refused(response, at)

    def _refused(self, response: Response, at: float) -> Answer:
        failure = failure_of(response)
        name, detail = failure.name, ""
        if name in CLOCK_SKEW or (name in REFUSED_KEYS and "Signature" in name):
            detail = skew_sentence(skew(response, at))
            name = "RequestTimeTooSkewed" if detail else name
        return Answer(
            stage=Stage.REQUEST,
            code=response.status,
            vendor=name,
            text=self._line(failure.message),
            verbatim=bool(failure.message),
            retry_after=_retry_after(response.headers),
            detail=detail,
        )

    async def _log_in(self) -> Answer | None:
        try:
            keys = await self._service.keys.keys()
        except CredentialMissing as problem:
            return unreadable_secret(problem, Stage.REQUEST, 401)
        if self._signer is None or self._signer.keys is not keys:
            self._sign_with(keys)
        return None

    def _sign_with(self, keys: Keys) -> None:
        self._signer = Signer(keys, region=self._service.region, service=self._service.name)

    def _line(self, text: str) -> str:
        """One line for people, without secrets: refusing a signature, AWS quotes what should be signed."""
        keys = self._signer.keys if self._signer else None
        secrets = (keys.secret_access_key, keys.session_token) if keys else ()
        return one_line(text, [secret for secret in secrets if secret])


class MessageConnection:
    """A connection that messages are handed over on, opened when first needed. Used by one task at a time."""

    def __init__(self, service: ServiceConnection) -> None:
        self._service = service

    @property
    def connected(self) -> bool:
        """Never: a refused connection while others are open does not mean a limit on connections."""
        return False

    def waits(self, rendered: RenderedMessage) -> bool:
        """Whether the keys must be fetched or the host's name resolved first."""
        return self._service.waits

    def drop(self) -> None:
        """Cut the connection at once."""
        self._service.close()

    async def aclose(self) -> None:
        """The same: HTTP has no goodbye."""
        self.drop()
        await trio.lowlevel.checkpoint()


def unreadable(code: int, text: str) -> Answer:
    """The answer to a request that succeeded with a response that cannot be read."""
    return Answer(stage=Stage.REQUEST, signal=Signal.GARBAGE, code=code, text=text)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3). AWS gives no date there."""
    value = headers.get("retry-after", "").strip()
    return float(value[:9]) if value.isascii() and value.isdigit() else None


async def hung_up(service: Service) -> None:
    """Cut all connections to a service."""
    service.endpoint.close()
    with trio.CancelScope(shield=True):
        await trio.lowlevel.checkpoint()
