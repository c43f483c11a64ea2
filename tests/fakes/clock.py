"""The clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class FakeClock:
    """A clock that a test moves; with `ticking` it also moves by so many seconds whenever it is asked."""

    time: datetime = START
    ticking: float = 0.0

    def now(self) -> datetime:
        self.time += timedelta(seconds=self.ticking)
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
