"""Reports made for tests: a small one of each format, and what changes one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.findings.model import BrokenReport, Report
from shared.findings.read import read_report

SAMPLES = Path(__file__).parents[2] / "data/reports"
DIGEST = f"sha256:{'1a' * 32}"
LAYER = f"sha256:{'2b' * 32}"

TRIVY: dict[str, Any] = {
    "SchemaVersion": 2,
    "Trivy": {"Version": "0.70.0"},
    "CreatedAt": "2026-03-01T10:00:00.123456789Z",
    "ArtifactName": "registry.example/node:22",
    "Metadata": {
        "RepoDigests": [f"registry.example/node@{DIGEST}"],
        "ImageConfig": {"architecture": "arm64", "os": "linux", "variant": "v8"},
    },
    "Results": [
        {
            "Target": "app/package-lock.json",
            "Class": "lang-pkgs",
            "Packages": [{"Name": "left-pad"}],
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2026-0001",
                    "VendorIDs": ["RHSA-2026:1", "GHSA-aaaa-bbbb-cccc"],
                    "PkgName": "left-pad",
                    "PkgIdentifier": {"PURL": "pkg:npm/left-pad@1.0.0"},
                    "InstalledVersion": "1.0.0",
                    "FixedVersion": "1.0.1, 2.0.0",
                    "Status": "fixed",
                    "Layer": {"DiffID": LAYER},
                    "SeveritySource": "ghsa",
                    "PrimaryURL": "https://avd.aquasec.com/nvd/cve-2026-0001",
                    "Title": "left-pad: pads to the right",
                    "Severity": "HIGH",
                    "VendorSeverity": {"ghsa": 3, "nvd": 4, "redhat": 1},
                    "CVSS": {
                        "ghsa": {"V2Score": 5, "V3Score": 7.5},
                        "nvd": {"V3Score": 9.8},
                        "bitnami": {"V40Score": 8},
                    },
                }
            ],
        }
    ],
}

GRYPE: dict[str, Any] = {
    "matches": [
        {
            "vulnerability": {
                "id": "GHSA-aaaa-bbbb-cccc",
                "dataSource": "https://github.com/advisories/GHSA-aaaa-bbbb-cccc",
                "namespace": "github:language:javascript",
                "severity": "High",
                "description": "left-pad pads to the right.\nFor years.",
                "cvss": [{"version": "3.1", "metrics": {"baseScore": 7.5}}],
                "fix": {
                    "versions": ["1.0.1"],
                    "state": "fixed",
                    "available": [{"version": "1.0.1", "date": "2026-02-01"}],
                },
            },
            "relatedVulnerabilities": [
                {
                    "id": "CVE-2026-0001",
                    "namespace": "nvd:cpe",
                    "severity": "Critical",
                    "cvss": [{"version": "2.0", "metrics": {"baseScore": 10}}],
                    "epss": [{"cve": "CVE-2026-0001", "epss": 0.5}],
                    "knownExploited": [{"cve": "CVE-2026-0001"}],
                }
            ],
            "artifact": {
                "name": "left-pad",
                "version": "1.0.0",
                "purl": "pkg:npm/left-pad@1.0.0",
                "locations": [{"path": "/app/package.json", "layerID": LAYER}, {"path": "/other"}],
            },
        }
    ],
    "source": {
        "type": "image",
        "target": {
            "userInput": "node:22",
            "manifestDigest": DIGEST,
            "repoDigests": [f"node@sha256:{'3c' * 32}"],
            "architecture": "amd64",
            "os": "linux",
        },
    },
    "descriptor": {
        "name": "grype",
        "version": "0.94.0",
        "timestamp": "2026-03-01T10:00:00Z",
        "db": {"status": {"schemaVersion": "v6.0.2", "built": "2026-02-28T04:00:00Z"}, "providers": {"kev": {}}},
    },
}

OSV: dict[str, Any] = {
    "results": [
        {
            "source": {"path": "/app/package-lock.json", "type": "lockfile"},
            "packages": [
                {
                    "package": {"name": "left-pad", "version": "1.0.0", "ecosystem": "npm"},
                    "vulnerabilities": [
                        {
                            "id": "GHSA-aaaa-bbbb-cccc",
                            "aliases": ["CVE-2026-0001"],
                            "summary": "left-pad pads to the right",
                            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
                            "affected": [
                                {
                                    "package": {"ecosystem": "npm", "name": "left-pad", "purl": "pkg:npm/left-pad"},
                                    "ranges": [{"events": [{"introduced": "0"}, {"fixed": "1.0.1"}]}],
                                },
                                {
                                    "package": {"ecosystem": "npm", "name": "right-pad"},
                                    "ranges": [{"events": [{"fixed": "9"}]}],
                                },
                            ],
                            "database_specific": {"severity": "MODERATE"},
                        }
                    ],
                    "groups": [{"ids": ["GHSA-aaaa-bbbb-cccc"], "aliases": ["CVE-2026-0001"], "max_severity": "7.9"}],
                    "licenses": ["MIT"],
                }
            ],
        }
    ]
}

SARIF: dict[str, Any] = {
    "version": "2.1.0",
    "runs": [
        {
            "results": [
                {
                    "ruleId": "CVE-2026-0001-left-pad",
                    "message": {
                        "text": "A high vulnerability in npm package: left-pad, version 1.0.0 was found at: /app"
                    },
                    "locations": [
                        {
                            "physicalLocation": {"artifactLocation": {"uri": "node/app/package.json"}},
                            "logicalLocations": [{"fullyQualifiedName": f"node:22@{LAYER}:/app/package.json"}],
                        }
                    ],
                }
            ],
            "tool": {
                "driver": {
                    "name": "grype",
                    "version": "0.94.0",
                    "rules": [
                        {
                            "id": "CVE-2026-0001-left-pad",
                            "shortDescription": {"text": "CVE-2026-0001 high vulnerability for left-pad package"},
                            "help": {
                                "text": "Vulnerability CVE-2026-0001\nSeverity: high\nPackage: left-pad\n"
                                "Version: 1.0.0\nFix Version: 1.0.1,2.0.0\nType: npm\nLink: CVE-2026-0001"
                            },
                            "properties": {"security-severity": "7.5", "purls": ["pkg:npm/left-pad@1.0.0"]},
                        }
                    ],
                }
            },
        }
    ],
}

CYCLONEDX: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {
        "timestamp": "2026-03-01T10:00:00+01:00",
        "tools": {"components": [{"name": "trivy", "version": "0.70.0"}]},
        "component": {
            "bom-ref": "image",
            "name": "node:22",
            "properties": [{"name": "aquasecurity:trivy:RepoDigest", "value": f"node@{DIGEST}"}],
        },
    },
    "components": [
        {
            "bom-ref": "7d1e",
            "name": "left-pad",
            "version": "1.0.0",
            "purl": "pkg:npm/left-pad@1.0.0",
            "licenses": [{"license": {"id": "MIT"}}],
        }
    ],
    "vulnerabilities": [
        {
            "id": "CVE-2026-0001",
            "source": {"name": "ghsa"},
            "references": [{"id": "GHSA-aaaa-bbbb-cccc"}],
            "ratings": [
                {"source": {"name": "nvd"}, "score": 9.8, "severity": "critical", "method": "CVSSv31"},
                {"source": {"name": "ghsa"}, "score": 7.5, "severity": "high", "method": "CVSSv31"},
            ],
            "recommendation": "Upgrade left-pad to version 1.0.1, 2.0.0",
            "analysis": {"state": "exploitable"},
            "affects": [{"ref": "7d1e"}],
        }
    ],
}

MADE = {"trivy": TRIVY, "grype": GRYPE, "osv": OSV, "sarif": SARIF, "cyclonedx": CYCLONEDX}


def read(document: Any, format: str = "") -> Report:
    """A report, read from pieces of a few bytes: nothing may depend on where they end."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_report((data[start : start + 61] for start in range(0, len(data), 61)), format)


def outcome(data: bytes) -> Report | None:
    """A report, or None for one that is broken: there is no other outcome."""
    try:
        return read_report([data])
    except BrokenReport as error:
        assert str(error).startswith("the report ")
        return None


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document, with a key or an index of it."""
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in list(items):
            yield document, key
            yield from places(value)


def changed(document: Any, chance: random.Random, times: int) -> Iterator[bytes]:
    """A document with one value replaced by one of another kind, again and again."""
    text = json.dumps(document)
    for _ in range(times):
        copy = json.loads(text)
        container, key = chance.choice(list(places(copy)))
        container[key] = chance.choice(OTHER_VALUES)
        yield json.dumps(copy).encode()


OTHER_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    7,
    10**400,
    1e300,
    "",
    "x",
    "\ud800",
    "\x1b[31m\x00",
    "9999-12-31T23:59:59-23:59",
    "x" * 5000,
    [],
    [None],
    [[{}]],
    {},
    {"": None},
    {"id": {"name": []}},
)
