"""Reports of real scanners give what the table in docs/scanning.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.findings.model import BrokenReport, Finding, Licence, Report, Secret
from shared.findings.read import read_report
from tests.unit.reports.made import SAMPLES

_DOCUMENT = (Path(__file__).parents[3] / "docs/scanning.md").read_text(encoding="utf-8")
_ROWS = {
    name: [cell.strip() for cell in cells.split("|")]
    for name, cells in re.findall(r"^\| `([^`]+\.(?:json|sarif))` \|(.*)\|$", _DOCUMENT, re.MULTILINE)
}
"""Format, findings, fixable ones, what there is besides, and why."""
NAMES = sorted(file.name for file in SAMPLES.iterdir() if file.suffix in (".json", ".sarif"))


def test_every_sample_is_in_the_table() -> None:
    assert sorted(_ROWS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_gives_what_the_table_says(name: str) -> None:
    assert _row(SAMPLES / name) == _ROWS[name][:-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_of_the_format_that_it_is_said_to_be_and_of_no_other(name: str) -> None:
    data = (SAMPLES / name).read_bytes()
    right = _ROWS[name][0]
    for format_ in ("trivy", "grype", "osv", "sarif", "cyclonedx"):
        try:
            report = read_report([data], format_)
        except BrokenReport:
            assert format_ != right
        else:
            assert format_ == right == report.format


def _row(file: Path) -> list[str]:
    with file.open("rb") as stream:
        try:
            report = read_report(stream)
        except BrokenReport:
            return ["broken", "", "", ""]
    findings = ", ".join(f"{severity} {count}" for severity, count in report.by_severity()) or "none"
    fixable = sum(finding.fixable for finding in report.findings)
    return [report.format, findings, str(fixable), _others(report)]


def _others(report: Report) -> str:
    all_: list[Finding | Licence | Secret] = [*report.findings, *report.licences, *report.secrets]
    counts = {
        "licences": len(report.licences),
        "secrets": len(report.secrets),
        "misconfigurations": report.misconfigurations,
        "suppressed": sum(one.suppressed for one in all_),
    }
    return ", ".join(f"{what} {count}" for what, count in counts.items() if count)
