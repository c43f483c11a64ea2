"""Forwards requests to a plain-HTTP server behind the gateway, streaming both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    )
)
_CHUNK_BYTES = 256 * 1024


class Backend:
    """A server on a loopback port or a unix socket.

    Host name, path and body reach it as the client sent them. If it is unavailable, the response is 503, not
    502: azure-core retries writes on 500, 503 and 504 only.
    """

    def __init__(self, target: int | Path) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._target = target

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def forward(
        self,
        request: web.BaseRequest,
        *,
        query: str | None = None,
        body: bytes | None = None,
        drop: Iterable[str] = (),
        add: Mapping[str, str] | None = None,
        tell: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        """Forward a request and stream the response back.

        Args:
            request: the client's request.
            query: a raw query string that replaces the client's.
            body: a body that replaces the client's.
            drop: lower-case names of headers that must not be forwarded (such as a token).
            add: headers to set.
            tell: headers to set in the response.
        """
        dropped = _HOP_BY_HOP | set(drop) | ({"content-length"} if body is not None else set())
        # A list, because a name may occur more than once (container clients send an Accept header per media type).
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in dropped)
        headers.update(add or {})
        url = self._url(request.rel_url.raw_path, request.rel_url.raw_query_string if query is None else query)
        data = body if body is not None else (request.content if request.can_read_body else None)
        try:
            async with self._client().request(
                request.method, url, headers=headers, data=data, allow_redirects=False
            ) as answer:
                return await _relay(request, answer, tell or {})
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            return _away(request.host, error)

    def _url(self, path: str, query: str) -> URL:
        port = self._target if isinstance(self._target, int) else 80
        return URL(f"http://127.0.0.1:{port}{path}" + (f"?{query}" if query else ""), encoded=True)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector
            if isinstance(self._target, int):
                connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=50)
            else:
                connector = aiohttp.UnixConnector(str(self._target), limit=0, keepalive_timeout=50)
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=10),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _away(host: str, error: Exception) -> web.Response:
    body = {"error": {"code": "ServerBusy", "message": f"The server behind {host} is away: {error}"}}
    return web.json_response(body, status=503, headers={"x-ms-error-code": "ServerBusy"})


async def _relay(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, tell: Mapping[str, str]
) -> web.StreamResponse:
    headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP]
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    response.headers.extend(headers)
    response.headers.update(tell)
    await response.prepare(request)
    if request.method != "HEAD":
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            await response.write(chunk)
    await response.write_eof()
    return response
