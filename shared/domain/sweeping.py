"""How far a sweep job has come: its cursor, the lease of whoever runs it, and its counts."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

LEASE_SECONDS = 120.0
"""How long a sweep may be silent before it counts as dead. It renews its lease with every batch."""

_EARLY_SECONDS = 30.0
"""How much too early a round may begin: the timer does not tick evenly, and the next tick may be a whole period off."""

SWEEPS = "sweep"
"""The ledger partition of all jobs."""


class SweepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep job, e.g. `upstream.node`.

    The round of number `round` began at `began_at` and has come as far as `after`, in the job's own terms; the last
    whole one was `last_round`, from `last_began_at` to `finished_at`. `holder` runs it, until `held_until` at most.
    `checked` counts what this round has compared. Of the changes of upstream tags that no event brought, the slowest
    was found within `recovery_seconds`.
    """

    job: str
    round: int = 0
    last_round: int = 0
    began_at: datetime | None = None
    last_began_at: datetime | None = None
    after: str = ""
    finished_at: datetime | None = None
    holder: str = ""
    held_until: datetime | None = None
    problem: str = ""
    checked: int = 0
    recovery_seconds: float = 0.0

    @property
    def partition(self) -> str:
        """The ledger partition: the sweep."""
        return SWEEPS

    @property
    def row(self) -> str:
        """The ledger row: the job."""
        return self.job

    @property
    def under_way(self) -> bool:
        """Whether a round was begun and has not come to its end, by whoever."""
        return self.round != self.last_round

    def held_by_another(self, holder: str, now: datetime) -> bool:
        """Whether somebody else runs it right now."""
        return self.holder not in ("", holder) and self.held_until is not None and self.held_until > now

    def is_due(self, now: datetime, every_seconds: float) -> bool:
        """Whether a round is to go on or to begin."""
        if self.under_way or self.began_at is None:
            return True
        early = min(_EARLY_SECONDS, every_seconds / 4)
        return (now - self.began_at).total_seconds() >= every_seconds - early

    def taken(self, holder: str, now: datetime) -> SweepRecord:
        """Taken by a holder: the round that was left goes on, else a new one begins."""
        lease = {"holder": holder, "held_until": now + timedelta(seconds=LEASE_SECONDS)}
        if self.under_way:
            return msgspec.structs.replace(self, **lease)
        return msgspec.structs.replace(self, round=self.round + 1, began_at=now, after="", checked=0, **lease)

    def advanced(self, after: str, now: datetime) -> SweepRecord:
        """A batch further."""
        return msgspec.structs.replace(self, after=after, held_until=now + timedelta(seconds=LEASE_SECONDS))

    def released(self, problem: str = "") -> SweepRecord:
        """Let go with the round unfinished; whoever comes next goes on from `after`."""
        return msgspec.structs.replace(self, holder="", held_until=None, problem=problem)

    def finished(self, now: datetime) -> SweepRecord:
        """At the end of its round."""
        return msgspec.structs.replace(
            self,
            last_round=self.round,
            last_began_at=self.began_at,
            finished_at=now,
            after="",
            holder="",
            held_until=None,
            problem="",
        )
