"""SARIF 2.1.0, of Trivy, Grype, Dependency-Check and any other scanner.

SARIF is a format for the results of static analysis: it knows rules, levels and places in files, and neither packages
nor fixed versions. What scanners write of those into texts and properties is read where it is known.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; for `security-severity`:
https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from shared.findings.formats.reader import ReportReader, Scalar
from shared.findings.formats.subject import digests_in
from shared.findings.gathering import Gathering, checked, number_of, severity_of, severity_of_score, worst
from shared.findings.json_stream import JsonStream
from shared.findings.model import BrokenReport, Finding, Licence, Package, Report, Scanner, Secret, Severity, Subject

_LEVELS = {
    "error": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "note": Severity.LOW,
    "none": Severity.NEGLIGIBLE,
}
_DEFAULT_LEVEL = "warning"
_FINDINGS = ("fail", "open", "review")
"""The kinds of results that are findings; `pass`, `notApplicable` and `informational` are not."""

_LABEL = re.compile(
    r"^ ?(Vulnerability|Severity|Package|Version|Installed Version|Fix Version|Fixed Version|License|PkgName|Path)"
    r":? ([^\n]+)$",
    re.MULTILINE,
)
"""The lines of Trivy's messages, and of Grype's help texts. Never `Match`: that is the line of a secret."""

_FOUND = re.compile(r" package: (\S+), version (\S+) was found ")
"""Of Grype's messages."""

_LAYER = re.compile(r"@(sha256:[0-9a-f]{64}):(/.*)$")
"""Of Grype's logical locations: `image@layer:/path`."""


class _Text(Struct):
    text: str = ""


class _Configuration(Struct):
    level: str = ""


class _Rule(Struct, rename="camel"):
    id: str = ""
    name: str = ""
    short_description: _Text | None = None
    full_description: _Text | None = None
    help: _Text | None = None
    help_uri: str = ""
    default_configuration: _Configuration | None = None
    properties: dict[str, Any] | None = None


class _Reference(Struct, rename="camel"):
    """Of a rule, or of the component of the tool that has it."""

    id: str = ""
    index: int = -1
    tool_component: "_Reference | None" = None


class _Uri(Struct):
    uri: str = ""
    index: int = -1


class _Physical(Struct, rename="camel"):
    artifact_location: _Uri | None = None


class _Logical(Struct, rename="camel"):
    fully_qualified_name: str = ""


class _Location(Struct, rename="camel"):
    physical_location: _Physical | None = None
    logical_locations: list[_Logical] | None = None
    message: _Text | None = None


class _Suppression(Struct):
    status: str = ""
    state: str = ""
    """Its name before the final 2.1.0."""


class _Result(Struct, rename="camel"):
    rule_id: str = ""
    rule_index: int = -1
    rule: _Reference | None = None
    kind: str = "fail"
    level: str = ""
    message: _Text | None = None
    locations: list[_Location] | None = None
    suppressions: list[_Suppression] | None = None
    baseline_state: str = ""
    properties: dict[str, Any] | None = None


class _Invocation(Struct, rename="camel"):
    execution_successful: bool = True


class _Artifact(Struct):
    location: _Uri | None = None


class _Known(Struct, gc=False):
    """What is kept of a rule, or of a result until all rules are read: they may stand after the results."""

    id: str
    name: str = ""
    title: str = ""
    url: str = ""
    level: str = ""
    word: str = ""
    security_severity: float | None = None
    cvss: float | None = None
    vulnerability: str = ""
    package: str = ""
    version: str = ""
    fixed: str | None = None
    purl: str = ""
    path: str = ""
    layer: str = ""
    licence: str = ""
    is_suppressed: bool = False
    rule: tuple[int, int] = (-1, -1)
    artifact: int = -1


_KNOWN_BYTES = 200


class SarifReader(ReportReader):
    """Reads the runs of a log; each must have succeeded, and have results, if only an empty list of them."""

    format = "sarif"
    keys = frozenset(("runs",))

    def __init__(self) -> None:
        self._gathering = Gathering()
        self._runs = 0
        self._scanner = Scanner()
        self._subject = Subject()
        self._misconfigurations = 0
        self._rules: dict[tuple[int, int], _Known] = {}
        self._by_id: dict[str, _Known] = {}
        self._uris: list[str] = []

    def container(self, key: str, stream: JsonStream) -> None:
        """See `ReportReader`."""
        if key == "runs":
            for _ in stream.elements():
                self._runs += 1
                self._run(stream)

    def report(self, scalars: Mapping[str, Scalar]) -> Report:
        """See `ReportReader`."""
        if scalars.get("version") != "2.1.0":
            raise BrokenReport(f"the report is of version {scalars.get('version')!r} of SARIF; 2.1.0 is read")
        if not self._runs:
            raise BrokenReport("the report has no runs: nothing was scanned")
        return Report(
            format=self.format,
            scanner=self._scanner,
            subject=self._subject,
            findings=self._gathering.findings,
            licences=self._gathering.licences,
            secrets=self._gathering.secrets,
            misconfigurations=self._misconfigurations,
        )

    def _run(self, stream: JsonStream) -> None:
        results: list[_Known] | None = None
        self._rules, self._by_id, self._uris = {}, {}, []
        for key in stream.members():
            if key == "results" and stream.next_character() == "[":
                kept = self._gathering.counted(stream.elements(), _KNOWN_BYTES)
                results = [known for _ in kept if (known := self._result(stream.take(_Result)))]
            elif stream.next_character() in "{[":
                self._part(key, stream)
        if results is None:
            raise BrokenReport("the report has a run without results: the scanner did not finish")
        for result in results:
            self._add(result)

    def _part(self, key: str, stream: JsonStream) -> None:
        match key:
            case "tool":
                self._tool(stream)
            case "artifacts":
                for _ in self._gathering.counted(stream.elements()):
                    place = stream.take(_Artifact).location
                    self._uris.append(self._gathering.text(place.uri if place else ""))
            case "invocations":
                if not all(one.execution_successful for one in stream.take(list[_Invocation])):
                    raise BrokenReport("the report says that the scanner failed (executionSuccessful is false)")
            case "properties":
                self._properties(stream.take(dict[str, Any]))

    def _tool(self, stream: JsonStream) -> None:
        for key in stream.members():
            if key == "driver" and stream.next_character() == "{":
                self._component(stream, -1)
            elif key == "extensions" and stream.next_character() == "[":
                for number, _ in enumerate(stream.elements()):
                    self._component(stream, number)

    def _component(self, stream: JsonStream, number: int) -> None:
        names: dict[str, str] = {}
        for key in stream.members():
            if key == "rules" and stream.next_character() == "[":
                for index, _ in enumerate(self._gathering.counted(stream.elements(), _KNOWN_BYTES)):
                    rule = self._rule(stream.take(_Rule))
                    self._rules[number, index] = self._by_id[rule.id] = rule
            elif key in ("name", "version", "semanticVersion"):
                names[key] = self._gathering.text(stream.take(str))
        if number < 0 and not self._scanner.name:
            version = names.get("version") or names.get("semanticVersion") or ""
            self._scanner = Scanner(name=names.get("name", ""), version=version)

    def _properties(self, properties: dict[str, Any]) -> None:
        """What Trivy says of the image."""
        name, digests = properties.get("imageName"), properties.get("repoDigests")
        if isinstance(name, str) and not self._subject.name:
            named = [one for one in digests if isinstance(one, str)] if isinstance(digests, list) else []
            self._subject = Subject(name=self._gathering.text(name), digests=digests_in((name, *named)))

    def _rule(self, rule: _Rule) -> _Known:
        keep, labels = self._gathering, _labels(rule.help)
        properties = rule.properties or {}
        tags, purls = properties.get("tags"), properties.get("purls")
        words = [labels.get("Severity", ""), *(tags if isinstance(tags, list) else ())]
        description = rule.short_description or rule.full_description
        return _Known(
            id=keep.text(rule.id),
            name=keep.text(rule.name),
            title=keep.title(description.text if description else ""),
            url=keep.url(rule.help_uri),
            level=rule.default_configuration.level if rule.default_configuration else "",
            word=keep.text(next((word for word in words if _is_severity(word)), "")),
            security_severity=_score(properties, "security-severity"),
            cvss=_score(properties, "cvssv3_baseScore"),
            vulnerability=keep.text(labels.get("Vulnerability")),
            package=keep.text(labels.get("Package")),
            version=keep.text(labels.get("Version")),
            fixed=keep.text(labels.get("Fix Version")),
            purl=keep.text(purls[0] if isinstance(purls, list) and purls and isinstance(purls[0], str) else ""),
        )

    def _result(self, result: _Result) -> _Known | None:
        if result.kind not in _FINDINGS or result.baseline_state == "absent":
            return None
        keep, labels, properties = self._gathering, _labels(result.message), result.properties or {}
        words = [labels.get("Severity"), *map(properties.get, ("cvssv3_baseSeverity", "severity", "cvssv2_severity"))]
        place = result.locations[0] if result.locations else _Location()
        uri = (place.physical_location and place.physical_location.artifact_location) or _Uri()
        layer, path = _in_layer(place)
        name, version = _package_in(labels, result.message)
        rule = result.rule or _Reference()
        component = rule.tool_component.index if rule.tool_component else -1
        return _Known(
            id=keep.text(result.rule_id or rule.id),
            title=keep.title(result.message.text if result.message else ""),
            level=result.level,
            word=keep.text(next((word for word in words if _is_severity(word)), "")),
            security_severity=_score(properties, "security-severity"),
            cvss=_score(properties, "cvssv3_baseScore", "cvssv2_score"),
            package=keep.text(name),
            version=keep.text(version),
            fixed=keep.text(labels.get("Fixed Version")) if "Package" in labels else None,
            path=keep.text(path or uri.uri),
            layer=keep.text(layer),
            licence=keep.text(labels.get("License")),
            is_suppressed=_is_suppressed(result.suppressions or ()),
            rule=(component, max(result.rule_index, rule.index)),
            artifact=uri.index,
        )

    def _add(self, result: _Known) -> None:
        rule = (
            self._rules.get(result.rule) or self._by_id.get(result.id) or self._by_id.get(result.id.partition("/")[0])
        )
        rule = rule or _Known(id="")
        severity = _severity(result, rule)
        found: dict[str, Any] = {"path": result.path, "severity": severity, "suppressed": result.is_suppressed}
        match rule.name:  # as Trivy names its rules
            case "Misconfiguration":
                self._misconfigurations += 1
            case "Secret":
                self._gathering.add_secret(Secret(rule=result.id or rule.id, title=rule.title, **found))
            case "License":
                self._gathering.add_licence(Licence(name=result.licence, package=result.package, **found))
            case _:
                self._add_finding(result, rule, severity)

    def _add_finding(self, result: _Known, rule: _Known, severity: Severity) -> None:
        cvss = next((one for one in (result.cvss, rule.cvss, result.security_severity) if one is not None), None)
        self._gathering.add(
            Finding(
                vulnerability=rule.vulnerability or result.id or rule.id,
                package=self._package(result, rule),
                severity=severity,
                fixed_in=self._gathering.split(rule.fixed if result.fixed is None else result.fixed),
                cvss=rule.security_severity if cvss is None else cvss,
                suppressed=result.is_suppressed,
                title=rule.title or result.title,
                url=rule.url,
            )
        )

    def _package(self, result: _Known, rule: _Known) -> Package:
        """The package, or, where no text names one, the file that a result is about."""
        path = result.path
        if not path and 0 <= result.artifact < len(self._uris):
            path = self._uris[result.artifact]
        name, version = (result.package, result.version) if result.package else (rule.package, rule.version)
        if rule.name == "OsPackageVulnerability":
            path = ""  # Trivy has the name of the image there
        purl = rule.purl if version == rule.version else ""  # Grype's rules have that of the first version only
        return self._gathering.package(name or path or "unknown", version, purl, path, result.layer)


def _labels(text: _Text | None) -> dict[str, str]:
    found = _LABEL.findall(text.text) if text else ()
    return {label: value.strip() for label, value in reversed(found)}


def _package_in(labels: Mapping[str, str], message: _Text | None) -> tuple[str, str]:
    """Name and version of the package that a result is about, "" where its texts name none."""
    if name := labels.get("Package") or labels.get("PkgName", ""):
        return name, labels.get("Installed Version", "")
    found = _FOUND.search(message.text) if message else None
    return (found[1], found[2]) if found else ("", "")


def _in_layer(place: _Location) -> tuple[str, str]:
    for logical in place.logical_locations or ():
        if found := _LAYER.search(logical.fully_qualified_name):
            return found[1], found[2]
    return "", ""


def _is_severity(word: object) -> bool:
    return isinstance(word, str) and (severity_of(word) is not Severity.UNKNOWN or word.lower() == "unknown")


def _severity(result: _Known, rule: _Known) -> Severity:
    """As it is worded, else by its score, else by its level: of the result first, then of its rule."""
    if result.word or rule.word:
        return worst((severity_of(result.word), severity_of(rule.word)))
    for score in (result.security_severity, result.cvss, rule.security_severity, rule.cvss):
        if score is not None:
            return severity_of_score(score)
    return _LEVELS.get(result.level or rule.level or _DEFAULT_LEVEL, Severity.UNKNOWN)


def _is_suppressed(suppressions: Iterable[_Suppression]) -> bool:
    """Section 3.27.23: if all of them are accepted; one without a status is."""
    states = [one.status or one.state or "accepted" for one in suppressions]
    return bool(states) and all(state == "accepted" for state in states)


def _score(properties: Mapping[str, Any], *names: str) -> float | None:
    values = (properties.get(name) for name in names)
    found = (number_of(value) for value in values if isinstance(value, str | int | float))
    value = next((value for value in found if value is not None), None)
    return None if value is None else checked(value, 10, "CVSS base score")
