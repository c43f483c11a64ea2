"""The retry policy: whether an attempt delivered the event, is retried and when, or is the last. Pure functions.

Source: https://learn.microsoft.com/azure/event-grid/delivery-and-retry
"""

from __future__ import annotations

import random
from collections.abc import Mapping

RESPONSE_SECONDS = 30.0
DEAD_LETTER_DELAY_SECONDS = 300.0
DEAD_LETTER_RETRY_SECONDS = 60.0
DEAD_LETTER_LIMIT_SECONDS = 4 * 3600.0

_SCHEDULE_SECONDS = (10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)
_JITTER = 0.1
_DELIVERED = frozenset({200, 201, 202, 203, 204})
_FINAL = frozenset({400, 403, 413})
_OUTCOMES: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "TimedOut",
    413: "PayloadTooLarge",
    429: "Busy",
    503: "Busy",
    504: "TimedOut",
}


def retry_delay(attempts: int, rng: random.Random) -> float:
    """Seconds from the end of an attempt to the next one, after `attempts` (1 or more) have failed; up to a tenth
    is added as jitter."""
    base = _SCHEDULE_SECONDS[min(attempts, len(_SCHEDULE_SECONDS)) - 1]
    return base * (1 + rng.random() * _JITTER)


def delivered(status: int) -> bool:
    """Whether an endpoint's status counts as delivery; other 2xx statuses do not."""
    return status in _DELIVERED


def final(status: int, *, webhook: bool) -> bool:
    """Whether a status ends the attempts; 401 does for a webhook, but not for an Azure resource."""
    return status in _FINAL or (webhook and status == 401)


def outcome(status: int) -> str:
    """`lastDeliveryOutcome` of an HTTP status; 0 represents no connection, 408 no response in time."""
    if delivered(status):
        return "Success"
    return _OUTCOMES.get(status, "GenericError" if status else "SocketError")
