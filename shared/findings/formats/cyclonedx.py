"""CycloneDX in JSON, 1.4 and later, with vulnerabilities: of Trivy, Grype and others.

Source: https://cyclonedx.org/docs/1.6/json/
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from msgspec import Struct

from shared.findings.cvss import base_score_of
from shared.findings.formats.reader import ReportReader, Scalar
from shared.findings.formats.subject import digests_in
from shared.findings.gathering import Gathering, base_score, printable, severity_of, severity_of_score, time_of, worst
from shared.findings.json_stream import JsonStream
from shared.findings.model import BrokenReport, Finding, Licence, Package, Report, Scanner, Severity, Subject

_COMPONENT_BYTES = 200

_UPGRADE = re.compile(r"\bversions?:?\s+(\d[^\s,;]*(?:,\s*\d[^\s,;]*)*)")
"""Of recommendations: "Upgrade libssl1.1 to version 1.1.1d-r0; …", "Upgrade … to version 2.8.11.1, 2.9.5 or higher"."""


class _Id(Struct):
    id: str = ""
    name: str = ""


class _License(Struct):
    license: _Id | None = None
    expression: str = ""


class _Property(Struct):
    name: str = ""
    value: str | None = None


class _Component(Struct, rename={"ref": "bom-ref"}):
    ref: str = ""
    group: str = ""
    name: str = ""
    version: str = ""
    purl: str = ""
    licenses: list[_License] | None = None
    properties: list[_Property] | None = None
    components: list["_Component"] | None = None


class _Source(Struct):
    name: str = ""


class _Rating(Struct):
    source: _Source | None = None
    score: float | None = None
    severity: str = ""
    method: str = ""
    vector: str = ""


class _Reference(Struct):
    id: str = ""


class _Analysis(Struct):
    state: str = ""


class _Version(Struct):
    version: str = ""
    range: str = ""
    status: str = ""


class _Affected(Struct):
    ref: str
    versions: list[_Version] | None = None


class _Advisory(Struct):
    url: str = ""


class _Vulnerability(Struct):
    id: str = ""
    source: _Source | None = None
    references: list[_Reference] | None = None
    ratings: list[_Rating] | None = None
    description: str = ""
    recommendation: str = ""
    advisories: list[_Advisory] | None = None
    analysis: _Analysis | None = None
    affects: list[_Affected] | None = None


class _Tool(Struct):
    name: str = ""
    version: str = ""


class _Tools(Struct):
    components: list[_Tool] | None = None


class _Metadata(Struct):
    timestamp: str = ""
    tools: list[_Tool] | _Tools | None = None
    component: _Component | None = None


class CycloneDxReader(ReportReader):
    """Reads a bill of materials that says which vulnerabilities its components have."""

    format = "cyclonedx"
    keys = frozenset(("bomFormat", "specVersion", "serialNumber", "components", "dependencies", "vulnerabilities"))

    def __init__(self) -> None:
        self._gathering = Gathering()
        self._was_compared = False
        self._metadata = _Metadata()
        self._components: dict[str, Package] = {}

    def container(self, key: str, stream: JsonStream) -> None:
        """See `ReportReader`."""
        if self._was_compared and key in ("metadata", "components"):
            raise BrokenReport(f"the report has its {key} after its vulnerabilities, which name them")
        if key == "metadata":
            self._metadata = stream.take(_Metadata)
            if self._metadata.component:
                self._add_components([self._metadata.component])
        elif key == "components":
            for _ in self._gathering.counted(stream.elements(), _COMPONENT_BYTES):
                self._add_components([stream.take(_Component)])
        elif key == "vulnerabilities":
            self._was_compared = True
            for _ in stream.elements():
                self._add(stream.take(_Vulnerability))

    def report(self, scalars: Mapping[str, Scalar]) -> Report:
        """See `ReportReader`."""
        if scalars.get("bomFormat") != "CycloneDX":
            raise BrokenReport(f"the report has the bomFormat {scalars.get('bomFormat')!r}; CycloneDX is read")
        if not self._was_compared:
            raise BrokenReport("the report has no list of vulnerabilities: it is a bill of materials, and no scan")
        return Report(
            format=self.format,
            scanner=self._scanner(),
            subject=self._subject(),
            created_at=time_of(self._metadata.timestamp),
            findings=self._gathering.findings,
            licences=self._gathering.licences,
        )

    def _scanner(self) -> Scanner:
        tools = self._metadata.tools
        named = (tools.components if isinstance(tools, _Tools) else tools) or [_Tool()]
        return Scanner(name=self._gathering.text(named[0].name), version=self._gathering.text(named[0].version))

    def _subject(self) -> Subject:
        """The image: Trivy has its digests in properties, Syft and Grype in the version."""
        image = self._metadata.component
        if image is None:
            return Subject()
        values = [one.value for one in image.properties or () if one.name == "aquasecurity:trivy:RepoDigest"]
        return Subject(name=self._gathering.text(image.name), digests=digests_in((*values, image.purl, image.version)))

    def _add_components(self, waiting: list[_Component]) -> None:
        while waiting:
            component = waiting.pop()
            waiting += component.components or ()
            name = f"{component.group}/{component.name}" if component.group else component.name
            if not name:
                raise BrokenReport("the report has a component without a name")
            package = self._gathering.package(name, component.version, component.purl, _path(component), "")
            if component.ref:
                self._components[self._gathering.text(component.ref)] = package
            for licence in component.licenses or ():
                one = licence.license or _Id()
                if text := self._gathering.text(one.id or one.name or licence.expression):
                    self._gathering.add_licence(Licence(name=text, package=package.name, path=package.path))

    def _add(self, read: _Vulnerability) -> None:
        if not read.affects:
            raise BrokenReport(f"the report has a vulnerability that affects nothing: {printable(read.id[:100])}")
        keep = self._gathering
        severity, score = _rated(read)
        advised = _UPGRADE.findall(read.recommendation)
        aliases = keep.texts(one.id for one in read.references or () if one.id != read.id)
        ratings = keep.ratings(keep.rating(_source(one), _severity(one), _score(one)) for one in read.ratings or ())
        for affected in read.affects:
            unaffected = [one.version or one.range for one in affected.versions or () if one.status == "unaffected"]
            keep.add(
                Finding(
                    vulnerability=keep.text(read.id),
                    package=self._package(affected.ref),
                    aliases=aliases,
                    severity=severity,
                    ratings=ratings,
                    fixed_in=keep.texts(unaffected or (one for text in advised for one in text.split(","))),
                    cvss=score,
                    status=keep.text(read.analysis.state if read.analysis else ""),
                    title=keep.title(read.description),
                    url=keep.url(next((one.url for one in read.advisories or () if one.url), "")),
                )
            )

    def _package(self, ref: str) -> Package:
        """The component that a reference names, also by a link into another document; or the package that it is."""
        if known := self._components.get(printable(ref)):
            return known
        local = unquote(ref.partition("#")[2]) if ref.startswith("urn:cdx:") else ref
        if known := self._components.get(printable(local)):
            return known
        if not local.startswith("pkg:"):
            return self._gathering.package(local, "", "", "", "")
        path, _, version = local.partition("?")[0].partition("#")[0].rpartition("@")
        name = unquote((path or local).rpartition("/")[2])
        return self._gathering.package(name, unquote(version) if path else "", local, "", "")


def _path(component: _Component) -> str:
    """Where Trivy found it."""
    paths = (one.value for one in component.properties or () if one.name == "aquasecurity:trivy:FilePath")
    return next(filter(None, paths), "")


def _rated(read: _Vulnerability) -> tuple[Severity, float | None]:
    """As the source of the vulnerability rates it; or the worst of all ratings."""
    ratings = read.ratings or []
    source = read.source.name.lower() if read.source else ""
    own = [one for one in ratings if source and _source(one).lower() == source]
    severity = worst(map(_severity, own))
    if severity is Severity.UNKNOWN:
        severity = worst(map(_severity, ratings))
    versions = (one.method.removeprefix("CVSSv") for one in own or ratings)
    return severity, base_score(zip(versions, map(_score, own or ratings), strict=True))


def _source(rating: _Rating) -> str:
    return (rating.source.name if rating.source else "") or "unknown"


def _severity(rating: _Rating) -> Severity:
    said = severity_of(rating.severity)
    return severity_of_score(_score(rating)) if said is Severity.UNKNOWN else said


def _score(rating: _Rating) -> float | None:
    """Of CVSS: there are other methods, which have other scales."""
    if not rating.method.startswith("CVSS"):
        return None
    return base_score_of(rating.vector) if rating.score is None else rating.score
