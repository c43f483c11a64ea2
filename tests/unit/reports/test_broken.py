"""What is broken raises BrokenReport, and nothing else: in any place, of any kind, in any amount."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import msgspec
import pytest

from shared.findings import gathering
from shared.findings.json_stream import JsonStream
from shared.findings.model import BrokenReport, Severity
from shared.findings.read import read_report
from tests.unit.reports.made import MADE, SAMPLES, changed, outcome, read

_CUTS = 10
_CHANGES = 120
_FILES = [file for file in sorted(SAMPLES.iterdir()) if file.suffix in (".json", ".sarif")]
NAMES = [file.name for file in _FILES]
SMALL = [file.name for file in _FILES if 100 < file.stat().st_size < 25_000]


@pytest.mark.parametrize("name", NAMES)
def test_a_report_that_is_cut_off_anywhere_is_broken(name: str) -> None:
    data = (SAMPLES / name).read_bytes().rstrip()
    for end in range(0, len(data), max(1, len(data) // _CUTS)):
        assert outcome(data[:end]) is None, end


@pytest.mark.parametrize("format_", MADE)
def test_a_report_that_is_cut_off_after_any_few_bytes_is_broken(format_: str) -> None:
    data = json.dumps(MADE[format_]).encode()
    assert [end for end in range(0, len(data), 5) if outcome(data[:end])] == []


@pytest.mark.parametrize("name", SMALL)
def test_values_of_any_kind_in_any_place_of_a_sample_are_read_or_the_report_is_broken(name: str) -> None:
    _check(changed(json.loads((SAMPLES / name).read_bytes()), random.Random(name), 8))


@pytest.mark.parametrize("format_", MADE)
def test_values_of_any_kind_in_any_place_are_read_or_the_report_is_broken(format_: str) -> None:
    _check(changed(MADE[format_], random.Random(format_), _CHANGES))


def test_an_entry_that_is_decoded_to_its_type_at_once_gives_what_it_gives_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [json.dumps(report, indent=indent).encode() for report in MADE.values() for indent in (None, 1, 2)]
    samples = [(SAMPLES / name).read_bytes() for name in SMALL]
    altered = [data for sample in samples for data in changed(json.loads(sample), random.Random(7), 3)]
    documents = [*made, *samples, *altered]
    at_once = [outcome(data) for data in documents]
    monkeypatch.setattr(JsonStream, "_end_of_object", lambda _: 0)
    assert [outcome(data) for data in documents] == at_once
    assert None in at_once
    assert any(at_once)


def _check(documents: Iterator[bytes]) -> None:
    for data in documents:
        report = outcome(data)
        if report is None:
            continue
        kept = msgspec.json.encode(report)  # a lone surrogate could not be kept
        assert b"\\u001b" not in kept, data
        assert all(finding.vulnerability and finding.package.name for finding in report.findings), data


def _trivy(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    entry = {"VulnerabilityID": "CVE-1", "PkgName": "a", "InstalledVersion": "1", "Severity": "LOW"}
    made = [{**entry, **changes} for changes in entries]
    return {"SchemaVersion": 2, "Results": [{"Target": "x", "Vulnerabilities": made}], **more}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"null", "a single value"),
        (b"[]", "nothing was scanned"),
        (b"[{}, 7]", "not of its format|has no {"),
        (b"{}", "of no known format: trivy, grype, osv, sarif, cyclonedx"),
        (b'{"runs": []}', "of version None of SARIF"),
        (b"<xml/>", "a single value"),
        ({"SchemaVersion": 2}, "nothing was scanned"),
        ({"SchemaVersion": 2, "Results": None}, "nothing was scanned"),
        ({"SchemaVersion": 2, "Results": []}, "nothing was scanned"),
        ({"SchemaVersion": 3, "Results": [{}]}, "of schema 3 of Trivy; 2 is read"),
        ({"Results": [{}]}, "of schema None of Trivy"),
        (_trivy({"VulnerabilityID": ""}), "a finding without an id, in a"),
        (_trivy({"PkgName": ""}), "a package without a name"),
        (_trivy({"Severity": 3}), r"not of its format at character \d+: Expected `str`, got `int`"),
        (_trivy({"CVSS": {"nvd": {"V3Score": 11}}}), "a CVSS base score that is not between 0 and 10"),
        (_trivy({"VendorSeverity": {"nvd": 5}}), "a severity of a vendor that is not between 0 and 4"),
        (_trivy({"PkgName": "x" * 5000}), "a name of 5,000 characters; it may have 4,096"),
        ({"descriptor": {}, "matches": None}, "no list of matches: nothing was compared"),
        ({"results": None}, "no list of results: nothing was compared"),
        ({"version": "2.1.0", "runs": []}, "has no runs: nothing was scanned"),
        ({"version": "1.0.0", "runs": [{"results": []}]}, "of version '1.0.0' of SARIF; 2.1.0 is read"),
        ({"version": "2.1.0", "runs": [{"results": []}, {"results": None}]}, "a run without results"),
        (
            {"version": "2.1.0", "runs": [{"results": [], "invocations": [{"executionSuccessful": False}]}]},
            "the scanner failed",
        ),
        ({"bomFormat": "CycloneDX", "components": []}, "a bill of materials, and no scan"),
        ({"bomFormat": "CycloneDX", "vulnerabilities": [], "components": []}, "its components after its vulnerab"),
        ({"bomFormat": "CycloneDX", "vulnerabilities": [{"id": "CVE-1"}]}, "affects nothing: CVE-1"),
    ],
)
def test_a_report_that_says_nothing_or_something_impossible_is_broken(document: Any, problem: str) -> None:
    with pytest.raises(BrokenReport, match=problem):
        read(document)


def test_a_format_that_is_not_known_is_named() -> None:
    with pytest.raises(BrokenReport, match="said to be of the format clair; known formats: trivy, grype"):
        read(_trivy({}), "clair")


def test_an_unknown_severity_is_unknown_and_a_date_in_the_future_is_as_it_is_written() -> None:
    words = ("LOW", "low", " Moderate ", "APOCALYPTIC", "")
    entries = [{"VulnerabilityID": f"CVE-{number}", "Severity": word} for number, word in enumerate(words)]
    report = read(_trivy(*entries, CreatedAt="2999-01-01T00:00:00Z"))
    assert [finding.severity.value for finding in report.findings] == ["low", "low", "medium", "unknown", "unknown"]
    assert report.created_at
    assert report.created_at.year == 2999


@pytest.mark.parametrize("text", ["soon", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "2026-02-30", ""])
def test_what_is_no_time_is_not_told(text: str) -> None:
    assert read(_trivy({}, CreatedAt=text)).created_at is None


def test_duplicates_are_merged_and_the_worse_of_each_value_counts() -> None:
    one = {"Severity": "LOW", "FixedVersion": "2", "Status": "fixed", "CVSS": {"nvd": {"V3Score": 3}}}
    other = {"Severity": "HIGH", "FixedVersion": "3", "Title": "x", "VulnerabilityID": "cve-1"}
    elsewhere = {"PkgPath": "/opt/a"}
    (merged, unknown) = read(_trivy(one, other, {"Severity": "?"}, elsewhere)).findings
    assert (merged.severity, merged.fixed_in, merged.cvss, merged.title) == (Severity.HIGH, ("2", "3"), 3.0, "x")
    assert merged.status == ""
    assert unknown.package.path == "/opt/a"


def test_the_same_finding_may_not_be_merged_with_ever_more_fixed_versions() -> None:
    entries = [{"FixedVersion": str(number)} for number in range(600)]
    with pytest.raises(BrokenReport, match="a finding with more than 500 ids, ratings or fixed versions"):
        read_report([json.dumps(_trivy(*entries)).encode()])


_ENTRY = b'{"VulnerabilityID":"CVE-%d","PkgName":"a"},'


def _many(entries: Iterator[bytes]) -> Iterator[bytes]:
    yield b'{"SchemaVersion":2,"Results":[{"Vulnerabilities":['
    yield from entries
    yield _ENTRY[:-1] % 0 + b"]}]}"


@pytest.mark.parametrize("is_same", [True, False], ids=["duplicates", "different"])
def test_a_million_findings_are_too_many_long_before_the_end(is_same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathering.LIMIT_FINDINGS == 100_000
    monkeypatch.setattr(gathering, "LIMIT_FINDINGS", 2_000)
    read_so_far = 0

    def entries() -> Iterator[bytes]:
        nonlocal read_so_far
        for number in range(2_000):
            read_so_far += 500
            yield b"".join(_ENTRY % (0 if is_same else 500 * number + index) for index in range(500))

    with pytest.raises(BrokenReport, match="more than 2,000 findings"):
        read_report(_many(entries()))
    assert read_so_far < 10_000


def test_a_report_that_names_more_than_can_be_kept_is_broken() -> None:
    titles = (b'{"VulnerabilityID":"CVE-1","PkgName":"%d%s"},' % (number, b"x" * 4000) for number in range(20_000))
    with pytest.raises(BrokenReport, match="more packages, vulnerabilities and texts than can be kept"):
        read_report(_many(titles))


def test_many_licences_are_too_many_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "LIMIT_FINDINGS", 2_000)
    licences = b",".join(repeat(b'{"Name":"MIT"}', 1000))
    pieces = [b'{"SchemaVersion":2,"Results":[{"Licenses":[', *([licences + b","] * 2), licences, b"]}]}"]
    with pytest.raises(BrokenReport, match="more than 2,000 findings, licences and secrets"):
        read_report(pieces)
