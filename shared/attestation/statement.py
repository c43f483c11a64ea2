"""The statements of a promotion: what was decided about a digest, by whom, when, and on what evidence.

A promotion has two, about the same subject, the promoted digest in the target repository:

- a SLSA Verification Summary, which policy engines know: passed, under which policy;
- a decision, of our own type, with the detail.

The bytes of a statement depend on its content alone. What is not known is left out, never guessed.

Sources: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
https://slsa.dev/spec/v1.0/verification_summary
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from shared.domain.candidate import Candidate, CheckRecord, Verdict
from shared.domain.image import Digest, ImageRef, purl
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
SUMMARY_TYPE = "https://slsa.dev/verification_summary/v1"
DECISION_TYPE = "urn:basegate:promotion-decision:v1"
"""The type of our own predicate. A predicate type is a URI that need not resolve."""

DOCUMENT_TYPES = {
    "sarif": "application/sarif+json",
    "cyclonedx": "application/vnd.basegate.cyclonedx-vdr+json",
}
"""The documents that are attached to the image beside a decision: their names as evidence, and their artifact types.

That of CycloneDX is one of our own: the document names the packages with findings alone, and a reader that looks for
the SBOM of an image under the type of the format, such as Trivy, would take it for that.
Source: https://github.com/aquasecurity/trivy/blob/main/pkg/fanal/artifact/image/remote_sbom.go
"""

_LEVEL_PREFIX = "BASEGATE-CHECK-"
_UNEVALUATED = "SLSA_BUILD_LEVEL_UNEVALUATED"
"""No build level was determined. Other levels of the summary may be custom ones, without the prefix `SLSA_`."""

Time = Annotated[datetime, Meta(tz=True)]
Hashes = dict[str, str]
"""Hashes by their algorithm, `{"sha256": "0475…"}`, as in-toto's DigestSet."""

P = TypeVar("P")


class _Part(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of a statement: its keys are camelCase, and what is empty is left out."""


class Subject(_Part, frozen=True, kw_only=True):
    """What a statement is about: `name` is the repository with its registry, `digest` the hash of the manifest."""

    name: str
    digest: Hashes


class Statement(_Part, Generic[P], frozen=True, kw_only=True):
    """An in-toto statement, version 1."""

    type: str = field(name="_type", default="")
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: P


class Policy(_Part, frozen=True, kw_only=True):
    """The rules that it was decided by: where they are, and the hash of the gate's checks as the app shows them.

    The hash is left out if the rules have changed between the verdict and the record.
    """

    uri: str
    digest: Hashes = {}


class Verifier(_Part, frozen=True, kw_only=True):
    """What decided: the URI of the app, and the versions of what it consists of."""

    id: str
    version: dict[str, str] = {}


class Summary(_Part, frozen=True, kw_only=True):
    """The predicate of a SLSA Verification Summary."""

    verifier: Verifier
    time_verified: Time
    resource_uri: str
    policy: Policy
    verification_result: str
    verified_levels: tuple[str, ...]


class Evidence(_Part, frozen=True, kw_only=True):
    """A piece of evidence: what it is (`log`, `report`, `vex`), where the app keeps it, and the hash of its bytes.

    A document that is attached to the image (`DOCUMENT_TYPES`) has its hash only.
    """

    name: str
    uri: str = ""
    digest: Hashes = {}


class Scanner(_Part, frozen=True, kw_only=True):
    """The scanner of a check: its name and version, and the version and the time of its database.

    `platform` is the one that it scanned, `unscanned` are the others of the image.
    """

    name: str
    version: str = ""
    database_version: str = ""
    database_built_at: Time | None = None
    platform: str = ""
    unscanned: tuple[str, ...] = ()


class UsedException(_Part, frozen=True, kw_only=True):
    """An accepted finding that the verdict depends on: which, why, who accepted it, and until when."""

    vulnerability: str
    package: str = ""
    justification: str = ""
    author: str = ""
    until: str = ""


class UsedDocument(_Part, frozen=True, kw_only=True):
    """A VEX document by which a report was judged: its hash, who signed it, and when, if a log says when."""

    digest: Hashes
    signer: str
    signed_at: Time | None = None


class CheckFacts(_Part, frozen=True, kw_only=True):
    """What a kind of check says of one of its checks, beside what every check has.

    `more_exceptions` counts those that the verdict depends on, too, and that are not in `exceptions`.
    """

    evidence: tuple[Evidence, ...] = ()
    scanner: Scanner | None = None
    exceptions: tuple[UsedException, ...] = ()
    more_exceptions: int = 0
    vex: tuple[UsedDocument, ...] = ()


class TaskRun(_Part, frozen=True, kw_only=True):
    """The run of a check: the registry that it ran in, and its id there."""

    registry: str
    id: str


class Check(_Part, frozen=True, kw_only=True):
    """A check with its verdict. `runs` counts the runs that were started, those without a verdict too."""

    kind: str
    verdict: str
    reason: str = ""
    run: TaskRun | None = None
    runs: int = 0
    started_at: Time | None = None
    finished_at: Time | None = None
    evidence: tuple[Evidence, ...] = ()
    scanner: Scanner | None = None
    exceptions: tuple[UsedException, ...] = ()
    more_exceptions: int = 0
    vex: tuple[UsedDocument, ...] = ()


class Actors(_Part, frozen=True, kw_only=True):
    """Who took part: how the gate learned of the digest, who requested the examination, who approved it."""

    found_by: str
    requested_by: str = ""
    approved: tuple[str, ...] = ()
    """For each approval `<actor>: <reason>`."""


class Times(_Part, frozen=True, kw_only=True):
    """When the digest was observed under the tag, admitted, when it passed, was copied and promoted."""

    observed_at: Time
    admitted_at: Time
    passed_at: Time
    copied_at: Time | None = None
    promoted_at: Time | None = None


class Decision(_Part, frozen=True, kw_only=True):
    """The predicate of our own type.

    `candidate` and `promotion` are the ids of the ledger's records, `fingerprint` identifies the checks, `unique_tag`
    is the tag that is never moved, and `sequence` the number of the observation in the history of `tag`.
    """

    gate: str
    tag: str
    sequence: int
    source: str
    unique_tag: str
    candidate: str
    promotion: str
    verdict: str
    fingerprint: str
    policy: Policy
    checks: tuple[Check, ...]
    actors: Actors
    times: Times
    decided_by: Verifier


class Facts(Struct, frozen=True, kw_only=True):
    """What a statement needs beside the ledger's records.

    `target` is the promoted image. `rules` is the hash of the gate's checks, "" if they have changed since the verdict.
    `checks` are by the index of the check.
    """

    target: ImageRef
    verifier: Verifier
    policy_uri: str
    rules: str = ""
    checks: Mapping[int, CheckFacts] = {}


def statements(promotion: Promotion, candidate: Candidate, facts: Facts) -> dict[str, bytes]:
    """The statements of a promotion by their predicate types: the same bytes for the same facts."""
    policy = Policy(uri=facts.policy_uri, digest={"sha256": facts.rules} if facts.rules else {})
    target = facts.target
    subject = Subject(name=f"{target.login_server}/{target.repository}", digest=_hashes(target.digest))
    predicates: dict[str, Any] = {
        SUMMARY_TYPE: _summary(promotion, candidate, facts, policy),
        DECISION_TYPE: _decision(promotion, candidate, facts, policy),
    }
    return {name: _encoded(subject, name, predicate) for name, predicate in predicates.items()}


def rules_digest(gate: Gate) -> str:
    """The SHA-256 of the checks of a gate, as the HTTP interface shows them: JSON with sorted keys, without spaces."""
    shown = [{check.kind: msgspec.to_builtins(check.shown())} for check in gate.checks]
    return _sha256(msgspec.json.encode(shown, order="sorted"))


def evidence_of(name: str, uri: str, content: bytes) -> Evidence:
    """A piece of evidence with its hash."""
    return Evidence(name=name, uri=uri, digest={"sha256": _sha256(content)})


def documents_of(decision: Decision) -> Iterator[tuple[str, str]]:
    """The documents that a decision says to be attached beside it: their digests (`sha256:…`) and names."""
    for check in decision.checks:
        for piece in check.evidence:
            if piece.name in DOCUMENT_TYPES and "sha256" in piece.digest:
                yield f"sha256:{piece.digest['sha256']}", piece.name


def _summary(promotion: Promotion, candidate: Candidate, facts: Facts, policy: Policy) -> Summary:
    kinds = dict.fromkeys(check.kind for check in candidate.checks)
    levels = (f"{_LEVEL_PREFIX}{kind.upper()}" for kind in kinds)
    return Summary(
        verifier=facts.verifier,
        time_verified=_second(candidate.changed_at),
        resource_uri=purl(facts.target, promotion.tag),
        policy=policy,
        verification_result="PASSED",
        verified_levels=(_UNEVALUATED, *levels),
    )


def _decision(promotion: Promotion, candidate: Candidate, facts: Facts, policy: Policy) -> Decision:
    return Decision(
        gate=promotion.gate,
        tag=promotion.tag,
        sequence=promotion.sequence,
        source=str(promotion.image),
        unique_tag=promotion.unique,
        candidate=candidate.id,
        promotion=promotion.id,
        verdict=candidate.state.value,
        fingerprint=promotion.fingerprint,
        policy=policy,
        checks=tuple(_check(check, facts.checks.get(index)) for index, check in enumerate(candidate.checks)),
        actors=_actors(candidate, facts),
        times=Times(
            observed_at=_second(promotion.created_at),
            admitted_at=_second(candidate.created_at),
            passed_at=_second(candidate.changed_at),
            copied_at=_second(promotion.copied_at) if promotion.copied_at else None,
            promoted_at=_second(promotion.moved_at) if promotion.moved_at else None,
        ),
        decided_by=facts.verifier,
    )


def _check(record: CheckRecord, facts: CheckFacts | None) -> Check:
    facts = facts or CheckFacts()
    return Check(
        kind=record.kind,
        verdict=record.verdict.value if record.verdict else Verdict.UNKNOWN.value,
        reason=record.reason,
        run=TaskRun(registry=record.registry, id=record.run_id) if record.registry else None,
        runs=record.runs,
        started_at=_second(record.started_at) if record.started_at else None,
        finished_at=_second(record.finished_at) if record.finished_at else None,
        evidence=facts.evidence,
        scanner=facts.scanner,
        exceptions=facts.exceptions,
        more_exceptions=facts.more_exceptions,
        vex=facts.vex,
    )


def _actors(candidate: Candidate, facts: Facts) -> Actors:
    approved = tuple(entry.why for entry in candidate.history if entry.what == "approved")
    return Actors(found_by=candidate.found_by.value, requested_by=candidate.requested_by, approved=approved)


def _encoded(subject: Subject, predicate_type: str, predicate: object) -> bytes:
    statement = Statement[Any](
        type=STATEMENT_TYPE, subject=(subject,), predicate_type=predicate_type, predicate=predicate
    )
    return msgspec.json.encode(statement, order="sorted")


def _hashes(digest: Digest) -> Hashes:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _second(moment: datetime) -> datetime:
    """A time in UTC, to the second: the precision of every service that took part."""
    return moment.astimezone(UTC).replace(microsecond=0)
