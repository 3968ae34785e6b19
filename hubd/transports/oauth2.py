"""OAuth 2.0 access tokens for XOAUTH2 logins, requested with a refresh token (RFC 6749 section 6).

A token is kept until shortly before it expires, and shared by all connections of a provider. Asking for one
sends no message, so it may be repeated; it is not repeated here. The token server's refusals are answers at
the login stage: a refresh token that is no longer valid stops the provider until a person acts, and anything
temporary makes it pause.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import trio

from hubd.core.model import Answer, Stage
from hubd.core.provider_reply import masked, one_line
from hubd.errors import CredentialMissing
from hubd.transports.http_protocol import Request, Response
from hubd.transports.http_wire import Endpoint, NoAnswer
from hubd.transports.secret_reader import SecretReader, unreadable_secret

#: Seconds before it expires from which a token is not used any more.
EARLY = 60.0
#: Seconds that a token is used if its server does not say when it expires.
UNKNOWN_LIFE = 300.0
#: Bytes of the largest response that is read.
MAX_RESPONSE = 256 * 1024
#: What passes without a person (RFC 6749 section 4.1.2.1). Everything else needs one, such as invalid_grant
#: (section 5.2) and Microsoft's interaction_required.
_TEMPORARY = frozenset({"temporarily_unavailable", "slow_down", "server_error"})
#: RFC 6750 section 2.1: what a header may contain, and so the login.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")

_REFUSED, _UNAVAILABLE = 535, 454  #: as a mail server would say it (RFC 4954)


class TokenRefused(Exception):
    """There is no access token; `answer` says why, as the answer to a login."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Settings:
    """Where access tokens are issued, and for which application. Timeouts are in seconds."""

    token_url: str
    client_id: str
    connect_timeout: float = 30.0
    timeout: float = 60.0


class TokenSource:
    """The access tokens of one account. Raises what `Endpoint` raises for its address."""

    def __init__(
        self,
        settings: OAuth2Settings,
        read_refresh_token: SecretReader,
        read_client_secret: SecretReader | None = None,
    ) -> None:
        self._settings = settings
        self._read_refresh_token = read_refresh_token
        self._read_client_secret = read_client_secret
        self._endpoint = Endpoint(
            settings.token_url, connect_timeout=settings.connect_timeout, timeout=settings.timeout
        )
        self._one_at_a_time = trio.Lock()
        self._token = ""
        self._good_until = -math.inf  # on Trio's clock
        #: The configured refresh token, and the one that the server gave instead (RFC 6749 section 6).
        self._rotated: tuple[str, str] = ("", "")

    async def token(self, *, refused: str = "") -> str:
        """A token that can be used now; never the one that was `refused`. Raises `TokenRefused`."""
        async with self._one_at_a_time:
            if self._token and self._token != refused and trio.current_time() < self._good_until:
                return self._token
            self._token = ""
            self._token = await self._ask()
            return self._token

    def close(self) -> None:
        """Cut a request that is under way, and make no more."""
        self._endpoint.close()

    async def _ask(self) -> str:
        try:
            configured = await self._read_refresh_token()
            secret = "" if self._read_client_secret is None else await self._read_client_secret()
        except CredentialMissing as problem:
            raise TokenRefused(unreadable_secret(problem, Stage.AUTH, _REFUSED)) from None
        known, replaced = self._rotated
        refresh_token = replaced if known == configured else configured
        form = {
            "grant_type": "refresh_token",
            "client_id": self._settings.client_id,
            "refresh_token": refresh_token,
            **({"client_secret": secret} if secret else {}),
        }
        response = await self._post(form)
        found = _object(response)
        if not 200 <= response.status < 300:
            raise _refusal(response.status, found, (secret, refresh_token, configured))
        token = found.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _unavailable("the token server sent no access token")
        newer = found.get("refresh_token")
        if isinstance(newer, str) and newer and newer.isprintable():
            self._rotated = (configured, newer)
        life = found.get("expires_in")
        usable = isinstance(life, int | float) and not isinstance(life, bool) and math.isfinite(life)
        self._good_until = trio.current_time() + (float(life) - EARLY if usable else UNKNOWN_LIFE)  # type: ignore[arg-type]
        return token

    async def _post(self, form: Mapping[str, str]) -> Response:
        connection = self._endpoint.connection()
        request = Request(
            method="POST",
            target=urlsplit(self._settings.token_url).path or "/",
            headers=(
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Accept", "application/json"),
            ),
            body=urlencode(form).encode(),
        )
        try:
            return await connection.request(request, largest=MAX_RESPONSE)
        except NoAnswer as failure:
            raise _unavailable(f"the token server did not answer: {failure.answer.text}") from None
        finally:
            connection.close()


def _object(response: Response) -> Mapping[str, object]:
    """The JSON object in a response; empty if it has none."""
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(status: int, found: Mapping[str, object], secrets: tuple[str, ...]) -> TokenRefused:
    error = str(found.get("error") or "")
    about = ": ".join(filter(None, (error, str(found.get("error_description") or ""))))
    said = masked(one_line(about or f"HTTP status {status}", [each for each in secrets if each]))
    if status == 429 or status >= 500 or error in _TEMPORARY or not 400 <= status < 500:
        return _unavailable(f"the token server issued no access token: {said}")
    if error == "invalid_grant":
        what_to_do = "Sign in again, and store the new refresh token."
    else:
        what_to_do = "Check oauth2 in hubd.toml, and the application where it was registered."
    detail = f"The token server refuses to issue an access token: {said.rstrip('.')}. {what_to_do}"
    return TokenRefused(
        Answer(stage=Stage.AUTH, code=_REFUSED, text=f"no access token: {said}", detail=detail)
    )


def _unavailable(text: str) -> TokenRefused:
    detail = f"{text[:1].upper()}{text[1:].rstrip('.')}."
    return TokenRefused(Answer(stage=Stage.AUTH, code=_UNAVAILABLE, text=text, detail=detail))
