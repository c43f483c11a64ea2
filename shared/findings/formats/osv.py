"""OSV-Scanner's JSON, of versions 1 and 2.

Sources: https://google.github.io/osv-scanner/output/ and https://ossf.github.io/osv-schema/
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from shared.findings.cvss import base_score_of
from shared.findings.formats.reader import ReportReader, Scalar
from shared.findings.gathering import (
    Gathering,
    base_score,
    checked,
    merged,
    number_of,
    severity_of,
    severity_of_score,
    worst,
)
from shared.findings.json_stream import JsonStream
from shared.findings.model import BrokenReport, Finding, Licence, Package, Report, Scanner, Severity

_MALICIOUS = "MAL-"


class _Source(Struct):
    path: str = ""


class _Package(Struct):
    name: str = ""
    version: str = ""
    ecosystem: str = ""
    commit: str = ""


class _Rating(Struct):
    type: str = ""
    score: str = ""


class _Event(Struct, gc=False):
    fixed: str = ""


class _Range(Struct):
    events: list[_Event] | None = None


class _Named(Struct):
    name: str = ""
    ecosystem: str = ""
    purl: str = ""


class _Affected(Struct):
    package: _Named | None = None
    ranges: list[_Range] | None = None
    severity: list[_Rating] | None = None


class _Specific(Struct):
    """Of a database: each has its own members, and the same name may be of any type."""

    severity: Any = None


class _Vulnerability(Struct):
    id: str
    aliases: list[str] | None = None
    summary: str = ""
    details: str = ""
    severity: list[_Rating] | None = None
    affected: list[_Affected] | None = None
    database_specific: _Specific | None = None


class _Group(Struct):
    ids: list[str]
    aliases: list[str] | None = None
    max_severity: str = ""


class OsvReader(ReportReader):
    """Reads a report of OSV-Scanner: it lists the packages that have vulnerabilities, and no others."""

    format = "osv"
    keys = frozenset(("results", "experimental_config", "image_metadata"))

    def __init__(self) -> None:
        self._gathering = Gathering()
        self._has_results = False
        self._path = ""

    def container(self, key: str, stream: JsonStream) -> None:
        """See `ReportReader`."""
        if key != "results":
            return
        self._has_results = True
        for _ in stream.elements():
            self._path = ""
            for name in stream.members():
                if name == "source":
                    self._path = stream.take(_Source).path
                elif name == "packages" and stream.next_character() != "n":
                    for _ in stream.elements():
                        self._read_package(stream)

    def report(self, scalars: Mapping[str, Scalar]) -> Report:
        """See `ReportReader`."""
        if not self._has_results:
            raise BrokenReport("the report has no list of results: nothing was compared")
        return Report(
            format=self.format,
            scanner=Scanner(name="OSV-Scanner"),
            findings=self._gathering.findings,
            licences=self._gathering.licences,
        )

    def _read_package(self, stream: JsonStream) -> None:
        package: _Package | None = None
        found: dict[str, Finding] = {}
        groups: list[_Group] = []
        for key in stream.members():
            match key, stream.next_character():
                case "package", _:
                    package = stream.take(_Package)
                case "vulnerabilities", opening if opening != "n":
                    for _ in self._gathering.counted(stream.elements()):
                        self._read(stream.take(_Vulnerability), package, found)
                case "groups", "[":
                    groups = stream.take(list[_Group])
                case "licenses", "[":
                    self._add_licences(stream.take(list[str]), package)
        self._add_grouped(found, groups)

    def _read(self, read: _Vulnerability, package: _Package | None, found: dict[str, Finding]) -> None:
        if package is None:
            raise BrokenReport("the report has vulnerabilities before the package that they are in")
        keep, own = self._gathering, _about(read.affected or (), package)
        word, scores = _rated(read, own)
        score = base_score(scores)
        severity = word if word is not Severity.UNKNOWN else severity_of_score(score)
        id_ = keep.text(read.id)
        finding = Finding(
            vulnerability=id_,
            package=self._package(package, own),
            aliases=keep.texts(read.aliases),
            severity=Severity.CRITICAL if read.id.startswith(_MALICIOUS) else severity,
            ratings=keep.ratings([keep.rating("osv", severity, score)]),
            fixed_in=keep.texts(_fixed(own)),
            cvss=score,
            title=keep.title(read.summary or read.details),
            url=keep.url(f"https://osv.dev/vulnerability/{quote(id_)}"),
        )
        found[read.id] = merged(found[read.id], finding) if read.id in found else finding

    def _package(self, package: _Package, affected: Iterable[_Affected]) -> Package:
        version = self._gathering.text(package.version or package.commit)
        purl = next((one.package.purl for one in affected if one.package and one.package.purl), "")
        plain, hash_, subpath = purl.partition("#")
        plain = plain.partition("?")[0].partition("@")[0]
        purl = f"{plain}@{quote(version)}{hash_}{subpath}" if plain and version else plain + hash_ + subpath
        return self._gathering.package(package.name or package.commit, version, purl, self._path, "")

    def _add_grouped(self, found: dict[str, Finding], groups: Iterable[_Group]) -> None:
        """Add one finding for each group: its ids are of one vulnerability, and it has the highest score of them."""
        for group in groups:
            if same := [found.pop(id_) for id_ in dict.fromkeys(group.ids) if id_ in found]:
                self._gathering.add(self._united(same, group))
        for finding in found.values():
            self._gathering.add(finding)

    def _united(self, same: list[Finding], group: _Group) -> Finding:
        first, *others = same
        for other in others:
            first = merged(first, replace(other, vulnerability=first.vulnerability))
        ids = self._gathering.texts((*group.ids, *(group.aliases or ()), *first.aliases))
        first = replace(first, aliases=tuple(one for one in ids if one != first.vulnerability))
        score = number_of(group.max_severity)
        if score is None:
            return first
        is_rated = first.severity is not Severity.UNKNOWN
        return replace(
            first,
            severity=first.severity if is_rated else severity_of_score(score),
            cvss=max(checked(score, 10, "CVSS base score"), first.cvss or 0),
        )

    def _add_licences(self, names: Iterable[str], package: _Package | None) -> None:
        of, path = self._gathering.text(package.name if package else ""), self._gathering.text(self._path)
        for name in names:
            self._gathering.add_licence(Licence(name=self._gathering.text(name), package=of, path=path))


def _about(affected: Iterable[_Affected], package: _Package) -> list[_Affected]:
    """What is said of a package: in the very release of its distribution, or else in any of its ecosystem."""
    name = _plain(package.name)
    named = [one for one in affected if one.package and _plain(one.package.name) == name]
    exact = [one for one in named if one.package and one.package.ecosystem == package.ecosystem]
    family = package.ecosystem.partition(":")[0]
    return exact or [one for one in named if one.package and one.package.ecosystem.partition(":")[0] == family]


def _plain(name: str) -> str:
    """A name for comparison: PyPI, NuGet and others know one package by several spellings."""
    return re.sub(r"[-_.]+", "-", name).casefold()


def _rated(read: _Vulnerability, own: Iterable[_Affected]) -> tuple[Severity, list[tuple[str, float | None]]]:
    """The severity as the database words it, and the base scores with their versions."""
    ratings = [*(read.severity or ()), *(rating for one in own for rating in one.severity or ())]
    said = read.database_specific.severity if read.database_specific else None
    words = [said if isinstance(said, str) else "", *(one.score for one in ratings if one.type == "Ubuntu")]
    scores = [(one.type.removeprefix("CVSS_V"), base_score_of(one.score)) for one in ratings]
    return worst(map(severity_of, words)), scores


def _fixed(own: Iterable[_Affected]) -> Iterator[str]:
    for affected in own:
        for one in affected.ranges or ():
            for event in one.events or ():
                yield event.fixed
