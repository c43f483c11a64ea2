"""Which of a repository's tags a gate tracks. Pure.

A source says names (`15-alpine`), patterns (`*` stands for anything, `?` for one character) and, for its patterns,
versions. The version of a tag is what the first `*` of the pattern stands for, with the digits and dots just before it:

    pattern      tag                   version
    *-alpine     20.11.1-alpine        20.11.1
    *-alpine     20.0.0-rc.1-alpine    20.0.0-rc.1, a pre-release
    *-alpine     20.11.1-alpine3.19    (does not match)
    *-alpine*    20.11.1-alpine3.19    20.11.1
    20.*         20.11                 20.11
    *            20-slim, latest       (none: left out where the source says versions)

A name is always tracked, whatever the versions. Of each pattern, `newest: N` keeps the N tags of the highest versions.
That takes the whole list of tags: the sweep, which has it, is held to it (`select`); a push event, which tells of one
tag, is not (`takes`). A push below the newest N is thus examined if its event arrives, and otherwise never looked for.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Protocol

from shared.domain.versions import VERSION, Version, VersionRange, parse_range, parse_version

_ATTACHED = re.compile(r"sha256-[0-9a-f]{64}(\..+)?")
"""Signatures, attestations and bills of materials stand among the tags under the digest that they are about.
Sources: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery,
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema"""

_LEAD = re.compile(r"(?<![0-9A-Za-z.])v?[0-9][0-9.]*$")


class _Versions(Protocol):
    @property
    def range(self) -> str: ...
    @property
    def newest(self) -> int | None: ...
    @property
    def prereleases(self) -> bool: ...


class _Source(Hashable, Protocol):
    """What is read of a `policy.Source`; that module imports this one."""

    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def versions(self) -> _Versions | None: ...


@dataclass(frozen=True)
class TagRule:
    """What a source tracks: `exact` names, and patterns that need the list of all tags."""

    exact: tuple[str, ...]
    patterns: tuple[TagPattern, ...]
    newest: int = 0

    @classmethod
    def of(cls, source: _Source) -> TagRule:
        """The rule that a source describes; made once a source.

        Raises:
            Malformed: its range of versions is none.
        """
        return _rule_of(source)

    @property
    def needs_listing(self) -> bool:
        """Whether the repository's tags must be listed; exact names can be asked for one by one."""
        return bool(self.patterns)

    def takes(self, tag: str) -> bool:
        """Whether a tag is tracked, as far as the tag alone can tell: `newest` is left aside."""
        return tag in self.exact or any(pattern.takes(tag) for pattern in self._patterns_of(tag))

    def select(self, tags: Iterable[str]) -> Iterator[str]:
        """The tracked tags among all of a repository's, each once if it is listed once.

        Holds no more than `newest` tags a pattern in memory, and none without `newest`: the rest is a stream.
        """
        if not self.newest:
            yield from filter(self.takes, tags)
            return
        kept: list[list[tuple[Version, str]]] = [[] for _ in self.patterns]
        for tag in tags:
            if tag in self.exact:
                yield tag
            else:
                self._keep(tag, kept)
        yield from sorted({tag for heap in kept for _, tag in heap})

    def _patterns_of(self, tag: str) -> tuple[TagPattern, ...]:
        """The patterns that a tag may match: what is attached to an image is none."""
        return () if _ATTACHED.fullmatch(tag) else self.patterns

    def _keep(self, tag: str, kept: list[list[tuple[Version, str]]]) -> None:
        for pattern, heap in zip(self._patterns_of(tag), kept, strict=False):
            version = pattern.version_of(tag)
            if version is None or (version, tag) in heap:
                continue
            if len(heap) < self.newest:
                heapq.heappush(heap, (version, tag))
            else:
                heapq.heappushpop(heap, (version, tag))


@dataclass(frozen=True)
class TagPattern:
    """A pattern with `*` or `?`, and which versions it takes (None: versions do not matter)."""

    text: str
    matcher: re.Pattern[str]
    range: VersionRange | None = None
    prereleases: bool = False

    def takes(self, tag: str) -> bool:
        """Whether a tag matches and its version is one of those asked for."""
        if self.range is None:
            return self.matcher.match(tag) is not None
        return self.version_of(tag) is not None

    def version_of(self, tag: str) -> Version | None:
        """The version of a tag that is taken; None where it is not, or where versions do not matter."""
        found = self.matcher.match(tag) if self.range else None
        version = parse_version(found["version"]) if found else None
        if version is None or self.range is None or version not in self.range:
            return None
        return version if self.prereleases or not version.is_prerelease else None


def tags_in_words(source: _Source) -> str:
    """What a source tracks, for a sentence: `*-alpine, lts (versions >=20 <21)`."""
    tags, rule = ", ".join(source.tags), source.versions
    if rule is None:
        return tags
    prereleases = ", pre-releases too" if rule.prereleases else ""
    return f"{tags} (versions {rule.range or 'of any range'}{prereleases})"


def is_pattern(text: str) -> bool:
    """Whether one of a source's tags is a pattern rather than a name."""
    return "*" in text or "?" in text


@lru_cache(maxsize=256)
def _rule_of(source: _Source) -> TagRule:
    rule = source.versions
    return TagRule(
        exact=tuple(tag for tag in source.tags if not is_pattern(tag)),
        patterns=tuple(_pattern(tag, rule) for tag in source.tags if is_pattern(tag)),
        newest=(rule and rule.newest) or 0,
    )


def _pattern(text: str, rule: _Versions | None) -> TagPattern:
    if rule is None:
        return TagPattern(text, re.compile(translate(text)))
    return TagPattern(text, _version_matcher(text), parse_range(rule.range, "versions.range"), rule.prereleases)


def _version_matcher(text: str) -> re.Pattern[str]:
    """An expression with the group `version`; a pattern without `*` has no place for one and matches nothing."""
    before, star, after = text.partition("*")
    if not star:
        return re.compile(r"(?!)(?P<version>)")
    found = _LEAD.search(before)
    lead = found[0] if found else ""
    front = "".join("." if character == "?" else re.escape(character) for character in before.removesuffix(lead))
    return re.compile(f"{front}(?={re.escape(lead)})(?P<version>{VERSION}){translate(after)}")
