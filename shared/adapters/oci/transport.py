"""One request, one whole answer of bounded size. What urllib3 brings is behind this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from shared.adapters.oci.addresses import require_host
from shared.adapters.oci.network import Limits, Network
from shared.adapters.oci.targets import Target
from shared.domain.errors import Malformed

if TYPE_CHECKING:
    import urllib3

_ERROR_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024


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
    """A whole answer: names of headers in lower case, repeated ones joined by a comma."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Transport:
    """Sends requests over https only, to hosts that may be asked, from many threads."""

    def __init__(self, network: Network | None, limits: Limits) -> None:
        self._given, self._limits = network, limits
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
        from shared.adapters.oci.faults import reached

        target = request.target
        with reached(request.doing, target.server):
            proxy = self._network.proxy_for(target.host)
            require_host(target.host, private=request.private, proxied=bool(proxy))
            pool = self._pools(proxy, request.private).connection_from_host(target.host, target.port, "https")
            response = self._open(pool, request)
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = self._body(response, request)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Malformed("Content-Encoding", f"{request.doing}: {target.server} packs what was not to be packed")
        return Answer(response.status, headers, body)

    def _open(self, pool: urllib3.HTTPConnectionPool, request: Request) -> urllib3.BaseHTTPResponse:
        from urllib3.exceptions import ProtocolError, ProxyError

        def once() -> urllib3.BaseHTTPResponse:
            return pool.urlopen(
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
            return once()
        except (ProtocolError, ProxyError) as error:
            if not isinstance(error.args[-1], ConnectionError):
                raise
            return once()  # a server may close a kept connection just when it is used again

    def _body(self, response: urllib3.BaseHTTPResponse, request: Request) -> bytes:
        refused = response.status >= 400
        limit = _ERROR_BYTES if refused else self._limits.body_bytes
        parts: list[bytes] = []
        size = 0
        # Not stream(): of a chunked body that reads lines without a limit.
        while chunk := response.read(_CHUNK_BYTES, decode_content=False):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                response.close()
                if refused:
                    break
                raise Malformed("answer", f"{request.doing}: {request.target.server} sends more than {limit} bytes")
        response.release_conn()
        return b"".join(parts)[:limit]

    @cached_property
    def _network(self) -> Network:
        return self._given or Network.of_environment()

    def _pools(self, proxy: str, private: bool) -> urllib3.PoolManager:
        from shared.adapters.oci.connections import pools

        with self._making:
            if (proxy, private) not in self._made:
                self._made[proxy, private] = pools(self._network, self._limits, proxy, private=private)
            return self._made[proxy, private]
