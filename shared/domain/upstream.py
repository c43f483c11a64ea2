"""A source registry as all workers know it together: how it answers, when it may be asked again, how fast."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0
_MINUTE = 60.0


class UpstreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One source registry. `server` is its host name.

    After a failure it is left alone until `paused_until`, twice as long each time, so that one that is down costs the
    others nothing. `spent` requests of the sweep, and `hinted` on account of events, were sent in the minute that began
    at `minute`: a flood of events costs a registry no more than a quarter of its pace. `limit` and `remaining` are what
    the registry said of its own limit last (-1: nothing), in a window of `window_seconds`.
    """

    server: str
    failures: int = 0
    problem: str = ""
    paused_until: datetime | None = None
    answered_at: datetime | None = None
    minute: datetime | None = None
    spent: int = 0
    hinted: int = 0
    limit: int = -1
    remaining: int = -1
    window_seconds: int = 0

    @property
    def partition(self) -> str:
        """The ledger partition: all source registries."""
        return "upstream"

    @property
    def row(self) -> str:
        """The ledger row: the host name; a port's colon is allowed in keys."""
        return self.server

    def pause_left(self, now: datetime) -> float:
        """For how many seconds more it is left alone."""
        return max(0.0, (self.paused_until - now).total_seconds()) if self.paused_until else 0.0

    def spend(self, wanted: int, pace: int, now: datetime) -> tuple[UpstreamRecord, int]:
        """The record after some of the sweep's requests were granted, and how many: of `pace` a minute, 0: no limit."""
        if not pace:
            return self, wanted
        fresh = self._this_minute(now)
        granted = max(0, min(wanted, max(1, pace - _hint_share(pace)) - fresh.spent))
        return msgspec.structs.replace(fresh, spent=fresh.spent + granted), granted

    def spend_hint(self, pace: int, now: datetime) -> tuple[UpstreamRecord, bool]:
        """The record after one request on account of an event, and whether it was granted."""
        fresh = self._this_minute(now)
        if fresh.hinted >= _hint_share(pace):
            return fresh, False
        return msgspec.structs.replace(fresh, hinted=fresh.hinted + 1), True

    def _this_minute(self, now: datetime) -> UpstreamRecord:
        if self.minute is not None and (now - self.minute).total_seconds() < _MINUTE:
            return self
        return msgspec.structs.replace(self, minute=now, spent=0, hinted=0)

    def failed(self, problem: str, delay_seconds: float, now: datetime) -> UpstreamRecord:
        """After a failure. What the registry itself asks for counts where it is longer than our own pause."""
        own = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**self.failures)
        until = now + timedelta(seconds=max(own, delay_seconds))
        return msgspec.structs.replace(self, failures=self.failures + 1, problem=problem, paused_until=until)

    def answered(self, now: datetime) -> UpstreamRecord:
        """After it has answered again."""
        return msgspec.structs.replace(self, failures=0, problem="", paused_until=None, answered_at=now)


def _hint_share(pace: int) -> int:
    """How many of a minute's requests are for hints."""
    return max(1, pace // 4)
