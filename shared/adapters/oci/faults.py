"""The network's errors, made into the gate's own in one place. Imported on first use, like urllib3 itself."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    LocationParseError,
    NameResolutionError,
    ProtocolError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as Timeout

from shared.adapters.oci.addresses import Refused
from shared.adapters.oci.refusals import refused
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Retry

_NO_HTTP = (http.client.BadStatusLine, http.client.UnknownProtocol, InvalidHeader)
_UNKNOWN_NAME = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))
_PROXY_REFUSES = ("Tunnel connection failed: 403", "Tunnel connection failed: 407")
_OFTEN_MEANS_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "UNEXPECTED_MESSAGE")


@contextmanager
def reached(doing: str, host: str) -> Iterator[None]:
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
        yield
    except BasegateError:
        raise
    except Refused as error:
        raise refused(doing, error) from error
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
