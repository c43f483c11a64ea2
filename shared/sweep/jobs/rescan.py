"""The rescan job: scans the promoted images of a gate again, and judges their newest reports under the rules of now.

It starts one scan at a time for a gate, reads it in a later sweep, and moves or blocks nothing. While nothing changes,
it takes one query for each kind of record, however many tags there are, and reads no report.
"""

import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec
from msgspec.structs import replace

from shared.checks.kind import CheckResult
from shared.checks.scan import ScanCheck, ScanCheckKind
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, CheckRecord, Evidence, Verdict, attempts_of, new_attempt
from shared.domain.decide import RUNS_IN_A_ROW, START_LIMIT_SECONDS
from shared.domain.errors import BasegateError, Conflict, Retry
from shared.domain.image import Digest, parse_repository, short
from shared.domain.policy import ExceptionRule, Gate, fingerprint_of, seconds
from shared.domain.promotion import PromotionState
from shared.domain.record import seconds_between
from shared.domain.rescan import Rescan, rescan_row
from shared.domain.rollout import AppRecord
from shared.domain.stable_tag import StableTag, TagScan
from shared.findings.exceptions import is_active, is_in_scope
from shared.findings.judge import Outcome
from shared.findings.model import aware
from shared.ports import Services, Stored, last, newest_promotions, read, removal
from shared.sweep.job import JobRun, SweepJob, in_batches

log = logging.getLogger(__name__)

_BATCH_TAGS = 20
_OFFERED = 20
"""How many promotions are read to find the candidate that mends an image at risk."""

_WAITING = (PromotionState.WAITING, PromotionState.PROMOTING, PromotionState.HELD)

Rescans = dict[str, Stored[Rescan]]
"""The rescans of a gate by their rows."""


class RescanJob(SweepJob):
    """Scans the promoted images of one gate again, and says which of them are at risk.

    A scan without a `rescan` only has its findings counted: those of the report that led to the promotion.
    """

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"rescan.{gate.name}", f"tasks {gate.name}", f"gates/{gate.name}")
        self._gate, self._kind = gate, ScanCheckKind(services)
        self._rules = tuple(rule for rule in gate.checks if isinstance(rule, ScanCheck))
        self._target = services.registry_rule(gate.promote.registry)

    def batches(self, run: JobRun) -> Iterator[str]:
        """The scans first, then the judgement of tags from the cursor on, which is the last one that was judged."""
        ledger, name = self._services.ledger, self._gate.name
        known: Rescans = {stored.record.row: stored for stored in ledger.list(Rescan, name)}
        if not self._rules and not known:
            yield ""
            return
        stables = list(ledger.list(StableTag, name))
        if not run.record.after:
            self._scan(run, known, [stored.record for stored in stables if stored.record.digest])
            yield ""
        exceptions = self._kind.exceptions_at(name) if self._rules else []
        behind = (stored for stored in stables if stored.record.tag > run.record.after)
        for batch in in_batches(behind, _BATCH_TAGS):
            alarms = [alarm for stored in batch for alarm in self._judge(run, stored, known, exceptions)]
            self._settle(run, {(AlarmKind.AT_RISK, stored.record.tag) for stored in batch}, alarms)
            yield batch[-1].record.tag

    # Scans.

    def _scan(self, run: JobRun, known: Rescans, stables: Sequence[StableTag]) -> None:
        """Forget what is not promoted any more, read the scan in progress, and start the one that is due first."""
        wanted = {
            rescan_row(stable.digest or "", rule.run_fingerprint): (stable, rule)
            for rule in self._rules
            if rule.rescan
            for stable in stables
        }
        for row in [row for row in known if row not in wanted]:
            self._forget(run, known.pop(row))
        for row, (stable, rule) in wanted.items():
            if row not in known:
                known[row] = self._new(run, stable, rule)
            elif known[row].record.is_running and not run.dry_run:
                known[row] = self._continue(known[row], rule)
        if not any(stored.record.is_running for stored in known.values()):
            self._start_first(run, known, {row: rule for row, (_, rule) in wanted.items()})
        self._settle(run, (AlarmKind.NOT_RESCANNED,), self._not_rescanned(known))

    def _new(self, run: JobRun, stable: StableTag, rule: ScanCheck) -> Stored[Rescan]:
        """The rescans of an image that was promoted since the last sweep, with the report of its candidate."""
        assert stable.digest is not None
        ledger, blank = self._services.ledger, CheckRecord(kind=rule.kind, run_fingerprint=rule.run_fingerprint)
        record = Rescan(
            gate=stable.gate, digest=stable.digest, tag=stable.tag, fingerprint=rule.run_fingerprint, run=blank
        )
        if (check := self._examined(stable, rule)) is not None and check.evidence.report_blob:
            evidence = Evidence(report_blob=check.evidence.report_blob, scan=check.evidence.scan)
            record = replace(record, last=replace(check, evidence=evidence), baseline=evidence.report_blob)
        if run.dry_run:
            return Stored(record, "")
        stored = ledger.insert(record) or ledger.load(Rescan, record.partition, record.row)
        if stored is None:
            raise Conflict(f"{record.row}: another worker has removed it")
        return stored

    def _examined(self, stable: StableTag, rule: ScanCheck) -> CheckRecord | None:
        """The check of the candidate that a stable tag is based on, under a rule that runs the same."""
        stored = self._services.ledger.load(Candidate, stable.gate, stable.candidate)
        checks = stored.record.checks if stored else ()
        return next((check for check in checks if check.run_fingerprint == rule.run_fingerprint), None)

    def _forget(self, run: JobRun, stored: Stored[Rescan]) -> None:
        """Remove the rescans of an image that no stable tag points to any more, and what they stored."""
        record = stored.record
        run.note("forget the rescans", f"of {short(record.digest)}")
        if run.dry_run:
            return
        if record.is_running and record.run.run_id:
            with suppress(BasegateError):  # it only examines, and runs to its end
                self._kind.cancel(record.run)
        self._services.ledger.commit(removal(stored))
        self._remove(record.owned)

    def _continue(self, stored: Stored[Rescan], rule: ScanCheck) -> Stored[Rescan]:
        """Read a scan that was started, or find it if its worker died; what cannot be read now is read later."""
        record, image = stored.record, self._image(stored.record)
        try:
            changed = self._read(record, image, rule) if record.run.run_id else self._adopt(record, image, rule)
        except BasegateError as error:
            changed = replace(record, failures=record.failures + 1, run=replace(record.run, reason=str(error)))
        if changed == record:
            return stored
        saved = self._services.ledger.save(stored, changed)
        self._remove(place for place in record.owned if place not in changed.owned)
        return saved

    def _read(self, record: Rescan, image: Candidate, rule: ScanCheck) -> Rescan:
        result = self._kind.poll(image, record.run, rule)
        if result is None:
            return record
        now = self._services.clock.now()
        if result.verdict is Verdict.UNKNOWN or not result.evidence.report_blob:
            self._remove(result.evidence.blobs)
            log.warning("rescan of %s at gate %s without a verdict: %s", record.digest, record.gate, result.reason)
            return record.failed(result.reason, now)
        return record.reported(_finished(record.run, result, now))

    def _adopt(self, record: Rescan, image: Candidate, rule: ScanCheck) -> Rescan:
        assert record.run.claimed_at is not None  # only what was claimed is continued
        found, now = self._kind.adopt(image, rule, record.mark, record.run.claimed_at), self._services.clock.now()
        if found is not None:
            return replace(record, run=replace(record.run, registry=found.registry, run_id=found.run_id))
        if seconds_between(record.run.claimed_at, now) < START_LIMIT_SECONDS:
            return record
        return record.failed(record.run.reason or "no run was started", now)

    def _start_first(self, run: JobRun, known: Rescans, rules: dict[str, ScanCheck]) -> None:
        """Start the scan that has been due for longest, if one is due."""
        now = self._services.clock.now()
        databases = [built_at for stored in known.values() if (built_at := stored.record.database_built_at)]
        newest = max(databases, default=None)
        due = {row: known[row].record.due_at(seconds(rule.rescan), newest) for row, rule in rules.items()}
        rows = sorted(
            (row for row, at in due.items() if at is None or at <= now), key=lambda row: _order(due[row], row)
        )
        if rows:
            record = known[rows[0]].record
            run.note("scan again", f"{record.tag} of gate {record.gate}, {short(record.digest)}")
            if not run.dry_run:
                known[rows[0]] = self._start(known[rows[0]], rules[rows[0]])

    def _start(self, stored: Stored[Rescan], rule: ScanCheck) -> Stored[Rescan]:
        """Claim a scan, start its run with a mark, so that it is found if this process dies, and record the run."""
        ledger, now = self._services.ledger, self._services.clock.now()
        claimed = replace(stored.record, run=stored.record.run.claimed(now, secrets.token_hex(8)))
        stored = ledger.save(stored, claimed)
        try:
            started = self._kind.start(self._image(claimed), rule, claimed.mark)
        except Retry as fault:  # it may have been started: the next sweep searches for it
            return ledger.save(stored, replace(claimed, run=replace(claimed.run, reason=str(fault))))
        except BasegateError as error:
            return ledger.save(stored, claimed.failed(str(error), now))
        return ledger.save(
            stored, replace(claimed, run=replace(claimed.run, registry=started.registry, run_id=started.run_id))
        )

    def _image(self, record: Rescan) -> Candidate:
        """The promoted image, as what the check examines: the copy in the target repository."""
        attempt = new_attempt(self._gate, self._target, record.digest, record.tag, self._services.clock.now())
        return replace(attempt, repository=parse_repository(self._gate.promote.repository))

    def _not_rescanned(self, known: Rescans) -> Iterator[Alarm]:
        """One alarm for each task that gave no report of an image several times in a row."""
        for rule in self._rules:
            records = (stored.record for stored in known.values())
            failing = [one for one in records if one.fingerprint == rule.run_fingerprint]
            failing = [one for one in failing if one.failures >= RUNS_IN_A_ROW]
            if failing:
                named = ", ".join(sorted(f"{one.tag} ({short(one.digest)})" for one in failing)[:3])
                more = f" and {len(failing) - 3} more" if len(failing) > 3 else ""
                words = f"gate {self._gate.name} cannot scan {named}{more} again: {failing[0].run.reason}"
                plan = "each is scanned again once a day; what is known of it is that of its last report"
                yield self._alarm(AlarmKind.NOT_RESCANNED, rule.task, words, plan)

    def _remove(self, places: Iterable[str]) -> None:
        with suppress(BasegateError):
            for place in places:
                self._services.archive.remove(place)

    # The judgement.

    def _judge(
        self, run: JobRun, stored: Stored[StableTag], known: Rescans, exceptions: Sequence[ExceptionRule]
    ) -> Iterator[Alarm]:
        """Save what the newest reports say of a stable tag if that has changed; yields its alarm if it is at risk."""
        stable = stored.record
        scan = self._scanned(stable, known, exceptions)
        if scan != stable.scan and stable.claim is None and not run.dry_run:  # a mover's claim is not disturbed
            with suppress(Conflict):  # another worker changed it: the next sweep says it
                self._services.ledger.save(stored, replace(stable, scan=scan))
        if scan is not None and scan.at_risk:
            yield self._at_risk(stable, scan)

    def _scanned(self, stable: StableTag, known: Rescans, exceptions: Sequence[ExceptionRule]) -> TagScan | None:
        """What is known of the digest of a stable tag, by all scans of the gate; the last judgement if it holds."""
        now = self._services.clock.now()
        active = [one for one in exceptions if is_in_scope(one, stable.gate) and is_active(one, now)]
        rows = [known.get(rescan_row(stable.digest or "", rule.run_fingerprint)) for rule in self._rules]
        records = [stored.record if stored else None for stored in rows]
        basis = self._basis(stable, records, active, now)
        if (current := stable.current_scan) is not None and current.basis == basis:
            return current
        if stable.digest is None:
            return None
        found = [self._by_rule(stable, rule, record) for rule, record in zip(self._rules, records, strict=True)]
        return _merged(stable.digest, [one for one in found if one is not None], basis)

    def _basis(
        self, stable: StableTag, records: Sequence[Rescan | None], active: Sequence[ExceptionRule], now: datetime
    ) -> str:
        """Identifies what the judgement depends on: the day only where the age of a fix counts."""
        is_aging = any(condition.age_of_fix for rule in self._rules for condition in rule.fail_on)
        reports = [(one.report, one.baseline) if one else None for one in records]
        day = now.date() if is_aging else None
        return fingerprint_of(
            msgspec.to_builtins((self._rules, stable.digest, stable.candidate, reports, list(active), day))
        )

    def _by_rule(self, stable: StableTag, rule: ScanCheck, record: Rescan | None) -> TagScan | None:
        """What one scan of the gate says of a stable tag; None if there is no report."""
        check = record.last if record else self._examined(stable, rule)
        summary = check.evidence.scan if check else None
        if stable.digest is None or check is None or summary is None:
            return None
        built_at = aware(summary.database_built_at) if summary.database_built_at else None
        scan = TagScan(
            digest=stable.digest, scanned_at=check.finished_at, database_built_at=built_at, counts=summary.counts
        )
        if record is None:
            return scan
        image = replace(self._image(record), tag=stable.tag)
        review = self._kind.review_promoted(image, record.report, record.baseline, rule)
        if review is None:
            return scan
        judgement = review.judgement
        is_failed = judgement.verdict is Verdict.FAILED
        others = len(judgement.licences) + len(judgement.secrets)
        return replace(
            scan,
            failing=len(judgement.with_outcome(Outcome.FAILS)) + others,
            new=review.new,
            at_risk=is_failed,
            reason=judgement.reason if is_failed else "",
        )

    def _at_risk(self, stable: StableTag, scan: TagScan) -> Alarm:
        apps = ", ".join(self._apps_on(stable.digest))
        new = f"; {scan.new} of them new since it was promoted" if scan.new else ""
        name = f"{stable.tag} of gate {stable.gate} ({stable.unique or short(scan.digest)})"
        words = f"{name} is at risk: {scan.reason}{new}{f'; {apps} on it' if apps else ''}"
        return self._alarm(AlarmKind.AT_RISK, stable.tag, words, self._plan(stable))

    def _apps_on(self, digest: Digest | None) -> Iterator[str]:
        """The apps whose live image is built on a digest."""
        for app in self._services.policy.apps.values():
            live = read(self._services.ledger, AppRecord(app=app.name)).live
            if app.base.gate == self._gate.name and live and live.base and live.base.digest == digest:
                yield app.name

    def _plan(self, stable: StableTag) -> str:
        """What mends it: a newer image of the tag whose scans pass, and that waits for something else."""
        listed = newest_promotions(self._services.ledger, stable.gate, stable.tag, _OFFERED)
        for promotion in (stored.record for stored in listed):
            if promotion.sequence <= stable.sequence:
                break
            if promotion.state in _WAITING and promotion.digest != stable.digest:
                found = last(self._services.ledger, Candidate, stable.gate, attempts_of(promotion.digest))
                if found is not None and self._mends(found.record):
                    state = promotion.state_name if promotion.state is PromotionState.HELD else found.record.state_name
                    return f"candidate {found.record.id} mends it: its scan passes, and it is {state}"
        return "no candidate that mends it waits; nothing is blocked, and the tag stays"

    def _mends(self, candidate: Candidate) -> bool:
        """Whether every scan of a candidate passes under the rules of now."""
        judged = [
            self._kind.judge_again(candidate, check, rule)
            for rule in self._rules
            for check in candidate.checks
            if check.run_fingerprint == rule.run_fingerprint
        ]
        return bool(judged) and all(one is not None and one.verdict is Verdict.PASSED for one in judged)


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


def _merged(digest: Digest, scans: Sequence[TagScan], basis: str) -> TagScan:
    """What several scans say of one image: of each severity the highest number, and the oldest of their times."""
    severities = dict.fromkeys(severity for scan in scans for severity in scan.counts)
    built_at = [scan.database_built_at for scan in scans if scan.database_built_at is not None]
    return TagScan(
        digest=digest,
        scanned_at=min((scan.scanned_at for scan in scans if scan.scanned_at is not None), default=None),
        database_built_at=min(built_at, default=None),
        counts={severity: max(scan.counts.get(severity, 0) for scan in scans) for severity in severities},
        failing=sum(scan.failing for scan in scans),
        new=sum(scan.new for scan in scans),
        at_risk=any(scan.at_risk for scan in scans),
        reason="; ".join(scan.reason for scan in scans if scan.reason),
        basis=basis,
    )
