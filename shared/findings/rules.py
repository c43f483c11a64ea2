"""The rules of a scan, and whether a finding or a licence matches them. Pure."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Meta

from shared.domain.policy import Duration, Rule, time_before
from shared.findings.model import Finding, Severity, aware


class Condition(Rule, frozen=True, kw_only=True):
    """Findings that fail: those that match every key that is written.

    A key that the report does not tell of a finding does not match, and the judgement has a warning.
    """

    severity: Annotated[
        Severity | None,
        Meta(description="a severity: critical, high, medium, low or negligible (it or a worse one), or unknown"),
    ] = None
    fixable: Annotated[bool | None, Meta(description="true (a version fixes it) or false (none does)")] = None
    known_exploited: Annotated[
        bool | None, Meta(description="true (it is known to be exploited) or false (it is known not to be)")
    ] = None
    cvss: Annotated[
        Annotated[float, Meta(ge=0, le=10)] | None,
        Meta(description="a CVSS base score from 0 to 10 (it or a higher one)"),
    ] = None
    epss: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="an EPSS probability from 0 to 1 (it or a higher one)"),
    ] = None
    age_of_fix: Annotated[
        Duration | None, Meta(description="a duration, e.g. 14d: the first fix was published at least so long ago")
    ] = None

    def __str__(self) -> str:
        """The condition as it is written: `severity: high, fixable: true`."""
        written = ((key, getattr(self, key)) for key in self.__struct_fields__)
        return ", ".join(f"{key}: {_written(value)}" for key, value in written if value is not None)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


LicencePattern = Annotated[
    str, Meta(pattern=r"^\S(.{0,198}\S)?$", description="the SPDX id of a licence, or a pattern with * and ?")
]


class LicenceRule(Rule, frozen=True, kw_only=True):
    """The licences that fail, in any letter case: `GPL-3.0*`, `AGPL-*`."""

    deny: Annotated[tuple[LicencePattern, ...], Meta(min_length=1)]


class ScanRules(Rule, frozen=True, kw_only=True):
    """How the report of a scan is judged."""

    fail_on: tuple[Condition, ...] = ()
    ignore_unfixed: Annotated[bool, Meta(description="true or false: whether findings without a fix never fail")] = (
        False
    )
    new_only: Annotated[
        bool, Meta(description="true or false: whether only findings fail that the promoted image does not have")
    ] = False
    max_database_age: Annotated[
        Duration | None, Meta(description="the verdict is unknown if the scanner's database is older, e.g. 3d")
    ] = None
    licences: LicenceRule | None = None
    secrets: Annotated[
        Literal["fail", "ignore"], Meta(description="fail or ignore: what a secret in the image does")
    ] = "ignore"

    def rule_problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with rules that fit their types, by key."""
        for number, condition in enumerate(self.fail_on, 1):
            if not str(condition):
                yield (
                    "fail_on",
                    f"condition {number} has no key: every finding would fail; {{severity: unknown}} is one",
                )
        if not self.fail_on and self.licences is None and self.secrets == "ignore":
            yield "fail_on", "nothing would ever fail: at least one condition, `licences` or `secrets: fail` is needed"


# Licences.


def is_denied(licence: str, patterns: Sequence[str]) -> bool:
    """Whether a licence matches one of the patterns.

    `A OR B` is denied if all alternatives are; any other expression (`A AND B`, with parentheses) if one part is.
    Source: https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
    """
    if _matches(licence, patterns):
        return True
    bare = re.sub(r"^\(([^()]*)\)$", r"\1", licence.strip())
    parts = re.split(r"(\s+OR\s+|\s+AND\s+|\s*[/,;]\s*)", re.sub(r"[()]", " ", bare), flags=re.IGNORECASE)
    matched = [_matches(re.split(r"\s+with\s", part, flags=re.IGNORECASE)[0], patterns) for part in parts[::2]]
    is_a_choice = {one.strip().upper() for one in parts[1::2]} == {"OR"} and "(" not in bare
    return all(matched) if is_a_choice else any(matched)


def _matches(licence: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(licence.strip().lower(), pattern.lower().replace("[", "[[]")) for pattern in patterns)


# Conditions.


def evaluate(condition: Condition, finding: Finding, now: datetime) -> tuple[bool, list[str]]:
    """Whether all keys of a condition match; if not, and none of them contradicts, those that are not told."""
    unknown = []
    for key, is_true in _facts(condition, finding, now):
        if is_true is False:
            return False, []
        if is_true is None:
            unknown.append(key)
    return not unknown, unknown


def _facts(condition: Condition, finding: Finding, now: datetime) -> Iterator[tuple[str, bool | None]]:
    """Whether each key of a condition is true of a finding; None: the report does not tell."""
    if condition.severity is not None:
        yield "severity", _is_severe(finding.severity, condition.severity)
    if condition.fixable is not None:
        yield "fixable", finding.fixable is condition.fixable
    if condition.known_exploited is not None:
        known = finding.known_exploited
        yield "known_exploited", None if known is None else known is condition.known_exploited
    if condition.cvss is not None:
        yield "cvss", _is_at_least(_score(finding), condition.cvss)
    if condition.epss is not None:
        yield "epss", _is_at_least(finding.epss, condition.epss)
    if condition.age_of_fix is not None:
        yield "age_of_fix", _is_fixed_since(finding, time_before(now, condition.age_of_fix))


def _is_severe(severity: Severity, wanted: Severity) -> bool | None:
    if severity is Severity.UNKNOWN and wanted is not Severity.UNKNOWN:
        return None
    return severity.at_least(wanted)


def _is_at_least(value: float | None, limit: float) -> bool | None:
    return None if value is None else value >= limit


def _score(finding: Finding) -> float | None:
    """The CVSS score of a finding; without one of its own, the highest that a source gives it."""
    if finding.cvss is not None:
        return finding.cvss
    return max((rating.cvss for rating in finding.ratings if rating.cvss is not None), default=None)


def _is_fixed_since(finding: Finding, moment: datetime) -> bool | None:
    if not finding.fixable:
        return False
    return None if finding.fixed_at is None else aware(finding.fixed_at) <= moment
