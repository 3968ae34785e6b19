"""The HTTP client under Twilio's own library: httpx on Trio, instead of the library's threads or aiohttp.

It keeps what the library throws away and a sender needs to know: whether the first byte of the request was
handed to the socket, and the status and headers of the response as they came. One instance serves one
request at a time; instances share one connection pool.

Importing this module imports the twilio library and httpx, which takes a few tenths of a second.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from urllib.request import getproxies

import httpcore
import httpx
import trio
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from hubd.failpoints import reach
from hubd.transports.resolver import NameUnresolved, addresses_of

#: No honest response to one message is larger, in octets.
MAX_RESPONSE = 256 * 1024


class UnusableResponse(Exception):
    """A response came that cannot be read; `str()` says why."""


def open_pool(
    *, base_url: httpx.URL, connections: int, connect_timeout: float, timeout: float
) -> httpx.AsyncClient:
    """A connection pool. Times are seconds. It never follows a redirect: that would be another request."""
    client = httpx.AsyncClient(
        follow_redirects=False,
        timeout=httpx.Timeout(timeout, connect=connect_timeout, pool=connect_timeout),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        trust_env=base_url.scheme == "https",  # proxies and certificates of the environment; not for loopback
    )
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.AsyncHTTPTransport):
            transport._pool._network_backend = _Network()  # there is no public way; a test checks it
    return client


def goes_through_proxy(url: str) -> bool:
    """Whether the environment names a proxy that may be used for this address, and then resolves its name."""
    proxies = getproxies()
    return url.startswith("https:") and bool(proxies.get("https") or proxies.get("all"))


class _Network(httpcore.TrioBackend):
    """Connects as httpcore does, but resolves names with our resolver and tries each address."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Each address gets an equal share of the seconds that are left. Raises httpcore's errors."""
        deadline = trio.current_time() + (math.inf if timeout is None else timeout)
        try:
            addresses = await addresses_of(host, deadline - trio.current_time())
        except NameUnresolved as error:
            raise httpcore.ConnectError(str(error)) from error
        while True:
            left = deadline - trio.current_time()
            share = None if math.isinf(left) else max(0.0, left) / len(addresses)
            address = addresses.pop(0)
            try:
                return await super().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise


class Wire(AsyncHttpClient):  # type: ignore[misc]  # the library has no types
    """Carries one request at a time and remembers how far it got."""

    def __init__(self, pool: httpx.AsyncClient) -> None:
        super().__init__(logging.getLogger(__name__), is_async=True)
        self._pool = pool
        self.handed_over = False  #: the request was handed to the socket, or part of it
        self.status = 0  #: HTTP status of the response; 0 before there is one
        self.headers: Mapping[str, str] = {}
        self._patience = trio.CancelScope()
        self._timeout = 0.0
        self._largest = MAX_RESPONSE
        self._method = b""

    def begin(self, patience: trio.CancelScope, timeout: float, largest: int = MAX_RESPONSE) -> None:
        """Forget the last request. `patience` ends `timeout` seconds after the next one is handed over.

        Not earlier: connecting has timeouts of its own, and httpx leaves a socket open when it is cancelled
        in the middle of a TLS handshake. A response of more than `largest` octets is refused.
        """
        self.handed_over, self.status, self.headers = False, 0, {}
        self._patience, self._timeout, self._largest = patience, timeout, largest

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
        """What the library calls. Raises httpx's errors, and `UnusableResponse`."""
        request = self._pool.build_request(
            method,
            uri,
            params=params,  # type: ignore[arg-type]  # the library hands in what httpx takes
            data=data,
            # Compression would only let a small response become a large one.
            headers={**(headers or {}), "Accept-Encoding": "identity"},
            extensions={"trace": self._trace},
        )
        basic = httpx.BasicAuth(*auth) if auth is not None else None
        response = await self._pool.send(request, auth=basic, stream=True)
        try:
            self.status, self.headers = response.status_code, response.headers
            body = await _read(response, self._largest)
        finally:
            await response.aclose()
        return Response(response.status_code, body.decode("utf-8", "replace"), response.headers)

    async def _trace(self, event: str, info: Mapping[str, object]) -> None:
        if event.endswith("send_request_headers.started"):
            self._method = getattr(info.get("request"), "method", b"")
            # A proxy is first asked for a tunnel, by a request of its own that carries no message.
            if self._method == b"CONNECT":
                return
            if self._method == b"POST":
                reach("before_dot")
            self.handed_over = True
            self._patience.deadline = trio.current_time() + self._timeout
        elif event.endswith("send_request_body.complete") and self._method == b"POST":
            reach("after_dot")


async def _read(response: httpx.Response, largest: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnusableResponse("the response is compressed although that was not asked for")
    body = bytearray()
    # Too much is ended by a cancellation: it unwinds httpx's generators, which leaving the loop would not.
    with trio.CancelScope() as enough:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > largest:
                enough.cancel()
    if len(body) > largest:
        raise UnusableResponse("the response is larger than any honest one")
    return bytes(body)


def open_client(wire: Wire, *, account_sid: str, auth_token: str, base_url: str) -> Client:
    """The library's client over a wire, for one account at one address."""
    client = Client(
        account_sid,
        auth_token,
        http_client=wire,
        # Not the process's: TWILIO_EDGE or TWILIO_REGION there would send messages to another host.
        environment={"TWILIO_ACCOUNT_SID": account_sid},
    )
    client.api.base_url = base_url
    return client
