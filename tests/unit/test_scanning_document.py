"""What docs/scanning.md says of rules and sample reports is what happens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import yaml

from shared.checks.scan import ScanCheck
from shared.findings.judge import Judgement, Outcome, judge, keys_of
from shared.findings.model import BrokenReport, Report
from shared.findings.read import read_report
from shared.findings.rules import ScanRules
from shared.rules import parse_exceptions, parse_gates
from shared.settings import APP_ROOT

TEXT = (APP_ROOT / "docs/scanning.md").read_text(encoding="utf-8")
SAMPLES = sorted(file for file in (APP_ROOT / "tests/data/reports").iterdir() if file.suffix in (".json", ".sarif"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)

RULES = {
    "`severity: high`": {"fail_on": [{"severity": "high"}]},
    "`severity: low`": {"fail_on": [{"severity": "low"}]},
    "… `fixable: true`": {"fail_on": [{"severity": "low", "fixable": True}]},
    "… `ignore_unfixed`": {"fail_on": [{"severity": "low"}], "ignore_unfixed": True},
    "`severity: unknown`": {"fail_on": [{"severity": "unknown"}]},
    "`cvss: 7`": {"fail_on": [{"cvss": 7}]},
    "`epss: 0.1`": {"fail_on": [{"epss": 0.1}]},
    "`known_exploited`": {"fail_on": [{"known_exploited": True}]},
    "`age_of_fix: 30d`": {"fail_on": [{"age_of_fix": "30d"}]},
    "`licences: {deny: [GPL-*]}`": {"licences": {"deny": ["GPL-*"]}},
    "`secrets: fail`": {"secrets": "fail"},
}
"""The rules of the table's columns."""


def table() -> Iterator[str]:
    """The table of the document, line by line."""
    yield f"| report | {' | '.join(RULES)} |"
    yield f"| --- |{' --- |' * len(RULES)}"
    for file in SAMPLES:
        yield f"| {file.name} | {' | '.join(cells(file))} |"


def cells(file: Path) -> Iterator[str]:
    report = read(file)
    for rules in RULES.values():
        yield cell(judge(report, msgspec.convert(rules, ScanRules), now=NOW)) if report else "unknown"


def read(file: Path) -> Report | None:
    """A sample; None if it is broken."""
    try:
        with file.open("rb") as stream:
            return read_report(stream)
    except BrokenReport:
        return None


def cell(judgement: Judgement) -> str:
    """The verdict, with how many findings, licences or secrets fail, and for how many findings a key is not told."""
    failing = len(judgement.with_outcome(Outcome.FAILS)) + len(judgement.licences) + len(judgement.secrets)
    gaps = re.findall(r"could not be evaluated for (\d+)", " ".join(judgement.warnings))
    count = f" {failing}" if judgement.verdict == "failed" else ""
    return f"{judgement.verdict}{count}{''.join(f' ({gap} ?)' for gap in gaps)}"


def test_the_table_of_the_sample_reports_is_what_the_rules_do() -> None:
    lines = list(table())
    assert len(lines) > 20
    assert "\n".join(lines) in TEXT, "\n".join(["the table must be:", *lines])


def test_no_sample_has_a_new_database_and_none_has_anything_new_against_itself() -> None:
    strict = msgspec.convert({"fail_on": [{"severity": "low"}], "max_database_age": "3d"}, ScanRules)
    changed = msgspec.convert({"fail_on": [{"severity": "low"}], "new_only": True}, ScanRules)
    for report in filter(None, map(read, SAMPLES)):
        assert judge(report, strict, now=NOW).verdict == "unknown"
        nothing_new = judge(report, changed, now=NOW, baseline=keys_of(report.findings))
        assert nothing_new.verdict == ("passed" if report.compared else "unknown")


@pytest.mark.parametrize("scanner", ["Trivy", "Grype", "OSV-Scanner", "Microsoft Defender"])
def test_the_example_of_a_scanner_can_be_pasted_and_gives_what_it_says(scanner: str) -> None:
    section = TEXT.partition(f"\n### {scanner}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    (written,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    sample = yaml.safe_load((APP_ROOT / "gates.sample.yaml").read_text(encoding="utf-8"))
    sample["gates"]["node"]["checks"] = [yaml.safe_load(written)]
    (rule,) = parse_gates(yaml.safe_dump(sample)).gates["node"].checks
    assert isinstance(rule, ScanCheck)
    (task,) = re.findall(r"\[The task\]\(\.\./(\S+)\)", section)
    assert set(re.findall(r"\.Values\.(\w+)", (APP_ROOT / task).read_text(encoding="utf-8"))) >= set(rule.values)
    for name, said in re.findall(r"What comes out for `(\S+)`:\n\n```text\n(.*?)\n```", section, re.DOTALL):
        report = read(APP_ROOT / "tests/data/reports" / name)
        assert report
        judgement = judge(report, rule, now=NOW)
        assert f"{judgement.verdict}: {judgement.reason}" == said


def test_the_example_of_rules_can_be_pasted() -> None:
    gate, platforms, rules, exceptions = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[:4]
    sample = yaml.safe_load((APP_ROOT / "gates.sample.yaml").read_text(encoding="utf-8"))
    sample["gates"]["node"] |= yaml.safe_load(gate)["gates"]["node"]
    assert [check.kind for check in parse_gates(yaml.safe_dump(sample)).gates["node"].checks] == ["task", "scan"]
    sample["gates"]["node"] |= yaml.safe_load(platforms)
    assert [check.kind for check in parse_gates(yaml.safe_dump(sample)).gates["node"].checks] == ["scan", "scan"]
    assert list(msgspec.convert(yaml.safe_load(rules), ScanRules).rule_problems()) == []
    (exception,) = parse_exceptions(exceptions)
    assert (exception.gates, exception.until) == (("node",), "2026-06-30")
