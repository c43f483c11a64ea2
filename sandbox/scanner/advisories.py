"""Advisories in OSV's format, and which of them are about a package.

Source: https://ossf.github.io/osv-schema/
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from univers.versions import AlpineLinuxVersion, DebianVersion, PypiVersion, SemverVersion, Version

from sandbox.scanner.cvss import base_score, severity_of
from sandbox.scanner.errors import ScanError
from sandbox.scanner.packages import Package, Release

_MOST_FILES = 100_000
_FILE_BYTES = 4 * 1024**2
_VERSIONS = {"deb": DebianVersion, "apk": AlpineLinuxVersion, "npm": SemverVersion, "pypi": PypiVersion}
LANGUAGES = {"npm": "npm", "pypi": "PyPI"}
"""The ecosystems of packages of languages, whatever the release, by kind."""
_COMPARED = frozenset(("ECOSYSTEM", "SEMVER"))
_LABELS = {"MODERATE": "MEDIUM"} | {name: name for name in ("LOW", "MEDIUM", "HIGH", "CRITICAL")}
_NAME = re.compile(r"[-_.]+")


class NotComparable(Exception):
    """A version is none of its ecosystem, so it cannot be compared."""


@dataclass(frozen=True, slots=True)
class Advisory:
    """An advisory that is not withdrawn. `severity` is as Trivy spells it, `cvss` the vector and base score, if any."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    details: str
    severity: str
    cvss: tuple[str, float] | None
    published: str
    modified: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A package that an advisory is about, and the versions that fix it, the lowest first."""

    package: Package
    advisory: Advisory
    fixed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Affected:
    advisory: Advisory
    ranges: tuple[tuple[tuple[str, str], ...], ...]
    versions: frozenset[str]


class Advisories:
    """A folder of advisories.

    Attributes:
        count: how many it has, without withdrawn ones.
        modified: when the newest of them was modified, as it says; "" if there is none.
    """

    def __init__(self, affected: Mapping[tuple[str, str], list[_Affected]], read: list[Advisory]) -> None:
        self._affected = affected
        self.count, self.modified = len(read), max((advisory.modified for advisory in read), default="")

    @classmethod
    def load(cls, folder: Path) -> Advisories:
        """Read all files of a folder that end in `.json`, and of the folders in it.

        Raises:
            ScanError: there is none, or one is no advisory: a scan without it would overlook what it tells.
        """
        affected: dict[tuple[str, str], list[_Affected]] = defaultdict(list)
        read = []
        files = sorted(folder.rglob("*.json"))
        if not files or len(files) > _MOST_FILES:
            raise ScanError(f"the folder {folder} has {len(files)} advisories: 1 to {_MOST_FILES} are needed")
        for file in files:
            try:
                document = _document(file)
                if document.get("withdrawn"):
                    continue
                read.append(advisory := _advisory(document))
                for key, entry in _entries(document, advisory):
                    affected[key].append(entry)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise ScanError(f"{file} is no advisory in OSV's format: {error!r}") from error
        return cls(affected, read)

    def about(self, package: Package, release: Release) -> Iterator[Match]:
        """What a package is affected by.

        Raises:
            NotComparable: there are advisories about it, but its version cannot be compared.
        """
        name, version = package.source or package.name, package.source_version or package.version
        ecosystem = LANGUAGES.get(package.kind, release.ecosystem)
        found: dict[str, Match] = {}
        for entry in self._affected.get((ecosystem, _key(package.kind, name)), ()):
            fixes = _fixes(entry, package.kind, version)
            if fixes is not None:
                merged = {*fixes, *(found[entry.advisory.id].fixed_in if entry.advisory.id in found else ())}
                ordered = tuple(sorted(merged, key=lambda fix: _version(package.kind, fix)))
                found[entry.advisory.id] = Match(package, entry.advisory, ordered)
        yield from found.values()


def _document(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _FILE_BYTES:
        raise ValueError(f"more than {_FILE_BYTES} bytes")
    document = json.loads(file.read_bytes())
    if not isinstance(document, dict):
        raise TypeError("no object")
    return document


def _advisory(document: dict[str, Any]) -> Advisory:
    vectors = [entry["score"] for entry in document.get("severity") or () if entry["type"] == "CVSS_V3"]
    scored = [(vector, score) for vector in vectors if (score := base_score(vector)) is not None]
    datetime.fromisoformat(document["modified"])
    return Advisory(
        id=str(document["id"]),
        aliases=tuple(map(str, document.get("aliases") or ())),
        summary=str(document.get("summary") or ""),
        details=str(document.get("details") or ""),
        severity=_severity(document, scored),
        cvss=scored[0] if scored else None,
        published=str(document.get("published") or ""),
        modified=document["modified"],
        references=tuple(str(entry["url"]) for entry in document.get("references") or ()),
    )


def _severity(document: dict[str, Any], scored: list[tuple[str, float]]) -> str:
    """The severity that the database gives, else that of the CVSS 3 score. Other scores are not computed here."""
    given = str((document.get("database_specific") or {}).get("severity") or "").upper()
    return _LABELS.get(given) or (severity_of(scored[0][1]) if scored else "UNKNOWN")


def _entries(document: dict[str, Any], advisory: Advisory) -> Iterator[tuple[tuple[str, str], _Affected]]:
    """Its affected packages by ecosystem and name. Ranges of Git commits are no versions, and are left out."""
    kinds = {ecosystem: kind for kind, ecosystem in LANGUAGES.items()}
    for affected in document.get("affected") or ():
        package = affected.get("package") or {}
        ecosystem, name = str(package.get("ecosystem") or ""), str(package.get("name") or "")
        compared = [entry["events"] for entry in affected.get("ranges") or () if entry["type"] in _COMPARED]
        ranges = tuple(tuple((kind, str(at)) for event in events for kind, at in event.items()) for events in compared)
        versions = frozenset(map(str, affected.get("versions") or ()))
        yield (ecosystem, _key(kinds.get(ecosystem, ""), name)), _Affected(advisory, ranges, versions)


def _key(kind: str, name: str) -> str:
    return _NAME.sub("-", name).lower() if kind == "pypi" else name


def _fixes(entry: _Affected, kind: str, version: str) -> tuple[str, ...] | None:
    """The versions that fix a package of this version, one for each range that it is in; None if it is not affected."""
    here = _version(kind, version)
    within = [events for events in entry.ranges if _is_within(events, here, kind)]
    if not within and version not in entry.versions:
        return None
    later = ([at for event, at in events if event == "fixed" and _version(kind, at) > here] for events in within)
    return tuple(min(fixes, key=lambda fix: _version(kind, fix)) for fixes in later if fixes)


def _is_within(events: tuple[tuple[str, str], ...], here: Version, kind: str) -> bool:
    """Whether a version is affected (https://ossf.github.io/osv-schema/#evaluation); "0" is lower than all versions.

    Only `<` and `>` are used: univers 32 compares versions of Alpine as texts with the others.
    """
    within = False
    zeros = [event for event in events if event[1] == "0"]
    others = (event for event in events if event[1] not in ("0", "*"))
    for event, at in [*zeros, *sorted(others, key=lambda event: _version(kind, event[1]))]:
        is_reached = at == "0" or not here < _version(kind, at)
        if event == "last_affected":
            within = within and not here > _version(kind, at)
        elif is_reached:
            within = event == "introduced"
    return within


@cache
def _version(kind: str, text: str) -> Version:
    try:
        return _VERSIONS[kind](text)
    except (ValueError, TypeError, AttributeError) as error:
        raise NotComparable(f"{text} is no version of {kind}") from error
