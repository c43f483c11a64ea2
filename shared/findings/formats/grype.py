"""Grype's JSON, of versions 0.7 to 0.9x.

Source: https://github.com/anchore/grype/tree/main/grype/presenter/models
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from shared.findings.formats.reader import ReportReader, Scalar
from shared.findings.formats.subject import digests_in, platform
from shared.findings.gathering import Gathering, base_score, checked, severity_of, time_of
from shared.findings.json_stream import JsonStream
from shared.findings.model import BrokenReport, Finding, Report, Scanner, Subject

_STATUSES = {"fixed": "fixed", "not-fixed": "affected", "wont-fix": "will_not_fix"}


class _Metrics(Struct, rename="camel", gc=False):
    base_score: float | None = None


class _Cvss(Struct, gc=False):
    version: str = ""
    metrics: _Metrics | None = None


class _Available(Struct, gc=False):
    date: str | None = None


class _Fix(Struct, gc=False):
    versions: list[str] | None = None
    state: str = ""
    available: list[_Available] | None = None


class _Epss(Struct, gc=False):
    epss: float


class _Exploited(Struct, gc=False):
    cve: str = ""


class _Vulnerability(Struct, rename="camel", gc=False):
    id: str = ""
    namespace: str = ""
    severity: str = ""
    data_source: str = ""
    description: str = ""
    cvss: list[_Cvss] | None = None
    fix: _Fix | None = None
    epss: list[_Epss] | None = None
    known_exploited: list[_Exploited] | None = None


class _Location(Struct, rename={"layer": "layerID"}, gc=False):
    path: str = ""
    layer: str = ""


class _Artifact(Struct, gc=False):
    name: str = ""
    version: str = ""
    purl: str = ""
    locations: list[_Location] | None = None


class _Match(Struct, rename="camel", gc=False):
    vulnerability: _Vulnerability
    artifact: _Artifact
    related_vulnerabilities: list[_Vulnerability] | None = None


class _Target(Struct, rename="camel"):
    user_input: str = ""
    manifest_digest: str = ""
    repo_digests: list[str] | None = None
    architecture: str = ""
    os: str = ""


class _Source(Struct):
    target: _Target | str | None = None


class _DatabaseStatus(Struct, rename="camel"):
    built: str | None = None
    schema_version: str | int = ""


class _Database(_DatabaseStatus):
    """The status stands in it, or, from schema 6, in an object of its own."""

    status: _DatabaseStatus | None = None
    providers: dict[str, object] | None = None


class _Descriptor(Struct):
    name: str = ""
    version: str = ""
    timestamp: str = ""
    db: _Database | None = None


class GrypeReader(ReportReader):
    """Reads a report of Grype.

    `ignoredMatches` are left out: most are what Grype's own rules know to be no matches.
    """

    format = "grype"
    keys = frozenset(("matches", "ignoredMatches", "alertsByPackage", "source", "distro", "descriptor"))

    def __init__(self) -> None:
        self._gathering = Gathering()
        self._has_matches = False
        self._source = _Source()
        self._descriptor = _Descriptor()

    def container(self, key: str, stream: JsonStream) -> None:
        """See `ReportReader`."""
        match key:
            case "matches":
                self._has_matches = True
                for _ in stream.elements():
                    self._add(stream.take(_Match))
            case "source":
                self._source = stream.take(_Source)
            case "descriptor":
                self._descriptor = stream.take(_Descriptor)

    def report(self, scalars: Mapping[str, Scalar]) -> Report:
        """See `ReportReader`."""
        if not self._has_matches:
            raise BrokenReport("the report has no list of matches: nothing was compared")
        database = self._descriptor.db or _Database()
        status = database.status or database
        if "kev" in (database.providers or {}):
            self._gathering.set_known_exploited()
        return Report(
            format=self.format,
            scanner=Scanner(
                name=self._gathering.text(self._descriptor.name) or "grype",
                version=self._gathering.text(self._descriptor.version),
                database_built_at=time_of(status.built),
                database_version=self._gathering.text(str(status.schema_version)),
            ),
            subject=self._subject(),
            created_at=time_of(self._descriptor.timestamp),
            findings=self._gathering.findings,
        )

    def _subject(self) -> Subject:
        target = self._source.target
        if not isinstance(target, _Target):
            return Subject(name=self._gathering.text(target))
        names = (target.user_input, target.manifest_digest, *(target.repo_digests or ()))
        return Subject(
            name=self._gathering.text(target.user_input),
            digests=digests_in(names),
            platform=self._gathering.text(platform(target.os, target.architecture)),
        )

    def _add(self, match: _Match) -> None:
        keep, own, artifact = self._gathering, match.vulnerability, match.artifact
        all_ = (own, *(match.related_vulnerabilities or ()))
        place = artifact.locations[0] if artifact.locations else _Location()
        fix = own.fix or _Fix()
        keep.add(
            Finding(
                vulnerability=keep.text(own.id),
                package=keep.package(artifact.name, artifact.version, artifact.purl, place.path, place.layer),
                aliases=keep.texts(_aliases(own.id, all_[1:])),
                severity=severity_of(own.severity),
                ratings=keep.ratings(keep.rating(_source(one), severity_of(one.severity), _score(one)) for one in all_),
                fixed_in=keep.texts(fix.versions),
                fixed_at=_first_fix(fix),
                cvss=next((score for one in all_ if (score := _score(one)) is not None), None),
                epss=_epss(all_),
                known_exploited=True if any(one.known_exploited for one in all_) else None,
                status=_STATUSES.get(fix.state, ""),
                title=keep.title(next((one.description for one in all_ if one.description), "")),
                url=keep.url(own.data_source),
            )
        )


def _aliases(id_: str, related: Iterable[_Vulnerability]) -> Iterator[str]:
    """The other ids. An advisory of a vendor is related to all vulnerabilities that it fixes: those are no aliases."""
    ids = dict.fromkeys(one.id for one in related if one.id != id_)
    if sum(one.startswith("CVE-") for one in (id_, *ids)) <= 1:
        yield from ids


def _source(vulnerability: _Vulnerability) -> str:
    """Whose rating it is: the first part of a namespace, `debian:distro:debian:10`."""
    return vulnerability.namespace.partition(":")[0] or "unknown"


def _score(vulnerability: _Vulnerability) -> float | None:
    return base_score((one.version, one.metrics.base_score) for one in vulnerability.cvss or () if one.metrics)


def _epss(vulnerabilities: Iterable[_Vulnerability]) -> float | None:
    values = (one.epss for vulnerability in vulnerabilities for one in vulnerability.epss or ())
    return max((checked(value, 1, "EPSS probability") for value in values), default=None)


def _first_fix(fix: _Fix) -> datetime | None:
    times = (time_of(one.date) for one in fix.available or ())
    return min((time for time in times if time), default=None)
