"""The judgement of a report: under which rules a finding fails, what covers it, and what cannot be said. Pure.

A finding that matches no condition of `fail_on` does not fail. What becomes of one that does is decided in this order:

1. It has no fix, and the rules ignore those (`ignore_unfixed`).
2. A VEX statement says that the image or the package is not affected, or fixed.
3. An exception covers it.
4. The scanner was told to ignore it, and reports it all the same (`suppressed`). That holds for licences and secrets.
5. The promoted image has it, too, and the rules count only new ones (`new_only`).
6. It fails.

`unknown` is not `failed`: a report from the future, or of a database too old, says nothing about the image.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from shared.domain.candidate import Verdict
from shared.domain.policy import ExceptionRule, time_before
from shared.findings.exceptions import end_warnings, in_words, is_about, is_active
from shared.findings.model import Finding, Licence, Report, Secret, Severity, aware
from shared.findings.purls import parse_purl
from shared.findings.rules import ScanRules, evaluate, is_denied
from shared.findings.vex import Statement, newest

CLOCK_SKEW = timedelta(days=1)
"""How far in the future a time may be before it is not believed."""

BY_SCANNER = "suppressed in the report"
"""Why a finding does not fail that the scanner was told to ignore."""

_COVER_CHARACTERS = 2_000
"""Where the words about what covers a finding are cut: they are repeated for each one, and come from others."""

_NAMED_FINDINGS = 3
"""How many findings a reason names."""

_NAME_CHARACTERS = 120
"""Where a name out of a report is cut in a reason."""

_HARMLESS = frozenset(("not_affected", "false_positive", "resolved", "resolved_with_pedigree"))
"""The statuses with which somebody says in the report itself that a finding does no harm."""

T = TypeVar("T")
N = TypeVar("N", Licence, Secret)


# The judgement.


class Outcome(StrEnum):
    """What becomes of a finding that matches a condition."""

    FAILS = "fails"
    UNFIXED = "unfixed"
    VEX = "vex"
    EXCEPTION = "exception"
    SUPPRESSED = "suppressed"
    NOT_NEW = "not new"


class JudgedFinding(Struct, frozen=True, kw_only=True):
    """A finding that matches a condition, and what became of it."""

    finding: Finding
    condition: str
    outcome: Outcome
    exception: ExceptionRule | None = None
    statement: Statement | None = None

    @property
    def covered_by(self) -> str:
        """What covers it, in words; "" if nothing does."""
        if self.exception:
            return f"{in_words(self.exception)}: {self.exception.justification}"
        return str(self.statement or "")


class Judgement(Struct, frozen=True, kw_only=True):
    """The verdict on a report, with what it is based on. `findings` match a condition, the most severe first.

    `counts` are of all findings of the report; `unused` are the exceptions that cover none of its findings.
    """

    verdict: Verdict
    reason: str
    counts: dict[Severity, int] = {}
    findings: tuple[JudgedFinding, ...] = ()
    licences: tuple[Licence, ...] = ()
    secrets: tuple[Secret, ...] = ()
    warnings: tuple[str, ...] = ()
    unused: tuple[ExceptionRule, ...] = ()

    def with_outcome(self, *outcomes: Outcome) -> tuple[JudgedFinding, ...]:
        """The findings that match a condition, with one of these outcomes."""
        return tuple(judged for judged in self.findings if judged.outcome in outcomes)


def judge(
    report: Report,
    rules: ScanRules,
    *,
    now: datetime,
    exceptions: Iterable[ExceptionRule] = (),
    vex: Iterable[Statement] = (),
    baseline: frozenset[str] | None = None,
) -> Judgement:
    """Judge a report.

    Args:
        report: what the scanner wrote. VEX statements about images are compared with its subject's digests.
        rules: what fails.
        now: the time at which exceptions, ages and dates count.
        exceptions: those in scope of the image (`shared.findings.exceptions.is_in_scope`).
        vex: the statements of all VEX documents.
        baseline: the keys of the promoted image's findings (`keys_of`); None: there is none, so everything is new.
    """
    granted = tuple(exceptions)
    cover = _Cover(report, now, granted, tuple(vex))
    gaps: Counter[tuple[int, str]] = Counter()
    conditions = tuple(map(str, rules.fail_on))
    matched = ((finding, _matched(rules, finding, now, gaps)) for finding in report.findings)
    found = [_judged(one, conditions[i], rules, cover, baseline) for one, i in matched if i is not None]
    denied = [one for one in report.licences if rules.licences and is_denied(one.name, rules.licences.deny)]
    secrets = report.secrets if rules.secrets == "fail" else ()
    judgement = Judgement(
        verdict=Verdict.PASSED,
        reason="",
        counts=dict(report.by_severity()),
        findings=tuple(sorted(found, key=_order)),
        licences=_in_order({one for one in denied if not one.suppressed}),
        secrets=_in_order({one for one in secrets if not one.suppressed}),
        unused=cover.unused(report.findings),
    )
    verdict, reason = _verdict(report, rules, now, judgement)
    warnings = (
        *_gap_warnings(rules, gaps),
        *_suppressed_warnings(judgement, denied, secrets),
        *_status_warnings(judgement),
        *cover.warnings(judgement.unused),
    )
    return replace(judgement, verdict=verdict, reason=reason, warnings=warnings)


def keys_of(findings: Iterable[Finding]) -> frozenset[str]:
    """What identifies findings from one image to the next: each id of the vulnerability, with its package.

    Neither version, path nor layer counts: an updated package with the same vulnerability has nothing new.
    """
    return frozenset(key for finding in findings for key in _keys(finding))


def _keys(finding: Finding) -> Iterator[str]:
    purl = parse_purl(finding.package.purl)
    package = purl.identity if purl else finding.package.name.casefold()
    return (f"{name} {package}" for name in finding.ids)


def covers(report: Report, judgement: Judgement) -> Iterator[tuple[Finding, str]]:
    """The findings of a report, each with why it does not fail, in words, cut if they are long; "" if it fails, or
    matches no condition.
    """
    judged = {id(one.finding): one for one in judgement.findings}
    for finding in report.findings:
        yield finding, _covered_by(finding, judged.get(id(finding)))


def _covered_by(finding: Finding, judged: JudgedFinding | None) -> str:
    by_scanner = BY_SCANNER if finding.suppressed else ""
    if judged is None:
        return by_scanner
    words = judged.covered_by or by_scanner or judged.outcome.value
    words = f"{words[:_COVER_CHARACTERS]}…" if len(words) > _COVER_CHARACTERS else words
    return "" if judged.outcome is Outcome.FAILS else words


# What becomes of a finding.


def _matched(rules: ScanRules, finding: Finding, now: datetime, gaps: Counter[tuple[int, str]]) -> int | None:
    """The number of the first condition that a finding matches, from 0; counts what the report does not tell."""
    missing: list[tuple[int, str]] = []
    for index, condition in enumerate(rules.fail_on):
        matches, unknown = evaluate(condition, finding, now)
        if matches:
            return index
        missing.extend((index, key) for key in unknown)
    gaps.update(missing)
    return None


class _Cover:
    """The exceptions and VEX statements that count now, by the ids of their vulnerabilities."""

    def __init__(
        self, report: Report, now: datetime, exceptions: tuple[ExceptionRule, ...], vex: tuple[Statement, ...]
    ) -> None:
        self._now, self._exceptions, self._digests = now, exceptions, frozenset(report.subject.digests)
        usable = [one for one in vex if one.stated_at is None or aware(one.stated_at) <= now + CLOCK_SKEW]
        self._from_the_future = len(vex) - len(usable)
        self._active = _by_id((one, (one.vulnerability.upper(),)) for one in exceptions if is_active(one, now))
        self._vex = _by_id((one, one.ids) for one in usable)

    def statement(self, finding: Finding) -> Statement | None:
        """The newest statement about a finding, if it says that the vulnerability does no harm."""
        stated = newest(_for(finding, self._vex), finding, self._digests)
        return stated if stated and stated.covers else None

    def exception(self, finding: Finding) -> ExceptionRule | None:
        """The exception that covers a finding; of several the one that ends last."""
        about = [one for one in _for(finding, self._active) if is_about(one, finding)]
        return max(about, key=lambda one: one.ends_at, default=None)

    def unused(self, findings: Iterable[Finding]) -> tuple[ExceptionRule, ...]:
        """The exceptions, ended ones too, that are about none of the findings."""
        named = _by_id((number, (one.vulnerability.upper(),)) for number, one in enumerate(self._exceptions))
        if not named:
            return ()
        used = {
            number
            for finding in findings
            for number in _for(finding, named)
            if is_about(self._exceptions[number], finding)
        }
        return tuple(one for number, one in enumerate(self._exceptions) if number not in used)

    def warnings(self, unused: tuple[ExceptionRule, ...]) -> Iterator[str]:
        """What a person should know of the exceptions and statements.

        An exception for all gates is expected to cover nothing in most images: only one that names its gates is told.
        """
        if self._from_the_future:
            yield f"VEX statements dated in the future are not used: {self._from_the_future}"
        ending = dict(end_warnings(self._exceptions, self._now))
        for exception in self._exceptions:
            if exception in ending:
                yield ending[exception]
            elif exception.gates and exception in unused:
                yield f"{in_words(exception)} covers nothing in this image: remove it if it is not needed"


def _by_id(items: Iterable[tuple[T, Iterable[str]]]) -> dict[str, list[T]]:
    indexed: dict[str, list[T]] = {}
    for item, names in items:
        for name in names:
            indexed.setdefault(name, []).append(item)
    return indexed


def _for(finding: Finding, indexed: Mapping[str, list[T]]) -> list[T]:
    """What is indexed under any id of a finding, in order of the ids."""
    return [item for name in sorted(finding.ids) for item in indexed.get(name, ())] if indexed else []


def _judged(
    finding: Finding, condition: str, rules: ScanRules, cover: _Cover, baseline: frozenset[str] | None
) -> JudgedFinding:
    """What becomes of a finding that matches a condition."""
    judged = JudgedFinding(finding=finding, condition=condition, outcome=Outcome.FAILS)
    if rules.ignore_unfixed and not finding.fixable:
        return replace(judged, outcome=Outcome.UNFIXED)
    if statement := cover.statement(finding):
        return replace(judged, outcome=Outcome.VEX, statement=statement)
    if exception := cover.exception(finding):
        return replace(judged, outcome=Outcome.EXCEPTION, exception=exception)
    if finding.suppressed:
        return replace(judged, outcome=Outcome.SUPPRESSED)
    if rules.new_only and baseline and not baseline.isdisjoint(_keys(finding)):
        return replace(judged, outcome=Outcome.NOT_NEW)
    return judged


# The verdict, in words.


def _verdict(report: Report, rules: ScanRules, now: datetime, judgement: Judgement) -> tuple[Verdict, str]:
    if rules.fail_on and not report.compared:
        return Verdict.UNKNOWN, "the report compares no package with vulnerabilities: the scan must look for them"
    if problem := _dates_problem(report, rules, now):
        return Verdict.UNKNOWN, problem
    failing, total = judgement.with_outcome(Outcome.FAILS), len(report.findings)
    reasons = [_findings_reason(failing, total)] if failing else []
    if judgement.licences:
        reasons.append(_listed("denied licence", [_licence(one) for one in judgement.licences]))
    if judgement.secrets:
        reasons.append(_listed("secret", [f"{_name(one.rule)} in {_name(one.path)}" for one in judgement.secrets]))
    if reasons:
        return Verdict.FAILED, "; ".join(reasons)
    return Verdict.PASSED, _passed_reason(judgement, total)


def _dates_problem(report: Report, rules: ScanRules, now: datetime) -> str:
    """Why the dates of a report allow no verdict; "" if they do."""
    built_at = report.scanner.database_built_at
    for what, moment in (("the report", report.created_at), ("the scanner's database", built_at)):
        if moment and aware(moment) > now + CLOCK_SKEW:
            return f"{what} is dated {aware(moment):%Y-%m-%d %H:%M %Z}, in the future: check the clock of the scanner"
    return database_problem(built_at, rules, now)


def database_problem(built_at: datetime | None, rules: ScanRules, now: datetime) -> str:
    """Why the rules do not allow a database of that age; "" if they do. None: its age is not known."""
    if rules.max_database_age is None:
        return ""
    if built_at is None:
        return (
            f"the report does not tell the age of the scanner's database (max_database_age: {rules.max_database_age})"
        )
    if aware(built_at) < time_before(now, rules.max_database_age):
        days = (now - aware(built_at)).days
        age = f"{days} days" if days > 1 else f"{(now - aware(built_at)) // timedelta(hours=1)} hours"
        return (
            f"the scanner's database is {age} old (max_database_age: {rules.max_database_age}): update it, scan again"
        )
    return ""


def _findings_reason(failing: Sequence[JudgedFinding], total: int) -> str:
    named = [_finding(judged.finding) for judged in failing[:_NAMED_FINDINGS]]
    more = f" and {len(failing) - _NAMED_FINDINGS} more" if len(failing) > _NAMED_FINDINGS else ""
    return f"{len(failing)} of {_count(total)} {'fails' if len(failing) == 1 else 'fail'}: {', '.join(named)}{more}"


def _finding(finding: Finding) -> str:
    """`CVE-2021-3711 in openssl 1.1.1k-r0 (critical, fixed in 1.1.1l-r0)`."""
    package = f"{finding.package.name} {finding.package.version}".strip()
    fix = f"fixed in {_name(' or '.join(finding.fixed_in))}" if finding.fixable else "not fixed"
    exploited = ", known to be exploited" if finding.known_exploited else ""
    severity = "of unknown severity" if finding.severity is Severity.UNKNOWN else finding.severity
    return f"{_name(finding.vulnerability)} in {_name(package)} ({severity}{exploited}, {fix})"


def _licence(licence: Licence) -> str:
    owner = licence.package or licence.path
    return f"{_name(licence.name)} of {_name(owner)}" if owner else _name(licence.name)


def _listed(what: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_FINDINGS} more" if len(names) > _NAMED_FINDINGS else ""
    return f"{_count(len(names), what)}: {', '.join(names[:_NAMED_FINDINGS])}{more}"


def _passed_reason(judgement: Judgement, total: int) -> str:
    kinds = {
        Outcome.EXCEPTION: "covered by exceptions",
        Outcome.VEX: "covered by VEX",
        Outcome.SUPPRESSED: "suppressed in the report",
        Outcome.NOT_NEW: "not new",
        Outcome.UNFIXED: "without a fix",
    }
    counted = [f"{len(found)} {kind}" for outcome, kind in kinds.items() if (found := judgement.with_outcome(outcome))]
    aside = f" ({', '.join(counted)})" if counted else ""
    return f"none of {_count(total)} fails{aside}" if total else "no vulnerability was found"


def _count(total: int, what: str = "finding") -> str:
    return f"{total} {what}{'s' if total != 1 else ''}"


def _name(text: str) -> str:
    """A name out of a report, for a sentence: printable, and not endless."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:_NAME_CHARACTERS]
    )
    return f"{shown}…" if len(text) > _NAME_CHARACTERS else shown


def _order(judged: JudgedFinding) -> tuple[object, ...]:
    finding, package = judged.finding, judged.finding.package
    return (
        -finding.severity.rank,
        finding.vulnerability,
        package.name,
        package.version,
        package.purl,
        package.path,
        package.layer,
    )


def _in_order(found: Collection[N]) -> tuple[N, ...]:
    """Licences by name, or secrets by path."""
    return tuple(sorted(found, key=_place))


def _place(one: Licence | Secret) -> tuple[str, str, str]:
    return (one.path, one.rule, one.title) if isinstance(one, Secret) else (one.name, one.package, one.path)


def _gap_warnings(rules: ScanRules, gaps: Mapping[tuple[int, str], int]) -> Iterator[str]:
    """The conditions that could not be evaluated, and for how many findings."""
    for (index, key), count in sorted(gaps.items()):
        condition = f"condition {index + 1} of fail_on ({rules.fail_on[index]})"
        yield f"{condition} could not be evaluated for {_count(count)}: the report does not tell {key}"


def _suppressed_warnings(judgement: Judgement, licences: Iterable[Licence], secrets: Iterable[Secret]) -> Iterator[str]:
    """What would fail, had the scanner not been told to ignore it; of licences and secrets those that do not fail."""
    parts = {
        "finding": len(judgement.with_outcome(Outcome.SUPPRESSED)),
        "licence": len({replace(one, suppressed=False) for one in licences}.difference(judgement.licences)),
        "secret": len({replace(one, suppressed=False) for one in secrets}.difference(judgement.secrets)),
    }
    if counted := ", ".join(_count(number, what) for what, number in parts.items() if number):
        yield f"{counted} suppressed in the report: the scanner's settings say so, without an end; an exception has one"


def _status_warnings(judgement: Judgement) -> Iterator[str]:
    """What else the report itself says against its findings, and what would count."""
    said = Counter(one.finding.status for one in judgement.with_outcome(Outcome.FAILS))
    for status in sorted(_HARMLESS & set(said)):
        why = "that covers nothing unless it is given as a VEX document or an exception"
        yield f"{_count(said[status])} called {status} in the report: {why}"
