"""HTTP with a total deadline, and the health probe: a read timeout alone never ends a response that trickles in."""

import logging
import math
import socket
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException, InvalidURL
from typing import Any
from urllib.parse import SplitResult, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

logging.getLogger("urllib3.connection").setLevel(logging.ERROR)  # WARNING logs URLs, and a webhook's is a secret

_TIMEOUT_SECONDS = 3.0


class NoAnswer(Exception):
    """A server is unreachable, or its response is late or not HTTP. The text is only the type of the error."""


class PunctualSocket(socket.socket):
    """A socket that reads until `answer_by` (monotonic seconds), however slowly data arrives."""

    answer_by = math.inf

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Read the bytes that are available.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left = self.answer_by - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response takes too long")
        self.settimeout(min(left, self.gettimeout() or left))
        return super().recv_into(buffer, nbytes or len(buffer), flags)


class PunctualTlsSocket(PunctualSocket, ssl.SSLSocket):
    """The same over TLS: a context's `sslsocket_class`."""


class _Connection(HTTPConnection):
    answer_by = math.inf

    def _new_conn(self) -> socket.socket:
        connected = PunctualSocket(fileno=super()._new_conn().detach())
        connected.settimeout(max(0.001, self.answer_by - time.monotonic()))  # for TLS and the request
        return connected


class _TlsConnection(_Connection, HTTPSConnection):
    pass


def send(
    method: str, url: str, seconds: float, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, Mapping[str, str]]:
    """Status and headers of the response to one request, which ends after `seconds` in all: no redirect is followed, no
    proxy used, no body read.

    Connections are opened here and not by a pool, which writes the path of a URL to debug logs and traces.

    Raises:
        ValueError: the URL is invalid; the error does not repeat it.
        NoAnswer: there is no response in time.
    """
    answer_by = time.monotonic() + seconds
    try:
        parts = urlsplit(url)
        connection = _connection(parts, seconds)
        connection.answer_by = answer_by
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, path, body=body, headers=headers, preload_content=False)
            assert isinstance(connection.sock, PunctualSocket)
            connection.sock.answer_by = answer_by
            with connection.getresponse() as response:
                return response.status, response.headers
        finally:
            connection.close()
    except OSError as error:  # an error about a certificate is a ValueError as well
        raise NoAnswer(type(error).__name__) from error
    except (ValueError, InvalidURL):
        raise ValueError("this URL cannot be used") from None
    except (HTTPException, HTTPError) as error:
        raise NoAnswer(type(error.__cause__ or error).__name__) from error


def _connection(url: SplitResult, seconds: float) -> _Connection:
    if not url.hostname:
        raise ValueError("it has no host")
    if url.scheme == "http":
        return _Connection(url.hostname, url.port or 80, timeout=seconds)
    context = ssl.create_default_context()
    context.sslsocket_class = PunctualTlsSocket
    return _TlsConnection(url.hostname, url.port or 443, timeout=seconds, ssl_context=context)


class HttpProbe:
    """Implements the port `Probe`: plain HTTP, straight to the deployment's own address; redirects are not followed."""

    def check(self, address: str, path: str) -> str | None:
        url = f"http://{address}{path}"
        try:
            status, _ = send("GET", url, _TIMEOUT_SECONDS, {"User-Agent": "basegate-probe"})
        except (NoAnswer, ValueError) as error:
            return f"{url} does not respond ({error})"
        return None if 200 <= status < 400 else f"{url} responds with HTTP {status}"
