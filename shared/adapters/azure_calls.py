"""Common to all calls to Azure: time limits, the identity, and the translation of errors.

Error texts are the service's code and message, without headers and URL queries: those may contain secrets.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from json import JSONDecodeError
from typing import Any, TypeVar

from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)

from shared.adapters.redaction import readable
from shared.domain.errors import BasegateError, Cause, Misconfigured, Rejected, Retry
from shared.domain.policy import RegistryRule

Client = TypeVar("Client")
Identity = Callable[[], TokenCredential]
"""Returns the app's identity, created on first use."""

DEADLINES: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 20, "retry_total": 1, "retry_status": 0}
"""The time limits of every SDK client.

A call without a response is retried once and ends within a minute: each try may take 5 s to connect and 20 s to
respond. A response is never retried here, not even a 429: `Retry-After` may be minutes, and nothing sleeps inside a
function. The caller decides when to retry.
Source: https://github.com/Azure/azure-sdk-for-python/blob/main/sdk/core/azure-core/CLIENT_LIBRARY_DEVELOPER.md
"""

STORAGE_DEADLINES = DEADLINES | {"initial_backoff": 1, "random_jitter_range": 0}
"""For queues and blobs, whose clients otherwise wait 15 s between two tries."""

TOKEN_DEADLINES = DEADLINES | {"retry_total": 0}
"""For the app's identity: a token is requested within a call, and by queues and blobs twice if that fails."""

PASSING = frozenset((408, 429, 500, 502, 503, 504))
_RETRY_LIMIT_SECONDS = 300.0
TASKS_NOT_ALLOWED = "TasksOperationsNotAllowed"
"""The error code of a subscription that may not run ACR Tasks.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-overview"""

_REJECTED = frozenset(("AuthorizationFailed", "Forbidden", "DENIED", "UNAUTHORIZED"))
_OF_CODE: dict[str, tuple[Cause | None, str]] = {
    TASKS_NOT_ALLOWED: (
        Cause.TASKS_NOT_ALLOWED,
        "this subscription may not run ACR Tasks (those on free credits may not): request them from Azure support at "
        "https://aka.ms/azuresupport, or use another subscription",
    ),
    "LinkedAuthorizationFailed": (
        Cause.ROLE,
        "give the app's identity the role for what is named here too: Managed Identity Operator for an identity",
    ),
    "MissingSubscriptionRegistration": (
        None,
        "register the provider: az provider register --namespace <the one named here>",
    ),
}
"""Sources: https://learn.microsoft.com/azure/container-instances/container-instances-managed-identity,
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-register-resource-provider"""

_FIREWALL_CODES = frozenset(("AuthorizationFailure", "ForbiddenByFirewall", "ForbiddenByConnection"))
"""The codes of Storage and Key Vault for a caller from a network that is not allowed. A missing role has others.
Source: https://learn.microsoft.com/troubleshoot/azure/azure-storage/blobs/authentication/storage-troubleshoot-403-errors"""

_FIREWALL_TEXT = re.compile(
    r"client with IP|client (?:IP )?address is not authorized|acr/firewall|firewall|public network access|"
    r"using this network|private (?:link|endpoint)",
    re.IGNORECASE,
)
_NAME_TEXT = re.compile(r"failed to resolve|name or service not known|getaddrinfo|name resolution", re.IGNORECASE)
_NO_IDENTITY = "switch the managed identity on, and set AZURE_CLIENT_ID if it is a user-assigned one"
_NO_ROLE = "give the app's identity the role it needs there"
_BLOCKED = (
    "a network rule of the service blocks the app, whatever its roles: allow the app's virtual network or its outbound "
    "addresses"
)
_UNRESOLVED = "check the name, and that the app's virtual network has the private DNS zone for it"
_UNREACHED = "check whether a firewall, or a route of the app's virtual network, drops the app's packets"


@contextmanager
def translated(doing: str, *, remedy: str = "") -> Iterator[None]:
    """Raise the SDKs' errors within the block as the gate's, with `doing` at the beginning of their text.

    `remedy` is what to do if access is denied.

    Raises:
        Retry: throttled, unavailable, unreachable, an incomplete response, or no token for the identity: its endpoint
            may be unavailable for a while.
        Misconfigured: access is denied.
        Rejected: everything else.
    """
    try:
        yield
    except BasegateError:
        raise
    except HttpResponseError as error:
        if error.status_code or not isinstance(error, ClientAuthenticationError):
            raise _from_response(error, doing, remedy) from error
        problem = f"{doing}: no token for the app's identity: {readable(error.message)}"
        raise Retry(problem, cause=Cause.IDENTITY, remedy=_NO_IDENTITY) from error
    except ServiceRequestError as error:  # the service was not reached
        problem = f"{doing}: {type(error).__name__}: {readable(error.message)}"
        remedy = _UNRESOLVED if _NAME_TEXT.search(error.message) else _UNREACHED
        raise Retry(problem, cause=Cause.NETWORK, remedy=remedy) from error
    except AzureError as error:
        raise Retry(f"{doing}: {type(error).__name__}: {readable(error.message)}") from error
    except JSONDecodeError as error:  # a gateway responded for the service, in HTML or with an empty body
        raise Retry(f"{doing}: the response is not JSON") from error


@contextmanager
def expected(*rejections: int | type[HttpResponseError], instead: BasegateError | None = None) -> Iterator[None]:
    """Leave the block if the service responds with one of these statuses or errors, or raise `instead`.

    Used inside `translated`, which handles all others. A 404 may come from a gateway in front of the service;
    ResourceNotFoundError is the service's own if the SDK checks its code.
    """
    try:
        yield
    except HttpResponseError as error:
        missing = 404 in rejections and isinstance(error, ResourceNotFoundError)
        if not missing and error.status_code not in rejections and type(error) not in rejections:
            raise
        if instead is not None:
            raise instead from error


def per_subscription(kind: Callable[..., Client], identity: Identity) -> Callable[[str], Client]:
    """Clients of Azure Resource Manager: one for each subscription, created on first use and cached."""
    return lru_cache(maxsize=None)(lambda subscription: kind(identity(), subscription, **DEADLINES))


def registry_id(registry: RegistryRule) -> tuple[str, str, str]:
    """Subscription, resource group and name of a registry, which the SDKs take as separate arguments.

    Raises:
        Misconfigured: the registry has no Azure id.
    """
    parts = (registry.id or "").split("/")
    if len(parts) < 9:
        raise Misconfigured(f"registry {registry.name} has no Azure resource id in the rules")
    return parts[2], parts[4], parts[8]


def error_code(error: HttpResponseError) -> str:
    """The service's own code of an error, "" if it has none."""
    model = getattr(error, "error", None)
    return str(getattr(model, "code", "") or getattr(error, "error_code", "") or "")


def response_text(error: HttpResponseError, doing: str) -> str:
    """The text of an error for readers: the operation, the status, the service's code and message."""
    return f"{doing}: {error.status_code or type(error).__name__} {error_code(error)} {readable(error.message)}".strip()


def retry_after(value: str) -> float:
    """The seconds of a Retry-After header, at most 300; 5 if it is not a number."""
    return min(_RETRY_LIMIT_SECONDS, float(value)) if value.isdecimal() else 5.0


def _from_response(error: HttpResponseError, doing: str, remedy: str) -> BasegateError:
    code, status, problem = error_code(error), error.status_code or 0, response_text(error, doing)
    if status in PASSING:
        headers = getattr(error.response, "headers", None) or {}
        return Retry(problem, retry_after(str(headers.get("Retry-After", ""))))
    if code in _OF_CODE:
        known, advice = _OF_CODE[code]
        return Misconfigured(problem, cause=known, remedy=advice)
    if status in (401, 403) or code in _REJECTED:
        is_blocked = code in _FIREWALL_CODES or _FIREWALL_TEXT.search(error.message)  # no role helps against that
        cause, advice = (Cause.NETWORK, _BLOCKED) if is_blocked else (Cause.ROLE, remedy or _NO_ROLE)
        return Misconfigured(problem, cause=cause, remedy=advice)
    return Rejected(problem) if status >= 400 else Retry(problem)  # an incomplete response says neither yes nor no
