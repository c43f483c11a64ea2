"""HTTP errors of registries as the gate's errors.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
"""

from datetime import UTC, datetime

import msgspec

from shared.adapters.azure_calls import readable
from shared.adapters.oci.rate_limits import parse_pause
from shared.adapters.oci.transport import Answer, Request
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Rejected, Retry, Throttled
from shared.domain.policy import RegistryRule

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What decoding an answer raises: a gateway's page, half of an answer, a hostile one."""

_MESSAGE_LIMIT = 200


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []
    message: str = ""
    details: str = ""


def http_error(answer: Answer, request: Request, remedy: str) -> BasegateError:
    """The error that an answer means to the gate.

    Args:
        answer: its status is none that was expected.
        request: begins the sentence, and says what the sentence must not hold.
        remedy: what to do where access is refused.
    """
    code, said = _said(answer, request)
    text, now = f"{request.doing}: {answer.status} {said}".strip(), datetime.now(UTC)
    if answer.status == 429 or code == "TOOMANYREQUESTS":
        return Throttled(text, parse_pause(answer.headers, now, unsaid=60.0))
    if answer.status == 408 or answer.status >= 500:
        return Retry(text, parse_pause(answer.headers, now, unsaid=5.0))
    if answer.status in (401, 403):
        return Misconfigured(f"{text}. To mend it: {remedy}")
    if answer.status < 400:
        return Malformed("status", f"{request.doing}: {answer.status} was not to be expected here")
    return Rejected(text)


def access_remedy(registry: RegistryRule) -> str:
    """What to do where a registry refuses to be read."""
    if registry.credentials and registry.is_azure:
        return f"give {registry.credentials}-user content/read and metadata/read of the repository in its scope map"
    if registry.credentials:
        return f"let the user of {registry.credentials}-user read there, and see that the repository is there"
    if registry.is_azure:
        return "give the app AcrPull (Container Registry Repository Reader) on the registry"
    return "see that the repository is there, and name credentials on the registry's rule if it is not public"


def _said(answer: Answer, request: Request) -> tuple[str, str]:
    """The registry's error code, and code and message for the reader; nothing that repeats a secret."""
    try:
        body = msgspec.json.decode(answer.body, type=_Errors)
    except UNREADABLE:
        return "", ""
    first = body.errors[0] if body.errors else _Error("", body.message or body.details)
    said = readable(f"{first.code} {first.message}".strip())[:_MESSAGE_LIMIT]
    said = "".join(letter if letter.isprintable() else " " for letter in said)
    return first.code, "" if any(secret and secret in said for secret in request.secrets) else said
