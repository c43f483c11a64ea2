"""One request, one whole answer of bounded size and time. urllib3 is behind `connections`, imported on first use."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from shared.adapters.oci.safety import Target, require_host
from shared.domain.errors import Malformed, Misconfigured

if TYPE_CHECKING:
    import urllib3

_ERROR_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long is waited, and how much is taken, from one registry.

    `read_seconds` is the longest silence, `answer_seconds` the longest time for one whole answer: a registry that sends
    a byte now and then is not waited for. `listing_seconds` is the time that all pages of one listing may take.
    `body_bytes` is the size of a manifest that every registry has to take, and the most that is read of an answer:
    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
    """

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    answer_seconds: float = 30.0
    listing_seconds: float = 300.0
    body_bytes: int = 4 * 1024 * 1024
    page_size: int = 1000
    pages: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The way out: `proxies` as `urllib.request.getproxies_environment` gives them, `ca_bundle` a file or folder."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str = ""

    @staticmethod
    def of_environment() -> Network:
        """The way out that HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE describe, as for the Azure SDKs."""
        return Network(proxies=getproxies_environment(), ca_bundle=os.environ.get("REQUESTS_CA_BUNDLE", ""))

    def proxy_for(self, host: str) -> str:
        """The URL of the proxy for a host, "" where there is none or NO_PROXY names the host."""
        proxy = self.proxies.get("https") or self.proxies.get("all") or ""
        if not proxy or proxy_bypass_environment(host, dict(self.proxies)):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts the bundle, without one the machine's certificates (or SSL_CERT_FILE).

        Raises:
            Misconfigured: the bundle cannot be read.
        """
        try:
            if self.ca_bundle and Path(self.ca_bundle).is_dir():
                return ssl.create_default_context(capath=self.ca_bundle)
            return ssl.create_default_context(cafile=self.ca_bundle or None)
        except OSError as error:
            problem = f"{self.ca_bundle} cannot be read as a bundle of certificates ({error.strerror or error})"
            raise Misconfigured(f"{problem}: set REQUESTS_CA_BUNDLE right, or unset it") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of whom. `doing` begins the sentence of an error; headers and body are never shown.

    With `private` the host may have a private address. `secrets` are what no error may repeat from the answer.
    """

    doing: str
    target: Target
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    private: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: headers are found in any case, repeated ones joined by a comma."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Transport:
    """Sends requests over https only, to hosts that may be asked, from many threads."""

    def __init__(self, network: Network | None, limits: Limits) -> None:
        self._network, self._limits = network or Network.of_environment(), limits
        self._making = Lock()
        self._made: dict[tuple[str, bool], urllib3.PoolManager] = {}

    def send(self, request: Request) -> Answer:
        """Send a request; no redirect is followed, no status is an error.

        An error's body is cut at 64 KiB, any other that is longer than the limit is refused.

        Raises:
            Misconfigured: the host may not be asked, is unknown, or is not trusted.
            Retry: it does not answer in time, or breaks off.
            Malformed: its answer is too large or no HTTP.
        """
        from shared.adapters.oci.connections import network_errors

        target = request.target
        with network_errors(request.doing, target.server):
            proxy = self._network.proxy_for(target.host)
            require_host(target.host, private=request.private, proxied=bool(proxy))
            pool = self._pools(proxy, request.private).connection_from_host(target.host, target.port, "https")
            response = _open(pool, request)
            body = self._body(response, request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Malformed("Content-Encoding", f"{request.doing}: {target.server} packs what was not to be packed")
        return Answer(response.status, response.headers, body)

    def _body(self, response: urllib3.BaseHTTPResponse, request: Request) -> bytes:
        failed = response.status >= 400
        limit = _ERROR_BYTES if failed else self._limits.body_bytes
        parts: list[bytes] = []
        size = 0
        # Not stream(): of a chunked body that reads lines without a limit.
        while chunk := response.read(_CHUNK_BYTES, decode_content=False):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                response.close()
                if failed:
                    break
                raise Malformed("answer", f"{request.doing}: {request.target.server} sends more than {limit} bytes")
        response.release_conn()
        return b"".join(parts)[:limit]

    def _pools(self, proxy: str, private: bool) -> urllib3.PoolManager:
        from shared.adapters.oci.connections import pools

        with self._making:
            if (proxy, private) not in self._made:
                self._made[proxy, private] = pools(self._network, self._limits, proxy, private=private)
            return self._made[proxy, private]


def _open(pool: urllib3.HTTPConnectionPool, request: Request) -> urllib3.BaseHTTPResponse:
    from urllib3.exceptions import ProtocolError, ProxyError

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
        return send()  # a server may close a kept connection just when it is used again
