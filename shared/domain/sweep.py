"""The record of a sweep job: how far its round has come, and which worker runs it."""

from datetime import datetime, timedelta
from typing import Self

import msgspec

LEASE_SECONDS = 120.0
"""How long a sweep may be silent before it counts as dead. A batch that takes longer loses its lease."""

_SAVED_EVERY = timedelta(seconds=10)
"""A sweep that dies compares again what it compared since it was last saved, which changes nothing."""

_EARLY_SECONDS = 30.0
"""How much too early a round may begin: the timer does not tick evenly, and the next tick may be a whole period off."""

SWEEPS = "sweep"
"""The ledger partition of all jobs."""


class SweepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep job, e.g. `upstream.node`.

    The round of number `round` began at `began_at` and has come as far as `after`, in the job's own terms; the last
    whole one was `last_round`, from `last_began_at` to `finished_at`. `holder` runs it, until `held_until` at most.
    `checked` counts what this round has compared. Of the changes of upstream tags that no event brought, the slowest
    was found within `recovery_seconds`. The last list of tags had `left_out` names that are no tags, `left_out_name`
    for one.
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
    left_out: int = 0
    left_out_name: str = ""

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

    def is_leased_by_another(self, holder: str, now: datetime) -> bool:
        """Whether somebody else runs it right now."""
        return self.holder not in ("", holder) and self.held_until is not None and self.held_until > now

    def is_due(self, now: datetime, every_seconds: float) -> bool:
        """Whether a round is to go on or to begin."""
        if self.under_way or self.began_at is None:
            return True
        early = min(_EARLY_SECONDS, every_seconds / 4)
        return (now - self.began_at).total_seconds() >= every_seconds - early

    def leased(self, holder: str, now: datetime) -> Self:
        """Taken by a holder: the round that was left goes on, else a new one begins."""
        lease = {"holder": holder, "held_until": now + timedelta(seconds=LEASE_SECONDS)}
        new = {} if self.under_way else {"round": self.round + 1, "began_at": now, "after": "", "checked": 0}
        return msgspec.structs.replace(self, **lease, **new)

    def advanced(self, after: str, now: datetime) -> Self:
        """A batch further."""
        return msgspec.structs.replace(self, after=after, held_until=now + timedelta(seconds=LEASE_SECONDS))

    def needs_saving(self, saved: Self) -> bool:
        """Whether a run has gone on for so long since it was last saved that it is to be saved again."""
        return self.held_until is None or saved.held_until is None or self.held_until - saved.held_until >= _SAVED_EVERY

    def released(self, problem: str = "") -> Self:
        """Let go with the round unfinished; whoever comes next goes on from `after`."""
        return msgspec.structs.replace(self, holder="", held_until=None, problem=problem)

    def finished(self, now: datetime) -> Self:
        """At the end of its round."""
        ended = msgspec.structs.replace(
            self, last_round=self.round, last_began_at=self.began_at, finished_at=now, after=""
        )
        return ended.released()
