"""The report, in the JSON of Trivy (schema 2).

Source: https://github.com/aquasecurity/trivy/blob/main/pkg/types/report.go
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.scanner.advisories import LANGUAGES, Advisories, Match, NotComparable
from sandbox.scanner.image import Image
from sandbox.scanner.packages import Inventory, Package, Release

NAME, VERSION = "osv-match", "1"
_CLASSES = {"deb": "os-pkgs", "apk": "os-pkgs", "npm": "lang-pkgs", "pypi": "lang-pkgs"}
_TYPES = {"npm": ("Node.js", "node-pkg"), "pypi": ("Python", "python-pkg")}
_MOST_NAMED = 100


def make_report(image: Image, inventory: Inventory, advisories: Advisories, *, now: datetime) -> dict[str, Any]:
    """The report of a scan. What it is, and what it did not compare, is in `StandIn`, which Trivy does not have."""
    results: dict[str, list[tuple[Package, list[Match]]]] = defaultdict(list)
    uncompared = []
    system = [one for one in inventory.packages if one.kind not in LANGUAGES] if not inventory.release.ecosystem else []
    uncompared += [f"{one.id}: no release of Debian or Alpine is known to compare it with" for one in system]
    for package in inventory.packages:
        try:
            matches = list(advisories.about(package, inventory.release))
        except NotComparable as error:
            uncompared.append(f"{package.id}: {error}")
            matches = []
        results[package.kind].append((package, matches))
    return {
        "SchemaVersion": 2,
        "CreatedAt": now.astimezone(UTC).isoformat(),
        "ArtifactName": image.name,
        "ArtifactType": "container_image",
        "Metadata": _metadata(image, inventory.release),
        "Results": [_result(image, kind, found, inventory.release) for kind, found in results.items()],
        "StandIn": {
            "Name": NAME,
            "Version": VERSION,
            "Note": f"{NAME} is a stand-in for a scanner. It knows {advisories.count} advisories and nothing else.",
            "Advisories": advisories.count,
            "AdvisoriesModified": advisories.modified,
            "Release": inventory.release.ecosystem or "no release of Debian or Alpine",
            "Uncompared": uncompared[:_MOST_NAMED],
            "Unreadable": list(inventory.unreadable[:_MOST_NAMED]),
        },
    }


def summary(report: Mapping[str, Any]) -> str:
    """One line on what was found, and by what."""
    findings = sum(len(result["Vulnerabilities"]) for result in report["Results"])
    packages = sum(len(result["Packages"]) for result in report["Results"])
    skipped = len(report["StandIn"]["Uncompared"]) + len(report["StandIn"]["Unreadable"])
    left = f" {skipped} could not be compared: see StandIn in the report." if skipped else ""
    return f"{findings} findings in {packages} packages. {report['StandIn']['Note']}{left}"


def _metadata(image: Image, release: Release) -> dict[str, Any]:
    config = image.config
    named = {"RepoDigests": [f"{image.repository}@{digest}" for digest in image.digests]} if image.repository else {}
    system = {"OS": {"Family": release.family, "Name": release.version}} if release.family else {}
    kept = ("architecture", "created", "os", "rootfs", "variant")
    return {
        **system,
        "ImageID": image.config_digest,
        "DiffIDs": [layer.diff_id for layer in image.layers],
        **named,
        "ImageConfig": {key: config[key] for key in kept if key in config},
    }


def _result(image: Image, kind: str, found: Iterable[tuple[Package, list[Match]]], release: Release) -> dict[str, Any]:
    target, type_ = _TYPES.get(kind, (f"{image.name} ({release.family} {release.version})", release.family or kind))
    rows = list(found)
    return {
        "Target": target,
        "Class": _CLASSES[kind],
        "Type": type_,
        "Packages": [_package(package, release) for package, _ in rows],
        "Vulnerabilities": [_finding(match, release) for _, matches in rows for match in matches],
    }


def _package(package: Package, release: Release) -> dict[str, Any]:
    source = {"SrcName": package.source, "SrcVersion": package.source_version} if package.source else {}
    return {
        "ID": package.id,
        "Name": package.name,
        "Identifier": {"PURL": package.purl(release)},
        "Version": package.version,
        **source,
        **_path(package),
        "Layer": _layer(package),
    }


def _finding(match: Match, release: Release) -> dict[str, Any]:
    package, advisory = match.package, match.advisory
    cvss = {"CVSS": {"osv": {"V3Vector": advisory.cvss[0], "V3Score": advisory.cvss[1]}}} if advisory.cvss else {}
    fixed = {"FixedVersion": ", ".join(match.fixed_in)} if match.fixed_in else {}
    return {
        "VulnerabilityID": advisory.id,
        **({"VendorIDs": list(advisory.aliases)} if advisory.aliases else {}),
        "PkgID": package.id,
        "PkgName": package.name,
        **({"PkgPath": package.path} if _CLASSES[package.kind] == "lang-pkgs" else {}),
        "PkgIdentifier": {"PURL": package.purl(release)},
        "InstalledVersion": package.version,
        **fixed,
        "Status": "fixed" if match.fixed_in else "affected",
        "Layer": _layer(package),
        "SeveritySource": "osv",
        "PrimaryURL": advisory.references[0] if advisory.references else f"https://osv.dev/vulnerability/{advisory.id}",
        "Title": advisory.summary or advisory.details[:200],
        "Description": advisory.details,
        "Severity": advisory.severity,
        **cvss,
        **{key: value for key, value in _dates(match).items() if value},
    }


def _dates(match: Match) -> dict[str, str]:
    return {"PublishedDate": match.advisory.published, "LastModifiedDate": match.advisory.modified}


def _path(package: Package) -> dict[str, str]:
    return {"FilePath": package.path} if _CLASSES[package.kind] == "lang-pkgs" else {}


def _layer(package: Package) -> dict[str, str]:
    return (
        {"Digest": package.layer.digest, "DiffID": package.layer.diff_id}
        if package.layer.digest
        else {"DiffID": package.layer.diff_id}
    )
