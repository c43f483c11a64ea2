"""The record of a sweep job: the progress of its round, and which worker runs it."""

from datetime import datetime, timedelta
from typing import Self

from msgspec.structs import replace

from shared.domain.record import Row

LEASE_SECONDS = 120.0
"""The length of a lease. A batch that takes longer loses it."""

SAVED_EVERY = timedelta(seconds=10)
"""How often progress is saved. After a crash the batches since then are compared again, which is harmless."""

_EARLY_SECONDS = 30.0
"""How early a round may begin: the timer is not exact, and its next tick may be a whole period later."""

SWEEPS = "sweep"
"""The ledger partition of all jobs."""


class SweepRecord(Row, frozen=True, kw_only=True):
    """One sweep job, e.g. `upstream.node`.

    Round `round` began at `began_at`; `after` is its cursor, in the job's own format. The last complete round was
    `last_round`, from `last_began_at` to `finished_at`. `holder` has the lease, until `held_until`. `checked` counts
    what this round has compared. `recovery_seconds` is the longest time that it took to find a change of an upstream
    tag that no event reported. The last list of tags had `left_out` invalid names, e.g. `left_out_name`.
    """

    one_partition, key_fields = SWEEPS, ("job", "job")

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
    left_out: int = 0
    left_out_name: str = ""

    @property
    def under_way(self) -> bool:
        """Whether a round has begun and not ended, whichever worker began it."""
        return self.round != self.last_round

    def is_leased_by_another(self, holder: str, now: datetime) -> bool:
        """Whether another worker has the lease."""
        return self.holder not in ("", holder) and self.held_until is not None and self.held_until > now

    def is_due(self, now: datetime, every_seconds: float) -> bool:
        """Whether a round is to be continued or begun."""
        if self.under_way or self.began_at is None:
            return True
        early = min(_EARLY_SECONDS, every_seconds / 4)
        return (now - self.began_at).total_seconds() >= every_seconds - early

    def leased(self, holder: str, now: datetime) -> Self:
        """The record with a lease for a worker: it continues the unfinished round, or begins a new one."""
        lease = {"holder": holder, "held_until": now + timedelta(seconds=LEASE_SECONDS)}
        new = {} if self.under_way else {"round": self.round + 1, "began_at": now, "after": "", "checked": 0}
        return replace(self, **lease, **new)

    def advanced(self, after: str, now: datetime) -> Self:
        """The record after another batch; this renews the lease."""
        return replace(self, after=after, held_until=now + timedelta(seconds=LEASE_SECONDS))

    def released(self, problem: str = "") -> Self:
        """The record without the lease, the round unfinished: the next worker continues from `after`."""
        return replace(self, holder="", held_until=None, problem=problem)

    def finished(self, now: datetime) -> Self:
        """The record at the end of its round."""
        done = replace(self, last_round=self.round, last_began_at=self.began_at, finished_at=now, after="")
        return done.released()
