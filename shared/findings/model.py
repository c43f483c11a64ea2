"""A scanner's report in one model, whatever its format."""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """How severe a finding is, the least severe first. A severity that is not known is `unknown`: it is not ordered."""

    UNKNOWN = "unknown"
    NEGLIGIBLE = "negligible"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    def at_least(self, other: "Severity") -> bool:
        """Whether it is as severe as another one, or more; `unknown` is only at least `unknown`."""
        if Severity.UNKNOWN in (self, other):
            return self is other
        return self.rank >= other.rank

    @property
    def rank(self) -> int:
        """Its place in a list that begins with the least severe, and with those that are unknown before them."""
        return _RANKS[self]


_RANKS = {severity: number for number, severity in enumerate(Severity)}


class Rating(Struct, frozen=True, gc=False):
    """What one source (`nvd`, `debian`, `ghsa`) says about a vulnerability: its severity, and its CVSS base score."""

    source: str
    severity: Severity = Severity.UNKNOWN
    cvss: float | None = None


class Package(Struct, frozen=True, kw_only=True, gc=False):
    """A package as installed in the image; `purl` is "" where the report has none and it cannot be derived.

    `path` is the file that it was found in, `layer` the digest or diff id of the layer, "" where not reported.
    """

    name: str
    version: str = ""
    purl: str = ""
    path: str = ""
    layer: str = ""


class Finding(Struct, frozen=True, kw_only=True, gc=False):
    """One vulnerability in one package of an image.

    `vulnerability` is the id that the scanner reports, `aliases` the other ids of the same one. `fixed_in` are the
    versions that fix it (none: not fixed), `fixed_at` when the first of them was published. `status` is what the
    scanner or a vendor says of it (`will_not_fix`); `suppressed`: the scanner's settings ignore it. What a report does
    not tell is None or empty.
    """

    vulnerability: str
    package: Package
    aliases: tuple[str, ...] = ()
    severity: Severity = Severity.UNKNOWN
    ratings: tuple[Rating, ...] = ()
    fixed_in: tuple[str, ...] = ()
    fixed_at: datetime | None = None
    cvss: float | None = None
    epss: float | None = None
    known_exploited: bool | None = None
    status: str = ""
    suppressed: bool = False
    title: str = ""
    url: str = ""

    @property
    def fixable(self) -> bool:
        """Whether a version exists that fixes it."""
        return bool(self.fixed_in)

    @property
    def ids(self) -> frozenset[str]:
        """All ids of the vulnerability, in upper case, for comparison.

        An advisory that names several CVEs is none of them: what is said of one says nothing of the others.
        """
        own, others = self.vulnerability.upper(), [name.upper() for name in self.aliases]
        cves = {name for name in (own, *others) if name.startswith("CVE-")}
        return frozenset((own, *(name for name in others if len(cves) < 2 or name not in cves)))


class Licence(Struct, frozen=True, kw_only=True, gc=False):
    """A licence of a package, by its SPDX id where the report has it."""

    name: str
    package: str = ""
    path: str = ""
    severity: Severity = Severity.UNKNOWN
    suppressed: bool = False


class Secret(Struct, frozen=True, kw_only=True, gc=False):
    """A secret that a scanner found in the image: never the secret itself, only which rule found it, and where."""

    rule: str
    path: str = ""
    title: str = ""
    severity: Severity = Severity.UNKNOWN
    suppressed: bool = False


class Scanner(Struct, frozen=True, kw_only=True):
    """What wrote the report, and when the database that it compared with was built (None: not reported)."""

    name: str = ""
    version: str = ""
    database_built_at: datetime | None = None
    database_version: str = ""


class Subject(Struct, frozen=True, kw_only=True):
    """What a report says that it is about: the image's name, its digests (of index, manifest), its platform."""

    name: str = ""
    digests: tuple[str, ...] = ()
    platform: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """A scanner's report. `format` is the key of its format; `compared` says whether packages were compared with
    vulnerabilities: a scan for licences or secrets alone finds none in any image.

    Duplicates (the same vulnerability in the same package at the same place) are merged.
    """

    format: str
    scanner: Scanner = Scanner()
    subject: Subject = Subject()
    created_at: datetime | None = None
    findings: tuple[Finding, ...] = ()
    licences: tuple[Licence, ...] = ()
    secrets: tuple[Secret, ...] = ()
    misconfigurations: int = 0
    compared: bool = True

    def by_severity(self) -> Iterator[tuple[Severity, int]]:
        """The number of findings of each severity that occurs, the most severe first."""
        for severity in reversed(Severity):
            if count := sum(finding.severity is severity for finding in self.findings):
                yield severity, count


def aware(moment: datetime) -> datetime:
    """A time with its zone: in reports and documents, one without is in UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class BrokenReport(Exception):
    """A report that cannot be judged: not of its format, cut off, too large, or about nothing. The text says why."""
