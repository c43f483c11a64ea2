"""Rate limits as registries tell them.

Sources: https://docs.docker.com/docker-hub/usage/pulls/ (`RateLimit-Limit: 100;w=21600`),
https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-05 and
https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3 (Retry-After).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.ports import Allowance

_LONGEST_SECONDS = 6 * 3600.0
_EPOCH = 1_000_000_000
"""A reset above this is a moment (seconds since 1970), below it a wait: registries send both."""

_QUOTA = re.compile(r"\s*(\d{1,12})\s*(?:;\s*w\s*=\s*(\d{1,12}))?\s*(?:[;,].*)?")
_SOURCE = re.compile(r"[A-Za-z0-9.:/_-]{1,64}")


def parse_allowance(headers: Mapping[str, str]) -> Allowance | None:
    """What an answer says of the rate limit, None where it says nothing (or nothing that can be read)."""
    for prefix in ("", "x-"):
        limit = _QUOTA.fullmatch(headers.get(f"{prefix}ratelimit-limit", ""))
        remaining = _QUOTA.fullmatch(headers.get(f"{prefix}ratelimit-remaining", ""))
        if limit and remaining:
            source = _SOURCE.fullmatch(headers.get("docker-ratelimit-source", "").strip())
            return Allowance(
                limit=int(limit[1]),
                remaining=int(remaining[1]),
                window_seconds=int(limit[2] or remaining[2] or 0),
                source=source[0] if source else "",
            )
    return None


def parse_pause(headers: Mapping[str, str], now: datetime, unsaid: float) -> float:
    """The seconds that an answer asks to wait (at most six hours), `unsaid` where it does not say."""
    for name in ("retry-after", "x-retry-after", "ratelimit-reset", "x-ratelimit-reset"):
        value = headers.get(name, "").strip()
        if (wait := _seconds(value, now)) is not None:
            return min(_LONGEST_SECONDS, max(1.0, wait))
    return unsaid


def _seconds(value: str, now: datetime) -> float | None:
    if re.fullmatch(r"\d{1,12}", value):
        number = int(value)
        return number - now.timestamp() if number > _EPOCH else float(number)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
