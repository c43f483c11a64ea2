"""What a report is put together from: equal values are kept once, duplicates merged, and everything is bounded.

A report of an image repeats itself: a vulnerability stands once for each of twenty packages of one source, with the
same title, ratings and fixed versions. So texts, ratings, packages and tuples of them are shared.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from sys import getsizeof
from typing import Any, TypeVar

from msgspec.structs import replace

from shared.findings.model import BrokenReport, Finding, Licence, Package, Rating, Secret, Severity, aware

LIMIT_FINDINGS = 100_000
"""How many findings, licences and secrets a report may have, duplicates included."""

TEXT_LIMIT = 4096
"""The number of characters of a name, a version, a path or an id. Paths in images are not longer."""

_TITLE_LIMIT = 200
_URL_LIMIT = 500

_KEPT_LIMIT_BYTES = 52 * 1024**2
_FINDING_BYTES = 250
"""What a finding takes beside its texts: itself, its place in the index, and the key of it."""

_PACKAGE_BYTES = 100
_RATING_BYTES = 50
_TUPLE_BYTES = 60

_MOST_SHARED = 20_000
"""How many values of a kind are remembered, to be shared; then they are forgotten."""

_MERGED_LIMIT = 500
"""How many ids, ratings or fixed versions a finding that was merged may have."""

_SEVERITIES = {
    **{severity.value: severity for severity in Severity},
    "none": Severity.NEGLIGIBLE,
    "info": Severity.NEGLIGIBLE,
    "informational": Severity.NEGLIGIBLE,
    "unimportant": Severity.NEGLIGIBLE,
    "moderate": Severity.MEDIUM,
    "important": Severity.HIGH,
}
_SEVERITIES.update([(word.upper(), severity) for word, severity in _SEVERITIES.items()])
_BANDS = (
    (9.0, Severity.CRITICAL),
    (7.0, Severity.HIGH),
    (4.0, Severity.MEDIUM),
    (0.1, Severity.LOW),
    (0.0, Severity.NEGLIGIBLE),
)

T = TypeVar("T")


class Gathering:
    """The findings, licences and secrets of one report while it is read.

    Every method raises `BrokenReport` where a value is out of its bounds, or more is to be kept than a report may have.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._split: dict[str, tuple[str, ...]] = {}
        self._tuples: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._ratings: dict[tuple[str, Severity, float | None], Rating] = {}
        self._packages: dict[tuple[str, ...], Package] = {}
        self._bytes_left = _KEPT_LIMIT_BYTES
        self._added = 0
        self._findings: dict[tuple[str, Package], Finding] = {}
        self._licences: dict[Licence, None] = {}
        self._secrets: dict[Secret, None] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In the order of the report."""
        return tuple(self._findings.values())

    @property
    def licences(self) -> tuple[Licence, ...]:
        """In the order of the report."""
        return tuple(self._licences)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """In the order of the report."""
        return tuple(self._secrets)

    def text(self, text: str | None) -> str:
        """A name, a version, a path or an id; what no terminal and no page should get is replaced."""
        if not text:
            return ""
        known = self._texts.get(text)
        if known is None:
            if len(text) > TEXT_LIMIT:
                raise BrokenReport(f"the report has a name of {len(text):,} characters; it may have {TEXT_LIMIT:,}")
            self._bytes_left -= getsizeof(text)
            known = self._texts[text] = text if text.isprintable() else printable(text)
        return known

    def texts(self, texts: Iterable[str] | None) -> tuple[str, ...]:
        """Texts without duplicates, in their order."""
        return self._tuple(dict.fromkeys(map(self.text, filter(None, map(str.strip, texts))))) if texts else ()

    def split(self, text: str | None) -> tuple[str, ...]:
        """Texts that are separated by commas."""
        if not text:
            return ()
        known = self._split.get(text)
        if known is None:
            known = self._split[text] = self.texts(text.split(","))
        return known

    def title(self, text: str | None) -> str:
        """The first line of a text for people, cut where it is long."""
        if not text:
            return ""
        if known := self._texts.get(text):
            return known
        line = text.strip().partition("\n")[0]
        return self.text(line if len(line) <= _TITLE_LIMIT else f"{line[: _TITLE_LIMIT - 1]}…")

    def url(self, text: str | None) -> str:
        """A link that a browser may follow; "" for any other."""
        is_link = text and len(text) <= _URL_LIMIT and text.startswith(("https://", "http://"))
        return self.text(text) if is_link else ""

    def ratings(self, ratings: Iterable[Rating]) -> tuple[Rating, ...]:
        """What sources say of a vulnerability."""
        made = tuple(ratings)
        self._bytes_left -= _TUPLE_BYTES + 8 * len(made)
        return made

    def rating(self, source: str, severity: Severity, cvss: float | None) -> Rating:
        """What a source says: its name, severity and CVSS base score."""
        key = (source, severity, cvss)
        known = self._ratings.get(key)
        if known is None:
            self._bytes_left -= _RATING_BYTES
            known = self._ratings[key] = Rating(self.text(source), severity, cvss)
        return known

    def package(self, name: str, version: str, purl: str, path: str, layer: str) -> Package:
        """A package; one without a name is not of any format."""
        key = (name, version, purl, path, layer)
        known = self._packages.get(key)
        if known is None:
            if not name:
                raise BrokenReport("the report has a finding in a package without a name")
            self._bytes_left -= _PACKAGE_BYTES
            name, version, purl, path, layer = map(self.text, key)
            known = Package(name=name, version=version, purl=purl, path=path, layer=layer)
            self._packages[key] = known
        return known

    def add(self, finding: Finding) -> None:
        """Add a finding; one that was added before (the same vulnerability in the same package) is merged with it."""
        if not finding.vulnerability:
            raise BrokenReport(f"the report has a finding without an id, in {finding.package.name[:100]}")
        id_ = finding.vulnerability
        key = (id_ if id_.isupper() else id_.upper(), finding.package)
        self._added += 1
        self._check(self._added, _FINDING_BYTES)
        before = self._findings.setdefault(key, finding)
        if before is not finding:
            self._findings[key] = merged(before, finding)

    def counted(self, elements: Iterator[None], size: int = 0) -> Iterator[None]:
        """The elements of a list that is kept until the report is read; `size` is what is kept of each, in bytes."""
        for number, element in enumerate(elements, 1):
            self._check(number, size)
            yield element

    def add_licence(self, licence: Licence) -> None:
        """Add a licence of a package."""
        self._added += 1
        self._check(self._added, _FINDING_BYTES)
        self._licences[licence] = None

    def add_secret(self, secret: Secret) -> None:
        """Add a secret: the rule that found it, and where."""
        self._added += 1
        self._check(self._added, _FINDING_BYTES)
        self._secrets[secret] = None

    def set_known_exploited(self) -> None:
        """Everything that is not said to be exploited is not: the scanner's database has a list of what is."""
        for key, finding in self._findings.items():
            if finding.known_exploited is None:
                self._findings[key] = replace(finding, known_exploited=False)

    def _tuple(self, values: Iterable[T]) -> tuple[T, ...]:
        made = tuple(values)
        known = self._tuples.get(made)
        if known is None:
            self._bytes_left -= _TUPLE_BYTES + 8 * len(made)
            known = self._tuples[made] = made
        return known

    def _check(self, count: int, size: int) -> None:
        """Count an element and what is kept of it. Values that may be shared are forgotten where there are too many."""
        self._bytes_left -= size
        if count > LIMIT_FINDINGS:
            raise BrokenReport(f"the report has more than {LIMIT_FINDINGS:,} findings, licences and secrets")
        if self._bytes_left < 0:
            raise BrokenReport("the report names more packages, vulnerabilities and texts than can be kept")
        if len(self._texts) > _MOST_SHARED:
            for known in (self._texts, self._split, self._tuples, self._ratings, self._packages):
                known.clear()


def merged(one: Finding, other: Finding) -> Finding:
    """One finding of two of the same vulnerability in the same package: the worse of each value, and all texts.

    A status counts only if both have it, and one that is not suppressed is not excused by another that is.
    """
    if one == other:
        return one
    return replace(
        one,
        severity=worst((one.severity, other.severity)),
        aliases=_united(one.aliases, other.aliases),
        ratings=_united(one.ratings, other.ratings),
        fixed_in=_united(one.fixed_in, other.fixed_in),
        fixed_at=_first(min, one.fixed_at, other.fixed_at),
        cvss=_first(max, one.cvss, other.cvss),
        epss=_first(max, one.epss, other.epss),
        known_exploited=_first(max, one.known_exploited, other.known_exploited),
        status=one.status if one.status == other.status else "",
        suppressed=one.suppressed and other.suppressed,
        title=one.title or other.title,
        url=one.url or other.url,
    )


def severity_of(word: str | None) -> Severity:
    """The severity that a word means, in any letter case; `unknown` for a word that none of the scanners uses."""
    if known := _SEVERITIES.get(word or ""):
        return known
    return _SEVERITIES.get((word or "").strip().lower(), Severity.UNKNOWN)


def severity_of_score(score: float | None) -> Severity:
    """The severity of a CVSS base score. Source: https://www.first.org/cvss/v4.0/specification-document, section 6."""
    if score is None:
        return Severity.UNKNOWN
    return next(severity for least, severity in _BANDS if score >= least or not least)


def worst(severities: Iterable[Severity]) -> Severity:
    """The most severe; `unknown` if none is known."""
    return max(severities, key=lambda one: one.rank, default=Severity.UNKNOWN)


def base_score(scores: Iterable[tuple[str, float | None]]) -> float | None:
    """The CVSS base score to judge by, of scores with the versions of CVSS that they are of.

    Version 3 before 4 before 2: sources agree most on it. Of several of one version the highest.
    """
    best: dict[str, float] = {}
    for version, score in scores:
        if score is not None:
            kind = version[:1]
            best[kind] = max(checked(score, 10, "CVSS base score"), best.get(kind, 0))
    return next((best[kind] for kind in ("3", "4", "2", "") if kind in best), None) if best else None


def checked(value: float, limit: float, what: str) -> float:
    """A number between 0 and its limit; a report with any other is broken."""
    if not 0 <= value <= limit:
        raise BrokenReport(f"the report has a {what} that is not between 0 and {limit:g}")
    return float(value)


def number_of(text: str | float | None) -> float | None:
    """The number that a text is; None if it is none."""
    try:
        return None if text is None else float(text)
    except (ValueError, OverflowError):
        return None


def time_of(text: str | None) -> datetime | None:
    """A time of RFC 3339, in UTC; None if it is none, or Go's zero time: not set."""
    try:
        time = datetime.fromisoformat(text) if text else None
        if time is None or time.year <= 1:
            return None
        return aware(time).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def printable(text: str) -> str:
    """A text without control characters, lone surrogates and the like: spaces stay spaces."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in text)


def _united(one: tuple[T, ...], other: tuple[T, ...]) -> tuple[T, ...]:
    united = tuple(dict.fromkeys((*one, *other)))
    if len(united) > max(_MERGED_LIMIT, len(one), len(other)):
        raise BrokenReport(f"the report has a finding with more than {_MERGED_LIMIT} ids, ratings or fixed versions")
    return united


def _first(choose: Any, one: Any, other: Any) -> Any:
    """The chosen one of two values, or the one that is there."""
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
