"""Versions in tags, and ranges of them. Pure.

A version is one to four numbers (of at most 18 digits), an optional leading `v`, and an optional pre-release:

    20   20.11   v1.2.3   10.0.17763.1   20.0.0-rc.1   3.13.0rc2   17beta1   22-ea-12   3.20-alpha

Missing numbers are 0. A pre-release begins with one of a few known words, because most suffixes after a `-` in a tag
are variants: `20-slim` is not a version. Order: https://semver.org/#spec-item-11, and `rc1` is read as `rc.1`.

A range, in the grammar of https://github.com/npm/node-semver#ranges:

    >=20 <21     both (or with a comma)         20.x   20.*   20     every 20
    ^20.1        20.1 and later, below 21       20.11.1   =20.11.1   exactly this
    ~3.19        3.19 and later, below 3.20     18.x || >=20         one of them

A pre-release is below its release: `>=20` excludes 20.0.0-rc.1. An upper bound excludes the pre-releases of its
version: `<21` excludes 21.0.0-rc.1 too. A bound that is itself a pre-release (`<21.0.0-rc.2`) is taken literally.
"""

import re
from dataclasses import dataclass
from typing import Any, Self

from shared.domain.errors import Malformed

_NUMBER = "[0-9]{1,18}"
_WORD = f"(?:alpha|beta|canary|dev|ea|milestone|nightly|next|preview|pre|rc|snapshot|[abm](?=[0-9]))(?:{_NUMBER})?"
_PRERELEASE = rf"[.-]?{_WORD}(?:[.-](?:{_WORD}|{_NUMBER}))*"
VERSION = rf"(?i:v?{_NUMBER}(?:\.{_NUMBER}){{0,3}}(?:{_PRERELEASE})?)"
"""The grammar of a version as a regular expression; backtracking is bounded by the length of the tag."""

_VERSION = re.compile(rf"(?i)v?({_NUMBER}(?:\.{_NUMBER}){{0,3}})({_PRERELEASE})?")
_BOUND = re.compile(rf"(?i)v?((?:{_NUMBER}|[x*])(?:\.(?:{_NUMBER}|[x*])){{0,3}})({_PRERELEASE})?")
_COMPARATOR = re.compile(r"(?P<operator>>=|<=|>|<|=|\^|~|) *(?P<bound>[^ ,|<>=^~]+)")
_PARTS = 4
_FULL_PARTS = 3

Key = tuple[tuple[int, ...], tuple[Any, ...]]
"""A sort key of versions: four numbers, and the phase: below all, (0, pre-release), or released."""

_FLOOR: tuple[Any, ...] = (-1,)
_RELEASED: tuple[Any, ...] = (1,)
_LOWEST: Key = ((), ())
_HIGHEST: Key = ((10**18 + 1,), ())


@dataclass(frozen=True, order=True)
class Version:
    """A version, as its sort key: `20`, `20.0` and `v20.0.0` are equal."""

    key: Key

    @property
    def is_prerelease(self) -> bool:
        """Whether it comes before a release of the same numbers."""
        return self.key[1] < _RELEASED


@dataclass(frozen=True)
class VersionRange:
    """The versions in any of its spans, each from a key (included) to another (excluded)."""

    spans: tuple[tuple[Key, Key], ...]

    def __contains__(self, version: Version) -> bool:
        return any(low <= version.key < high for low, high in self.spans)

    def overlaps(self, other: Self) -> bool:
        """Whether a version may be in both."""
        return any(max(low, start) < min(high, end) for low, high in self.spans for start, end in other.spans)


def parse_version(text: str) -> Version | None:
    """The version in a text, or None if it is not a version."""
    found = _VERSION.fullmatch(text)
    return Version(_key([int(part) for part in found[1].split(".")], found[2])) if found else None


def parse_range(text: str, field: str = "range") -> VersionRange:
    """A range; an empty text includes every version.

    Raises:
        Malformed: names `field`, and the place in the text, counted from 1.
    """
    spans, start = [], 0
    for alternative in text.split("||"):
        end = start + len(alternative)
        spans.append(_span(text, start, end, field))
        start = end + len("||")
    return VersionRange(tuple(spans))


def _span(text: str, start: int, end: int, field: str) -> tuple[Key, Key]:
    """The intersection of all comparators of one alternative."""
    low, high, place = _LOWEST, _HIGHEST, _after_gap(text, start, end)
    if place == end and text.strip():
        raise _fault(field, text, start, "a version is missing before or after ||")
    while place < end:
        found = _COMPARATOR.match(text, place, end)
        if found is None:
            raise _fault(field, text, place, "a version is missing")
        bottom, top = _comparator(found, text, field)
        low, high, place = max(low, bottom), min(high, top), _after_gap(text, found.end(), end)
    if low >= high:
        raise _fault(field, text, start, "no version is in this range")
    return low, high


def _after_gap(text: str, start: int, end: int) -> int:
    """The position after the spaces and commas at `start`."""
    return next((place for place in range(start, end) if text[place] not in " ,"), end)


def _comparator(found: re.Match[str], text: str, field: str) -> tuple[Key, Key]:
    bound = _BOUND.fullmatch(found["bound"])
    parts = bound[1].lower().replace("*", "x").split(".") if bound else []
    written = [part for part in parts if part != "x"]
    if bound is None or parts[: len(written)] != written or (bound[2] and len(written) < len(parts)):
        problem = f"{found['bound'][:40]!r} is not a version (such as 20.11.1, 20.11 or 20.x)"
        raise _fault(field, text, found.start("bound"), problem)
    if not written:
        if found["operator"] in ("<", ">"):
            raise _fault(field, text, found.start(), "no version is below or above all")
        return _LOWEST, _HIGHEST
    return _interval(found["operator"], [int(part) for part in written], bound[2])


def _interval(operator: str, numbers: list[int], prerelease: str | None) -> tuple[Key, Key]:
    """The span of a comparator: from (included), to (excluded)."""
    here = _key(numbers, prerelease)
    is_full = len(numbers) >= _FULL_PARTS or prerelease is not None
    beyond = (here[0], (*here[1], 0)) if is_full else _floor_after(numbers)  # just above a full one
    match operator:
        case ">=":
            return here, _HIGHEST
        case ">":
            return beyond if is_full else (beyond[0], _RELEASED), _HIGHEST
        case "<=":
            return _LOWEST, beyond
        case "<":
            return _LOWEST, here if prerelease else (here[0], _FLOOR)
        case "~":
            return here, _floor_after(numbers[:2])
        case "^":
            significant = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
            return here, _floor_after(numbers[: significant + 1])
        case _:
            return here, beyond


def _floor_after(numbers: list[int]) -> Key:
    """The key above all versions that begin with these numbers, and below all later ones and their pre-releases."""
    return _padded([*numbers[:-1], numbers[-1] + 1]), _FLOOR


def _key(numbers: list[int], prerelease: str | None) -> Key:
    phase = _RELEASED
    if prerelease is not None:
        identifiers = re.findall(r"[0-9]+|[a-z]+", prerelease.lower())
        phase = (0, tuple((0, int(text), "") if text.isdecimal() else (1, 0, text) for text in identifiers))
    return _padded(numbers), phase


def _padded(numbers: list[int]) -> tuple[int, ...]:
    return (*numbers, *[0] * (_PARTS - len(numbers)))


def _fault(field: str, text: str, place: int, problem: str) -> Malformed:
    return Malformed(field, f"{text[:80]!r}, at character {place + 1}: {problem}")
