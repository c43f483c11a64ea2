"""A candidate: one image, by digest, under examination at a gate."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from shared.domain.exception import StoredException
from shared.domain.image import Digest, Tag, parse_repository
from shared.domain.policy import CheckRule, Gate, Phase, RegistryRule
from shared.domain.record import GateRecord, RecordSummary, list_item


class CandidateState(StrEnum):
    """The states of an examination. All but the first two are final: a settled attempt never changes again."""

    EXAMINING = "examining"
    AWAITING_APPROVAL = "awaiting approval"
    PASSED = "passed"
    FAILED = "failed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    CANCELED = "canceled"
    RULE_REMOVED = "rule removed"


VERDICTS = frozenset((CandidateState.PASSED, CandidateState.FAILED, CandidateState.REJECTED))
"""The final states that are a verdict on the image."""


class FoundBy(StrEnum):
    """How the gate learned of a digest."""

    EVENT = "event"
    SWEEP = "sweep"
    OPERATOR = "operator"


class Verdict(StrEnum):
    """The result of a check. Only `passed` promotes."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ScanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found: the number of findings by severity, of those that fail, and of those that are accepted.

    `platform` is the one that was scanned ("" if the report does not tell), `unscanned` are the others of the image.
    `exceptions` are those that the verdict depends on, at most 20, and `more_exceptions` counts the others; `basis`
    identifies what it was judged by, at `judged_at`: the scan may have ended long before.
    """

    scanner: str = ""
    scanner_version: str = ""
    database_built_at: datetime | None = None
    database_version: str = ""
    platform: str = ""
    unscanned: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    failing: int = 0
    covered: int = 0
    exceptions: tuple[StoredException, ...] = ()
    more_exceptions: int = 0
    warnings: tuple[str, ...] = ()
    basis: str = ""
    judged_at: datetime | None = None


class VexSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The VEX documents that a scan was judged by: where they are stored (`place`; "": nowhere yet), and what they are.

    `trust` identifies whom the rule trusts, `documents` those that count ("": none does), and `listed` what was
    attached to the image, and who was trusted ("": not all of it could be read).
    """

    place: str = ""
    trust: str = ""
    documents: str = ""
    listed: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict is based on: the run's status, the last lines of its log, and where the whole log is stored.

    Of a scan, `scan` sums up what it found, and `report_blob` is where its report is stored, to be judged again; `vex`
    are the VEX documents beside it, None if its rule has none.
    """

    status: str = ""
    log_tail: tuple[str, ...] = ()
    log_blob: str = ""
    report_blob: str = ""
    scan: ScanSummary | None = None
    vex: VexSummary | None = None

    @property
    def blobs(self) -> tuple[str, ...]:
        """All places in the archive."""
        return tuple(filter(None, (self.log_blob, self.report_blob, self.vex.place if self.vex else "")))


class CheckRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a candidate, from its claim to its verdict.

    A run is identified by where it ran, `registry` (a login server), and by `run_id`. `nonce` is part of the mark that
    the run carries, so that no other run can be mistaken for it. `runs` counts the runs started; a run that ends
    without a verdict is repeated at `retry_at`. The fingerprints are those of its rule.
    """

    kind: str
    fingerprint: str = ""
    run_fingerprint: str = ""
    claimed_at: datetime | None = None
    nonce: str = ""
    registry: str = ""
    run_id: str = ""
    runs: int = 0
    retry_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    verdict: Verdict | None = None
    reason: str = ""
    evidence: Evidence = Evidence()

    @property
    def is_running(self) -> bool:
        """Whether it has a run and no verdict."""
        return bool(self.claimed_at and self.run_id) and self.verdict is None

    def claimed(self, now: datetime, nonce: str) -> Self:
        """The check after a worker has claimed its next run."""
        return msgspec.structs.replace(self.unclaimed(), claimed_at=now, nonce=nonce, runs=self.runs + 1)

    def unclaimed(self, reason: str = "", retry_at: datetime | None = None) -> Self:
        """The check before its next run: only the count and the reason are kept from the last one."""
        return type(self)(
            kind=self.kind,
            fingerprint=self.fingerprint,
            run_fingerprint=self.run_fingerprint,
            runs=self.runs,
            reason=reason or self.reason,
            retry_at=retry_at,
        )

    def under(self, rule: CheckRule) -> "CheckRecord | None":
        """What is left of it under a rule that replaces its own; None if nothing is.

        Its verdict, if the rule means the same; of a check with a report only that, if the rule runs the same: it is
        judged again, since rules and exceptions may have changed.
        """
        if self.verdict is None or self.run_fingerprint != rule.run_fingerprint:
            return None
        if self.evidence.report_blob:
            new = rule.fingerprint
            return msgspec.structs.replace(self, fingerprint=new, claimed_at=None, verdict=None, reason="")
        return self if self.fingerprint == rule.fingerprint else None


class CandidateSummary(RecordSummary, frozen=True, kw_only=True):
    """A candidate as a list item. `check` is the kind of the check that is running or waits for an operator."""

    gate: str
    image: str
    digest: Digest
    attempt: int
    tag: str
    check: str = ""


class Candidate(GateRecord, frozen=True, kw_only=True):
    """The record of one attempt at (gate, digest, checks).

    `tag` is the source tag that led to it, which its tasks get as a value; `fingerprint` identifies the checks;
    `requested_by` is the operator who requested this attempt, if one did.
    """

    item: ClassVar = CandidateSummary

    attempt: int
    fingerprint: str
    checks: tuple[CheckRecord, ...]
    requested_by: str = ""
    found_by: FoundBy = FoundBy.EVENT
    state: CandidateState = CandidateState.EXAMINING

    @property
    def row(self) -> str:
        """The ledger row: digest and attempt."""
        return candidate_row(self.digest, self.attempt)

    @property
    def settled(self) -> bool:
        """Whether its state is final."""
        return self.state not in (CandidateState.EXAMINING, CandidateState.AWAITING_APPROVAL)

    @property
    def blobs(self) -> tuple[str, ...]:
        """Where its evidence is in the archive; attempts at one digest may share it."""
        return tuple(blob for check in self.checks for blob in check.evidence.blobs)

    @property
    def has_begun(self) -> bool:
        """Whether a check has started: then the attempt is completed, even if there are newer observations."""
        return any(check.claimed_at is not None or check.runs for check in self.checks)

    def summary(self) -> CandidateSummary:
        """The candidate as a list item."""
        return list_item(CandidateSummary, self, **self._summarized(), image=str(self.image), check=self.open_check)

    @property
    def open_check(self) -> str:
        """The kind of the check that is running or waits for an operator; "" if none does."""
        if self.settled:
            return ""
        return next((check.kind for check in self.checks if check.claimed_at and check.verdict is None), "")

    def with_check(self, index: int, **changes: object) -> Self:
        """The candidate with one check changed."""
        return self.with_check_record(index, msgspec.structs.replace(self.checks[index], **changes))

    def with_check_record(self, index: int, check: CheckRecord) -> Self:
        """The candidate with one check replaced."""
        return msgspec.structs.replace(self, checks=(*self.checks[:index], check, *self.checks[index + 1 :]))


def new_attempt(
    gate: Gate, source: RegistryRule, digest: Digest, tag: Tag, now: datetime, attempt: int = 1
) -> Candidate:
    """Another attempt at a digest, under the gate's current checks."""
    return Candidate(
        gate=gate.name,
        digest=digest,
        attempt=attempt,
        tag=tag,
        source_registry=source.name,
        repository=parse_repository(gate.source.repository),
        login_server=source.login_server,
        fingerprint=gate.fingerprint,
        checks=tuple(map(_not_run, gate.checks)),
        created_at=now,
    )


def attempt_after(
    latest: Candidate, gate: Gate, source: RegistryRule, now: datetime, *, keeps_results: bool = True
) -> Candidate:
    """The attempt that follows another one, with what the gate's current checks allow of its results."""
    new = new_attempt(gate, source, latest.digest, latest.tag, now, latest.attempt + 1)
    new = msgspec.structs.replace(new, requested_by=latest.requested_by, found_by=latest.found_by)
    if not keeps_results:
        return new
    checks = tuple(_kept(latest.checks, rule) or _not_run(rule) for rule in gate.checks)
    return msgspec.structs.replace(new, checks=checks)


def _not_run(rule: CheckRule) -> CheckRecord:
    return CheckRecord(kind=rule.kind, fingerprint=rule.fingerprint, run_fingerprint=rule.run_fingerprint)


def _kept(checks: Sequence[CheckRecord], rule: CheckRule) -> CheckRecord | None:
    if rule.phase is Phase.PERSON:  # a person approved another attempt, under other rules
        return None
    return next(filter(None, (check.under(rule) for check in checks)), None)


def candidate_row(digest: str, attempt: int) -> str:
    """The ledger row of a candidate: sortable, without characters that Azure Tables forbids in keys."""
    return f"{attempts_of(digest)}{attempt:03}"


def attempts_of(digest: str) -> str:
    """The prefix of the ledger rows of all attempts at a digest."""
    return f"{digest.removeprefix('sha256:')}-"
