"""Exceptions: which findings they cover, and until when. Pure."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

from shared.domain.errors import Malformed
from shared.domain.policy import ExceptionRule
from shared.findings.model import Finding, Package
from shared.findings.purls import parse_purl

LONGEST = timedelta(days=366)
"""An exception covers nothing while its end is further away: nothing is accepted for good."""

SOON = timedelta(days=7)
"""How long before its end an exception is announced to end."""


def is_in_scope(exception: ExceptionRule, gate: str) -> bool:
    """Whether it is for images of a gate; "" is an unknown one, which only an exception for all includes.

    It is not for single tags: a verdict is about a digest, which any tag of the gate may point to.
    """
    return not exception.gates or gate in exception.gates


def is_active(exception: ExceptionRule, now: datetime) -> bool:
    """Whether it covers anything now: it has not ended, and its end is within `LONGEST`."""
    return now < exception.ends_at <= now + LONGEST


def end_days(now: datetime) -> tuple[date, date]:
    """The first and the last day until which an exception may be asked for now."""
    return now.astimezone(UTC).date(), (now.astimezone(UTC) + LONGEST).date() - timedelta(days=1)


def is_about(exception: ExceptionRule, finding: Finding) -> bool:
    """Whether a finding is its vulnerability, by any of its ids, in its package."""
    return exception.vulnerability.upper() in finding.ids and _is_package(exception.package, finding.package)


def end_warning(exception: ExceptionRule, now: datetime) -> str:
    """What a person should know about its end; "" if nothing."""
    named, ends_at = in_words(exception), exception.ends_at
    if ends_at <= now:
        return f"{named} has ended: renew it with a new reason, or remove it"
    if ends_at > now + LONGEST:
        return f"{named} ends in more than a year: it covers nothing before its last {LONGEST.days} days"
    if ends_at <= now + SOON:
        return f"{named} ends within {SOON.days} days"
    return ""


def end_warnings(exceptions: Iterable[ExceptionRule], now: datetime) -> Iterator[tuple[ExceptionRule, str]]:
    """What a person should know about the ends of exceptions, all in scope of one gate: those with a warning.

    One that was renewed has none: another one for the same vulnerability and package ends later, within `LONGEST`.
    """
    known, last = tuple(exceptions), dict[tuple[str, str], datetime]()
    for one in known:
        if one.ends_at <= now + LONGEST:
            last[_subject(one)] = max(one.ends_at, last.get(_subject(one), one.ends_at))
    for one in known:
        is_renewed = one.ends_at < last.get(_subject(one), one.ends_at)
        if not is_renewed and (warning := end_warning(one, now)):
            yield one, warning


def _subject(exception: ExceptionRule) -> tuple[str, str]:
    return exception.vulnerability.upper(), exception.package.casefold()


def in_words(exception: ExceptionRule) -> str:
    """It in a sentence: `the exception of ada for CVE-2026-1 in openssl until 2026-12-31`."""
    package = f" in {exception.package}" if exception.package else ""
    return f"the exception of {exception.author} for {exception.vulnerability}{package} until {exception.until}"


def problems(exceptions: Iterable[ExceptionRule]) -> Iterator[tuple[int, str, str]]:
    """What is wrong with exceptions that fit their types: the number, the key, and the problem."""
    for index, exception in enumerate(exceptions):
        try:
            _ = exception.ends_at
        except Malformed as error:
            yield index, error.field, error.problem
        if exception.package.lower().startswith("pkg:") and parse_purl(exception.package) is None:
            yield index, "package", f"{exception.package!r} is no purl: write pkg:type/name, or pkg:type/name@version"


def _is_package(written: str, package: Package) -> bool:
    """Whether a package is the one that an exception names. A purl names no package without one: it may be another."""
    if not written:
        return True
    if written.lower().startswith("pkg:"):
        named, found = parse_purl(written), parse_purl(package.purl)
        return named is not None and found is not None and named.names(found)
    names = {package.name.casefold(), f"{package.name.casefold()}@{package.version.casefold()}"}
    return written.casefold() in names
