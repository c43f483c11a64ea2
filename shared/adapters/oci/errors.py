"""HTTP errors of registries as the gate's errors, and the rate limits in their responses.

Sources: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes,
https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-05 (`RateLimit-Limit: 100;w=21600`) and
https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3 (Retry-After).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from shared.adapters.oci.transport import Request, Response
from shared.adapters.redaction import readable
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Rejected, Retry, Throttled
from shared.ports import Allowance

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""The errors of decoding a response: a gateway's page, an incomplete or a malicious response."""

_MESSAGE_LIMIT = 200
_LONGEST_SECONDS = 6 * 3600.0
_EPOCH = 1_000_000_000
"""A reset value above this is a time (seconds since 1970), below it a wait: registries send both."""

_QUOTA = re.compile(r"\s*(\d{1,12})\s*(?:;\s*w\s*=\s*(\d{1,12}))?\s*(?:[;,].*)?")
_SOURCE = re.compile(r"[A-Za-z0-9.:/_-]{1,64}")


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []
    message: str = ""
    details: str = ""


def http_error(answer: Response, request: Request, remedy: str) -> BasegateError:
    """The error of an unexpected response to a request; `remedy` is what to do if access is denied."""
    code, message = _message(answer, request)
    text, now = f"{request.doing}: {answer.status} {message}".strip(), datetime.now(UTC)
    if answer.status == 429 or code == "TOOMANYREQUESTS" or (answer.status == 403 and "retry-after" in answer.headers):
        return Throttled(text, parse_pause(answer.headers, now, default=60.0))
    if answer.status == 408 or answer.status >= 500:
        return Retry(text, parse_pause(answer.headers, now, default=5.0))
    if answer.status in (401, 403):
        return Misconfigured(f"{text}. To fix it: {remedy}")
    if answer.status < 400:
        return Malformed("status", f"{request.doing}: unexpected status {answer.status}")
    return Rejected(text)


def _message(answer: Response, request: Request) -> tuple[str, str]:
    """The registry's error code, and its text for readers, without secrets."""
    try:
        body = msgspec.json.decode(answer.body, type=_Errors)
    except UNREADABLE:
        return "", ""
    first = body.errors[0] if body.errors else _Error("", body.message or body.details)
    text = readable(f"{first.code} {first.message}".strip())[:_MESSAGE_LIMIT]
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return first.code, "" if any(secret and secret in text for secret in request.secrets) else text


def parse_allowance(headers: Mapping[str, str], account_header: str = "") -> Allowance | None:
    """The rate limit in a response, None if it has none (or an invalid one).

    `account_header` is the header with the account or address that the limit applies to, "" if there is none.
    """
    for prefix in ("", "x-"):
        limit = _QUOTA.fullmatch(headers.get(f"{prefix}ratelimit-limit", ""))
        remaining = _QUOTA.fullmatch(headers.get(f"{prefix}ratelimit-remaining", ""))
        if limit and remaining:
            source = _SOURCE.fullmatch(headers.get(account_header, "").strip())
            return Allowance(
                limit=int(limit[1]),
                remaining=int(remaining[1]),
                window_seconds=int(limit[2] or remaining[2] or 0),
                source=source[0] if source else "",
            )
    return None


def parse_pause(headers: Mapping[str, str], now: datetime, default: float) -> float:
    """The seconds that a response asks to wait, at most six hours."""
    for name in ("retry-after", "x-retry-after", "ratelimit-reset", "x-ratelimit-reset"):
        value = headers.get(name, "").strip()
        if (wait := _seconds(value, now)) is not None:
            return min(_LONGEST_SECONDS, max(1.0, wait))
    return default


def _seconds(value: str, now: datetime) -> float | None:
    if re.fullmatch(r"\d{1,12}", value):
        number = int(value)
        return number - now.timestamp() if number > _EPOCH else float(number)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
