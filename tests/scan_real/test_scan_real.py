"""The comparison of scanners, with the stand-in itself and with programs that play real ones."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from shared.domain.candidate import Verdict
from tests.scan_real import __main__ as program
from tests.scan_real.comparing import REAL, STAND_IN, Scanner, compared, differing, found
from tests.scan_real.images import FILES

REPORTS = Path(__file__).parents[1] / "data/reports"


def player(folder: Path, name: str, report: str, code: int = 0) -> Path:
    """A program that plays a scanner: it prints a report if it is given the image, as it would read it."""
    script = folder / name
    source = REPORTS / report
    script.write_text(
        f'#!/bin/sh\nfor word; do place=${{word#oci-dir:}}; [ -e "$place" ] && seen=yes; done\n'
        f"[ \"$seen\" ] && cat '{source}'\nexit {code}\n"
    )
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    ("name", "verdict"), [("nothing known", "passed"), ("an old openssl", "failed"), ("an old lodash", "failed")]
)
def test_the_stand_in_gives_the_verdict_that_is_expected_of_each_image(name: str, verdict: str, tmp_path: Path) -> None:
    results = compared(FILES[name], [], tmp_path)
    assert results[STAND_IN].verdict == verdict, results[STAND_IN].reason
    assert differing(results) == []


def test_each_scanner_gets_the_image_as_it_reads_it_and_its_verdict_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    player(programs, "trivy", "trivy-debian-buster.json")
    player(programs, "grype", "grype-none.json")
    player(programs, "osv-scanner", "osv-some.json", code=1)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    results = compared(FILES["an old openssl"], found(), tmp_path)
    assert [result.verdict for result in results.values()] == ["failed", "failed", "passed", "passed"]
    assert differing(results) == ["grype", "osv-scanner"], "what plays OSV-Scanner found nothing that is fixable"


def test_a_scanner_that_fails_or_writes_no_report_has_no_verdict(tmp_path: Path) -> None:
    failing = Scanner(str(player(tmp_path, "failing", "trivy-none.json", code=2)), lambda layout, _: (str(layout),))
    silent = Scanner(str(player(tmp_path, "silent", "trivy-none.json")), lambda _, __: ())
    results = compared(FILES["nothing known"], [failing, silent], tmp_path)
    verdicts = {Path(name).name: result for name, result in results.items()}
    assert verdicts["failing"].verdict is Verdict.UNKNOWN
    assert "ended with 2" in verdicts["failing"].reason
    assert verdicts["silent"].verdict is Verdict.UNKNOWN


def test_without_a_scanner_it_says_so_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.main() == 0
    assert capsys.readouterr().out == ("Nothing was compared: none of trivy, grype, osv-scanner is on the PATH.\n")


def test_a_verdict_that_differs_is_told_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    player(tmp_path, "grype", "grype-none.json")
    shell = shutil.which("sh")
    assert shell
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{Path(shell).parent}{os.pathsep}{Path(sys.executable).parent}")
    monkeypatch.setattr(program, "FILES", {"an old openssl": FILES["an old openssl"]})
    monkeypatch.setattr(program, "found", lambda: [REAL[1]])
    assert program.main() == 1
    printed = capsys.readouterr().out
    assert "grype        passed (differs)" in printed
    assert "1 verdicts differ" in printed
