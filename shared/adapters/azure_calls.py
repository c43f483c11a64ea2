"""What all calls to Azure share: a deadline, an identity, and the translation of errors.

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
"""Gives the app's identity, made on first use."""

DEADLINES: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 20, "retry_total": 1, "retry_status": 0}
"""How long the adapters wait for Azure: every client of an SDK is made with this.

A call that is not answered is tried once more, and is over within a minute: each of the two tries may take 5 s to
connect and 20 s to answer. What is answered is not tried again here, not even where the answer is to slow down:
`Retry-After` may say minutes, and nothing sleeps inside a function. Whoever asked knows when to ask again.
Source: https://github.com/Azure/azure-sdk-for-python/blob/main/sdk/core/azure-core/CLIENT_LIBRARY_DEVELOPER.md
"""

STORAGE_DEADLINES = DEADLINES | {"initial_backoff": 1, "random_jitter_range": 0}
"""For queues and blobs, whose clients else wait for a quarter of a minute between two tries."""

TOKEN_DEADLINES = DEADLINES | {"retry_total": 0}
"""For the app's identity, which is asked within a call: queues and blobs ask twice where it gives no token."""

PASSING = frozenset((408, 429, 500, 502, 503, 504))
_RETRY_LIMIT_SECONDS = 300.0
TASKS_NOT_ALLOWED = "TasksOperationsNotAllowed"
"""The code of a subscription that may run no ACR Tasks.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-overview"""

_REJECTED = frozenset(("AuthorizationFailed", "Forbidden", "DENIED", "UNAUTHORIZED", TASKS_NOT_ALLOWED))
_OF_CODE: dict[str, tuple[Cause | None, str]] = {
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
"""Storage's and Key Vault's codes for a caller who comes from the wrong place. A missing role has others.
Source: https://learn.microsoft.com/troubleshoot/azure/azure-storage/blobs/authentication/storage-troubleshoot-403-errors"""

_FIREWALL_TEXT = re.compile(
    r"client with IP|client (?:IP )?address is not authorized|acr/firewall|firewall|public network access|"
    r"using this network|private (?:link|endpoint)",
    re.IGNORECASE,
)
_NAME_TEXT = re.compile(r"failed to resolve|name or service not known|getaddrinfo|name resolution", re.IGNORECASE)
_REMEDIES = {
    Cause.IDENTITY: "switch the managed identity on, and set AZURE_CLIENT_ID if it is a user-assigned one",
    Cause.ROLE: "give the app's identity the role it needs there",
    Cause.NETWORK: "a network rule there keeps the app out, whatever its roles: allow the app's virtual network or its "
    "outbound addresses",
    Cause.TASKS_NOT_ALLOWED: "this subscription may not run ACR Tasks, as those on free credits: ask Azure support for "
    "it at https://aka.ms/azuresupport, or use another subscription",
}
_UNRESOLVED = "look whether the name is right, and whether the app's virtual network has the private DNS zone for it"
_UNREACHED = "look whether a firewall, or a route of the app's virtual network, drops what the app sends there"


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
        Rejected: everything else.
    """
    try:
        yield
    except BasegateError:
        raise
    except HttpResponseError as error:
        if error.status_code or not isinstance(error, ClientAuthenticationError):
            raise _from_response(error, doing, remedy) from error
        said = f"{doing}: the app's identity gives no token: {readable(error.message)}"
        raise Retry(said, cause=Cause.IDENTITY, remedy=_REMEDIES[Cause.IDENTITY]) from error
    except ServiceRequestError as error:  # it was not reached
        said = f"{doing}: {type(error).__name__}: {readable(error.message)}"
        remedy = _UNRESOLVED if _NAME_TEXT.search(error.message) else _UNREACHED
        raise Retry(said, cause=Cause.NETWORK, remedy=remedy) from error
    except AzureError as error:
        raise Retry(f"{doing}: {type(error).__name__}: {readable(error.message)}") from error
    except JSONDecodeError as error:  # SDKs raise it where a gateway answers for the service, in HTML or in nothing
        raise Retry(f"{doing}: the answer is no JSON") from error


@contextmanager
def expected(*rejections: int | type[HttpResponseError], instead: BasegateError | None = None) -> Iterator[None]:
    """Leave the block where a service responds with one of these statuses or errors, or raise `instead`.

    It is used inside `translated`, which handles all others. A 404 may come from a gateway in front of the service;
    ResourceNotFoundError is the service's own where the SDK checks its code.
    """
    try:
        yield
    except HttpResponseError as error:
        missing = 404 in rejections and is_missing(error)
        if not missing and error.status_code not in rejections and type(error) not in rejections:
            raise
        if instead is not None:
            raise instead from error


def per_subscription(kind: Callable[..., Client], identity: Identity) -> Callable[[str], Client]:
    """Clients of Azure Resource Manager: one for each subscription, created on first use and kept."""
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


def is_missing(error: HttpResponseError) -> bool:
    """Whether the service says that the resource does not exist."""
    return isinstance(error, ResourceNotFoundError) or error.status_code == 404


def error_code(error: HttpResponseError) -> str:
    """The service's own code of an error, "" if it has none."""
    model = getattr(error, "error", None)
    return str(getattr(model, "code", "") or getattr(error, "error_code", "") or "")


def response_text(error: HttpResponseError, doing: str) -> str:
    """The text of an error for readers: the operation, the status, the service's code and message."""
    return f"{doing}: {error.status_code or type(error).__name__} {error_code(error)} {readable(error.message)}".strip()


def retry_after(value: str) -> float:
    """The seconds of a Retry-After header, at most 300; 5 where it is not a number."""
    return min(_RETRY_LIMIT_SECONDS, float(value)) if value.isdecimal() else 5.0


def _from_response(error: HttpResponseError, doing: str, remedy: str) -> BasegateError:
    code, status, said = error_code(error), error.status_code or 0, response_text(error, doing)
    if status in PASSING:
        headers = getattr(error.response, "headers", None) or {}
        return Retry(said, retry_after(str(headers.get("Retry-After", ""))))
    if code in _OF_CODE:
        known, advice = _OF_CODE[code]
        return Misconfigured(said, cause=known, remedy=advice)
    if status in (401, 403) or code in _REJECTED:
        cause = _cause(code, error.message)
        advice = remedy if cause is Cause.ROLE and remedy else _REMEDIES[cause]
        return Misconfigured(said, cause=cause, remedy=advice)
    return Rejected(said) if status >= 400 else Retry(said)  # an answer that broke off says neither yes nor no


def _cause(code: str, message: str) -> Cause:
    """Why a service denies access: a role does not help against a network rule, nor against a closed subscription."""
    if code == TASKS_NOT_ALLOWED:
        return Cause.TASKS_NOT_ALLOWED
    walled = code in _FIREWALL_CODES or _FIREWALL_TEXT.search(message)
    return Cause.NETWORK if walled else Cause.ROLE
