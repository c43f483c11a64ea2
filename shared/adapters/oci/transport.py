"""One request and its complete response, limited in size and time, on urllib3's pools.

Connections are made to checked addresses only, through the proxy and with the certificates of the environment. Errors
are translated.
"""

import http.client
import math
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

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

from shared.adapters.oci.safety import Target, Unsafe, only_safe, require_address, require_host
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time and size limits for one registry.

    `read_seconds` is the longest time without data, `answer_seconds` the longest time for a whole response, which ends
    one that trickles in. `listing_seconds` is the time limit for all pages of one list.
    `body_bytes` is the maximum size of a response. It is the size of a manifest that every registry must accept:
    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
    `list_bytes` is the maximum size of a page of tags: Google's registries have no pagination, and list every manifest.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    answer_seconds: float = 30.0
    listing_seconds: float = 300.0
    body_bytes: int = 4 * 1024 * 1024
    list_bytes: int = 32 * 1024 * 1024
    page_size: int = 1000
    pages: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The proxies, as `urllib.request.getproxies_environment` returns them, and `ca_bundle`, a file or folder."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str = ""

    @staticmethod
    def of_environment() -> "Network":
        """The settings in HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE, as for the Azure SDKs."""
        return Network(proxies=getproxies_environment(), ca_bundle=os.environ.get("REQUESTS_CA_BUNDLE", ""))

    def proxy_for(self, host: str) -> str:
        """The URL of the proxy for a host, "" if there is none or NO_PROXY names the host."""
        proxy = self.proxies.get("https") or self.proxies.get("all") or ""
        if not proxy or proxy_bypass_environment(host, dict(self.proxies)):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts the bundle, or without one the machine's certificates (or SSL_CERT_FILE).

        Raises:
            Misconfigured: the bundle cannot be read.
        """
        try:
            if self.ca_bundle and Path(self.ca_bundle).is_dir():
                return ssl.create_default_context(capath=self.ca_bundle)
            return ssl.create_default_context(cafile=self.ca_bundle or None)
        except OSError as error:
            problem = f"{self.ca_bundle} cannot be read as a bundle of certificates ({error.strerror or error})"
            raise Misconfigured(f"{problem}: correct REQUESTS_CA_BUNDLE, or unset it") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to a registry. `doing` is the beginning of the text of an error; headers and body are never shown.

    With `private` the host may have a private address. `secrets` must not be in any error, even if the response has
    them. `limit_bytes` is the maximum size of the response (0: the usual one). At `ends_at` (monotonic seconds) the
    request ends, wherever it is then; only the time of the system's name resolution comes on top.
    """

    doing: str
    target: Target
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    private: bool = False
    limit_bytes: int = 0
    secrets: tuple[str, ...] = field(default=(), repr=False)
    ends_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response: header names are case-insensitive, repeated headers are joined by a comma."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


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
        try:
            with only_safe(request.doing):
                proxy = self._network.proxy_for(target.host)
                require_host(target.host, private=request.private, proxied=bool(proxy))
                pools = self._pools(proxy, private=request.private)
                response = self._open(pools.connection_from_host(target.host, target.port, "https"), request)
                body = self._body(response, request)
        except (HTTPError, OSError, http.client.HTTPException) as error:
            raise _translated(error, request.doing, target.server) from error
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

    def _open(self, pool: urllib3.HTTPConnectionPool, request: Request) -> urllib3.BaseHTTPResponse:
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
            return send(timeout=self._timeout(request))
        except (ProtocolError, ProxyError) as error:
            if not isinstance(error.args[-1], ConnectionError):
                raise
            return send(timeout=self._timeout(request))  # a server may close an idle connection just when it is used

    def _timeout(self, request: Request) -> urllib3.Timeout:
        """The time to connect to one address, and for the whole response (see `GuardedConnection`).

        Raises:
            Retry: the time of the request is over.
        """
        limits = self._limits
        left = request.ends_at - time.monotonic()
        if left <= 0:
            raise Retry(f"{request.doing}: no time is left for it")
        # Each address may take that time, and so may the TLS handshake.
        connect = min(limits.connect_seconds, left / (_TRIED + 1))
        return urllib3.Timeout(connect=connect, read=limits.answer_seconds, total=None if left == math.inf else left)


class GuardedConnection(HTTPSConnection):
    """Connects to the checked address: a second resolution of the name could return another one.

    The read timeout of a request is the time for its whole response, of which `silent_seconds` may pass without data.
    """

    private: ClassVar[bool] = False
    silent_seconds: ClassVar[float] = Limits().read_seconds

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's response is not http.client's
        """The head of the response; the deadline of the whole response starts."""
        assert self.timeout is not None  # urllib3 sets the read timeout of each request
        if isinstance(self.sock, PunctualTlsSocket):
            self.sock.answer_by = time.monotonic() + self.timeout
        self.timeout = min(self.timeout, self.silent_seconds)
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

    Connection.private, Connection.silent_seconds = private, limits.read_seconds
    context = network.ssl_context()
    context.sslsocket_class = PunctualTlsSocket
    options: dict[str, Any] = {
        "num_pools": _HOSTS,
        "maxsize": _CONNECTIONS_PER_HOST,
        "ssl_context": context,
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
