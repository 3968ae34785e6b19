"""The wire under every provider that speaks HTTP: requests that are sent once, on kept connections.

A request is never sent twice and no redirect is followed. Until its first byte is handed to the socket it has
definitely not been sent; from then on only a whole, well-formed answer counts. `NoAnswer` says which it is:
its stage is CONNECT or TLS before that byte, and REQUEST after it.

A connection is kept between requests. Before it is used again it must be silent: if the server closed it, or
sent something unexpected, another connection replaces it before the first byte.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import trio

from hubd.core.model import Answer, Signal, Stage
from hubd.core.provider_reply import one_line
from hubd.errors import BadConfig
from hubd.failpoints import reach
from hubd.transports.forbidden import is_forbidden_peer
from hubd.transports.http_protocol import CutOff, Malformed, Protocol, Request, Response, kept_for
from hubd.transports.http_proxy import Proxy, proxy_for
from hubd.transports.loopback import is_loopback_peer
from hubd.transports.resolver import NameUnresolved, addresses_of
from hubd.transports.stream import Stream
from hubd.transports.tcp_connect import NotConnected, connect
from hubd.transports.tls import client_context

#: Seconds after which an idle connection is not used again: devices on the way may have forgotten it.
IDLE = 30.0
#: Bytes of a body that are encrypted and written at once.
PIECE = 64 * 1024


class NoAnswer(Exception):
    """There is no well-formed answer; `answer` says how far the request got, and why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


class Endpoint:
    """One server, and how to reach it. Times are seconds.

    Raises `BadConfig`, and `OSError` when the system's certificates cannot be read. Plain http is for servers
    on this machine; a proxy named in the environment is for https.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout: float,
        timeout: float,
        ca_file: Path | None = None,
    ) -> None:
        """`connect_timeout` is for the connection, and again for a proxy's answer and for the TLS handshake;
        `timeout` is from the first byte of a request to the end of its answer. Nothing is sent to a forbidden
        peer (see `forbidden`); a proxy decides for itself where it connects.
        """
        try:
            self.origin = origin_of(urlsplit(base_url))
        except ValueError:
            raise BadConfig.at("base_url", "not an address like https://api.example.com") from None
        scheme, host, port = self.origin
        secure = scheme == "https"
        self.host, self.port = host, port
        bracketed = f"[{host}]" if ":" in host else host
        self.authority = f"{bracketed}:{port}"
        self.header = bracketed if port == (443 if secure else 80) else self.authority  #: the Host header
        self.proxy: Proxy | None = proxy_for(host, port) if secure else None
        self.context: ssl.SSLContext | None = client_context(ca_file) if secure else None
        if self.context is not None:
            self.context.set_alpn_protocols(["http/1.1"])
        self.connect_timeout, self.timeout = connect_timeout, timeout
        self.closed = False
        self.open: set[Connection] = set()

    @property
    def first_hop(self) -> tuple[str, int]:
        """Where the connection goes: the proxy, or the server itself."""
        return (self.proxy.host, self.proxy.port) if self.proxy else (self.host, self.port)

    async def resolved(self) -> Answer | None:
        """Resolve the name of the host, or of the proxy. Returns an answer if it does not resolve."""
        try:
            await addresses_of(self.first_hop[0], self.connect_timeout)
        except NameUnresolved as problem:
            text = one_line(f"{problem} ({problem.why})")
            return Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text=text, detail=str(problem))
        return None

    def connection(self) -> Connection:
        """One connection, opened when it is first needed."""
        return Connection(self)

    def close(self) -> None:
        """Cut all connections, and open no more."""
        self.closed = True
        for connection in list(self.open):
            connection.close()


class Connection:
    """At most one connection at a time, kept between requests. Used by one task at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.handed_over = False  #: a byte of the last request was handed to the socket
        self.status = 0  #: of the last answer; 0 before its head has arrived
        self._endpoint = endpoint
        self._stream: Stream | None = None
        self._protocol = Protocol()
        self._whole = False  # all of the last request was handed over
        self._good_until = -math.inf  # on Trio's clock

    @property
    def connected(self) -> bool:
        """Whether it is connected, as far as is known without asking the socket."""
        return self._stream is not None

    def close(self) -> None:
        """Cut the connection at once. A request that is under way fails."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._endpoint.open.discard(self)

    async def request(self, request: Request, *, largest: int) -> Response:
        """Send a request, once, and return its answer, whatever its status.

        Raises `NoAnswer`, and `ValueError` for a request that cannot be written: then nothing was sent.
        After a cancellation `handed_over` says whether the request may have arrived. An answer of more than
        `largest` bytes is refused.
        """
        self.handed_over, self.status = False, 0
        try:
            stream = self._kept() or await self._connect()
            head = self._protocol.request(request, self._endpoint.header, largest=largest)
            with trio.move_on_after(self._endpoint.timeout):
                response = await self._exchange(stream, request, head)
                self._good_until = trio.current_time() + min(IDLE, kept_for(response) - 1)
                return response
            raise self._failed(Signal.TIMEOUT, "no answer in time")
        except BaseException:
            self.status = self.status or self._protocol.status
            self.close()
            raise

    # -- one request ---------------------------------------------------------------------------------

    async def _exchange(self, stream: Stream, request: Request, head: bytes) -> Response:
        try:
            early = await self._send(stream, request, head)
            response = early or await _read(stream, self._protocol)
        except CutOff as problem:
            raise self._failed(Signal.DROPPED, str(problem)) from None
        except Malformed as problem:
            raise self._failed(Signal.GARBAGE, str(problem)) from None
        except OSError as problem:
            raise self._failed(Signal.DROPPED, f"the connection broke: {_why(problem)}") from None
        self.status = response.status
        if not self._whole and 200 <= response.status < 300:
            raise self._failed(Signal.GARBAGE, "the request was accepted before all of it was sent")
        if not (self._whole and self._protocol.reusable):
            self.close()
        return response

    async def _send(self, stream: Stream, request: Request, head: bytes) -> Response | None:
        """Hand the request over. An answer that comes before that is done ends it and is returned."""
        before, self._whole = stream.taken, False
        if request.method == "POST":
            reach("before_dot")
        try:
            for piece in _pieces(head, request):
                stream.send(piece)
                while stream.unsent:
                    came = await _flush(stream)
                    if came is not None and (early := _feed(stream, self._protocol, came)) is not None:
                        return early
            self._whole = True
        except OSError as problem:
            if stream.taken == before:
                raise self._failed(Signal.DROPPED, f"the connection broke: {_why(problem)}") from None
            # The server may have said why before it closed: the reader finds it.
        finally:
            self.handed_over = stream.taken > before
        if request.method == "POST":
            reach("after_dot")
        return None

    def _failed(self, signal: Signal, text: str) -> NoAnswer:
        stage = Stage.REQUEST if self.handed_over else Stage.CONNECT
        status = self.status or self._protocol.status
        return NoAnswer(Answer(stage=stage, signal=signal, code=status, text=text))

    # -- the connection ------------------------------------------------------------------------------

    def _kept(self) -> Stream | None:
        """The open connection, if it may be used once more."""
        if self._stream is not None and (trio.current_time() > self._good_until or not _silent(self._stream)):
            self.close()
        return self._stream

    async def _connect(self) -> Stream:
        """A fresh connection. Raises `NoAnswer`; the caller closes what was opened."""
        endpoint = self._endpoint
        self._protocol = Protocol()
        try:
            connected = await connect(*endpoint.first_hop, endpoint.connect_timeout)
        except NotConnected as failure:
            raise NoAnswer(failure.answer) from None
        stream = self._stream = Stream(connected)
        endpoint.open.add(self)
        if endpoint.closed:
            raise self._failed(Signal.DROPPED, "the provider is being closed")
        try:
            if endpoint.proxy is None and is_forbidden_peer(stream.peer):
                raise self._failed(Signal.GARBAGE, "its address is one that nothing may be sent to")
            if endpoint.proxy is not None:
                await self._tunnel(stream, endpoint.proxy)
            if endpoint.context is not None:
                with trio.fail_after(endpoint.connect_timeout):
                    await stream.start_tls(endpoint.context, endpoint.host)
            elif not is_loopback_peer(stream.peer):
                raise self._failed(Signal.GARBAGE, "plain http is allowed only to this machine")
        except ssl.SSLCertVerificationError as problem:
            text = f"certificate verify failed: {problem.verify_message or problem.reason}"
            raise NoAnswer(Answer(stage=Stage.TLS, signal=Signal.GARBAGE, text=text)) from None
        except trio.TooSlowError:
            raise self._failed(Signal.TIMEOUT, "the server did not answer in time") from None
        except OSError as problem:
            raise self._failed(Signal.DROPPED, f"no connection: {_why(problem)}") from None
        if not _silent(stream):
            raise self._failed(
                Signal.DROPPED, "the server closed the connection, or sent data before the request"
            )
        return stream

    async def _tunnel(self, stream: Stream, proxy: Proxy) -> None:
        """Have the proxy connect to the server. No part of the request itself is sent yet."""
        protocol = Protocol()
        login = [("Proxy-Authorization", proxy.authorization)] if proxy.authorization else []
        try:
            with trio.fail_after(self._endpoint.connect_timeout):
                stream.send(protocol.tunnel(self._endpoint.authority, login))
                await stream.flush()
                response = await _read(stream, protocol)
        except (CutOff, Malformed) as problem:
            raise self._failed(Signal.DROPPED, f"the proxy did not connect: {problem}") from None
        if not 200 <= response.status < 300:
            why = "it requires a login" if response.status == 407 else f"it answered {response.status}"
            raise self._failed(Signal.DROPPED, f"the proxy did not connect: {why}")
        if protocol.surplus:
            raise self._failed(Signal.GARBAGE, "the proxy sent data before the request")


def origin_of(url: SplitResult) -> tuple[str, str, int]:
    """The scheme, the host and the port of an address. Raises `ValueError` if it is not http or https."""
    host = (url.hostname or "").encode("idna").decode("ascii")
    port = url.port or {"https": 443, "http": 80}.get(url.scheme)
    if not host or port is None:
        raise ValueError("not an http or https address")
    return url.scheme, host, port


def _pieces(head: bytes, request: Request) -> Iterator[bytes]:
    """What to write, one write at a time; a body of usual size goes along with its head."""
    body, shared = request.body, list(request.shared)
    while shared and len(body) + len(shared[0]) <= PIECE:
        body += shared.pop(0)
    yield head + body[:PIECE]
    for start in range(PIECE, len(body), PIECE):
        yield body[start : start + PIECE]
    for chunk in shared:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE] if len(chunk) > PIECE else chunk


def _silent(stream: Stream) -> bool:
    """Whether nothing has come, neither bytes nor the end. What has come is lost: close the stream then."""
    try:
        return stream.receive_nowait() is None
    except OSError:
        return False


def _feed(stream: Stream, protocol: Protocol, data: bytes) -> Response | None:
    """Hand what came to the parser. An end that the server did not intend does not end an answer."""
    if not data and not stream.ended:
        raise CutOff("the connection was lost before the answer was complete")
    return protocol.feed(data)


async def _read(stream: Stream, protocol: Protocol) -> Response:
    """Wait for a whole answer. Raises `CutOff`, `Malformed` and `OSError`."""
    while True:
        # Also yields to other tasks when there is something: no server gets the loop to itself.
        await stream.readable()
        data = stream.receive_nowait()
        if data is not None and (response := _feed(stream, protocol, data)) is not None:
            return response


async def _flush(stream: Stream) -> bytes | None:
    """Wait until the kernel has taken everything, or return what comes before. Raises `OSError`."""
    came: list[bytes] = []
    problems: list[OSError] = []
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            try:
                came.append(await stream.receive())
            except OSError as problem:
                problems.append(problem)
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        try:
            await stream.flush()
        except OSError as problem:
            problems.append(problem)
        nursery.cancel_scope.cancel()
    if came:
        return came[0]
    if problems:
        raise problems[0]
    return None


def _why(problem: OSError) -> str:
    if isinstance(problem, ssl.SSLError):
        return problem.reason or "TLS failed"
    return problem.strerror or type(problem).__name__
