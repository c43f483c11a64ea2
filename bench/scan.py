"""`python -m bench.scan`: a scanner's report of 60 MB, read by the app and by `json.load`.

The report is generated, in Trivy's format: entries of 3 kB with descriptions and references, as images have them. Each
reading is in a fresh process, by turns, so that the peak of resident memory is its own: Python and imports included.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.figure import Figure, ratios, table
from bench.peak import peak_megabytes

_ROOT = Path(__file__).resolve().parent.parent
_BYTES = 60_000_000
_TURNS = 5
_SOURCES = ("alma", "amazon", "debian", "ghsa", "nvd", "oracle-oval", "photon", "redhat", "rocky", "ubuntu")
_SEVERITIES = ("UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL")
_WORDS = (
    "a",
    "flaw",
    "in",
    "the",
    "parser",
    "of",
    "headers",
    "allows",
    "attackers",
    "to",
    "read",
    "memory",
    "by",
    "means",
)


def main() -> int:
    """Measure, print a table and the ratios; returns 1 if a reading does not give what the report has."""
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], Path(sys.argv[3]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        entries = write_report(file)
        runs: dict[str, list[tuple[float, float, int]]] = {"json": [], "app": []}
        for _ in range(_TURNS):
            for reader, measured in runs.items():
                measured.append(_measure(reader, file))
        megabytes = file.stat().st_size / 1e6
    figures = [_figure("scan_time", "seconds", runs, 0), _figure("scan_memory", "MB", runs, 1)]
    print(f"a report of {megabytes:.1f} MB with {entries:,} findings; medians of {_TURNS} turns")
    print("\n".join([*table(figures), "", *ratios(figures)]))
    return int(any(count != entries for measured in runs.values() for _, _, count in measured))


def write_report(file: Path) -> int:
    """Write the report, always the same; returns the number of its findings."""
    written = entries = 0
    with file.open("w", encoding="utf-8") as out:
        written += out.write(_HEAD)
        for number, entry in enumerate(_entries()):
            text = json.dumps(entry, indent=2).replace("\n", "\n        ")
            written += out.write(("" if number == 0 else ",") + "\n        " + text)
            if written >= _BYTES:
                entries = number + 1
                break
        out.write("\n      ]\n    }\n  ]\n}\n")
    return entries


_HEAD = """{
  "SchemaVersion": 2,
  "CreatedAt": "2026-03-01T00:00:00Z",
  "ArtifactName": "node:22",
  "ArtifactType": "container_image",
  "Results": [
    {
      "Target": "node:22 (debian 12.5)",
      "Class": "os-pkgs",
      "Type": "debian",
      "Vulnerabilities": ["""


def _entries() -> Iterator[dict[str, Any]]:
    """One vulnerability after the other, each in one to six packages."""
    chance = random.Random(0)  # noqa: S311
    for number in range(1_000_000):
        vulnerability = _vulnerability(chance, number)
        for package in chance.sample(range(801), chance.randint(1, 6)):
            name, version = f"lib{package}", f"{package % 7}.{package % 30}-{package % 4}+deb12u1"
            purl = f"pkg:deb/debian/{name}@{version}?arch=amd64&distro=debian-12.5"
            layer = {"Digest": f"sha256:{package % 9:064x}", "DiffID": f"sha256:{package % 9 + 9:064x}"}
            yield {
                "VulnerabilityID": vulnerability["VulnerabilityID"],
                "PkgID": f"{name}@{version}#{number}",
                "PkgName": name,
                "PkgIdentifier": {"PURL": purl, "UID": f"{package:016x}"},
                "InstalledVersion": version,
                "Layer": layer,
                **vulnerability,
            }


def _vulnerability(chance: random.Random, number: int) -> dict[str, Any]:
    id_ = f"CVE-{2015 + number % 12}-{number:05}"
    rated = chance.sample(_SOURCES, chance.randint(2, 9))
    is_fixed = chance.random() < 0.4
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
    scores = {"V3Vector": vector, "V3Score": chance.randint(10, 100) / 10}
    links = [f"https://lists.example.org/archives/{source}/{id_}/{number:x}" for source in _SOURCES]
    return {
        "VulnerabilityID": id_,
        **({"FixedVersion": f"9.{number % 50}"} if is_fixed else {}),
        "Status": "fixed" if is_fixed else "affected",
        "SeveritySource": rated[0],
        "PrimaryURL": f"https://avd.aquasec.com/nvd/{id_.lower()}",
        "DataSource": {"ID": "debian", "Name": "Debian Security Tracker", "URL": "https://salsa.debian.org/"},
        "Title": f"lib: {' '.join(chance.choices(_WORDS, k=8))} ({id_})",
        "Description": " ".join(chance.choices(_WORDS, k=chance.randint(40, 160))),
        "Severity": chance.choice(_SEVERITIES),
        "CweIDs": [f"CWE-{number % 900}"],
        "VendorSeverity": {source: chance.randint(0, 4) for source in rated},
        "CVSS": dict.fromkeys(rated[:3], scores),
        "References": chance.choices(links, k=chance.randint(5, 25)),
        "PublishedDate": "2024-01-01T10:15:07.16Z",
        "LastModifiedDate": "2025-02-13T18:15:33.843Z",
    }


def _figure(name: str, unit: str, runs: dict[str, list[tuple[float, float, int]]], place: int) -> Figure:
    base, other = (statistics.median(run[place] for run in runs[reader]) for reader in ("json", "app"))
    return Figure(name, unit, "json.load", base, "read_report", other)


def _measure(reader: str, file: Path) -> tuple[float, float, int]:
    """Seconds, peak resident MB and the number of findings of one reading."""
    command = [sys.executable, "-m", "bench.scan", "--child", reader, str(file)]
    output = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True).stdout
    seconds, megabytes, count = json.loads(output)
    return float(seconds), float(megabytes), int(count)


def _child(reader: str, file: Path) -> None:
    from shared.findings.read import read_report

    started = time.perf_counter()
    with file.open("rb") as stream:
        if reader == "app":
            count = len(read_report(stream).findings)
        else:
            count = sum(len(result["Vulnerabilities"]) for result in json.load(stream)["Results"])
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, peak_megabytes(), count]))


if __name__ == "__main__":
    sys.exit(main())
