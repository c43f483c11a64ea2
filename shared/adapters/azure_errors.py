"""The Azure SDKs' errors, made into the gate's own in one place.

What is said is the service's code and message, without headers and the queries of URLs: those may carry secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)

from shared.domain.errors import BasegateError, Misconfigured, Rejected, Retry, Transitioning

_MESSAGE_LIMIT = 300
_PASSING = frozenset((408, 429, 500, 502, 503, 504))
_RETRY_LIMIT_SECONDS = 300.0
_QUERY = re.compile(r"[?#][\w.$%~-]+=[^\s\"'<>]*")
_URL_USER = re.compile(r"(?<=://)[^\s/?#@\"'<>]+@")
_PARAMETER = re.compile(r"(\bsig|(?<=[?&])code)=[^\s&\"'<>]+", re.IGNORECASE)
_CODE = re.compile(r"\bcode=[^\s&\"'<>]+", re.IGNORECASE)
_SECRET = re.compile(
    r"\b(password|client_secret|(?:access|refresh|id)_token|AccountKey|SharedAccess(?:Key|Signature))"
    r"([\"']?\s*[=:]\s*[\"']?)[^\s&\"',;]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~%-]{16,}", re.IGNORECASE)

_REMEDIES = {
    "TasksOperationsNotAllowed": "ACR Tasks are not allowed on this subscription (free credits): ask Azure support",
    "AuthorizationFailed": "give the app's identity the role it needs there",
    "Forbidden": "give the app's identity access there (role or network rule)",
    "DENIED": "give the app's identity the registry role it needs",
    "NoToken": "switch the managed identity on, and set AZURE_CLIENT_ID if it is a user-assigned one",
    "UNAUTHORIZED": "give the app's identity the registry role it needs",
}


@contextmanager
def translated(doing: str, *, remedy: str = "") -> Iterator[None]:
    """Raise the gate's errors for the SDKs' within the block.

    Args:
        doing: what is being done to what, the beginning of the sentence a reader gets.
        remedy: what to do where access is refused.

    Raises:
        Retry: throttled, unavailable, unreachable, an answer that broke off, or an identity that gives no token:
            its endpoint may be away for a while.
        Misconfigured: access is refused.
        Transitioning: the container group is still changing.
        Rejected: everything else.
    """
    try:
        yield
    except BasegateError:
        raise
    except ClientAuthenticationError as error:
        if error.status_code:
            raise _from_response(error, doing, remedy) from error
        said = f"{doing}: the app's identity gives no token: {readable(error.message)}"
        raise Retry(f"{said}. If it stays so: {_REMEDIES['NoToken']}") from error
    except HttpResponseError as error:
        raise _from_response(error, doing, remedy) from error
    except AzureError as error:
        raise Retry(f"{doing}: {type(error).__name__}: {readable(error.message)}") from error


def is_missing(error: HttpResponseError) -> bool:
    """Whether the service says that the thing is not there."""
    return isinstance(error, ResourceNotFoundError) or error.status_code == 404


def error_code(error: HttpResponseError) -> str:
    """The service's own code for an error, "" where it gives none."""
    model = getattr(error, "error", None)
    return str(getattr(model, "code", "") or getattr(error, "error_code", "") or "")


def readable(message: str) -> str:
    """The first line of a service's message, at a length for a record, with everything secret taken out."""
    first = next(iter(message.strip().splitlines()), "")
    first = _CODE.sub("code=***", _QUERY.sub("", _URL_USER.sub("", first)))
    return without_secrets(first)[:_MESSAGE_LIMIT]


def without_secrets(text: str) -> str:
    """A text of many lines, a log for one, with what looks like a secret blotted out and all else as it is."""
    text = _PARAMETER.sub(r"\1=***", _URL_USER.sub("", text))
    return _BEARER.sub(r"\1 ***", _SECRET.sub(r"\1\2***", text))


def _from_response(error: HttpResponseError, doing: str, remedy: str) -> BasegateError:
    code, status = error_code(error), error.status_code or 0
    said = f"{doing}: {status or type(error).__name__} {code} {readable(error.message)}".strip()
    if "transitioning" in error.message.lower():
        return Transitioning(said)
    if status in _PASSING:
        return Retry(said, _retry_after(error))
    advice = remedy or _REMEDIES.get(code, "")
    if status in (401, 403) or code in _REMEDIES:
        return Misconfigured(f"{said}. To mend it: {advice or _REMEDIES['AuthorizationFailed']}")
    return Rejected(said) if status >= 400 else Retry(said)  # an answer that broke off says neither yes nor no


def _retry_after(error: HttpResponseError) -> float:
    headers = getattr(error.response, "headers", None) or {}
    value = str(headers.get("Retry-After", ""))
    return min(_RETRY_LIMIT_SECONDS, float(value)) if value.isdecimal() else 5.0
