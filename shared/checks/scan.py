"""The scan check: an ACR Task runs a scanner on the image and prints its report, which is judged by the rules.

The scanner's own exit code is no verdict: the gate judges the findings. Without a whole report about this very digest
there is no verdict, whatever the reason: `unknown`, and the scan is run again.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import asdict, replace

from shared.attestation.statement import (
    DOCUMENT_TYPES,
    CheckFacts,
    Scanner,
    UsedDocument,
    UsedException,
    evidence_of,
)
from shared.attestation.statement import Evidence as StatedEvidence
from shared.checks.approval import TWO_PERSONS_NEED_NAMES
from shared.checks.kind import CheckResult
from shared.checks.signature import require_signers, signers_id
from shared.checks.task import RunsTask, TaskRunKind, telling_line
from shared.checks.vex import NO_VEX, VexDocument, VexDocuments, VexReading, VexRule
from shared.domain.candidate import Candidate, CheckRecord, Evidence, ScanSummary, Verdict, VexSummary
from shared.domain.errors import Gone, Malformed, NotFound, Rejected
from shared.domain.exception import ExceptionGrant, StoredException
from shared.domain.image import ImageRef, short
from shared.domain.policy import Duration, ExceptionRule, Name, Policy, TaskName, Values, fingerprint_of
from shared.domain.stable_tag import StableTag
from shared.findings.documents import documents
from shared.findings.exceptions import is_active, is_in_scope
from shared.findings.formats import FORMATS
from shared.findings.frame import FrameReader, without_frames
from shared.findings.judge import CLOCK_SKEW, Judgement, Outcome, judge, keys_of
from shared.findings.model import BrokenReport, Report, aware
from shared.findings.platforms import Scanned, platforms_of, scanned_of, warning
from shared.findings.read import read_report
from shared.findings.rules import ScanRules
from shared.findings.vex import Statement
from shared.ports import Artifact, Ledger, Run, RunStatus, Services
from shared.signatures.trust import form_problems

MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024
"""How large a manifest may be: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests"""

StepName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,63}$", description="the id of a step of the task")]
FormatName = Annotated[
    str, Meta(pattern=f"^({'|'.join(FORMATS)})?$", description=f"a format of reports: {', '.join(FORMATS)}")
]


class ScanCheck(ScanRules, RunsTask, frozen=True, kw_only=True):
    """An ACR Task that scans the candidate; it gets the values IMAGE (by digest), TAG and REPORT_NONCE.

    Its step `step` prints the scanner's report between the lines that docs/scanning.md describes.
    """

    kind = "scan"
    judging = frozenset((*ScanRules.__struct_fields__, "format", "two_persons", "vex"))
    besides = frozenset(("rescan",))

    registry: Name
    task: TaskName
    timeout: Duration = "30m"
    values: Values = msgspec.field(default_factory=dict)
    step: StepName = "scan"
    format: FormatName = ""
    two_persons: Annotated[
        bool, Meta(description="true or false: whether exceptions are granted by another person than asked for them")
    ] = False
    rescan: Annotated[
        Duration | None,
        Meta(description="how old the newest report of a promoted image may be before it is scanned again"),
    ] = None
    vex: VexRule | None = None

    def problems(self, policy: Policy, *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """Those of its task, and of the rules by which it judges."""
        yield from super().problems(policy, signs_in=signs_in)
        yield from self.rule_problems()
        if self.vex is not None:
            yield from ((f"vex.{key}", problem) for key, problem in form_problems(self.vex.trust))
        if self.two_persons and not signs_in:
            yield "two_persons", TWO_PERSONS_NEED_NAMES


_MEDIA_TYPES = {"sarif": "application/sarif+json", "cyclonedx": "application/vnd.cyclonedx+json"}
"""Of the documents that are attached to an image: https://www.iana.org/assignments/media-types/media-types.xhtml."""

_FILE_NAMES = {"sarif": "scan.sarif.json", "cyclonedx": "scan.cdx.json"}

_EXCEPTIONS = 20
"""How many of the exceptions that a verdict depends on are recorded; the others are counted."""


class Review(NamedTuple):
    """A report, its judgement, and the keys of the findings of the promoted image (None: there are none to compare).

    `basis` identifies what the judgement depends on beside the report and the time. `scanned` says which of the image's
    platforms it is about, and `vex` are the documents that count. `scanned_again_at` is when a promoted image was
    scanned again, None for the report of the candidate; `judged_at` is when it was judged.
    """

    report: Report
    judgement: Judgement
    baseline: frozenset[str] | None
    basis: str
    scanned: Scanned
    vex: tuple[VexDocument, ...] = ()
    scanned_again_at: datetime | None = None
    judged_at: datetime | None = None

    @property
    def new(self) -> int:
        """How many of the findings that fail the baseline does not have; 0 without one."""
        failing = (one.finding for one in self.judgement.with_outcome(Outcome.FAILS))
        known = self.baseline
        return 0 if known is None else sum(known.isdisjoint(keys_of([finding])) for finding in failing)

    def result(self, evidence: Evidence) -> CheckResult:
        """The result of the check, with its evidence."""
        report, judgement = self.report, self.judgement
        used = dict.fromkeys(StoredException.of(one.exception) for one in judgement.findings if one.exception)
        summary = ScanSummary(
            scanner=report.scanner.name,
            scanner_version=report.scanner.version,
            database_built_at=report.scanner.database_built_at,
            database_version=report.scanner.database_version,
            platform=self.scanned.platform,
            unscanned=self.scanned.others,
            counts={severity.value: count for severity, count in report.by_severity()},
            failing=len(judgement.with_outcome(Outcome.FAILS)),
            covered=len(judgement.with_outcome(Outcome.VEX, Outcome.EXCEPTION)),
            exceptions=tuple(used)[:_EXCEPTIONS],
            more_exceptions=len(tuple(used)[_EXCEPTIONS:]),
            warnings=judgement.warnings[:10],
            basis=self.basis,
            judged_at=self.judged_at,
        )
        return CheckResult(verdict=judgement.verdict, reason=judgement.reason, evidence=replace(evidence, scan=summary))


class _Besides(NamedTuple):
    """What a judgement depends on beside the rules, the report and the time: the exceptions in scope, the attempt that
    the promoted image is based on, if it is compared with another one ("": there is none), and the VEX documents.
    """

    exceptions: Sequence[ExceptionRule]
    promoted: str = ""
    vex: VexReading = NO_VEX


class ScanCheckKind(TaskRunKind[ScanCheck]):
    """Runs the rule's task, reads the report in its log, and judges it.

    The report is stored: when the rules change, or an exception is granted, it is judged again, without another run.
    """

    rule = ScanCheck

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._vex = VexDocuments(services)

    def judge_again(
        self,
        candidate: Candidate,
        check: CheckRecord,
        rule: ScanCheck,
        exceptions: Sequence[ExceptionRule] | None = None,
    ) -> CheckResult | None:
        """Judge the stored report; None if there is none. One with a verdict is read only if its basis has changed.

        `exceptions` are those at the gate, if the caller has listed them. VEX documents that were read anew are stored
        if it has no verdict: for one that has, this only says what would become of it.
        """
        evidence = check.evidence
        if evidence.scan is None and not evidence.report_blob:
            return None
        besides = self._besides(candidate, exceptions, compares=rule.new_only)
        newer = self._vex.renewed(candidate, check, rule.vex) if rule.vex else None
        basis = self._basis(rule, besides, _documents(check, rule) if newer is None else newer.fingerprint)
        if check.verdict is not None and evidence.scan and evidence.scan.basis == basis:
            return CheckResult(verdict=check.verdict, reason=check.reason, evidence=evidence)
        report = self._stored(check)
        if report is None:
            return None
        besides = besides._replace(vex=newer or self._stored_vex(check, rule))
        evidence = replace(evidence, vex=self._vex_summary(candidate, check, rule, newer))
        return self._reviewed(candidate, check, rule, report, _scanned_before(check), besides).result(evidence)

    def review(self, candidate: Candidate, check: CheckRecord, rule: ScanRules) -> Review | None:
        """What the stored report says under these rules, and the exceptions of today; None if there is no report."""
        report = self._stored(check)
        if report is None:
            return None
        besides = self._besides(candidate, compares=True)._replace(vex=self._stored_vex(check, rule))
        return self._reviewed(candidate, check, rule, report, _scanned_before(check), besides)

    def review_promoted(
        self,
        image: Candidate,
        last: CheckRecord,
        baseline: str,
        rule: ScanRules,
        exceptions: Sequence[ExceptionRule] | None = None,
    ) -> Review | None:
        """What the last scan says of a promoted image, compared with the report at a place, with which it was promoted;
        None if its own report is gone.

        The age of the scanner's database is not judged: it was new enough when the report was made. `exceptions` are
        those at the gate, if the caller has listed them.
        """
        found, before = self._stored(last), self._read(baseline)
        if found is None:
            return None
        known = keys_of(before.findings) if before is not None else None
        rules, scanned = replace(rule, max_database_age=None), _scanned_before(last)
        besides = self._besides(image, exceptions)._replace(vex=self._stored_vex(last, rule))
        return _warned(self._judged(rules, found, scanned, besides, known), image, last)

    def exceptions_at(self, gate: str) -> list[ExceptionRule]:
        """The exceptions of the rules, and those that were granted at a gate."""
        return [*self._services.policy.exceptions, *granted_at(self._services.ledger, gate)]

    def readiness(self, rule: ScanCheck) -> Iterator[tuple[str, Callable[[], object]]]:
        """Those of its task, and whether the trust of VEX documents can be read and used."""
        yield from super().readiness(rule)
        if rule.vex is not None:
            trust = rule.vex.trust
            yield (
                f"trusted signers of VEX ({signers_id(trust)})",
                partial(require_signers, self._services, trust, "scan.vex"),
            )

    def documents(self, check: CheckRecord, image: ImageRef) -> dict[str, Artifact]:
        """Its report as SARIF and CycloneDX. Ratify takes its age from the annotation."""
        report, summary = self._stored(check), check.evidence.scan
        if report is None or summary is None:
            return {}
        report = replace(report, subject=replace(report.subject, platform=summary.platform))
        used, at = (ExceptionRule(**asdict(one)) for one in summary.exceptions), check.finished_at
        annotations = {"org.opencontainers.image.created": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"} if at else {}
        return {
            name: Artifact(
                media_type=_MEDIA_TYPES[name],
                content=content,
                annotations=annotations,
                artifact_type=DOCUMENT_TYPES[name],
                file_name=_FILE_NAMES[name],
            )
            for name, content in documents(report, used, image, at, self._used_statements(check)).items()
        }

    def facts(self, check: CheckRecord, image: ImageRef) -> CheckFacts:
        """Its scanner, the exceptions and VEX documents that its verdict depends on, and its report, beside the log."""
        facts, summary = super().facts(check, image), check.evidence.scan
        if summary is None:
            return facts
        places = {"report": check.evidence.report_blob, "vex": check.evidence.vex.place if check.evidence.vex else ""}
        kept = (self._evidence(name, place) for name, place in places.items() if place)
        attached = (evidence_of(name, "", one.content) for name, one in self.documents(check, image).items())
        return replace(
            facts,
            evidence=(*facts.evidence, *kept, *attached),
            vex=tuple(self._used_documents(check)),
            scanner=Scanner(
                name=summary.scanner,
                version=summary.scanner_version,
                database_version=summary.database_version,
                database_built_at=summary.database_built_at,
                platform=summary.platform,
                unscanned=summary.unscanned,
            ),
            exceptions=tuple(UsedException(**asdict(exception)) for exception in summary.exceptions),
            more_exceptions=summary.more_exceptions,
        )

    def _evidence(self, name: str, place: str) -> StatedEvidence:
        try:
            return evidence_of(name, place, self._services.archive.read(place).encode())
        except Rejected:
            return StatedEvidence(name=name, uri=place)

    def _used_documents(self, check: CheckRecord) -> Iterator[UsedDocument]:
        """The VEX documents that are kept of a check; none if the archive has lost them."""
        for one in self._vex.kept(check).documents:
            yield UsedDocument(digest={"sha256": one.sha256}, signer=one.by, signed_at=one.at)

    def _used_statements(self, check: CheckRecord) -> Iterator[Statement]:
        """What the VEX documents that are kept of a check stated when it was judged."""
        at = (check.evidence.scan.judged_at if check.evidence.scan else None) or check.finished_at
        for one in self._vex.kept(check).statements:
            if one.stated_at is None or at is None or aware(one.stated_at) <= at + CLOCK_SKEW:
                yield one

    def _readable(self, log: str) -> str:
        return without_frames(log)

    def _values(self, candidate: Candidate, rule: ScanCheck, mark: str) -> dict[str, str]:
        return {**super()._values(candidate, rule, mark), "REPORT_NONCE": mark.rpartition("/")[2]}

    def _concluded(
        self, candidate: Candidate, check: CheckRecord, rule: ScanCheck, run: Run, evidence: Evidence
    ) -> CheckResult:
        """Read the report of a run that has ended, store it, and judge it."""
        subject = f"run {run.run_id} of task {rule.task}"
        if run.status is not RunStatus.SUCCEEDED:
            reason = f"{subject} wrote no report: {telling_line(evidence)}"
            return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, evidence=evidence)
        registry = self._services.registry_rule(rule.registry)
        log = self._services.tasks.raw_log(registry, run.run_id)
        try:
            frame = FrameReader(check.nonce, rule.step)
            report = _about(read_report(frame.read(log), rule.format), frame.digest, candidate)
        except (BrokenReport, NotFound, Rejected) as error:
            return CheckResult(verdict=Verdict.UNKNOWN, reason=f"{subject}: {error}", evidence=evidence)
        vex = self._vex.read(candidate, rule.vex) if rule.vex else NO_VEX
        besides = self._besides(candidate, compares=rule.new_only)._replace(vex=vex)
        review = self._reviewed(candidate, check, rule, report, self._scanned(candidate, report), besides)
        if review.judgement.verdict is Verdict.UNKNOWN:  # it is scanned again: this report is of no use
            return review.result(evidence)
        name = f"{candidate.gate}/{short(candidate.digest)}/{registry.login_server}/{run.run_id}.report.json"
        place = self._services.archive.store(name, msgspec.json.encode(report).decode())
        kept = self._vex.keep(candidate, check, vex) if rule.vex else None
        return review.result(replace(evidence, report_blob=place, vex=kept))

    def _reviewed(
        self,
        candidate: Candidate,
        check: CheckRecord,
        rule: ScanRules,
        report: Report,
        scanned: Scanned,
        besides: _Besides,
    ) -> Review:
        """The judgement of a check's report."""
        baseline = self._baseline(candidate.gate, besides.promoted, scanned.platform)
        return _warned(self._judged(rule, report, scanned, besides, baseline), candidate, check)

    def _judged(
        self, rule: ScanRules, report: Report, scanned: Scanned, besides: _Besides, baseline: frozenset[str] | None
    ) -> Review:
        now, exceptions, vex = self._services.clock.now(), besides.exceptions, besides.vex
        judgement = judge(report, rule, now=now, exceptions=exceptions, vex=vex.statements, baseline=baseline)
        judgement = replace(judgement, warnings=(*vex.warnings, *judgement.warnings))
        basis = self._basis(rule, besides, vex.fingerprint)
        return Review(report, judgement, baseline, basis, scanned, vex.documents, judged_at=now)

    def _scanned(self, candidate: Candidate, report: Report) -> Scanned:
        """Which of the candidate's platforms a report is about, by the image's manifest at its source."""
        policy, unknown = self._services.policy, Scanned(report.subject.platform)
        registry = policy.registries.get(candidate.source_registry) or policy.registry_at(candidate.login_server)
        if registry is None:
            return unknown
        try:
            manifest = self._services.referrers.manifest(
                registry, candidate.repository, candidate.digest, MANIFEST_LIMIT_BYTES
            )
            return scanned_of(platforms_of(manifest), report.subject)
        except Gone:  # it cannot be promoted any more
            return unknown
        except (Malformed, Rejected) as error:
            return Scanned(report.subject.platform, (f"all others: {error.problem}",))

    def _besides(
        self, candidate: Candidate, exceptions: Sequence[ExceptionRule] | None = None, *, compares: bool = False
    ) -> _Besides:
        """The exceptions in scope of a candidate, listed if they are not given, and with `compares` the attempt that
        the promoted image is based on.
        """
        listed = self.exceptions_at(candidate.gate) if exceptions is None else exceptions
        in_scope = [one for one in listed if is_in_scope(one, candidate.gate)]
        return _Besides(in_scope, self._promoted(candidate) if compares else "")

    def _basis(self, rule: ScanRules, besides: _Besides, documents: str) -> str:
        """`documents` identifies the VEX documents that count (`VexReading.fingerprint`)."""
        now = self._services.clock.now()
        active = [one for one in besides.exceptions if is_active(one, now)]
        promoted = besides.promoted if rule.new_only else None
        return fingerprint_of(msgspec.to_builtins((rule, active, promoted, documents)))

    def _promoted(self, candidate: Candidate) -> str:
        """The attempt that the stable tag is based on, if that is at another digest; else ""."""
        stable = self._services.ledger.load(StableTag, candidate.gate, candidate.tag)
        return stable.record.candidate if stable and stable.record.digest != candidate.digest else ""

    def _baseline(self, gate: str, promoted: str, platform: str) -> frozenset[str] | None:
        """The findings of the promoted image, of the same platform if that was scanned; None if there is none, or no
        stored report of it.
        """
        stored = self._services.ledger.load(Candidate, gate, promoted) if promoted else None
        scans = [check for check in stored.record.checks if check.kind == self.rule.kind] if stored else []
        scans.sort(key=lambda one: _scanned_before(one).platform != platform)
        report = next((report for report in map(self._stored, scans) if report is not None), None)
        return None if report is None else keys_of(report.findings)

    def _stored_vex(self, check: CheckRecord, rule: ScanRules) -> VexReading:
        if isinstance(rule, ScanCheck) and rule.vex:
            return self._vex.stored(check, rule.vex)
        return NO_VEX

    def _vex_summary(
        self, candidate: Candidate, check: CheckRecord, rule: ScanCheck, newer: VexReading | None
    ) -> VexSummary | None:
        """What a record keeps of the VEX documents of a report that was judged again, by `newer` ones if there are."""
        if rule.vex is None or newer is None:
            return check.evidence.vex if rule.vex else None
        return self._vex.keep(candidate, check, newer) if check.verdict is None else newer.summary()

    def _stored(self, check: CheckRecord) -> Report | None:
        return self._read(check.evidence.report_blob)

    def _read(self, place: str) -> Report | None:
        if not place:
            return None
        try:
            return msgspec.json.decode(self._services.archive.read(place), type=Report)
        except (Rejected, msgspec.MsgspecError):  # deleted, or of another version
            return None


def _about(report: Report, stated: str, candidate: Candidate) -> Report:
    """The report, with the digest that the frame states where its format has none.

    Raises:
        BrokenReport: it is not about the candidate's digest, or does not say what it is about.
    """
    digests = report.subject.digests or tuple(filter(None, (stated,)))
    if candidate.digest not in digests:
        named = f"about {', '.join(map(short, digests[:3]))}" if digests else "about no digest"
        raise BrokenReport(f"the report is {named}, not about {short(candidate.digest)}: scan $IMAGE, by its digest")
    return replace(report, subject=replace(report.subject, digests=digests))


def _documents(check: CheckRecord, rule: ScanCheck) -> str:
    """Identifies the VEX documents that are kept of a check, and count under a rule."""
    kept = check.evidence.vex
    return kept.documents if kept and rule.vex and kept.trust == rule.vex.fingerprint else ""


def _scanned_before(check: CheckRecord) -> Scanned:
    """Which platform the stored report of a check is about."""
    summary = check.evidence.scan or ScanSummary()
    return Scanned(summary.platform, summary.unscanned)


def _warned(review: Review, candidate: Candidate, check: CheckRecord) -> Review:
    """The review of a check, with a warning that names the platforms without a scan."""
    scanned, judgement = review.scanned, review.judgement
    missing = warning(scanned.platform, _without_scan(candidate, check, scanned))
    warnings = (missing, *judgement.warnings) if missing else judgement.warnings
    return review._replace(judgement=replace(judgement, warnings=warnings))


def _without_scan(candidate: Candidate, check: CheckRecord, scanned: Scanned) -> tuple[str, ...]:
    """The platforms that no scan of the candidate is about; none while another scan is running: it will tell."""
    others = [one.evidence.scan for one in candidate.checks if one.kind == check.kind and one is not check]
    if not all(others):
        return ()
    return tuple(name for name in scanned.others if all(one and name in one.unscanned for one in others))


def granted_at(ledger: Ledger, gate: str) -> list[ExceptionRule]:
    """The exceptions that were granted at a gate and not ended by anybody; some may be past their end."""
    listed = (stored.record for stored in ledger.list(ExceptionGrant, gate))
    return [one.rule for one in listed if one.is_granted]
