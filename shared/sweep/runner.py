"""Runs one sweep job from where it was left: its lease, its batches, and the state that it is left in."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime

from shared.domain.errors import BasegateError, Busy, Conflict
from shared.domain.sweeping import SweepRecord
from shared.ports import Stored
from shared.ports.services import Services
from shared.sweep.job import Executor, JobRun, SweepJob
from shared.sweep.reports import JobReport, JobState

log = logging.getLogger(__name__)


class JobRunner:
    """Runs jobs, one at a call. What goes wrong in one is in its report and stops no other."""

    def __init__(self, services: Services, executor: Executor) -> None:
        self._services, self._executor = services, executor
        self._holder = secrets.token_hex(8)

    def run(self, job: SweepJob, until: datetime, *, dry_run: bool = False, at_once: bool = False) -> JobReport:
        """Run a job if it is due (with `at_once`: anyway), and stop after the batch in which `until` passes."""
        try:
            if dry_run:
                run = JobRun(SweepRecord(job=job.name), dry_run=True, executor=self._executor)
                return self._batches(job, run, None, until)
            return self._take(job, until, at_once=at_once)
        except Conflict:
            return JobReport(job=job.name, state=JobState.TAKEN)
        except Exception as error:  # noqa: BLE001  its row could not be read or written: see _problem
            return JobReport(job=job.name, state=JobState.FAILED, problem=_problem(job, error))

    def _take(self, job: SweepJob, until: datetime, *, at_once: bool) -> JobReport:
        stored, now = self._load(job), self._services.clock.now()
        if stored.record.held_by_another(self._holder, now):
            return JobReport(job=job.name, state=JobState.TAKEN)
        if not at_once and not stored.record.is_due(now, job.interval_seconds):
            return JobReport(job=job.name, state=JobState.NOT_DUE)
        stored = self._services.ledger.save(stored, stored.record.taken(self._holder, now))
        return self._batches(job, JobRun(stored.record, executor=self._executor), stored, until)

    def _batches(self, job: SweepJob, run: JobRun, stored: Stored[SweepRecord] | None, until: datetime) -> JobReport:
        """Run batch after batch; each saves how far it came, and renews the lease."""
        state, problem = JobState.DONE, ""
        try:
            for after in job.batches(run):
                run.record = run.record.advanced(after, self._services.clock.now())
                if self._services.clock.now() >= until:
                    state = JobState.GOES_ON
                    break
                stored = self._services.ledger.save(stored, run.record) if stored else None
        except Conflict:
            raise
        except Busy as busy:
            state, problem = JobState.WAITS, str(busy)
        except Exception as error:  # noqa: BLE001  a bug in one job is that job's: see _problem
            state, problem = JobState.FAILED, _problem(job, error)
        if stored is not None:
            self._services.ledger.save(stored, self._left(run.record, state, problem))
        return JobReport(
            job=job.name, state=state, checked=run.record.checked, problem=problem, effects=tuple(run.effects)
        )

    def _left(self, record: SweepRecord, state: JobState, problem: str) -> SweepRecord:
        if state is JobState.DONE:
            return record.finished(self._services.clock.now())
        return record.released(problem)

    def _load(self, job: SweepJob) -> Stored[SweepRecord]:
        ledger, record = self._services.ledger, SweepRecord(job=job.name)
        return ledger.load(SweepRecord, record.partition, record.row) or ledger.insert(record) or self._load(job)


def _problem(job: SweepJob, error: Exception) -> str:
    """What went wrong, for the job's row. Of a bug only the log says more."""
    if isinstance(error, BasegateError):
        log.warning("sweep job %s failed, the next sweep tries again: %s", job.name, error)
        return str(error)
    log.error("sweep job %s failed on an unexpected error", job.name, exc_info=error)
    return f"unexpected {type(error).__name__}: the log has its place"
