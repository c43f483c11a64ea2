"""Which promoted images are at risk: their newest reports, judged under the rules and exceptions of now."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from shared.checks.scan import ScanCheck, ScanCheckKind
from shared.domain.candidate import Candidate, CheckRecord, Verdict, attempts_of, new_attempt
from shared.domain.errors import BasegateError
from shared.domain.image import Digest, Tag, parse_repository, short
from shared.domain.policy import ExceptionRule, Gate, fingerprint_of
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import seconds_between
from shared.domain.rescan import Rescan, rescan_row
from shared.domain.rollout import AppRecord
from shared.domain.stable_tag import StableTag, TagScan
from shared.findings.exceptions import is_active, is_in_scope
from shared.findings.judge import Outcome
from shared.findings.model import Severity, aware
from shared.ports import Services, Stored, last, newest_promotions, read

log = logging.getLogger(__name__)

_OFFERED = 20
"""How many promotions are read to find the candidate that repairs an image at risk."""

_WAITING = (PromotionState.WAITING, PromotionState.PROMOTING, PromotionState.HELD)

Rescans = dict[str, Stored[Rescan]]
"""The rescans of a gate by their rows."""


class PromotedImages:
    """The promoted images of one gate, and what its scans say of them."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate, self._kind = services, gate, ScanCheckKind(services)
        self._target = services.registry_rule(gate.promote.registry)
        self.rules = tuple(rule for rule in gate.checks if isinstance(rule, ScanCheck))

    def image(self, digest: Digest, tag: Tag) -> Candidate:
        """A promoted image as what a check examines: the copy in the target repository."""
        attempt = new_attempt(self._gate, self._target, digest, tag, self._services.clock.now())
        return replace(attempt, repository=parse_repository(self._gate.promote.repository))

    def examined(self, stable: StableTag, rule: ScanCheck) -> CheckRecord | None:
        """The check of the candidate that a stable tag is based on, or else of the last one, under a rule that runs the
        same.
        """
        ledger, digest = self._services.ledger, stable.digest or ""
        if stable.candidate:
            stored = ledger.load(Candidate, stable.gate, stable.candidate)
        else:
            stored = last(ledger, Candidate, stable.gate, attempts_of(digest))
        checks = stored.record.checks if stored else ()
        return next((check for check in checks if check.run_fingerprint == rule.run_fingerprint), None)

    def below_apps(self, stables: Sequence[StableTag]) -> Iterator[tuple[str, StableTag]]:
        """The apps of the gate that run on an image that no stable tag points to (any more), and that image as if it
        were that of their tag.
        """
        name, promoted = self._gate.name, {stable.digest for stable in stables}
        target = self._target.login_server, self._gate.promote.repository
        for app, record in self._apps():
            base, tag = record.live.base if record.live else None, record.base_tag.partition(":")[2]
            if base is not None and base.digest not in promoted and (base.login_server, base.repository) == target:
                yield app, StableTag(gate=name, tag=Tag(tag), digest=base.digest)

    def apps_on(self, digest: Digest | None) -> list[str]:
        """The apps of the gate that run on a digest."""
        return [app for app, one in self._apps() if one.live and one.live.base and one.live.base.digest == digest]

    def _apps(self) -> Iterator[tuple[str, AppRecord]]:
        for app in self._services.policy.apps.values():
            if app.base.gate == self._gate.name:
                yield app.name, read(self._services.ledger, AppRecord(app=app.name))

    # The judgement.

    def exceptions(self) -> list[ExceptionRule]:
        """The exceptions that may cover a finding at the gate."""
        return self._kind.exceptions_at(self._gate.name) if self.rules else []

    def rescans_of(self, stable: StableTag, known: Mapping[str, Stored[Rescan]]) -> list[Stored[Rescan] | None]:
        """The rescans of a stable tag's digest by each scan of the gate; None for one that does not scan again."""
        rows = ((rescan_row(stable.digest or "", rule.run_fingerprint), rule.rescan) for rule in self.rules)
        return [known.get(row) if again else None for row, again in rows]

    def judged(
        self, stable: StableTag, known: Mapping[str, Stored[Rescan]], exceptions: Sequence[ExceptionRule]
    ) -> TagScan | None:
        """What all scans of the gate say of the digest of a stable tag; the last judgement if it still holds."""
        if stable.digest is None or not self.rules:
            return None
        now = self._services.clock.now()
        active = [one for one in exceptions if is_in_scope(one, stable.gate) and is_active(one, now)]
        records = [stored.record if stored else None for stored in self.rescans_of(stable, known)]
        basis = self._basis(stable, records, active, now)
        if (current := stable.current_scan) is not None and current.basis == basis:
            return current
        by_rule = zip(self.rules, records, strict=True)
        found = [self._by_rule(stable, rule, record, exceptions) for rule, record in by_rule]
        return _merged(stable.digest, [one for one in found if one is not None], basis)

    def _basis(
        self, stable: StableTag, records: Sequence[Rescan | None], active: Sequence[ExceptionRule], now: datetime
    ) -> str:
        """Identifies what the judgement depends on: the day only where the age of a fix counts."""
        is_aging = any(condition.age_of_fix for rule in self.rules for condition in rule.fail_on)
        reports = [(one.report, one.baseline) if one else None for one in records]
        day = now.date() if is_aging else None
        return fingerprint_of(msgspec.to_builtins((self.rules, stable.digest, stable.candidate, reports, active, day)))

    def _by_rule(
        self, stable: StableTag, rule: ScanCheck, record: Rescan | None, exceptions: Sequence[ExceptionRule]
    ) -> TagScan | None:
        """What one scan of the gate says of a stable tag; None if there is no report.

        Without a rescan the findings are only counted.
        """
        check = record.last if record else self.examined(stable, rule)
        summary = check.evidence.scan if check else None
        if stable.digest is None or check is None or summary is None:
            return None
        built_at = aware(summary.database_built_at) if summary.database_built_at else None
        scan = TagScan(
            digest=stable.digest, scanned_at=check.finished_at, database_built_at=built_at, counts=summary.counts
        )
        if record is None:
            return scan
        image = self.image(stable.digest, stable.tag)
        review = self._kind.review_promoted(image, check, record.baseline, rule, exceptions)
        if review is None:
            return scan
        judgement = review.judgement
        is_failed = judgement.verdict is Verdict.FAILED
        failing = len(judgement.with_outcome(Outcome.FAILS)) + len(judgement.licences) + len(judgement.secrets)
        reason = judgement.reason if is_failed else ""
        return replace(scan, failing=failing, new=review.new, at_risk=is_failed, reason=reason)

    # What people and programs are told.

    def what_repairs(
        self, stable: StableTag, scan: TagScan, exceptions: Sequence[ExceptionRule]
    ) -> tuple[str, TagScan]:
        """The plan of an alarm: a newer image of the tag whose scans pass, and that waits for something else. With what
        is to be remembered of the candidates that wait: their reports are read once for each basis.
        """
        repairs = dict[str, bool]()
        for promotion, candidate in self._waiting(stable):
            if (passes := self._passes(candidate, scan, exceptions)) is not None:
                repairs[candidate.row] = passes
            if passes:
                state = promotion.state_name if promotion.state is PromotionState.HELD else candidate.state_name
                plan = f"candidate {candidate.id} repairs it: its scan passes, and it is {state}"
                return plan, replace(scan, repairs=repairs)
        return "no candidate that repairs it waits; nothing is blocked, and the tag stays", replace(
            scan, repairs=repairs
        )

    def _waiting(self, stable: StableTag) -> Iterator[tuple[Promotion, Candidate]]:
        """The promotions that wait to move a stable tag, the newest first, each with its last attempt."""
        listed = newest_promotions(self._services.ledger, stable.gate, stable.tag, _OFFERED)
        for promotion in (stored.record for stored in listed):
            if promotion.sequence <= stable.sequence:
                break
            if promotion.state in _WAITING and promotion.digest != stable.digest:
                found = last(self._services.ledger, Candidate, stable.gate, attempts_of(promotion.digest))
                if found is not None:
                    yield promotion, found.record

    def _passes(self, candidate: Candidate, scan: TagScan, exceptions: Sequence[ExceptionRule]) -> bool | None:
        """Whether every scan of a candidate passes under the rules of now; None if that is not known yet, as while the
        source of its VEX documents is away: the image at risk is told all the same.
        """
        if candidate.row in scan.repairs:
            return scan.repairs[candidate.row]
        scans = [
            (check, rule)
            for rule in self.rules
            for check in candidate.checks
            if check.run_fingerprint == rule.run_fingerprint
        ]
        try:
            judged = [
                self._kind.judge_again(candidate, check, rule, exceptions) if check.verdict is not None else None
                for check, rule in scans
            ]
        except BasegateError as error:
            log.warning("whether candidate %s repairs an image at risk is not known: %s", candidate.id, error)
            return None
        verdicts = [one.verdict for one in judged if one is not None]
        if Verdict.FAILED in verdicts:
            return False
        return set(verdicts) == {Verdict.PASSED} if judged and len(verdicts) == len(judged) else None

    def measure(self, stable: StableTag, scan: TagScan) -> None:
        """Report the findings of a stable tag, the age of its newest report, and whether it is at risk."""
        meter, about = self._services.meter, {"gate": stable.gate, "tag": stable.tag}
        if meter is None or scan.scanned_at is None:
            return
        for severity in Severity:  # those with none, too: a number that is not reported stays in a dashboard
            meter.gauge("basegate.findings", scan.counts.get(severity.value, 0), about | {"severity": severity.value})
        meter.gauge("basegate.scan.age", seconds_between(scan.scanned_at, self._services.clock.now()), about)
        meter.gauge("basegate.at_risk", int(scan.at_risk), about)


def scans_again(gate: Gate) -> bool:
    """Whether the rules of a gate have a scan that is repeated: its job settles the alarms about images at risk."""
    return any(isinstance(rule, ScanCheck) and rule.rescan for rule in gate.checks)


def in_words(scan: TagScan) -> str:
    """Why an image is at risk: `is at risk: 1 of 4 findings fails: …; 1 of them new since it was promoted`."""
    new = f"; {scan.new} of them new since it was promoted" if scan.new else ""
    return f"is at risk: {scan.reason}{new}"


def name_of(stable: StableTag) -> str:
    """A promoted image in a sentence: `15-alpine of gate node (15-alpine-ca4)`."""
    return f"{stable.tag} of gate {stable.gate} ({stable.unique or short(stable.digest or '')})"


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
