"""Exceptions: what they cover, until when, and how they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
import yaml

from scripts.schema import gates_schema
from shared.domain.errors import Malformed
from shared.domain.policy import ExceptionRule
from shared.findings.exceptions import LONGEST, SOON, end_warning, is_about, is_active, is_in_scope
from shared.findings.model import Finding, Package
from shared.findings.purls import Purl, parse_purl
from shared.rules import InvalidGates, parse_condition, parse_exceptions, parse_gates
from shared.settings import APP_ROOT

RULES = (APP_ROOT / "gates.sample.yaml").read_text(encoding="utf-8")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CORE = Package(name="@angular/core", version="16.0.0", purl="pkg:npm/%40angular/core@16.0.0?arch=x86_64&distro=alpine")
FINDING = Finding(vulnerability="CVE-2026-1234", aliases=("GHSA-aaaa-bbbb-cccc",), package=CORE)


def accepted(**changes: Any) -> ExceptionRule:
    usual = {"vulnerability": "CVE-2026-1234", "justification": "unused", "author": "ada", "until": "2026-06-30"}
    return ExceptionRule(**(usual | changes))


def covered(finding: Finding = FINDING, gate: str = "node", **changes: Any) -> bool:
    exception = accepted(**changes)
    return is_in_scope(exception, gate) and is_active(exception, NOW) and is_about(exception, finding)


@pytest.mark.parametrize("name", ["CVE-2026-1234", "cve-2026-1234", "GHSA-AAAA-bbbb-cccc"])
def test_a_vulnerability_is_named_by_any_of_its_ids_in_any_case(name: str) -> None:
    assert covered(vulnerability=name)
    assert not covered(vulnerability=f"{name}5")


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ("", True),
        ("@angular/core", True),
        ("@Angular/Core@16.0.0", True),
        ("@angular/core@16", False),
        ("core", False),
        ("pkg:npm/%40angular/core", True),
        ("pkg:npm/@angular/core", True),
        ("pkg:npm/@angular/core@16.0.0", True),
        ("pkg:npm/%40angular/core@16.0.1", False),
        ("pkg:npm/%40angular/core@16.0.0?arch=x86_64", True),
        ("pkg:npm/%40angular/core@16.0.0?arch=arm64", False),
        ("pkg:npm/core", False),
        ("pkg:pypi/%40angular/core", False),
    ],
)
def test_a_package_is_named_by_name_or_purl_with_or_without_version(package: str, expected: bool) -> None:
    assert covered(package=package) is expected


def test_a_purl_covers_no_package_that_has_none() -> None:
    bare = Finding(vulnerability="CVE-2026-1234", package=Package(name="@angular/core", version="16.0.0"))
    assert covered(bare, package="@angular/core@16.0.0")
    assert not covered(bare, package="pkg:npm/%40angular/core")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, True),
        ({"gates": ("python", "node")}, True),
        ({"gates": ("python",)}, False),
    ],
)
def test_it_is_for_its_gates_and_for_all_where_it_names_none(scope: dict[str, Any], expected: bool) -> None:
    assert covered(**scope) is expected


def test_for_an_image_of_an_unknown_gate_only_exceptions_for_all_count() -> None:
    assert covered(gate="")
    assert not covered(gate="", gates=("node",))


@pytest.mark.parametrize(
    ("until", "ends_at"),
    [
        ("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-12-31T12:00Z", datetime(2026, 12, 31, 12, tzinfo=UTC)),
        ("2026-12-31T12:00:30+02:00", datetime(2026, 12, 31, 10, 0, 30, tzinfo=UTC)),
    ],
)
def test_it_ends_with_its_day_in_utc_or_at_its_time(until: str, ends_at: datetime) -> None:
    assert accepted(until=until).ends_at == ends_at


def test_it_covers_until_its_end_and_at_most_for_a_year() -> None:
    def at(moment: datetime) -> bool:
        return is_active(accepted(until="2026-06-30T00:00Z"), moment)

    end = datetime(2026, 6, 30, tzinfo=UTC)
    assert at(end - timedelta(seconds=1))
    assert not at(end)
    assert at(end - LONGEST)
    assert not at(end - LONGEST - timedelta(seconds=1))


def test_its_end_is_told_a_week_before_and_after_it() -> None:
    end, exception = datetime(2026, 6, 30, tzinfo=UTC), accepted(until="2026-06-30T00:00Z", package="core")
    assert end_warning(exception, end - SOON - timedelta(seconds=1)) == ""
    soon = "the exception of ada for CVE-2026-1234 in core until 2026-06-30T00:00Z ends within 7 days"
    assert end_warning(exception, end - SOON) == end_warning(exception, end - timedelta(seconds=1)) == soon
    assert "has ended" in end_warning(exception, end)
    assert "ends in more than a year" in end_warning(exception, end - LONGEST - timedelta(seconds=1))


# How they are written.

ENTRY = "{vulnerability: CVE-2026-1234, justification: unused, author: ada, until: 2026-12-31}"
ENTRY_LINE = RULES.count("\n") + 2


def test_exceptions_stand_beside_the_gates_and_a_day_needs_no_quotes() -> None:
    written = f"{RULES}exceptions:\n  - {ENTRY}\n"
    (exception,) = parse_gates(written).exceptions
    assert exception == accepted(until="2026-12-31")
    assert parse_gates(written.replace("2026-12-31", '"2026-12-31"')).exceptions == (exception,)
    (timed,) = parse_gates(written.replace("2026-12-31", "2026-12-31T12:00:00Z")).exceptions
    assert timed.until == "2026-12-31T12:00:00Z"


def test_the_schema_for_editors_knows_exceptions() -> None:
    rules: dict[str, Any] = yaml.safe_load(RULES)
    entry = yaml.safe_load(ENTRY.replace("2026-12-31", '"2026-12-31"'))
    jsonschema.validate(rules | {"exceptions": [entry]}, gates_schema())
    for wrong in ({"until": "soon"}, {"author": " "}, {"because": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(rules | {"exceptions": [entry | wrong]}, gates_schema())


def test_one_that_has_ended_is_no_error() -> None:
    assert len(parse_gates(f"{RULES}exceptions:\n  - {ENTRY.replace('2026', '2021', 2)}\n").exceptions) == 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("author: ada, ", "", f"line {ENTRY_LINE}, column 5: exceptions.0: the key 'author' is missing"),
        ("justification: unused, ", "", "exceptions.0: the key 'justification' is missing"),
        (", until: 2026-12-31", "", "exceptions.0: the key 'until' is missing"),
        ("vulnerability: CVE-2026-1234, ", "", "exceptions.0: the key 'vulnerability' is missing"),
        ("CVE-2026-1234", '"*"', "exceptions.0.vulnerability: '*' is not the id of a vulnerability, e.g. CVE-2026"),
        ("unused", '" "', "exceptions.0.justification: ' ' is not a text of 1 to 1000 characters"),
        ("2026-12-31", "2026-12-31T12:00:00", "exceptions.0.until: '2026-12-31T12:00:00' is not a day, e.g."),
        ("2026-12-31", "next year", "exceptions.0.until: 'next year' is not a day, e.g. 2026-12-31 (to its end"),
        ("2026-12-31", '"2026-02-30"', "exceptions.0.until: '2026-02-30' is no day or time: day is out of range"),
        ("author", "gates: [nodes], author", "exceptions.0.gates.0: there is no gate 'nodes' (known: node)"),
        (
            "author",
            'tags: ["15-*"], author',
            "exceptions.0.tags: unknown key; known keys: vulnerability, package, gates,",
        ),
        ("author", "package: 'pkg:npm', author", "exceptions.0.package: 'pkg:npm' is no purl: write pkg:type/name"),
        ("author", "owner", "exceptions.0.owner: unknown key; known keys: vulnerability, package, gates,"),
    ],
)
def test_what_is_wrong_with_one_is_told_with_its_place(old: str, new: str, problem: str) -> None:
    assert ENTRY.count(old) == 1
    with pytest.raises(InvalidGates) as caught:
        parse_gates(f"{RULES}exceptions:\n  - {ENTRY.replace(old, new)}\n")
    assert any(problem in line for line in caught.value.errors), caught.value.errors


def test_a_file_of_exceptions_is_the_list_with_or_without_its_key() -> None:
    for text in (f"- {ENTRY}\n", f"exceptions:\n- {ENTRY}\n"):
        assert parse_exceptions(text) == (accepted(until="2026-12-31"),)
    with pytest.raises(InvalidGates, match=r"my\.yaml has 1 error:\n  line 1, column 1: Expected a list"):
        parse_exceptions("gates: {}", "my.yaml")
    with pytest.raises(InvalidGates, match=r"line 2, column 70: exceptions\.0\.until: '2026-02-30' is no day"):
        parse_exceptions(f"exceptions:\n- {ENTRY}\n".replace("2026-12-31", '"2026-02-30"'))


# Conditions in one line.


def test_a_condition_in_one_line_is_that_of_the_file() -> None:
    condition = parse_condition("severity=high, fixable,known_exploited=false,cvss=9,epss=0.5,age_of_fix=14d")
    assert str(condition) == (
        "severity: high, fixable: true, known_exploited: false, cvss: 9.0, epss: 0.5, age_of_fix: 14d"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "at least one"),
        ("severity=high,severity=low", "each key is needed once"),
        ("severity=hi", "severity: 'hi' is not a severity: critical, high"),
        ("severity", "severity: True is not a severity"),
        ("cvss=11", "cvss: 11.0 is not a CVSS base score from 0 to 10"),
        ("epss=nan", "epss: nan is not an EPSS probability"),
        ("fixable=yes", "fixable: 'yes' is not true (a version fixes it) or false"),
        ("age_of_fix=1w", "age_of_fix: '1w' is not a number and s, m, h or d"),
        ("score=9", "score: unknown key; known keys: severity, fixable"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused_by_key(text: str, problem: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_condition(text)
    assert problem in str(caught.value)


# Package URLs.


@pytest.mark.parametrize(
    ("text", "purl"),
    [
        (
            "pkg:deb/debian/OpenSSL@1.1.1n-0%2Bdeb10u3?arch=amd64#x",
            Purl("deb", "debian/openssl", "1.1.1n-0+deb10u3", ("arch=amd64",), "x"),
        ),
        ("PKG://PyPI/a_b@1", Purl("pypi", "a-b", "1")),
        ("pkg:golang/github.com/x/y@v1", Purl("golang", "github.com/x/y", "v1")),
        ("pkg:golang/x/y#/Api/%61/", Purl("golang", "x/y", subpath="api/a")),
        ("pkg:npm/@scope/x", Purl("npm", "@scope/x")),
        ("pkg:npm/x@", Purl("npm", "x")),
        ("pkg:npm", None),
        ("pkg:/x", None),
        ("npm/x", None),
        ("", None),
        ("pkg:npm/" + "x" * 5000, None),
    ],
)
def test_purls_are_read_as_the_specification_says(text: str, purl: Purl | None) -> None:
    assert parse_purl(text) == purl
