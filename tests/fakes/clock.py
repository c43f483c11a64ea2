"""The clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class FakeClock:
    """A clock that a test advances; with `ticking` it also advances by so many seconds at each call."""

    time: datetime = START
    ticking: float = 0.0

    def now(self) -> datetime:
        self.time += timedelta(seconds=self.ticking)
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
