"""Rate limits as registries tell them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.adapters.oci.errors import parse_allowance, parse_pause
from shared.ports import Allowance

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {
                "ratelimit-limit": "100;w=21600",
                "ratelimit-remaining": "76;w=21600",
                "docker-ratelimit-source": "203.0.113.7",
            },
            Allowance(limit=100, remaining=76, window_seconds=21600, source="203.0.113.7"),
        ),
        ({"ratelimit-limit": "100", "ratelimit-remaining": "0"}, Allowance(limit=100, remaining=0)),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "9;w=60"},
            Allowance(limit=100, remaining=9, window_seconds=60),
        ),
        ({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999"}, Allowance(limit=5000, remaining=4999)),
        (
            {"ratelimit-limit": "1;w=1", "ratelimit-remaining": "1;w=1", "docker-ratelimit-source": "<b>\n"},
            Allowance(limit=1, remaining=1, window_seconds=1),
        ),
    ],
)
def test_what_is_said_of_the_limit_is_read(headers: dict[str, str], expected: Allowance) -> None:
    assert parse_allowance(headers, "docker-ratelimit-source") == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ratelimit-limit": "100"},
        {"ratelimit-limit": "many", "ratelimit-remaining": "1"},
        {"ratelimit-limit": "-1", "ratelimit-remaining": "1"},
        {"ratelimit-limit": "9" * 5000, "ratelimit-remaining": "1"},
    ],
)
def test_what_cannot_be_read_says_nothing(headers: dict[str, str]) -> None:
    assert parse_allowance(headers) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "37"}, 37),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "Thu, 01 Jan 2026 00:02:00 GMT"}, 120),
        ({"retry-after": "Wed, 31 Dec 2025 23:00:00 GMT"}, 1),
        ({"retry-after": "999999999"}, 6 * 3600),
        ({"retry-after": "soon", "ratelimit-reset": "90"}, 90),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 300)}, 300),
        ({"x-retry-after": str(int(NOW.timestamp()) + 30)}, 30),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({}, None),
    ],
)
def test_a_pause_is_seconds_or_a_moment(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_pause(headers, NOW, default=60) == (60 if seconds is None else seconds)
