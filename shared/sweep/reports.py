"""The results of a sweep."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from shared.operations.plan import Effect


class JobState(StrEnum):
    """How far a job came in this sweep."""

    DONE = "done"
    GOES_ON = "goes on with the next sweep"
    WAITS = "waits"
    TAKEN = "another worker runs it"
    NOT_DUE = "not due yet"
    FAILED = "failed"


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one job; `checked` counts the tags, apps or records that were compared."""

    job: str
    state: JobState
    checked: int = 0
    problem: str = ""
    effects: tuple[Effect, ...] = ()


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """The results of all jobs, in the order of the rules."""

    dry_run: bool
    jobs: tuple[JobReport, ...]

    @property
    def effects(self) -> tuple[Effect, ...]:
        """All that was found or done (in a dry run: would be)."""
        return tuple(effect for job in self.jobs for effect in job.effects)

    @property
    def unfinished(self) -> tuple[JobReport, ...]:
        """The jobs that were due and did not come to the end of their round."""
        return tuple(job for job in self.jobs if job.state not in (JobState.DONE, JobState.NOT_DUE))
