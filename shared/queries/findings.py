"""The findings of a candidate's scan, judged under the rules of today; the same as SARIF, for other tools."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from shared.checks import check_kinds
from shared.checks.scan import Review, ScanCheck, ScanCheckKind
from shared.domain.candidate import Candidate, CandidateState, CheckRecord, Verdict
from shared.domain.errors import NotFound
from shared.domain.exception import ExceptionGrant
from shared.domain.record import ApiModel
from shared.domain.rescan import Rescan, rescan_row
from shared.findings.exceptions import is_about
from shared.findings.judge import JudgedFinding, Judgement, keys_of
from shared.findings.model import Finding, Severity
from shared.findings.rules import ScanRules
from shared.findings.sarif import sarif_of
from shared.ports import Services
from shared.queries.lookup import Lookup

FINDINGS_LIMIT = 1000
"""How many findings are returned: those that fail come first, then new ones, then the most severe."""

_RULE_GONE = "the gate does not scan like this any more: the verdict is the recorded one, and what failed is not marked"


class FindingItem(ApiModel, frozen=True, kw_only=True):
    """A finding. `outcome` is `fails`, or why it does not: `exception`, `vex`, `unfixed`, `not new`, or "" if it
    matches no condition of the rules.

    `is_new` says whether the promoted image lacks it; None: there is no report of that to compare with. `exceptions`
    are the ids of those about it that operators asked for, and that have not ended.
    """

    vulnerability: str
    aliases: tuple[str, ...]
    severity: Severity
    package: str
    version: str
    fixed_in: tuple[str, ...]
    path: str
    outcome: str
    condition: str
    covered_by: str
    exceptions: tuple[str, ...]
    is_new: bool | None
    known_exploited: bool | None
    cvss: float | None
    epss: float | None
    title: str
    url: str


class VexItem(ApiModel, frozen=True, kw_only=True):
    """A VEX document by which a scan was judged: its hash, who signed it, and when (null if no log says so)."""

    sha256: str
    signer: str
    signed_at: datetime | None


class Findings(ApiModel, frozen=True, kw_only=True):
    """What a scan found in a candidate, and the verdict on it under the rules and exceptions of today.

    Of several scans it is the first one that fails, else the first one; of a promoted image that was scanned again it
    is the newest, and new is what was not found when it was promoted. `total` is the number of findings, of which at
    most 1000 are in `items`; `scannedAgainAt` is null if it was not.
    """

    candidate: str
    image: str
    scanner: str
    database_built_at: datetime | None
    platform: str
    scanned_again_at: datetime | None
    verdict: Verdict
    reason: str
    counts: dict[Severity, int]
    warnings: tuple[str, ...]
    vex: tuple[VexItem, ...]
    total: int
    items: tuple[FindingItem, ...]


class ScanFindings:
    """Reads the stored reports. Raises `NotFound` for an unknown candidate, and for one without a report."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)

    def of_candidate(self, identifier: str) -> Findings:
        """The findings of a candidate."""
        candidate = self._lookup.candidate(identifier).record
        found = self.of_record(candidate)
        if found is None:
            raise NotFound(f"{candidate.id} has no report of a scan")
        return found

    def sarif(self, identifier: str) -> dict[str, Any]:
        """The findings of a candidate as SARIF 2.1.0; those that do not fail are suppressed."""
        candidate = self._lookup.candidate(identifier).record
        if (review := self._review(candidate)) is None:
            raise NotFound(f"{candidate.id} has no report of a scan")
        return sarif_of(review.report, review.judgement)

    def of_record(self, candidate: Candidate, limit: int = FINDINGS_LIMIT) -> Findings | None:
        """The findings of a candidate; None if it has no report."""
        review = self._review(candidate)
        if review is None:
            return None
        report, judgement = review.report, review.judgement
        grants = [stored.record for stored in self._services.ledger.list(ExceptionGrant, candidate.gate)]
        now = self._services.clock.now()
        listed = sorted(_items(review, [one for one in grants if one.counted_until > now]), key=_order)
        return Findings(
            candidate=candidate.id,
            image=str(candidate.image),
            scanner=f"{report.scanner.name} {report.scanner.version}".strip(),
            database_built_at=report.scanner.database_built_at,
            platform=review.scanned.platform,
            scanned_again_at=review.scanned_again_at,
            verdict=judgement.verdict,
            reason=judgement.reason,
            counts=judgement.counts,
            warnings=judgement.warnings,
            vex=tuple(VexItem(sha256=one.sha256, signer=one.by, signed_at=one.at) for one in review.vex),
            total=len(listed),
            items=tuple(listed[:limit]),
        )

    def _review(self, candidate: Candidate) -> Review | None:
        """The review of the first scan that fails, else of the first one with a report."""
        first = None
        for review in self._reviews(candidate):
            if review.judgement.verdict is Verdict.FAILED:
                return review
            first = first or review
        return first

    def _reviews(self, candidate: Candidate) -> Iterator[Review]:
        kind = check_kinds(self._services)[ScanCheckKind.rule.kind]
        assert isinstance(kind, ScanCheckKind)
        scans = [(check, self._rule_of(candidate, check)) for check in candidate.checks]
        newest = [self._newest(candidate, check) if rule else (check, "") for check, rule in scans]
        image = replace(candidate, checks=tuple(last for last, _ in newest))
        for (check, rule), (last, baseline) in zip(scans, newest, strict=True):
            if rule and last is not check and (review := kind.review_promoted(image, last, baseline, rule)):
                yield review._replace(scanned_again_at=last.finished_at)
                continue
            review = kind.review(candidate, check, rule or ScanRules())
            if review is not None:
                yield review if rule else review._replace(judgement=_recorded(check, review.judgement))

    def _newest(self, candidate: Candidate, check: CheckRecord) -> tuple[CheckRecord, str]:
        """The check, or the newest rescan of an attempt that passed, and the report that this is compared with."""
        if candidate.state is not CandidateState.PASSED or not check.evidence.report_blob:
            return check, ""
        row = rescan_row(candidate.digest, check.run_fingerprint)
        stored = self._services.ledger.load(Rescan, candidate.gate, row)
        last = stored.record.last if stored else None
        return (last, stored.record.baseline) if stored and last and _is_newer(last, check) else (check, "")

    def _rule_of(self, candidate: Candidate, check: CheckRecord) -> ScanRules | None:
        """The rule of today for what a check ran; None if the gate does not scan like that any more."""
        gate = self._services.gate(candidate.gate)
        scans = [rule for rule in gate.checks if isinstance(rule, ScanCheck)] if gate else []
        same = [rule for rule in scans if rule.run_fingerprint == check.run_fingerprint]
        own = (rule for rule in same if rule.fingerprint == check.fingerprint)  # several may judge the same run
        return next(own, next(iter(same), None))


def _is_newer(last: CheckRecord, check: CheckRecord) -> bool:
    """Whether a scan has ended after that of an attempt: before the first rescan, the last one is the attempt's."""
    return bool(last.finished_at and check.finished_at and last.finished_at > check.finished_at)


def _recorded(check: CheckRecord, judgement: Judgement) -> Judgement:
    """The judgement of a report without a rule, with the verdict that its check was given."""
    verdict, warnings = check.verdict or Verdict.UNKNOWN, (_RULE_GONE, *judgement.warnings)
    return replace(judgement, verdict=verdict, reason=check.reason or "there is no verdict", warnings=warnings)


def _items(review: Review, grants: list[ExceptionGrant]) -> Iterator[FindingItem]:
    judged = {id(one.finding): one for one in review.judgement.findings}
    asked: dict[str, list[ExceptionGrant]] = {}
    for grant in grants:
        asked.setdefault(grant.exception.vulnerability.upper(), []).append(grant)
    for finding in review.report.findings:
        same = (grant for name in finding.ids for grant in asked.get(name, ())) if asked else ()
        about = tuple(sorted(grant.id for grant in same if is_about(grant.rule, finding)))
        yield _item(finding, judged.get(id(finding)), review.baseline, about)


def _item(
    finding: Finding, judged: JudgedFinding | None, baseline: frozenset[str] | None, exceptions: tuple[str, ...]
) -> FindingItem:
    package = finding.package
    return FindingItem(
        vulnerability=finding.vulnerability,
        aliases=finding.aliases,
        severity=finding.severity,
        package=package.name,
        version=package.version,
        fixed_in=finding.fixed_in,
        path=package.path,
        outcome=judged.outcome.value if judged else "",
        condition=judged.condition if judged else "",
        covered_by=judged.covered_by if judged else "",
        exceptions=exceptions,
        is_new=None if baseline is None else baseline.isdisjoint(keys_of([finding])),
        known_exploited=finding.known_exploited,
        cvss=finding.cvss,
        epss=finding.epss,
        title=finding.title,
        url=finding.url,
    )


def _order(item: FindingItem) -> tuple[bool, bool, int, str, str]:
    rank = list(Severity).index(item.severity)
    return item.outcome != "fails", item.is_new is False, -rank, item.vulnerability, item.package
