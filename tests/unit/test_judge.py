"""The judgement of reports: each rule on a finding that it is about and on one that it is not, and what covers them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.candidate import Verdict
from shared.domain.policy import ExceptionRule
from shared.findings.judge import Judgement, Outcome, judge, keys_of
from shared.findings.model import Finding, Licence, Package, Rating, Report, Scanner, Secret, Severity, Subject
from shared.findings.purls import parse_purl
from shared.findings.rules import Condition, LicenceRule, ScanRules, is_denied
from shared.findings.vex import Product, Statement, Status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
ANY = ScanRules(fail_on=(Condition(severity=Severity.LOW), Condition(severity=Severity.UNKNOWN)))


def openssl(**changes: Any) -> Finding:
    """A high, fixed vulnerability of openssl."""
    package = Package(name="openssl", version="1.1.1k-r0", purl="pkg:apk/alpine/openssl@1.1.1k-r0?arch=x86_64")
    usual: dict[str, Any] = {
        "vulnerability": "CVE-2021-3711",
        "aliases": ("GHSA-5ww6-px42-wc85",),
        "package": package,
        "severity": Severity.HIGH,
        "fixed_in": ("1.1.1l-r0",),
    }
    return Finding(**(usual | changes))


def judged(
    *findings: Finding,
    rules: ScanRules = ANY,
    report: Report | None = None,
    **given: Any,
) -> Judgement:
    whole = msgspec.structs.replace(report or Report(format="trivy"), findings=findings)
    return judge(whole, rules, now=NOW, **given)


def accepted(**changes: Any) -> ExceptionRule:
    usual: dict[str, Any] = {
        "vulnerability": "cve-2021-3711",
        "justification": "no TLS",
        "author": "ada",
        "until": "2026-06-30",
    }
    return ExceptionRule(**(usual | changes))


def stated(status: Status = Status.NOT_AFFECTED, at: datetime = NOW, **changes: Any) -> Statement:
    usual: dict[str, Any] = {
        "vulnerability": "CVE-2021-3711",
        "products": (Product(package=parse_purl("pkg:apk/alpine/openssl")),),
        "status": status,
        "stated_at": at,
    }
    return Statement(**(usual | changes))


MATCHES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"severity": Severity.HIGH}, {"severity": Severity.HIGH}, {"severity": Severity.MEDIUM}),
    ({"severity": Severity.HIGH}, {"severity": Severity.CRITICAL}, {"severity": Severity.NEGLIGIBLE}),
    ({"severity": Severity.UNKNOWN}, {"severity": Severity.UNKNOWN}, {"severity": Severity.CRITICAL}),
    ({"fixable": True}, {"fixed_in": ("2",)}, {"fixed_in": ()}),
    ({"fixable": False}, {"fixed_in": ()}, {"fixed_in": ("2",)}),
    ({"known_exploited": True}, {"known_exploited": True}, {"known_exploited": False}),
    ({"known_exploited": False}, {"known_exploited": False}, {"known_exploited": True}),
    ({"cvss": 9.0}, {"cvss": 9.0}, {"cvss": 8.9}),
    (
        {"cvss": 9.0},
        {"ratings": (Rating("nvd", cvss=9.8), Rating("debian"))},
        {"cvss": 5.0, "ratings": (Rating("nvd", cvss=9.8),)},
    ),
    ({"epss": 0.5}, {"epss": 0.5}, {"epss": 0.49}),
    ({"age_of_fix": "14d"}, {"fixed_at": NOW - timedelta(days=14)}, {"fixed_at": NOW - timedelta(days=13, hours=23)}),
    ({"age_of_fix": "14d"}, {"fixed_at": datetime(2026, 1, 1)}, {"fixed_in": (), "fixed_at": None}),
    ({"age_of_fix": "9999999d"}, {"fixed_at": datetime(1900, 1, 1, tzinfo=UTC)}, {"fixed_at": NOW}),
    (
        {"severity": Severity.HIGH, "fixable": True, "epss": 0.1},
        {"severity": Severity.HIGH, "epss": 0.2},
        {"severity": Severity.HIGH, "epss": 0.2, "fixed_in": ()},
    ),
]


@pytest.mark.parametrize(("condition", "matching", "other"), MATCHES)
def test_a_condition_fails_what_matches_all_its_keys_and_nothing_else(
    condition: dict[str, Any], matching: dict[str, Any], other: dict[str, Any]
) -> None:
    rules = ScanRules(fail_on=(Condition(**condition),))
    failed, passed = judged(openssl(**matching), rules=rules), judged(openssl(**other), rules=rules)
    assert (failed.verdict, failed.findings[0].condition) == (Verdict.FAILED, str(rules.fail_on[0]))
    assert (passed.verdict, passed.findings, passed.warnings) == (Verdict.PASSED, (), ())


@pytest.mark.parametrize(
    ("condition", "missing"),
    [
        ({"severity": Severity.LOW}, "severity"),
        ({"known_exploited": True}, "known_exploited"),
        ({"known_exploited": False}, "known_exploited"),
        ({"cvss": 0.0}, "cvss"),
        ({"epss": 0.0}, "epss"),
        ({"age_of_fix": "1d"}, "age_of_fix"),
    ],
)
def test_what_the_report_does_not_tell_matches_nothing_and_is_a_warning(
    condition: dict[str, Any], missing: str
) -> None:
    unsaid = openssl(severity=Severity.UNKNOWN)
    result = judged(unsaid, unsaid, rules=ScanRules(fail_on=(Condition(fixable=False), Condition(**condition))))
    assert (result.verdict, result.findings) == (Verdict.PASSED, ())
    (warning,) = result.warnings
    assert warning.startswith(
        f"condition 2 of fail_on ({Condition(**condition)}) could not be evaluated for 2 findings"
    )
    assert warning.endswith(f"the report does not tell {missing}")


def test_a_key_that_is_not_told_is_no_warning_where_it_decides_nothing() -> None:
    contradicted = Condition(severity=Severity.CRITICAL, epss=0.1)
    other_matches = Condition(severity=Severity.HIGH)
    assert judged(openssl(), rules=ScanRules(fail_on=(contradicted,))).warnings == ()
    both = ScanRules(fail_on=(Condition(known_exploited=True), other_matches))
    assert (judged(openssl(), rules=both).verdict, judged(openssl(), rules=both).warnings) == (Verdict.FAILED, ())


def test_any_of_several_conditions_fails_and_the_first_one_is_named() -> None:
    rules = ScanRules(fail_on=(Condition(known_exploited=True), Condition(severity=Severity.HIGH), Condition(cvss=1)))
    assert judged(openssl(cvss=9.8, known_exploited=False), rules=rules).findings[0].condition == "severity: high"


def test_without_a_finding_or_with_harmless_ones_a_report_passes_and_says_so() -> None:
    assert (judged().verdict, judged().reason) == (Verdict.PASSED, "no vulnerability was found")
    result = judged(openssl(severity=Severity.NEGLIGIBLE))
    assert (result.verdict, result.reason) == (Verdict.PASSED, "none of 1 finding fails")


def test_the_reason_names_the_worst_findings_with_what_fixes_them() -> None:
    busybox = Package(name="busybox", version="1.33")
    result = judged(
        openssl(severity=Severity.LOW),
        openssl(vulnerability="CVE-2", package=busybox, severity=Severity.CRITICAL, known_exploited=True),
        openssl(vulnerability="CVE-4", fixed_in=("1", "2")),
        openssl(vulnerability="CVE-3", fixed_in=()),
        openssl(vulnerability="CVE-5", severity=Severity.NEGLIGIBLE),
    )
    assert result.reason == (
        "4 of 5 findings fail: CVE-2 in busybox 1.33 (critical, known to be exploited, fixed in 1.1.1l-r0), "
        "CVE-3 in openssl 1.1.1k-r0 (high, not fixed), CVE-4 in openssl 1.1.1k-r0 (high, fixed in 1 or 2) and 1 more"
    )
    assert list(result.counts.items()) == [
        (Severity.CRITICAL, 1),
        (Severity.HIGH, 2),
        (Severity.LOW, 1),
        (Severity.NEGLIGIBLE, 1),
    ]


def test_the_judgement_does_not_depend_on_the_order_of_the_report() -> None:
    found = [openssl(vulnerability=f"CVE-{number}", severity=severity) for number in (3, 1, 2) for severity in Severity]
    assert judged(*found) == judged(*reversed(found))


def test_names_out_of_a_report_are_cut_and_printable_in_a_reason() -> None:
    package = Package(name="a\x1b[2J\n" + "x" * 500)
    reason = judged(openssl(package=package)).reason
    assert reason.isprintable()
    assert len(reason) < 300


# What does not fail although it matches.


def test_findings_without_a_fix_are_ignored_if_the_rules_say_so() -> None:
    rules = msgspec.structs.replace(ANY, ignore_unfixed=True)
    assert judged(openssl(), rules=rules).verdict is Verdict.FAILED
    result = judged(openssl(fixed_in=()), rules=rules)
    assert (result.verdict, result.reason) == (Verdict.PASSED, "none of 1 finding fails (1 without a fix)")
    assert result.findings[0].outcome is Outcome.UNFIXED


def test_only_what_the_promoted_image_does_not_have_is_new() -> None:
    rules = msgspec.structs.replace(ANY, new_only=True)
    moved = Package(name="OpenSSL", version="1.1.1", purl="pkg:apk/alpine/openssl@1.1.1", path="lib", layer="sha256:1")
    known = keys_of([openssl(package=moved)])
    result = judged(openssl(), rules=rules, baseline=known)
    assert (result.verdict, result.reason) == (Verdict.PASSED, "none of 1 finding fails (1 not new)")
    assert judged(openssl(), baseline=known).verdict is Verdict.FAILED, "the rules do not ask for it"
    for other in (openssl(vulnerability="CVE-9", aliases=()), openssl(package=Package(name="busybox"))):
        assert judged(other, rules=rules, baseline=known).verdict is Verdict.FAILED


def test_a_vulnerability_is_not_new_under_another_of_its_ids() -> None:
    rules, known = msgspec.structs.replace(ANY, new_only=True), keys_of([openssl()])
    renamed = openssl(vulnerability="ghsa-5ww6-px42-wc85", aliases=())
    assert judged(renamed, rules=rules, baseline=known).with_outcome(Outcome.NOT_NEW)


@pytest.mark.parametrize("baseline", [None, frozenset()])
def test_everything_is_new_in_the_first_image(baseline: frozenset[str] | None) -> None:
    rules = msgspec.structs.replace(ANY, new_only=True)
    assert judged(openssl(), rules=rules, baseline=baseline).verdict is Verdict.FAILED


def test_an_exception_covers_its_finding_and_is_named() -> None:
    result = judged(openssl(), exceptions=[accepted()])
    assert (result.verdict, result.reason) == (Verdict.PASSED, "none of 1 finding fails (1 covered by exceptions)")
    assert result.findings[0].covered_by == "the exception of ada for cve-2021-3711 until 2026-06-30: no TLS"
    assert judged(openssl(vulnerability="CVE-1", aliases=()), exceptions=[accepted()]).verdict is Verdict.FAILED


def test_of_several_exceptions_the_one_that_ends_last_covers() -> None:
    granted = [accepted(until="2026-04-01"), accepted(until="2026-05-01", author="eve"), accepted(until="2025-01-01")]
    covering = judged(openssl(), exceptions=granted).findings[0].exception
    assert covering is granted[1]


def test_an_exception_that_ended_covers_nothing_and_says_so() -> None:
    result = judged(openssl(), exceptions=[accepted(until="2026-03-01T12:00Z")])
    assert (result.verdict, result.unused) == (Verdict.FAILED, ())
    assert result.warnings == (
        "the exception of ada for cve-2021-3711 until 2026-03-01T12:00Z has ended: renew it with a new reason, or "
        "remove it",
    )


def test_an_exception_that_was_renewed_has_no_warning() -> None:
    renewed = accepted(until="2026-06-30", vulnerability="CVE-2021-3711", author="eve")
    for until in ("2026-03-01T12:00Z", "2026-03-08T12:00Z"):
        assert judged(openssl(), exceptions=[accepted(until=until), renewed]).warnings == ()
    ended, too_long = accepted(until="2026-03-01T12:00Z"), accepted(until="2027-03-03")
    assert len(judged(openssl(), exceptions=[ended, too_long]).warnings) == 2


def test_an_exception_near_its_end_covers_with_a_warning() -> None:
    result = judged(openssl(), exceptions=[accepted(until="2026-03-08T12:00Z")])
    assert result.verdict is Verdict.PASSED
    assert result.warnings == ("the exception of ada for cve-2021-3711 until 2026-03-08T12:00Z ends within 7 days",)
    assert judged(openssl(), exceptions=[accepted(until="2026-03-08T12:01Z")]).warnings == ()


def test_an_exception_for_longer_than_a_year_covers_nothing_and_says_so() -> None:
    result = judged(openssl(), exceptions=[accepted(until="2027-03-03")])
    assert (result.verdict, len(result.warnings)) == (Verdict.FAILED, 1)
    assert "ends in more than a year" in result.warnings[0]
    assert judged(openssl(), exceptions=[accepted(until="2027-03-01")]).verdict is Verdict.PASSED


def test_an_exception_that_covers_nothing_is_listed_and_told_where_it_names_its_gates() -> None:
    everywhere, here = accepted(vulnerability="CVE-1"), accepted(vulnerability="CVE-2", gates=("node",))
    result = judged(openssl(), exceptions=[everywhere, here, accepted()])
    assert result.unused == (everywhere, here)
    (warning,) = result.warnings
    assert warning.startswith("the exception of ada for CVE-2 until 2026-06-30 covers nothing in this image")


def test_an_exception_is_used_by_a_finding_that_would_not_fail() -> None:
    result = judged(openssl(severity=Severity.NEGLIGIBLE), exceptions=[accepted(gates=("node",))])
    assert (result.unused, result.warnings) == ((), ())


@pytest.mark.parametrize(("status", "covers"), [(one, one in ("not_affected", "fixed")) for one in Status])
def test_only_what_is_not_affected_or_fixed_is_covered_by_vex(status: Status, covers: bool) -> None:
    version = Product(package=parse_purl("pkg:apk/alpine/openssl@1.1.1k-r0"))
    result = judged(openssl(), vex=[stated(status, products=(version,))])
    assert result.verdict is (Verdict.PASSED if covers else Verdict.FAILED)
    assert bool(result.with_outcome(Outcome.VEX)) is covers


def test_vex_about_another_vulnerability_or_package_covers_nothing() -> None:
    busybox = (Product(package=parse_purl("pkg:apk/alpine/busybox")),)
    for other in (stated(vulnerability="CVE-1"), stated(products=busybox)):
        assert judged(openssl(), vex=[other]).verdict is Verdict.FAILED


def test_vex_about_an_image_covers_in_that_image_only() -> None:
    statement, same = stated(products=(Product(digest=DIGEST),)), Report(format="x", subject=Subject(digests=(DIGEST,)))
    assert judged(openssl(), report=same, vex=[statement]).verdict is Verdict.PASSED
    assert judged(openssl(), vex=[statement]).verdict is Verdict.FAILED


def test_the_newest_statement_counts_and_of_two_at_one_time_the_one_that_does_not_cover() -> None:
    harmless, harmful = stated(), stated(Status.AFFECTED)
    later = stated(Status.AFFECTED, at=NOW + timedelta(hours=1))
    earlier = stated(Status.AFFECTED, at=NOW - timedelta(hours=1))
    undated = msgspec.structs.replace(harmful, stated_at=None)
    for other, verdict in ((later, "failed"), (harmful, "failed"), (earlier, "passed"), (undated, "passed")):
        assert judged(openssl(), vex=[harmless, other]).verdict == verdict
        assert judged(openssl(), vex=[other, harmless]).verdict == verdict


def test_a_statement_from_the_future_is_not_used_and_counted() -> None:
    result = judged(openssl(), vex=[stated(at=NOW + timedelta(days=1, seconds=1))])
    assert result.verdict is Verdict.FAILED
    assert result.warnings == ("VEX statements dated in the future are not used: 1",)
    assert judged(openssl(), vex=[stated(at=NOW + timedelta(days=1))]).verdict is Verdict.PASSED


def test_what_the_scanner_was_told_to_ignore_does_not_fail_and_is_told() -> None:
    result = judged(openssl(suppressed=True))
    assert (result.verdict, result.reason) == (Verdict.PASSED, "none of 1 finding fails (1 suppressed in the report)")
    assert result.warnings == (
        "1 finding suppressed in the report: the scanner's settings say so, without an end; an exception has one",
    )
    assert judged(openssl(suppressed=True), exceptions=[accepted()]).with_outcome(Outcome.EXCEPTION)


def test_what_the_report_itself_calls_harmless_fails_and_the_warning_says_what_would_cover() -> None:
    result = judged(openssl(status="not_affected"), openssl(status="will_not_fix"))
    assert (result.verdict, len(result.with_outcome(Outcome.FAILS))) == (Verdict.FAILED, 2)
    assert result.warnings == (
        "1 finding called not_affected in the report: that covers nothing unless it is given as a VEX document or an "
        "exception",
    )


# Licences and secrets.


@pytest.mark.parametrize(
    ("licence", "denied"),
    [
        ("GPL-3.0-only", True),
        ("gpl-3.0-or-later", True),
        ("LGPL-3.0-only", False),
        ("MIT", False),
        ("MIT OR GPL-3.0-only", False),
        ("GPL-3.0-only OR AGPL-3.0", True),
        ("MIT AND GPL-3.0-only", True),
        ("(MIT OR GPL-3.0-only) AND ISC", True),
        ("GPL-3.0-only WITH GCC-exception-3.1", True),
        ("FOR", False),
        ("", False),
    ],
)
def test_licences_are_denied_by_pattern_and_a_choice_only_if_all_are(licence: str, denied: bool) -> None:
    assert is_denied(licence, ("GPL-3.0*", "AGPL-[3].0", "AGPL-3.?")) is denied


def test_a_denied_licence_fails_with_the_package_that_has_it() -> None:
    report = Report(
        format="trivy", licences=(Licence(name="MIT", package="a"), Licence(name="GPL-3.0", package="bash"))
    )
    rules = ScanRules(licences=LicenceRule(deny=("GPL-*",)))
    result = judged(rules=rules, report=report)
    assert (result.verdict, result.reason) == (Verdict.FAILED, "1 denied licence: GPL-3.0 of bash")
    assert judged(report=report).verdict is Verdict.PASSED


def test_secrets_fail_or_are_ignored_as_the_rules_say() -> None:
    report = Report(format="trivy", secrets=tuple(Secret(rule="private-key", path=f"{n}.pem") for n in (2, 1, 3, 4)))
    result = judged(openssl(), rules=msgspec.structs.replace(ANY, secrets="fail"), report=report)
    assert result.reason.startswith("1 of 1 finding fails: CVE-2021-3711 in openssl")
    assert result.reason.endswith(
        "; 4 secrets: private-key in 1.pem, private-key in 2.pem, private-key in 3.pem and 1 more"
    )
    ignored = judged(report=report)
    assert (ignored.verdict, ignored.secrets) == (Verdict.PASSED, ())


def test_suppressed_licences_and_secrets_do_not_fail_and_are_counted_where_they_would() -> None:
    report = Report(
        format="trivy",
        licences=tuple(Licence(name=name, package="bash", suppressed=True) for name in ("GPL-3.0", "GPL-2.0", "MIT")),
        secrets=(Secret(rule="private-key", path="1.pem", suppressed=True),),
    )
    rules = ScanRules(licences=LicenceRule(deny=("GPL-*",)), secrets="fail")
    result = judged(rules=rules, report=report)
    assert (result.verdict, result.licences, result.secrets) == (Verdict.PASSED, (), ())
    why = "suppressed in the report: the scanner's settings say so, without an end; an exception has one"
    assert result.warnings == (f"2 licences, 1 secret {why}",)
    assert judged(report=report).warnings == ()
    both = msgspec.structs.replace(report, secrets=(*report.secrets, Secret(rule="private-key", path="1.pem")))
    assert judged(rules=rules, report=both).reason == "1 secret: private-key in 1.pem"
    assert judged(rules=rules, report=both).warnings == (f"2 licences {why}",)


# What allows no verdict.


def database(**scanner: Any) -> Report:
    return Report(format="trivy", scanner=Scanner(**scanner))


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (database(), "the report does not tell the age of the scanner's database (max_database_age: 3d)"),
        (
            database(database_built_at=NOW - timedelta(days=3, seconds=1)),
            "the scanner's database is 3 days old (max_database_age: 3d): update it, scan again",
        ),
        (
            database(database_built_at=NOW + timedelta(days=1, seconds=1)),
            "the scanner's database is dated 2026-03-02 12:00 UTC, in the future: check the clock of the scanner",
        ),
        (
            Report(format="trivy", created_at=datetime(2030, 1, 1)),
            "the report is dated 2030-01-01 00:00 UTC, in the future: check the clock of the scanner",
        ),
    ],
)
def test_an_old_a_future_or_an_undated_database_allows_no_verdict(report: Report, reason: str) -> None:
    rules = msgspec.structs.replace(ANY, max_database_age="3d")
    for found in ((), (openssl(),)):
        result = judged(*found, rules=rules, report=report)
        assert (result.verdict, result.reason) == (Verdict.UNKNOWN, reason)
    assert result.with_outcome(Outcome.FAILS), "what was found is shown, too"


def test_a_database_as_old_as_allowed_is_good_enough() -> None:
    rules = msgspec.structs.replace(ANY, max_database_age="3d")
    for age in (timedelta(days=3), timedelta(0), timedelta(days=-1)):
        assert judged(rules=rules, report=database(database_built_at=NOW - age)).verdict is Verdict.PASSED
    assert judged(report=database()).verdict is Verdict.PASSED, "without the rule no age is needed"


def test_rules_that_fail_everything_or_nothing_are_problems() -> None:
    assert [key for key, _ in ScanRules().rule_problems()] == ["fail_on"]
    ((_, empty),) = ScanRules(fail_on=(Condition(fixable=True), Condition())).rule_problems()
    assert empty.startswith("condition 2 has no key")
    for right in (ANY, ScanRules(secrets="fail"), ScanRules(licences=LicenceRule(deny=("X",)))):
        assert list(right.rule_problems()) == []


def test_a_judgement_is_json() -> None:
    result = judged(openssl(), openssl(vulnerability="CVE-2"), exceptions=[accepted()], vex=[stated()])
    assert msgspec.json.decode(msgspec.json.encode(result), type=Judgement) == result
