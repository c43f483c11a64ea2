"""Trivy's JSON: schema 2, and the list of results that it wrote before (until 0.19).

Source: https://github.com/aquasecurity/trivy/blob/main/pkg/types/report.go and the types that it names.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from shared.findings.formats.reader import ReportReader, Scalar
from shared.findings.formats.subject import digests_in, platform
from shared.findings.gathering import LIMIT_FINDINGS, Gathering, checked, severity_of, time_of
from shared.findings.json_stream import JsonStream
from shared.findings.model import BrokenReport, Finding, Licence, Rating, Report, Scanner, Secret, Severity, Subject

_OS_PACKAGES = "os-pkgs"
_PACKAGES = (_OS_PACKAGES, "lang-pkgs")
"""The classes of results in which Trivy has compared packages, whatever it found."""

_MOST_SHARED = 10_000
"""How many different ratings of all sources are remembered, to be shared; then they are forgotten."""

_VENDOR_SEVERITIES = (Severity.UNKNOWN, Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
"""By their numbers. Source: https://github.com/aquasecurity/trivy-db/blob/main/pkg/types/types.go"""


class _Scores(Struct, rename={"v2": "V2Score", "v3": "V3Score", "v4": "V40Score"}, frozen=True, gc=False):
    v2: float | None = None
    v3: float | None = None
    v4: float | None = None

    def base_score(self) -> float | None:
        """See `gathering.base_score`, which would take longer: reports have a hundred thousand of these."""
        for score in (self.v3, self.v4, self.v2):
            if score is not None:
                return checked(score, 10, "CVSS base score")
        return None


class _Layer(Struct, rename={"digest": "Digest", "diff_id": "DiffID"}, gc=False):
    digest: str = ""
    diff_id: str = ""


class _Identifier(Struct, rename={"purl": "PURL"}, gc=False):
    purl: str = ""


class _Vulnerability(
    Struct,
    rename={
        "id": "VulnerabilityID",
        "vendor_ids": "VendorIDs",
        "name": "PkgName",
        "identifier": "PkgIdentifier",
        "ref": "Ref",
        "path": "PkgPath",
        "version": "InstalledVersion",
        "fixed": "FixedVersion",
        "status": "Status",
        "layer": "Layer",
        "severity_source": "SeveritySource",
        "url": "PrimaryURL",
        "title": "Title",
        "severity": "Severity",
        "vendor_severity": "VendorSeverity",
        "cvss": "CVSS",
    },
    gc=False,
):
    id: str = ""
    vendor_ids: list[str] | None = None
    name: str = ""
    identifier: _Identifier | None = None
    ref: str = ""
    path: str = ""
    version: str = ""
    fixed: str = ""
    status: str = ""
    layer: _Layer | None = None
    severity_source: str = ""
    url: str = ""
    title: str = ""
    severity: str = ""
    vendor_severity: dict[str, int] | None = None
    cvss: dict[str, _Scores] | None = None


class _Licence(
    Struct,
    rename={"severity": "Severity", "package": "PkgName", "path": "FilePath", "name": "Name"},
):
    name: str
    severity: str = ""
    package: str = ""
    path: str = ""


class _Secret(Struct, rename={"rule": "RuleID", "severity": "Severity", "title": "Title"}):
    """Without `Match` and `Code`: they hold the secret's line."""

    rule: str
    severity: str = ""
    title: str = ""


class _Misconfiguration(Struct, rename={"status": "Status"}):
    status: str = "FAIL"


class _Modified(Struct, rename={"finding": "Finding"}, tag_field="Type"):
    """What Trivy was told to ignore. Source: https://github.com/aquasecurity/trivy/blob/main/pkg/types/finding.go"""


class _ModifiedVulnerability(_Modified, tag="vulnerability"):
    finding: _Vulnerability


class _ModifiedLicence(_Modified, tag="license"):
    finding: _Licence


class _ModifiedSecret(_Modified, tag="secret"):
    finding: _Secret


class _ModifiedMisconfiguration(_Modified, tag="misconfiguration"):
    pass


_AnyModified = _ModifiedVulnerability | _ModifiedLicence | _ModifiedSecret | _ModifiedMisconfiguration


class _ImageConfig(Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


class _Metadata(
    Struct,
    rename={"repo_digests": "RepoDigests", "reference": "Reference", "config": "ImageConfig"},
):
    repo_digests: list[str] | None = None
    reference: str = ""
    config: _ImageConfig | None = None


class _Version(Struct, rename={"version": "Version"}):
    version: str = ""


class _Writer(
    Struct,
    rename={"name": "Name", "version": "Version", "modified": "AdvisoriesModified", "uncompared": "Uncompared"},
):
    """What a scanner says of itself that only writes the format; `uncompared` are packages that it cannot compare."""

    name: str
    version: str = ""
    modified: str | None = None
    uncompared: list[str] | None = None


class TrivyReader(ReportReader):
    """Reads a report of Trivy."""

    format = "trivy"
    keys = frozenset(
        ("SchemaVersion", "Trivy", "ReportID", "CreatedAt", "ArtifactName", "ArtifactType", "Metadata", "Results")
    )
    may_be_list = True

    def __init__(self) -> None:
        self._gathering = Gathering()
        self._known_rating: dict[tuple[str, int, _Scores | None], Rating] = {}
        self._known_ratings: dict[tuple[tuple[str, object], ...], tuple[Rating, ...]] = {}
        self._results = 0
        self._is_list, self._has_compared = True, False
        self._misconfigurations = 0
        self._metadata = _Metadata()
        self._scanner = Scanner(name="Trivy")
        self._target = self._class = ""
        self._secrets: list[Secret] = []

    def container(self, key: str, stream: JsonStream) -> None:
        """See `ReportReader`."""
        match key:
            case "Results":
                self._is_list = False
                for _ in stream.elements():
                    self.element(stream)
            case "Metadata":
                self._metadata = stream.take(_Metadata)
            case "Trivy":
                self._scanner = Scanner(name="Trivy", version=self._gathering.text(stream.take(_Version).version))
            case "StandIn":
                other, text = stream.take(_Writer), self._gathering.text
                if other.uncompared:
                    raise BrokenReport(
                        f"the scanner could not compare every package: {text(other.uncompared[0])[:200]}"
                    )
                self._scanner = Scanner(
                    name=text(other.name), version=text(other.version), database_built_at=time_of(other.modified)
                )

    def element(self, stream: JsonStream) -> None:
        """Read a result: what was found in one target, the packages of the system or a file."""
        self._results += 1
        self._target = self._class = ""
        self._secrets = []
        lists: dict[str, tuple[Any, Callable[[Any], None]]] = {
            "Vulnerabilities": (_Vulnerability, self._add),
            "ExperimentalModifiedFindings": (_AnyModified, self._add_modified),
            "Licenses": (_Licence, self._add_licence),
            "Misconfigurations": (_Misconfiguration, self._count_misconfiguration),
            "Secrets": (_Secret, self._keep_secret),
        }
        for key in stream.members():
            if key == "Target":
                self._target = stream.take(str)
            elif key == "Class":
                self._class = stream.take(str)
                self._has_compared |= self._class in _PACKAGES
            elif key in lists and stream.next_character() != "n":  # an empty one may be null
                type_, add = lists[key]
                self._has_compared |= key == "Vulnerabilities"
                for _ in stream.elements():
                    add(stream.take(type_))
        for secret in self._secrets:  # their path is the target, which may come after them
            self._gathering.add_secret(replace(secret, path=self._gathering.text(self._target)))

    def report(self, scalars: Mapping[str, Scalar]) -> Report:
        """See `ReportReader`."""
        if not self._results:
            raise BrokenReport("the report has no results: nothing was scanned")
        if not self._is_list and scalars.get("SchemaVersion") != 2:
            raise BrokenReport(f"the report is of schema {scalars.get('SchemaVersion')!r} of Trivy; 2 is read")
        text, name = self._gathering.text, str(scalars.get("ArtifactName") or "")
        metadata = self._metadata
        config = metadata.config or _ImageConfig()
        digests = digests_in((name, metadata.reference, *(metadata.repo_digests or ())))
        system = platform(config.os, config.architecture, config.variant)
        return Report(
            format=self.format,
            scanner=self._scanner,
            subject=Subject(name=text(name), digests=digests, platform=text(system)),
            created_at=time_of(str(scalars.get("CreatedAt") or "")),
            findings=self._gathering.findings,
            licences=self._gathering.licences,
            secrets=self._gathering.secrets,
            misconfigurations=self._misconfigurations,
            compared=self._is_list or self._has_compared,
        )

    def _add(self, read: _Vulnerability, *, suppressed: bool = False) -> None:
        if (
            self._is_list and not read.id and not read.severity
        ):  # of the old list form: a package without a vulnerability
            return
        keep, layer, scores = self._gathering, read.layer, read.cvss or {}
        own = scores.get(read.severity_source) or scores.get("nvd")
        package = keep.package(
            read.name,
            read.version,
            (read.identifier.purl if read.identifier else "") or (read.ref if read.ref.startswith("pkg:") else ""),
            read.path or self._path(),
            (layer.digest or layer.diff_id) if layer else "",
        )
        keep.add(
            Finding(
                vulnerability=keep.text(read.id),
                package=package,
                aliases=keep.texts([one for one in read.vendor_ids or () if one.startswith(("CVE-", "GHSA-"))]),
                severity=severity_of(read.severity),
                ratings=self._ratings(read.vendor_severity or {}, scores),
                fixed_in=keep.split(read.fixed),
                cvss=own.base_score() if own else None,
                status=keep.text(read.status),
                suppressed=suppressed,
                title=keep.title(read.title),
                url=keep.url(read.url),
            )
        )

    def _ratings(self, severities: Mapping[str, int], scores: Mapping[str, _Scores]) -> tuple[Rating, ...]:
        """What the sources say; it stands again in each finding of a vulnerability, so it is put together once."""
        key: tuple[tuple[str, int | _Scores], ...] = (*severities.items(), *scores.items())
        known = self._known_ratings.get(key)
        if known is None:
            rated = [self._rating((source, number, scores.get(source))) for source, number in severities.items()]
            rated += [self._rating((source, 0, score)) for source, score in scores.items() if source not in severities]
            if len(self._known_ratings) > _MOST_SHARED:
                self._known_ratings.clear()
                self._known_rating.clear()
            known = self._known_ratings[key] = self._gathering.ratings(rated)
        return known

    def _rating(self, key: tuple[str, int, _Scores | None]) -> Rating:
        known = self._known_rating.get(key)
        if known is None:
            source, number, scores = key
            severity = _VENDOR_SEVERITIES[int(checked(number, 4, "severity of a vendor"))]
            known = self._gathering.rating(source, severity, scores.base_score() if scores else None)
            self._known_rating[key] = known
        return known

    def _add_modified(self, modified: _AnyModified) -> None:
        match modified:
            case _ModifiedVulnerability(finding=vulnerability):
                self._add(vulnerability, suppressed=True)
            case _ModifiedLicence(finding=licence):
                self._add_licence(licence, suppressed=True)
            case _ModifiedSecret(finding=secret):
                self._keep_secret(secret, suppressed=True)

    def _count_misconfiguration(self, read: _Misconfiguration) -> None:
        self._misconfigurations += read.status == "FAIL"

    def _add_licence(self, read: _Licence, *, suppressed: bool = False) -> None:
        name, package, path = map(self._gathering.text, (read.name, read.package, read.path))
        severity = severity_of(read.severity)
        self._gathering.add_licence(
            Licence(name=name, package=package, path=path, severity=severity, suppressed=suppressed)
        )

    def _keep_secret(self, read: _Secret, *, suppressed: bool = False) -> None:
        if len(self._secrets) >= LIMIT_FINDINGS:
            raise BrokenReport(f"the report has more than {LIMIT_FINDINGS:,} secrets in one file")
        rule, title, severity = self._gathering.text(read.rule), read.title, severity_of(read.severity)
        self._secrets.append(
            Secret(rule=rule, title=self._gathering.title(title), severity=severity, suppressed=suppressed)
        )

    def _path(self) -> str:
        """The file that a result is about; of packages of the system the target is the image: "node (debian 12)"."""
        is_system = self._class == _OS_PACKAGES or (not self._class and self._target.endswith(")"))
        return "" if is_system else self._target
