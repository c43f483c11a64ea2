"""One request and its complete response, limited in size and time, on urllib3's pools.

Connections are made to checked addresses only, and errors are translated. The module is imported when the first reader
is created: urllib3 is heavy.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any, ClassVar

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as Timeout
from urllib3.response import HTTPResponse
from urllib3.util.connection import create_connection

from shared.adapters.oci.exchange import Limits, Network, Request, Response
from shared.adapters.oci.safety import Unsafe, only_safe, require_address, require_host
from shared.adapters.plain_http import PunctualTlsSocket
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Retry, Unreachable

_HOSTS = 64
_CONNECTIONS_PER_HOST = 16
_ERROR_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
_TRIED = 4
"""How many addresses of one name are tried: each may take the whole connect timeout."""

_NO_HTTP = (http.client.BadStatusLine, http.client.UnknownProtocol, InvalidHeader)
_UNKNOWN_NAME = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))
_PROXY_REFUSES = ("Tunnel connection failed: 403", "Tunnel connection failed: 407")
_OFTEN_MEANS_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "UNEXPECTED_MESSAGE")


class Transport:
    """Sends requests over https, to safe hosts only; thread-safe."""

    def __init__(self, network: Network, limits: Limits) -> None:
        self._network, self._limits = network, limits
        self._pools = lru_cache(maxsize=None)(partial(_make_pools, network, limits))

    def send(self, request: Request) -> Response:
        """Send a request; no redirect is followed, no status is an error.

        The body of an error is truncated at 64 KiB; any other body over the limit is refused.

        Raises:
            Misconfigured: no request may be sent to the host, or it is unknown or not trusted.
            Unreachable: it accepts no connections. Retry: its response is late or incomplete.
            Malformed: its response is too large or not HTTP.
        """
        target = request.target
        with _network_errors(request.doing, target.server):
            proxy = self._network.proxy_for(target.host)
            require_host(target.host, private=request.private, proxied=bool(proxy))
            pools = self._pools(proxy, private=request.private)
            response = _open(pools.connection_from_host(target.host, target.port, "https"), request)
            body = self._body(response, request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Malformed("Content-Encoding", f"{request.doing}: {target.server} sent a compressed response")
        return Response(response.status, response.headers, body)

    def _body(self, response: urllib3.BaseHTTPResponse, request: Request) -> bytes:
        failed = response.status >= 400
        limit = _ERROR_BYTES if failed else request.limit_bytes or self._limits.body_bytes
        parts: list[bytes] = []
        size = 0
        # Not stream(): it reads the lines of a chunked body without a limit.
        while chunk := response.read(_CHUNK_BYTES, decode_content=False):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                response.close()
                if failed:
                    break
                raise Malformed("response", f"{request.doing}: {request.target.server} sent more than {limit} bytes")
        response.release_conn()
        return b"".join(parts)[:limit]


def _open(pool: urllib3.HTTPConnectionPool, request: Request) -> urllib3.BaseHTTPResponse:
    send = partial(
        pool.urlopen,
        request.method,
        request.target.path,
        body=request.body,
        headers={"User-Agent": "basegate", "Accept-Encoding": "identity", **request.headers},
        retries=False,
        redirect=False,
        preload_content=False,
        decode_content=False,
    )
    try:
        return send()
    except (ProtocolError, ProxyError) as error:
        if not isinstance(error.args[-1], ConnectionError):
            raise
        return send()  # a server may close an idle connection just when it is used again


class GuardedConnection(HTTPSConnection):
    """Connects to the checked address: a second resolution of the name could return another one."""

    private: ClassVar[bool] = False
    answer_seconds: ClassVar[float] = Limits().answer_seconds

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's response is not http.client's
        """The head of the response; the deadline of the whole response starts."""
        if isinstance(self.sock, PunctualTlsSocket):
            self.sock.answer_by = time.monotonic() + self.answer_seconds
        return super().getresponse()

    def _new_conn(self) -> socket.socket:
        if self.proxy is not None:  # the operator's proxy resolves the registry's name itself
            return super()._new_conn()
        failed: OSError | None = None
        for address in self._addresses()[:_TRIED]:
            try:
                return create_connection((address, self.port), self.timeout, socket_options=self.socket_options)
            except OSError as error:
                failed = error
        if isinstance(failed, TimeoutError):
            raise ConnectTimeoutError(self, f"{self.host} accepts no connections") from failed
        raise NewConnectionError(self, f"{self.host} accepts no connections: {failed}") from failed

    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise Unsafe(f"{self.host} is not a host name") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            require_address(self.host, ip_address(address), private=self.private)
        return addresses


def _make_pools(network: Network, limits: Limits, proxy: str, *, private: bool) -> urllib3.PoolManager:
    """Keep-alive connections to many hosts, thread-safe; `proxy` is its URL or ""."""

    class Connection(GuardedConnection):
        pass

    class Pool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Connection

    Connection.private, Connection.answer_seconds = private, limits.answer_seconds
    context = network.ssl_context()
    context.sslsocket_class = PunctualTlsSocket
    options: dict[str, Any] = {
        "num_pools": _HOSTS,
        "maxsize": _CONNECTIONS_PER_HOST,
        "ssl_context": context,
        "timeout": urllib3.Timeout(connect=limits.connect_seconds, read=limits.read_seconds),
        "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    }
    manager = _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"https": Pool, "http": urllib3.HTTPConnectionPool}
    return manager


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    try:
        url = urllib3.util.parse_url(proxy)
        headers = urllib3.make_headers(proxy_basic_auth=url.auth) if url.auth else {}
        return urllib3.ProxyManager(url._replace(auth=None).url, proxy_headers=headers, **options)
    except (ValueError, urllib3.exceptions.HTTPError):  # its text may contain the proxy's password
        raise Misconfigured("HTTPS_PROXY is not the URL of a proxy: correct it, or unset it") from None


@contextmanager
def _network_errors(doing: str, host: str) -> Iterator[None]:
    """Raise the network's errors within the block as the gate's.

    Args:
        doing: what is being done to what, for the beginning of the error text.
        host: the server of the request.

    Raises:
        Misconfigured: the host is unknown or refused, its certificate is not trusted, or the proxy refuses it.
        Malformed: the head of the response is too large or not HTTP.
        Retry: everything else is transient.
    """
    try:
        with only_safe(doing):
            yield
    except (HTTPError, OSError, http.client.HTTPException) as error:
        raise _translated(error, doing, host) from error


def _translated(error: Exception, doing: str, host: str) -> BasegateError:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_NAME:
            return Misconfigured(f"{doing}: there is no host {host}: correct the server's name in its rule")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Misconfigured(
                f"{doing}: the certificate of {host} is not trusted ({cause.verify_message}): "
                "renew it there, or add its authority to the bundle that REQUESTS_CA_BUNDLE names"
            )
        if isinstance(cause, http.client.LineTooLong) or "got more than" in str(cause):
            return Malformed("response headers", f"{doing}: {host} sent too many headers, or one that is too long")
        if isinstance(cause, _NO_HTTP) and not isinstance(cause, http.client.RemoteDisconnected):
            return Malformed("response headers", f"{doing}: the response of {host} is not HTTP")
    return _unreached(error, causes, doing, host)


def _unreached(error: Exception, causes: list[BaseException], doing: str, host: str) -> BasegateError:
    if isinstance(error, LocationParseError):
        return Misconfigured(f"{doing}: '{host}' is not a host name: correct the server's name in its rule")
    if isinstance(error, ProxyError) or any("Tunnel connection failed" in str(cause) for cause in causes):
        why = str(causes[-1])[:120]
        if why.startswith(_PROXY_REFUSES):
            return Misconfigured(f"{doing}: the proxy denies requests to {host} ({why}): allow the host")
        return Unreachable(f"{doing}: the proxy cannot reach {host} ({why})")
    if isinstance(error, SSLError) and any(text in str(error) for text in _OFTEN_MEANS_NO_TLS):
        return Misconfigured(f"{doing}: {host} does not speak TLS at that port: correct the server's port in its rule")
    if isinstance(error, ConnectTimeoutError):
        return Unreachable(f"{doing}: {host} cannot be reached ({type(causes[-1]).__name__})")
    if isinstance(error, Timeout | TimeoutError):
        return Retry(f"{doing}: {host} does not respond in time")
    what = "sent an incomplete response" if isinstance(error, ProtocolError) else "cannot be reached"
    return Retry(f"{doing}: {host} {what} ({type(causes[-1]).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes: urllib3 chains some errors and keeps others as an argument."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen and len(seen) < 8:
        seen.append(current)
        yield current
        inside = next((argument for argument in current.args if isinstance(argument, BaseException)), None)
        current = inside or current.__cause__ or current.__context__
