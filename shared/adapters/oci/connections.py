"""Connections that go where they may and end in time, on urllib3's pools, and their errors as the gate's.

Imported on first use: urllib3 is heavy.
"""

import http.client
import math
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
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

from shared.adapters.oci.safety import Unsafe, only_safe, require_address
from shared.adapters.oci.transport import Limits, Network
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Retry

_HOSTS = 64
_CONNECTIONS_PER_HOST = 16
_TRIED = 4
"""Addresses of one name that are tried: each may take the whole time to connect."""

_NO_HTTP = (http.client.BadStatusLine, http.client.UnknownProtocol, InvalidHeader)
_UNKNOWN_NAME = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))
_PROXY_REFUSES = ("Tunnel connection failed: 403", "Tunnel connection failed: 407")
_OFTEN_MEANS_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "UNEXPECTED_MESSAGE")


class PunctualSocket(ssl.SSLSocket):
    """Reads until `answer_by` (monotonic seconds): a timeout of silence alone never ends what drips."""

    answer_by = math.inf

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Read what is there.

        Raises:
            TimeoutError: the time for the whole answer is over.
        """
        left = self.answer_by - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self.settimeout(min(left, self.gettimeout() or left))
        return super().recv_into(buffer, nbytes, flags)


class GuardedConnection(HTTPSConnection):
    """Connects to the address that was checked, so that a name cannot lead elsewhere in between."""

    private: ClassVar[bool] = False
    answer_seconds: ClassVar[float] = Limits().answer_seconds

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's answer is not http.client's
        """The answer's head, with the clock for all of the answer running."""
        if isinstance(self.sock, PunctualSocket):
            self.sock.answer_by = time.monotonic() + self.answer_seconds
        return super().getresponse()

    def _new_conn(self) -> socket.socket:
        if self.proxy is not None:  # it is the operator's, and it resolves the registry's name itself
            return super()._new_conn()
        failed: OSError | None = None
        for address in self._addresses()[:_TRIED]:
            try:
                return create_connection((address, self.port), self.timeout, socket_options=self.socket_options)
            except OSError as error:
                failed = error
        if isinstance(failed, TimeoutError):
            raise ConnectTimeoutError(self, f"{self.host} does not take connections") from failed
        raise NewConnectionError(self, f"{self.host} does not take connections: {failed}") from failed

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


def pools(network: Network, limits: Limits, proxy: str, *, private: bool) -> urllib3.PoolManager:
    """Keep-alive connections to many hosts, for many threads; `proxy` is its URL or ""."""

    class Connection(GuardedConnection):
        pass

    class Pool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Connection

    Connection.private, Connection.answer_seconds = private, limits.answer_seconds
    context = network.ssl_context()
    context.sslsocket_class = PunctualSocket
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
    except (ValueError, urllib3.exceptions.HTTPError):  # its text may hold the proxy's password
        raise Misconfigured("HTTPS_PROXY is not the URL of a proxy: set it right, or unset it") from None


@contextmanager
def network_errors(doing: str, host: str) -> Iterator[None]:
    """Raise the gate's errors for the network's within the block.

    Args:
        doing: what is being done to what, the beginning of the sentence a reader gets.
        host: who was asked.

    Raises:
        Misconfigured: the host is unknown or refused, its certificate is not trusted, or the proxy refuses it.
        Malformed: the head of an answer is no HTTP, or beyond every measure.
        Retry: everything else passes by itself.
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
            return Misconfigured(f"{doing}: there is no host {host}: mend the server's name in its rule")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Misconfigured(
                f"{doing}: the certificate of {host} is not trusted ({cause.verify_message}): "
                "mend it there, or add its authority to the bundle that REQUESTS_CA_BUNDLE names"
            )
        if isinstance(cause, http.client.LineTooLong) or "got more than" in str(cause):
            return Malformed("answer's head", f"{doing}: {host} sends more headers than anyone should read")
        if isinstance(cause, _NO_HTTP) and not isinstance(cause, http.client.RemoteDisconnected):
            return Malformed("answer's head", f"{doing}: {host} does not answer in HTTP")
    return _unreached(error, causes, doing, host)


def _unreached(error: Exception, causes: list[BaseException], doing: str, host: str) -> BasegateError:
    if isinstance(error, LocationParseError):
        return Misconfigured(f"{doing}: '{host}' is not a host name: mend the server's name in its rule")
    if isinstance(error, ProxyError) or any("Tunnel connection failed" in str(cause) for cause in causes):
        said = str(causes[-1])[:120]
        if said.startswith(_PROXY_REFUSES):
            return Misconfigured(f"{doing}: the proxy does not let requests to {host} through ({said}): allow the host")
        return Retry(f"{doing}: the proxy does not reach {host} ({said})")
    if isinstance(error, SSLError) and any(text in str(error) for text in _OFTEN_MEANS_NO_TLS):
        return Misconfigured(f"{doing}: {host} does not speak TLS at that port: mend the server's port in its rule")
    if isinstance(error, Timeout | TimeoutError) and not isinstance(error, NameResolutionError):
        return Retry(f"{doing}: {host} does not answer in time")
    what = "breaks off its answer" if isinstance(error, ProtocolError) else "is not reached"
    return Retry(f"{doing}: {host} {what} ({type(causes[-1]).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it: urllib3 chains some errors and keeps others as an argument."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen and len(seen) < 8:
        seen.append(current)
        yield current
        inside = next((argument for argument in current.args if isinstance(argument, BaseException)), None)
        current = inside or current.__cause__ or current.__context__
