"""The rescan job: scans the promoted images of a gate again, and judges their newest reports under the rules of now.

It starts one scan at a time for a gate, reads it in a later sweep, and moves or blocks nothing. While nothing changes,
it takes one query for each kind of record, however many tags there are, those of the plan of each alarm, and reads no
report.
"""

import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from msgspec.structs import replace

from shared.checks.kind import CheckResult
from shared.checks.scan import ScanCheck, ScanCheckKind
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, CheckRecord, Evidence, Verdict
from shared.domain.decide import RUNS_IN_A_ROW, START_LIMIT_SECONDS
from shared.domain.errors import BasegateError, Conflict, Retry
from shared.domain.image import short
from shared.domain.policy import ExceptionRule, Gate, seconds
from shared.domain.record import seconds_between
from shared.domain.rescan import Rescan, rescan_row
from shared.domain.stable_tag import StableTag
from shared.findings.judge import database_problem
from shared.ports import Services, Stored, removal
from shared.sweep.job import JobRun, SweepJob, in_batches
from shared.sweep.jobs.at_risk import PromotedImages, Rescans, in_words, name_of, scans_again

log = logging.getLogger(__name__)

_BATCH_TAGS = 20

Wanted = dict[str, tuple[StableTag, ScanCheck]]
"""What is to be scanned again, by the row of its rescans: an image as that of its stable tag, and the rule."""


class RescanJob(SweepJob):
    """Scans the promoted images of one gate again, and says which of them are at risk.

    A scan without a `rescan` only has its findings counted: those of the report that led to the promotion.
    """

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"rescan.{gate.name}", f"tasks {gate.name}", f"gates/{gate.name}")
        self._gate, self._kind, self._images = gate, ScanCheckKind(services), PromotedImages(services, gate)
        self._rules = self._images.rules

    def batches(self, run: JobRun) -> Iterator[str]:
        """The scans first, then the judgement of tags from the cursor on, which is the last one that was judged.

        What is not scanned again any more is forgotten last: until its alarms have ended, its rows say that it was.
        """
        ledger, name = self._services.ledger, self._gate.name
        known: Rescans = {stored.record.row: stored for stored in ledger.list(Rescan, name)}
        stables = list(ledger.list(StableTag, name))
        if not self._rules and not known and all(one.record.scan is None for one in stables):
            yield ""
            return
        is_on = bool(known) or scans_again(self._gate)
        below = dict(self._images.below_apps([stored.record for stored in stables])) if is_on else {}
        wanted = self._wanted([*(stored.record for stored in stables), *below.values()])
        if is_on and not run.record.after:
            self._scan(run, known, wanted)
            yield ""
        exceptions = self._images.exceptions()
        for batch in in_batches([one for one in stables if one.record.tag > run.record.after], _BATCH_TAGS):
            alarms = [alarm for stored in batch for alarm in self._judge(run, stored, known, exceptions)]
            if is_on:
                self._settle(run, {(AlarmKind.AT_RISK, stored.record.tag) for stored in batch}, alarms)
            yield batch[-1].record.tag
        if is_on:
            self._judge_apps(run, known, below, exceptions)
        for row in [row for row in known if row not in wanted]:
            self._forget(run, known[row])

    # Scans.

    def _wanted(self, stables: Sequence[StableTag]) -> Wanted:
        """Of several rules for the same run the one with the shortest interval counts."""
        wanted: Wanted = {}
        for rule in sorted((one for one in self._rules if one.rescan), key=lambda one: seconds(one.rescan)):
            for stable in stables:
                if stable.digest:
                    wanted.setdefault(rescan_row(stable.digest, rule.run_fingerprint), (stable, rule))
        return wanted

    def _scan(self, run: JobRun, known: Rescans, wanted: Wanted) -> None:
        """Read the scan in progress, and start the one that is due first."""
        for row, (stable, rule) in wanted.items():
            if row not in known:
                known[row] = self._new(run, stable, rule)
            elif known[row].record.is_running and not run.dry_run:
                known[row] = self._continue(known[row], rule)
        if not any(known[row].record.is_running for row in wanted):
            self._start_first(run, known, wanted)
        scanned = [(stable, known[row].record) for row, (stable, _) in wanted.items()]
        self._settle(run, (AlarmKind.NOT_RESCANNED,), self._not_rescanned(scanned))

    def _new(self, run: JobRun, stable: StableTag, rule: ScanCheck) -> Stored[Rescan]:
        """The rescans of an image that was promoted since the last sweep, with the report of its candidate."""
        assert stable.digest is not None
        ledger, blank = self._services.ledger, CheckRecord(kind=rule.kind, run_fingerprint=rule.run_fingerprint)
        record = Rescan(
            gate=stable.gate, digest=stable.digest, tag=stable.tag, fingerprint=rule.run_fingerprint, run=blank
        )
        if (check := self._images.examined(stable, rule)) is not None and check.evidence.report_blob:
            known = check.evidence
            evidence = Evidence(report_blob=known.report_blob, scan=known.scan, vex=known.vex)
            record = replace(record, last=replace(check, evidence=evidence), baseline=evidence.report_blob)
        if run.dry_run:
            return Stored(record, "")
        stored = ledger.insert(record) or ledger.load(Rescan, record.partition, record.row)
        if stored is None:
            raise Conflict(f"{record.row}: another worker has removed it")
        return stored

    def _forget(self, run: JobRun, stored: Stored[Rescan]) -> None:
        """Remove the rescans of an image that no stable tag points to any more, after what they stored.

        What cannot be removed now stays in its row for the next sweep, and keeps no other image from being scanned.
        """
        record = stored.record
        run.note("forget the rescans", f"of {short(record.digest)}")
        if run.dry_run:
            return
        if record.is_running and record.run.run_id:
            with suppress(BasegateError):  # it only examines, and runs to its end
                self._kind.cancel(record.run)
        try:
            for place in record.owned:
                self._services.archive.remove(place)
        except BasegateError as error:
            log.warning("reports of %s at gate %s not removed yet: %s", record.digest, record.gate, error)
        else:
            self._services.ledger.commit(removal(stored))

    def _continue(self, stored: Stored[Rescan], rule: ScanCheck) -> Stored[Rescan]:
        """Read a scan that was started, or find it if its worker died; what cannot be read now is read later."""
        record, image = stored.record, self._image_of(stored.record)
        try:
            changed = self._read(record, image, rule) if record.run.run_id else self._adopt(record, image, rule)
        except BasegateError as error:
            changed = self._unread(record, image, rule, str(error))
        if changed == record:
            return stored
        saved = self._services.ledger.save(stored, changed)
        self._remove(place for place in record.owned if place not in changed.owned)
        return saved

    def _read(self, record: Rescan, image: Candidate, rule: ScanCheck) -> Rescan:
        result = self._kind.poll(image, record.run, replace(rule, max_database_age=None))
        if result is None:
            return record
        now, evidence = self._services.clock.now(), result.evidence
        if result.verdict is Verdict.UNKNOWN or not result.evidence.report_blob:
            self._remove(evidence.blobs)
            log.warning("rescan of %s at gate %s without a verdict: %s", record.digest, record.gate, result.reason)
            return record.failed(result.reason, now)
        finished = _finished(record.run, result, now)
        if problem := database_problem(evidence.scan.database_built_at if evidence.scan else None, rule, now):
            changed = record.outdated(finished, problem, now)
            self._remove(place for place in evidence.blobs if place not in changed.owned)
            return changed
        return record.reported(finished)

    def _unread(self, record: Rescan, image: Candidate, rule: ScanCheck, reason: str) -> Rescan:
        """A run that cannot be read may have a report, but does not stop the other scans of the gate for ever. If only
        its VEX documents cannot be read, its report counts without them in the end: what they cover then fails.
        """
        assert record.run.claimed_at is not None  # only what was claimed is continued
        now = self._services.clock.now()
        if seconds_between(record.run.claimed_at, now) <= seconds(rule.timeout) + START_LIMIT_SECONDS:
            return replace(record, run=replace(record.run, reason=reason))
        if rule.vex and record.run.run_id:
            with suppress(BasegateError):
                changed = self._read(record, image, replace(rule, vex=None))
                if changed != record:
                    log.warning("rescan of %s at gate %s without VEX: %s", record.digest, record.gate, reason)
                    return changed
        return record.failed(reason, now)

    def _adopt(self, record: Rescan, image: Candidate, rule: ScanCheck) -> Rescan:
        assert record.run.claimed_at is not None  # only what was claimed is continued
        found, now = self._kind.adopt(image, rule, record.mark, record.run.claimed_at), self._services.clock.now()
        if found is not None:
            return replace(record, run=replace(record.run, registry=found.registry, run_id=found.run_id))
        if seconds_between(record.run.claimed_at, now) < START_LIMIT_SECONDS:
            return record
        return record.failed(record.run.reason or "no run was started", now)

    def _start_first(self, run: JobRun, known: Rescans, wanted: Wanted) -> None:
        """Start the scan that has been due for longest, if one is due."""
        now = self._services.clock.now()
        databases = [built_at for stored in known.values() if (built_at := stored.record.database_built_at)]
        newest = max(databases, default=None)
        due = {row: known[row].record.due_at(seconds(rule.rescan), newest) for row, (_, rule) in wanted.items()}
        rows = sorted(
            (row for row, at in due.items() if at is None or at <= now), key=lambda row: _order(due[row], row)
        )
        if rows:
            row, (stable, rule) = rows[0], wanted[rows[0]]
            run.note("scan again", f"{stable.tag} of gate {stable.gate}, {short(stable.digest or '')}")
            if not run.dry_run:
                known[row] = self._start(known[row], stable, rule)

    def _start(self, stored: Stored[Rescan], stable: StableTag, rule: ScanCheck) -> Stored[Rescan]:
        """Claim a scan, start its run with a mark, so that it is found if this process dies, and record the run. The
        run gets the tag that points to the image now.
        """
        ledger, now = self._services.ledger, self._services.clock.now()
        claimed = replace(stored.record, tag=stable.tag, run=stored.record.run.claimed(now, secrets.token_hex(8)))
        stored = ledger.save(stored, claimed)
        try:
            started = self._kind.start(self._image_of(claimed), rule, claimed.mark)
        except Retry as fault:  # it may have been started: the next sweep searches for it
            return ledger.save(stored, replace(claimed, run=replace(claimed.run, reason=str(fault))))
        except BasegateError as error:
            return ledger.save(stored, claimed.failed(str(error), now))
        return ledger.save(
            stored, replace(claimed, run=replace(claimed.run, registry=started.registry, run_id=started.run_id))
        )

    def _image_of(self, record: Rescan) -> Candidate:
        return self._images.image(record.digest, record.tag)

    def _not_rescanned(self, scanned: Iterable[tuple[StableTag, Rescan]]) -> Iterator[Alarm]:
        """One alarm for each task that gave no report of an image several times in a row."""
        lasting = [(stable, record) for stable, record in scanned if record.failures >= RUNS_IN_A_ROW]
        for task in dict.fromkeys(rule.task for rule in self._rules):
            same = {rule.run_fingerprint for rule in self._rules if rule.task == task}
            failing = [(stable, record) for stable, record in lasting if record.fingerprint in same]
            if failing:
                named = ", ".join(sorted(f"{stable.tag} ({short(record.digest)})" for stable, record in failing)[:3])
                more = f" and {len(failing) - 3} more" if len(failing) > 3 else ""
                words = f"gate {self._gate.name} cannot scan {named}{more} again: {failing[0][1].run.reason}"
                plan = "each is scanned again once a day; what is known of it is that of its last report"
                yield self._alarm(AlarmKind.NOT_RESCANNED, task, words, plan)

    def _remove(self, places: Iterable[str]) -> None:
        with suppress(BasegateError):
            for place in places:
                self._services.archive.remove(place)

    # The judgement.

    def _judge(
        self, run: JobRun, stored: Stored[StableTag], known: Rescans, exceptions: Sequence[ExceptionRule]
    ) -> Iterator[Alarm]:
        """Save what the newest reports say of a stable tag if that has changed; yields its alarm if it is at risk."""
        stable, moves = stored.record, stored.record.is_moving(self._services.clock.now())
        scan, plan = self._images.judged(stable, known, exceptions), ""
        if scan is not None and scan.at_risk:
            plan, scan = self._images.what_repairs(stable, scan, exceptions)
        if scan != stable.scan and not moves and not run.dry_run:  # a write would undo the move
            with suppress(Conflict):  # another worker changed it: the next sweep writes it
                self._services.ledger.save(stored, replace(stable, scan=scan))
        if scan is not None and not run.dry_run:
            self._images.measure(stable, scan)
        if scan is not None and scan.at_risk:
            apps = ", ".join(self._images.apps_on(stable.digest))
            words = f"{name_of(stable)} {in_words(scan)}{f'; {apps} on it' if apps else ''}"
            yield self._alarm(AlarmKind.AT_RISK, stable.tag, words, plan)

    def _judge_apps(
        self, run: JobRun, known: Rescans, below: Mapping[str, StableTag], exceptions: Sequence[ExceptionRule]
    ) -> None:
        """The alarms of apps that run on an image at risk that no stable tag points to."""
        for app in self._services.policy.apps.values():
            if app.base.gate == self._gate.name:
                stable = below.get(app.name)
                found = self._of_app(run, app.name, stable, known, exceptions) if stable else []
                for alarm in self._alarms.settle(f"apps/{app.name}", {AlarmKind.AT_RISK}, found, dry_run=run.dry_run):
                    run.note("alarm", alarm.words, logged=True)

    def _of_app(
        self, run: JobRun, app: str, stable: StableTag, known: Rescans, exceptions: Sequence[ExceptionRule]
    ) -> list[Alarm]:
        stored = next(filter(None, self._images.rescans_of(stable, known)), None)
        if stored is None:
            return []
        scan = self._images.judged(replace(stable, scan=stored.record.scan), known, exceptions)
        if scan != stored.record.scan and not run.dry_run:
            known[stored.record.row] = self._services.ledger.save(stored, replace(stored.record, scan=scan))
        if scan is None or not scan.at_risk:
            return []
        words = f"{app} runs on {name_of(stable)}, which {in_words(scan)}"
        plan = "its stable tag is at another image: rebuild it on that one"
        alarm = self._alarm(AlarmKind.AT_RISK, app, words, plan)
        return [replace(alarm, scope=f"apps/{app}")]


def _finished(run: CheckRecord, result: CheckResult, now: datetime) -> CheckRecord:
    return replace(
        run,
        verdict=result.verdict,
        reason=result.reason,
        evidence=result.evidence,
        started_at=result.started_at,
        finished_at=result.finished_at or now,
    )


def _order(due_at: datetime | None, row: str) -> tuple[float, str]:
    return due_at.timestamp() if due_at else 0.0, row
