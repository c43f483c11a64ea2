"""`basegate judge`: verdict, reasons and exit codes of reports in files, without a gate."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from basegate_cli.commands import main
from shared import checks
from shared.checks.kind import CheckKind, Started
from shared.domain.candidate import Candidate
from shared.domain.policy import CheckRule, Policy
from shared.findings.rules import ScanRules
from shared.settings import APP_ROOT

NOW = ("--now", "2026-03-01T12:00Z")
SAMPLE = (APP_ROOT / "gates.sample.yaml").read_text(encoding="utf-8")
EXCEPTION = "{vulnerability: CVE-2026-1, justification: no TLS, author: ada, until: 2026-06-30}"

Run = Callable[..., tuple[int, str, str]]


class ScanCheck(ScanRules, CheckRule, frozen=True, kw_only=True):
    """The judging part of a scan."""

    kind = "scan"

    def problems(self, policy: Policy, *, signs_in: bool) -> Iterator[tuple[str, str]]:
        yield from self.rule_problems()


class ScanCheckKind(CheckKind[ScanCheck]):
    """A scan that is never started: only its rule is used."""

    rule = ScanCheck

    def start(self, candidate: Candidate, rule: ScanCheck, mark: str) -> Started:
        raise NotImplementedError

    def dependency(self, rule: ScanCheck) -> str:
        raise NotImplementedError


def trivy(*vulnerabilities: dict[str, Any], **parts: Any) -> bytes:
    result = {"Target": "node (alpine 3.19)", "Class": "os-pkgs", "Type": "alpine", "Vulnerabilities": vulnerabilities}
    return json.dumps({"SchemaVersion": 2, "ArtifactName": "node", "Results": [result], **parts}).encode()


def vulnerability(name: str = "CVE-2026-1", severity: str = "HIGH", fixed: str = "3.1.1") -> dict[str, Any]:
    return {
        "VulnerabilityID": name,
        "PkgName": "openssl",
        "InstalledVersion": "3.1.0",
        "FixedVersion": fixed,
        "Severity": severity,
        "PkgIdentifier": {"PURL": "pkg:apk/alpine/openssl@3.1.0?arch=x86_64"},
    }


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `basegate judge` in a folder with one report; its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    Path("report.json").write_bytes(trivy(vulnerability(), vulnerability("CVE-2026-2", "LOW", "")))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(("judge", *NOW, *arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_report_fails_with_its_reasons_and_exit_code_1(run: Run) -> None:
    code, out, err = run("report.json", "--fail-on", "severity=high,fixable")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "failed: 1 of 2 findings fails: CVE-2026-1 in openssl 3.1.0 (high, fixed in 3.1.1)",
        "findings: 1 high, 1 low",
        "fail: 1",
        "  CVE-2026-1 in openssl 3.1.0, high, fixed in 3.1.1 (severity: high, fixable: true)",
    ]


def test_a_report_passes_with_exit_code_0(run: Run) -> None:
    code, out, _ = run("report.json", "--fail-on", "severity=critical")
    assert (code, out.splitlines()[0]) == (0, "passed: none of 2 findings fails")


def test_several_conditions_fail_what_any_of_them_matches(run: Run) -> None:
    code, out, _ = run("report.json", "--fail-on", "severity=critical", "--fail-on", "fixable=false")
    assert (code, "CVE-2026-2 in openssl 3.1.0, low, not fixed (fixable: false)" in out) == (1, True)
    code, out, _ = run("report.json", "--fail-on", "fixable=false", "--ignore-unfixed")
    assert (code, "without a fix: 1" in out) == (0, True)


@pytest.mark.parametrize("content", [b"", b"null", b"{", trivy(vulnerability())[:-20], b'{"anything": 1}'])
def test_a_broken_report_is_unknown_with_exit_code_3(run: Run, content: bytes) -> None:
    Path("report.json").write_bytes(content)
    code, out, err = run("report.json", "--fail-on", "severity=high")
    assert (code, err) == (3, "")
    assert out.startswith("unknown: report.json: ")
    code, out, _ = run("report.json", "--fail-on", "severity=high", "--json")
    assert (code, json.loads(out)["verdict"]) == (3, "unknown")


def test_a_missing_report_is_unknown_too(run: Run) -> None:
    code, out, _ = run("other.json", "--fail-on", "severity=high")
    assert (code, out) == (3, "unknown: there is no report: other.json: No such file or directory\n")


def test_a_report_comes_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(trivy())))
    assert run("-", "--fail-on", "severity=high")[:2] == (0, "passed: no vulnerability was found\n")


def test_json_is_the_whole_judgement_before_and_after_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("report.json", "--fail-on", "severity=low", "--json")
    judgement = json.loads(out)
    assert (code, judgement["verdict"], judgement["counts"]) == (1, "failed", {"high": 1, "low": 1})
    first = judgement["findings"][0]
    assert (first["finding"]["vulnerability"], first["outcome"], first["condition"]) == (
        "CVE-2026-1",
        "fails",
        "severity: low",
    )
    assert main(("--json", "judge", "report.json", "--fail-on", "severity=low", *NOW)) == 1
    assert capsys.readouterr().out == out


def test_exceptions_cover_and_those_of_other_gates_are_counted(run: Run) -> None:
    other = EXCEPTION.replace("author", "gates: [python], author")
    Path("exceptions.yaml").write_text(f"exceptions:\n- {EXCEPTION}\n- {other}\n", encoding="utf-8")
    code, out, _ = run("report.json", "--fail-on", "severity=high", "--exceptions", "exceptions.yaml", "--gate", "node")
    assert code == 0
    assert "covered by an exception: 1" in out
    assert "(the exception of ada for CVE-2026-1 until 2026-06-30: no TLS)" in out
    assert "warning: exceptions for other gates (see --gate): 1" in out


def test_an_exception_for_a_tag_is_refused_since_any_tag_may_point_to_the_digest(run: Run) -> None:
    tagged = EXCEPTION.replace("author", 'tags: ["15-*"], author')
    Path("exceptions.yaml").write_text(f"- {tagged}\n", encoding="utf-8")
    code, _, err = run("report.json", "--fail-on", "severity=high", "--exceptions", "exceptions.yaml")
    assert (code, "0.tags: unknown key" in err) == (2, True)


def test_a_vex_document_covers(run: Run) -> None:
    statement = {
        "vulnerability": {"name": "CVE-2026-1"},
        "products": [{"@id": "pkg:apk/alpine/openssl@3.1.0"}],
        "status": "not_affected",
        "justification": "component_not_present",
    }
    document = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Ada", "statements": [statement]}
    Path("vex.json").write_text(json.dumps(document), encoding="utf-8")
    code, out, _ = run("report.json", "--fail-on", "severity=high", "--vex", "vex.json")
    assert code == 0
    assert "the VEX statement of Ada that CVE-2026-1 is not affected: component_not_present" in out
    statement["products"] = [{"@id": "OpenSSL 3.1"}]
    Path("vex.json").write_text(json.dumps(document), encoding="utf-8")
    code, out, _ = run("report.json", "--fail-on", "severity=high", "--vex", "vex.json")
    assert (code, "warning: vex.json has no VEX statement about a package by its purl" in out) == (1, True)


def test_only_what_the_baseline_does_not_have_fails(run: Run) -> None:
    Path("promoted.json").write_bytes(trivy(vulnerability()))
    given = ("report.json", "--baseline", "promoted.json", "--fail-on")
    code, out, _ = run(*given, "severity=high")
    assert (code, "not new: 1" in out) == (0, True)
    assert run(*given, "severity=low")[0] == 1
    Path("promoted.json").write_bytes(b"{")
    assert run(*given, "severity=high")[0] == 3


def test_the_rules_of_a_gates_scan_and_its_exceptions_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks.KINDS, "scan", ScanCheckKind)
    rules = SAMPLE.replace(
        "    checks:\n", "    checks:\n      - scan: {fail_on: [{severity: high}], secrets: fail}\n", 1
    )
    Path("gates.yaml").write_text(rules, encoding="utf-8")
    given = ("report.json", "--rules", "gates.yaml", "--gate")
    assert run(*given, "node")[0] == 1
    Path("gates.yaml").write_text(f"{rules}exceptions:\n  - {EXCEPTION}\n", encoding="utf-8")
    assert run(*given, "node")[0] == 0
    code, _, err = run(*given, "python")
    assert (code, "gates.yaml has no gate 'python' (known: node)" in err) == (2, True)
    code, _, err = run(*given, "node", "--baseline", "report.json")
    assert (code, "has no `new_only: true`" in err) == (2, True)
    code, _, err = run(*given, "node", "--ignore-unfixed")
    assert (code, "the gate says it" in err) == (2, True)


def test_a_gate_without_a_scan_has_nothing_to_judge_by(run: Run) -> None:
    code, _, err = run("report.json", "--rules", str(APP_ROOT / "gates.sample.yaml"), "--gate", "node")
    assert (code, "gate node has no scan among its checks: give --fail-on" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "Give either --fail-on, or --rules with --gate"),
        (("--fail-on", "severity=high", "--rules", "gates.yaml"), "Give either --fail-on, or --rules"),
        (("--fail-on", "severity=hi"), "--fail-on 'severity=hi': severity: 'hi' is not a severity: critical, high"),
        (("--fail-on", "fixable", "--format", "pdf"), "there is no format 'pdf' (known: trivy"),
        (("--fail-on", "fixable", "--exceptions", "none.yaml"), "none.yaml"),
        (("--fail-on", "fixable", "--exceptions", "broken.yaml"), "line 1, column 1: Expected a list"),
        (("--fail-on", "fixable", "--exceptions", "latin.yaml"), "latin.yaml is not UTF-8 text"),
        (("--fail-on", "fixable", "--vex", "broken.yaml"), "broken.yaml: the VEX document cannot be read"),
        (("--fail-on", "fixable", "--now", "noon"), "--now: 'noon' is no time"),
        (("--fail-on", "fixable", "--nonsense"), "--nonsense"),
    ],
)
def test_wrong_usage_has_exit_code_2_and_a_reason(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    Path("broken.yaml").write_text("just text", encoding="utf-8")
    Path("latin.yaml").write_bytes("é".encode("latin-1"))
    code, out, err = run("report.json", *arguments)
    assert (code, out) == (2, "")
    assert problem in err


def test_names_out_of_the_image_do_not_drive_the_terminal(run: Run) -> None:
    Path("report.json").write_bytes(trivy(vulnerability("CVE-\x1b[2J\n\u202e1")))
    code, out, _ = run("report.json", "--fail-on", "severity=high")
    assert (code, len(out.splitlines())) == (1, 4)
    assert not set("\x1b\u202e") & set(out)


def test_a_long_list_is_cut_for_people_and_whole_for_programs(run: Run) -> None:
    Path("report.json").write_bytes(trivy(*(vulnerability(f"CVE-2026-{number:04}") for number in range(60))))
    _, out, _ = run("report.json", "--fail-on", "severity=high")
    assert out.splitlines()[-1] == "  and 10 more (--json has all)"
    assert len(json.loads(run("report.json", "--fail-on", "severity=high", "--json")[1])["findings"]) == 60


def test_rules_check_warns_of_exceptions_that_have_ended(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    ended = EXCEPTION.replace("2026-06-30", "2021-06-30")
    Path("gates.yaml").write_text(f"{SAMPLE}exceptions:\n  - {ended}\n", encoding="utf-8")
    assert main(("rules", "check", "gates.yaml")) == 0
    out = capsys.readouterr().out
    assert "has no errors" in out
    assert "warning: the exception of ada for CVE-2026-1 until 2021-06-30 has ended" in out
    renewed = EXCEPTION.replace("2026-06-30", f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}, gates: [node]")
    Path("gates.yaml").write_text(f"{SAMPLE}exceptions:\n  - {ended}\n  - {renewed}\n", encoding="utf-8")
    assert main(("rules", "check", "gates.yaml")) == 0
    assert "warning" not in capsys.readouterr().out
