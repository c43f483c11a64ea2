"""Runs scanners on an image, and judges what they write by one rule."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.domain.candidate import Verdict
from shared.findings.judge import judge
from shared.findings.model import BrokenReport, Severity
from shared.findings.read import read_report
from shared.findings.rules import Condition, ScanRules
from tests.scan_real.images import image_of, write_archive, write_layout

RULES = ScanRules(fail_on=(Condition(severity=Severity.HIGH, fixable=True),))
STAND_IN = "osv-match"

_ADVISORIES = Path(__file__).parent / "advisories"
_SECONDS = 900
"""How long a scanner may take: it fetches its database first."""


@dataclass(frozen=True, slots=True)
class Scanner:
    """How a scanner is called, which writes its report to standard output, and the exit codes that mean it did.

    `arguments` gets the image as an OCI layout and as an archive.
    """

    program: str
    arguments: Callable[[Path, Path], Iterable[str]]
    codes: tuple[int, ...] = (0,)


REAL = (
    Scanner("trivy", lambda layout, _: ("image", "--quiet", "--format", "json", "--input", str(layout))),
    Scanner("grype", lambda layout, _: (f"oci-dir:{layout}", "--quiet", "--output", "json")),
    Scanner(
        "osv-scanner", lambda _, archive: ("scan", "image", "--archive", str(archive), "--format", "json"), codes=(0, 1)
    ),
)
"""Sources of the command lines: https://trivy.dev/latest/docs/target/container_image/#oci-image-format,
https://github.com/anchore/grype#supported-sources, https://google.github.io/osv-scanner/usage/scan-image
"""

_OWN = Scanner(
    sys.executable,
    lambda layout, _: ("-m", "sandbox.scanner", str(layout), "--advisories", str(_ADVISORIES)),
)


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on what a scanner wrote about an image, and why."""

    verdict: Verdict
    reason: str


def found(scanners: Iterable[Scanner] = REAL) -> list[Scanner]:
    """The scanners that are on the PATH."""
    return [one for one in scanners if shutil.which(one.program)]


def compared(
    files: Mapping[str, bytes], scanners: Iterable[Scanner], folder: Path, now: datetime | None = None
) -> dict[str, Result]:
    """The results of the stand-in and of scanners for an image with these files, by the name of the scanner."""
    image = image_of(files)
    layout, archive = write_layout(image, folder / "layout"), write_archive(image, folder / "image.tar")
    at = now or datetime.now(UTC)
    results = {STAND_IN: _result(_OWN, layout, archive, at)}
    return results | {one.program: _result(one, layout, archive, at) for one in scanners}


def differing(results: Mapping[str, Result]) -> list[str]:
    """The scanners whose verdict is not that of the stand-in."""
    return [name for name, result in results.items() if result.verdict is not results[STAND_IN].verdict]


def _result(scanner: Scanner, layout: Path, archive: Path, now: datetime) -> Result:
    command = [shutil.which(scanner.program) or scanner.program, *scanner.arguments(layout, archive)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return Result(Verdict.UNKNOWN, f"{scanner.program} takes longer than {_SECONDS} s")
    if done.returncode not in scanner.codes:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        return Result(Verdict.UNKNOWN, f"{scanner.program} ended with {done.returncode}: {last[0][:300]}")
    try:
        judgement = judge(read_report([done.stdout]), RULES, now=now)
    except BrokenReport as error:
        return Result(Verdict.UNKNOWN, str(error))
    return Result(judgement.verdict, judgement.reason)
