"""One sweep: every job that is due, each from where it was left, until the time is up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from shared.domain.hint import Hint
from shared.domain.sweeping import SWEEPS, SweepRecord
from shared.ports.services import Services
from shared.reconcile.engine import controllers
from shared.sweep.job import Executor, SweepJob, in_threads
from shared.sweep.jobs.app import AppJob
from shared.sweep.jobs.orphans import OrphansJob
from shared.sweep.jobs.overdue import OverdueJob, StallAlarmsJob
from shared.sweep.jobs.released import ReleasedJob
from shared.sweep.jobs.silence import GateSilenceJob, RegistrySilenceJob
from shared.sweep.jobs.stable_tags import StableTagsJob
from shared.sweep.jobs.upstream import UpstreamJob
from shared.sweep.reports import JobReport, JobState, SweepReport
from shared.sweep.runner import JobRunner

_NEVER = datetime.min.replace(tzinfo=UTC)
_HINT_TIME_LIMIT = timedelta(seconds=20)
_HINT_SPACING = timedelta(seconds=30)


class Sweep:
    """Runs sweeps. Two at once share the jobs: each is run by whoever holds its lease, and a dead one's lease ends."""

    def __init__(self, services: Services, executor: Executor = in_threads) -> None:
        self._services, self._executor = services, executor
        self._runner = JobRunner(services, executor)

    def run(self, until: datetime, *, dry_run: bool = False, at_once: bool = False) -> SweepReport:
        """Run every job that is due (with `at_once`: every one), and begin no batch when `until` has passed.

        A job that fails, or must wait, keeps its place and stops nothing else. The jobs of a concurrency key share the
        time, so that one with thousands of tags leaves some to the others; the one that came to its end longest ago
        begins, and goes a batch further however little time there is. A dry run begins each job anew, writes nothing
        and repairs nothing.

        Raises:
            Retry: the ledger is away.
        """
        jobs, by_key, ended = list(self._jobs()), dict[str, list[SweepJob]](), self._ended()
        for job in sorted(jobs, key=lambda job: ended.get(job.name) or _NEVER):
            by_key.setdefault(job.concurrency_key, []).append(job)

        def run(same_key: list[SweepJob]) -> list[JobReport]:
            return list(self._one_by_one(same_key, until, dry_run=dry_run, at_once=at_once))

        reports = {report.job: report for done in self._executor(run, list(by_key.values())) for report in done}
        return SweepReport(dry_run=dry_run, jobs=tuple(reports[job.name] for job in jobs))

    def check_stable_tags(self, hint: Hint) -> tuple[()]:
        """Check the stable tags of a gate now: something was deleted from its target repository.

        A round that has just begun sees that too; a flood of hints costs one round in half a minute.
        """
        gate, now = self._services.gate(hint.subject), self._services.clock.now()
        if gate is None:
            return ()
        job = StableTagsJob(self._services, gate)
        stored = self._services.ledger.load(SweepRecord, SWEEPS, job.name)
        began_at = stored.record.began_at if stored else None
        if began_at is None or now - began_at >= _HINT_SPACING:
            self._runner.run(job, now + _HINT_TIME_LIMIT, at_once=True)
        return ()

    def _one_by_one(
        self, jobs: list[SweepJob], until: datetime, *, dry_run: bool, at_once: bool
    ) -> Iterator[JobReport]:
        for place, job in enumerate(jobs):
            left = until - self._services.clock.now()
            if place and left <= timedelta():
                yield JobReport(job=job.name, state=JobState.GOES_ON)
            else:
                share = self._services.clock.now() + left / (len(jobs) - place)
                yield self._runner.run(job, share, dry_run=dry_run, at_once=at_once)

    def _ended(self) -> dict[str, datetime | None]:
        """When each job came to the end of a round last."""
        return {s.record.job: s.record.finished_at for s in self._services.ledger.list(SweepRecord, SWEEPS)}

    def _jobs(self) -> Iterator[SweepJob]:
        services, policy, known = self._services, self._services.policy, controllers(self._services)
        for gate in policy.gates.values():
            yield UpstreamJob(services, gate)
            yield StableTagsJob(services, gate)
            yield OverdueJob(services, "gate", gate.name, known)
            yield OrphansJob(services, gate)
            yield ReleasedJob(services, gate)
            yield GateSilenceJob(services, gate)
        for app in policy.apps.values():
            yield AppJob(services, app)
            yield OverdueJob(services, "app", app.name, known)
        for registry in policy.registries.values():
            yield RegistrySilenceJob(services, registry)
        yield StallAlarmsJob(services)
