"""Connections that go where they may and end in time, on urllib3's pools. Imported on first use: urllib3 is heavy."""

from __future__ import annotations

import math
import socket
import ssl
import time
from ipaddress import ip_address
from typing import Any, ClassVar

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util.connection import create_connection

from shared.adapters.oci.addresses import Refused, require_address
from shared.adapters.oci.network import Limits, Network
from shared.domain.errors import Misconfigured

_HOSTS = 64
_CONNECTIONS_PER_HOST = 16
_TRIED = 4
"""Addresses of one name that are tried: each may take the whole time to connect."""


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
    """Connects to the address that was judged, so that a name cannot lead elsewhere in between."""

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
            raise Refused(f"{self.host} is not a host name") from error
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
    context = network.trust()
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
