"""The HTTP client under Twilio's own library: our wire, instead of the library's threads or aiohttp.

The library builds the requests and reads the responses. One instance serves one request at a time, over one
connection of its own.

Importing this module imports the twilio library, which takes a few tenths of a second.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from hubd.transports.http_protocol import Request
from hubd.transports.http_wire import Connection, Endpoint, origin_of

#: No honest response to one message is larger, in bytes.
MAX_RESPONSE = 256 * 1024


class Wire(AsyncHttpClient):  # type: ignore[misc]  # the library has no types
    """Carries one request at a time and keeps the parts of the answer that the library discards."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(logging.getLogger(__name__), is_async=True)
        self.connection: Connection = endpoint.connection()
        self.headers: Mapping[str, str] = {}  #: of the last answer, with names in lower case
        self.largest = MAX_RESPONSE  #: a larger answer is refused
        self._origin = endpoint.origin

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """What the library calls. Raises `NoAnswer`."""
        self.headers = {}
        url = urlsplit(uri)
        if origin_of(url) != self._origin:
            raise ValueError("a request that belongs to another server")
        query = "&".join(part for part in (url.query, _form(params)) if part)
        fields = dict(headers or {})
        if auth is not None:
            login = base64.b64encode(":".join(auth).encode()).decode()
            fields["Authorization"] = f"Basic {login}"
        request = Request(
            method=method,
            target=f"{url.path or '/'}?{query}" if query else url.path or "/",
            headers=tuple(fields.items()),
            body=_form(data).encode(),
        )
        response = await self.connection.request(request, largest=self.largest)
        self.headers = response.headers
        return Response(response.status, response.body.decode("utf-8", "replace"), response.headers)


def _form(values: Mapping[str, object] | None) -> str:
    return urlencode(values, doseq=True) if values else ""


def open_client(wire: Wire, *, account_sid: str, auth_token: str, base_url: str) -> Client:
    """The library's client over a wire, for one account at one address."""
    client = Client(
        account_sid,
        auth_token,
        http_client=wire,
        # Not the process's environment: TWILIO_EDGE or TWILIO_REGION would send messages to another host.
        environment={"TWILIO_ACCOUNT_SID": account_sid},
    )
    client.api.base_url = base_url
    return client
