"""The sample tasks that scan: the shell of each prints a frame that is believed, and nothing if there is no report."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from shared.findings.frame import FrameReader
from shared.findings.model import BrokenReport
from shared.findings.read import read_report
from shared.settings import APP_ROOT

TASKS = APP_ROOT / "samples/scan-baseimage"
REPORTS = APP_ROOT / "tests/data/reports"
BEGINS = b"2026/11/30 12:00:09 Executing step ID: scan. Timeout(sec): 600, Working directory: '', Network: ''\n"
NONCE, DIGEST = "6d" * 16, "sha256:" + "4f" * 32
SAMPLES = {
    "acr-task.yaml": ("trivy-debian-buster.json", ""),
    "grype.yaml": ("grype-epss.json", ""),
    "osv-scanner.yaml": ("osv-some.json", DIGEST),
    "defender.yaml": ("sarif-dependency-check.sarif", DIGEST),
}
"""By task: a report, and the digest that the frame states, "" where the report itself names one."""


def script_of(task: str, step: str, workspace: Path) -> str:
    """What the shell of a step runs, with another folder as the workspace."""
    steps = {one["id"]: one for one in yaml.safe_load((TASKS / task).read_text(encoding="utf-8"))["steps"]}
    assert steps[step]["entryPoint"] == "sh"
    found = re.fullmatch(r"\{\{\.Values\.[A-Z]+\}\} -euc '(.*)'\s*", steps[step]["cmd"])
    assert found, "one word in single quotes: the agent's shell expands nothing"
    return found[1].replace("/workspace", str(workspace))


def run(script: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "REPORT_NONCE": NONCE, "IMAGE": f"r.example/node@{DIGEST}", **variables}
    return subprocess.run(["sh", "-euc", script], env=environment, capture_output=True, check=False, timeout=20)


@pytest.mark.parametrize("task", SAMPLES)
def test_what_the_step_prints_is_read_as_the_report_of_that_image(task: str, tmp_path: Path) -> None:
    report, digest = SAMPLES[task]
    (tmp_path / "report.json").write_bytes((REPORTS / report).read_bytes())
    printed = run(script_of(task, "scan", tmp_path))
    assert printed.returncode == 0, printed.stderr
    frame = FrameReader(NONCE, "scan")
    assert read_report(frame.read([BEGINS, printed.stdout])).findings
    assert frame.digest == digest


@pytest.mark.parametrize("task", SAMPLES)
def test_without_a_report_nothing_that_the_step_prints_is_believed(task: str, tmp_path: Path) -> None:
    printed = run(script_of(task, "scan", tmp_path))
    with pytest.raises(BrokenReport):
        read_report(FrameReader(NONCE, "scan").read([BEGINS, printed.stdout]))


@pytest.mark.parametrize(("code", "fails"), [(0, False), (1, False), (127, True), (128, True)])
def test_osv_scanner_fails_only_where_it_wrote_no_report(code: int, fails: bool, tmp_path: Path) -> None:
    program = tmp_path / "osv-scanner"
    program.write_text(f"#!/bin/sh\necho '{{\"results\": []}}'\nexit {code}\n")
    program.chmod(0o755)
    script = script_of("osv-scanner.yaml", "scan-image", tmp_path).replace("/osv-scanner ", f"{program} ")
    assert (run(script).returncode != 0) is fails
