"""The sweep: runs every due job from its cursor on, until the time is up."""

import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from shared.domain.errors import BasegateError, Busy, Conflict
from shared.domain.event import Hint
from shared.domain.sweep import SAVED_EVERY, SWEEPS, SweepRecord
from shared.ports import Services, Stored, get_or_create, read
from shared.reconcile.begin import Effect
from shared.sweep.job import Executor, JobRun, SweepJob, in_threads
from shared.sweep.jobs import jobs_of
from shared.sweep.jobs.stable_tags import StableTagsJob

log = logging.getLogger(__name__)

_NEVER = datetime.min.replace(tzinfo=UTC)
_HINT_TIME_LIMIT = timedelta(seconds=20)
_HINT_SPACING = timedelta(seconds=30)

_Saved = Stored[SweepRecord] | None
"""The row of a job as it was read, None if it was not."""


class JobState(StrEnum):
    """How far a job came in this sweep."""

    DONE = "done"
    CONTINUES = "continues with the next sweep"
    WAITS = "waits"
    TAKEN = "another worker runs it"
    NOT_DUE = "not due yet"
    FAILED = "failed"


class JobResult(msgspec.Struct, frozen=True):
    """The result of one job; `checked` counts the tags, apps or records that were compared."""

    job: str
    state: JobState
    problem: str = ""
    checked: int = 0
    effects: tuple[Effect, ...] = ()


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """The results of all jobs, in the order of the rules."""

    jobs: tuple[JobResult, ...]

    @property
    def effects(self) -> tuple[Effect, ...]:
        """All effects (in a dry run: those that a run would have)."""
        return tuple(effect for job in self.jobs for effect in job.effects)

    @property
    def unfinished(self) -> tuple[JobResult, ...]:
        """The due jobs that did not complete their round."""
        return tuple(job for job in self.jobs if job.state not in (JobState.DONE, JobState.NOT_DUE))


class Sweep:
    """Runs sweeps. Concurrent ones share the jobs: a job is run by the holder of its lease, and leases expire.

    The lease is written with the progress, so a job that takes some seconds writes its row once. Should two workers
    begin such a job in the same seconds, the second one's row is refused: what both have begun exists only once.
    """

    def __init__(
        self,
        services: Services,
        executor: Executor = in_threads,
        jobs: Callable[[Services], Iterable[SweepJob]] = jobs_of,
    ) -> None:
        self._services, self._executor, self._jobs, self._holder = services, executor, jobs, secrets.token_hex(8)

    def run(self, until: datetime, *, dry_run: bool = False, at_once: bool = False) -> SweepResult:
        """Run every due job (with `at_once`: every job); no batch begins after `until`.

        A job that fails, or must wait, keeps its cursor and blocks no other. The jobs of a concurrency key share the
        time, so that one with thousands of tags leaves some to the others; the one that completed longest ago runs
        first, and gets at least one batch. A dry run starts each job from the beginning, writes nothing and repairs
        nothing.

        Raises:
            Retry: the ledger is unavailable.
        """
        jobs, by_key = list(self._jobs(self._services)), dict[str, list[SweepJob]]()
        known = {stored.record.job: stored for stored in self._services.ledger.list(SweepRecord, SWEEPS)}
        for job in sorted(jobs, key=lambda job: _finished_at(known.get(job.name))):
            by_key.setdefault(job.concurrency_key, []).append(job)

        def in_turn(sharing: list[SweepJob]) -> list[JobResult]:
            done = list[JobResult]()
            for place, job in enumerate(sharing):
                now = self._services.clock.now()
                if place and now >= until:
                    done.append(JobResult(job.name, JobState.CONTINUES))
                else:
                    share = now + (until - now) / (len(sharing) - place)
                    done.append(self.run_job(job, share, known.get(job.name), dry_run=dry_run, at_once=at_once))
            return done

        results = {result.job: result for done in self._executor(in_turn, list(by_key.values())) for result in done}
        return SweepResult(jobs=tuple(results[job.name] for job in jobs))

    def run_job(
        self, job: SweepJob, until: datetime, known: _Saved = None, *, dry_run: bool = False, at_once: bool = False
    ) -> JobResult:
        """Run a job if it is due (with `at_once`: anyway), and stop after the batch in which `until` passes.

        `known` is its row, if that was read already. Errors are in the result, and stop no other job.
        """
        try:
            if dry_run:
                run = JobRun(SweepRecord(job=job.name), dry_run=True, executor=self._executor)
                return self._batches(job, run, None, until)
            stored = known or get_or_create(self._services.ledger, SweepRecord(job=job.name))
            now = self._services.clock.now()
            if stored.record.is_leased_by_another(self._holder, now):
                return JobResult(job.name, JobState.TAKEN)
            if not at_once and not stored.record.is_due(now, job.interval_seconds):
                return JobResult(job.name, JobState.NOT_DUE)
            record = stored.record.leased(self._holder, now)
            if at_once:  # as many may ask for that at the same moment as there are workers
                stored = self._services.ledger.save(stored, record)
            return self._batches(job, JobRun(record, executor=self._executor), stored, until)
        except Conflict:
            return JobResult(job.name, JobState.TAKEN)
        except Exception as error:  # noqa: BLE001  its row could not be read or written: see _problem
            return JobResult(job.name, JobState.FAILED, _problem(job, error))

    def check_stable_tags(self, hint: Hint) -> tuple[()]:
        """Check the stable tags of a gate now: something was deleted from its target repository.

        A round that has just begun sees that too; many hints cause at most one round in half a minute.
        """
        gate, now = self._services.gate(hint.subject), self._services.clock.now()
        if gate is None:
            return ()
        job = StableTagsJob(self._services, gate)
        began_at = read(self._services.ledger, SweepRecord(job=job.name)).began_at
        if began_at is None or now - began_at >= _HINT_SPACING:
            self.run_job(job, now + _HINT_TIME_LIMIT, at_once=True)
        return ()

    def _batches(self, job: SweepJob, run: JobRun, stored: _Saved, until: datetime) -> JobResult:
        """Run batch after batch; the cursor is saved every few seconds, which takes or renews the lease."""
        state, problem = JobState.DONE, ""
        saved_at = self._services.clock.now()
        try:
            for after in job.batches(run):
                now = self._services.clock.now()
                run.record = run.record.advanced(after, now)
                if now >= until:
                    state = JobState.CONTINUES
                    break
                if stored and now - saved_at >= SAVED_EVERY:
                    stored, saved_at = self._services.ledger.save(stored, run.record), now
        except Conflict:
            raise
        except Busy as busy:
            state, problem = JobState.WAITS, str(busy)
        except Exception as error:  # noqa: BLE001  a bug in one job is that job's: see _problem
            state, problem = JobState.FAILED, _problem(job, error)
        if stored is not None:
            is_done, now = state is JobState.DONE, self._services.clock.now()
            self._services.ledger.save(stored, run.record.finished(now) if is_done else run.record.released(problem))
        return JobResult(job.name, state, problem, run.record.checked, tuple(run.effects))


def _finished_at(known: _Saved) -> datetime:
    return known.record.finished_at or _NEVER if known else _NEVER


def _problem(job: SweepJob, error: Exception) -> str:
    """The text of an error for the job's row. Of a bug, only the log has details."""
    if isinstance(error, BasegateError):
        log.warning("sweep job %s failed, the next sweep tries again: %s", job.name, error)
        return str(error)
    log.error("sweep job %s failed on an unexpected error", job.name, exc_info=error)
    return f"unexpected {type(error).__name__}: the log has its place"
