"""The documents about a scan that are attached to a promoted image: its findings as SARIF and as CycloneDX. Pure.

They depend on what is kept of the scan alone, the report, and the exceptions and VEX documents that its verdict depends
on: made again, they have the same bytes. What the rules of a gate say of a finding is not in them.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from shared.domain.candidate import Verdict
from shared.domain.image import ImageRef
from shared.domain.policy import ExceptionRule
from shared.findings.cyclonedx import cyclonedx_of
from shared.findings.exceptions import is_about
from shared.findings.judge import JudgedFinding, Judgement, Outcome
from shared.findings.model import Finding, Report, Secret
from shared.findings.sarif import sarif_of
from shared.findings.vex import Statement, newest

T = TypeVar("T")

LIMIT_FINDINGS = 5_000
LIMIT_BYTES = 4 * 1024 * 1024
"""How many findings a document has, and its maximum size: what has no room beside more severe findings is left out, and
counted. `basegate verify` reads no more, and a gate copies files of referrers up to twice that size.
"""


def documents(
    report: Report,
    exceptions: Iterable[ExceptionRule],
    image: ImageRef,
    scanned_at: datetime | None,
    vex: Iterable[Statement] = (),
) -> dict[str, bytes]:
    """The documents by the names that a decision record has for them: `sarif`, `cyclonedx`."""
    subject = replace(report.subject, name=str(image), digests=(image.digest,))
    about, judgement = replace(report, subject=subject), _accepted(report, tuple(exceptions), vex)

    def cyclonedx(part: Report, left_out: int) -> dict[str, Any]:
        return cyclonedx_of(part, judgement, image, scanned_at, left_out)

    return {
        "sarif": _written(about, lambda part, left_out: sarif_of(part, judgement, left_out), secrets=True),
        "cyclonedx": _written(about, cyclonedx),
    }


def _accepted(report: Report, exceptions: tuple[ExceptionRule, ...], vex: Iterable[Statement]) -> Judgement:
    """The findings that an exception or a VEX statement is about. Which of them would have failed without it is for the
    rules to say.
    """
    by_id, digests = dict[str, list[Statement]](), frozenset(report.subject.digests)
    for statement in vex:
        for name in statement.ids:
            by_id.setdefault(name, []).append(statement)
    accepted = list[JudgedFinding]()
    for one in report.findings:
        stated = newest((said for name in sorted(one.ids) for said in by_id.get(name, ())), one, digests)
        about = (rule for rule in exceptions if is_about(rule, one))
        rule = max(about, key=lambda rule: rule.ends_at, default=None)  # as it is judged
        if stated is not None and stated.covers:
            accepted.append(JudgedFinding(finding=one, condition="", outcome=Outcome.VEX, statement=stated))
        elif rule is not None:
            accepted.append(JudgedFinding(finding=one, condition="", outcome=Outcome.EXCEPTION, exception=rule))
    return Judgement(verdict=Verdict.PASSED, reason="", findings=tuple(accepted))


def _written(report: Report, write: Callable[[Report, int], dict[str, Any]], *, secrets: bool = False) -> bytes:
    """The document of as many findings as the limits allow, the most severe first.

    It repeats texts, and some are longer in it, so it is written with less room for them until it is small enough.
    """
    total, room = len(report.findings) + (len(report.secrets) if secrets else 0), LIMIT_BYTES
    ordered = sorted(report.findings, key=_order), sorted(report.secrets if secrets else (), key=_place)
    while True:
        part = replace(report, findings=_fitting(ordered[0], room), secrets=_fitting(ordered[1], room))
        left_out = total - len(part.findings) - len(part.secrets)
        content = msgspec.json.encode(write(part, left_out))
        if len(content) <= LIMIT_BYTES or not room:
            return content
        room //= 2


def _fitting(found: Sequence[T], room: int) -> tuple[T, ...]:
    """The first ones that fit into as many bytes. What does not fit is left out alone: one finding may be huge."""
    fitting = list[T]()
    for one in found:
        size = len(msgspec.json.encode(one))
        if size <= room:
            room -= size
            fitting.append(one)
        if len(fitting) == LIMIT_FINDINGS:
            break
    return tuple(fitting)


def _order(finding: Finding) -> tuple[int, str, str, str, str]:
    package = finding.package
    return -finding.severity.rank, finding.vulnerability, package.name, package.version, package.path


def _place(secret: Secret) -> tuple[int, str, str, str]:
    return -secret.severity.rank, secret.path, secret.rule, secret.title
