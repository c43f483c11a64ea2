"""Writes the findings of a report as CycloneDX 1.6: a vulnerability disclosure report (VDR) of an image.

Its components are the packages with findings, and it says that they are not all: a report is kept without the others.
Source: https://cyclonedx.org/docs/1.6/json/
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from shared.domain.image import ImageRef, purl
from shared.findings.judge import Judgement, covers
from shared.findings.model import Finding, Package, Report, Severity

_IMAGE = "image"
_SEVERITIES = {Severity.NEGLIGIBLE: "info"}
"""Where CycloneDX has another word."""

_VERSION_CHARACTERS = 1024
"""The schema allows no longer version. Such a one is left out: cut, it would be another one."""

_URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~"
_NO_PACKAGE = Package(name="")


def cyclonedx_of(
    report: Report, judgement: Judgement, image: ImageRef, scanned_at: datetime | None = None, left_out: int = 0
) -> dict[str, Any]:
    """The document: an entry for each vulnerability, or several where packages differ in more than the fixed version.

    What covers a finding is the `detail` of its analysis, without a `state`: that a risk is accepted until a day says
    neither that the image is not affected nor that it is. So the status of the installed version is `unknown` there.
    `left_out` is the number of findings that it says to be missing.
    """
    packages = {one: f"package-{number}" for number, one in enumerate(dict.fromkeys(map(_package, report.findings)), 1)}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": _metadata(report, image, scanned_at, left_out),
        "components": [_component(package, ref) for package, ref in packages.items()],
        "compositions": [{"aggregate": "incomplete", "assemblies": [_IMAGE]}],
        "vulnerabilities": list(_vulnerabilities(report, judgement, packages)),
    }


def _package(finding: Finding) -> Package:
    return finding.package


def _metadata(report: Report, image: ImageRef, scanned_at: datetime | None, left_out: int) -> dict[str, Any]:
    scanner = _present(
        type="application", name=report.scanner.name or "unknown scanner", version=_version(report.scanner.version)
    )
    return _present(
        timestamp=f"{scanned_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if scanned_at else "",
        tools={"components": [scanner]},
        component=_present(
            type="container",
            name=f"{image.login_server}/{image.repository}",
            version=image.digest,
            purl=purl(image),
            properties=_properties(platform=report.subject.platform),
        )
        | {"bom-ref": _IMAGE},
        properties=_properties(**{"findings:left-out": str(left_out) if left_out else ""}),
    )


def _component(package: Package, ref: str) -> dict[str, Any]:
    place = {"occurrences": [{"location": package.path}]} if package.path else None
    version = _version(package.version)
    named = _present(type="library", name=package.name, version=version, purl=package.purl, evidence=place)
    return {"bom-ref": ref, **named}


def _vulnerabilities(report: Report, judgement: Judgement, packages: dict[Package, str]) -> Iterator[dict[str, Any]]:
    """One for all findings that differ in their packages and fixed versions alone."""
    alike: dict[tuple[Finding, str], list[Finding]] = {}
    for finding, why in covers(report, judgement):
        common = replace(finding, package=_NO_PACKAGE, fixed_in=(), fixed_at=None)
        alike.setdefault((common, why), []).append(finding)
    for (common, why), findings in alike.items():
        yield _present(
            id=common.vulnerability,
            references=[{"id": name, "source": {"name": name.partition("-")[0]}} for name in common.aliases],
            ratings=list(_ratings(common, report.scanner.name)),
            description=common.title,
            advisories=[{"url": quote(common.url, safe=_URL_CHARACTERS)}] if common.url else [],
            analysis={"detail": why} if why else None,
            affects=[_affected(finding, packages[finding.package], why) for finding in findings],
            properties=_properties(
                **{
                    "status": common.status,
                    "epss": "" if common.epss is None else f"{common.epss:g}",
                    "known-exploited": "" if common.known_exploited is None else str(common.known_exploited).lower(),
                }
            ),
        )


def _ratings(finding: Finding, scanner: str) -> Iterator[dict[str, Any]]:
    """What the scanner chose, by which the gate judges, then what sources say. Of scores no method is known."""
    chosen = [(scanner or "scanner", finding.severity, finding.cvss)]
    for source, severity, score in (*chosen, *((one.source, one.severity, one.cvss) for one in finding.ratings)):
        rating: dict[str, Any] = {"source": {"name": source}, "severity": _SEVERITIES.get(severity, severity.value)}
        yield rating if score is None else rating | {"score": score}


def _affected(finding: Finding, ref: str, why: str) -> dict[str, Any]:
    known = [(finding.package.version, "unknown" if why else "affected")]
    known += ((version, "unaffected") for version in finding.fixed_in)
    versions = [{"version": version, "status": status} for version, status in known if _version(version)]
    return _present(ref=ref, versions=versions)


def _version(text: str) -> str:
    """A version, "" if it is too long."""
    return text if len(text) <= _VERSION_CHARACTERS else ""


def _properties(**values: str) -> list[dict[str, str]]:
    return [{"name": f"basegate:{name}", "value": value} for name, value in values.items() if value]


def _present(**values: Any) -> dict[str, Any]:
    """The keys that have a value."""
    return {key: value for key, value in values.items() if value}
